import Broker
import NIOHTTP1

/// What the `Connection` field of a message lists: fields that end at the next hop. RFC 9110 §7.6.1.
struct ConnectionOptions {
    /// Normalised; without those that are dropped wherever they stand.
    private var names: Set<String> = []

    init() {}

    init(_ fields: HTTPHeaders) {
        for (name, value) in fields where FieldName.matches(name, normal: "connection") && !Self.isUsual(value) { add(value) }
    }

    var isEmpty: Bool { names.isEmpty }

    /// What one more `Connection` field lists.
    mutating func add(_ value: String) {
        for part in value.utf8.split(separator: UInt8(ascii: ",")) { add(part) }
    }

    private mutating func add(_ part: Substring.UTF8View) {
        func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
        guard let first = part.firstIndex(where: { !isBlank($0) }), let last = part.lastIndex(where: { !isBlank($0) }) else { return }
        let option = String(Substring(part[first...last]))
        if Self.isUsual(option) { return }
        names.insert(FieldName.normal(option))
    }

    private static func isUsual(_ option: String) -> Bool {
        FieldName.matches(option, normal: "keep-alive") || FieldName.matches(option, normal: "close")
    }

    func contains(_ name: String) -> Bool { !names.isEmpty && names.contains(FieldName.normal(name)) }
}

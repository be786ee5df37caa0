import OAuth

extension JSONValue {
    /// For people: two spaces a level, a short list on one line.
    func readable(indent: String = "") -> String {
        let inner = indent + "  "
        switch self {
        case .object(let object) where !object.members.isEmpty:
            let lines = object.members.map { inner + Self.quoted($0.name) + ": " + $0.value.readable(indent: inner) }
            return "{\n" + lines.joined(separator: ",\n") + "\n" + indent + "}"
        case .array(let values) where values.contains { $0.object != nil || $0.array != nil }:
            return "[\n" + values.map { inner + $0.readable(indent: inner) }.joined(separator: ",\n") + "\n" + indent + "]"
        case .array(let values): return "[" + values.map { $0.readable() }.joined(separator: ", ") + "]"
        default: return String(decoding: serialized(), as: UTF8.self)
        }
    }

    private static func quoted(_ text: String) -> String { String(decoding: JSONValue.string(text).serialized(), as: UTF8.self) }
}

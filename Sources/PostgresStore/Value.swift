import Vault

/// A parameter of a statement: what PostgreSQL calls its type, and its binary form; `nil` bytes = NULL.
struct Parameter: Sendable {
    var type: UInt32
    var bytes: [UInt8]?
}

/// What may stand for a `$1` of a statement. The type goes with it, also where the value is NULL: PostgreSQL guesses none.
protocol Bindable: Sendable {
    static var type: UInt32 { get }
    /// Its binary form; `nil` = NULL.
    var wire: [UInt8]? { get }
}

extension Bindable {
    var parameter: Parameter { Parameter(type: Self.type, bytes: wire) }
}

/// The numbers that PostgreSQL gave its types; they never change.
enum TypeID {
    static let bool: UInt32 = 16
    static let bytea: UInt32 = 17
    static let int8: UInt32 = 20
    static let int4: UInt32 = 23
    static let text: UInt32 = 25
    static let byteaArray: UInt32 = 1001
    static let int8Array: UInt32 = 1016
    static let textArray: UInt32 = 1009
}

extension Optional: Bindable where Wrapped: Bindable {
    static var type: UInt32 { Wrapped.type }
    var wire: [UInt8]? { self?.wire }
}

extension String: Bindable {
    static var type: UInt32 { TypeID.text }
    /// PostgreSQL's text holds no U+0000: U+FFFD stands for it.
    var wire: [UInt8]? {
        utf8.contains(0) ? Array(replacing("\0", with: "\u{FFFD}").utf8) : Array(utf8)
    }
}

extension Int: Bindable {
    static var type: UInt32 { TypeID.int8 }
    var wire: [UInt8]? { Int64(self).wire }
}

extension Int64: Bindable {
    static var type: UInt32 { TypeID.int8 }
    var wire: [UInt8]? { withUnsafeBytes(of: bigEndian, Array.init) }
}

extension Bool: Bindable {
    static var type: UInt32 { TypeID.bool }
    var wire: [UInt8]? { [self ? 1 : 0] }
}

extension UID: Bindable {
    static var type: UInt32 { TypeID.text }
    var wire: [UInt8]? { text.wire }
}

extension Timestamp: Bindable {
    static var type: UInt32 { TypeID.int8 }
    var wire: [UInt8]? { milliseconds.wire }
}

extension Sealed: Bindable {
    static var type: UInt32 { TypeID.bytea }
    var wire: [UInt8]? { bytes }
}

/// Bytes as PostgreSQL keeps them. An array of bytes is no `Bindable` itself: arrays are, of other things.
struct Blob: Bindable {
    let content: [UInt8]
    init(_ content: [UInt8]) { self.content = content }
    static var type: UInt32 { TypeID.bytea }
    var wire: [UInt8]? { content }
}

/// For `= ANY($1)` and `unnest($1)`.
struct ArrayOf<Element: Bindable>: Bindable {
    let elements: [Element]
    init(_ elements: [Element]) { self.elements = elements }
    static var type: UInt32 {
        switch Element.type {
        case TypeID.int8: TypeID.int8Array
        case TypeID.bytea: TypeID.byteaArray
        default: TypeID.textArray
        }
    }
    var wire: [UInt8]? {
        func word(_ value: Int) -> [UInt8] { withUnsafeBytes(of: Int32(value).bigEndian, Array.init) }
        let hasNull = elements.contains { $0.wire == nil }
        var bytes = word(elements.isEmpty ? 0 : 1) + word(hasNull ? 1 : 0) + word(Int(Element.type))
        guard !elements.isEmpty else { return bytes }
        bytes += word(elements.count) + word(1)
        for element in elements {
            guard let content = element.wire else {
                bytes += word(-1)
                continue
            }
            bytes += word(content.count) + content
        }
        return bytes
    }
}

extension Duration {
    /// Whole ones, as statements and `poll` take them.
    var milliseconds: Int64 { components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000 }
}

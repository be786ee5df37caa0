/// JSON as it was sent, read by a reader that cannot be fooled: RFC 8259 strictly, UTF-8 only (one BOM skipped),
/// at most ``maximumDepth`` levels, no repeated member in the top-level object, numbers kept as text.
public enum JSONValue: Sendable, Hashable {
    case null
    case bool(Bool)
    /// The number's own text, which is valid JSON; see ``JSONNumber``.
    case number(JSONNumber)
    case string(String)
    case array([JSONValue])
    /// In the order sent. Below the top level a repeated member's last value counts.
    case object(JSONObject)

    public static let maximumDepth = 64

    /// - Throws: ``JSONError`` with the byte offset. Never traps, whatever the bytes.
    public init(parsing bytes: some Collection<UInt8>) throws(JSONError) { fatalError("stub") }

    /// Compact, members in order, non-ASCII as UTF-8, control characters escaped.
    public func serialized() -> [UInt8] { fatalError("stub") }

    public var string: String? { if case .string(let s) = self { s } else { nil } }
    public var bool: Bool? { if case .bool(let b) = self { b } else { nil } }
    public var array: [JSONValue]? { if case .array(let a) = self { a } else { nil } }
    public var object: JSONObject? { if case .object(let o) = self { o } else { nil } }
    public var isNull: Bool { self == .null }
    /// A whole number that fits, else `nil`; no rounding.
    public var integer: Int? { if case .number(let n) = self { n.integer } else { nil } }
    public subscript(_ name: String) -> JSONValue? { object?[name] }
}

/// A JSON number by its text, so that reading one can neither round nor trap.
public struct JSONNumber: Sendable, Hashable {
    public let text: String
    package init(validText text: String) { self.text = text }
    public init(_ value: Int) { text = String(value) }
    /// The value when it is whole and fits (`3600`, `3.6e3`), else `nil`.
    public var integer: Int? { fatalError("stub") }
    /// Rounded down and clamped to `Int`'s range; exact text arithmetic, so `1e400` is `Int.max`.
    public var flooredClamped: Int { fatalError("stub") }
}

/// An object's members in order, found by name byte for byte.
public struct JSONObject: Sendable, Hashable, ExpressibleByDictionaryLiteral {
    public private(set) var members: [(name: String, value: JSONValue)]
    public init(_ members: [(name: String, value: JSONValue)] = []) { self.members = members }
    public init(dictionaryLiteral elements: (String, JSONValue)...) { members = elements.map { ($0.0, $0.1) } }

    /// `nil` when there is no such member; `.null` when it is there and null. Setting `nil` removes it.
    public subscript(_ name: String) -> JSONValue? {
        get { members.first { $0.name.utf8.elementsEqual(name.utf8) }?.value }
        set {
            let index = members.firstIndex { $0.name.utf8.elementsEqual(name.utf8) }
            switch (index, newValue) {
            case (let index?, let value?): members[index].value = value
            case (let index?, nil): members.remove(at: index)
            case (nil, let value?): members.append((name, value))
            case (nil, nil): break
            }
        }
    }
    public var names: [String] { members.map(\.name) }

    public static func == (a: JSONObject, b: JSONObject) -> Bool {
        a.members.elementsEqual(b.members) { $0.name == $1.name && $0.value == $1.value }
    }
    public func hash(into hasher: inout Hasher) {
        for member in members { hasher.combine(member.name); hasher.combine(member.value) }
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByNilLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(integerLiteral value: Int) { self = .number(JSONNumber(value)) }
    public init(nilLiteral: ()) { self = .null }
    public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    public init(dictionaryLiteral elements: (String, JSONValue)...) {
        self = .object(JSONObject(elements.map { ($0.0, $0.1) }))
    }
}

public struct JSONError: Error, Sendable, Hashable, CustomStringConvertible {
    public let offset: Int
    /// What was found, without the text itself.
    public let reason: String
    package init(offset: Int, reason: String) { self.offset = offset; self.reason = reason }
    public var description: String { "not valid JSON at byte \(offset): \(reason)" }
}

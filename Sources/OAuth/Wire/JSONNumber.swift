/// A JSON number by its text, so that reading one can neither round nor trap.
public struct JSONNumber: Sendable, Hashable {
    public let text: String

    /// - Parameter text: valid by the grammar of RFC 8259 §6.
    package init(validText text: String) { self.text = text }
    public init(_ value: Int) { text = String(value) }

    /// The value when it is whole and fits (`3600`, `3.6e3`), else `nil`.
    public var integer: Int? {
        let parts = decimal
        guard parts.fraction.allSatisfy({ $0 == UInt8(ascii: "0") }) else { return nil }
        return Self.integer(parts.isNegative, parts.whole)
    }

    /// Rounded down and clamped to `Int`'s range; `1e400` is `Int.max`.
    public var flooredClamped: Int {
        let parts = decimal
        let hasFraction = parts.fraction.contains { $0 != UInt8(ascii: "0") }
        guard let whole = Self.integer(parts.isNegative, parts.whole) else { return parts.isNegative ? .min : .max }
        return parts.isNegative && hasFraction && whole > .min ? whole - 1 : whole
    }

    /// Digits before and behind the point once the exponent is applied; a few hundred at most, as more fit no `Int`.
    private var decimal: (isNegative: Bool, whole: [UInt8], fraction: [UInt8]) {
        var bytes = Array(text.utf8)
        let isNegative = bytes.first == UInt8(ascii: "-")
        if isNegative { bytes.removeFirst() }
        let e = bytes.firstIndex { $0 == UInt8(ascii: "e") || $0 == UInt8(ascii: "E") }
        let mantissa = bytes[..<(e ?? bytes.endIndex)]
        let point = mantissa.firstIndex(of: UInt8(ascii: ".")) ?? mantissa.endIndex
        var whole = Array(mantissa[..<point])
        var fraction = Array(mantissa[point...].dropFirst())
        let exponent = e.map { Self.exponent(bytes[bytes.index(after: $0)...]) } ?? 0
        let isZero = (whole + fraction).allSatisfy { $0 == UInt8(ascii: "0") }
        guard !isZero else { return (false, [UInt8(ascii: "0")], []) }
        if exponent > 0 {
            let moved = min(exponent, fraction.count)
            whole += fraction.prefix(moved)
            fraction.removeFirst(moved)
            whole += Array(repeating: UInt8(ascii: "0"), count: min(exponent - moved, 400))
        } else if exponent < 0 {
            let moved = min(-exponent, whole.count)
            fraction = whole.suffix(moved) + fraction
            whole.removeLast(moved)
        }
        return (isNegative, whole, fraction)
    }

    private static func exponent(_ digits: ArraySlice<UInt8>) -> Int {
        let isNegative = digits.first == UInt8(ascii: "-")
        let value = digits.reduce(0) { (0x30...0x39).contains($1) ? min($0 * 10 + Int($1 - 0x30), 1_000_000) : $0 }
        return isNegative ? -value : value
    }

    private static func integer(_ isNegative: Bool, _ digits: [UInt8]) -> Int? {
        let significant = digits.drop { $0 == UInt8(ascii: "0") }
        guard significant.count <= 19 else { return nil }
        let text = (isNegative ? "-" : "") + String(decoding: significant, as: UTF8.self)
        return significant.isEmpty ? 0 : Int(text)
    }
}

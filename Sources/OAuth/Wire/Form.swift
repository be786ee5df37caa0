/// `application/x-www-form-urlencoded`, RFC 6749 Appendix B.
public enum Form {
    /// `A-Z a-z 0-9 - . _ ~` stay, space becomes `+`, every other byte `%HH` in upper case.
    public static func encode(_ text: String) -> String {
        var result: [UInt8] = []
        result.reserveCapacity(text.utf8.count)
        append(text, to: &result)
        return String(decoding: result, as: UTF8.self)
    }

    /// The same, but `%20` for a space: for a path, and for a query that may be read as no form. RFC 3986 §2.
    package static func percentEncode(_ text: String) -> String { encode(text).replacing("+", with: "%20") }

    /// Pairs joined by `&`, name and value by `=`.
    public static func serialize(_ pairs: [(String, String)]) -> String {
        var result: [UInt8] = []
        for (name, value) in pairs {
            if !result.isEmpty { result.append(UInt8(ascii: "&")) }
            append(name, to: &result)
            result.append(UInt8(ascii: "="))
            append(value, to: &result)
        }
        return String(decoding: result, as: UTF8.self)
    }

    private static let hex = Array("0123456789ABCDEF".utf8)

    private static func append(_ text: String, to result: inout [UInt8]) {
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
                result.append(byte)
            case UInt8(ascii: " "):
                result.append(UInt8(ascii: "+"))
            default:
                result += [UInt8(ascii: "%"), hex[Int(byte >> 4)], hex[Int(byte & 0x0F)]]
            }
        }
    }

    /// Strict: every `%` is followed by two hex digits, the result is UTF-8; empty pairs are skipped; order is kept.
    public static func parse(_ bytes: some Collection<UInt8>) throws(FormError) -> [(name: String, value: String)] {
        var pairs: [(name: String, value: String)] = []
        for pair in bytes.split(separator: UInt8(ascii: "&"), omittingEmptySubsequences: true) {
            let parts = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            let name = try decode(parts[0])
            let value = parts.count > 1 ? try decode(parts[1]) : ""
            pairs.append((name, value))
        }
        return pairs
    }

    private static func decode(_ bytes: some Collection<UInt8>) throws(FormError) -> String {
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var iterator = bytes.makeIterator()
        while let byte = iterator.next() {
            switch byte {
            case UInt8(ascii: "+"): result.append(UInt8(ascii: " "))
            case UInt8(ascii: "%"):
                guard let high = iterator.next().flatMap(hexValue), let low = iterator.next().flatMap(hexValue) else {
                    throw FormError("a percent sign is not followed by two hex digits")
                }
                result.append(high << 4 | low)
            default: result.append(byte)
            }
        }
        guard let text = String(validating: result, as: UTF8.self) else { throw FormError("it is not UTF-8") }
        return text
    }

    package static func hexValue(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

public struct FormError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What is wrong, without the text itself.
    public let description: String
    package init(_ description: String) { self.description = description }
}

/// A header field's name, made ready for comparing: lower case, and whatever is neither letter nor digit as `-`.
///
/// APIs read `X_Forwarded_For` and `X-Forwarded-For` alike where names become variables (RFC 3875 §4.1.18), so names that must not
/// pass are found in every such spelling (SEC-80). Made for each field of each request: no allocation.
package struct FieldName: Sendable {
    /// Its first 32 bytes, in order, padded with zeros. No name that the tables hold is longer.
    let words: SIMD4<UInt64>
    let count: Int
    /// Whether it is spelled with letters, digits and `-` only: a name that may pass is known by its own spelling.
    package let isPlain: Bool
    /// RFC 9110 §5.1.
    package let isToken: Bool

    package init(_ name: String) {
        let bytes = name.utf8.span
        var words = SIMD4<UInt64>()
        var word: UInt64 = 0
        var isPlain = bytes.count > 0
        for index in bytes.indices {
            let folded = Self.folded(bytes[index])
            isPlain = isPlain && (folded != Self.hyphen || bytes[index] == Self.hyphen)
            guard index < 32 else { continue }
            word |= UInt64(folded) &<< UInt64((index & 7) &* 8)
            if index & 7 == 7 {
                words[index &>> 3] = word
                word = 0
            }
        }
        if bytes.count < 32 { words[bytes.count &>> 3] = word }
        self.words = words
        self.isPlain = isPlain
        count = bytes.count
        isToken = isPlain || Self.isToken(bytes)
    }

    /// The whole name as text, in the form in which names are compared.
    package static func normal(_ name: String) -> String {
        String(decoding: name.utf8.map(folded), as: UTF8.self)
    }

    /// Whether `name` is `normal`, however it is spelled.
    /// - Parameter normal: from ``normal(_:)``.
    package static func matches(_ name: String, normal: String) -> Bool {
        guard name.utf8.count == normal.utf8.count else { return false }
        var other = normal.utf8.makeIterator()
        for byte in name.utf8 where other.next() != folded(byte) { return false }
        return true
    }

    /// Whether two names are one by RFC 9110 §5.1: case does not count, everything else does.
    /// - Parameter lowerCase: the second one, in lower case.
    package static func isSame(_ name: String, lowerCase: String) -> Bool {
        guard name.utf8.count == lowerCase.utf8.count else { return false }
        var other = lowerCase.utf8.makeIterator()
        for byte in name.utf8 where other.next() != lowered(byte) { return false }
        return true
    }

    private static let hyphen = UInt8(ascii: "-")

    @inline(__always)
    private static func lowered(_ byte: UInt8) -> UInt8 { byte &- 0x41 < 26 ? byte | 0x20 : byte }

    @inline(__always)
    private static func folded(_ byte: UInt8) -> UInt8 {
        let lower = byte | 0x20
        return lower &- 0x61 < 26 ? lower : byte &- 0x30 < 10 ? byte : hyphen
    }

    private static func isToken(_ bytes: Span<UInt8>) -> Bool {
        for index in bytes.indices {
            switch bytes[index] {
            case 0x21, 0x23...0x27, 0x2A, 0x2B, 0x2D, 0x2E, 0x5E, 0x5F, 0x60, 0x7C, 0x7E: continue
            case let byte where folded(byte) == hyphen: return false
            default: continue
            }
        }
        return bytes.count > 0
    }
}

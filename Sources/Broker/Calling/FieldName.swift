/// A header field's name, made ready for comparing: lower case, and whatever is neither letter nor digit as `-`.
///
/// APIs read `X_Forwarded_For` and `X-Forwarded-For` alike where names become variables (RFC 3875 §4.1.18), so names that must not
/// pass are found in every such spelling (SEC-80). Made for each field of each request: no allocation.
package struct FieldName: Sendable {
    /// Its first 32 bytes, in order, padded with zeros. No name that the tables hold is longer.
    let words: SIMD4<UInt64>
    package let count: Int
    /// Whether it is spelled with letters, digits and `-` only: a name that may pass is known by its own spelling.
    package let isPlain: Bool
    /// RFC 9110 §5.1.
    package let isToken: Bool

    package init(_ name: String) { self.init(name.utf8.span) }

    package init(_ bytes: Span<UInt8>) {
        count = bytes.count
        var isPlain = bytes.count > 0
        words = bytes.withUnsafeBytes { bytes in
            var words = SIMD4<UInt64>()
            var start = 0
            while start < bytes.count {
                let word = Word(bytes, at: start)
                isPlain = isPlain && word.isPlain
                if start < 32 { words[start &>> 3] = word.folded }
                start &+= 8
            }
            return words
        }
        self.isPlain = isPlain
        isToken = isPlain || Self.isToken(bytes)
    }

    /// Up to eight bytes of a name at once: a byte has its top bit set in `letters` where it is a letter, and so on.
    private struct Word {
        private static let (ones, tops): (UInt64, UInt64) = (0x0101_0101_0101_0101, 0x8080_8080_8080_8080)
        let folded: UInt64
        let isPlain: Bool

        @inline(__always)
        init(_ bytes: UnsafeRawBufferPointer, at start: Int) {
            let length = min(bytes.count &- start, 8)
            let raw = Self.load(bytes, at: start, length)
            let inside = UInt64.max &>> UInt64((8 &- length) &* 8)
            let lower = raw | Self.ones &* 0x20
            let letters = Self.within(lower, 0x61, 0x7A) & ~raw & Self.tops
            let digits = Self.within(raw, 0x30, 0x39) & ~raw & Self.tops
            let (isLetter, isDigit) = (Self.spread(letters), Self.spread(digits))
            let hyphens = Self.ones &* UInt64(FieldName.hyphen)
            folded = (lower & isLetter | raw & isDigit | hyphens & ~(isLetter | isDigit)) & inside
            let others = raw ^ hyphens
            let isHyphen = ~((others & ~Self.tops) &+ ~Self.tops | others) & Self.tops
            isPlain = (letters | digits | isHyphen) & inside == Self.tops & inside
        }

        /// Zeros where there are no more bytes.
        @inline(__always)
        private static func load(_ bytes: UnsafeRawBufferPointer, at start: Int, _ length: Int) -> UInt64 {
            if length == 8 { return UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: start, as: UInt64.self)) }
            // The last eight hold those before as well.
            if start > 0 {
                return UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: start &+ length &- 8, as: UInt64.self)) &>> UInt64((8 &- length) &* 8)
            }
            var word: UInt64 = 0
            for index in 0..<length { word |= UInt64(bytes[index]) &<< UInt64(index &* 8) }
            return word
        }

        /// The top bit of each byte that lies between the two, as far as it is ASCII.
        @inline(__always)
        private static func within(_ word: UInt64, _ first: UInt64, _ last: UInt64) -> UInt64 {
            let low = word & ~tops
            return (low &+ ones &* (0x80 &- first)) & ~(low &+ ones &* (0x7F &- last))
        }

        @inline(__always)
        private static func spread(_ tops: UInt64) -> UInt64 { (tops &>> 7) &* 0xFF }
    }

    /// Whether both are one name in the form in which names are compared; `nil` where they are too long to tell.
    package func isSame(as other: FieldName) -> Bool? {
        guard count == other.count, words == other.words else { return false }
        return count <= 32 ? true : nil
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

    fileprivate static let hyphen = UInt8(ascii: "-")

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

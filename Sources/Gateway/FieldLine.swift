import Broker

/// One field line of a message's head, as strictly read as it can be: a token, a colon, a value without control characters,
/// CRLF. Nothing stands before the colon, and no line goes on in the next. RFC 9112 §5.
struct FieldLine {
    enum Fault: Error {
        /// More bytes may make it a line.
        case unfinished
        case wrong
    }
    let name: FieldName
    let start: Int
    let colon: Int
    /// Without the spaces and tabs around it.
    let value: Range<Int>
    /// Behind the line break.
    let end: Int

    init(_ bytes: Span<UInt8>, at start: Int) throws(Fault) {
        var index = start
        while index < bytes.count, bytes[index] > 0x20, bytes[index] != UInt8(ascii: ":") { index += 1 }
        guard index < bytes.count else { throw .unfinished }
        guard bytes[index] == UInt8(ascii: ":") else { throw .wrong }
        let name = FieldName(bytes.extracting(start..<index))
        guard name.isToken else { throw .wrong }
        try self.init(bytes, at: start, name: name)
    }

    /// - Parameter name: is a token, and stands there with a colon behind it.
    init(_ bytes: Span<UInt8>, at start: Int, name: FieldName) throws(Fault) {
        self.start = start
        self.name = name
        colon = start + name.count
        var index = colon + 1
        while index < bytes.count, FieldBytes.isBlank(bytes[index]) { index += 1 }
        let first = index
        index = FieldBytes.endOfValue(bytes, from: index)
        end = try lineBreak(bytes, at: index)
        while index > first, FieldBytes.isBlank(bytes[index - 1]) { index -= 1 }
        value = first..<index
    }

    /// Whether it stands there as we would write it.
    func isPlain(_ bytes: Span<UInt8>) -> Bool {
        value.lowerBound == colon + 2 && value.upperBound + 2 == end && bytes[colon + 1] == UInt8(ascii: " ")
    }

    /// Whether this is its name by RFC 9110 §5.1.
    /// - Parameter lowerCase: of as many bytes.
    func isNamed(_ lowerCase: StaticString, _ bytes: Span<UInt8>) -> Bool { FieldBytes.isSame(bytes, start..<colon, lowerCase) }
}

/// - Returns: the index behind the CRLF at `index`.
func lineBreak(_ bytes: Span<UInt8>, at index: Int) throws(FieldLine.Fault) -> Int {
    guard index < bytes.count else { throw .unfinished }
    guard bytes[index] == UInt8(ascii: "\r") else { throw .wrong }
    guard index + 1 < bytes.count else { throw .unfinished }
    guard bytes[index + 1] == UInt8(ascii: "\n") else { throw .wrong }
    return index + 2
}

/// The bytes that heads are made of.
enum FieldBytes {
    @inline(__always)
    static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

    /// Of a value, `obs-text` among them. RFC 9110 §5.5.
    @inline(__always)
    static func isValue(_ byte: UInt8) -> Bool { (byte >= 0x20 && byte != 0x7F) || byte == 0x09 }

    /// - Returns: the index of the first byte that is of no value.
    static func endOfValue(_ bytes: Span<UInt8>, from start: Int) -> Int {
        var index = start
        while true {
            index = bytes.withUnsafeBytes { bytes in
                var index = index
                // Eight at a time, while none is a control character.
                while index + 8 <= bytes.count, !hasControl(bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)) { index += 8 }
                return index
            }
            let stop = min(index + 8, bytes.count)
            while index < stop, isValue(bytes[index]) { index += 1 }
            if index < stop || index == bytes.count { return index }
        }
    }

    /// Whether one of eight bytes is below 0x20, or 0x7F.
    @inline(__always)
    private static func hasControl(_ word: UInt64) -> Bool {
        let (ones, highs): (UInt64, UInt64) = (0x0101_0101_0101_0101, 0x8080_8080_8080_8080)
        let delete = word ^ (ones &* 0x7F)
        let low = (word &- ones &* 0x20) & ~word
        return (low | ((delete &- ones) & ~delete)) & highs != 0
    }

    @inline(__always)
    static func isDigit(_ byte: UInt8) -> Bool { byte &- 0x30 < 10 }

    /// Whether the bytes are that text, whatever the case of its letters.
    static func isSame(_ bytes: Span<UInt8>, _ range: Range<Int>, _ lowerCase: StaticString) -> Bool {
        guard range.count == lowerCase.utf8CodeUnitCount else { return false }
        return lowerCase.withUTF8Buffer { text in
            for index in text.indices {
                let byte = bytes[range.lowerBound + index]
                guard (byte &- 0x41 < 26 ? byte | 0x20 : byte) == text[index] else { return false }
            }
            return true
        }
    }

    /// Whether the text stands at `start`, letter for letter.
    static func begins(_ bytes: Span<UInt8>, at start: Int, _ text: StaticString) -> Bool {
        guard bytes.count - start >= text.utf8CodeUnitCount else { return false }
        return text.withUTF8Buffer { text in
            for index in text.indices where bytes[start + index] != text[index] { return false }
            return true
        }
    }

    /// - Returns: `nil` for what is no number of up to 18 digits.
    static func number(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Int? {
        guard (1...18).contains(range.count) else { return nil }
        var number = 0
        for index in range {
            guard isDigit(bytes[index]) else { return nil }
            number = number * 10 + Int(bytes[index] &- 0x30)
        }
        return number
    }

    static func text(_ bytes: Span<UInt8>, _ range: Range<Int>) -> String { text(bytes.extracting(range)) }

    static func text(_ bytes: Span<UInt8>) -> String { bytes.withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) } }

    /// Whether the bytes are that text.
    static func isSame(_ bytes: Span<UInt8>, _ text: String) -> Bool {
        guard bytes.count == text.utf8.count else { return false }
        var index = 0
        for byte in text.utf8 {
            guard bytes[index] == byte else { return false }
            index += 1
        }
        return true
    }
}

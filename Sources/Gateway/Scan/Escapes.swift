/// The escapes that are undone while a text is compared: what a reader of it would undo.
struct Escapes: OptionSet, Sendable, Hashable {
    let rawValue: UInt8

    /// `%2B`. RFC 3986 §2.1.
    static let percent = Escapes(rawValue: 1)
    /// `\/`, `\u002b`, and `\x2b` as scripts have it. RFC 8259 §7.
    static let json = Escapes(rawValue: 2)
    /// `&#43;`, `&#x2B;`, `&amp;`.
    static let entities = Escapes(rawValue: 4)
    /// An escape of an escape: `%252B`, `\\u002b`, `&amp;#43;`.
    static let nested = Escapes(rawValue: 8)

    static let all: Escapes = [.percent, .json, .entities, .nested]

    /// No escape is longer: `&amp;#x0002B;`.
    static let longest = 13

    /// One byte of what a text says, and how many bytes of the text say it. A width of 0: the text ends within what may be an escape.
    struct Letter {
        var byte: UInt8
        var width: Int

        static let unfinished = Letter(byte: 0, width: 0)
    }

    /// - Parameter isWhole: nothing follows the text, so what ends early is no escape.
    @inline(__always)
    func letter(of text: UnsafeRawBufferPointer, at index: Int, isWhole: Bool) -> Letter {
        let byte = text[index]
        guard Self.mayBegin(with: byte) else { return Letter(byte: byte, width: 1) }
        return escape(in: text, at: index, isWhole: isWhole)
    }

    @inline(__always)
    static func mayBegin(with byte: UInt8) -> Bool { byte == .percent || byte == .backslash || byte == .ampersand }

    private func escape(in text: UnsafeRawBufferPointer, at index: Int, isWhole: Bool) -> Letter {
        let reading: Reading
        switch text[index] {
        case .percent where contains(.percent): reading = percent(text, index)
        case .backslash where contains(.json): reading = backslash(text, index)
        case .ampersand where contains(.entities): reading = entity(text, index)
        default: reading = .none
        }
        switch reading {
        case .byte(let byte, let end): return Letter(byte: byte, width: end - index)
        case .short where !isWhole: return .unfinished
        case .short, .none: return Letter(byte: text[index], width: 1)
        }
    }

    /// What begins at a place: a byte with where it ends, nothing, or nothing yet.
    private enum Reading {
        case byte(UInt8, end: Int)
        case none
        case short
    }

    private func percent(_ text: UnsafeRawBufferPointer, _ index: Int) -> Reading {
        var reading = Self.hexPair(text, index + 1)
        var levels = contains(.nested) ? 2 : 0
        while levels > 0, case .byte(.percent, let end) = reading {
            switch Self.hexPair(text, end) {
            case .none: return reading
            case let inner: reading = inner
            }
            levels -= 1
        }
        return reading
    }

    private func backslash(_ text: UnsafeRawBufferPointer, _ index: Int) -> Reading {
        let most = contains(.nested) ? 4 : 1
        var end = index
        while end < text.count, end - index < most, text[end] == .backslash { end += 1 }
        guard end < text.count else { return .short }
        switch text[end] {
        case UInt8(ascii: "u"):
            for zero in end + 1...end + 2 {
                guard zero < text.count else { return .short }
                guard text[zero] == UInt8(ascii: "0") else { return .none }
            }
            return Self.hexPair(text, end + 3)
        case UInt8(ascii: "x"): return Self.hexPair(text, end + 1)
        case let byte where byte == UInt8(ascii: "/") || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'"): return .byte(byte, end: end + 1)
        case .backslash where most == 1: return .byte(.backslash, end: end + 1)
        default: return .none
        }
    }

    private func entity(_ text: UnsafeRawBufferPointer, _ index: Int) -> Reading {
        var begin = index + 1
        if contains(.nested) {
            switch Self.word("amp;", text, begin) {
            case .byte(_, let end): begin = end
            case .short: return .short
            case .none: break
            }
        }
        guard begin < text.count else { return .short }
        if text[begin] == UInt8(ascii: "#") { return Self.number(text, begin + 1) }
        var isShort = false
        for (name, byte) in Self.names {
            switch Self.word(name, text, begin) {
            case .byte(_, let end): return .byte(byte, end: end)
            case .short: isShort = true
            case .none: break
            }
        }
        return isShort ? .short : .none
    }

    private static let names: [(StaticString, UInt8)] = [
        ("amp;", UInt8(ascii: "&")), ("lt;", UInt8(ascii: "<")), ("gt;", UInt8(ascii: ">")), ("quot;", UInt8(ascii: "\"")),
        ("apos;", UInt8(ascii: "'")), ("plus;", UInt8(ascii: "+")), ("sol;", UInt8(ascii: "/")), ("equals;", UInt8(ascii: "=")),
    ]

    /// Whether the text goes on with that word; the byte means nothing.
    private static func word(_ word: StaticString, _ text: UnsafeRawBufferPointer, _ begin: Int) -> Reading {
        for offset in 0..<word.utf8CodeUnitCount {
            guard begin + offset < text.count else { return .short }
            guard text[begin + offset] == word.utf8Start[offset] else { return .none }
        }
        return .byte(0, end: begin + word.utf8CodeUnitCount)
    }

    @inline(__always)
    static func percentEncoded(_ text: UnsafeRawBufferPointer, at index: Int) -> UInt8? {
        guard index + 2 < text.count, let high = hexDigit(text[index + 1]), let low = hexDigit(text[index + 2]) else { return nil }
        return high << 4 | low
    }

    /// By the second byte of an escape: whether what it says may be a byte that is asked for.
    static func beginnings(where isWanted: (UInt8) -> Bool) -> [Bool] {
        var result = [Bool](repeating: false, count: 256)
        for digit in UInt8.min...UInt8.max where hexDigit(digit) != nil { result[Int(digit)] = true }
        // `\\/` and `&amp;#43;` are escapes of escapes.
        for byte in [UInt8(ascii: "u"), UInt8(ascii: "x"), .backslash, UInt8(ascii: "#"), UInt8(ascii: "a")] { result[Int(byte)] = true }
        for byte in [UInt8(ascii: "/"), UInt8(ascii: "\""), UInt8(ascii: "'")] where isWanted(byte) { result[Int(byte)] = true }
        for (name, byte) in names where isWanted(byte) { result[Int(name.utf8Start[0])] = true }
        return result
    }

    /// What follows `&#`: at most five digits, in base 16 after an `x`.
    private static func number(_ text: UnsafeRawBufferPointer, _ begin: Int) -> Reading {
        guard begin < text.count else { return .short }
        let isHex = text[begin] | 0x20 == UInt8(ascii: "x")
        let first = isHex ? begin + 1 : begin
        var value = 0
        var end = first
        while end < text.count, end - first < 5, let digit = hexDigit(text[end]), isHex || digit < 10 {
            value = value * (isHex ? 16 : 10) + Int(digit)
            end += 1
        }
        guard end < text.count else { return .short }
        guard text[end] == UInt8(ascii: ";"), end > first, let byte = UInt8(exactly: value) else { return .none }
        return .byte(byte, end: end + 1)
    }

    @inline(__always)
    private static func hexPair(_ text: UnsafeRawBufferPointer, _ begin: Int) -> Reading {
        guard begin < text.count else { return .short }
        guard let high = hexDigit(text[begin]) else { return .none }
        guard begin + 1 < text.count else { return .short }
        guard let low = hexDigit(text[begin + 1]) else { return .none }
        return .byte(high << 4 | low, end: begin + 2)
    }

    @inline(__always)
    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        let decimal = byte &- UInt8(ascii: "0")
        if decimal < 10 { return decimal }
        let letter = (byte | 0x20) &- UInt8(ascii: "a")
        return letter < 6 ? letter + 10 : nil
    }
}

extension UInt8 {
    static let percent = UInt8(ascii: "%")
    static let backslash = UInt8(ascii: "\\")
    static let ampersand = UInt8(ascii: "&")
}

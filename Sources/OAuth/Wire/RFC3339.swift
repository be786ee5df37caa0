/// Moments as RFC 3339 §5.6 writes them, in UTC or with an offset.
package enum RFC3339 {
    /// Seconds since 1970, fractions cut; `nil` when it is none.
    package static func seconds(_ text: String) -> Int? { milliseconds(text).map { Int((Double($0) / 1000).rounded(.down)) } }

    /// Milliseconds since 1970, further digits cut; `nil` when it is none.
    package static func milliseconds(_ text: String) -> Int? {
        let bytes = Array(text.utf8)
        func number(_ range: Range<Int>) -> Int? {
            guard range.upperBound <= bytes.count, bytes[range].allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
            return bytes[range].reduce(0) { $0 * 10 + Int($1 - 0x30) }
        }
        func stands(_ text: String, at position: Int) -> Bool { position < bytes.count && text.utf8.contains(bytes[position]) }
        guard let year = number(0..<4), stands("-", at: 4), let month = number(5..<7), stands("-", at: 7), let day = number(8..<10), stands("Tt ", at: 10),
            let hour = number(11..<13), stands(":", at: 13), let minute = number(14..<16), stands(":", at: 16), let second = number(17..<19)
        else { return nil }
        guard (1...12).contains(month), (1...daysIn(month, of: year)).contains(day), hour < 24, minute < 60, second <= 60 else { return nil }
        var position = 19
        var fraction = 0
        if stands(".", at: position) {
            let digits = bytes[(position + 1)...].prefix { (0x30...0x39).contains($0) }
            guard !digits.isEmpty else { return nil }
            for place in 0..<3 { fraction = fraction * 10 + (place < digits.count ? Int(digits[digits.startIndex + place] - 0x30) : 0) }
            position += 1 + digits.count
        }
        let utc = HTTPDate.days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second
        if stands("Zz", at: position) { return position + 1 == bytes.count ? utc * 1000 + fraction : nil }
        guard stands("+-", at: position), position + 6 == bytes.count, let hours = number(position + 1..<position + 3), stands(":", at: position + 3),
            let minutes = number(position + 4..<position + 6), hours < 24, minutes < 60
        else { return nil }
        let offset = (hours * 3600 + minutes * 60) * (bytes[position] == UInt8(ascii: "+") ? 1 : -1)
        return (utc - offset) * 1000 + fraction
    }

    private static func daysIn(_ month: Int, of year: Int) -> Int {
        switch month {
        case 2: (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }
}

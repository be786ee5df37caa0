package import Foundation
import OAuth

/// A UUIDv7 in lower-case text: sorts by the time it was made, never used again. RFC 9562 §5.7.
package struct UID: Sendable, Hashable, Codable, Comparable, CustomStringConvertible {
    package let text: String
    package init(text: String) { self.text = text }
    /// `nil` when it is not one.
    package init?(parsing text: String) {
        let parts = text.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        guard parts.map(\.count) == [8, 4, 4, 4, 12], parts[2].first == UInt8(ascii: "7"),
            parts.joined().allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) })
        else { return nil }
        self.text = text
    }
    package init(from decoder: any Decoder) throws { text = try decoder.singleValueContainer().decode(String.self) }
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(text)
    }
    package var description: String { text }
    package static func < (a: UID, b: UID) -> Bool { a.text < b.text }
    /// A new one at `now`. By arithmetic, and with no more random numbers than it has room for: each call of an API has one.
    package static func make(at now: Timestamp) -> UID {
        var random = SystemRandomNumberGenerator()
        let high = UInt64(max(0, now.milliseconds)) << 16 | 0x7000 | random.next() & 0x0FFF
        let low = random.next() & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
        let text = String(unsafeUninitializedCapacity: 36) { buffer in
            var position = 0
            func put(_ word: UInt64, _ digits: Range<UInt64>, after separator: String = "-") {
                for byte in separator.utf8 {
                    buffer[position] = byte
                    position += 1
                }
                for digit in digits {
                    let value = UInt8(truncatingIfNeeded: word >> (60 - 4 * digit) & 0xF)
                    buffer[position] = value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
                    position += 1
                }
            }
            put(high, 0..<8, after: "")
            put(high, 8..<12)
            put(high, 12..<16)
            put(low, 0..<4)
            put(low, 4..<16)
            return position
        }
        return UID(text: text)
    }
}

/// A moment, in whole milliseconds since 1970 UTC.
package struct Timestamp: Sendable, Hashable, Codable, Comparable {
    package var milliseconds: Int64
    package init(milliseconds: Int64) { self.milliseconds = milliseconds }
    package init(_ date: Date) { milliseconds = Int64((date.timeIntervalSince1970 * 1000).rounded(.down)) }
    package init(from decoder: any Decoder) throws { milliseconds = try decoder.singleValueContainer().decode(Int64.self) }
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(milliseconds)
    }
    /// Whole seconds, rounded down.
    package var seconds: Int { Int(milliseconds >= 0 ? milliseconds / 1000 : (milliseconds - 999) / 1000) }
    package static func < (a: Timestamp, b: Timestamp) -> Bool { a.milliseconds < b.milliseconds }
    package static func + (a: Timestamp, b: Duration) -> Timestamp {
        let (seconds, attoseconds) = b.components
        return Timestamp(milliseconds: a.milliseconds &+ seconds &* 1000 &+ attoseconds / 1_000_000_000_000_000)
    }
    package static func - (a: Timestamp, b: Timestamp) -> Duration { .milliseconds(a.milliseconds - b.milliseconds) }
    /// RFC 3339 in UTC, whole seconds: `2026-01-02T03:04:05Z`. By arithmetic: it stands in every token answer.
    package var rfc3339: String {
        let total = seconds
        let days = total >= 0 ? total / 86_400 : (total - 86_399) / 86_400
        let (year, month, day) = Self.civil(days)
        let second = total - days * 86_400
        return String(unsafeUninitializedCapacity: 20) { buffer in
            func put(_ value: Int, at position: Int, digits: Int) {
                var rest = value
                for offset in (0..<digits).reversed() {
                    buffer[position + offset] = UInt8(ascii: "0") + UInt8(rest % 10)
                    rest /= 10
                }
            }
            put(min(max(year, 0), 9999), at: 0, digits: 4)
            put(month, at: 5, digits: 2)
            put(day, at: 8, digits: 2)
            put(second / 3600, at: 11, digits: 2)
            put(second / 60 % 60, at: 14, digits: 2)
            put(second % 60, at: 17, digits: 2)
            (buffer[4], buffer[7], buffer[10], buffer[13], buffer[16], buffer[19]) = (0x2D, 0x2D, 0x54, 0x3A, 0x3A, 0x5A)
            return 20
        }
    }

    /// The Gregorian date of a day counted from 1970-01-01.
    private static func civil(_ days: Int) -> (year: Int, month: Int, day: Int) {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }

    /// RFC 3339, with or without a fraction; `nil` when it is none.
    package init?(rfc3339 text: String) {
        guard let milliseconds = RFC3339.milliseconds(text) else { return nil }
        self.init(milliseconds: Int64(milliseconds))
    }
}

/// The time of day. Expiry needs a date, waiting needs a `Clock`; neither stands in for the other.
package struct WallClock: Sendable {
    package var now: @Sendable () -> Timestamp
    package init(now: @escaping @Sendable () -> Timestamp) { self.now = now }
    /// Read often: not by way of a `Date`, whose fractions cost more than the reading.
    package static let system = WallClock {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
    }
}

/// Ciphertext as it is stored: `version | algorithm | data key id | salt(16) | nonce(12) | ciphertext | tag`.
package struct Sealed: Sendable, Hashable {
    package var bytes: [UInt8]
    /// Set by whoever sealed it in this process: while this value may still be written, its data key is not deleted.
    private let use: DataKeyUse?

    package init(bytes: [UInt8]) { self.init(bytes: bytes, use: nil) }
    init(bytes: [UInt8], use: DataKeyUse?) {
        self.bytes = bytes
        self.use = use
    }

    package static func == (a: Sealed, b: Sealed) -> Bool { a.bytes == b.bytes }
    package func hash(into hasher: inout Hasher) { hasher.combine(bytes) }

    /// The id of the data key that sealed it; `nil` when the bytes are no ciphertext.
    package var dataKeyID: Int? { Envelope.keyID(of: bytes).map(Int.init) }
}

/// Counts, by its references, the values that a data key sealed and that are not written yet.
final class DataKeyUse: Sendable {}

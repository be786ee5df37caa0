import OAuth

/// A line of `agent_access.paths`, compiled.
///
/// `*` stands for one byte or more within a segment and may stand beside other text (`/reports/*.json`); an encoded slash ends a segment
/// as well, since the API may take it for one. `/**` at the end stands for any rest, the empty one included: `/repos/**` covers `/repos/`
/// and all below, not `/repos`. Everything else stands for itself, byte by byte.
struct PathPattern: Sendable {
    private let bytes: [UInt8]
    private let takesRest: Bool

    /// - Returns: `nil` for a pattern that cannot be saved: it covers nothing.
    init?(_ text: String) {
        guard Self.fault(of: text) == nil else { return nil }
        takesRest = text.utf8.count >= 3 && text.utf8.suffix(3).elementsEqual("/**".utf8)
        bytes = takesRest ? Array(text.utf8.dropLast(2)) : Array(text.utf8)
    }

    func matches(_ path: Span<UInt8>) -> Bool {
        var here = 0
        var at = 0
        // Behind the last star: where the pattern goes on, and how far the star reaches. Stars of earlier segments are settled by then,
        // and a longer reach of an earlier star in the same segment cannot help where the last one's did not.
        var resumed = -1
        var reach = 0
        while true {
            if at == bytes.count {
                if takesRest || here == path.count { return true }
            } else if here < path.count {
                if bytes[at] == Self.star {
                    if !Self.isSlash(path, here) {
                        at += 1
                        here += 1
                        resumed = at
                        reach = here
                        continue
                    }
                } else if bytes[at] == path[here] {
                    at += 1
                    here += 1
                    continue
                }
            }
            guard resumed >= 0, reach < path.count, !Self.isSlash(path, reach) else { return false }
            reach += 1
            at = resumed
            here = reach
        }
    }

    private static let star = UInt8(ascii: "*")

    /// A slash, raw or encoded once or more often.
    private static func isSlash(_ path: Span<UInt8>, _ index: Int) -> Bool {
        if path[index] == UInt8(ascii: "/") { return true }
        guard path[index] == UInt8(ascii: "%") else { return false }
        var next = index + 1
        while next + 1 < path.count, path[next] == UInt8(ascii: "2"), path[next + 1] == UInt8(ascii: "5") { next += 2 }
        return next + 1 < path.count && path[next] == UInt8(ascii: "2") && path[next + 1] | 0x20 == UInt8(ascii: "f")
    }

    /// What keeps a pattern from being saved. It must be able to cover a canonical path, or a builder would believe in a rule that is none.
    static func fault(of text: String) -> String? {
        let bytes = Array(text.utf8)
        guard bytes.first == UInt8(ascii: "/") else { return "must begin with /: paths are relative to base_url" }
        if bytes.contains(UInt8(ascii: "?")) || bytes.contains(UInt8(ascii: "#")) { return "is a path: leave out the query and the fragment" }
        if bytes.contains(UInt8(ascii: ";")) { return "holds a ;, which no agent's path may" }
        if let illegal = bytes.first(where: { !PathBytes.isLegal($0) }) {
            return "holds the byte 0x\(String(illegal, radix: 16, uppercase: true)), which a path carries percent-encoded only"
        }
        if let fault = faultyEscape(bytes) { return fault }
        let segments = bytes.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        for (index, segment) in segments.enumerated() {
            let isLast = index == segments.count - 1
            if segment.isEmpty && !isLast { return "holds an empty segment (//)" }
            if segment.elementsEqual(".".utf8) || segment.elementsEqual("..".utf8) { return "holds a dot segment" }
            let hasTwoStars = zip(segment, segment.dropFirst()).contains { $0 == star && $1 == star }
            if hasTwoStars && !(isLast && segment.count == 2) { return "may hold ** as its last segment only (/repos/**); within a segment use *" }
        }
        return nil
    }

    private static func faultyEscape(_ bytes: [UInt8]) -> String? {
        for index in bytes.indices where bytes[index] == UInt8(ascii: "%") {
            guard index + 2 < bytes.count, let high = Form.hexValue(bytes[index + 1]), let low = Form.hexValue(bytes[index + 2]) else {
                return "holds a % that two hexadecimal digits do not follow"
            }
            let escape = excerpt(bytes: bytes[index...(index + 2)])
            let value = high << 4 | low
            if PathBytes.isUnreserved(value) { return "holds \(escape): write \(excerpt(bytes: [value])) itself" }
            if value < 0x20 || value == 0x7F || value == UInt8(ascii: "\\") { return "holds \(escape), which no path may" }
            let isLowerCase = bytes[(index + 1)...(index + 2)].contains { $0 >= UInt8(ascii: "a") }
            if isLowerCase { return "holds \(escape): write its digits in upper case" }
        }
        return nil
    }
}

/// RFC 3986 §2.3, §3.3.
package enum PathBytes {
    /// The slash, and what a segment is made of: `pchar`, the `%` of an escape included.
    @inline(__always)
    package static func isLegal(_ byte: UInt8) -> Bool { contains(0x2FFF_FFF2_0000_0000, 0x47FF_FFFE_87FF_FFFF, byte) }

    @inline(__always)
    package static func isUnreserved(_ byte: UInt8) -> Bool { contains(0x03FF_6000_0000_0000, 0x47FF_FFFE_87FF_FFFE, byte) }

    /// One bit for each ASCII character.
    @inline(__always)
    package static func contains(_ low: UInt64, _ high: UInt64, _ byte: UInt8) -> Bool {
        byte < 0x80 && (byte < 0x40 ? low : high) &>> UInt64(byte & 0x3F) & 1 == 1
    }
}

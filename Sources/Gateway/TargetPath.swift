package import Broker
import OAuth

/// The part of a request's path behind `/gateway/{id}`, checked byte by byte: it cannot leave the base path.
///
/// What is refused is what two readers may read differently: where the API, or a proxy before it, decodes once more than it should,
/// resolves dots or takes a backslash for a slash, the path would lead elsewhere than it seems to. SEC-82, SEC-83.
package struct TargetPath: Sendable, Hashable {
    /// Begins with `/`, or is empty. As it was received; for agents the canonical form.
    package let text: String

    /// - Parameters:
    ///   - raw: everything behind `/gateway/{id}` and before the `?`.
    ///   - isCanonical: for agents: what policy judges is what is sent. Escapes of unreserved characters are decoded, hexadecimal digits
    ///     are put in upper case (RFC 3986 §6.2.2); empty segments and `;` are refused.
    ///   - allowsEncodedSlash: whether `%2F` may stand in it.
    /// - Throws: `invalid_request` saying what is wrong.
    package init(_ raw: Substring, isCanonical: Bool, allowsEncodedSlash: Bool) throws(Problem) {
        let scan: Scan
        do throws(Fault) {
            let bytes = raw.utf8.span
            scan = try Scan(bytes)
            if isCanonical { try scan.requirePlain() }
            if scan.hasEscape {
                try Self.judgeDecoded(bytes, allowsEncodedSlash: allowsEncodedSlash)
            } else if scan.hasDot {
                try Self.judgeSegments(bytes)
            }
        } catch {
            throw error.problem(for: raw)
        }
        text = isCanonical && scan.changesInCanonicalForm ? Self.canonical(raw) : String(raw)
    }

    static let longest = 8192

    /// A base path with a checked path behind it: the path of the request target.
    /// - Parameter base: the path of the base URL. With nothing behind it it stays as it is configured.
    package static func join(base: String, _ target: TargetPath) -> String {
        if target.text.isEmpty { return base.isEmpty ? "/" : base }
        guard base.utf8.last == UInt8(ascii: "/") else { return base + target.text }
        var trimmed = base[...]
        while trimmed.utf8.last == UInt8(ascii: "/") { trimmed.unicodeScalars.removeLast() }
        return trimmed.isEmpty ? target.text : String(trimmed) + target.text
    }

    /// What keeps a path from being sent.
    private struct Fault: Error {
        let reason: String
        var fix: String?

        func problem(for raw: Substring) -> Problem {
            Problem(.invalidRequest, "the path behind the connection's id \(reason): \(excerpt(raw))", fix: fix)
        }
    }

    /// One look at each byte.
    private struct Scan {
        var hasEscape = false
        var hasDot = false
        var changesInCanonicalForm = false
        private var semicolon: Int?
        private var emptySegment: Int?

        init(_ bytes: Span<UInt8>) throws(Fault) {
            guard bytes.count <= longest else { throw Fault(reason: "is longer than \(longest) bytes") }
            guard bytes.count > 0 else { return }
            guard bytes[0] == slash else {
                throw Fault(reason: "does not begin with /", fix: "call /gateway/ID/PATH; the host is fixed by the connection")
            }
            if beginsEmpty(bytes) { throw emptyBeginning }
            var before: UInt8 = 0
            for index in 0..<bytes.count {
                let byte = bytes[index]
                guard PathBytes.isLegal(byte) else {
                    throw Fault(
                        reason: "holds the byte 0x\(hex(byte)) at \(index), which no path may hold as it is",
                        fix: byte == backslash ? "write / between segments" : "percent-encode what is not part of a URL's path")
                }
                switch byte {
                case UInt8(ascii: "%"): try note(escapeAt: index, bytes)
                case UInt8(ascii: "."): hasDot = true
                case UInt8(ascii: ";"): semicolon = semicolon ?? index
                case slash: if before == slash { emptySegment = emptySegment ?? index }
                default: break
                }
                before = byte
            }
        }

        private mutating func note(escapeAt index: Int, _ bytes: Span<UInt8>) throws(Fault) {
            guard let value = escaped(bytes, index) else {
                throw Fault(reason: "has a % at \(index) that two hexadecimal digits do not follow", fix: "write %25 for the character %")
            }
            hasEscape = true
            let hasLowerCase = bytes[index + 1] >= UInt8(ascii: "a") || bytes[index + 2] >= UInt8(ascii: "a")
            if hasLowerCase || PathBytes.isUnreserved(value) { changesInCanonicalForm = true }
        }

        /// What servers disagree about and no agent needs: path parameters are cut off by some (RFC 3986 §3.3), empty segments merged.
        func requirePlain() throws(Fault) {
            if let semicolon { throw Fault(reason: "holds a ; at \(semicolon), which agents may not send", fix: "leave it out, or write %3B") }
            if let emptySegment {
                throw Fault(reason: "holds an empty segment at \(emptySegment), which agents may not send", fix: "write one slash")
            }
        }
    }

    // MARK: Decoded

    /// Judges what the path becomes when it is decoded once, twice and thrice: a proxy and a framework may each decode.
    private static func judgeDecoded(_ raw: Span<UInt8>, allowsEncodedSlash: Bool) throws(Fault) {
        try judgeSegments(raw)
        var bytes = [UInt8](capacity: raw.count) { output in for index in 0..<raw.count { output.append(raw[index]) } }
        for _ in 1...3 {
            guard try decode(&bytes, allowsEncodedSlash: allowsEncodedSlash) else { return }
            try judgeUTF8(bytes.span)
            try judgeSegments(bytes.span)
        }
        if hasEscape(bytes.span) {
            throw Fault(reason: "is percent-encoded more than three times over", fix: "encode each character once")
        }
    }

    /// Decodes each escape once, in place. A `%` that begins none stays: the first decoding made it.
    /// - Returns: whether there was one.
    private static func decode(_ bytes: inout [UInt8], allowsEncodedSlash: Bool) throws(Fault) -> Bool {
        var output = 0
        var index = 0
        while index < bytes.count {
            if let value = escaped(bytes.span, index) {
                try judge(value, allowsEncodedSlash: allowsEncodedSlash)
                bytes[output] = value
                index += 3
            } else {
                bytes[output] = bytes[index]
                index += 1
            }
            output += 1
        }
        guard output < bytes.count else { return false }
        bytes.removeLast(bytes.count - output)
        return true
    }

    private static func judge(_ value: UInt8, allowsEncodedSlash: Bool) throws(Fault) {
        if value < 0x20 || value == 0x7F {
            throw Fault(reason: "holds an encoded control character (%\(hex(value)))", fix: "leave it out")
        }
        if value == backslash { throw Fault(reason: "holds an encoded backslash (%5C)", fix: "write / between segments") }
        if value == slash && !allowsEncodedSlash {
            throw Fault(reason: "holds an encoded slash (%2F)", fix: "write / between segments, or have an admin set allow_encoded_slash")
        }
    }

    /// `//` at the beginning of a reference names a host (RFC 3986 §4.2), and `/;x/` becomes that where path parameters are cut off.
    private static func beginsEmpty(_ bytes: Span<UInt8>) -> Bool {
        bytes.count > 1 && (bytes[1] == slash || bytes[1] == UInt8(ascii: ";"))
    }

    private static var emptyBeginning: Fault {
        Fault(reason: "begins with // or /;, raw or encoded", fix: "send the path relative to base_url, with one slash before it")
    }

    /// Dot segments, also before a character that ends a segment for some: `..;x` (path parameters), `..?`, `..#`.
    private static func judgeSegments(_ bytes: Span<UInt8>) throws(Fault) {
        if beginsEmpty(bytes) { throw emptyBeginning }
        var dots = 0
        var isAtStart = false
        for index in 0..<bytes.count {
            switch bytes[index] {
            case slash:
                if isAtStart && dots > 0 { throw dotSegment }
                (dots, isAtStart) = (0, true)
            case UInt8(ascii: ".") where isAtStart && dots < 2: dots += 1
            case UInt8(ascii: ";"), UInt8(ascii: "?"), UInt8(ascii: "#"):
                if isAtStart && dots > 0 { throw dotSegment }
                isAtStart = false
            default: isAtStart = false
            }
        }
        if isAtStart && dots > 0 { throw dotSegment }
    }

    private static var dotSegment: Fault {
        Fault(reason: "holds a dot segment, raw or encoded (. or ..)", fix: "send the path that is meant, without . and .. segments")
    }

    /// Overlong forms, such as `%C0%AE` for a dot, are read by careless decoders as what they imitate. RFC 3629 §10.
    private static func judgeUTF8(_ bytes: Span<UInt8>) throws(Fault) {
        var index = 0
        while index < bytes.count {
            let length = scalarLength(bytes, index)
            guard length > 0 else { throw Fault(reason: "is not UTF-8 once it is decoded", fix: "percent-encode UTF-8") }
            index += length
        }
    }

    /// RFC 3629 §4.
    /// - Returns: how many bytes the scalar at `index` has; 0 = there is none.
    private static func scalarLength(_ bytes: Span<UInt8>, _ index: Int) -> Int {
        let first = bytes[index]
        if first < 0x80 { return 1 }
        let length: Int
        var second: ClosedRange<UInt8> = 0x80...0xBF
        switch first {
        case 0xC2...0xDF: length = 2
        case 0xE0: (length, second) = (3, 0xA0...0xBF)
        case 0xED: (length, second) = (3, 0x80...0x9F)
        case 0xE1...0xEF: length = 3
        case 0xF0: (length, second) = (4, 0x90...0xBF)
        case 0xF4: (length, second) = (4, 0x80...0x8F)
        case 0xF1...0xF3: length = 4
        default: return 0
        }
        guard index + length <= bytes.count, second.contains(bytes[index + 1]) else { return 0 }
        for next in (index + 2)..<(index + length) where bytes[next] & 0xC0 != 0x80 { return 0 }
        return length
    }

    // MARK: Canonical

    private static func canonical(_ raw: Substring) -> String {
        var bytes = Array(raw.utf8)
        var output = 0
        var index = 0
        while index < bytes.count {
            guard let value = escaped(bytes.span, index) else {
                bytes[output] = bytes[index]
                (output, index) = (output + 1, index + 1)
                continue
            }
            if PathBytes.isUnreserved(value) {
                bytes[output] = value
                output += 1
            } else {
                bytes[output] = bytes[index]
                bytes[output + 1] = upperCased(bytes[index + 1])
                bytes[output + 2] = upperCased(bytes[index + 2])
                output += 3
            }
            index += 3
        }
        return String(decoding: bytes[..<output], as: UTF8.self)
    }

    private static func upperCased(_ digit: UInt8) -> UInt8 { digit >= UInt8(ascii: "a") ? digit & 0xDF : digit }

    // MARK: Bytes

    private static let slash = UInt8(ascii: "/")
    private static let backslash = UInt8(ascii: "\\")

    private static func hex(_ byte: UInt8) -> String {
        let digits = String(byte, radix: 16, uppercase: true)
        return digits.utf8.count == 1 ? "0" + digits : digits
    }

    private static func hasEscape(_ bytes: Span<UInt8>) -> Bool {
        for index in 0..<bytes.count where escaped(bytes, index) != nil { return true }
        return false
    }

    /// The byte that an escape at `index` stands for.
    private static func escaped(_ bytes: Span<UInt8>, _ index: Int) -> UInt8? {
        guard bytes[index] == UInt8(ascii: "%"), index + 2 < bytes.count else { return nil }
        guard let high = Form.hexValue(bytes[index + 1]), let low = Form.hexValue(bytes[index + 2]) else { return nil }
        return high << 4 | low
    }
}

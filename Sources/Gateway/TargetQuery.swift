package import Broker
import OAuth

/// The query of a request to the gateway: kept byte for byte, or refused.
package enum TargetQuery {
    static let longest = 32_768

    /// - Parameters:
    ///   - raw: behind the `?`; `nil` = there is none.
    ///   - reserved: the parameters that the connection's instructions put in. The caller never names one (SEC-84): an API that takes
    ///     the first of two would take the caller's.
    /// - Returns: `raw`.
    /// - Throws: `invalid_request` saying what is wrong; a parameter's value is never shown.
    package static func checked(_ raw: Substring?, reserved: [String]) throws(Problem) -> Substring? {
        guard let raw else { return nil }
        guard raw.utf8.count <= longest else { throw Problem(.invalidRequest, "the query is longer than \(longest) bytes") }
        try judgeBytes(raw.utf8.span)
        if !reserved.isEmpty { try judgeNames(raw, ReservedNames(reserved)) }
        return raw
    }

    private static func judgeBytes(_ bytes: Span<UInt8>) throws(Problem) {
        for index in 0..<bytes.count {
            let byte = bytes[index]
            guard isLegal(byte) else {
                throw Problem(
                    .invalidRequest,
                    "the query holds the byte 0x\(String(byte, radix: 16, uppercase: true)) at \(index), which no query may hold as it is",
                    fix: "percent-encode it")
            }
            if byte == UInt8(ascii: "%") {
                guard index + 2 < bytes.count, Form.hexValue(bytes[index + 1]) != nil, Form.hexValue(bytes[index + 2]) != nil else {
                    throw Problem(
                        .invalidRequest, "the query has a % at \(index) that two hexadecimal digits do not follow",
                        fix: "write %25 for the character %")
                }
            }
        }
    }

    /// RFC 3986 §3.4, and what browsers and curl send as it is: `[ ] { } | ^ " ` and the back-tick.
    private static func isLegal(_ byte: UInt8) -> Bool { PathBytes.contains(0xAFFF_FFF6_0000_0000, 0x7FFF_FFFF_EFFF_FFFF, byte) }

    private static func judgeNames(_ raw: Substring, _ reserved: ReservedNames) throws(Problem) {
        // Some APIs end a parameter at `;` too (HTML 4.01 §B.2.2).
        for pair in raw.utf8.split(whereSeparator: { $0 == UInt8(ascii: "&") || $0 == UInt8(ascii: ";") }) {
            let name = pair.prefix { $0 != UInt8(ascii: "=") }
            guard reserved.contains(name) else { continue }
            throw Problem(
                .invalidRequest, "the query names the parameter \(excerpt(bytes: name)), which the connection's instructions put in",
                fix: "leave it out")
        }
    }

    /// Names in the form in which the most forgiving reader takes them.
    private struct ReservedNames {
        private let names: [[UInt8]]

        init(_ names: [String]) { self.names = names.map { Self.normal(Array($0.utf8)) } }

        /// Decoded up to three times, as the path is.
        func contains(_ name: Substring.UTF8View) -> Bool {
            var bytes = Array(name)
            for _ in 0...3 {
                let normal = Self.normal(bytes)
                if names.contains(where: { $0 == normal }) { return true }
                guard Self.decode(&bytes) else { return false }
            }
            return false
        }

        /// Lower case; spaces before it left out, `[…]` and what follows a NUL cut off, and `.` and a space as `_`: PHP reads
        /// `+access.token[]` as `access_token`.
        private static func normal(_ bytes: [UInt8]) -> [UInt8] {
            let trimmed = bytes.drop { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "+") }
            return trimmed.prefix { $0 != UInt8(ascii: "[") && $0 != 0 }.map { byte in
                switch byte {
                case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte | 0x20
                case UInt8(ascii: "."), UInt8(ascii: " "), UInt8(ascii: "+"): UInt8(ascii: "_")
                default: byte
                }
            }
        }

        /// - Returns: whether there was an escape.
        private static func decode(_ bytes: inout [UInt8]) -> Bool {
            var result: [UInt8] = []
            var index = 0
            while index < bytes.count {
                if bytes[index] == UInt8(ascii: "%"), index + 2 < bytes.count, let high = Form.hexValue(bytes[index + 1]),
                    let low = Form.hexValue(bytes[index + 2])
                {
                    result.append(high << 4 | low)
                    index += 3
                } else {
                    result.append(bytes[index])
                    index += 1
                }
            }
            defer { bytes = result }
            return result.count < bytes.count
        }
    }
}

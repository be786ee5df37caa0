/// Text from a provider: hostile input that may be shown once it is a single short line.
package enum ProviderText {
    /// At most `limit` bytes, cut between characters; control, format (bidi), line and paragraph separator characters
    /// become a space or nothing.
    package static func clean(_ text: String, limit: Int = 1024) -> String {
        var result = ""
        var length = 0
        for scalar in text.unicodeScalars.prefix(limit * 2) {
            let kept: Unicode.Scalar?
            switch scalar.properties.generalCategory {
            case .control, .lineSeparator, .paragraphSeparator: kept = " "
            case .format, .surrogate, .privateUse, .unassigned: kept = nil
            default: kept = scalar
            }
            guard let kept else { continue }
            length += UTF8.width(kept)
            if length > limit { break }
            result.unicodeScalars.append(kept)
        }
        return result
    }

    /// An `error` code by RFC 6749 Appendix A.7 (no `"`, no `\`), at most 128 characters; else `nil`.
    package static func errorCode(_ text: String) -> String? {
        let isCode =
            (1...128).contains(text.utf8.count)
            && text.utf8.allSatisfy { $0 >= 0x20 && $0 <= 0x7E && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }
        return isCode ? text : nil
    }

    /// A code or token: visible ASCII, no space, at most `limit` bytes. SEC-43.
    package static func isToken(_ text: String, limit: Int = 65_536) -> Bool {
        (1...limit).contains(text.utf8.count) && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
    }
}

import OAuth
import Vault

/// Values that a provider sends and a connection declares: attacker input until they match their pattern. SEC-27.
enum Capture {
    /// At most this many bytes of a value are looked at.
    static let maximumLength = 512

    /// The declared values with this prefix (`callback.`, `token_response.`); one that is absent is left out.
    /// - Throws: the name of the first value that does not match.
    static func values(
        prefix: String, patterns: [String: VariablePattern], value: (_ name: String) -> String?
    ) throws(CaptureError) -> [String: String] {
        var captured: [String: String] = [:]
        for (name, pattern) in patterns where name.hasPrefix(prefix) {
            guard let text = value(String(name.dropFirst(prefix.count))) else { continue }
            guard text.utf8.count <= maximumLength, matches(text, pattern) else { throw CaptureError(name: name) }
            captured[name] = text
        }
        return captured
    }

    static func matches(_ text: String, _ pattern: VariablePattern) -> Bool {
        switch pattern.kind {
        case .label: isHostLabel(text)
        case .regex: text.utf8.allSatisfy { (0x21...0x7E).contains($0) } && wholeMatch(text, pattern.pattern ?? "") == true
        case .origin:
            if let url = try? EndpointURL(text), url.scheme == .https, url.path == "/", url.query == nil {
                (pattern.hosts ?? []).contains { host(url.host, fits: $0) }
            } else {
                false
            }
        }
    }

    /// `*` stands for one or more whole labels in front of a fixed suffix.
    static func host(_ host: String, fits pattern: String) -> Bool {
        let pattern = pattern.lowercased()
        guard pattern.hasPrefix("*.") else { return sameBytes(host, pattern) }
        let suffix = String(pattern.dropFirst())
        return host.utf8.count > suffix.utf8.count && host.hasSuffix(suffix)
    }

    static func isHostPattern(_ text: String) -> Bool {
        let name = text.hasPrefix("*.") ? String(text.dropFirst(2)) : text
        let labels = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        return labels.count >= 2 && labels.allSatisfy(isHostLabel)
    }
}

struct CaptureError: Error {
    let name: String
}

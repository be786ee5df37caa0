import Foundation
import OAuth

/// Finding a provider by what a person types: a name, a part of one, a host, or a URL of its API.
extension Preset {
    /// The best first; all, in the order of ids, when `text` is empty. Case and accents do not matter.
    package static func search(_ text: String) -> [Preset] {
        let needle = Needle(text)
        guard !needle.text.isEmpty else { return all }
        return zip(all, keys).compactMap { preset, key in key.rank(of: needle).map { (preset, $0) } }
            .sorted { a, b in (a.1, a.0.id) < (b.1, b.0.id) }
            .map(\.0)
    }

    private static let keys = all.map(SearchKey.init)

    fileprivate static func folded(_ text: String) -> String { text.folding(options: [.caseInsensitive, .diacriticInsensitive], locale: nil) }
}

/// What was typed; of a URL its host.
private struct Needle {
    let text: String
    let words: [Substring]

    init(_ typed: String) {
        var text = Preset.folded(typed)
        if let scheme = text.firstRange(of: "://") {
            text = String(text[scheme.upperBound...].prefix { $0 != "/" && $0 != "?" && $0 != "#" && $0 != ":" })
        }
        words = text.split(whereSeparator: \.isWhitespace)
        self.text = words.joined(separator: " ")
    }
}

/// What a preset is found by.
private struct SearchKey {
    private let id: String
    private let name: String
    private let words: [Substring]
    private let hosts: Set<String>
    private let isVerified: Bool
    /// Found all the same, after those that serve.
    private let isPast: Bool

    init(_ preset: Preset) {
        id = preset.id
        name = Preset.folded(preset.name)
        words = (name + " " + preset.id).split { !$0.isLetter && !$0.isNumber }
        isVerified = preset.isVerified
        isPast = preset.deprecation != nil || preset.unsupported != nil
        let urls = ["website", "authorization_url", "token_url", "base_url"].compactMap { preset.document[$0]?.string }
        hosts = Set(urls.compactMap(Self.host))
    }

    /// The part of a URL's host that no variable fills: `{shop}.myshopify.com` is known by `myshopify.com`.
    private static func host(of url: String) -> String? {
        guard let scheme = url.firstRange(of: "://") else { return nil }
        let host = url[scheme.upperBound...].prefix { $0 != "/" && $0 != "?" }
        let fixed = host.lastIndex(of: "}").map { host[host.index(after: $0)...].drop { $0 == "." } } ?? host
        return fixed.contains(".") ? fixed.lowercased() : nil
    }

    /// Smaller is better; `nil` = not found.
    func rank(of needle: Needle) -> Int? {
        guard let match = match(needle) else { return nil }
        // The very one that was named comes first, whatever is to be said of it.
        return match == 0 ? 0 : (isPast ? 1000 : 0) + match * 10 + (isVerified ? 0 : 1)
    }

    private func match(_ needle: Needle) -> Int? {
        let text = needle.text
        if id == text || name == text { return 0 }
        if id.hasPrefix(text) { return 1 }
        if name.hasPrefix(text) { return 2 }
        if id.contains("-" + text) { return 3 }
        if words.contains(where: { $0.hasPrefix(text) }) || name.contains(" " + text) { return 4 }
        if name.contains(text) || id.contains(text) { return 5 }
        if text.contains("."), hosts.contains(where: { $0 == text || text.hasSuffix("." + $0) }) { return 6 }
        if hosts.contains(where: { $0.contains(text) }) { return 7 }
        let found = needle.words.allSatisfy { word in
            words.contains { $0.hasPrefix(word) } || hosts.contains { $0.contains(word) }
        }
        return needle.words.count > 1 && found ? 8 : nil
    }
}

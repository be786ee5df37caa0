/// The API's names in an explanation, as the form calls them.
enum PlainWords {
    /// Replaces whole names alone: `token_url`, `/oauth/token_url` and `oauth.token_url` are the Access Token URL.
    static func text(_ text: String) -> String {
        var result = ""
        var rest = text[...]
        while let start = rest.firstIndex(where: isPart) {
            result += rest[..<start]
            let run = rest[start...].prefix(while: isPart)
            // A full stop behind a name ends the sentence.
            let name = run.reversed().drop { $0 == "." || $0 == "/" }.reversed()
            result += word(String(name)) ?? String(name)
            result += run.dropFirst(name.count)
            rest = rest[run.endIndex...]
        }
        return result + rest
    }

    private static func isPart(_ character: Character) -> Bool {
        character.isASCII && (character.isLetter || character.isNumber || "_./".contains(character))
    }

    private static func word(_ name: String) -> String? {
        if let known = others[name] { return known }
        for prefix in ["/oauth/", "oauth.", "/"] where name.hasPrefix(prefix) { return label(String(name.dropFirst(prefix.count))) }
        // A single word may be just that word.
        return name.contains("_") ? label(name) : nil
    }

    private static func label(_ name: String) -> String? { others[name] ?? FormField.find(name)?.label }

    private static let others: [String: String] = {
        // `password` and `none` are words of their own.
        var words = Dictionary(uniqueKeysWithValues: GrantChoice.allCases.filter { $0 != .password }.map { ($0.rawValue, $0.label) })
        if case .choice(let options)? = FormField.find("client_authentication")?.shape {
            for option in options where option.value != "none" { words[option.value] = option.label }
        }
        words["/oauth/pkce"] = "PKCE Mode"
        words["agent_access.enabled"] = "agent access"
        return words
    }()
}

import OAuth

/// For a POSIX shell. Redirects are not followed.
enum CurlSnippet {
    static func text(_ program: SnippetProgram) -> String {
        let call = curl(program.call, options: "--silent --show-error --include")
        guard let token = program.token else { return call + "\n" }
        var lines = ["answer=$(" + curl(token, options: "--silent --show-error") + ")", read("access_token", into: "token")]
        if program.needsTokenType {
            // RFC 6750 §2.1 spells it so.
            lines += [read("token_type", into: "token_type"), "case \"$token_type\" in [Bb][Ee][Aa][Rr][Ee][Rr]) token_type=Bearer ;; esac"]
        }
        if let remark = program.remark { lines.append("# " + remark) }
        lines.append("if [ -z \"$token\" ]; then printf '%s\\n' \"$answer\" >&2; else\n\(call)\nfi")
        return lines.joined(separator: "\n") + "\n"
    }

    /// The answer is compact JSON, and a token holds no quote.
    private static func read(_ member: String, into variable: String) -> String {
        "\(variable)=$(printf '%s' \"$answer\" | sed -n 's/.*\"\(member)\":\"\\([^\"]*\\)\".*/\\1/p')"
    }

    private static func curl(_ request: SnippetProgram.Request, options: String) -> String {
        var words = ["curl " + options]
        words += request.fields.map { "--header " + word([.literal($0.name + ": ")] + $0.value) }
        if !request.parameters.isEmpty { words.append("--get") }
        words += request.parameters.map { "--data-urlencode " + word([.literal($0.name + "=")] + $0.value.map(plain)) }
        words.append(word(request.url))
        return words.joined(separator: " \\\n  ")
    }

    /// curl encodes the whole value.
    private static func plain(_ part: SnippetPart) -> SnippetPart {
        guard case .literal(let text) = part else { return part }
        return .literal((try? Form.parse(("x=" + text).utf8))?.first?.value ?? text)
    }

    private static func word(_ pieces: [SnippetPart]) -> String {
        let parts = joined(pieces)
        let isVariable = parts.contains { variable(of: $0) != nil }
        let texts = parts.map { part in variable(of: part) ?? text(of: part) }
        // Within double quotes a shell reads these.
        let isPlain = !parts.contains { variable(of: $0) == nil && text(of: $0).contains { "\"$`\\!".contains($0) } }
        if isVariable, isPlain { return "\"" + texts.joined() + "\"" }
        return zip(parts, texts).map { part, text in
            variable(of: part) == nil ? "'" + text.replacing("'", with: "'\\''") + "'" : "\"" + text + "\""
        }.joined()
    }

    /// Texts that stand side by side, as one.
    private static func joined(_ parts: [SnippetPart]) -> [SnippetPart] {
        parts.reduce(into: []) { joined, part in
            if variable(of: part) == nil, let last = joined.last, variable(of: last) == nil {
                joined[joined.count - 1] = .literal(text(of: last) + text(of: part))
            } else {
                joined.append(part)
            }
        }
    }

    private static func text(of part: SnippetPart) -> String {
        switch part {
        case .literal(let text), .value(let text): text
        case .token, .tokenType, .environment: ""
        }
    }

    private static func variable(of part: SnippetPart) -> String? {
        switch part {
        case .literal, .value: nil
        case .token: "${token}"
        case .tokenType: "${token_type}"
        case .environment("GRANTEE_API_KEY"): "${GRANTEE_API_KEY}"
        case .environment(let name): "${\(name):?is not set; it is a value of the grant}"
        }
    }
}

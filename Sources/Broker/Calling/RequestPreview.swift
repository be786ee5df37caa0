import OAuth
package import Vault

/// The request that would be sent to a connection's API, as text, with the token masked.
package enum RequestPreview {
    package static func text(_ settings: ConnectionSettings, _ instructions: Instructions) -> String {
        let target = ShownBase(settings)
        let rules = zip(instructions.rules, instructions.templates).map { rule, template in
            (rule: rule, value: value(of: template, in: rule.place, clientID: settings.oauth.clientID))
        }
        let parameters = rules.filter { $0.rule.place == .query }.map { $0.rule.name + "=" + $0.value }
        var lines = ["GET \(target.url)/…\(parameters.isEmpty ? "" : "?" + parameters.joined(separator: "&")) HTTP/1.1"]
        if let host = target.host { lines.append("Host: \(host)") }
        lines += settings.headers.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
        lines += rules.filter { $0.rule.place == .header }.map { "\($0.rule.name): \($0.value)" }
        return lines.joined(separator: "\n")
    }

    static let mask = "***"

    static func value(of template: InstructionTemplate, in place: Instructions.Rule.Place, clientID: String?) -> String {
        template.parts.map { part in
            switch part {
            case .literal(let text): text
            case .value(.token): mask
            case .value(.tokenType): "Bearer"
            case .value(.clientID):
                if let clientID { place == .query ? Form.percentEncode(clientID) : clientID } else { "{client_id}" }
            case .value(.captured(let name)): "{\(name)}"
            }
        }.joined()
    }
}

/// A connection's base URL as a reader sees it: variables in place, what only a grant knows as `{callback.shop}`.
struct ShownBase {
    /// Without a slash at its end; `{base_url}` where there is none.
    let url: String
    /// `nil` where there is no URL.
    let host: String?
    /// What only a grant knows.
    let capturedNames: [String]

    init(_ settings: ConnectionSettings) {
        guard let text = settings.baseURL, let names = URLTemplate(text).names else {
            url = "{base_url}"
            host = nil
            capturedNames = []
            return
        }
        var values = settings.effectiveVariables
        capturedNames = names.filter { $0.hasPrefix("token_response.") || $0.hasPrefix("callback.") }
        for name in names where values[name] == nil { values[name] = "{\(name)}" }
        let filled = URLTemplate(text).filled(with: values) ?? text
        url = filled.hasSuffix("/") ? String(filled.dropLast()) : filled
        let authority = filled.firstRange(of: "://").map { filled[$0.upperBound...] } ?? filled[...]
        host = String(authority.prefix { $0 != "/" && $0 != "?" })
    }
}

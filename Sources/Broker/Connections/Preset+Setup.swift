import OAuth
package import Vault

/// What a person who sets up a connection is shown, and what is filled in for them.
extension Preset {
    /// One `{name}` in the preset's URLs, given a value by the builder.
    package struct Variable: Sendable, Hashable {
        package let name: String
        package let description: String?
        package let example: String
        /// What the whole value must match.
        package let pattern: String?
        package let defaultValue: String?
    }

    package var website: String? { document["website"]?.string }

    package var setupNotes: [String] { texts("setup_notes") }

    /// Those that a connection can have, in the order of the setup page; `allGrantTypes` are the provider's.
    package var grantTypes: [GrantType] {
        // account_credentials is one provider's word for it; its token_params say so in the request.
        var known = Set(allGrantTypes.map { $0 == "account_credentials" ? GrantType.clientCredentials.rawValue : $0 })
        // A client without a secret cannot ask for a token of its own.
        if document["client_authentication"]?.string == "none" { known.remove(GrantType.clientCredentials.rawValue) }
        return [.authorizationCode, .clientCredentials, .password].filter { known.contains($0.rawValue) }
    }

    /// As the provider knows them, refresh and device flow included.
    package var allGrantTypes: [String] { texts("grant_types") }

    /// Whether two independent sources name its endpoints.
    package var isVerified: Bool { document["verified"]?.bool ?? false }

    /// Why no new connection should be made with it, when the provider has withdrawn these endpoints.
    package var deprecation: String? { document["deprecated"]?.string }

    /// Why a connection cannot be made with it, when the provider needs more than data can say.
    package var unsupported: String? { document["unsupported"]?.string }

    /// What is to be looked at before a connection with it works.
    package var caution: String? { document["caution"]?.string }

    package var variables: [Variable] {
        (document["variables"]?.object?.members ?? []).map { name, variable in
            Variable(
                name: name, description: variable["description"]?.string, example: variable["example"]?.string ?? "",
                pattern: variable["pattern"]?.string, defaultValue: variable["default"]?.string)
        }
    }

    /// A connection's settings as this preset fills them in; the builder's own values come before these. The switches
    /// are not among them: they stay with the preset.
    package func defaults(for grantType: GrantType) -> ConnectionSettings {
        let isCode = grantType == .authorizationCode
        var oauth = OAuthSettings(grantType: grantType)
        // S256 is sent unless the preset says that the provider breaks on it.
        oauth.pkce = isCode ? document["pkce"]?.string ?? "S256" : nil
        oauth.issuer = document["issuer"]?.string
        oauth.authorizationURL = isCode ? document["authorization_url"]?.string : nil
        oauth.tokenURL = document["token_url"]?.string
        oauth.refreshURL = document["refresh"]?["url"]?.string
        oauth.revocationURL = document["revocation_url"]?.string
        if let method = document["client_authentication"]?.string { oauth.clientAuthentication = method }
        if isCode { oauth.scopes = texts("scopes") }
        oauth.refreshTokenIdleDays = document["refresh_token_idle_days"]?.integer
        var settings = ConnectionSettings(name: name, oauth: oauth)
        settings.preset = id
        settings.baseURL = document["base_url"]?.string
        settings.variablePatterns = variablePatterns
        settings.headers = strings("headers") ?? [:]
        if let instructions = document["authentication_instructions"]?.string { settings.authenticationInstructions = instructions }
        settings.allowTokenInQuery = putsTokenInQuery
        return settings
    }

    /// For the values in its `base_url` that the provider sends.
    private var variablePatterns: [String: VariablePattern] {
        let members = (document["variable_patterns"]?.object?.members ?? []).compactMap { name, pattern in
            pattern["kind"]?.string.flatMap(VariablePattern.Kind.init(rawValue:)).map { kind in
                (name, VariablePattern(kind: kind, hosts: pattern["hosts"]?.array?.compactMap(\.string), pattern: pattern["pattern"]?.string))
            }
        }
        return Dictionary(members) { _, last in last }
    }

    func texts(_ name: String) -> [String] { document[name]?.array?.compactMap(\.string) ?? [] }

    /// A member that is an object of texts.
    func strings(_ name: String) -> [String: String]? {
        document[name]?.object.map { object in
            Dictionary(object.members.compactMap { member in member.value.string.map { (member.name, $0) } }) { _, last in last }
        }
    }
}

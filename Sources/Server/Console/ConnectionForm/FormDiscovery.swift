import Broker
import OAuth
import Vault

/// What a provider's metadata says, put into the form.
struct FormDiscovery: Sendable {
    /// The labels of the fields that were filled or changed.
    private(set) var filled: [String] = []
    /// What to know about it, in sentences.
    private(set) var notes: [String] = []

    /// The issuer of a pasted metadata URL: people copy those.
    static func issuer(_ text: String) -> String {
        for suffix in ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"] where text.hasSuffix(suffix) {
            return String(text.dropLast(suffix.count))
        }
        return text
    }

    /// Fills what is empty or says otherwise; what the metadata does not name stays.
    init(_ metadata: AuthorizationServerMetadata, into form: inout ConnectionForm) {
        set("authorization_url", metadata.authorizationEndpoint?.description, &form)
        set("token_url", metadata.tokenEndpoint?.description, &form)
        set("revocation_url", metadata.revocationEndpoint?.description, &form)
        chooseAuthentication(metadata.tokenEndpointAuthMethodsSupported, &form)
        choosePKCE(metadata.codeChallengeMethodsSupported, &form)
        judgeGrantType(metadata.grantTypesSupported, form)
        if let scopes = metadata.scopesSupported, !scopes.isEmpty {
            let more = scopes.count > 20 ? ", and \(scopes.count - 20) more" : ""
            notes.append("Scopes it names: \(scopes.prefix(20).map { ProviderText.clean($0, limit: 60) }.joined(separator: ", "))\(more).")
        }
    }

    private mutating func set(_ name: String, _ value: String?, _ form: inout ConnectionForm) {
        // A URL with a variable that leads there says the same, and more.
        guard let value, FormPreview.filled(form[name], in: form) != value, let field = FormField.find(name) else { return }
        form[name] = value
        filled.append(field.label)
    }

    private mutating func chooseAuthentication(_ supported: [String]?, _ form: inout ConnectionForm) {
        guard let supported, let field = FormField.find("client_authentication"), case .choice(let options) = field.shape else { return }
        let sent = form["client_authentication"] == "client_secret_basic_raw" ? "client_secret_basic" : form["client_authentication"]
        guard !supported.contains(sent) else { return }
        guard let option = options.first(where: { supported.contains($0.value) }) else {
            notes.append("It names no way of Client Authentication that this server has.")
            return
        }
        form["client_authentication"] = option.value
        filled.append("\(field.label) (\(option.label))")
    }

    private mutating func choosePKCE(_ supported: [String]?, _ form: inout ConnectionForm) {
        guard form.choice.grantType == .authorizationCode, let supported else { return }
        if form.choice == .authorizationCodePKCE, !supported.contains(form["pkce_mode"]),
            let option = FormField.pkceModes.first(where: { supported.contains($0.value) })
        {
            form["pkce_mode"] = option.value
            filled.append("PKCE Mode (\(option.label))")
        }
        if supported.contains(PKCE.Mode.s256.rawValue) { notes.append("It takes PKCE with SHA-256.") }
    }

    /// - Parameter supported: `nil` = the metadata does not say; RFC 8414 then means the two that a browser is part of.
    private mutating func judgeGrantType(_ supported: [String]?, _ form: ConnectionForm) {
        guard let supported, !supported.contains(form.choice.grantType.rawValue) else { return }
        notes.append("It does not name the grant type \(form.choice.label): it may have to be enabled there, or another one chosen here.")
    }

    var values: [String: Any] {
        let what =
            filled.isEmpty ? "Nothing had to be changed: the fields say what the provider says." : "Filled in: \(filled.joined(separator: ", "))."
        return ["what": what, "notes": notes]
    }
}

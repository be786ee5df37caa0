import OAuth
import Vault

/// What is known about a connection besides its trouble; all that a row of the doctor's table may look at.
struct Facts: Sendable {
    var connection: Connection
    /// What is sent as `redirect_uri`.
    var callbackURL: String
    /// Where browsers reach this server.
    var publicURL: String
    var now: Timestamp
    var forbidsPasswordGrant = false
    /// The issuer's document, where it was read.
    var metadata: AuthorizationServerMetadata?

    var settings: ConnectionSettings { connection.settings }
    var oauth: OAuthSettings { connection.settings.oauth }
    var isCode: Bool { oauth.grantType == .authorizationCode }
    var hasSecret: Bool { connection.clientSecret != nil }
    /// How the client is authenticated as things are: without a secret its id alone is sent.
    var authentication: String { settings.authenticationMethod(hasSecret: hasSecret).rawValue }
    var profile: ProviderProfile { settings.profile }
    var scopes: String { oauth.scopes.joined(separator: profile.scopeSeparator) }
    var pkce: PKCE.Mode { isCode ? settings.pkceMode : .none }

    func url(_ text: String?) -> EndpointURL? { (try? settings.endpoint(text, "")) ?? nil }
    var tokenURL: EndpointURL? { url(oauth.tokenURL) }
    var authorizationURL: EndpointURL? { url(oauth.authorizationURL) }
    var provider: KnownProvider? { KnownProvider.of(self) }
    /// As a sentence calls it.
    var providerName: String { settings.presetEntry?.name ?? provider?.name ?? tokenURL?.host ?? "the provider" }

    /// Whether another token URL would take what is stored to another host: then only a person who has the secrets may set it.
    func wouldMoveSecrets(to tokenURL: String) -> Bool {
        var moved = settings
        moved.oauth.tokenURL = tokenURL
        return HostMove(from: settings, to: moved).movesTokens
    }

    /// A merge patch of `oauth`.
    static func patch(_ members: JSONObject) -> JSONObject { ["oauth": .object(members)] }
}

/// A provider's words, ready to be searched.
struct Said: Sendable {
    /// In lower case; `""` when there was none.
    let code: String
    /// Code, description and what is kept of the body, in lower case.
    let text: String
    /// With the provider's own case, for what is read out of it.
    let original: String
    let status: Int

    init(_ trouble: Trouble) {
        code = (trouble.error ?? "").lowercased()
        original = [trouble.error, trouble.errorDescription, trouble.response?.body, trouble.response?.pageTitle].compactMap(\.self).joined(
            separator: " ")
        text = original.lowercased()
        status = trouble.response?.status ?? 0
        numbers = Set(text.matches(of: /aadsts(\d{4,8})/).compactMap { Int($0.output.1) })
    }

    func isCode(_ codes: String...) -> Bool { codes.contains(code) }
    func says(_ phrases: String...) -> Bool { phrases.contains { text.contains($0) } }
    /// Microsoft's numbers: `AADSTS50011`.
    func hasNumber(_ numbers: Int...) -> Bool { !self.numbers.isDisjoint(with: numbers) }
    private let numbers: Set<Int>

    /// URLs that are named in it, without what ends a sentence.
    var urls: [String] {
        original.matches(of: /https?:\/\/[^\s'"<>\\)\]}]+/).map { String($0.output.trimmingSuffix { ".,;:".contains($0) }) }
    }
}

extension Substring {
    fileprivate func trimmingSuffix(while predicate: (Character) -> Bool) -> Substring {
        var text = self
        while let last = text.last, predicate(last) { text = text.dropLast() }
        return text
    }
}

/// An OAuth 2.0 client of one authorization server, as a value: makes requests and judges answers, sends nothing.
///
/// Sending is ``OAuthClient``'s work. Times come in as parameters: this type has no clock.
public struct Client: Sendable {
    public var server: AuthorizationServer
    public var registration: ClientRegistration
    public var profile: ProviderProfile

    public init(server: AuthorizationServer, registration: ClientRegistration, profile: ProviderProfile = ProviderProfile()) {
        self.server = server
        self.registration = registration
        self.profile = profile
    }

    /// RFC 6749 §4.1.1. With scope `openid` a nonce is added (OIDC §3.1.2.1).
    /// - Throws: ``RequestError`` naming the parameter; no authorization endpoint, a scope with a forbidden character,
    ///   extra parameters that name a protocol parameter.
    public func authorizationRequest(
        redirectURI: String, scopes: [String], pkce: PKCE.Mode = .s256, loginHint: String? = nil, entropy: Entropy = .system
    ) throws(RequestError) -> AuthorizationRequest { fatalError("stub") }

    /// One builder for code, password, client credentials and refresh alike. RFC 6749 §4.1.3, §4.3.2, §4.4.2, §6.
    public func tokenRequest(_ grant: AuthorizationGrant) throws(RequestError) -> WireRequest { fatalError("stub") }

    /// Judges the answer to ``tokenRequest(_:)``.
    /// - Parameters:
    ///   - now: seconds since 1970, for an ID token's times.
    ///   - expectedSubject: the `sub` that a refreshed ID token must repeat.
    public func tokenResponse(
        _ response: WireResponse, to grant: AuthorizationGrant, now: Int, expectedSubject: String? = nil
    ) throws(TokenError) -> TokenResponse { fatalError("stub") }

    /// - Throws: when the server has no revocation endpoint.
    public func revocationRequest(_ token: String, hint: Revocation.TokenTypeHint) throws(RequestError) -> WireRequest { fatalError("stub") }
    public func revocationOutcome(_ response: WireResponse) -> Revocation.Outcome { fatalError("stub") }

    /// Parameters of a request that the protocol sets itself, in lower case; a trailing `*` in the list is a prefix.
    /// `authorization_params`, `token_params` and `refresh_params` may not name them. SEC-14.
    public static func isReservedParameter(_ name: String) -> Bool { fatalError("stub") }
    /// Header fields that `token_headers` may not name (`Authorization`, `Host`, hop-by-hop …).
    public static func isReservedHeader(_ name: String) -> Bool { fatalError("stub") }
    /// RFC 6749 §3.3: whether it is one scope token.
    public static func isScopeToken(_ text: String) -> Bool { fatalError("stub") }
}

/// An OAuth 2.0 client of one authorization server, as a value: makes requests and judges answers, sends nothing.
///
/// Sending is `OAuthClient`'s work. Times come in as parameters: this type has no clock.
public struct Client: Sendable {
    public var server: AuthorizationServer
    public var registration: ClientRegistration
    public var profile: ProviderProfile

    public init(server: AuthorizationServer, registration: ClientRegistration, profile: ProviderProfile = ProviderProfile()) {
        self.server = server
        self.registration = registration
        self.profile = profile
    }
}

// MARK: What settings may not name

extension Client {
    private static let reservedParameters: Set<String> = [
        "client_id", "client_secret", "redirect_uri", "response_type", "response_mode", "state", "nonce", "grant_type", "refresh_token",
        "scope", "username", "password", "dpop_jkt", "assertion", "token",
    ]
    private static let reservedPrefixes = ["code", "client_assertion", "request"]

    /// Whether the protocol sets this parameter itself, in any spelling of its case: `authorization_params`,
    /// `token_params` and `refresh_params` may not name it.
    public static func isReservedParameter(_ name: String) -> Bool {
        let name = name.lowercased()
        return reservedParameters.contains(name) || reservedPrefixes.contains { name == $0 || name.hasPrefix($0 + "_") }
    }

    private static let reservedHeaders: Set<String> = [
        "authorization", "proxy-authorization", "host", "content-length", "content-type", "transfer-encoding", "connection", "keep-alive",
        "te", "trailer", "upgrade", "expect", "cookie", "set-cookie", "dpop", "via", "forwarded",
    ]

    /// Whether a request field is set by us or by the transport: settings may not name it.
    public static func isReservedHeader(_ name: String) -> Bool {
        let name = name.lowercased()
        return reservedHeaders.contains(name) || name.hasPrefix("proxy-") || name.hasPrefix("grantee-") || name.hasPrefix(":")
    }

    /// Whether `text` is one scope token. RFC 6749 §3.3.
    public static func isScopeToken(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { $0 == 0x21 || (0x23...0x5B).contains($0) || (0x5D...0x7E).contains($0) }
    }
}

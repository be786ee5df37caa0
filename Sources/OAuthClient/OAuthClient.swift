public import OAuth

/// Performs OAuth requests over a ``Transport``: one token in ten lines.
public struct OAuthClient: Sendable {
    public let client: Client
    let transport: any Transport
    let now: @Sendable () -> Int

    public init(_ client: Client, transport: some Transport, now: @escaping @Sendable () -> Int) {
        self.client = client
        self.transport = transport
        self.now = now
    }

    /// - Throws: ``RequestError``, ``TransportError`` or ``TokenError``.
    public func token(_ grant: AuthorizationGrant, expectedSubject: String? = nil) async throws -> TokenResponse { fatalError("stub") }
    public func revoke(_ token: String, hint: Revocation.TokenTypeHint) async throws -> Revocation.Outcome { fatalError("stub") }
    /// Reads the metadata of `issuer`: RFC 8414, then OIDC. - Throws: ``MetadataError`` or ``TransportError``.
    public static func discover(issuer: String, transport: some Transport) async throws -> AuthorizationServerMetadata { fatalError("stub") }
}

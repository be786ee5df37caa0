import Foundation
import HTTPTypes
public import OAuth

/// Performs OAuth requests over a ``Transport``: makes the request, sends it, judges the answer.
public struct OAuthClient: Sendable {
    public let client: Client
    private let transport: any Transport
    private let now: @Sendable () -> Int

    /// - Parameter now: seconds since 1970; the system's clock unless a test holds it.
    public init(_ client: Client, transport: some Transport, now: (@Sendable () -> Int)? = nil) {
        self.client = client
        self.transport = transport
        self.now = now ?? { Int(Date().timeIntervalSince1970) }
    }

    /// Trades `grant` for tokens. A code or a refresh token is sent once; whether to send it again is the caller's to
    /// decide, by ``TransportError/mayHaveBeenSent``.
    /// - Parameter expectedSubject: the `sub` that a refreshed ID token must repeat.
    /// - Throws: `RequestError` (nothing was sent), ``TransportError`` (no answer) or `TokenError` (a refusal).
    public func token(_ grant: AuthorizationGrant, expectedSubject: String? = nil) async throws -> TokenResponse {
        let response = try await transport.send(try client.tokenRequest(grant))
        return try client.tokenResponse(response, to: grant, now: now(), expectedSubject: expectedSubject)
    }

    /// Asks the server to revoke a token. RFC 7009.
    /// - Throws: `RequestError` or ``TransportError``.
    public func revoke(_ token: String, hint: Revocation.TokenTypeHint) async throws -> Revocation.Outcome {
        let response = try await transport.send(try client.revocationRequest(token, hint: hint))
        return client.revocationOutcome(response, now: now())
    }

    /// Reads the metadata of `issuer` from the first well-known URL that has a document. RFC 8414 §3.
    /// - Throws: `MetadataError` or ``TransportError``.
    public static func discover(issuer: String, transport: some Transport) async throws -> AuthorizationServerMetadata {
        for url in try AuthorizationServerMetadata.wellKnownURLs(issuer: issuer) {
            var head = HTTPRequest(method: .get, scheme: url.scheme.rawValue, authority: url.authority, path: url.target)
            head.headerFields[.accept] = "application/json"
            head.headerFields[.userAgent] = "Grantee/0.1"
            let response = try await transport.send(WireRequest(head: head))
            // A redirect or a page is no document; a document with another issuer is an error, not a reason to look on.
            guard response.head.status.code == 200, let value = try? JSONValue(parsing: response.body), value.object != nil else { continue }
            return try AuthorizationServerMetadata(parsing: response.body, issuer: issuer)
        }
        throw MetadataError.notJSON
    }
}

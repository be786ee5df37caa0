/// An authorization request, ready for a browser, with what must be kept to judge the response. RFC 6749 §4.1.1.
public struct AuthorizationRequest: Sendable {
    /// Where to send the browser. Holds `state`: not for logs.
    public let url: String
    /// The `state` that was put in. Keep only its hash.
    public let state: Secret<SecretKind.Nonce>
    public let pending: PendingAuthorization
}

/// What is kept of an authorization request until its response comes. The response is judged by it alone. SEC-09.
public struct PendingAuthorization: Sendable {
    /// SHA-256 of `state`.
    public let stateHash: [UInt8]
    public let issuer: String?
    public let promisesIssuer: Bool
    public let redirectURI: String
    public let requestedScopes: [String]
    let verifier: CodeVerifier?
    let nonce: Nonce?
    let codeParameter: String
    let stateParameter: String

    /// Everything, secrets included, as bytes to be sealed. ``init(archive:)`` reads it back.
    package func archive() -> [UInt8] { fatalError("stub") }
    /// `nil` when the bytes are not an archive.
    package init?(archive: [UInt8]) { fatalError("stub") }

    /// Turns the response of a callback into the only value that a token request accepts.
    ///
    /// Judged in this order, before anything goes to the token endpoint: each name once and not both `code` and
    /// `error`; `state`; `iss` (RFC 9207 §2.4); then `error`, else `code`.
    public func accept(_ response: AuthorizationResponse) throws(CallbackError) -> CheckedCode { fatalError("stub") }
}

/// The parameters of a callback, read from its query (or form) bytes once. RFC 6749 §4.1.2.
public struct AuthorizationResponse: Sendable {
    /// At most 16 KiB.
    /// - Throws: ``CallbackError/malformed(_:)`` for broken encoding, a repeated name, or both code and error.
    public init(query: some Collection<UInt8>, profile: ProviderProfile = ProviderProfile()) throws(CallbackError) { fatalError("stub") }
    /// The `state` parameter, to look up the pending authorization by its SHA-256; `nil` when absent or empty.
    public var state: String? { fatalError("stub") }
    /// Any parameter by name, for values that a profile captures; attacker-controlled.
    public subscript(_ name: String) -> String? { fatalError("stub") }
}

/// A code that came back to the right request: proof that ``PendingAuthorization/accept(_:)`` was passed.
/// Redeemed once at most. SEC-31.
public struct CheckedCode: Sendable {
    let code: AuthorizationCode
    let redirectURI: String
    let verifier: CodeVerifier?
    let nonce: Nonce?
    public let requestedScopes: [String]
    public let issuer: String?
    /// As bytes to be sealed until the application completes the session.
    package func archive() -> [UInt8] { fatalError("stub") }
    package init?(archive: [UInt8]) { fatalError("stub") }
}

/// Why a callback is refused. Nothing has gone to the token endpoint.
public enum CallbackError: Error, Sendable, Hashable {
    case stateMismatch
    case issuerMismatch
    case missingCode
    /// The provider's own answer; its text is hostile input. `description` is at most 1 KiB, single line, no controls.
    case denied(code: String, description: String?)
    /// Repeated parameter, both code and error, broken encoding, too long: the reason in words.
    case malformed(String)
}

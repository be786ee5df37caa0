import Crypto

/// What is kept of an authorization request until its response comes. The response is judged by it alone.
public struct PendingAuthorization: Sendable {
    /// SHA-256 of `state`.
    public let stateHash: [UInt8]
    public let issuer: String?
    /// A response without `iss` is refused. RFC 9207 §2.4.
    public let promisesIssuer: Bool
    public let redirectURI: String
    public let requestedScopes: [String]
    let verifier: CodeVerifier?
    let nonce: Nonce?
    /// Only for servers that want it again in the token request.
    let state: Secret<SecretKind.State>?

    /// Turns the response of a callback into the only value that a token request accepts.
    ///
    /// Judged in this order, before anything goes to the token endpoint: `state`; `iss` (RFC 9207 §2.4), for errors
    /// too; then `error`, else `code`.
    public func accept(_ response: AuthorizationResponse) throws(CallbackError) -> CheckedCode {
        guard let state = response.state, constantTimeEqual(Array(SHA256.hash(data: Array(state.utf8))), stateHash) else { throw .stateMismatch }
        // Before the rest of the message is believed: a mix-up attack lives in the gap.
        if let issuer {
            switch response["iss"] {
            case let iss?: guard sameBytes(iss, issuer) else { throw .issuerMismatch }
            case nil: guard !promisesIssuer else { throw .issuerMismatch }
            }
        }
        if let error = response.error { throw .denied(code: error.code, description: error.description) }
        guard let code = response.code else { throw .missingCode }
        guard ProviderText.isToken(code, limit: 8192) else { throw .malformed("the code holds a space or a control character, or is too long") }
        return CheckedCode(
            code: AuthorizationCode(code), redirectURI: redirectURI, verifier: verifier, nonce: nonce, state: self.state,
            requestedScopes: requestedScopes, issuer: issuer)
    }
}

/// A code that came back to the right request: proof that ``PendingAuthorization/accept(_:)`` was passed. Redeemed
/// once at most.
public struct CheckedCode: Sendable {
    let code: AuthorizationCode
    let redirectURI: String
    let verifier: CodeVerifier?
    let nonce: Nonce?
    let state: Secret<SecretKind.State>?
    public let requestedScopes: [String]
    public let issuer: String?

    fileprivate init(
        code: AuthorizationCode, redirectURI: String, verifier: CodeVerifier?, nonce: Nonce?, state: Secret<SecretKind.State>?,
        requestedScopes: [String], issuer: String?
    ) {
        self.code = code
        self.redirectURI = redirectURI
        self.verifier = verifier
        self.nonce = nonce
        self.state = state
        self.requestedScopes = requestedScopes
        self.issuer = issuer
    }
}

/// Why a callback is refused. Nothing has gone to the token endpoint.
public enum CallbackError: Error, Sendable, Hashable {
    case stateMismatch
    case issuerMismatch
    case missingCode
    /// The provider's own answer; hostile input. The code is by RFC 6749 Appendix A.7 or empty, the description at most
    /// 1 KiB on a single line.
    case denied(code: String, description: String?)
    /// Repeated parameter, both code and error, broken encoding, too long: the reason in words.
    case malformed(String)
}

// MARK: As bytes to be sealed

extension PendingAuthorization {
    /// Everything, the code verifier included: seal it before it is kept. ``init(archive:)`` reads it back.
    public func archive() -> [UInt8] {
        var object: JSONObject = [
            "state_hash": .string(Base64URL.encode(stateHash)), "promises_issuer": .bool(promisesIssuer), "redirect_uri": .string(redirectURI),
            "scopes": .array(requestedScopes.map(JSONValue.string)),
        ]
        if let issuer { object["issuer"] = .string(issuer) }
        object.setSecret("verifier", verifier)
        object.setSecret("nonce", nonce)
        object.setSecret("state", state)
        return JSONValue.object(object).serialized()
    }

    /// `nil` when the bytes are not an archive.
    public init?(archive: [UInt8]) {
        guard let object = try? JSONValue(parsing: archive).object, let hash = object["state_hash"]?.string.flatMap(Base64URL.decode),
            let promises = object["promises_issuer"]?.bool, let redirectURI = object["redirect_uri"]?.string, let scopes = object["scopes"]?.array
        else { return nil }
        stateHash = hash
        issuer = object["issuer"]?.string
        promisesIssuer = promises
        self.redirectURI = redirectURI
        requestedScopes = scopes.compactMap(\.string)
        verifier = object.secret("verifier")
        nonce = object.secret("nonce")
        state = object.secret("state")
    }
}

extension CheckedCode {
    /// Everything, the code included, to be sealed until the application completes the session.
    package func archive() -> [UInt8] {
        var object: JSONObject = ["redirect_uri": .string(redirectURI), "scopes": .array(requestedScopes.map(JSONValue.string))]
        if let issuer { object["issuer"] = .string(issuer) }
        object.setSecret("code", code)
        object.setSecret("verifier", verifier)
        object.setSecret("nonce", nonce)
        object.setSecret("state", state)
        return JSONValue.object(object).serialized()
    }

    /// `nil` when the bytes are not the archive of a code that was checked.
    package init?(archive: [UInt8]) {
        guard let object = try? JSONValue(parsing: archive).object, let code: AuthorizationCode = object.secret("code"),
            let redirectURI = object["redirect_uri"]?.string, let scopes = object["scopes"]?.array
        else { return nil }
        self.init(
            code: code, redirectURI: redirectURI, verifier: object.secret("verifier"), nonce: object.secret("nonce"),
            state: object.secret("state"), requestedScopes: scopes.compactMap(\.string), issuer: object["issuer"]?.string)
    }
}

extension JSONObject {
    fileprivate mutating func setSecret<Kind>(_ name: String, _ secret: Secret<Kind>?) {
        if let secret { self[name] = secret.withExposed { .string($0) } }
    }
    fileprivate func secret<Kind>(_ name: String) -> Secret<Kind>? { self[name]?.string.map { Secret($0) } }
}

/// What a token endpoint answered, as it answered it. RFC 6749 §5.1.
public struct TokenResponse: Sendable {
    /// 1 to 64 KiB of visible ASCII (a space or control character is refused). SEC-43.
    public var accessToken: AccessToken
    /// As sent, e.g. `bearer`; `Bearer` when the server left it out.
    public var tokenType: String
    /// From the moment of the request. `nil` = the server did not say, never "for ever". Not negative; at most ten years.
    public var expiresIn: Duration?
    /// `nil` = keep the one you have: absent, null and empty are the same. RFC 6749 §6.
    public var refreshToken: RefreshToken?
    /// How long the refresh token lives, where the server says.
    public var refreshExpiresIn: Duration?
    /// `nil` = as requested. Split by the profile's separator; empty tokens dropped.
    public var scope: [String]?
    /// Only where `openid` was asked for and every check of ``IDTokenClaims`` passed.
    public var idTokenClaims: IDTokenClaims?
    /// All members of the answer, secrets included.
    public var members: JSONObject
}

/// What an ID token says, after validation against the request. OpenID Connect Core §3.1.3.7.
public struct IDTokenClaims: Sendable, Hashable {
    public let issuer: String
    public let subject: String
    public let audience: [String]
    public let expiresAt: Int
    public let issuedAt: Int
}

/// A token endpoint's refusal, or an answer that is none.
public struct TokenError: Error, Sendable, Hashable {
    /// The `error` parameter. A struct, not an enum: the registry grows and callers must still compile.
    public struct Code: RawRepresentable, Hashable, Sendable {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }
        public static let invalidRequest = Code(rawValue: "invalid_request")
        public static let invalidClient = Code(rawValue: "invalid_client")
        public static let invalidGrant = Code(rawValue: "invalid_grant")
        public static let unauthorizedClient = Code(rawValue: "unauthorized_client")
        public static let unsupportedGrantType = Code(rawValue: "unsupported_grant_type")
        public static let invalidScope = Code(rawValue: "invalid_scope")
    }
    /// What the caller can do about it.
    public enum Remedy: String, Hashable, Sendable {
        /// A person must grant access again.
        case reauthorize
        /// The connection's settings are wrong; its grants are not to blame.
        case fixClient
        /// The provider is busy or down; the grant is untouched.
        case tryLater
        case report
    }
    /// What kind of answer it was.
    public enum Kind: Hashable, Sendable {
        /// The server named an error, or its status says one.
        case refused
        /// No token could be read: the reason in words, without anything from the body.
        case malformed(String)
        /// An ID token check failed; the claim's name and why.
        case idToken(String)
    }
    public var kind: Kind
    /// `nil` when the server sent no code.
    public var code: Code?
    public var status: Int
    /// At most 1 KiB, single line, no control characters; hostile text all the same.
    public var errorDescription: String?
    /// Seconds, from `Retry-After`.
    public var retryAfter: Int?
    /// The code as the server spelled it, when an alias of the profile replaced it.
    public var originalCode: String?

    public init(kind: Kind, code: Code? = nil, status: Int, errorDescription: String? = nil, retryAfter: Int? = nil, originalCode: String? = nil) {
        self.kind = kind
        self.code = code
        self.status = status
        self.errorDescription = errorDescription
        self.retryAfter = retryAfter
        self.originalCode = originalCode
    }

    public var remedy: Remedy { fatalError("stub") }
}

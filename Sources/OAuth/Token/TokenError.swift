/// A token endpoint's refusal, or an answer that is none. RFC 6749 §5.2.
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
        public static let temporarilyUnavailable = Code(rawValue: "temporarily_unavailable")
        public static let serverError = Code(rawValue: "server_error")
    }

    /// What the caller can do about it.
    public enum Remedy: String, Hashable, Sendable {
        /// A person must grant access again.
        case reauthorize
        /// The connection's settings are wrong; its grants are not to blame.
        case fixClient
        /// The provider is busy or down; the grant is untouched.
        case tryLater
        /// None is known: show it word for word.
        case report
    }

    /// What kind of answer it was.
    public enum Kind: Hashable, Sendable {
        /// The server named an error, or its status says one.
        case refused
        /// No token could be read: the reason in words, without anything from the body.
        case malformed(String)
        /// An ID token check failed: which, in words.
        case idToken(String)
    }

    public var kind: Kind
    /// `nil` when the server sent no code.
    public var code: Code?
    public var status: Int
    /// At most 1 KiB on a single line; hostile text all the same.
    public var errorDescription: String?
    /// Seconds, from `Retry-After`.
    public var retryAfter: Int?
    /// The code as the server spelled it, when an alias of the profile replaced it.
    public var originalCode: String?
    /// Scheme and host that a redirect pointed to, to be shown; redirects are never followed. `nil` when there was none
    /// with an absolute URL.
    public var redirectOrigin: String?

    public init(
        kind: Kind, code: Code? = nil, status: Int, errorDescription: String? = nil, retryAfter: Int? = nil, originalCode: String? = nil
    ) {
        self.kind = kind
        self.code = code
        self.status = status
        self.errorDescription = errorDescription
        self.retryAfter = retryAfter
        self.originalCode = originalCode
    }

    /// By the code first, as servers send right codes with wrong statuses; by the status where there is no known code.
    public var remedy: Remedy {
        if case .refused = kind, let code {
            switch code.rawValue {
            case "invalid_grant", "interaction_required", "consent_required", "login_required": return .reauthorize
            // What GitHub, Slack, Glewlwyd and others say instead of invalid_grant.
            case "bad_verification_code", "bad_refresh_token", "invalid_code", "invalid_refresh_token", "token_expired", "token_revoked":
                return .reauthorize
            case "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_target", "invalid_request",
                "invalid_authorization_details", "scope_invalid":
                return .fixClient
            case "temporarily_unavailable", "server_error", "slow_down": return .tryLater
            default: break
            }
        }
        if case .idToken = kind { return .report }
        switch status {
        case 408, 429, 500...: return .tryLater
        // Without a code these speak of the client: Spotify answers 401 with nothing, Glewlwyd a wrong secret with an empty 403.
        case 401: return .fixClient
        case 403: return code == nil ? .fixClient : .report
        case 300..<400, 404, 405, 410, 415: return .fixClient
        default: return .report
        }
    }
}

extension TokenError: CustomStringConvertible {
    /// Fit to show: of the provider's own words only its code. ``errorDescription`` may repeat what was sent.
    public var description: String {
        let what: String
        switch kind {
        case .refused: what = "refused" + (code.map { ": \($0.rawValue)" } ?? "")
        case .malformed(let reason): what = "not a token response: \(reason)"
        case .idToken(let reason): what = "ID token refused: \(reason)"
        }
        return "\(what) (status \(status))"
    }
}

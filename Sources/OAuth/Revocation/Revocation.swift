/// Token revocation, RFC 7009.
public enum Revocation {
    public enum TokenTypeHint: String, Sendable { case accessToken = "access_token", refreshToken = "refresh_token" }

    /// What an answer means. RFC 7009 §2.2.
    public enum Outcome: Sendable, Hashable {
        /// 200: not valid any more, or never was (also "already gone" answers that providers send).
        case revoked
        /// `unsupported_token_type`: final.
        case unsupported
        /// 503, 429, 5xx: still valid, try again; seconds when the server says.
        case tryLater(retryAfter: Int?)
        /// Anything else, with the status and the code it named.
        case failed(status: Int, code: String?)
    }
}

import HTTPTypes

/// Token revocation, RFC 7009.
public enum Revocation {
    public enum TokenTypeHint: String, Sendable {
        case accessToken = "access_token"
        case refreshToken = "refresh_token"
    }

    /// What an answer means. RFC 7009 §2.2.
    public enum Outcome: Sendable, Hashable {
        /// 200: not valid any more, or never was; also the "already gone" answers that providers send instead.
        case revoked
        /// `unsupported_token_type`: final.
        case unsupported
        /// Busy or down: still valid, try again; in seconds when the server says.
        case tryLater(retryAfter: Int?)
        /// Anything else, with the status and the code it named.
        case failed(status: Int, code: String?)
    }
}

extension Client {
    /// - Throws: when the server has no revocation endpoint, or the client authentication lacks something.
    public func revocationRequest(_ token: String, hint: Revocation.TokenTypeHint) throws(RequestError) -> WireRequest {
        guard let endpoint = server.revocationEndpoint else { throw RequestError(parameter: "revocation_endpoint", reason: "is not known") }
        let proof = try ClientProof(registration, method: registration.authentication, profile: profile)
        // Always a POST with a form, whatever the token endpoint wants. RFC 7009 §2.1.
        var plain = self
        plain.profile.tokenRequestFormat = .form
        plain.profile.tokenRequestMethod = "POST"
        return try plain.request(
            to: endpoint, pairs: [("token", token), ("token_type_hint", hint.rawValue)] + proof.parameters, authorization: proof.authorization)
    }

    /// - Parameter now: seconds since 1970, for a `Retry-After` that is a date.
    public func revocationOutcome(_ response: WireResponse, now: Int) -> Revocation.Outcome {
        let status = response.head.status.code
        var code: String?
        if case .members(let members) = TokenAnswer.read(response) { code = members["error"]?.string.flatMap(ProviderText.errorCode) }
        switch (status, code) {
        case (200, _), (204, _): return .revoked
        case (400..<500, "invalid_token"), (404, nil): return .revoked
        case (400..<500, "unsupported_token_type"): return .unsupported
        case (408, _), (429, _), (500..., _), (_, "temporarily_unavailable"): return .tryLater(retryAfter: response.retryAfter(now: now))
        default: return .failed(status: status, code: code)
        }
    }
}

import HTTPTypes

/// What a token endpoint answered, as it answered it. RFC 6749 §5.1.
public struct TokenResponse: Sendable {
    /// 1 byte to 64 KiB of visible ASCII.
    public var accessToken: AccessToken
    /// As sent, e.g. `bearer`; `Bearer` when the server left it out.
    public var tokenType: String
    /// From the moment of the request. `nil` = the server did not say, never "for ever". Not negative; at most ten years.
    public var expiresIn: Duration?
    /// `nil` = keep the one you have: absent, null and empty are the same. RFC 6749 §6.
    public var refreshToken: RefreshToken?
    /// How long the refresh token lives, where the server says.
    public var refreshExpiresIn: Duration?
    /// `nil` = as requested. Empty tokens dropped, order as sent, none twice.
    public var scope: [String]?
    /// Only where `openid` was asked for and every check of ``IDTokenClaims`` passed.
    public var idTokenClaims: IDTokenClaims?
    /// All members of the answer, secrets included.
    public var members: JSONObject
}

extension Client {
    /// Judges the answer to ``tokenRequest(_:)``.
    /// - Parameters:
    ///   - now: seconds since 1970, for `expires_at` and an ID token's times.
    ///   - expectedSubject: the `sub` that a refreshed ID token must repeat.
    public func tokenResponse(
        _ response: WireResponse, to grant: AuthorizationGrant, now: Int, expectedSubject: String? = nil
    ) throws(TokenError) -> TokenResponse {
        let status = response.head.status.code
        let members: JSONObject
        switch TokenAnswer.read(response) {
        case .members(let found): members = found
        case .unreadable(let reason):
            throw TokenError(
                kind: status == 200 || status == 201 ? .malformed(reason) : .refused, status: status, retryAfter: response.retryAfter(now: now))
        }
        // Before the status: several providers answer 200 with an error.
        if let error = refusal(members, response: response, now: now) { throw error }
        guard status == 200 || status == 201 else { throw TokenError(kind: .refused, status: status, retryAfter: response.retryAfter(now: now)) }
        do {
            var result = try TokenMembers(members, profile: profile, now: now).response()
            result.idTokenClaims = try idTokenClaims(members, grant: grant, now: now, expectedSubject: expectedSubject)
            return result
        } catch let error as TokenMembers.Malformed {
            throw TokenError(kind: .malformed(error.reason), status: status)
        } catch let error as IDTokenError {
            throw TokenError(kind: .idToken(error.reason), status: status)
        } catch {
            throw TokenError(kind: .malformed("it cannot be read"), status: status)
        }
    }

    /// The error that the members speak of; `nil` = none.
    private func refusal(_ members: JSONObject, response: WireResponse, now: Int) -> TokenError? {
        let status = response.head.status.code
        let path = profile.errorPath ?? "error"
        let value = JSONValue.object(members).at(path: path)
        let description = members["error_description"]?.string.map { ProviderText.clean($0) }
        let retryAfter = response.retryAfter(now: now)
        switch value {
        case nil, .null: return nil
        case .string(let text) where text.isEmpty && (status == 200 || status == 201): return nil
        case .string(let text):
            guard let sent = ProviderText.errorCode(text) else {
                return TokenError(kind: .refused, status: status, errorDescription: description, retryAfter: retryAfter)
            }
            let code = profile.errorAliases[sent] ?? sent
            return TokenError(
                kind: .refused, code: .init(rawValue: code), status: status, errorDescription: description, retryAfter: retryAfter,
                originalCode: code == sent ? nil : sent)
        case .bool(false) where profile.errorPath != nil: return nil
        default:
            // An object, a number, an array, true: an error all the same, only without a code.
            return TokenError(
                kind: status == 200 || status == 201 ? .malformed("its error member is not a text") : .refused, status: status,
                errorDescription: description, retryAfter: retryAfter)
        }
    }
}

extension JSONValue {
    /// The member at a dotted path; `nil` when a step is missing.
    func at(path: String) -> JSONValue? {
        var value: JSONValue? = self
        for step in path.split(separator: ".") {
            switch value {
            case .object(let object): value = object[String(step)]
            case .array(let values): value = Int(step).flatMap { values.indices.contains($0) ? values[$0] : nil }
            default: return nil
            }
        }
        return value
    }
}

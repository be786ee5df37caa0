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
    /// How long the refresh token lives, where the server says so; `nil` also when it says 0, "never". At most ten years.
    public var refreshExpiresIn: Duration?
    /// `nil` = as requested. Empty tokens dropped, order as sent, none twice.
    public var scope: [String]?
    /// Only where `openid` was asked for and every check of ``IDTokenClaims`` passed.
    public var idTokenClaims: IDTokenClaims?
    /// All members of the answer, secrets included.
    public var members: JSONObject
}

extension TokenResponse: CustomStringConvertible, CustomReflectable {
    public var description: String { "TokenResponse(redacted)" }
    public var customMirror: Mirror { Mirror(self, children: [:]) }  // `members` holds the tokens as plain text
}

extension Client {
    /// Judges the answer to ``tokenRequest(_:)``.
    /// - Parameters:
    ///   - now: seconds since 1970, for `expires_at` and an ID token's times.
    ///   - expectedSubject: the `sub` that a refreshed ID token must repeat.
    public func tokenResponse(
        _ response: WireResponse, to grant: AuthorizationGrant, now: Int, expectedSubject: String? = nil
    ) throws(TokenError) -> TokenResponse {
        do throws(TokenError) {
            return try judged(response, to: grant, now: now, expectedSubject: expectedSubject)
        } catch {
            var named = error
            named.redirectOrigin = response.redirectOrigin
            throw named
        }
    }

    private func judged(_ response: WireResponse, to grant: AuthorizationGrant, now: Int, expectedSubject: String?) throws(TokenError) -> TokenResponse {
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
            let isRefresh = if case .refreshToken = grant { true } else { false }
            let read = try TokenMembers(members, profile: profile, now: now, isRefresh: isRefresh)
            var result = try read.response()
            result.idTokenClaims = try idTokenClaims(
                read["id_token"], accessToken: result.accessToken, grant: grant, now: now, expectedSubject: expectedSubject)
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
        let path = profile.errorPath ?? "error"
        let value = JSONValue.object(members).at(path: path)
        if let value, let error = refusal(value, isNamed: profile.errorPath != nil, members: members, response: response, now: now) { return error }
        // The profile's place says none, or is not there: the standard's member counts all the same.
        if let value, !value.isNull, path.split(separator: ".").first == "error" { return nil }
        return members["error"].flatMap { refusal($0, isNamed: false, members: members, response: response, now: now) }
    }

    /// - Parameter isNamed: the profile says where errors stand; a number is then a code, and 0, false, the empty text and
    ///   what has an empty alias are none.
    private func refusal(_ value: JSONValue, isNamed: Bool, members: JSONObject, response: WireResponse, now: Int) -> TokenError? {
        let status = response.head.status.code
        let isSuccess = status == 200 || status == 201
        var error = TokenError(
            kind: .refused, status: status, errorDescription: members["error_description"]?.string.map { ProviderText.clean($0) },
            retryAfter: response.retryAfter(now: now))
        let text: String
        switch value {
        case .null: return nil
        case .bool(false) where isNamed: return nil
        case .string(let named): text = named
        case .number(let number) where isNamed: text = number.integer == 0 ? "" : number.text
        default:
            // An object, a number, an array, true: an error all the same, only without a code.
            if isSuccess { error.kind = .malformed("its error member is not a text") }
            return error
        }
        guard !text.isEmpty else {
            if isNamed { return nil }
            if isSuccess { error.kind = .malformed("its error member is empty") }
            return error
        }
        if let sent = ProviderText.errorCode(text) {
            let code = profile.errorAliases[sent] ?? sent
            if code.isEmpty { return nil }
            error.code = .init(rawValue: code)
            error.originalCode = code == sent ? nil : sent
        }
        return error
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

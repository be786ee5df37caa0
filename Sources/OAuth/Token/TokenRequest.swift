import HTTPTypes

/// What is presented to the token endpoint in exchange for tokens. RFC 6749 §4.1.3, §4.3.2, §4.4.2, §6.
public enum AuthorizationGrant: Sendable {
    case authorizationCode(CheckedCode)
    case password(username: String, password: Password, scopes: [String])
    case clientCredentials(scopes: [String])
    /// `scopes`: what was granted; sent only where the profile asks for it.
    case refreshToken(RefreshToken, scopes: [String])

    /// The value of `grant_type`.
    public var grantType: String {
        switch self {
        case .authorizationCode: "authorization_code"
        case .password: "password"
        case .clientCredentials: "client_credentials"
        case .refreshToken: "refresh_token"
        }
    }

    var requestedScopes: [String] {
        switch self {
        case .authorizationCode(let code): code.requestedScopes
        case .password(_, _, let scopes), .clientCredentials(let scopes), .refreshToken(_, let scopes): scopes
        }
    }
}

/// A request that could not be made from what was given: our caller's mistake, nothing was sent.
public struct RequestError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The setting at fault, by its RFC name (`client_id`, `scope`, `token_headers.X-Foo`).
    public let parameter: String
    public let reason: String

    public init(parameter: String, reason: String) {
        self.parameter = parameter
        self.reason = reason
    }
    public var description: String { "\(parameter): \(reason)" }
}

extension Client {
    /// One builder for code, password, client credentials and refresh alike.
    /// - Throws: ``RequestError``: a secret that the client authentication needs is missing, a header or scope is not one.
    public func tokenRequest(_ grant: AuthorizationGrant) throws(RequestError) -> WireRequest {
        var pairs = try parameters(of: grant)
        var method = registration.authentication
        if case .refreshToken = grant, let own = profile.clientAuthenticationForRefresh { method = own }
        let proof = try ClientProof(registration, method: method, profile: profile)
        pairs += proof.parameters
        var extra = profile.tokenParams
        if case .refreshToken = grant {
            // What takes the place of the first request's grant type is none of a refresh's.
            extra["grant_type"] = nil
            extra.merge(profile.refreshParams) { _, refresh in refresh }
        }
        for (name, value) in extra.sorted(by: { $0.key < $1.key }) {
            // A preset may replace `grant_type`, or leave it out with an empty value; a builder's settings cannot name it.
            guard name == "grant_type" || !pairs.contains(where: { sameBytes($0.0, name) }) else { continue }
            pairs.removeAll { sameBytes($0.0, name) }
            if !value.isEmpty { pairs.append((name, value)) }
        }
        pairs = pairs.map { (profile.tokenParameterNames[$0.0] ?? $0.0, $0.1) }
        let endpoint: EndpointURL
        if case .refreshToken = grant { endpoint = server.refreshEndpoint ?? server.tokenEndpoint } else { endpoint = server.tokenEndpoint }
        return try request(to: endpoint, pairs: pairs, authorization: proof.authorization)
    }

    /// In the order of the RFC, `grant_type` first.
    private func parameters(of grant: AuthorizationGrant) throws(RequestError) -> [(String, String)] {
        var pairs: [(String, String)] = []
        let grantType = profile.grantTypeValues[grant.grantType] ?? grant.grantType
        if !grantType.isEmpty { pairs.append(("grant_type", grantType)) }
        switch grant {
        case .authorizationCode(let code):
            pairs.append(("code", code.code.withExposed { $0 }))
            if profile.redirectURIInExchange { pairs.append(("redirect_uri", code.redirectURI)) }
            if let verifier = code.verifier { pairs.append(("code_verifier", verifier.withExposed { $0 })) }
            if profile.stateInExchange, let state = code.state { pairs.append(("state", state.withExposed { $0 })) }
        case .password(let username, let password, let scopes):
            pairs += [("username", username), ("password", password.withExposed { $0 })]
            let scope = try joined(scopes)
            if !scope.isEmpty { pairs.append(("scope", scope)) }
        case .clientCredentials(let scopes):
            let scope = try joined(scopes)
            if !scope.isEmpty { pairs.append(("scope", scope)) }
        case .refreshToken(let token, let scopes):
            pairs.append(("refresh_token", token.withExposed { $0 }))
            let scope = profile.scopeInRefresh ? try joined(scopes) : ""
            if !scope.isEmpty { pairs.append(("scope", scope)) }
        }
        return pairs
    }

    /// A request in the profile's format. Form and POST unless the profile says otherwise.
    func request(to endpoint: EndpointURL, pairs: [(String, String)], authorization: String?) throws(RequestError) -> WireRequest {
        var names: Set<String> = []
        for (name, _) in pairs where !names.insert(name).inserted {
            throw RequestError(parameter: name, reason: "would stand in the request twice")
        }
        guard let method = HTTPRequest.Method(profile.tokenRequestMethod) else {
            throw RequestError(parameter: "token_request_method", reason: "is not a method")
        }
        var head = HTTPRequest(method: method, scheme: endpoint.scheme.rawValue, authority: endpoint.authority, path: endpoint.target)
        head.headerFields[.accept] = "application/json"
        head.headerFields[.userAgent] = "Grantee/0.1"
        for (name, value) in profile.tokenHeaders.sorted(by: { $0.key < $1.key }) {
            guard let field = HTTPField.Name(name), HTTPField.isValidValue(value) else {
                throw RequestError(parameter: "token_headers.\(name)", reason: "is not a header field")
            }
            head.headerFields[field] = value
        }
        if let authorization { head.headerFields[.authorization] = authorization }
        var format = profile.tokenRequestFormat
        if method == .get { format = .query }
        switch format {
        case .form:
            head.headerFields[.contentType] = "application/x-www-form-urlencoded"
            return WireRequest(head: head, body: Array(Form.serialize(pairs).utf8))
        case .json:
            head.headerFields[.contentType] = "application/json"
            let object = JSONObject(pairs.map { (name: $0.0, value: .string($0.1)) })
            return WireRequest(head: head, body: JSONValue.object(object).serialized())
        case .query:
            head.path = endpoint.path + "?" + EndpointURL.joined(endpoint.query, Form.serialize(pairs))
            return WireRequest(head: head)
        }
    }
}

import Crypto

/// An authorization request, ready for a browser, with what must be kept to judge the response. RFC 6749 §4.1.1.
public struct AuthorizationRequest: Sendable {
    /// Where to send the browser. Holds `state`: not for logs.
    public let url: String
    /// The `state` that was put in. Keep only its hash.
    public let state: Secret<SecretKind.State>
    public let pending: PendingAuthorization
}

extension AuthorizationRequest: CustomStringConvertible, CustomReflectable {
    public var description: String { "AuthorizationRequest(redacted)" }
    public var customMirror: Mirror { Mirror(self, children: [:]) }  // `url` holds `state`
}

extension Client {
    /// RFC 6749 §4.1.1. With scope `openid` a nonce is added (OIDC §3.1.2.1).
    /// - Throws: ``RequestError`` naming the parameter: no authorization endpoint, a redirect URI that is none, a scope
    ///   with a forbidden character, a parameter that stands in the endpoint's own query already.
    public func authorizationRequest(
        redirectURI: String, scopes: [String], pkce: PKCE.Mode = .s256, loginHint: String? = nil, entropy: Entropy = .system
    ) throws(RequestError) -> AuthorizationRequest {
        guard let endpoint = server.authorizationEndpoint else { throw RequestError(parameter: "authorization_endpoint", reason: "is not known") }
        guard !registration.clientID.isEmpty else { throw RequestError(parameter: "client_id", reason: "is required") }
        guard Self.isRedirectURI(redirectURI) else {
            throw RequestError(parameter: "redirect_uri", reason: "must be an absolute https URL, or http on a loopback address, without a fragment")
        }
        let scope = try joined(scopes)
        let state = entropy.token(bytes: 32)
        let verifier = pkce == .none ? nil : PKCE.verifier(from: entropy)
        let nonce = scopes.contains("openid") ? entropy.token(bytes: 32) : nil
        var pairs: [(String, String)] = []
        if let responseType = profile.responseType, !responseType.isEmpty { pairs.append(("response_type", responseType)) }
        pairs.append(("client_id", registration.clientID))
        pairs.append(("redirect_uri", redirectURI))
        if !scope.isEmpty { pairs.append(("scope", scope)) }
        pairs.append(("state", state))
        if let verifier {
            guard let challenge = try? PKCE.challenge(for: verifier, mode: pkce) else {
                throw RequestError(parameter: "code_verifier", reason: "the entropy source gave no verifier")
            }
            pairs += [("code_challenge", challenge), ("code_challenge_method", pkce.rawValue)]
        }
        if let nonce { pairs.append(("nonce", nonce)) }
        if let mode = profile.responseMode, !mode.isEmpty { pairs.append(("response_mode", mode)) }
        if let loginHint, !loginHint.isEmpty { pairs.append(("login_hint", loginHint)) }
        for (name, value) in profile.authorizationParams.sorted(by: { $0.key < $1.key }) where !value.isEmpty {
            guard !Self.boundParameters.contains(name.lowercased()) else {
                throw RequestError(parameter: "authorization_params.\(name)", reason: "is set by the protocol itself")
            }
            pairs.removeAll { sameBytes($0.0, name) }
            pairs.append((name, value))
        }
        guard !pairs.contains(where: { $0.0 == "response_type" && Self.returnsToken($0.1) }) else {
            throw RequestError(parameter: "response_type", reason: "would send tokens through the browser")
        }
        let url = try self.url(endpoint, pairs: pairs.map { (profile.authorizationParameterNames[$0.0] ?? $0.0, $0.1) })
        return AuthorizationRequest(
            url: url, state: Secret(state),
            pending: PendingAuthorization(
                stateHash: Array(SHA256.hash(data: Array(state.utf8))), issuer: server.issuer, promisesIssuer: server.promisesIssuer,
                redirectURI: redirectURI, requestedScopes: scopes, verifier: verifier, nonce: nonce.map { Nonce($0) },
                state: profile.stateInExchange ? Secret(state) : nil))
    }

    /// What binds a response to its request: no setting replaces it.
    private static let boundParameters: Set<String> = [
        "client_id", "redirect_uri", "state", "nonce", "code_challenge", "code_challenge_method", "request_uri",
    ]

    private static func isRedirectURI(_ text: String) -> Bool {
        guard let url = try? EndpointURL(text) else { return false }
        return url.scheme == .https || url.isLoopback
    }

    /// `code id_token` is some providers' word for code and is theirs to set.
    private static func returnsToken(_ responseType: String) -> Bool {
        let words = responseType.lowercased().split { !$0.isLetter && $0 != "_" }
        return words.contains("token") || (words.contains("id_token") && !words.contains("code"))
    }

    /// Joined by the profile's separator; each is one scope token.
    func joined(_ scopes: [String]) throws(RequestError) -> String {
        for scope in scopes where !Self.isScopeToken(scope) {
            throw RequestError(parameter: "scope", reason: "one of the scopes holds a space, a quote, a backslash or a character outside ASCII")
        }
        let separator = profile.scopeSeparator
        guard !separator.isEmpty, separator.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) else {
            throw RequestError(parameter: "scope_separator", reason: "must be visible ASCII or a space")
        }
        return scopes.joined(separator: separator)
    }

    private func url(_ endpoint: EndpointURL, pairs: [(String, String)]) throws(RequestError) -> String {
        // RFC 6749 §3.1: no parameter twice, and the endpoint's own query stays as it is.
        var names = Set(((try? Form.parse((endpoint.query ?? "").utf8)) ?? []).map(\.name))
        for (name, _) in pairs where !names.insert(name).inserted {
            throw RequestError(parameter: name, reason: "would stand in the request twice; look at the authorization endpoint's own query")
        }
        let scopeName = profile.authorizationParameterNames["scope"] ?? "scope"
        let added = pairs.map { pair in
            // Some servers take "a+b" for two scopes only as it is written. The characters were checked.
            profile.rawScope && pair.0 == scopeName ? Form.encode(pair.0) + "=" + Self.rawScope(pair.1) : Form.serialize([pair])
        }.joined(separator: "&")
        return endpoint.scheme.rawValue + "://" + endpoint.authority + endpoint.path + "?" + EndpointURL.joined(endpoint.query, added)
    }

    /// Unencoded but for what would end the parameter.
    private static func rawScope(_ text: String) -> String {
        text.replacing("%", with: "%25").replacing("&", with: "%26").replacing("#", with: "%23").replacing(" ", with: "+")
            .replacing("<", with: "%3C").replacing(">", with: "%3E")
    }
}

import Crypto
import Foundation
import OAuth
import Synchronization

/// What the provider knows and decides; no HTTP. All in memory, one lock, so that a refresh token is spent once.
final class Authority: Sendable {
    struct Code: Sendable {
        let clientID: String
        let redirectURI: String
        let scopes: [String]
        let user: String
        let challenge: String?
        let challengeMethod: String?
        let nonce: String?
        let expiresAt: Date
        let family: String
        var isSpent = false
    }
    struct Refresh: Sendable {
        let clientID: String
        let scopes: [String]
        let user: String?
        let family: String
        var spentAt: Date?
    }
    struct Access: Sendable {
        let clientID: String
        let scopes: [String]
        let user: String?
        let family: String
        let expiresAt: Date
    }
    struct Seen: Sendable {
        let method: String
        let path: String
        let client: String?
        let grantType: String?
        let parameters: [String]
        let authentication: String?
        var isRateLimited = false
    }
    /// A client's requests at the token endpoint, since start or the last reset.
    struct Counts: Sendable {
        var requests = 0
        var rateLimited = 0
        /// Nothing is decided for them yet.
        var underWay = 0
    }
    struct State {
        var clients: [String: RehearsalClient] = [:]
        var users: [String: String] = [:]
        var requests: [String: AuthorizationQuestion] = [:]
        var logins: [String: String] = [:]
        var codes: [String: Code] = [:]
        var refreshTokens: [String: Refresh] = [:]
        var accessTokens: [String: Access] = [:]
        var deadFamilies: Set<String> = []
        var seen: [Seen] = []
        var counts: [String: Counts] = [:]
        /// When each client was let through within the last second.
        var recent: [String: [Date]] = [:]
    }

    let state: Mutex<State>
    let now: @Sendable () -> Date
    let signer = IDTokenSigner()

    init(clients: [RehearsalClient], users: [String: String], now: @escaping @Sendable () -> Date) {
        var initial = State()
        initial.clients = Dictionary(clients.map { ($0.id, $0) }) { _, last in last }
        initial.users = users
        state = Mutex(initial)
        self.now = now
    }

    static func random(_ bytes: Int = 24) -> String { Entropy.system.token(bytes: bytes) }

    func client(_ id: String) -> RehearsalClient? { state.withLock { $0.clients[id] } }

    func log(_ seen: Seen) {
        state.withLock { state in
            if state.seen.count >= 10_000 { state.seen.removeFirst(5000) }
            state.seen.append(seen)
        }
    }

    /// Counts a token request; ``ended(of:)`` follows.
    /// - Returns: `false` when it is more than the client's rate allows.
    func begin(_ client: RehearsalClient) -> Bool {
        let moment = now()
        return state.withLock { state in
            state.counts[client.id, default: Counts()].requests += 1
            state.counts[client.id, default: Counts()].underWay += 1
            guard let limit = client.rateLimit else { return true }
            var recent = state.recent[client.id] ?? []
            recent.removeAll { abs(moment.timeIntervalSince($0)) >= 1 }
            let isAllowed = recent.count < limit
            if isAllowed { recent.append(moment) } else { state.counts[client.id]?.rateLimited += 1 }
            state.recent[client.id] = recent
            return isAllowed
        }
    }

    func ended(_ client: RehearsalClient) { state.withLock { $0.counts[client.id]?.underWay -= 1 } }

    /// The client's faults for this grant type, each counted down.
    func takeFaults(of clientID: String, on grantType: String?, among kinds: Set<RehearsalFault.Kind>) -> [RehearsalFault] {
        state.withLock { state in
            guard var client = state.clients[clientID] else { return [] }
            var taken: [RehearsalFault] = []
            for index in client.faults.indices {
                let fault = client.faults[index]
                guard kinds.contains(fault.kind), fault.on == nil || fault.on == grantType, fault.times != 0 else { continue }
                if let times = fault.times { client.faults[index].times = times - 1 }
                taken.append(fault)
            }
            state.clients[clientID] = client
            return taken
        }
    }

    // MARK: Client authentication

    struct Refusal: Error, Sendable {
        var status = 400
        let error: String
        var description: String?
        init(_ error: String, _ description: String? = nil, status: Int = 400) {
            (self.error, self.description, self.status) = (error, description, status)
        }
    }

    /// Exactly one way, and one that the client is registered for. RFC 6749 §2.3.
    func authenticate(authorization: String?, form: [String: String]) throws(Refusal) -> (client: RehearsalClient, method: String) {
        let (id, secret, method) = try Self.credentials(authorization: authorization, form: form)
        guard let client = client(id) else { throw Refusal("invalid_client", "no such client", status: 401) }
        guard
            client.clientAuthentication.contains(method) || (method == "client_secret_basic" && client.clientAuthentication.contains("client_secret_basic_raw"))
        else {
            throw Refusal("invalid_client", "the client is not registered for \(method)", status: 401)
        }
        if let expected = client.secret {
            guard let secret, constantTimeEqual(secret, expected) else { throw Refusal("invalid_client", "the secret is wrong", status: 401) }
        }
        return (client, method)
    }

    private static func credentials(authorization: String?, form: [String: String]) throws(Refusal) -> (String, String?, String) {
        guard let authorization, authorization.lowercased().hasPrefix("basic ") else {
            guard let id = form["client_id"] else { throw Refusal("invalid_client", "no client authentication", status: 401) }
            return (id, form["client_secret"], form["client_secret"] == nil ? "none" : "client_secret_post")
        }
        guard form["client_secret"] == nil else { throw Refusal("invalid_request", "two client authentications in one request") }
        guard let data = Data(base64Encoded: String(authorization.dropFirst(6))), let text = String(data: data, encoding: .utf8),
            let colon = text.firstIndex(of: ":")
        else { throw Refusal("invalid_client", "the Basic credentials cannot be read", status: 401) }
        func decoded(_ part: Substring) -> String { (try? Form.parse("x=\(part)".utf8).first?.value) ?? String(part) }
        return (decoded(text[..<colon]), decoded(text[text.index(after: colon)...]), "client_secret_basic")
    }

    // MARK: Tokens

    struct Issued: Sendable {
        let accessToken: String
        let refreshToken: String?
        let scopes: [String]
        let lifetime: Int
        let user: String?
        let nonce: String?
    }

    func issue(_ client: RehearsalClient, grantType: String, form: [String: String]) throws(Refusal) -> Issued {
        guard client.grantTypes.contains(grantType) else {
            throw Refusal(
                ["authorization_code", "password", "client_credentials", "refresh_token"].contains(grantType)
                    ? "unauthorized_client" : "unsupported_grant_type",
                "the client may not use \(ProviderText.clean(grantType, limit: 60))")
        }
        switch grantType {
        case "authorization_code": return try redeem(client, form)
        case "refresh_token": return try refresh(client, form)
        case "password":
            guard let username = form["username"], let password = form["password"] else {
                throw Refusal("invalid_request", "username and password are required")
            }
            guard let expected = state.withLock({ $0.users[username] }), constantTimeEqual(expected, password) else {
                throw Refusal("invalid_grant", "username or password is wrong")
            }
            return make(
                client, scopes: try scopes(client, form), user: username, family: Self.random(), withRefreshToken: client.grantTypes.contains("refresh_token"))
        case "client_credentials":
            guard client.secret != nil else { throw Refusal("unauthorized_client", "a public client has no credentials") }
            return make(client, scopes: try scopes(client, form), user: nil, family: Self.random(), withRefreshToken: false)
        default: throw Refusal("unsupported_grant_type")
        }
    }

    func scopes(_ client: RehearsalClient, _ form: [String: String]) throws(Refusal) -> [String] {
        let asked = (form["scope"] ?? "").split(separator: " ").map(String.init)
        guard asked.allSatisfy(client.scopes.contains) else { throw Refusal("invalid_scope", "a scope is not known for this client") }
        return asked.isEmpty ? client.scopes.sorted() : asked
    }

    private func make(
        _ client: RehearsalClient, scopes: [String], user: String?, family: String, withRefreshToken: Bool, nonce: String? = nil
    ) -> Issued {
        let access = "at_" + Self.random()
        let refresh = withRefreshToken ? "rt_" + Self.random() : nil
        state.withLock { state in
            state.accessTokens[access] = Access(
                clientID: client.id, scopes: scopes, user: user, family: family, expiresAt: now() + TimeInterval(client.accessTokenLifetime))
            if let refresh { state.refreshTokens[refresh] = Refresh(clientID: client.id, scopes: scopes, user: user, family: family) }
        }
        return Issued(accessToken: access, refreshToken: refresh, scopes: scopes, lifetime: client.accessTokenLifetime, user: user, nonce: nonce)
    }

    /// A code counts once; its second use ends what the first one gave. RFC 6749 §4.1.2.
    private func redeem(_ client: RehearsalClient, _ form: [String: String]) throws(Refusal) -> Issued {
        guard let text = form["code"] else { throw Refusal("invalid_request", "code is required") }
        let found = state.withLock { state -> Code? in
            guard var code = state.codes[text] else { return nil }
            if code.isSpent {
                state.deadFamilies.insert(code.family)
                return nil
            }
            code.isSpent = true
            state.codes[text] = code
            return code
        }
        guard let code = found, code.clientID == client.id, code.expiresAt > now() else {
            throw Refusal("invalid_grant", "the code is unknown, used or expired")
        }
        guard form["redirect_uri"].map({ sameBytes($0, code.redirectURI) }) == true else {
            throw Refusal("invalid_grant", "redirect_uri is another than in the request")
        }
        if let challenge = code.challenge {
            guard let verifier = form["code_verifier"],
                let computed = try? PKCE.challenge(for: CodeVerifier(verifier), mode: code.challengeMethod == "S256" ? .s256 : .plain),
                constantTimeEqual(computed, challenge)
            else { throw Refusal("invalid_grant", "code_verifier does not fit the challenge") }
        } else if form["code_verifier"] != nil {
            throw Refusal("invalid_grant", "a code_verifier came without a challenge")
        }
        return make(
            client, scopes: code.scopes, user: code.user, family: code.family, withRefreshToken: client.grantTypes.contains("refresh_token"), nonce: code.nonce)
    }

    private func refresh(_ client: RehearsalClient, _ form: [String: String]) throws(Refusal) -> Issued {
        guard let text = form["refresh_token"] else { throw Refusal("invalid_request", "refresh_token is required") }
        let moment = now()
        let found = state.withLock { state -> Refresh? in
            guard var token = state.refreshTokens[text], token.clientID == client.id, !state.deadFamilies.contains(token.family) else { return nil }
            if let spentAt = token.spentAt {
                if moment.timeIntervalSince(spentAt) <= TimeInterval(client.grace), client.grace > 0 { return token }
                // Used a second time: somebody has a copy. RFC 9700 §4.14.2.
                state.deadFamilies.insert(token.family)
                return nil
            }
            if client.rotates {
                token.spentAt = moment
                state.refreshTokens[text] = token
            }
            return token
        }
        guard let token = found else { throw Refusal("invalid_grant", "the refresh token is unknown, used or revoked") }
        var scopes = token.scopes
        if let asked = form["scope"] {
            let narrower = asked.split(separator: " ").map(String.init)
            guard narrower.allSatisfy(token.scopes.contains) else { throw Refusal("invalid_scope", "more than was granted") }
            scopes = narrower
        }
        return make(client, scopes: scopes, user: token.user, family: token.family, withRefreshToken: client.rotates)
    }

    func access(_ token: String) -> Access? {
        state.withLock { state in
            guard let access = state.accessTokens[token], access.expiresAt > now(), !state.deadFamilies.contains(access.family) else { return nil }
            return access
        }
    }

    func isLive(refreshToken: String) -> Refresh? {
        state.withLock { state in
            guard let token = state.refreshTokens[refreshToken], token.spentAt == nil, !state.deadFamilies.contains(token.family) else { return nil }
            return token
        }
    }

    /// A refresh token takes its access tokens along. RFC 7009 §2.1.
    func revoke(_ token: String, client: RehearsalClient) {
        state.withLock { state in
            if let refresh = state.refreshTokens[token], refresh.clientID == client.id { state.deadFamilies.insert(refresh.family) }
            if state.accessTokens[token]?.clientID == client.id { state.accessTokens[token] = nil }
        }
    }

    func reset() {
        state.withLock { state in
            state.seen = []
            for id in state.counts.keys { state.counts[id] = Counts(underWay: state.counts[id]?.underWay ?? 0) }
            state.recent = [:]
            for id in state.clients.keys { state.clients[id]?.faults = [] }
        }
    }
}

/// Signs ID tokens with a key made at start. ES256: r and s side by side, 64 bytes. RFC 7518 §3.4.
struct IDTokenSigner: Sendable {
    private let key = P256.Signing.PrivateKey()
    private let keyID = Authority.random(6)

    func token(_ claims: JSONObject) throws -> String {
        let header: JSONValue = ["alg": "ES256", "typ": "JWT", "kid": .string(keyID)]
        let text = Base64URL.encode(header.serialized()) + "." + Base64URL.encode(JSONValue.object(claims).serialized())
        return text + "." + Base64URL.encode(try key.signature(for: Array(text.utf8)).rawRepresentation)
    }

    var keySet: JSONValue {
        let point = key.publicKey.rawRepresentation
        return [
            "keys": [
                [
                    "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": .string(keyID), "x": .string(Base64URL.encode(point.prefix(32))),
                    "y": .string(Base64URL.encode(point.suffix(32))),
                ]
            ]
        ]
    }
}

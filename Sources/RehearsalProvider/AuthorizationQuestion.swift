import Foundation
import OAuth
import Synchronization

/// An authorization request that waits for a person's answer.
struct AuthorizationQuestion: Sendable {
    let clientID: String
    let redirectURI: String
    let scopes: [String]
    let state: String?
    let challenge: String?
    let challengeMethod: String?
    let nonce: String?
    /// Only of a user that is known: anything else is anybody's text.
    let loginHint: String?
}

extension Authority {
    enum Asked: Sendable {
        /// Shown here: the redirect URI cannot be trusted. RFC 6749 §4.1.2.1.
        case page(String)
        case redirect(String)
        case question(id: String, AuthorizationQuestion, RehearsalClient)
    }

    func ask(_ query: String, issuer: String) -> Asked {
        guard let pairs = try? Form.parse(query.utf8) else { return .page("The request cannot be read.") }
        var form: [String: String] = [:]
        for (name, value) in pairs {
            guard form.updateValue(value, forKey: name) == nil else { return .page("A parameter is repeated.") }
        }
        guard let client = form["client_id"].flatMap(client) else { return .page("No client is registered under this client_id.") }
        guard let redirectURI = form["redirect_uri"], client.allows(redirectURI: redirectURI) else {
            return .page("This redirect_uri is not registered for the client. Register it exactly as the client sends it.")
        }
        func refuse(_ error: String, _ description: String) -> Asked {
            .redirect(respond([("error", error), ("error_description", description)], to: redirectURI, state: form["state"], client: client, issuer: issuer))
        }
        guard form["response_type"] == "code" else { return refuse("unsupported_response_type", "only code is supported") }
        guard client.grantTypes.contains("authorization_code") else { return refuse("unauthorized_client", "the client may not use the code flow") }
        let challenge = form["code_challenge"]
        let method = challenge == nil ? nil : form["code_challenge_method"] ?? "plain"
        if challenge == nil, client.pkce == .required || client.pkce == .s256Only { return refuse("invalid_request", "code_challenge is required") }
        if challenge != nil, client.pkce == .forbidden { return refuse("invalid_request", "code_challenge is not supported") }
        if let method, !["S256", "plain"].contains(method) { return refuse("invalid_request", "code_challenge_method is not supported") }
        let faults = takeFaults(of: client.id, on: "authorization_code", among: [.refuseS256])
        if method == "plain", client.pkce == .s256Only { return refuse("invalid_request", "code_challenge_method must be S256") }
        if method == "S256", !faults.isEmpty { return refuse("invalid_request", "code_challenge_method S256 is not supported") }
        guard let scopes = try? scopes(client, form) else { return refuse("invalid_scope", "a scope is not known for this client") }
        let question = AuthorizationQuestion(
            clientID: client.id, redirectURI: redirectURI, scopes: scopes, state: form["state"], challenge: challenge, challengeMethod: method,
            nonce: form["nonce"], loginHint: form["login_hint"].flatMap { hint in state.withLock { $0.users[hint] == nil ? nil : hint } })
        let id = Self.random()
        state.withLock { state in
            if state.requests.count >= 10_000 { state.requests = [:] }
            state.requests[id] = question
        }
        return .question(id: id, question, client)
    }

    enum Answered: Sendable {
        case unknown
        case wrongPassword(AuthorizationQuestion, RehearsalClient)
        case redirect(String, login: String?)
    }

    /// - Parameter login: the session cookie of somebody who is signed in already.
    func answer(_ id: String, approve: Bool, username: String?, password: String?, login: String?, issuer: String) -> Answered {
        guard let question = state.withLock({ $0.requests[id] }), let client = client(question.clientID) else { return .unknown }
        guard approve else {
            state.withLock { $0.requests[id] = nil }
            return .redirect(
                respond(
                    [("error", "access_denied"), ("error_description", "the person said no")], to: question.redirectURI, state: question.state, client: client,
                    issuer: issuer),
                login: nil)
        }
        var user = login.flatMap { login in state.withLock { $0.logins[login] } }
        var newLogin: String?
        if let username, !username.isEmpty {
            guard let expected = state.withLock({ $0.users[username] }), constantTimeEqual(expected, password ?? "") else {
                return .wrongPassword(question, client)
            }
            user = username
            let created = Self.random()
            state.withLock { $0.logins[created] = username }
            newLogin = created
        }
        guard let user else { return .wrongPassword(question, client) }
        let code = "code_" + Self.random()
        state.withLock { state in
            state.requests[id] = nil
            state.codes[code] = Code(
                clientID: client.id, redirectURI: question.redirectURI, scopes: question.scopes, user: user, challenge: question.challenge,
                challengeMethod: question.challengeMethod, nonce: question.nonce, expiresAt: now() + 60, family: Self.random())
        }
        return .redirect(respond([("code", code)], to: question.redirectURI, state: question.state, client: client, issuer: issuer), login: newLogin)
    }

    private func respond(
        _ result: [(String, String)], to redirectURI: String, state: String?, client: RehearsalClient, issuer: String
    ) -> String {
        var state = state
        var iss: String? = issuer
        for fault in takeFaults(of: client.id, on: "authorization_code", among: [.wrongIss, .noIss, .wrongState, .noState, .redirectQuery]) {
            switch fault.kind {
            case .wrongIss: iss = fault.value.string ?? "https://another.example"
            case .noIss: iss = nil
            case .wrongState: state = "another-state"
            case .noState: state = nil
            default:
                let code = result.first { $0.0 == "code" }?.1 ?? ""
                let query = (fault.value.string ?? "").replacing("{state}", with: Form.encode(state ?? "")).replacing("{code}", with: Form.encode(code))
                return redirectURI + (redirectURI.contains("?") ? "&" : "?") + query
            }
        }
        var pairs = result
        if let state { pairs.append(("state", state)) }
        if let iss { pairs.append(("iss", iss)) }
        return redirectURI + (redirectURI.contains("?") ? "&" : "?") + Form.serialize(pairs)
    }
}

import OAuth
import OAuthClient
import Vault

/// A provider's refusal, explained: what happened in words, and the one thing to do about it.
enum ProviderProblem {
    /// What was asked of the provider when it refused.
    enum Step: String, Sendable {
        case code = "the exchange of the authorization code"
        case password = "the password grant"
        case clientCredentials = "the client credentials grant"
        case refresh = "the refresh"
    }

    static func of(_ error: TransportError, what: String) -> Problem {
        switch error.reason {
        case .blocked:
            Problem(
                .egressBlocked, "\(what) lies where outbound requests may not go",
                fix: "use a public https URL, or have the operator start the server with --egress-allow for that network")
        case .unreachable(let why):
            Problem(.providerUnreachable, "\(what) could not be reached: \(why)", fix: "check the URL, and that the provider is up", retryAfter: 5)
        case .timedOut:
            Problem(.providerUnreachable, "\(what) did not answer in time", fix: "try again later", retryAfter: 5)
        case .broken(let why):
            Problem(.providerError, "the answer of \(what) could not be used: \(why)", fix: "try again later, and check the URL", provider: .init(status: nil))
        case .cancelled:
            Problem(.providerUnreachable, "the request to \(what) was given up", fix: "try again")
        }
    }

    static func of(_ error: MetadataError) -> Problem {
        switch error {
        case .badIssuer(let reason):
            Problem(.invalidRequest, "the issuer is not usable: \(reason)", errors: [.init(pointer: "/issuer", detail: reason)])
        case .notJSON:
            Problem(
                .providerError, "no metadata document was found at the issuer's well-known URLs",
                fix: "check the issuer, or fill in the endpoints by hand", provider: .init(status: nil))
        case .issuerMismatch(let found):
            Problem(
                .providerError, "the metadata document speaks for another issuer: \(shown(found))",
                fix: "use the issuer exactly as the document names it, slash included", provider: .init(status: nil))
        case .missing(let member):
            Problem(.providerError, "the metadata document lacks \(member)", fix: "fill in the endpoints by hand", provider: .init(status: nil))
        case .badMember(let member, let reason):
            Problem(
                .providerError, "the metadata document's \(member) is not usable: \(reason)", fix: "fill in the endpoints by hand",
                provider: .init(status: nil))
        }
    }

    /// - Parameter settings: for naming what to change in it.
    static func of(_ error: TokenError, step: Step, settings: ConnectionSettings) -> Problem {
        let provider = Problem.Provider(
            status: error.status, error: (error.originalCode ?? error.code?.rawValue).map { shown($0) }, errorDescription: error.errorDescription)
        let detail: String
        switch error.kind {
        case .refused:
            let said = error.code.map { "answered \(shown($0.rawValue)) (status \(error.status))" } ?? "answered with status \(error.status) and no error code"
            detail = "the provider refused \(step.rawValue): it \(said)"
        case .malformed(let reason):
            detail = "the provider's answer to \(step.rawValue) (status \(error.status)) is not a token response: \(reason)"
        case .idToken(let reason):
            detail = "the ID token in the provider's answer was refused: \(reason)"
        }
        return Problem(
            .providerError, detail, fix: fix(for: error, step: step, settings: settings), provider: provider, retryAfter: error.retryAfter)
    }

    /// The one thing to do.
    static func fix(for error: TokenError, step: Step, settings: ConnectionSettings) -> String {
        let grantType = settings.oauth.grantType.rawValue
        switch error.kind {
        case .malformed where error.status < 300:
            return "check that token_url is the provider's token endpoint and not a page for people"
        case .idToken:
            return "check issuer and client_id of the connection"
        default: break
        }
        switch error.code?.rawValue {
        case "invalid_client":
            return clientFix(settings)
        case "invalid_grant":
            switch step {
            case .code: return "start over with connect; if it repeats, register the Callback URL at the provider byte for byte as it is shown"
            case .password: return "check username and password"
            case .refresh: return "connect again"
            case .clientCredentials: return clientFix(settings)
            }
        case "unauthorized_client":
            return "enable the grant type \(step == .refresh ? "refresh_token" : grantType) for this client at the provider"
        case "unsupported_grant_type":
            return
                "the provider does not offer \(step == .refresh ? "refresh_token" : grantType) at this token_url: choose another grant type, or correct token_url"
        case "invalid_scope", "scope_invalid":
            let scopes = settings.requestedScopes.joined(separator: " ")
            return "drop a scope that the provider does not know, or enable it there; asked for: \(scopes.isEmpty ? "none" : scopes)"
        case "invalid_target":
            return "correct resource or audience in the connection's parameters"
        case "invalid_request" where step == .password:
            // Some servers say this of a wrong password.
            return "check username and password; if they are right, " + clientFix(settings)
        case "invalid_request":
            return "check the connection's parameters, its PKCE mode and its client authentication"
        case "temporarily_unavailable", "server_error":
            return "try again later"
        default: break
        }
        switch error.status {
        case 300..<400:
            let target = error.redirectOrigin.map { " to " + shown($0) } ?? ""
            return "token_url redirects\(target): use the URL that it leads to; redirects are never followed with secrets"
        case 401 where step == .password, 403 where step == .password:
            return "check username and password; if they are right, " + clientFix(settings)
        case 401, 403: return clientFix(settings)
        case 404, 405: return "correct token_url: there is no token endpoint at it"
        case 408, 429, 500...: return "try again later"
        // Some servers refuse a dead refresh token with a bare 400.
        case 400..<500 where step == .refresh: return "the provider gives no reason; if it repeats, connect again"
        default: return "see what the provider's documentation says about this error"
        }
    }

    private static func clientFix(_ settings: ConnectionSettings) -> String {
        let other: String
        switch settings.oauth.clientAuthentication {
        case ClientAuthenticationMethod.clientSecretPost.rawValue: other = "client_secret_basic"
        case ClientAuthenticationMethod.none.rawValue: other = "client_secret_basic with a secret"
        default: other = "client_secret_post"
        }
        return
            "check client_id and client_secret, and how the provider wants them: the connection sends \(settings.oauth.clientAuthentication); the other way is \(other)"
    }

    /// A short single line of a provider's text.
    static func shown(_ text: String) -> String {
        let clean = String(
            text.unicodeScalars.filter { scalar in
                switch scalar.properties.generalCategory {
                case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate, .unassigned: false
                default: true
                }
            }.prefix(200).map(Character.init))
        return clean
    }
}

extension TokenError {
    /// Whether the connection is to blame when a person's code or password was refused. Only what cannot mean that
    /// person: a mistyped password, which some servers answer with 401, an empty 403 or `invalid_request`, must not stop
    /// everybody else.
    func blamesConnection(at step: ProviderProblem.Step) -> Bool {
        switch code?.rawValue {
        case "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_target": true
        case nil: step == .code && status == 401
        default: false
        }
    }

    /// A short code for health and state reasons: the RFC's word, else the status.
    var reason: String { code.map { ProviderProblem.shown($0.rawValue) } ?? "status_\(status)" }
}

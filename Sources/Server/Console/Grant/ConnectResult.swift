import Broker
import OAuth
import Vault

/// How a connect session ended, for the builder who began it in the console.
enum ConnectResult {
    /// What the query of the page that a trip came back to names; `nil` = nothing, or a session of another connection.
    ///
    /// The query itself is believed in nothing but the session's id.
    static func value(_ inbound: Inbound, _ connection: Connection) async throws(Problem) -> [String: Any]? {
        let id = inbound.asked("grantee_session")
        guard !id.isEmpty else { return nil }
        let view: Broker.SessionView
        do throws(Problem) {
            view = try await inbound.broker.session(id: id, for: try inbound.caller)
        } catch {
            // Made long ago, or made up.
            guard error.code == .notFound else { throw error }
            return nil
        }
        guard view.session.connectionUID == connection.uid else { return nil }
        var value = value(view, connectionID: connection.id)
        if view.session.state == .connected, connection.settings.baseURL != nil {
            value?["test"] = TrySuggestion.values(connection.settings, subject: view.session.subject)
        }
        return value
    }

    static func value(_ view: Broker.SessionView, connectionID: String) -> [String: Any]? {
        let session = view.session
        let whose = session.subject.isEmpty ? "The shared grant" : session.subject
        switch session.state {
        case .connected: return connected(view, whose, connectionID)
        case .failed: return failed(session, connectionID)
        case .open, .pending:
            return ["kind": "info", "heading": "Not connected yet", "explanation": "\(whose) has not finished at the provider."]
        case .expired:
            return ["kind": "warn", "heading": "The time has passed", "explanation": "A connect link lives for 30 minutes.", "remedy": "Connect again."]
        }
    }

    private static func connected(_ view: Broker.SessionView, _ whose: String, _ id: String) -> [String: Any] {
        var explanation = "\(whose) is connected"
        if let account = view.grant?.grant.account { explanation += " with the account \(ProviderText.clean(account, limit: 120))" }
        var value: [String: Any] = ["kind": "good", "heading": "Connected", "explanation": explanation + "."]
        if let missing = view.grant?.missingScope, !missing.isEmpty {
            value["kind"] = "warn"
            value["remedy"] = "Not all was granted that was asked for. Missing: \(missing.joined(separator: " "))."
        }
        if let grant = view.grant, grant.grant.refreshToken == nil {
            value["kind"] = "warn"
            value["items"] = ["The provider gave no refresh token: when the access token ends, a person has to connect again. The doctor tells how to get one."]
            value["link"] = ["path": ConnectionHead.path(id, .doctor), "label": "Ask the doctor"]
        } else {
            value["link"] = ["path": ConnectionHead.path(id, .tryIt), "label": "Try it"]
        }
        return value
    }

    private static func failed(_ session: ConnectSession, _ id: String) -> [String: Any] {
        let code = session.error ?? "exchange_failed"
        let (heading, explanation, remedy) = words(code)
        var value: [String: Any] = [
            "kind": "bad", "is_alert": true, "heading": heading, "explanation": explanation, "remedy": remedy,
        ]
        if let detail = session.errorDetail, code != "browser_mismatch" { value["said"] = ProviderText.clean(detail, limit: 400) }
        if code == "account_mismatch" {
            value["other_account"] = ["subject_value": session.subject]
        } else {
            value["link"] = ["path": ConnectionHead.path(id, .doctor), "label": "Ask the doctor"]
        }
        return value
    }

    private static func words(_ code: String) -> (heading: String, explanation: String, remedy: String) {
        switch code {
        case "access_denied":
            ("Access was not granted", "Whoever signed in at the provider said no, or may not say yes.", "Connect again, or ask an administrator there.")
        case "invalid_state": ("The answer came too late", "It was used already, or more than ten minutes have passed.", "Connect again.")
        case "browser_mismatch":
            ("Another browser", "The answer came from another browser than the one that started.", "Connect and sign in at the provider in the same browser.")
        case "issuer_mismatch":
            ("Not the expected provider", "The answer came from another provider than the one that was asked.", "Check the Issuer; nothing was connected.")
        case "account_mismatch":
            (
                "Another account", "This is another account of the provider than the one that was connected before.",
                "Sign in at the provider with that account, or take the new one on purpose."
            )
        case "missing_code": ("The answer is incomplete", "The provider sent the browser back without a code.", "Connect again; if it repeats, ask the doctor.")
        case "invalid_scope":
            (
                "A scope is not known", "The provider does not know a scope that was asked for, or does not allow it.",
                "Drop it under Edit, or enable it at the provider."
            )
        case "unauthorized_client", "unsupported_response_type":
            (
                "The client may not do this", "The provider does not allow this client the authorization code flow.",
                "Enable it for the client at the provider."
            )
        case "server_error", "temporarily_unavailable": ("The provider is not available", "It could not answer just now.", "Try again in a few minutes.")
        case "exchange_failed":
            (
                "The provider gave no token", "The person came back, but the last step between this server and the provider failed.",
                "Ask the doctor what to change."
            )
        default: ("The provider said no", "It answered with an error of its own (\(ProviderText.clean(code, limit: 64))).", "Ask the doctor what to change.")
        }
    }
}

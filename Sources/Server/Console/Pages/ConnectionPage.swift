import Broker
import HTTPTypes
import OAuth
import Vault

/// One connection at a glance: does it work, who is connected, what will die.
enum ConnectionPage {
    static func show(_ inbound: Inbound) async throws -> Outbound {
        let head = try await ConnectionHead.load(inbound)
        var values = try await values(inbound, head)
        if let result = try await ConnectResult.value(inbound, head.connection) {
            values["trouble"] = result
            // One such button is enough.
            if result["test"] != nil { values["test"] = nil }
        }
        return inbound.page(head.page(.overview, values, template: "connection"))
    }

    /// Begins a connect session that comes back here, or fetches a token at once where nobody has to be asked.
    static func connect(_ inbound: Inbound) async throws -> Outbound {
        let head = try await ConnectionHead.load(inbound)
        let connection = head.connection
        let form = try inbound.form
        let subject = form.trimmed("subject")
        let hint = form.trimmed("login_hint")
        let options = Broker.ConnectOptions(
            subject: subject, loginHint: hint.isEmpty ? nil : String(hint.prefix(320)), allowAccountChange: form["allow_account_change"] == "yes")
        do throws(Problem) {
            return try await begin(connection, options, inbound)
        } catch {
            return try await refused(error, inbound, subject: subject, hint: hint)
        }
    }

    static func begin(_ connection: Connection, _ options: Broker.ConnectOptions, _ inbound: Inbound) async throws(Problem) -> Outbound {
        let path = ConnectionHead.path(connection.id)
        var options = options
        if !connection.fetchesAlone {
            options.returnURL = inbound.faces.publicURL.origin + path
            options.returnsToConsole = true
        }
        switch try await inbound.broker.connect(connectionID: connection.id, options: options, by: try inbound.caller) {
        case .connected: return inbound.see(path, done: connection.fetchesAlone ? "fetched" : "connected")
        case .link(_, let url): return inbound.see(String(url.dropFirst(inbound.faces.publicURL.origin.count)))
        }
    }

    /// The page again, with what was typed and what is wrong with it.
    private static func refused(_ problem: Problem, _ inbound: Inbound, subject: String, hint: String) async throws -> Outbound {
        // A refusal may have changed what the page shows.
        let head = try await ConnectionHead.load(inbound)
        var values = try await values(inbound, head)
        values["subject_typed"] = subject
        values["login_hint_typed"] = hint
        if let fault = problem.errors.first(where: { $0.pointer == "/subject" }) {
            values["subject_error"] = TroubleNotice.sentence(fault.detail)
        } else {
            values["trouble"] = TroubleNotice.value(
                problem, heading: head.connection.fetchesAlone ? "No token was fetched" : "Connecting did not begin", connection: head.connection.id)
        }
        var page = head.page(.overview, values, template: "connection")
        page.status = problem.code == .invalidRequest ? .unprocessableContent : .init(code: problem.code.status)
        return inbound.page(page)
    }

    private static func values(_ inbound: Inbound, _ head: ConnectionHead) async throws(Problem) -> [String: Any] {
        let connection = head.connection
        let alone = connection.fetchesAlone
        var grants = (shown: head.grants, next: head.hasMore ? head.grants.last?.grant.uid : nil)
        let after = UID(parsing: inbound.asked("after"))
        if let after {
            let found = try await inbound.broker.grants(
                connectionID: connection.id, subject: nil, state: nil, worstFirst: true, after: after, limit: ConnectionHead.grantsOnPage + 1,
                for: try inbound.caller)
            grants.shown = Array(found.prefix(ConnectionHead.grantsOnPage))
            grants.next = found.count > ConnectionHead.grantsOnPage ? grants.shown.last?.grant.uid : nil
        }
        let path = ConnectionHead.path(connection.id)
        var values: [String: Any] = [
            "facts": ConnectionFacts.values(connection, now: head.now), "endings": Endings.values(head), "fetches_alone": alone,
            "grants": grants.shown.map { GrantRow.value($0, fetchesAlone: alone, now: head.now) }, "has_grants": !grants.shown.isEmpty,
            "is_code": connection.settings.oauth.grantType == .authorizationCode, "subject_typed": "", "login_hint_typed": "", "is_first_page": after == nil,
        ]
        if connection.settings.baseURL != nil, let working = head.grants.first(where: { $0.state == "active" }) {
            values["test"] = TrySuggestion.values(connection.settings, subject: working.grant.subject)
        }
        if let next = grants.next { values["next_path"] = path + "?after=" + next.text }
        if connection.settings.oauth.grantType == .authorizationCode {
            values["callback_url"] = connection.settings.oauth.redirectURI ?? inbound.broker.callbackURL(connectionID: connection.id)
        }
        return values
    }
}

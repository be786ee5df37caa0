import Broker
import HTTPTypes
import OAuth
import Vault

/// How this server is set up, how its vault is, who is signed in.
enum SettingsPage {
    static func show(_ inbound: Inbound) async throws -> Outbound {
        let caller = try inbound.caller
        let broker = inbound.broker
        let facts = inbound.faces.facts
        let now = broker.now
        let own = try inbound.visit.session.id
        var names = [caller.key.id: caller.key.name]
        var values: [String: Any] = [
            "server": await SettingsValues.server(inbound.faces, now: now), "outbound": SettingsValues.outbound(facts),
        ]
        if let nodes = SettingsValues.nodes(try await broker.nodesAtWork(), facts, now: now) { values["cluster"] = ["nodes": nodes] }
        if caller.isUnbound {
            for key in try await broker.keys(for: caller) { names[key.id] = key.name }
            values["vault"] = SettingsValues.vault(try await broker.vaultStatus(for: caller), facts, now: now)
        }
        let keys = names
        values["sessions"] = try await broker.consoleSessions(for: caller).map { SettingsValues.session($0, own: own, keys: keys, now: now) }
        return inbound.page(ConsolePage("Settings", .settings, template: "settings", values))
    }

    /// One session, or all of them, this one too.
    static func endSessions(_ inbound: Inbound) async throws -> Outbound {
        let caller = try inbound.caller
        let button = try inbound.form.button
        if button == "all" {
            try await inbound.broker.endAllConsoleSessions(by: caller)
            return SignInPage.signedOut(inbound)
        }
        guard !button.isEmpty else {
            throw Problem(.invalidRequest, "the form does not say which session", fix: "load the page again and press a button there")
        }
        try await inbound.broker.endConsoleSession(id: button, by: caller)
        if button == (try inbound.visit.session.id) { return SignInPage.signedOut(inbound) }
        return inbound.see("/console/settings", done: "session-ended")
    }

    /// Waits for the end: whatever is large takes a while, and the work goes on though the browser leaves.
    static func verifyVault(_ inbound: Inbound) async throws -> Outbound {
        var values: [String: Any] = [:]
        for await event in try inbound.broker.verifyVault(by: try inbound.caller) {
            switch event {
            case .done(let verification): values = result(verification)
            case .failed(let problem): throw problem
            case .database, .dataKeys, .sealedValues, .activity: continue
            }
        }
        guard !values.isEmpty else { throw Problem(.unavailable, "the check did not come to its end", fix: "start it again") }
        return inbound.page(
            ConsolePage("Check of the vault", .settings, template: "vault-check", values, crumbs: [("Settings", "/console/settings")]))
    }

    private static func result(_ verification: Verification) -> [String: Any] {
        var values: [String: Any] = ["is_ok": verification.isOK, "checked": verification.checked, "fault_count": verification.faultCount]
        values["faults"] = verification.faults.map { fault -> [String: Any] in
            var row: [String: Any] = ["record": fault.record, "detail": ProviderText.clean(fault.detail, limit: 300)]
            if let uid = fault.uid { row["uid"] = uid }
            if let connection = fault.connection { row["connection"] = connection }
            if let field = fault.field { row["field"] = field }
            return row
        }
        values["has_faults"] = !verification.faults.isEmpty
        values["faults_left_out"] = verification.faultCount > verification.faults.count
        if verification.mayBeSpentCount > 0 {
            values["may_be_spent"] = verification.mayBeSpentCount
            values["spent"] = verification.mayBeSpent.prefix(100).map { grant in
                [
                    "connection": grant.connection, "subject": grant.subject.isEmpty ? "shared" : grant.subject,
                    "path": "/console/connections/\(grant.connection)/grants/\(grant.subject.isEmpty ? "-" : Form.percentEncode(grant.subject))",
                ]
            }
        }
        return values
    }
}

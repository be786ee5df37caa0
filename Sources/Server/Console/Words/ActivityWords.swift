import Broker
import Vault

/// What the activity log notes in codes, as a person reads it.
enum ActivityWords {
    struct Action: Sendable {
        let code: String
        let words: String
        /// How one that went well is marked.
        var mark = Mark.quiet
    }

    struct Group: Sendable {
        let title: String
        let actions: [Action]
    }

    /// The colour of a badge; its word stands in it.
    enum Mark: String, Sendable { case good, warn, bad, info, quiet }

    /// Every action that is noted, in the order in which a filter offers them.
    static let groups: [Group] = [
        Group(
            title: "Use",
            actions: [
                Action(code: "token.read", words: "Token handed out"), Action(code: "api.called", words: "API called"),
                Action(code: "api.refused", words: "API call refused", mark: .warn), Action(code: "agent.limited", words: "Agent reached a limit", mark: .warn),
            ]),
        Group(
            title: "Grants",
            actions: [
                Action(code: "grant.created", words: "Grant made", mark: .good), Action(code: "grant.reconnected", words: "Connected again", mark: .good),
                Action(code: "grant.refreshed", words: "Refreshed", mark: .good), Action(code: "grant.imported", words: "Tokens imported", mark: .info),
                Action(code: "grant.expiring", words: "Will end soon", mark: .warn), Action(code: "grant.refused", words: "Grant refused", mark: .bad),
                Action(code: "grant.refresh_failed", words: "Refresh failed", mark: .bad),
                Action(code: "grant.reauthorization_required", words: "Must be connected again", mark: .bad),
                Action(code: "grant.reuse_suspected", words: "Refresh token may be in use elsewhere", mark: .bad),
                Action(code: "grant.revoked", words: "Revoked", mark: .info),
                Action(code: "grant.orphaned", words: "Tokens that came too late were set aside", mark: .info),
                Action(code: "grant.revocation_failed", words: "Provider did not revoke", mark: .bad),
                Action(code: "revocation.requested", words: "Revocation of many asked for", mark: .warn),
            ]),
        Group(
            title: "Connecting",
            actions: [
                Action(code: "connect.begun", words: "Connect link made"), Action(code: "connect.confirmed", words: "Agent's link confirmed", mark: .info),
                Action(code: "connect.continued", words: "Person went to the provider"),
                Action(code: "connect.callback", words: "Answer that belongs to nothing", mark: .warn),
                Action(code: "connect.pending", words: "Waits for the application"), Action(code: "connect.connected", words: "Connected", mark: .good),
                Action(code: "connect.completed", words: "Completed by the application", mark: .good),
                Action(code: "connect.failed", words: "Connecting failed", mark: .bad),
            ]),
        Group(
            title: "Connections",
            actions: [
                Action(code: "connection.created", words: "Connection made", mark: .info),
                Action(code: "connection.changed", words: "Connection changed", mark: .info),
                Action(code: "connection.removed", words: "Connection removed", mark: .info),
                Action(code: "connection.diagnosed", words: "Doctor looked at it"),
                Action(code: "connection.secret_expiring", words: "Client secret will end soon", mark: .warn),
            ]),
        Group(
            title: "Console",
            actions: [
                Action(code: "console.link_made", words: "Sign-in link made"), Action(code: "console.signed_in", words: "Signed in", mark: .info),
                Action(code: "console.refused", words: "Sign-in refused", mark: .warn), Action(code: "console.signed_out", words: "Signed out"),
            ]),
        Group(
            title: "Keys and webhooks",
            actions: [
                Action(code: "key.created", words: "API key made", mark: .info), Action(code: "key.removed", words: "API key removed", mark: .info),
                Action(code: "webhook.created", words: "Webhook added", mark: .info), Action(code: "webhook.removed", words: "Webhook removed", mark: .info),
                Action(code: "webhook.replayed", words: "Deliveries sent again", mark: .info),
                Action(code: "webhook.disabled", words: "Webhook disabled: its receiver is gone", mark: .bad),
                Action(code: "webhook.given_up", words: "Delivery given up", mark: .bad),
            ]),
        Group(
            title: "Server",
            actions: [
                Action(code: "request.refused", words: "Request turned away", mark: .warn),
                Action(code: "egress.blocked", words: "Outbound request stopped", mark: .warn),
                Action(code: "egress.exception", words: "Allowed network reached"),
                Action(code: "vault.rotated", words: "Keys of the vault changed", mark: .info),
                Action(code: "vault.verified", words: "Vault checked", mark: .good),
                Action(code: "vault.restored", words: "Started from a backup", mark: .warn),
                Action(code: "agent.tools_changed", words: "Tools for agents changed", mark: .info),
                Action(code: "node.started", words: "Server started"), Action(code: "node.stopped", words: "Server stopped"),
                Action(code: "node.recovered", words: "Server had ended without a shutdown", mark: .warn),
                Action(code: "activity.dropped", words: "Entries were left out", mark: .bad),
            ]),
    ]

    private static let byCode: [String: Action] = Dictionary(groups.flatMap(\.actions).map { ($0.code, $0) }) { first, _ in first }

    /// Of an action that a later version noted, its code.
    static func action(_ code: String) -> String { byCode[code]?.words ?? code }

    /// What results are called, where their code does not say it as well.
    static let results: [(code: String, words: String)] = [
        ("ok", "Done"), ("access_denied", "Person said no"), ("account_mismatch", "Another account"), ("browser_mismatch", "Another browser"),
        ("conflict", "Changed meanwhile"), ("egress_blocked", "Not allowed to go there"), ("exchange_failed", "Provider gave no token"),
        ("faults", "Faults found"), ("forbidden", "Not allowed"), ("internal", "Error in Grantee"), ("invalid_request", "Request not right"),
        ("invalid_state", "Unknown, used or too late"), ("issuer_mismatch", "Another provider"), ("method_not_allowed", "Method not taken"),
        ("misconfigured", "Settings do not work"), ("misdirected_request", "Another host"), ("missing_code", "Answer without a code"),
        ("not_connected", "Not connected"), ("not_found", "Not found"), ("precondition_failed", "Changed meanwhile"),
        ("provider_error", "Provider refused"), ("provider_unreachable", "Provider did not answer"), ("queue_full", "Too many at once"),
        ("rate_limited", "Too many requests"), ("reauthorization_required", "Must be connected again"), ("subject_mismatch", "Another subject"),
        ("too_large", "Too large"), ("unauthenticated", "No valid key"), ("unavailable", "Database was away"),
        ("unsupported_media_type", "Wrong content type"),
    ]

    private static let resultWords = Dictionary(results.map { ($0.code, $0.words) }) { first, _ in first }

    /// Of a provider's own error code, the code.
    static func result(_ code: String) -> String { resultWords[code] ?? code }

    static func mark(_ entry: Activity) -> Mark {
        let mark = byCode[entry.action]?.mark ?? .quiet
        guard entry.result != "ok" else { return mark }
        return mark == .warn ? .warn : .bad
    }

    /// The state of a badge in words: done, or why not.
    static func badge(_ entry: Activity) -> [String: Any] { ["kind": mark(entry).rawValue, "words": result(entry.result)] }

    /// One entry for the partial `part-activity`: `time`, `action`, `code`, `badge`, and where known `connection`,
    /// `connection_path`, `subject`, `key`, `key_name`, `detail`, `request_id`, `node`, `count`.
    /// - Parameters:
    ///   - keys: names of API keys by id.
    ///   - connections: ids of the connections that there are now: those have a page to link to.
    static func value(_ entry: Activity, now: Timestamp, keys: [String: String] = [:], connections: [UID: String]? = nil) -> [String: Any] {
        var value: [String: Any] = [
            "id": entry.uid.text, "time": TimeText.value(entry.at, from: now), "action": action(entry.action), "code": entry.action, "badge": badge(entry),
        ]
        if let connection = entry.connection {
            value["connection"] = connection
            if let uid = entry.connectionUID, let current = connections?[uid] { value["connection_path"] = "/console/connections/" + current }
        }
        if let subject = entry.subject { value["subject"] = subject }
        if let key = entry.key {
            value["key"] = key
            value["key_name"] = keys[key] ?? key
        }
        if let detail = entry.detail { value["detail"] = detail }
        if let id = entry.requestID { value["request_id"] = id }
        if let node = entry.link?.node { value["node"] = node }
        if entry.count > 1 { value["count"] = entry.count }
        return value
    }

    /// The choices of a filter, those of one group together.
    static func options(selected: String) -> [[String: Any]] {
        groups.map { group in
            ["title": group.title, "options": group.actions.map { ["code": $0.code, "words": $0.words, "selected": $0.code == selected] as [String: Any] }]
        }
    }

    /// The choices of a filter by result; one that has no words, as a provider's own error has none, stays chosen.
    static func resultOptions(selected: String) -> [[String: Any]] {
        let isOther = !selected.isEmpty && resultWords[selected] == nil
        return (results + (isOther ? [(selected, selected)] : [])).map { ["code": $0.code, "words": $0.words, "selected": $0.code == selected] }
    }
}

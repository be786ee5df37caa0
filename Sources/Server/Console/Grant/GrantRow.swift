import Broker
import OAuth
import Vault

/// One grant as tables and its own page show it.
enum GrantRow {
    /// What the shared grant is called.
    static let shared = "Shared"
    /// Scopes that stand in a row; the grant's page has them all.
    private static let scopesInRow = 4

    static func path(_ view: GrantView) -> String { path(view.connectionID, subject: view.grant.subject) }

    static func path(_ connectionID: String, subject: String) -> String {
        "/console/connections/\(connectionID)/grants/" + (subject.isEmpty ? "-" : Form.percentEncode(subject))
    }

    static func name(_ view: GrantView) -> String { view.grant.subject.isEmpty ? shared : view.grant.subject }

    /// - Parameter fetchesAlone: whether its connection needs no person.
    static func value(_ view: GrantView, fetchesAlone: Bool, scopes limit: Int = scopesInRow, now: Timestamp) -> [String: Any] {
        let grant = view.grant
        let words = StateWords.grant(view)
        let isRevoked = view.state == "revoked"
        let scopes = grant.scope ?? grant.requestedScope
        var value: [String: Any] = [
            "subject": name(view), "is_shared": grant.subject.isEmpty, "subject_value": grant.subject, "grant_path": path(view),
            "connection_id": view.connectionID, "of_connection": ConnectionHead.path(view.connectionID), "grant_state": words.values,
            "state_since": TimeText.value(grant.stateSince, from: now), "scopes": Array(scopes.prefix(limit)), "missing_scopes": view.missingScope,
            "is_missing": !view.missingScope.isEmpty,
            "scopes_are_unsaid": grant.scope == nil && !scopes.isEmpty, "renews": grant.refreshToken != nil || fetchesAlone,
            "can_refresh": !isRevoked && view.state != "reauthorization_required" && (grant.refreshToken != nil || fetchesAlone),
            "can_disconnect": !isRevoked, "fetches_alone": fetchesAlone, "is_over": grant.expiresAt.map { $0 <= now } ?? false,
            "needs_person": !fetchesAlone && (isRevoked || words.kind == .bad),
        ]
        if scopes.count > limit { value["more_scopes"] = scopes.count - limit }
        if let account = grant.account { value["account"] = ProviderText.clean(account, limit: 120) }
        func set(_ name: String, _ moment: Timestamp?) { if let moment { value[name] = TimeText.value(moment, from: now) } }
        if !isRevoked {
            set("expires", grant.expiresAt)
            set("next_refresh", grant.nextRefreshAt)
            set("dies", grant.diesAt)
        }
        set("refreshed", grant.refreshedAt)
        set("used", grant.lastUsedAt)
        set("made", grant.createdAt)
        return value
    }
}

import Broker
import Vault

/// How a connection is, in one badge and one sentence: what its provider says of it, and what its grants are worth.
struct ConnectionState: Sendable {
    let words: StateWords
    /// Since when, where that is known.
    let since: Timestamp?

    /// - Parameters:
    ///   - grants: those that do not work first.
    ///   - isAll: whether there are no others.
    init(_ connection: Connection, grants: [GrantView], isAll: Bool, now: Timestamp) {
        guard connection.health.state == .ok else {
            words = .health(connection.health)
            since = connection.health.since
            return
        }
        since = nil
        let live = grants.filter { $0.state != "revoked" }
        guard !live.isEmpty else {
            words = Self.unused(connection, wasUsed: !grants.isEmpty)
            return
        }
        let failing = live.filter { StateWords.grant($0).kind == .bad }
        words =
            failing.isEmpty
            ? StateWords(kind: .good, label: "Works", sentence: isAll ? Self.lastToken(live, now: now) : "Its grants are valid.", fix: nil)
            : Self.failing(failing, of: live.count, isAll: isAll)
    }

    /// For a template: `kind`, `label`, `sentence`, `fix`, `since`, and `is_sick` where the doctor has something to say.
    func values(now: Timestamp) -> [String: Any] {
        var values = words.values
        if let since { values["since"] = TimeText.value(since, from: now) }
        values["is_sick"] = words.kind == .bad || words.kind == .warn
        return values
    }

    private static func unused(_ connection: Connection, wasUsed: Bool) -> StateWords {
        if connection.fetchesAlone {
            return StateWords(
                kind: .info, label: "Ready", sentence: "No token was fetched yet. The first use fetches one, or you do it now.", fix: nil)
        }
        return wasUsed
            ? StateWords(kind: .info, label: "Disconnected", sentence: "Everybody was disconnected.", fix: "Connect an account.")
            : StateWords(kind: .info, label: "Not connected", sentence: "Nobody has given access yet.", fix: "Connect an account.")
    }

    private static func lastToken(_ grants: [GrantView], now: Timestamp) -> String {
        let last = grants.map { $0.grant.refreshedAt ?? $0.grant.createdAt }.max() ?? now
        return "Last token \(TimeText.ago(last, from: now))."
    }

    private static func failing(_ failing: [GrantView], of count: Int, isAll: Bool) -> StateWords {
        if isAll, count == 1, let only = failing.first { return .grant(only) }
        let number = isAll ? "\(failing.count) of \(count)" : "At least \(failing.count)"
        let verb = failing.count == 1 && !isAll ? "has" : "have"
        return StateWords(
            kind: failing.count == count ? .bad : .warn, label: failing.count == count ? "Connect again" : "Partly works",
            sentence: "\(number) grants \(verb) to be connected again.", fix: "Connect those again, or send their people a link.")
    }
}

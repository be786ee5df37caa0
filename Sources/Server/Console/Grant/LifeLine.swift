import Broker
import Vault

/// A grant's life: what became of it, and what will. As a list, and the same as a picture.
struct LifeLine: Sendable {
    struct Event: Sendable {
        let at: Timestamp
        let mark: ActivityWords.Mark
        let title: String
        var detail: String?
    }

    /// Those that are over, the oldest first; then those to come.
    let past: [Event]
    let ahead: [Event]
    let now: Timestamp
    /// When the access token that is there was given, and when it ends; `nil` where there is none, or no end is known.
    let tokenSpan: (from: Timestamp, to: Timestamp)?

    /// - Parameter entries: of the activity log, the newest first.
    init(_ view: GrantView, entries: [Activity], keepAlive: Bool, now: Timestamp) {
        let grant = view.grant
        self.now = now
        var past = entries.map(Self.event)
        // The log is kept for a time; the record remembers.
        if !entries.contains(where: { ["grant.created", "grant.imported", "grant.reconnected"].contains($0.action) }) {
            past.append(Event(at: grant.createdAt, mark: .good, title: "Made"))
        }
        if let refreshed = grant.refreshedAt, !entries.contains(where: { $0.action == "grant.refreshed" }) {
            past.append(Event(at: refreshed, mark: .good, title: "Refreshed"))
        }
        if let used = grant.lastUsedAt { past.append(Event(at: used, mark: .info, title: "Last used")) }
        if view.state == "reauthorization_required", !entries.contains(where: { $0.action == "grant.reauthorization_required" }) {
            past.append(Event(at: grant.stateSince, mark: .bad, title: "Stopped working", detail: StateWords.grant(view).sentence))
        }
        var ahead: [Event] = []
        if grant.state == .active {
            if let next = grant.nextRefreshAt {
                ahead.append(
                    Event(
                        at: keepAlive ? grant.dueAt ?? next : next, mark: .info, title: "Refresh",
                        detail: keepAlive ? "By Grantee itself." : "With the first use from then on."))
            }
            if let expires = grant.expiresAt {
                let ends = Event(at: expires, mark: grant.nextRefreshAt == nil ? .bad : .quiet, title: "The access token ends")
                if expires > now { ahead.append(ends) } else { past.append(Event(at: expires, mark: ends.mark, title: "The access token ended")) }
            }
            if let dies = grant.diesAt, dies > now {
                ahead.append(Event(at: dies, mark: .warn, title: "The refresh token ends", detail: "Unless it is refreshed before, where that puts it off."))
            }
        }
        self.past = past.filter { $0.at <= now + .seconds(1) }.sorted { $0.at < $1.at }
        self.ahead = ahead.map { $0.at > now ? $0 : Event(at: now, mark: $0.mark, title: $0.title, detail: $0.detail) }.sorted { $0.at < $1.at }
        let since = grant.refreshedAt ?? grant.createdAt
        tokenSpan = grant.state == .active ? grant.expiresAt.flatMap { $0 > since ? (since, $0) : nil } : nil
    }

    private static func event(_ entry: Activity) -> Event {
        var details: [String] = []
        if entry.result != "ok" { details.append(ActivityWords.result(entry.result) + ".") }
        switch (entry.action, entry.detail) {
        case ("grant.reauthorization_required", let reason?): details.append(StateWords.grant("reauthorization_required", reason).sentence)
        case (_, let detail?): details.append(TroubleNotice.sentence(detail))
        case (_, nil): break
        }
        return Event(
            at: entry.at, mark: ActivityWords.mark(entry), title: ActivityWords.action(entry.action),
            detail: details.isEmpty ? nil : details.joined(separator: " "))
    }

    /// For a template: `past` and `ahead`, each `mark`, `event`, `event_detail` and `time`.
    var values: [String: Any] {
        func value(_ event: Event) -> [String: Any] {
            var value: [String: Any] = ["mark": event.mark.rawValue, "event": event.title, "time": TimeText.value(event.at, from: now)]
            if let detail = event.detail { value["event_detail"] = detail }
            return value
        }
        return ["past": past.reversed().map(value), "ahead": ahead.map(value), "has_ahead": !ahead.isEmpty]
    }
}

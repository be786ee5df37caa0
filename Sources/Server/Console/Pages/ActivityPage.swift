import Broker
import HTTPTypes
import OAuth
import Vault

/// The activity log, filtered, newest first.
enum ActivityPage {
    private static let pageSize = 50

    static func show(_ inbound: Inbound) async throws -> Outbound {
        let caller = try inbound.caller
        let filters = ["connection", "subject", "action", "key", "result"].map { ($0, String(inbound.asked($0).prefix(255))) }
        let asked = Dictionary(uniqueKeysWithValues: filters)
        func filter(_ name: String) -> String? { asked[name].flatMap { $0.isEmpty ? nil : $0 } }
        let entries = try await inbound.broker.activity(
            connection: filter("connection"), subject: filter("subject"), action: filter("action"), key: filter("key"), result: filter("result"),
            before: UID(parsing: inbound.asked("after")), limit: pageSize, for: caller)
        let keys = try await inbound.broker.keys(for: caller)
        let names = Dictionary(keys.map { ($0.id, $0.name) }) { first, _ in first }
        let connections = try await inbound.broker.connectionIDs(of: entries.compactMap(\.connectionUID))
        let now = inbound.broker.now
        let isFiltered = filters.contains { !$0.1.isEmpty }
        var values: [String: Any] = [
            "entries": entries.map { ActivityWords.value($0, now: now, keys: names, connections: connections) }, "has_entries": !entries.isEmpty,
            "asked": asked, "actions": ActivityWords.options(selected: asked["action"] ?? ""),
            "results": ActivityWords.resultOptions(selected: asked["result"] ?? ""), "keys": options(keys, selected: asked["key"] ?? ""),
            "is_filtered": isFiltered, "is_later": !inbound.asked("after").isEmpty,
        ]
        let query = filters.filter { !$0.1.isEmpty }
        values["first"] = path(query)
        if entries.count == pageSize, let last = entries.last { values["next"] = path(query + [("after", last.uid.text)]) }
        return inbound.page(ConsolePage("Activity", .activity, template: "activity", values))
    }

    private static func path(_ query: [(String, String)]) -> String { "/console/activity" + (query.isEmpty ? "" : "?" + Form.serialize(query)) }

    /// A key that was removed can still be asked for.
    private static func options(_ keys: [APIKey], selected: String) -> [[String: Any]] {
        var options = keys.map { ["id": $0.id, "name": $0.name, "selected": $0.id == selected] as [String: Any] }
        if !selected.isEmpty, !keys.contains(where: { $0.id == selected }) { options.append(["id": selected, "name": selected, "selected": true]) }
        return options
    }
}

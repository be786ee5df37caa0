import Broker
import HTTPTypes
import OAuth
import Vault

/// The overview: every connection, those in trouble first.
enum ConnectionsPage {
    private static let pageSize = 100
    /// As many as can be looked through without a search.
    private static let handful = 8

    static func show(_ inbound: Inbound) async throws -> Outbound {
        let search = String(inbound.asked("q").prefix(200))
        let inTrouble = inbound.asked("show") == "trouble"
        let after = inbound.asked("after")
        let isNarrowed = !search.isEmpty || inTrouble || !after.isEmpty
        let found = try await inbound.broker.overview(
            matching: search, inTrouble: inTrouble, after: after.isEmpty ? nil : after, limit: pageSize, for: inbound.caller)
        let now = inbound.broker.now
        var values: [String: Any] = ["search": search, "connections": OverviewWords.byTrouble(found).map { OverviewWords.value($0, now: now) }]
        if found.isEmpty { values[isNarrowed ? "nothing_found" : "none"] = true }
        if inTrouble { values["in_trouble"] = true }
        if isNarrowed || found.count > handful { values["can_filter"] = true }
        let troubled = found.count { $0.isInTrouble }
        if troubled > 0, !inTrouble { values["attention"] = troubled == 1 ? "One needs attention" : "\(troubled) need attention" }
        if found.count == pageSize, let last = found.last {
            values["next"] = path(search: search, inTrouble: inTrouble, after: last.connection.id)
        }
        if !after.isEmpty { values["first"] = path(search: search, inTrouble: inTrouble, after: nil) }
        return inbound.page(ConsolePage("Connections", .connections, template: "connections", values))
    }

    private static func path(search: String, inTrouble: Bool, after: String?) -> String {
        var query: [String] = []
        if !search.isEmpty { query.append("q=" + Form.encode(search)) }
        if inTrouble { query.append("show=trouble") }
        if let after { query.append("after=" + Form.encode(after)) }
        return "/console" + (query.isEmpty ? "" : "?" + query.joined(separator: "&"))
    }
}

import Broker
import OAuth

enum PresetsAPI {
    static func list(_ inbound: Inbound) async throws -> Outbound {
        try inbound.caller.requireUse()
        let query = try inbound.query(["q", "limit", "after"])
        let limit = try query.limit()
        let ranked = Preset.search(try query.text("q") ?? "")
        // What comes after the last page's last one, in the order of this search.
        let after = try query.cursor { id in ranked.contains { $0.id == id } }
        let start = after.flatMap { id in ranked.firstIndex { $0.id == id } }.map { $0 + 1 } ?? 0
        let found = ranked[start...]
        return .list(found.prefix(limit).map { .object($0.document) }, next: found.count > limit ? found[start + limit - 1].id : nil)
    }

    static func get(_ inbound: Inbound) async throws -> Outbound {
        try inbound.caller.requireUse()
        _ = try inbound.query([])
        let id = try inbound.path("id")
        guard let preset = Preset.find(id) else {
            throw Problem(.notFound, "there is no preset \(ProviderText.clean(id, limit: 80))", fix: "GET /v1/presets lists them")
        }
        return .json(.object(preset.document))
    }
}

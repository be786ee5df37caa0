import Broker
import OAuth

enum PresetsAPI {
    static func list(_ inbound: Inbound) async throws -> Outbound {
        try inbound.caller.requireUse()
        let query = try inbound.query(["q", "limit", "after"])
        let limit = try query.limit()
        let after = try query.cursor { Preset.find($0) != nil } ?? ""
        let found = Preset.search(try query.text("q") ?? "").filter { $0.id > after }
        return .list(found.prefix(limit).map { .object($0.document) }, next: found.count > limit ? found[limit - 1].id : nil)
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

import Broker
import HTTPTypes
import OAuth
import Vault

/// Step one of a new connection: whom to connect to.
enum GalleryPage {
    private static let most = 60

    static func show(_ inbound: Inbound) async throws -> Outbound {
        let query = String(inbound.asked("q").trimmed.prefix(100))
        let found = query.isEmpty ? PresetCard.ordered(Preset.all) : Preset.search(query)
        let values: [String: Any] = [
            "query": query, "searched": !query.isEmpty, "presets": found.prefix(most).map { PresetCard(preset: $0).values }, "any": !found.isEmpty,
            "count": found.count == 1 ? "1 provider" : "\(found.count) providers",
            "more": found.count > most ? String(found.count - most) as Any : false,
        ]
        return inbound.page(
            ConsolePage("New connection", .connections, template: "gallery", values, crumbs: [(title: "Connections", path: "/console")]))
    }
}

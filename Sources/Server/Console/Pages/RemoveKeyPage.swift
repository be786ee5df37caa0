import Broker
import HTTPTypes
import OAuth
import Vault

/// Asks before a key is removed: who uses it stands still from then on.
enum RemoveKeyPage {
    static func show(_ inbound: Inbound) async throws -> Outbound {
        let id = try inbound.path("id")
        try inbound.broker.requireRemovable(key: id)
        let caller = try inbound.caller
        guard let key = try await inbound.broker.keys(for: caller).first(where: { $0.id == id }) else {
            throw Problem(.notFound, "this API key is gone already", fix: "look at the list of keys")
        }
        let text =
            id == caller.key.id
            ? "You are signed in with this key. Every session of it ends, yours too, and whatever else uses the key is refused from its next request on."
            : "Whatever uses this key is refused from its next request on. Grants stay: other keys can use them. If the key leaked, revoke what it was given instead: see Settings."
        return inbound.page(
            ConsolePage(
                "Remove the key \(key.name)", .keys, template: "confirm",
                ["text": text, "action": "/console/keys/\(key.id)/remove", "button": "Remove the key", "cancel": "/console/keys"],
                crumbs: [("Keys", "/console/keys")]))
    }

    static func submit(_ inbound: Inbound) async throws -> Outbound {
        try await inbound.broker.removeKey(id: try inbound.path("id"), by: try inbound.caller)
        return inbound.see("/console/keys", done: "key-removed")
    }
}

import Broker
import HTTPTypes
import OAuth
import Vault

/// Ends a grant, after a question.
enum DisconnectPage {
    static func show(_ inbound: Inbound) async throws -> Outbound {
        let view = try await inbound.broker.grant(connectionID: try inbound.path("id"), subject: try inbound.subject(), for: try inbound.caller)
        let connection = try await inbound.broker.connection(id: view.connectionID, for: try inbound.caller)
        let name = connection.settings.name
        let path = GrantRow.path(view)
        let whose = view.grant.subject.isEmpty ? "The shared grant" : "The grant of \(view.grant.subject)"
        let atProvider =
            connection.settings.oauth.revocationURL == nil
            ? "No Revocation URL is set, so the provider is not told: its tokens live on there until they end."
            : "The provider is asked to revoke them, too."
        return inbound.page(
            ConsolePage(
                "Disconnect", .connections, template: "confirm",
                [
                    "text": "\(whose) can no longer be used from this moment, and its tokens are deleted. \(atProvider)", "action": path + "/disconnect",
                    "button": "Disconnect", "cancel": path,
                ],
                crumbs: [
                    (title: "Connections", path: "/console"), (title: name, path: ConnectionHead.path(connection.id)), (title: GrantRow.name(view), path: path),
                ]))
    }

    static func submit(_ inbound: Inbound) async throws -> Outbound {
        let id = try inbound.path("id")
        let outcome = try await inbound.broker.revoke(connectionID: id, subject: try inbound.subject(), by: try inbound.caller)
        return inbound.see(ConnectionHead.path(id), done: "disconnected-" + outcome.rawValue)
    }
}

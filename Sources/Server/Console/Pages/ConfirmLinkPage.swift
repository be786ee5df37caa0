import Broker
import HTTPTypes
import OAuth
import Vault

/// An agent asks for the account that the whole app shares: somebody signed in here confirms that, and goes to the provider. SEC-130.
enum ConfirmLinkPage {
    static func show(_ inbound: Inbound) async throws -> Outbound {
        let ticket = try inbound.path("ticket")
        let link = try await inbound.broker.linkToConfirm(ticket: ticket, for: try inbound.caller)
        let now = inbound.broker.now
        return inbound.page(
            ConsolePage(
                "Connect \(link.connection.settings.name) for an agent?", .connections, template: "confirm-link",
                [
                    "ticket": ticket, "connection": link.connection.settings.name, "id": link.connection.id, "agent": link.session.appName,
                    "key": link.session.keyID, "scopes": link.scopes, "has_scopes": !link.scopes.isEmpty, "replaces": link.replaces,
                    "asked": TimeText.value(link.session.createdAt, from: now), "ends": TimeText.value(link.session.expiresAt, from: now),
                ], crumbs: [("Connections", "/console")]))
    }

    /// For the browser that sent the form, by its binding cookie. Then the connect page, whose link leads to the provider: a form's answer
    /// may not redirect there.
    static func submit(_ inbound: Inbound) async throws -> Outbound {
        let ticket = try inbound.path("ticket")
        let (binding, fields) = ConnectPages.bound(inbound)
        try await inbound.broker.confirmLink(ticket: ticket, binding: binding, by: try inbound.caller)
        var outbound = inbound.see("/connect/" + ticket)
        outbound.fields[.setCookie] = fields[.setCookie]
        return outbound
    }
}

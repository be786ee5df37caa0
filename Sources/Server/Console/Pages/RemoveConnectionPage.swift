import Broker
import HTTPTypes
import OAuth
import Vault

/// Asks before a connection is removed, and says what goes with it.
enum RemoveConnectionPage {
    static func show(_ inbound: Inbound) async throws -> Outbound {
        page(inbound, try await inbound.broker.overview(of: try inbound.path("id"), for: inbound.caller))
    }

    static func submit(_ inbound: Inbound) async throws -> Outbound {
        let overview = try await inbound.broker.overview(of: try inbound.path("id"), for: inbound.caller)
        let form = try inbound.form
        // The page says what is lost as it was when it was shown: a connection that came into use since is asked about anew.
        if needsWord(overview), form.trimmed("id") != overview.connection.id { return page(inbound, overview, typed: form.trimmed("id")) }
        try await inbound.broker.deleteConnection(id: overview.connection.id, by: inbound.caller)
        return inbound.see("/console", done: "connection-removed")
    }

    /// Whether anything would stop working.
    private static func needsWord(_ overview: ConnectionOverview) -> Bool { overview.summary.grants.usable > 0 }

    private static func page(_ inbound: Inbound, _ overview: ConnectionOverview, typed: String? = nil) -> Outbound {
        let (connection, grants) = (overview.connection, overview.summary.grants)
        let path = "/console/connections/" + connection.id
        var values: [String: Any] = [
            "text": "\(connection.settings.name) is removed for good. What is made anew under the same id inherits nothing of it.",
            "action": path + "/remove", "button": "Remove connection", "cancel": path, "items": losses(connection.settings, grants),
        ]
        if needsWord(overview) {
            var word: [String: Any] = ["label": "Type \(connection.id) to confirm", "name": "id", "value": typed ?? ""]
            if let typed { word["error"] = typed.isEmpty ? "Type the connection's id." : "That is not the connection's id: it is \(connection.id)." }
            values["word"] = word
        }
        let page = ConsolePage(
            "Remove \(connection.settings.name)?", .connections, template: "confirm", values, status: typed == nil ? .ok : .unprocessableContent,
            crumbs: [("Connections", "/console"), (connection.settings.name, path)])
        return inbound.page(page)
    }

    private static func losses(_ settings: ConnectionSettings, _ grants: GrantCounts) -> [String] {
        let kept = grants.usable + grants.waiting
        var losses: [String] = []
        switch kept {
        case 0: losses.append("It has no grants: nobody has to connect again.")
        case 1: losses.append("Its grant is forgotten. Whoever gave it would have to connect again.")
        default: losses.append("Its \(kept) grants are forgotten. Everybody who gave one would have to connect again.")
        }
        if grants.usable > 0 { losses.append("Applications and AI agents that use it get no more tokens, at once.") }
        if kept > 0 {
            losses.append(
                settings.oauth.revocationURL == nil
                    ? "The provider is not told, as it has no revocation URL here: tokens that were handed out work until they end. "
                        + "Access can be taken away at the provider's own page."
                    : "The provider is asked to revoke the tokens, for at most ten seconds. Those that are left work until they end.")
        }
        losses.append("The client ID, client secret and settings are forgotten. The activity log keeps what was done with it.")
        return losses
    }
}

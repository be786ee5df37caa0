import Broker
import HTTPTypes
import OAuth
import Vault

/// Asks before a webhook is removed.
enum RemoveWebhookPage {
    static func show(_ inbound: Inbound) async throws -> Outbound {
        let webhook = try await WebhookPage.find(inbound)
        let path = "/console/webhooks/" + webhook.id
        return inbound.page(
            ConsolePage(
                "Remove the webhook", .webhooks, template: "confirm",
                [
                    "text":
                        "\(ProviderText.clean(webhook.url, limit: 300)) is told of nothing any more. What is on its way to it is not sent, and its deliveries can be seen no longer.",
                    "action": path + "/remove", "button": "Remove the webhook", "cancel": path,
                ], crumbs: [("Webhooks", "/console/webhooks")]))
    }

    static func submit(_ inbound: Inbound) async throws -> Outbound {
        try await inbound.broker.removeWebhook(id: try inbound.path("id"), by: try inbound.caller)
        return inbound.see("/console/webhooks", done: "webhook-removed")
    }
}

import Broker
import HTTPTypes
import OAuth
import Synchronization
import Vault

/// Webhooks: those that there are, and the form of a new one.
enum WebhooksPage {
    static func show(_ inbound: Inbound) async throws -> Outbound { try await page(inbound, WebhookForm(), FieldFaults()) }

    static func submit(_ inbound: Inbound) async throws -> Outbound {
        let form = WebhookForm(try inbound.form)
        let caller = try inbound.caller
        let made = Mutex<(webhook: Webhook, secret: String)?>(nil)
        do throws(Problem) {
            _ = try await inbound.faces.sentForms.once(try inbound.visit) { () async throws(Problem) in
                let new = try await inbound.broker.addWebhook(url: form.url, kinds: try form.kinds(), by: caller)
                made.withLock { $0 = new }
                return "/console/webhooks/" + new.0.id
            }
        } catch {
            guard [.invalidRequest, .egressBlocked, .unavailable].contains(error.code) else { throw error }
            return try await page(inbound, form, form.faults(of: error), status: error.code == .unavailable ? .serviceUnavailable : .unprocessableContent)
        }
        var values: [String: Any] = [:]
        let new = made.withLock { $0 }
        if let new { values["made"] = ["id": new.webhook.id, "url": new.webhook.url, "secret": new.secret] }
        return inbound.page(
            ConsolePage(
                new == nil ? "This secret was shown already" : "Copy the secret now", .webhooks, template: "webhook-made", values,
                crumbs: [("Webhooks", "/console/webhooks")]))
    }

    private static func page(
        _ inbound: Inbound, _ form: WebhookForm, _ faults: FieldFaults, status: HTTPResponse.Status = .ok
    ) async throws(Problem) -> Outbound {
        let webhooks = try await inbound.broker.webhooks(for: try inbound.caller)
        let now = inbound.broker.now
        var values: [String: Any] = ["webhooks": webhooks.map { row($0, now: now) }, "has_webhooks": !webhooks.isEmpty, "fields": form.values]
        values.merge(faults.values(labels: WebhookForm.labels)) { $1 }
        return inbound.page(ConsolePage("Webhooks", .webhooks, template: "webhooks", values, status: status))
    }

    static func row(_ webhook: Webhook, now: Timestamp) -> [String: Any] {
        var row: [String: Any] = [
            "id": webhook.id, "url": ProviderText.clean(webhook.url, limit: 300), "events": WebhookWords.summary(webhook.kinds),
            "created": TimeText.value(webhook.createdAt, from: now),
        ]
        if let disabled = webhook.disabledAt { row["disabled"] = TimeText.value(disabled, from: now) }
        return row
    }
}

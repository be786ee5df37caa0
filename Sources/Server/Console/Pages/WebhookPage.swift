import Broker
import HTTPTypes
import OAuth
import Vault

/// One webhook: what it was told, how that went, and what is told again.
enum WebhookPage {
    private static let pageSize = 50

    static func show(_ inbound: Inbound) async throws -> Outbound {
        let webhook = try await find(inbound)
        let state = Delivery.State(rawValue: inbound.asked("state"))
        let deliveries = try await inbound.broker.deliveries(
            webhook: webhook.id, state: state, before: WebhooksAPI.sequence(inbound.asked("after")), limit: pageSize, for: try inbound.caller)
        let now = inbound.broker.now
        let path = "/console/webhooks/" + webhook.id
        var values: [String: Any] = [
            "webhook": WebhooksPage.row(webhook, now: now), "deliveries": deliveries.map { row($0, now: now) }, "has_deliveries": !deliveries.isEmpty,
            "tabs": tabs(path, state),
        ]
        if deliveries.count == pageSize, let last = deliveries.last {
            values["next"] = path + "?" + Form.serialize((state.map { [("state", $0.rawValue)] } ?? []) + [("after", String(last.sequence))])
        }
        return inbound.page(ConsolePage("Webhook", .webhooks, template: "webhook", values, crumbs: [("Webhooks", "/console/webhooks")]))
    }

    /// All that failed, or the one whose button it was.
    static func replay(_ inbound: Inbound) async throws -> Outbound {
        let webhook = try await find(inbound)
        let which: Replay
        let button = try inbound.form.button
        if button == "failed" {
            which = .failed
        } else if let sequence = WebhooksAPI.sequence(button) {
            which = .one(sequence)
        } else {
            throw Problem(.invalidRequest, "the form does not say what to send again", fix: "load the page again and press a button there")
        }
        let count = try await inbound.broker.replay(webhook: webhook.id, which, by: try inbound.caller)
        return inbound.see("/console/webhooks/" + webhook.id, done: count == 0 ? "nothing-to-replay" : "replayed")
    }

    static func find(_ inbound: Inbound) async throws(Problem) -> Webhook {
        let id = try inbound.path("id")
        guard let webhook = try await inbound.broker.webhooks(for: try inbound.caller).first(where: { $0.id == id }) else {
            throw Problem(.notFound, "this webhook is gone, or never was", fix: "look at the list of webhooks")
        }
        return webhook
    }

    private static func tabs(_ path: String, _ state: Delivery.State?) -> [[String: Any]] {
        [(nil, "All"), (.pending, "On their way"), (.delivered, "Delivered"), (.failed, "Given up")].map { (choice: Delivery.State?, title: String) in
            ["title": title, "path": choice.map { path + "?state=" + $0.rawValue } ?? path, "current": choice == state]
        }
    }

    private static func row(_ delivery: Delivery, now: Timestamp) -> [String: Any] {
        let event = delivery.event
        var row: [String: Any] = [
            "sequence": String(delivery.sequence), "event": WebhookWords.name(event.kind), "type": event.kind.rawValue, "event_id": event.id,
            "at": TimeText.value(event.at, from: now), "badge": WebhookWords.badge(delivery), "tries": delivery.tries,
        ]
        // As it was called when the event was.
        if let connection = (try? JSONValue(parsing: event.data.utf8))?["connection"]?.string { row["connection"] = connection }
        // Of a connection's own event there is none.
        if let subject = event.subject { row["subject"] = subject.isEmpty ? "shared" : subject }
        if let status = delivery.lastStatus { row["status"] = status }
        if let error = delivery.lastError { row["error"] = ProviderText.clean(error, limit: 300) }
        if let next = delivery.nextTryAt { row["next_try"] = TimeText.value(next, from: now) }
        if let ended = delivery.endedAt { row["ended"] = TimeText.value(ended, from: now) }
        return row
    }
}

import Broker
import HTTPTypes
import OAuth
import Vault

enum WebhooksAPI {
    static let kinds = WebhookEvent.Kind.allCases.map(\.rawValue)

    private static func json(_ webhook: Webhook) -> JSONObject {
        let events = webhook.kinds.map { kinds in WebhookEvent.Kind.allCases.filter(kinds.contains).map(\.rawValue) } ?? ["*"]
        return [
            "id": .string(webhook.id), "url": .string(webhook.url), "events": .array(events.map(JSONValue.string)),
            "created_at": .string(webhook.createdAt.rfc3339), "disabled_at": webhook.disabledAt.map { .string($0.rfc3339) } ?? .null,
        ]
    }

    private static func json(_ delivery: Delivery) -> JSONValue {
        func text(_ value: String?) -> JSONValue { value.map(JSONValue.string) ?? .null }
        let event = delivery.event
        // As it was called when the event was.
        let connection = (try? JSONValue(parsing: event.data.utf8))?["connection"]?.string
        return [
            "id": .string(String(delivery.sequence)), "event": .string(event.id), "type": .string(event.kind.rawValue), "connection": text(connection),
            "subject": text(event.subject == "" ? nil : event.subject), "state": .string(delivery.state.rawValue),
            "tries": .number(JSONNumber(delivery.tries)), "next_try_at": text(delivery.nextTryAt?.rfc3339),
            "last_status": delivery.lastStatus.map { .number(JSONNumber($0)) } ?? .null, "last_error": text(delivery.lastError),
            "created_at": .string(event.at.rfc3339), "ended_at": text(delivery.endedAt?.rfc3339),
        ]
    }

    static func list(_ inbound: Inbound) async throws -> Outbound {
        let query = try inbound.query(["limit", "after"])
        let limit = try query.limit()
        let webhooks = try await inbound.broker.webhooks(for: try inbound.caller)
        let after = try query.cursor { after in webhooks.contains { $0.id == after } }
        let start = after.flatMap { after in webhooks.firstIndex { $0.id == after }.map { $0 + 1 } } ?? 0
        let page = webhooks.dropFirst(start).prefix(limit)
        return .list(page.map { .object(json($0)) }, next: start + page.count < webhooks.count ? page.last?.id : nil)
    }

    static func add(_ inbound: Inbound) async throws -> Outbound {
        _ = try inbound.query([])
        try inbound.caller.requireAdmin()
        let errors = FieldErrors()
        var reader = ObjectReader(try await inbound.body(), errors: errors)
        let url = reader.text("url", required: true) ?? ""
        let kinds = kinds(from: &reader, errors)
        reader.finish()
        try errors.check()
        let (webhook, secret) = try await inbound.broker.addWebhook(url: url, kinds: kinds, by: try inbound.caller)
        var object = json(webhook)
        object["secret"] = .string(secret)
        return .json(.object(object), status: .created)
    }

    /// - Returns: `nil` = all.
    private static func kinds(from reader: inout ObjectReader, _ errors: FieldErrors) -> Set<WebhookEvent.Kind>? {
        let before = errors.list.count
        guard let names = reader.texts("events", atMost: 50, longest: 100) else {
            if errors.list.count == before { reader.wrong("events", "is required") }
            return []
        }
        var found: Set<WebhookEvent.Kind> = []
        for (index, name) in names.enumerated() where name != "*" {
            if let kind = WebhookEvent.Kind(rawValue: name) {
                found.insert(kind)
            } else {
                errors.add("/events/\(index)", "is no event; there are: \(kinds.joined(separator: ", ")), and * for all")
            }
        }
        if names.isEmpty, errors.list.count == before { reader.wrong("events", "must name at least one event, or * for all") }
        return names.contains("*") ? nil : found
    }

    static func remove(_ inbound: Inbound) async throws -> Outbound {
        _ = try inbound.query([])
        try await inbound.broker.removeWebhook(id: try inbound.path("id"), by: try inbound.caller)
        return Outbound(.noContent, fields: [.cacheControl: "no-store"])
    }

    static func deliveries(_ inbound: Inbound) async throws -> Outbound {
        let query = try inbound.query(["state", "limit", "after"])
        let limit = try query.limit()
        let state = try query.choice("state", Delivery.State.allCases.map(\.rawValue)).flatMap(Delivery.State.init(rawValue:))
        let deliveries = try await inbound.broker.deliveries(
            webhook: try inbound.path("id"), state: state, before: try query.cursor { sequence($0) != nil }.flatMap(sequence), limit: limit,
            for: try inbound.caller)
        return .list(deliveries.map(json), next: deliveries.count == limit ? deliveries.last.map { String($0.sequence) } : nil)
    }

    static func replay(_ inbound: Inbound) async throws -> Outbound {
        _ = try inbound.query([])
        try inbound.caller.requireAdmin()
        let errors = FieldErrors()
        var reader = ObjectReader(try await inbound.body(mayBeEmpty: true), errors: errors)
        var which = Replay.failed
        if let text = reader.text("since", longest: 64) {
            if let time = Timestamp(rfc3339: text) {
                which = .since(time)
            } else {
                reader.wrong("since", "must be an RFC 3339 time, such as 2027-01-31T00:00:00Z")
            }
        }
        if let text = reader.text("delivery", longest: 64) {
            if which != .failed { reader.wrong("delivery", "and /since exclude each other") }
            if let sequence = sequence(text) {
                which = .one(sequence)
            } else {
                reader.wrong("delivery", "must be the id of a delivery")
            }
        }
        reader.finish()
        try errors.check()
        let count = try await inbound.broker.replay(webhook: try inbound.path("id"), which, by: try inbound.caller)
        return .json(["replayed": .number(JSONNumber(count))])
    }

    /// The id of a delivery as a number; `nil` when it is none.
    static func sequence(_ text: String) -> Int? {
        guard (1...18).contains(text.utf8.count), text.utf8.first != UInt8(ascii: "0"), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return Int(text)
    }
}

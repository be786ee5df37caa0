import Broker
import OAuth
import Vault

enum ActivityAPI {
    static func list(_ inbound: Inbound) async throws -> Outbound {
        let query = try inbound.query(["connection", "subject", "action", "limit", "after"])
        let limit = try query.limit()
        let entries = try await inbound.broker.activity(
            connection: try query.text("connection"), subject: try query.text("subject"), action: try query.text("action"), before: try query.uidCursor(),
            limit: limit, for: try inbound.caller)
        return .list(entries.map(json), next: entries.count == limit ? entries.last?.uid.text : nil)
    }

    private static func json(_ entry: Activity) -> JSONValue {
        func text(_ value: String?) -> JSONValue { value.map(JSONValue.string) ?? .null }
        return [
            "id": .string(entry.uid.text), "at": .string(entry.at.rfc3339), "action": .string(entry.action), "connection": text(entry.connection),
            "subject": text(entry.subject), "key": text(entry.key), "result": .string(entry.result), "count": .number(JSONNumber(entry.count)),
            "detail": text(entry.detail), "request_id": text(entry.requestID),
        ]
    }
}

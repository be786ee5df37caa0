import Foundation
import GRDB
package import Vault

extension SQLiteStore {
    /// Whether events are made for anybody: of many grants at once that is asked first.
    static func isAnybodyTold(in database: Database) throws -> Bool {
        try Bool.fetchOne(database, sql: "SELECT EXISTS (SELECT 1 FROM webhook WHERE disabled_at IS NULL)") == true
    }

    /// Inside the transaction of the change: an event for each, and a delivery for each webhook that wants it.
    ///
    /// Of one webhook's deliveries with one order key only the first that is pending has a time of its next try; the others
    /// get theirs when it ends. So whatever is due may be sent, and finding it costs nothing for those that wait.
    static func announce(_ events: [WebhookEvent], in database: Database) throws {
        for event in events {
            let webhooks = try String.fetchAll(
                database,
                sql: "SELECT id FROM webhook WHERE disabled_at IS NULL AND EXISTS (SELECT 1 FROM json_each(kinds) WHERE value IN (?, '*'))",
                arguments: [event.kind.rawValue])
            guard !webhooks.isEmpty else { continue }
            try database.execute(
                sql: "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)",
                arguments: [
                    event.id, event.kind.rawValue, event.at.milliseconds, event.connectionUID.text, event.orderKey.text, event.subject, event.data,
                ])
            let statement = try database.cachedStatement(
                sql: """
                    INSERT INTO delivery (webhook_id, event_id, order_key, state, tries, begun_at, next_try_at)
                    SELECT ?1, ?2, ?3, 'pending', 0, ?4, CASE WHEN EXISTS
                        (SELECT 1 FROM delivery WHERE webhook_id = ?1 AND order_key = ?3 AND state = 'pending') THEN NULL ELSE ?4 END
                    """)
            for webhook in webhooks {
                try statement.execute(arguments: [webhook, event.id, event.orderKey.text, event.at.milliseconds])
            }
        }
    }

    package func insert(_ webhook: Webhook) async throws {
        try await write { database in
            let kinds = webhook.kinds?.map(\.rawValue).sorted() ?? ["*"]
            try database.execute(
                sql: "INSERT INTO webhook VALUES (?, ?, ?, ?, ?, ?)",
                arguments: [
                    webhook.id, webhook.url, try storedJSON(kinds), webhook.secret.data, webhook.createdAt.milliseconds, webhook.disabledAt?.milliseconds,
                ])
        }
    }

    package func webhook(id: String) async throws -> Webhook? {
        try await read { try Row.fetchOne($0, sql: "SELECT * FROM webhook WHERE id = ?", arguments: [id]).map(Webhook.init) }
    }

    package func webhooks() async throws -> [Webhook] {
        try await read { try Row.fetchAll($0, sql: "SELECT * FROM webhook ORDER BY created_at, id").map(Webhook.init) }
    }

    package func deleteWebhook(id: String) async throws -> Bool {
        try await write { database in
            try database.execute(sql: "DELETE FROM webhook WHERE id = ?", arguments: [id])
            guard database.changesCount == 1 else { return false }
            try database.execute(sql: "DELETE FROM event WHERE NOT EXISTS (SELECT 1 FROM delivery WHERE event_id = event.id)")
            return true
        }
    }

    package func disableWebhook(id: String, at: Timestamp) async throws {
        try await write { database in
            try database.execute(
                sql: "UPDATE webhook SET disabled_at = ? WHERE id = ? AND disabled_at IS NULL", arguments: [at.milliseconds, id])
            try database.execute(
                sql: """
                    UPDATE delivery SET state = 'failed', next_try_at = NULL, ended_at = ?, last_error = 'the webhook was disabled'
                    WHERE webhook_id = ? AND state = 'pending'
                    """, arguments: [at.milliseconds, id])
        }
    }

    // MARK: Deliveries

    private static let deliveryColumns = """
        delivery.*, event.kind, event.at, event.connection_uid, event.subject, event.data
        FROM delivery JOIN event ON event.id = delivery.event_id
        """

    package func dueDeliveries(now: Timestamp, room: DeliveryRoom) async throws -> [Delivery] {
        try await read { database in
            let webhooks = try String.fetchAll(database, sql: "SELECT id FROM webhook WHERE disabled_at IS NULL ORDER BY id")
            guard !webhooks.isEmpty else { return [] }
            let statement = try database.cachedStatement(
                sql: """
                    SELECT \(Self.deliveryColumns) WHERE delivery.webhook_id = ? AND delivery.next_try_at <= ?
                        AND delivery.order_key NOT IN (SELECT value FROM json_each(?))
                    ORDER BY delivery.next_try_at, delivery.sequence LIMIT ?
                    """)
            let due = try webhooks.reduce(into: [String: [Delivery]]()) { due, webhook in
                let excepted = try storedJSON(room.excepted(of: webhook).map(\.text))
                due[webhook] = try Row.fetchAll(statement, arguments: [webhook, now.milliseconds, excepted, room.left(for: webhook)]).map(Delivery.init)
            }
            let shares = room.shares(of: due.mapValues(\.count))
            return webhooks.flatMap { (due[$0] ?? []).prefix(shares[$0] ?? 0) }
        }
    }

    package func noteTried(sequence: Int, status: Int?, error: String?, nextTryAt: Timestamp) async throws {
        try await write { database in
            // Without a time it waits for an earlier one, which a replay put before it.
            try database.execute(
                sql: """
                    UPDATE delivery SET tries = tries + 1, last_status = ?, last_error = ?, next_try_at = CASE WHEN next_try_at IS NULL THEN NULL ELSE ? END
                    WHERE sequence = ? AND state = 'pending'
                    """, arguments: [status, error, nextTryAt.milliseconds, sequence])
        }
    }

    package func endDelivery(sequence: Int, state: Delivery.State, status: Int?, error: String?, at: Timestamp) async throws {
        try await write { database in
            let ended = try Row.fetchOne(
                database,
                sql: """
                    UPDATE delivery SET state = ?1, tries = tries + 1, last_status = ?2, last_error = ?3, next_try_at = NULL, ended_at = ?4
                    WHERE sequence = ?5 AND (state = 'pending' OR ?1 = 'delivered') RETURNING webhook_id, order_key
                    """, arguments: [state.rawValue, status, error, at.milliseconds, sequence])
            guard let ended else { return }
            try database.execute(
                sql: """
                    UPDATE delivery SET next_try_at = ? WHERE next_try_at IS NULL AND sequence =
                        (SELECT min(sequence) FROM delivery WHERE webhook_id = ? AND order_key = ? AND state = 'pending')
                    """, arguments: [at.milliseconds, try ended.text("webhook_id"), try ended.text("order_key")])
        }
    }

    package func deliveries(webhook: String, state: Delivery.State?, before: Int?, limit: Int) async throws -> [Delivery] {
        try await read { database in
            var condition = "delivery.webhook_id = ?"
            var arguments: StatementArguments = [webhook]
            if let state {
                condition += " AND delivery.state = ?"
                arguments += [state.rawValue]
            }
            if let before {
                condition += " AND delivery.sequence < ?"
                arguments += [before]
            }
            arguments += [limit]
            return try Row.fetchAll(
                database, sql: "SELECT \(Self.deliveryColumns) WHERE \(condition) ORDER BY delivery.sequence DESC LIMIT ?", arguments: arguments
            ).map(Delivery.init)
        }
    }

    package func replay(webhook: String, _ which: Replay, now: Timestamp) async throws -> Int? {
        try await write { database in
            try database.execute(sql: "UPDATE webhook SET disabled_at = NULL WHERE id = ?", arguments: [webhook])
            guard database.changesCount == 1 else { return nil }
            let condition: String
            var arguments: StatementArguments = [now.milliseconds, webhook]
            switch which {
            case .failed: condition = "state = 'failed'"
            case .since(let time):
                condition = "event_id IN (SELECT id FROM event WHERE at >= ?)"
                arguments += [time.milliseconds]
            case .one(let sequence):
                condition = "sequence = ?"
                arguments += [sequence]
            }
            try database.execute(
                sql: """
                    UPDATE delivery SET state = 'pending', tries = 0, begun_at = ?, next_try_at = NULL, last_status = NULL, last_error = NULL, ended_at = NULL
                    WHERE webhook_id = ? AND \(condition)
                    """, arguments: arguments)
            let count = database.changesCount
            // Whatever comes behind one that is on its way again waits for it.
            let isBehind = """
                EXISTS (SELECT 1 FROM delivery AS earlier WHERE earlier.webhook_id = delivery.webhook_id AND earlier.order_key = delivery.order_key
                    AND earlier.state = 'pending' AND earlier.sequence < delivery.sequence)
                """
            try database.execute(
                sql: "UPDATE delivery SET next_try_at = NULL WHERE webhook_id = ? AND next_try_at IS NOT NULL AND \(isBehind)", arguments: [webhook])
            try database.execute(
                sql: "UPDATE delivery SET next_try_at = ? WHERE webhook_id = ? AND state = 'pending' AND next_try_at IS NULL AND NOT \(isBehind)",
                arguments: [now.milliseconds, webhook])
            return count
        }
    }

    package func trimDeliveries(endedBefore: Timestamp, limit: Int) async throws -> Int {
        try await write { database in
            let events = try String.fetchAll(
                database,
                sql: "DELETE FROM delivery WHERE sequence IN (SELECT sequence FROM delivery WHERE ended_at < ? LIMIT ?) RETURNING event_id",
                arguments: [endedBefore.milliseconds, limit])
            let statement = try database.cachedStatement(
                sql: "DELETE FROM event WHERE id = ? AND NOT EXISTS (SELECT 1 FROM delivery WHERE event_id = event.id)")
            for event in Set(events) { try statement.execute(arguments: [event]) }
            return events.count
        }
    }
}

package import Vault

// Many deliveries at once: in batches, so that what is announced meanwhile does not wait for all of them.

extension PostgresStore {
    private static let deliveryBatch = 2000

    package func deleteWebhook(id: String) async throws -> Bool {
        // Nothing comes any more from here on, and nothing goes.
        let isThere = try await write { session in
            try Self.holdWebhooksAlone(in: session)
            return try session.change("UPDATE webhook SET disabled_at = coalesce(disabled_at, \(Self.now)) WHERE id = $1", [id]) == 1
        }
        guard isThere else { return false }
        while try await write({ session in
            try Self.holdWebhooks(in: session)
            return try Self.removeDeliveries(of: id, in: session)
        }) == Self.deliveryBatch {}
        return try await write { session in
            try Self.holdWebhooksAlone(in: session)
            // What a replay has put on its way again is there still; it goes with the row.
            while try Self.removeDeliveries(of: id, in: session) == Self.deliveryBatch {}
            return try session.change("DELETE FROM webhook WHERE id = $1", [id]) == 1
        }
    }

    private static func removeDeliveries(of webhook: String, in session: Session) throws -> Int {
        let found = try session.rows("SELECT sequence, event_id FROM delivery WHERE webhook_id = $1 ORDER BY sequence LIMIT $2", [webhook, deliveryBatch])
        return try remove(found, where: "true", in: session)
    }

    /// Removes deliveries, and the events of which no delivery is left. Events are locked first: of two who remove the last
    /// two deliveries of one, the second sees that it is the last.
    private static func remove(_ found: [Row], where condition: String, in session: Session) throws -> Int {
        let events = ArrayOf(Set(try found.map { try $0.text("event_id") }).sorted())
        try session.execute("SELECT id FROM event WHERE id = ANY ($1) ORDER BY id FOR UPDATE", [events])
        let count = try session.change(
            "DELETE FROM delivery WHERE sequence = ANY ($1) AND \(condition)", [ArrayOf(try found.map { try $0.integer("sequence") })])
        try session.execute("DELETE FROM event WHERE id = ANY ($1) AND NOT EXISTS (SELECT 1 FROM delivery WHERE event_id = event.id)", [events])
        return count
    }

    package func disableWebhook(id: String, at: Timestamp) async throws {
        try await write { session in
            try Self.holdWebhooksAlone(in: session)
            try session.execute("UPDATE webhook SET disabled_at = $1 WHERE id = $2 AND disabled_at IS NULL", [at, id])
        }
        while try await failPending() == Self.deliveryBatch {}
    }

    /// What is pending of webhooks that are disabled has failed. Nothing of theirs is sent until then either.
    private func failPending() async throws -> Int {
        try await write { session in
            try Self.holdWebhooks(in: session)
            return try session.change(
                """
                UPDATE delivery SET state = 'failed', next_try_at = NULL, ended_at = webhook.disabled_at, last_error = 'the webhook was disabled'
                FROM webhook WHERE webhook.id = delivery.webhook_id AND delivery.state = 'pending' AND delivery.sequence IN (
                    SELECT mine.sequence FROM webhook JOIN delivery AS mine ON mine.webhook_id = webhook.id
                    WHERE webhook.disabled_at IS NOT NULL AND mine.state = 'pending' LIMIT $1)
                """, [Self.deliveryBatch])
        }
    }

    package func replay(webhook: String, _ which: Replay, now: Timestamp) async throws -> Int? {
        let last = try await write { session -> Int? in
            try Self.holdWebhooksAlone(in: session)
            guard try session.change("UPDATE webhook SET disabled_at = NULL WHERE id = $1", [webhook]) == 1 else { return nil }
            return try session.row("SELECT coalesce(max(sequence), 0) AS last FROM delivery WHERE webhook_id = $1", [webhook])?.integer("last")
        }
        guard let last else { return nil }
        // The oldest first: whatever comes behind one that is on its way again waits for it.
        var count = 0
        var after = 0
        while after < last {
            let batch = try await write { [after] session in
                try Self.holdWebhooksAlone(in: session)
                return try Self.replay(webhook, which, now: now, after: after, last: last, in: session)
            }
            count += batch.count
            guard batch.count == Self.deliveryBatch else { break }
            after = batch.last
        }
        return count
    }

    private static func replay(
        _ webhook: String, _ which: Replay, now: Timestamp, after: Int, last: Int, in session: Session
    ) throws -> (count: Int, last: Int) {
        let (condition, value): (String, Int?) =
            switch which {
            case .failed: ("state = 'failed' AND $5::int8 IS NULL", nil)
            case .since(let time): ("event_id IN (SELECT id FROM event WHERE at >= $5)", Int(time.milliseconds))
            case .one(let sequence): ("sequence = $5", sequence)
            }
        let rows = try session.rows(
            """
            SELECT sequence, order_key FROM delivery WHERE webhook_id = $1 AND sequence > $2 AND sequence <= $3 AND \(condition)
            ORDER BY sequence LIMIT $4 FOR UPDATE
            """, [webhook, after, last, deliveryBatch, value])
        try session.execute(
            """
            UPDATE delivery SET state = 'pending', tries = 0, begun_at = $1, next_try_at = NULL, last_status = NULL, last_error = NULL, ended_at = NULL
            WHERE sequence = ANY ($2)
            """, [now, ArrayOf(try rows.map { try $0.integer("sequence") })])
        let lanes: [any Bindable] = [webhook, ArrayOf(Set(try rows.map { try $0.text("order_key") }).sorted())]
        // Of each of its lanes the first that is pending is due, unless it was before; the others wait for it.
        let first = """
            SELECT DISTINCT ON (order_key) sequence FROM delivery WHERE webhook_id = $1 AND order_key = ANY ($2) AND state = 'pending'
            ORDER BY order_key, sequence
            """
        try session.execute(
            """
            UPDATE delivery SET next_try_at = NULL
            WHERE webhook_id = $1 AND order_key = ANY ($2) AND state = 'pending' AND next_try_at IS NOT NULL AND sequence NOT IN (\(first))
            """, lanes)
        try session.execute("UPDATE delivery SET next_try_at = $3 WHERE next_try_at IS NULL AND sequence IN (\(first))", lanes + [now])
        return (rows.count, try rows.last?.integer("sequence") ?? last)
    }

    package func trimDeliveries(endedBefore: Timestamp, limit: Int) async throws -> Int {
        // Left over where a webhook was disabled by a node that did not get to the end of it.
        _ = try await failPending()
        return try await write { session in
            try Self.holdWebhooks(in: session)
            let found = try session.rows(
                "SELECT sequence, event_id FROM delivery WHERE ended_at < $1 ORDER BY ended_at LIMIT $2", [endedBefore, limit])
            // Nothing becomes pending again meanwhile.
            return try Self.remove(found, where: "ended_at IS NOT NULL", in: session)
        }
    }
}

package import Vault

extension PostgresStore {
    private static let deliveryColumns = "delivery.*, event.kind, event.at, event.connection_uid, event.subject, event.data"

    /// What is given is taken: its next try moves ahead, past the longest that a try takes, so that no other node begins it. A
    /// node that dies leaves it until then.
    package func dueDeliveries(now: Timestamp, room: DeliveryRoom) async throws -> [Delivery] {
        guard room.count > 0 else { return [] }
        // Asked twice a second by each node, and seldom with success: a read writes nothing.
        let due = try await read { session in
            let webhooks = try session.rows("SELECT id FROM webhook WHERE disabled_at IS NULL").map { try $0.text("id") }
            return try webhooks.reduce(into: [String: Int]()) { due, webhook in
                let left = room.left(for: webhook)
                guard left > 0 else { return }
                due[webhook] = try session.rows(
                    """
                    SELECT sequence FROM delivery WHERE webhook_id = $1 AND next_try_at <= $2 AND NOT (order_key = ANY ($3)) LIMIT $4
                    """, [webhook, now, ArrayOf(room.excepted(of: webhook)), left]
                ).count
            }
        }
        let shares = room.shares(of: due)
        guard !shares.isEmpty else { return [] }
        // What is lost with the server is due once more.
        return try await write(isKept: false) { session in
            try shares.sorted { $0.key < $1.key }.flatMap { webhook, count in
                try session.rows(
                    """
                    WITH mine AS (
                        SELECT sequence, next_try_at FROM delivery WHERE webhook_id = $1 AND next_try_at <= $2 AND NOT (order_key = ANY ($3))
                        ORDER BY next_try_at, sequence LIMIT $4 FOR UPDATE SKIP LOCKED),
                    taken AS (UPDATE delivery SET next_try_at = $5 FROM mine WHERE delivery.sequence = mine.sequence RETURNING delivery.*)
                    SELECT taken.*, event.kind, event.at, event.connection_uid, event.subject, event.data
                    FROM taken JOIN mine ON mine.sequence = taken.sequence JOIN event ON event.id = taken.event_id
                    ORDER BY mine.next_try_at, mine.sequence
                    """, [webhook, now, ArrayOf(room.excepted(of: webhook)), count, now + Delivery.taken]
                ).map(Delivery.init)
            }
        }
    }

    package func noteTried(sequence: Int, status: Int?, error: String?, nextTryAt: Timestamp) async throws {
        try await write { session in
            // Without a time it waits for an earlier one, which a replay put before it.
            try session.execute(
                """
                UPDATE delivery SET tries = tries + 1, last_status = $1, last_error = $2, next_try_at = CASE WHEN next_try_at IS NULL THEN NULL ELSE $3 END
                WHERE sequence = $4 AND state = 'pending'
                """, [status, error, nextTryAt, sequence])
        }
    }

    package func endDelivery(sequence: Int, state: Delivery.State, status: Int?, error: String?, at: Timestamp) async throws {
        try await write { session in
            try Self.holdWebhooks(in: session)
            guard let row = try session.row("SELECT webhook_id, order_key FROM delivery WHERE sequence = $1", [sequence]) else { return }
            let lane = Delivery.Lane(webhook: try row.text("webhook_id"), orderKey: try row.uid("order_key"))
            _ = try Self.lockFirst(of: [lane], in: session)
            let count = try session.change(
                """
                UPDATE delivery SET state = $1, tries = tries + 1, last_status = $2, last_error = $3, next_try_at = NULL, ended_at = $4
                WHERE sequence = $5 AND (state = 'pending' OR $1 = 'delivered')
                """, [state.rawValue, status, error, at, sequence])
            guard count == 1 else { return }
            // A statement of its own: it sees what was announced while the first one was waited for. One that has a time
            // already may be on its way.
            try session.execute(
                """
                UPDATE delivery SET next_try_at = $1 WHERE next_try_at IS NULL AND state = 'pending' AND sequence = (
                    SELECT sequence FROM delivery WHERE webhook_id = $2 AND order_key = $3 AND state = 'pending' ORDER BY sequence LIMIT 1)
                """, [at, lane.webhook, lane.orderKey])
        }
    }

    package func deliveries(webhook: String, state: Delivery.State?, before: Int?, limit: Int) async throws -> [Delivery] {
        try await read { session in
            try session.rows(
                """
                SELECT \(Self.deliveryColumns) FROM delivery JOIN event ON event.id = delivery.event_id
                WHERE delivery.webhook_id = $1 AND delivery.sequence < $2 \(state == nil ? "" : "AND delivery.state = $4")
                ORDER BY delivery.sequence DESC LIMIT $3
                """, [webhook, before ?? .max, limit] + (state.map { [$0.rawValue] } ?? [])
            ).map(Delivery.init)
        }
    }
}

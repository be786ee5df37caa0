package import Vault

extension PostgresStore {
    // MARK: Announcing

    /// "webhooks" as a number. Held in common by whatever adds or ends deliveries, and alone by what changes whole webhooks: a
    /// webhook that is there, and what of it is pending, stays so until the transaction ends.
    private static let webhookLock = 8_603_390_863_846_894_451

    static func holdWebhooks(in session: Session) throws {
        try session.execute("SELECT pg_advisory_xact_lock_shared($1)", [webhookLock])
    }
    static func holdWebhooksAlone(in session: Session) throws {
        try session.execute("SELECT pg_advisory_xact_lock($1)", [webhookLock])
    }

    /// Whether events are made for anybody: of many grants at once that is asked first.
    static func isAnybodyTold(in session: Session) throws -> Bool {
        try session.row("SELECT id FROM webhook WHERE disabled_at IS NULL LIMIT 1") != nil
    }

    /// Inside the transaction of the change: an event for each, and a delivery for each webhook that wants it.
    ///
    /// Of one webhook's deliveries with one order key (a lane) only the first that is pending has a time of its next try; the
    /// others get theirs when it ends. That holds whatever other nodes do at the same time:
    /// - Whoever announces has changed or locked the order key's row, the grant's or the connection's, in this transaction. So there is
    ///   one transaction at a time that adds to a lane, and sequences grow in the order of the changes.
    /// - Who adds to a lane, and who ends one of its deliveries, locks the lane's first pending delivery before. Either the end
    ///   comes first, and this finds the next one or none; or it comes after the commit, and finds what was added here.
    /// - Nothing becomes pending again, and no webhook goes, while ``holdWebhooks(in:)`` holds.
    static func announce(_ events: [WebhookEvent], in session: Session) throws {
        guard !events.isEmpty, try isAnybodyTold(in: session) else { return }
        try holdWebhooks(in: session)
        let webhooks = try session.rows("SELECT * FROM webhook WHERE disabled_at IS NULL ORDER BY id").map(Webhook.init)
        let wanted = events.compactMap { event in
            let told = webhooks.filter { $0.kinds?.contains(event.kind) ?? true }
            return told.isEmpty ? nil : (event: event, webhooks: told.map(\.id))
        }
        guard !wanted.isEmpty else { return }
        try insert(wanted.map(\.event), in: session)
        let made = wanted.flatMap { event, webhooks in webhooks.map { (event: event, lane: Delivery.Lane(webhook: $0, orderKey: event.orderKey)) } }
        var busy = try lockFirst(of: Set(made.map(\.lane)), in: session)
        // The first of a lane where nothing is pending is due; it keeps the next ones of the same change waiting.
        let times = made.map { busy.insert($0.lane).inserted ? $0.event.at : nil }
        try session.execute(
            """
            INSERT INTO delivery (webhook_id, event_id, order_key, state, tries, begun_at, next_try_at)
            SELECT webhook, event, order_key, 'pending', 0, at, next_try_at
            FROM unnest($1::text[], $2::text[], $3::text[], $4::int8[], $5::int8[]) WITH ORDINALITY
                AS made (webhook, event, order_key, at, next_try_at, number) ORDER BY number
            """,
            [
                ArrayOf(made.map(\.lane.webhook)), ArrayOf(made.map(\.event.id)), ArrayOf(made.map(\.lane.orderKey)), ArrayOf(made.map(\.event.at)),
                ArrayOf(times),
            ])
    }

    private static func insert(_ events: [WebhookEvent], in session: Session) throws {
        try session.execute(
            """
            INSERT INTO event (id, kind, at, connection_uid, order_key, subject, data)
            SELECT * FROM unnest($1::text[], $2::text[], $3::int8[], $4::text[], $5::text[], $6::text[], $7::text[])
            """,
            [
                ArrayOf(events.map(\.id)), ArrayOf(events.map(\.kind.rawValue)), ArrayOf(events.map(\.at)), ArrayOf(events.map(\.connectionUID)),
                ArrayOf(events.map(\.orderKey)), ArrayOf(events.map(\.subject)), ArrayOf(events.map(\.data)),
            ])
    }

    /// Locks the first pending delivery of each lane, everybody in the same order.
    /// - Returns: the lanes that have one.
    static func lockFirst(of lanes: Set<Delivery.Lane>, in session: Session) throws -> Set<Delivery.Lane> {
        let sorted = lanes.sorted { ($0.orderKey.text, $0.webhook) < ($1.orderKey.text, $1.webhook) }
        let rows = try session.rows(
            """
            SELECT lane.webhook, lane.order_key
            FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS lane (webhook, order_key, number) CROSS JOIN LATERAL (
                SELECT sequence FROM delivery WHERE webhook_id = lane.webhook AND order_key = lane.order_key AND state = 'pending'
                ORDER BY sequence LIMIT 1 FOR UPDATE) AS first
            """, [ArrayOf(sorted.map(\.webhook)), ArrayOf(sorted.map(\.orderKey))])
        return Set(try rows.map { Delivery.Lane(webhook: try $0.text("webhook"), orderKey: try $0.uid("order_key")) })
    }

    // MARK: The records

    package func insert(_ webhook: Webhook) async throws {
        let kinds = try storedJSON(webhook.kinds?.map(\.rawValue).sorted() ?? ["*"])
        try await write { session in
            try session.execute(
                "INSERT INTO webhook (id, url, kinds, secret, created_at, disabled_at) VALUES ($1, $2, $3, $4, $5, $6)",
                [webhook.id, webhook.url, kinds, webhook.secret, webhook.createdAt, webhook.disabledAt])
        }
    }

    package func webhook(id: String) async throws -> Webhook? {
        try await read { try $0.row("SELECT * FROM webhook WHERE id = $1", [id]).map(Webhook.init) }
    }

    package func webhooks() async throws -> [Webhook] {
        try await read { try $0.rows("SELECT * FROM webhook ORDER BY created_at, id").map(Webhook.init) }
    }
}

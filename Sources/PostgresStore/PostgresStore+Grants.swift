package import Vault

extension PostgresStore {
    package func grant(connection: UID, subject: String, slot: String) async throws -> Grant? {
        try await read {
            try $0.row(#"SELECT * FROM "grant" WHERE connection_uid = $1 AND subject = $2 AND slot = $3"#, [connection, subject, slot]).map(Grant.init)
        }
    }

    package func grant(uid: UID) async throws -> Grant? {
        try await read { try $0.row(#"SELECT * FROM "grant" WHERE uid = $1"#, [uid]).map(Grant.init) }
    }

    package func put(_ grant: Grant, expectedGeneration: Int?, events: [WebhookEvent]) async throws -> Bool {
        Failpoint.pass("store.put")
        return try await write { session in
            let isWritten =
                if let expectedGeneration { try Self.replace(grant, expectedGeneration, in: session) } else { try Self.insert(grant, in: session) }
            guard isWritten else { return try Self.isThere(grant, asInserted: expectedGeneration == nil, in: session) }
            try Self.requireDataKeys(of: [grant.accessToken, grant.refreshToken], in: session)
            try session.execute("DELETE FROM refresh_intent WHERE grant_uid = $1", [grant.uid])
            try Self.announce(events, in: session)
            return true
        }
    }

    /// What was sealed long ago, by a node that stood still, may carry a data key that another node has deleted: nobody could open
    /// it. Whoever holds it seals it anew.
    private static func requireDataKeys(of values: [Sealed?], in session: Session) throws {
        let ids = Set(values.compactMap { $0?.dataKeyID })
        guard !ids.isEmpty else { return }
        let found = try session.rows("SELECT id FROM data_key WHERE id = ANY($1) FOR KEY SHARE", [ArrayOf(Array(ids))]).count
        guard found == ids.count else { throw StoreError.unavailable("the data key that sealed a token was deleted meanwhile") }
    }

    private static func insert(_ grant: Grant, in session: Session) throws -> Bool {
        let columns = try grant.columns
        return try session.change(#"INSERT INTO "grant" \#(columns.insertion) ON CONFLICT DO NOTHING"#, columns.values) == 1
    }

    /// One statement: it waits for whoever changes the row, and judges what they left.
    private static func replace(_ grant: Grant, _ expectedGeneration: Int, in session: Session) throws -> Bool {
        let columns = try grant.columns
        let next = columns.values.count + 1
        // What was voided since the grant was read is not revived by a renewal that was on its way.
        return try session.change(
            #"""
            UPDATE "grant" SET \#(columns.assignments) WHERE uid = $1 AND token_generation = $\#(next)
                AND NOT ($\#(next + 1) = 'active' AND state_reason IS NOT DISTINCT FROM 'host_changed' AND state_since > $\#(next + 2))
            """#, columns.values + [expectedGeneration, grant.state.rawValue, grant.stateSince]) == 1
    }

    /// Whether this very write was done before: its caller lost the connection at the commit and writes again. Seals are
    /// random, so nobody else wrote the same ones. Its events were announced with it.
    private static func isThere(_ grant: Grant, asInserted: Bool, in session: Session) throws -> Bool {
        // A new grant is known by its uid alone; one that was there only by tokens.
        guard asInserted || grant.accessToken != nil || grant.refreshToken != nil else { return false }
        return try session.row(
            #"""
            SELECT uid FROM "grant" WHERE uid = $1 AND token_generation = $2 AND access_token IS NOT DISTINCT FROM $3
                AND refresh_token IS NOT DISTINCT FROM $4
            """#, [grant.uid, grant.tokenGeneration, grant.accessToken, grant.refreshToken]) != nil
    }

    package func setState(
        _ state: Grant.State, reason: String?, at: Timestamp, grant: UID, expectedGeneration: Int, events: [WebhookEvent]
    ) async throws -> Bool {
        try await write { session in
            let changed = try session.change(
                #"""
                UPDATE "grant" SET state = $1, state_reason = $2, state_since = $3, \#(Self.nothingIsDue)
                WHERE uid = $4 AND token_generation = $5 AND state = 'active'
                """#, [state.rawValue, reason, at, grant, expectedGeneration])
            guard changed == 1 else { return false }
            try Self.announce(events, in: session)
            return true
        }
    }

    /// Of a grant that is not active: nobody renews it, and nobody is told of its end.
    static let nothingIsDue = "next_refresh_at = NULL, due_at = NULL, dies_at = NULL, warn_at = NULL"

    package func grants(filter: GrantFilter, after: UID?, limit: Int) async throws -> [Grant] {
        try await read { session in
            let query = GrantQuery(filter, after: after, limit: limit)
            return try session.rows(query.sql, query.values).map(Grant.init)
        }
    }

    package func touchGrants(_ lastUsed: [UID: Timestamp]) async throws {
        guard !lastUsed.isEmpty else { return }
        try await write(isKept: false) { session in
            try session.execute(
                #"""
                WITH used AS MATERIALIZED (
                    SELECT g.uid, u.at FROM unnest($1, $2) AS u (uid, at) JOIN "grant" AS g ON g.uid = u.uid
                    WHERE g.last_used_at IS NULL OR g.last_used_at < u.at ORDER BY g.uid FOR NO KEY UPDATE OF g)
                UPDATE "grant" SET last_used_at = greatest(last_used_at, used.at) FROM used WHERE "grant".uid = used.uid
                """#, [ArrayOf(Array(lastUsed.keys)), ArrayOf(Array(lastUsed.values))])
        }
    }

    package func grantCounts(now: Timestamp) async throws -> [String: Int] {
        try await read { session in
            let rows = try session.rows(
                #"""
                SELECT CASE WHEN state = 'active' AND expires_at <= $1 THEN 'expired' ELSE state END AS shown, count(*) AS n
                FROM "grant" GROUP BY shown
                """#, [now])
            return Dictionary(try rows.map { (try $0.text("shown"), try $0.integer("n")) }) { a, b in a + b }
        }
    }

    // MARK: Refresh

    package func beginRefresh(grant: UID, generation: Int, at: Timestamp, lease: LeaseClaim?) async throws -> Int? {
        try await write { session in
            let current = try session.row(
                #"""
                SELECT token_generation, EXISTS (SELECT 1 FROM meta WHERE name = '\#(MovedMark.name)') AS moved
                FROM "grant" WHERE uid = $1 FOR NO KEY UPDATE
                """#, [grant])
            guard let current, try current.integer("token_generation") == generation else { return nil }
            // Its refresh tokens are sent from elsewhere.
            guard try !current.boolean("moved") else { throw StoreError.unavailable("the vault was moved to another database") }
            if let lease, try !Self.extend(lease, in: session) { return nil }
            return try session.row(
                """
                INSERT INTO refresh_intent AS i (grant_uid, generation, sent_at, attempts) VALUES ($1, $2, $3, 1)
                ON CONFLICT (grant_uid) DO UPDATE SET sent_at = excluded.sent_at, generation = excluded.generation,
                    attempts = CASE WHEN i.generation = excluded.generation THEN i.attempts + 1 ELSE 1 END
                RETURNING attempts
                """, [grant, generation, at])?.integer("attempts")
        }
    }

    /// - Returns: false when it ended, even if nobody else took it since.
    private static func extend(_ lease: LeaseClaim, in session: Session) throws -> Bool {
        return try session.change(
            """
            UPDATE lease SET ends_at = clock_timestamp() + $3 * interval '1 millisecond'
            WHERE name = $1 AND owner = $2 AND ends_at >= clock_timestamp()
            """, [lease.name, lease.owner, lease.lifetime.milliseconds]) == 1
    }

    package func clearIntent(grant: UID, generation: Int) async throws {
        try await write { try $0.execute("DELETE FROM refresh_intent WHERE grant_uid = $1 AND generation = $2", [grant, generation]) }
    }

    package func intent(grant: UID) async throws -> RefreshIntent? {
        try await read { try $0.row("SELECT * FROM refresh_intent WHERE grant_uid = $1", [grant]).map(RefreshIntent.init) }
    }
}

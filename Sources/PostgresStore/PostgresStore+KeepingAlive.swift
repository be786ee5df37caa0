package import Vault

extension PostgresStore {
    package func connectionsDue(now: Timestamp) async throws -> [UID] {
        try await read { session in
            try session.rows(
                #"""
                SELECT uid FROM connection AS c WHERE keep_alive AND health <> 'misconfigured'
                    AND EXISTS (SELECT 1 FROM "grant" WHERE connection_uid = c.uid AND due_at <= $1)
                """#, [now]
            ).map { try $0.uid("uid") }
        }
    }

    /// Grants that another node claims at this moment are left to it.
    package func claimDue(connection: UID, now: Timestamp, limit: Int, until: Timestamp) async throws -> [Grant] {
        try await write { session in
            try session.rows(
                #"""
                WITH due AS MATERIALIZED (
                    SELECT uid, due_at FROM "grant" WHERE connection_uid = $1 AND due_at <= $2
                    ORDER BY due_at LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED),
                claimed AS (
                    UPDATE "grant" SET due_at = $4 FROM due WHERE "grant".uid = due.uid RETURNING "grant".*, due.due_at AS was_due_at)
                SELECT * FROM claimed ORDER BY was_due_at, uid
                """#, [connection, now, limit, until]
            ).map { row in
                var grant = try Grant(row)
                grant.dueAt = try row.time("was_due_at")
                return grant
            }
        }
    }

    package func postpone(grant: UID, expectedGeneration: Int, until: Timestamp) async throws {
        try await write { session in
            try session.execute(
                #"UPDATE "grant" SET due_at = $1 WHERE uid = $2 AND token_generation = $3 AND due_at IS NOT NULL"#, [until, grant, expectedGeneration])
        }
    }

    package func hastenDue(notAfter: Timestamp) async throws {
        // What failed is put off for an hour and a quarter at most, what a provider or receiver asks for is a day.
        let (furthestDue, furthestTry) = (notAfter + .seconds(4500), notAfter + .seconds(87_000))
        try await write(within: .seconds(60)) { session in
            try session.execute(
                #"""
                WITH far AS MATERIALIZED (
                    SELECT uid FROM "grant" WHERE due_at IS NOT NULL
                        AND (coalesce(refreshed_at, created_at) > $1 OR (due_at > $2 AND due_at > coalesce(expires_at, dies_at, 0)))
                    ORDER BY uid FOR NO KEY UPDATE)
                UPDATE "grant" SET due_at = $1 FROM far WHERE "grant".uid = far.uid
                """#, [notAfter, furthestDue])
            for (table, key) in [("orphan_token", "uid"), ("delivery", "sequence")] {
                try session.execute(
                    """
                    WITH far AS MATERIALIZED (SELECT \(key) FROM \(table) WHERE next_try_at > $2 ORDER BY \(key) FOR NO KEY UPDATE)
                    UPDATE \(table) SET next_try_at = $1 FROM far WHERE \(table).\(key) = far.\(key)
                    """, [notAfter, furthestTry])
            }
        }
    }

    package func grantsToWarn(now: Timestamp, limit: Int) async throws -> [Grant] {
        try await read { try $0.rows(#"SELECT * FROM "grant" WHERE warn_at <= $1 ORDER BY warn_at LIMIT $2"#, [now, limit]).map(Grant.init) }
    }

    package func noteWarned(grant: UID, expectedGeneration: Int, events: [WebhookEvent]) async throws -> Bool {
        try await write { session in
            let changed = try session.change(
                #"UPDATE "grant" SET warn_at = NULL WHERE uid = $1 AND token_generation = $2 AND warn_at IS NOT NULL"#, [grant, expectedGeneration])
            guard changed == 1 else { return false }
            try Self.announce(events, in: session)
            return true
        }
    }

    package func noteSecretWarned(connection: UID, expiry: Timestamp, events: [WebhookEvent]) async throws -> Bool {
        try await write { session in
            let changed = try session.change(
                "UPDATE connection SET secret_warned_for = $1 WHERE uid = $2 AND secret_warned_for IS DISTINCT FROM $1", [expiry, connection])
            guard changed == 1 else { return false }
            try Self.announce(events, in: session)
            return true
        }
    }
}

package import Vault

extension PostgresStore {
    package func insert(_ orphan: OrphanToken) async throws {
        try await write { session in
            try session.execute(
                """
                INSERT INTO orphan_token
                    (uid, connection_uid, access_token, refresh_token, created_at, next_try_at, tries, grant_uid, generation, revocation_id)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (uid) DO NOTHING
                """,
                [
                    orphan.uid, orphan.connectionUID, orphan.accessToken, orphan.refreshToken, orphan.createdAt, orphan.nextTryAt, orphan.tries,
                    orphan.origin?.grantUID, orphan.origin?.generation, orphan.revocationID,
                ])
        }
    }

    package func orphan(uid: UID) async throws -> OrphanToken? {
        try await read { try $0.row("SELECT * FROM orphan_token WHERE uid = $1", [uid]).map(OrphanToken.init) }
    }

    /// What is given is taken, as deliveries are.
    package func orphans(due: Timestamp, limit: Int) async throws -> [OrphanToken] {
        // Asked each second by each node, and seldom with success: a read writes nothing.
        guard try await read({ try $0.row("SELECT uid FROM orphan_token WHERE next_try_at <= $1 LIMIT 1", [due]) != nil }) else { return [] }
        return try await write(isKept: false) { session in
            // What another node is taking at this moment is left to it.
            try session.rows(
                """
                WITH candidate AS (
                    SELECT mine.uid, mine.next_try_at, row_number() OVER (PARTITION BY connection.uid ORDER BY mine.next_try_at, mine.uid) AS turn
                    FROM connection CROSS JOIN LATERAL (
                        SELECT uid, next_try_at FROM orphan_token WHERE connection_uid = connection.uid AND next_try_at <= $1
                        ORDER BY next_try_at, uid LIMIT $2) AS mine),
                chosen AS (SELECT uid, next_try_at, turn FROM candidate ORDER BY turn, next_try_at, uid LIMIT $2),
                mine AS (
                    SELECT uid FROM orphan_token WHERE uid IN (SELECT uid FROM chosen) AND next_try_at <= $1 FOR UPDATE SKIP LOCKED),
                taken AS (UPDATE orphan_token SET next_try_at = $3 FROM mine WHERE orphan_token.uid = mine.uid RETURNING orphan_token.*)
                SELECT taken.* FROM taken JOIN chosen ON chosen.uid = taken.uid ORDER BY chosen.turn, chosen.next_try_at, chosen.uid
                """, [due, limit, due + OrphanToken.taken]
            ).map(OrphanToken.init)
        }
    }

    package func giveBack(orphans: [OrphanToken], due: Timestamp) async throws {
        // A time that another one gave it since then stands.
        let taken = orphans.sorted { $0.uid < $1.uid }
        try await write(isKept: false) { session in
            try session.execute(
                """
                UPDATE orphan_token SET next_try_at = $3 FROM unnest($1::text[], $2::int8[]) AS taken (uid, until)
                WHERE orphan_token.uid = taken.uid AND orphan_token.next_try_at = taken.until AND taken.until > $3
                """, [ArrayOf(taken.map(\.uid)), ArrayOf(taken.map(\.nextTryAt)), due])
        }
    }

    package func updateOrphan(_ uid: UID, nextTryAt: Timestamp, tries: Int) async throws {
        try await write {
            try $0.execute("UPDATE orphan_token SET next_try_at = $1, tries = $2 WHERE uid = $3", [nextTryAt, tries, uid])
        }
    }

    package func postponeOrphans(connection: UID, dueBefore: Timestamp, until: Timestamp) async throws {
        try await write {
            // Those that another node is at are left to it.
            try $0.execute(
                """
                UPDATE orphan_token SET next_try_at = $1 WHERE uid IN (
                    SELECT uid FROM orphan_token WHERE connection_uid = $2 AND next_try_at < $3 ORDER BY uid FOR UPDATE SKIP LOCKED)
                """, [until, connection, min(until, dueBefore)])
        }
    }

    package func endOrphan(_ uid: UID, outcome: OrphanOutcome) async throws -> Bool {
        try await write { session in
            // Of several that end it one finds it: that one counts.
            guard
                let ended = try session.row(
                    "DELETE FROM orphan_token WHERE uid = $1 RETURNING connection_uid, grant_uid, revocation_id", [uid])
            else { return false }
            guard let revocation = ended.optionalText("revocation_id") else { return true }
            try session.execute("UPDATE revocation SET \(outcome.column) = \(outcome.column) + 1 WHERE id = $1", [revocation])
            if case .failed(let reason) = outcome {
                try session.execute(
                    #"""
                    INSERT INTO revocation_failure (revocation_id, connection, subject, reason)
                    SELECT $1, id, (SELECT subject FROM "grant" WHERE uid = $2), $3 FROM connection WHERE uid = $4
                    """#, [revocation, ended.optionalText("grant_uid"), reason.rawValue, try ended.text("connection_uid")])
            }
            return true
        }
    }

    /// Before a connection's rows go, in the same transaction: what waits for its provider has failed. Whatever another node
    /// ends before is counted there.
    static func giveUpOrphans(of connection: UID, in session: Session) throws {
        try session.execute("SELECT uid FROM orphan_token WHERE connection_uid = $1 ORDER BY uid FOR UPDATE", [connection])
        let lost = "FROM orphan_token WHERE connection_uid = $1 AND revocation_id IS NOT NULL"
        try session.execute(
            "SELECT id FROM revocation WHERE id IN (SELECT revocation_id \(lost)) ORDER BY id FOR NO KEY UPDATE", [connection])
        try session.execute(
            #"""
            INSERT INTO revocation_failure (revocation_id, connection, subject, reason)
            SELECT revocation_id, (SELECT id FROM connection WHERE uid = $1), (SELECT subject FROM "grant" WHERE uid = grant_uid), $2 \#(lost)
            """#, [connection, RevocationFailure.Reason.connectionRemoved.rawValue])
        try session.execute(
            """
            UPDATE revocation SET failed = failed + gone.count FROM (SELECT revocation_id, count(*) AS count \(lost) GROUP BY revocation_id) AS gone
            WHERE gone.revocation_id = revocation.id
            """, [connection])
    }
}

extension OrphanOutcome {
    fileprivate var column: String {
        switch self {
        case .revoked: "revoked"
        case .unsupported: "unsupported"
        case .failed: "failed"
        }
    }
}

package import Vault

extension PostgresStore {
    package func insert(_ revocation: RevocationRecord) async throws {
        let filter = try storedJSON(revocation.filter)
        try await write { session in
            try session.execute(
                """
                INSERT INTO revocation
                    (id, filter, connection, requested_by, created_at, stopped_at, ended_at, grants, revoked, unsupported, failed)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
                """,
                [
                    revocation.id, filter, revocation.connection, revocation.requestedBy, revocation.createdAt, revocation.stoppedAt,
                    revocation.endedAt, revocation.grants, revocation.revoked, revocation.unsupported, revocation.failed,
                ])
        }
    }

    private static let selectRevocations =
        "SELECT *, (SELECT count(*) FROM orphan_token WHERE revocation_id = revocation.id) AS pending FROM revocation"

    package func revocation(id: String) async throws -> RevocationRecord? {
        try await read { try $0.row(Self.selectRevocations + " WHERE id = $1", [id]).map(RevocationRecord.init) }
    }

    package func revocations(before: String?, limit: Int) async throws -> [RevocationRecord] {
        try await read {
            try $0.rows(Self.selectRevocations + " WHERE $1::text IS NULL OR id < $1 ORDER BY id DESC LIMIT $2", [before, limit])
                .map(RevocationRecord.init)
        }
    }

    package func unstoppedRevocations() async throws -> [RevocationRecord] {
        try await read {
            try $0.rows(Self.selectRevocations + " WHERE ended_at IS NULL AND stopped_at IS NULL ORDER BY id").map(RevocationRecord.init)
        }
    }

    package func noteStopped(revocation: String, at: Timestamp) async throws {
        try await write { try $0.execute("UPDATE revocation SET stopped_at = $1 WHERE id = $2 AND stopped_at IS NULL", [at, revocation]) }
    }

    /// Once it has stopped everything nothing is added to what it waits for.
    package func endRevocations(at: Timestamp) async throws {
        let condition = """
            ended_at IS NULL AND stopped_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM orphan_token WHERE revocation_id = revocation.id)
            """
        // Asked each second, and seldom so: a read writes nothing.
        guard try await read({ try $0.row("SELECT id FROM revocation WHERE \(condition) LIMIT 1") != nil }) else { return }
        try await write {
            try $0.execute(
                """
                UPDATE revocation SET ended_at = $1 WHERE ended_at IS NULL AND id IN (
                    SELECT id FROM revocation WHERE \(condition) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
                """, [at])
        }
    }

    package func failures(revocation: String, limit: Int) async throws -> [RevocationFailure] {
        try await read {
            try $0.rows("SELECT * FROM revocation_failure WHERE revocation_id = $1 ORDER BY sequence LIMIT $2", [revocation, limit]).map {
                RevocationFailure(connection: try $0.text("connection"), subject: $0.optionalText("subject"), reason: try $0.choice("reason"))
            }
        }
    }
}

package import Vault

extension PostgresStore {
    package func put(_ trouble: Trouble, connection: UID) async throws {
        let record = try storedJSON(trouble)
        try await write { session in
            // Of a connection that is gone, or that another node is about to remove, nothing is kept.
            try session.execute(
                """
                INSERT INTO trouble (connection_uid, stage, at, record) SELECT uid, $1, $2, $3 FROM connection WHERE uid = $4 FOR KEY SHARE
                ON CONFLICT (connection_uid, stage) DO UPDATE SET at = excluded.at, record = excluded.record
                """, [trouble.stage.rawValue, trouble.at, record, connection])
        }
    }

    package func troubles(connection: UID) async throws -> [Trouble] {
        try await read { session in
            try session.rows("SELECT record FROM trouble WHERE connection_uid = $1 ORDER BY at DESC, stage", [connection])
                .map { try $0.json("record") }
        }
    }

    package func deleteTroubles(connection: UID, stages: [Trouble.Stage]) async throws {
        try await write {
            try $0.execute("DELETE FROM trouble WHERE connection_uid = $1 AND stage = ANY($2)", [connection, ArrayOf(stages.map(\.rawValue))])
        }
    }

    package func lastTrip(connection: UID) async throws -> LastTrip? {
        try await read { session in
            try session.row(
                "SELECT session_id, created_at, consumed_at FROM authorization_attempt WHERE connection_uid = $1 ORDER BY created_at DESC LIMIT 1",
                [connection]
            ).map {
                LastTrip(sessionID: try $0.text("session_id"), startedAt: try $0.time("created_at"), cameBack: $0.optionalTime("consumed_at") != nil)
            }
        }
    }
}

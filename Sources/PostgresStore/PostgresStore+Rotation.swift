import Foundation
package import Vault

extension PostgresStore {
    /// Another node may seal by a retired data key until it has learned of the other one, a second later, and write what it
    /// sealed for as long as it tries a write again, the better part of a minute. Nobody can count what is on its way there.
    /// So a retired key is kept for ten minutes by the database's clock, far beyond both, and is deleted afterwards if nothing
    /// that is stored carries it.
    package var retiredKeysStay: Duration { .seconds(600) }

    /// Retired by the database's clock, by which it is deleted: those of the nodes may differ.
    package func replaceDataKey(scope: String, masterKeyID: String, wrapped: [UInt8], at: Timestamp) async throws -> Int? {
        try await write { session in
            let retired = try session.change("UPDATE data_key SET retired_at = \(Self.now) WHERE scope = $1 AND retired_at IS NULL", [scope])
            guard retired == 1 else { return nil }
            return try session.row(
                "INSERT INTO data_key (scope, master_key_id, wrapped) VALUES ($1, $2, $3) RETURNING id", [scope, masterKeyID, Blob(wrapped)]
            )?.integer("id")
        }
    }

    package func rewrap(_ changes: [(old: DataKeyRecord, masterKeyID: String, wrapped: [UInt8])]) async throws {
        let sorted = changes.sorted { $0.old.id < $1.old.id }
        try await write { session in
            for change in sorted {
                try session.execute(
                    "UPDATE data_key SET master_key_id = $1, wrapped = $2 WHERE id = $3 AND wrapped = $4",
                    [change.masterKeyID, Blob(change.wrapped), change.old.id, Blob(change.old.wrapped)])
            }
        }
    }

    /// Counted behind ``retiredKeysStay``: nobody writes a value any more that such a key sealed, so the count can only fall.
    package func deleteUnusedDataKeys(_ ids: Set<Int>) async throws -> Set<Int> {
        let isOld = "retired_at < \(Self.now) - \(retiredKeysStay.components.seconds * 1000)"
        let candidates = ArrayOf(ids.sorted())
        return try await write(within: Self.patienceForTables) { session in
            let old = try session.rows("SELECT id FROM data_key WHERE id = ANY ($1) AND \(isOld)", [candidates]).map { try $0.integer("id") }
            if !old.isEmpty {
                let used = try Self.sealedCounts(session)
                try session.execute("DELETE FROM data_key WHERE id = ANY ($1) AND \(isOld)", [ArrayOf(old.filter { used[$0] == nil })])
            }
            return ids.subtracting(try session.rows("SELECT id FROM data_key WHERE id = ANY ($1)", [candidates]).map { try $0.integer("id") })
        }
    }

    /// Makes the room of dead rows free, so that others overwrite them. Until then their bytes stay in the files, and they stay
    /// in the write-ahead log, its archive and replicas for as long as those are kept: that is for the database's operator.
    /// At most once a minute, whichever node asks.
    package func forgetOverwritten() async throws {
        guard try await takeLease("vacuum", owner: UUID().uuidString, lifetime: .seconds(60)) else { return }
        let tables = Set(SealedColumn.all.map(\.sql.table)).union(["data_key"]).sorted().joined(separator: ", ")
        // Who is at it already does it for both.
        try await read(within: Self.patienceForTables) { session in _ = try session.run("VACUUM (SKIP_LOCKED, TRUNCATE false) \(tables)") }
    }

    /// What was restored without its checks, or built and never finished. Damaged pages show when they are read.
    package func databaseFaults() async throws -> [String] {
        try await read { session in
            try session.rows(
                """
                SELECT 'the constraint ' || conname || ' of ' || conrelid::regclass || ' was never checked' AS fault FROM pg_constraint
                WHERE NOT convalidated AND connamespace = current_schema()::regnamespace
                UNION ALL
                SELECT 'the index ' || indexrelid::regclass || ' cannot be used' FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
                WHERE NOT (indisvalid AND indisready) AND relnamespace = current_schema()::regnamespace
                ORDER BY fault LIMIT 100
                """
            ).map { try $0.text("fault") }
        }
    }

    // MARK: After a restore

    package func noteInDoubt(_ grants: [(uid: UID, generation: Int)], at: Timestamp) async throws {
        let sorted = grants.sorted { $0.uid < $1.uid }
        try await write { session in
            // Of a grant that is removed meanwhile there is no doubt any more.
            try session.execute(
                #"""
                INSERT INTO refresh_intent (grant_uid, generation, sent_at, attempts)
                SELECT "grant".uid, noted.generation, $3, 1 FROM unnest($1::text[], $2::int8[]) AS noted (uid, generation)
                    JOIN "grant" ON "grant".uid = noted.uid ORDER BY "grant".uid FOR NO KEY UPDATE OF "grant"
                ON CONFLICT (grant_uid) DO UPDATE SET sent_at = excluded.sent_at, generation = excluded.generation, attempts = 1
                    WHERE refresh_intent.generation <> excluded.generation
                """#, [ArrayOf(sorted.map(\.uid)), ArrayOf(sorted.map(\.generation)), at])
        }
    }

    package func grantsInDoubt(since: Timestamp, after: UID?, limit: Int) async throws -> [Grant] {
        try await read { session in
            try session.rows(
                #"""
                SELECT "grant".* FROM refresh_intent JOIN "grant" ON uid = grant_uid AND token_generation = generation
                WHERE grant_uid > $1 AND state = 'active' AND refresh_token IS NOT NULL AND rotates IS DISTINCT FROM false
                    AND coalesce(refreshed_at, 0) < $2
                ORDER BY grant_uid LIMIT $3
                """#, [after?.text ?? "", since, limit]
            ).map(Grant.init)
        }
    }
}

package import Vault

extension PostgresStore {
    package func insert(_ key: APIKey) async throws {
        try await write { session in
            let columns = try key.columns
            try session.execute("INSERT INTO api_key \(columns.insertion)", columns.values)
        }
    }

    package func put(_ key: APIKey) async throws {
        try await write { session in
            // A session or link that somebody makes for the key at this moment holds its row: it is waited for, and ends below.
            try session.execute("SELECT id FROM api_key WHERE id = $1 OR hash = $2 ORDER BY id FOR UPDATE", [key.id, Blob(key.hash)])
            // One key has one id.
            try session.execute("DELETE FROM api_key WHERE hash = $1 AND id <> $2", [Blob(key.hash), key.id])
            let columns = try key.columns
            try session.execute("INSERT INTO api_key \(columns.insertion) ON CONFLICT (id) DO UPDATE SET \(columns.replacement)", columns.values)
            try session.execute("DELETE FROM console_session WHERE key_id = $1", [key.id])
            try session.execute("DELETE FROM sign_in_link WHERE key_id = $1", [key.id])
        }
    }

    package func keys() async throws -> [APIKey] {
        try await read { try $0.rows("SELECT * FROM api_key ORDER BY created_at, id").map(APIKey.init) }
    }

    package func touchKeys(_ lastUsed: [String: Timestamp]) async throws {
        guard !lastUsed.isEmpty else { return }
        try await write(isKept: false) { session in
            try session.execute(
                """
                WITH used AS MATERIALIZED (
                    SELECT k.id, u.at FROM unnest($1, $2) AS u (id, at) JOIN api_key AS k ON k.id = u.id
                    WHERE k.last_used_at IS NULL OR k.last_used_at < u.at ORDER BY k.id FOR NO KEY UPDATE OF k)
                UPDATE api_key SET last_used_at = greatest(last_used_at, used.at) FROM used WHERE api_key.id = used.id
                """, [ArrayOf(Array(lastUsed.keys)), ArrayOf(Array(lastUsed.values))])
        }
    }

    package func deleteKey(id: String) async throws -> Bool {
        try await write { try $0.change("DELETE FROM api_key WHERE id = $1", [id]) == 1 }
    }

    // MARK: Data keys

    package func dataKeys() async throws -> [DataKeyRecord] {
        try await read { try $0.rows("SELECT * FROM data_key ORDER BY id").map(DataKeyRecord.init) }
    }

    package func insertDataKey(scope: String, masterKeyID: String, wrapped: [UInt8]) async throws -> Int {
        try await write { session in
            let row = try session.row(
                "INSERT INTO data_key (scope, master_key_id, wrapped) VALUES ($1, $2, $3) RETURNING id", [scope, masterKeyID, Blob(wrapped)])
            guard let row else { throw StoreError.damaged("a data key was not kept") }
            return try row.integer("id")
        }
    }

    package func deleteDataKey(scope: String) async throws {
        try await write { try $0.execute("DELETE FROM data_key WHERE scope = $1", [scope]) }
    }

    // MARK: Meta

    package func meta(_ name: String) async throws -> [UInt8]? {
        try await read { try $0.row("SELECT value FROM meta WHERE name = $1", [name])?.bytes("value") }
    }

    package func setMeta(_ name: String, _ value: [UInt8]) async throws { try await changeMeta([name: value]) }

    package func changeMeta(_ values: [String: [UInt8]?]) async throws {
        try await write { session in
            for (name, value) in values.sorted(by: { $0.key < $1.key }) {
                if let value {
                    try session.execute(
                        "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value", [name, Blob(value)])
                } else {
                    try session.execute("DELETE FROM meta WHERE name = $1", [name])
                }
            }
        }
    }
}

package import Vault

extension PostgresStore {
    package func insert(_ session: ConsoleSession) async throws {
        try await write { database in
            let columns = session.columns
            try database.execute("INSERT INTO console_session \(columns.insertion)", columns.values)
        }
    }

    package func consoleSession(tokenHash: [UInt8]) async throws -> ConsoleSession? {
        try await read { try $0.row("SELECT * FROM console_session WHERE token_hash = $1", [Blob(tokenHash)]).map(ConsoleSession.init) }
    }

    package func consoleSessions(key: String?) async throws -> [ConsoleSession] {
        let (condition, parameters) = Self.ofKey(key)
        return try await read {
            try $0.rows("SELECT * FROM console_session \(condition) ORDER BY created_at DESC, id", parameters).map(ConsoleSession.init)
        }
    }

    package func touchConsoleSession(id: String, at: Timestamp) async throws {
        try await write(isKept: false) {
            try $0.execute("UPDATE console_session SET last_seen_at = $1 WHERE id = $2 AND last_seen_at < $1", [at, id])
        }
    }

    package func deleteConsoleSession(id: String) async throws -> Bool {
        try await write { try $0.change("DELETE FROM console_session WHERE id = $1", [id]) == 1 }
    }

    package func deleteConsoleSessions(key: String?) async throws -> [String] {
        let (condition, parameters) = Self.ofKey(key)
        return try await write { try $0.rows("DELETE FROM console_session \(condition) RETURNING id", parameters).map { try $0.text("id") } }
    }

    package func insert(_ link: SignInLink) async throws {
        try await write { session in
            try session.execute(
                "INSERT INTO sign_in_link (code_hash, key_id, expires_at) VALUES ($1, $2, $3)", [Blob(link.codeHash), link.keyID, link.expiresAt])
        }
    }

    package func takeSignInLink(codeHash: [UInt8], now: Timestamp) async throws -> SignInLink? {
        try await write {
            try $0.row("DELETE FROM sign_in_link WHERE code_hash = $1 AND expires_at > $2 RETURNING *", [Blob(codeHash), now]).map(SignInLink.init)
        }
    }

    package func deleteSignInLinks(key: String?) async throws {
        let (condition, parameters) = Self.ofKey(key)
        try await write { try $0.execute("DELETE FROM sign_in_link \(condition)", parameters) }
    }

    /// Of one key, or of all.
    private static func ofKey(_ key: String?) -> (condition: String, parameters: [String]) {
        key.map { ("WHERE key_id = $1", [$0]) } ?? ("", [])
    }
}

extension ConsoleSession {
    fileprivate var columns: Columns {
        [
            "id": id, "token_hash": Blob(tokenHash), "key_id": keyID, "created_at": createdAt, "last_seen_at": lastSeenAt, "expires_at": expiresAt,
            "user_agent": userAgent, "address": address,
        ]
    }
}

import Foundation
import GRDB
package import Vault

extension SQLiteStore: Store {
    package func insert(_ connection: Connection) async throws {
        try await write { database in
            try database.execute(
                sql: """
                    INSERT INTO connection VALUES (:uid, :id, :settings, :client_secret, :password, :health, :health_reason, :health_since,
                        :created_at, :updated_at, :revision, :keep_alive, NULL)
                    """, arguments: try connection.columns)
        }
    }

    package func connection(id: String) async throws -> Connection? {
        try await read { try Row.fetchOne($0, sql: "SELECT * FROM connection WHERE id = ?", arguments: [id]).map(Connection.init) }
    }

    package func connection(uid: UID) async throws -> Connection? {
        try await read { try Row.fetchOne($0, sql: "SELECT * FROM connection WHERE uid = ?", arguments: [uid.text]).map(Connection.init) }
    }

    package func connections(after: String?, limit: Int) async throws -> [Connection] {
        try await read {
            try Row.fetchAll($0, sql: "SELECT * FROM connection WHERE id > ? ORDER BY id LIMIT ?", arguments: [after ?? "", limit]).map(Connection.init)
        }
    }

    package func update(_ connection: Connection, expectedRevision: Int, grants change: GrantsChange) async throws -> Bool {
        try await write { database in
            try database.execute(
                sql: """
                    UPDATE connection SET settings = ?, client_secret = ?, password = ?, health = ?, health_reason = ?, health_since = ?,
                        updated_at = ?, keep_alive = ?, revision = revision + 1
                    WHERE uid = ? AND revision = ?
                    """,
                arguments: [
                    try storedJSON(connection.settings), connection.clientSecret?.data, connection.password?.data, connection.health.state.rawValue,
                    connection.health.reason, connection.health.since.milliseconds, connection.updatedAt.milliseconds, connection.settings.keepAlive,
                    connection.uid.text, expectedRevision,
                ])
            guard database.changesCount == 1 else { return false }
            try Self.apply(change, toGrantsOf: connection, in: database)
            return true
        }
    }

    private static func apply(_ change: GrantsChange, toGrantsOf connection: Connection, in database: Database) throws {
        switch change {
        case .none: break
        case .void(let events):
            let condition = "connection_uid = ? AND state <> 'revoked' AND state_reason IS NOT 'host_changed'"
            if try isAnybodyTold(in: database) {
                let grants = try Row.fetchAll(database, sql: #"SELECT * FROM "grant" WHERE \#(condition)"#, arguments: [connection.uid.text]).map(Grant.init)
                try announce(grants.flatMap(events), in: database)
            }
            try database.execute(
                sql: #"""
                    UPDATE "grant" SET state = 'reauthorization_required', state_reason = 'host_changed', state_since = ?, \#(Self.nothingIsDue)
                    WHERE connection_uid = ? AND state <> 'revoked'
                    """#, arguments: [connection.updatedAt.milliseconds, connection.uid.text])
        case .endings(let change):
            let grants = try Row.fetchAll(
                database, sql: #"SELECT * FROM "grant" WHERE connection_uid = ? AND state = 'active' AND refresh_token IS NOT NULL"#,
                arguments: [connection.uid.text]
            ).map(Grant.init)
            let statement = try database.cachedStatement(sql: #"UPDATE "grant" SET due_at = ?, dies_at = ?, warn_at = ? WHERE uid = ?"#)
            for var grant in grants {
                change(&grant)
                try statement.execute(arguments: [grant.dueAt?.milliseconds, grant.diesAt?.milliseconds, grant.warnAt?.milliseconds, grant.uid.text])
            }
        }
    }

    package func setHealth(_ health: Connection.Health, connection: UID, expectedRevision: Int, events: [WebhookEvent]) async throws {
        try await write { database in
            let before = try String.fetchOne(database, sql: "SELECT health FROM connection WHERE uid = ?", arguments: [connection.text])
            try database.execute(
                sql: """
                    UPDATE connection SET health = ?1, health_reason = ?2, health_since = ?3
                    WHERE uid = ?4 AND revision = ?5 AND NOT (health = 'misconfigured' AND ?1 = 'provider_down')
                    """, arguments: [health.state.rawValue, health.reason, health.since.milliseconds, connection.text, expectedRevision])
            if let before, before != health.state.rawValue, database.changesCount == 1 { try Self.announce(events, in: database) }
        }
    }

    package func deleteConnection(_ uid: UID) async throws {
        try await write { database in
            try Self.giveUpOrphans(of: uid, in: database)
            try database.execute(sql: "DELETE FROM data_key WHERE scope = ?", arguments: [uid.text])
            try database.execute(sql: "DELETE FROM connection WHERE uid = ?", arguments: [uid.text])
        }
        try await checkpoint()
    }

    // MARK: Keys, data keys

    private static let keyValues = ":id, :name, :hash, :role, :connections, :subjects, :requests_per_minute, :created_at, :expires_at, :last_used_at"

    package func insert(_ key: APIKey) async throws {
        try await write { try $0.execute(sql: "INSERT INTO api_key VALUES (\(Self.keyValues))", arguments: try key.columns) }
    }

    package func put(_ key: APIKey) async throws {
        try await write { try $0.execute(sql: "INSERT OR REPLACE INTO api_key VALUES (\(Self.keyValues))", arguments: try key.columns) }
    }

    package func keys() async throws -> [APIKey] {
        try await read { try Row.fetchAll($0, sql: "SELECT * FROM api_key ORDER BY created_at, id").map(APIKey.init) }
    }

    package func touchKeys(_ lastUsed: [String: Timestamp]) async throws {
        try await write { database in
            let statement = try database.cachedStatement(sql: "UPDATE api_key SET last_used_at = max(coalesce(last_used_at, 0), ?) WHERE id = ?")
            for (id, time) in lastUsed { try statement.execute(arguments: [time.milliseconds, id]) }
        }
    }

    package func deleteKey(id: String) async throws -> Bool {
        try await write { database in
            try database.execute(sql: "DELETE FROM api_key WHERE id = ?", arguments: [id])
            return database.changesCount == 1
        }
    }

    package func dataKeys() async throws -> [DataKeyRecord] {
        try await read { database in
            try Row.fetchAll(database, sql: "SELECT * FROM data_key ORDER BY id").map(DataKeyRecord.init)
        }
    }

    package func insertDataKey(scope: String, masterKeyID: String, wrapped: [UInt8]) async throws -> Int {
        try await write { database in
            try database.execute(
                sql: "INSERT INTO data_key (scope, master_key_id, wrapped) VALUES (?, ?, ?)", arguments: [scope, masterKeyID, Data(wrapped)])
            return Int(database.lastInsertedRowID)
        }
    }

    package func deleteDataKey(scope: String) async throws {
        try await write { try $0.execute(sql: "DELETE FROM data_key WHERE scope = ?", arguments: [scope]) }
        try await checkpoint()
    }

    package func meta(_ name: String) async throws -> [UInt8]? {
        try await read { try Data.fetchOne($0, sql: "SELECT value FROM meta WHERE name = ?", arguments: [name]).map { Array($0) } }
    }

    package func setMeta(_ name: String, _ value: [UInt8]) async throws {
        try await write { try $0.execute(sql: "INSERT OR REPLACE INTO meta VALUES (?, ?)", arguments: [name, Data(value)]) }
    }

    package func changeMeta(_ values: [String: [UInt8]?]) async throws {
        try await write { database in
            for (name, value) in values {
                if let value {
                    try database.execute(sql: "INSERT OR REPLACE INTO meta VALUES (?, ?)", arguments: [name, Data(value)])
                } else {
                    try database.execute(sql: "DELETE FROM meta WHERE name = ?", arguments: [name])
                }
            }
        }
    }

    /// Leaves the whole database in its one file.
    package func close() async throws {
        try await checkpoint()
        do {
            try pool.close()
        } catch {
            throw StoreError(error)
        }
    }
}

import Foundation
import GRDB
package import Vault

extension SQLiteStore {
    package func put(_ trouble: Trouble, connection: UID) async throws {
        try await write { database in
            // Of a connection that is gone meanwhile nothing is kept.
            try database.execute(
                sql: "INSERT OR REPLACE INTO trouble SELECT uid, ?, ?, ? FROM connection WHERE uid = ?",
                arguments: [trouble.stage.rawValue, trouble.at.milliseconds, try storedJSON(trouble), connection.text])
        }
    }

    package func troubles(connection: UID) async throws -> [Trouble] {
        try await read { database in
            try Row.fetchAll(
                database, sql: "SELECT record FROM trouble WHERE connection_uid = ? ORDER BY at DESC, stage", arguments: [connection.text]
            )
            .map { try $0.json("record") }
        }
    }

    package func deleteTroubles(connection: UID, stages: [Trouble.Stage]) async throws {
        try await write { database in
            for stage in stages {
                try database.execute(sql: "DELETE FROM trouble WHERE connection_uid = ? AND stage = ?", arguments: [connection.text, stage.rawValue])
            }
        }
    }

    package func lastTrip(connection: UID) async throws -> LastTrip? {
        try await read { database in
            try Row.fetchOne(
                database,
                sql:
                    "SELECT session_id, created_at, consumed_at FROM authorization_attempt WHERE connection_uid = ? ORDER BY created_at DESC LIMIT 1",
                arguments: [connection.text]
            ).map {
                LastTrip(sessionID: try $0.text("session_id"), startedAt: try $0.time("created_at"), cameBack: $0.optionalTime("consumed_at") != nil)
            }
        }
    }
}

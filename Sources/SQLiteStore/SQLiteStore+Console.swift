import Foundation
import GRDB
package import Vault

extension SQLiteStore {
    package func insert(_ session: ConsoleSession) async throws {
        try await write { database in
            try database.execute(
                sql: "INSERT INTO console_session VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                arguments: [
                    session.id, Data(session.tokenHash), session.keyID, session.createdAt.milliseconds, session.lastSeenAt.milliseconds,
                    session.expiresAt.milliseconds, session.userAgent, session.address,
                ])
        }
    }

    package func consoleSession(tokenHash: [UInt8]) async throws -> ConsoleSession? {
        try await read {
            try Row.fetchOne($0, sql: "SELECT * FROM console_session WHERE token_hash = ?", arguments: [Data(tokenHash)]).map(ConsoleSession.init)
        }
    }

    package func consoleSessions(key: String?) async throws -> [ConsoleSession] {
        try await read {
            try Row.fetchAll(
                $0, sql: "SELECT * FROM console_session WHERE key_id = ifnull(?, key_id) ORDER BY created_at DESC, id", arguments: [key]
            ).map(ConsoleSession.init)
        }
    }

    package func touchConsoleSession(id: String, at: Timestamp) async throws {
        try await write { database in
            try database.execute(
                sql: "UPDATE console_session SET last_seen_at = ? WHERE id = ? AND last_seen_at < ?", arguments: [at.milliseconds, id, at.milliseconds])
        }
    }

    package func deleteConsoleSession(id: String) async throws -> Bool {
        try await write { database in
            try database.execute(sql: "DELETE FROM console_session WHERE id = ?", arguments: [id])
            return database.changesCount == 1
        }
    }

    package func deleteConsoleSessions(key: String?) async throws -> [String] {
        try await write {
            try String.fetchAll($0, sql: "DELETE FROM console_session WHERE key_id = ifnull(?, key_id) RETURNING id", arguments: [key])
        }
    }

    package func insert(_ link: SignInLink) async throws {
        try await write { database in
            try database.execute(
                sql: "INSERT INTO sign_in_link VALUES (?, ?, ?)", arguments: [Data(link.codeHash), link.keyID, link.expiresAt.milliseconds])
        }
    }

    package func takeSignInLink(codeHash: [UInt8], now: Timestamp) async throws -> SignInLink? {
        try await write {
            try Row.fetchOne(
                $0, sql: "DELETE FROM sign_in_link WHERE code_hash = ? AND expires_at > ? RETURNING *", arguments: [Data(codeHash), now.milliseconds]
            ).map(SignInLink.init)
        }
    }

    package func deleteSignInLinks(key: String?) async throws {
        try await write { try $0.execute(sql: "DELETE FROM sign_in_link WHERE key_id = ifnull(?, key_id)", arguments: [key]) }
    }
}

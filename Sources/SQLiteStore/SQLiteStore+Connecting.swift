import Foundation
import GRDB
package import Vault

extension SQLiteStore {
    package func insert(_ session: ConnectSession) async throws {
        try await write { database in
            try database.execute(
                sql: "INSERT INTO connect_session VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                arguments: [
                    session.id, Data(session.ticketHash), session.connectionUID.text, session.subject, try storedJSON(session.options), session.state.rawValue,
                    session.error, session.errorDetail, session.grantUID?.text, session.appName, session.keyID, session.createdAt.milliseconds,
                    session.expiresAt.milliseconds,
                ])
        }
    }

    package func session(id: String) async throws -> ConnectSession? {
        try await read { try Row.fetchOne($0, sql: "SELECT * FROM connect_session WHERE id = ?", arguments: [id]).map(ConnectSession.init) }
    }

    package func session(ticketHash: [UInt8]) async throws -> ConnectSession? {
        try await read {
            try Row.fetchOne($0, sql: "SELECT * FROM connect_session WHERE ticket_hash = ?", arguments: [Data(ticketHash)]).map(ConnectSession.init)
        }
    }

    package func moveSession(
        _ id: String, from: [ConnectSession.State], to: ConnectSession.State, error: String?, errorDetail: String?, grant: UID?
    ) async throws -> Bool {
        try await write { database in
            let marks = from.map { _ in "?" }.joined(separator: ", ")
            var arguments: StatementArguments = [to.rawValue, error, errorDetail, grant?.text, id]
            arguments += StatementArguments(from.map(\.rawValue))
            try database.execute(
                sql: "UPDATE connect_session SET state = ?, error = ?, error_detail = ?, grant_uid = ? WHERE id = ? AND state IN (\(marks))",
                arguments: arguments)
            return database.changesCount == 1
        }
    }

    package func setOptions(_ options: ConnectSession.Options, session: String) async throws -> Bool {
        try await write { database in
            try database.execute(
                sql: "UPDATE connect_session SET options = ? WHERE id = ? AND state IN ('open', 'failed')", arguments: [try storedJSON(options), session])
            return database.changesCount == 1
        }
    }

    package func insert(_ attempt: AuthorizationAttempt) async throws {
        try await write { database in
            try database.execute(
                sql: "INSERT INTO authorization_attempt VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)",
                arguments: [
                    Data(attempt.stateHash), attempt.sessionID, attempt.connectionUID.text, attempt.connectionRevision, Data(attempt.bindingHash),
                    attempt.pending.data, attempt.createdAt.milliseconds, attempt.expiresAt.milliseconds,
                ])
        }
    }

    package func takeAttempt(stateHash: [UInt8], now: Timestamp) async throws -> TakenAttempt {
        try await write { database in
            let taken = try Row.fetchOne(
                database,
                sql: "UPDATE authorization_attempt SET consumed_at = ? WHERE state_hash = ? AND consumed_at IS NULL AND expires_at > ? RETURNING *",
                arguments: [now.milliseconds, Data(stateHash), now.milliseconds])
            if let taken { return .taken(try AuthorizationAttempt(taken)) }
            guard
                let row = try Row.fetchOne(
                    database, sql: "SELECT session_id, consumed_at FROM authorization_attempt WHERE state_hash = ?", arguments: [Data(stateHash)])
            else { return .unknown }
            let sessionID = try row.text("session_id")
            return row.optionalInteger("consumed_at") == nil ? .expired(sessionID: sessionID) : .alreadyTaken(sessionID: sessionID)
        }
    }

    package func put(_ completion: Completion) async throws {
        try await write { database in
            try database.execute(
                sql: "INSERT OR REPLACE INTO completion VALUES (?, ?, ?, ?, ?)",
                arguments: [
                    completion.sessionID, completion.connectionRevision, completion.code.data, try storedJSON(completion.captured),
                    completion.expiresAt.milliseconds,
                ])
        }
    }

    package func takeCompletion(sessionID: String) async throws -> Completion? {
        try await write {
            try Row.fetchOne($0, sql: "DELETE FROM completion WHERE session_id = ? RETURNING *", arguments: [sessionID]).map(Completion.init)
        }
    }

    package func completion(sessionID: String) async throws -> Completion? {
        try await read { try Row.fetchOne($0, sql: "SELECT * FROM completion WHERE session_id = ?", arguments: [sessionID]).map(Completion.init) }
    }

    package func sweep(now: Timestamp) async throws {
        let yesterday = now.milliseconds - 86_400_000
        try await write { database in
            try database.execute(sql: "DELETE FROM completion WHERE expires_at <= ?", arguments: [now.milliseconds])
            try database.execute(sql: "DELETE FROM console_session WHERE expires_at <= ?", arguments: [now.milliseconds])
            try database.execute(sql: "DELETE FROM sign_in_link WHERE expires_at <= ?", arguments: [now.milliseconds])
            // Spent attempts stay for a day, so that a late reload is told what became of it.
            try database.execute(sql: "DELETE FROM authorization_attempt WHERE expires_at <= ?", arguments: [yesterday])
            try database.execute(sql: "DELETE FROM connect_session WHERE expires_at <= ?", arguments: [yesterday])
        }
    }
}

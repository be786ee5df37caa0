import GRDB
package import Vault

extension SQLiteStore {
    // MARK: Orphans

    package func insert(_ orphan: OrphanToken) async throws {
        try await write { database in
            try database.execute(
                sql: "INSERT OR IGNORE INTO orphan_token VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                arguments: [
                    orphan.uid.text, orphan.connectionUID.text, orphan.accessToken?.data, orphan.refreshToken?.data, orphan.createdAt.milliseconds,
                    orphan.nextTryAt.milliseconds, orphan.tries, orphan.origin?.grantUID.text, orphan.origin?.generation, orphan.revocationID,
                ])
        }
    }

    package func orphan(uid: UID) async throws -> OrphanToken? {
        try await read { try Row.fetchOne($0, sql: "SELECT * FROM orphan_token WHERE uid = ?", arguments: [uid.text]).map(OrphanToken.init) }
    }

    package func orphans(due: Timestamp, limit: Int) async throws -> [OrphanToken] {
        try await read { database in
            try Row.fetchAll(
                database,
                sql: """
                    SELECT orphan_token.* FROM (
                        SELECT mine.uid, mine.next_try_at, row_number() OVER (PARTITION BY mine.connection_uid ORDER BY mine.next_try_at, mine.uid) AS turn
                        FROM connection CROSS JOIN orphan_token AS mine ON mine.uid IN (
                            SELECT uid FROM orphan_token WHERE connection_uid = connection.uid AND next_try_at <= ?1 ORDER BY next_try_at, uid LIMIT ?2)
                        ORDER BY turn, mine.next_try_at LIMIT ?2) AS due
                    CROSS JOIN orphan_token ON orphan_token.uid = due.uid ORDER BY due.turn, due.next_try_at
                    """, arguments: [due.milliseconds, limit]
            ).map(OrphanToken.init)
        }
    }

    /// One node takes nothing away from others: what it was given is due still.
    package func giveBack(orphans: [OrphanToken], due: Timestamp) async throws {}

    package func updateOrphan(_ uid: UID, nextTryAt: Timestamp, tries: Int) async throws {
        try await write {
            try $0.execute(sql: "UPDATE orphan_token SET next_try_at = ?, tries = ? WHERE uid = ?", arguments: [nextTryAt.milliseconds, tries, uid.text])
        }
    }

    package func postponeOrphans(connection: UID, dueBefore: Timestamp, until: Timestamp) async throws {
        try await write {
            try $0.execute(
                sql: "UPDATE orphan_token SET next_try_at = ?1 WHERE connection_uid = ?2 AND next_try_at < min(?1, ?3)",
                arguments: [until.milliseconds, connection.text, dueBefore.milliseconds])
        }
    }

    package func endOrphan(_ uid: UID, outcome: OrphanOutcome) async throws -> Bool {
        try await write { database in
            if case .failed(let reason) = outcome {
                try database.execute(
                    sql: Self.insertFailures + " WHERE orphan_token.uid = ? AND revocation_id IS NOT NULL", arguments: [reason.rawValue, uid.text])
            }
            let ended = try Row.fetchOne(database, sql: "DELETE FROM orphan_token WHERE uid = ? RETURNING revocation_id", arguments: [uid.text])
            guard let ended else { return false }
            if let revocation = ended.optionalText("revocation_id") {
                try database.execute(sql: "UPDATE revocation SET \(outcome.column) = \(outcome.column) + 1 WHERE id = ?", arguments: [revocation])
            }
            return true
        }
    }

    private static let insertFailures = #"""
        INSERT INTO revocation_failure (revocation_id, connection, subject, reason)
        SELECT revocation_id, connection.id, "grant".subject, ? FROM orphan_token
            JOIN connection ON connection.uid = orphan_token.connection_uid LEFT JOIN "grant" ON "grant".uid = orphan_token.grant_uid
        """#

    /// Before a connection's rows go, in the same transaction: what waits for its provider has failed.
    static func giveUpOrphans(of connection: UID, in database: Database) throws {
        let condition = "orphan_token.connection_uid = ? AND revocation_id IS NOT NULL"
        try database.execute(
            sql: insertFailures + " WHERE " + condition, arguments: [RevocationFailure.Reason.connectionRemoved.rawValue, connection.text])
        try database.execute(
            sql: """
                UPDATE revocation SET failed = failed + lost FROM (
                    SELECT revocation_id, count(*) AS lost FROM orphan_token WHERE \(condition) GROUP BY revocation_id) AS gone
                WHERE gone.revocation_id = revocation.id
                """, arguments: [connection.text])
    }

    // MARK: Many grants

    package func revoke(
        _ filter: RevocationFilter, at: Timestamp, askAt: Timestamp, revocation: String?, limit: Int,
        events: @escaping @Sendable (Grant, Connection) -> [WebhookEvent]
    ) async throws -> [RevokedGrant] {
        try await write { database in
            let (condition, arguments) = filter.condition
            let found = try Row.fetchAll(
                database,
                sql: #"""
                    SELECT uid, connection_uid, subject, token_generation, access_token IS NOT NULL OR refresh_token IS NOT NULL AS has_tokens
                    FROM "grant" WHERE \#(condition) LIMIT ?
                    """#, arguments: arguments + [limit]
            ).map { row in
                let uid = try row.uid("uid")
                let orphan = OrphanToken.uid(grant: uid, generation: try row.integer("token_generation"))
                return RevokedGrant(
                    uid: uid, connectionUID: try row.uid("connection_uid"), subject: try row.text("subject"),
                    orphan: try row.integer("has_tokens") != 0 ? orphan : nil)
            }
            guard !found.isEmpty else { return [] }
            let uids = try storedJSON(found.map(\.uid.text))
            try database.execute(
                sql: #"""
                    INSERT OR IGNORE INTO orphan_token
                    SELECT uid || ':' || token_generation, connection_uid, access_token, refresh_token, ?, ?, 0, uid, token_generation, ? FROM "grant"
                    WHERE uid IN (SELECT value FROM json_each(?)) AND (access_token IS NOT NULL OR refresh_token IS NOT NULL)
                    """#, arguments: [at.milliseconds, askAt.milliseconds, revocation, uids])
            try database.execute(
                sql: #"""
                    UPDATE "grant" SET state = 'revoked', state_reason = NULL, state_since = ?, token_generation = token_generation + 1, access_token = NULL,
                        refresh_token = NULL, expires_at = NULL, refresh_expires_at = NULL, \#(Self.nothingIsDue)
                    WHERE uid IN (SELECT value FROM json_each(?))
                    """#, arguments: [at.milliseconds, uids])
            try database.execute(sql: "DELETE FROM refresh_intent WHERE grant_uid IN (SELECT value FROM json_each(?))", arguments: [uids])
            try database.execute(
                sql: "UPDATE revocation SET grants = grants + ?, unsupported = unsupported + ? WHERE id = ?",
                arguments: [found.count, found.count { $0.orphan == nil }, revocation])
            try Self.announce(events, of: uids, in: database)
            return found
        }
    }

    /// Makes the events of so many grants only if somebody may want them.
    private static func announce(_ events: (Grant, Connection) -> [WebhookEvent], of uids: String, in database: Database) throws {
        guard try isAnybodyTold(in: database) else { return }
        var connections: [UID: Connection] = [:]
        let rows = try Row.fetchCursor(database, sql: #"SELECT * FROM "grant" WHERE uid IN (SELECT value FROM json_each(?))"#, arguments: [uids])
        var announced: [WebhookEvent] = []
        while let grant = try rows.next().map(Grant.init) {
            if connections[grant.connectionUID] == nil {
                connections[grant.connectionUID] = try Row.fetchOne(
                    database, sql: "SELECT * FROM connection WHERE uid = ?", arguments: [grant.connectionUID.text]
                ).map(Connection.init)
            }
            if let connection = connections[grant.connectionUID] { announced += events(grant, connection) }
        }
        try announce(announced, in: database)
    }

    package func wasGivenTokens(key: String) async throws -> Bool {
        try await read {
            try Bool.fetchOne($0, sql: "SELECT EXISTS (SELECT 1 FROM activity WHERE key = ? AND \(Self.isUse))", arguments: [key]) == true
        }
    }

    /// An entry of a grant's token that was used.
    fileprivate static let isUse = "action IN (" + Activity.uses.map { "'\($0)'" }.joined(separator: ", ") + ")"

    // MARK: The record

    package func insert(_ revocation: RevocationRecord) async throws {
        try await write { database in
            try database.execute(
                sql: "INSERT INTO revocation VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                arguments: [
                    revocation.id, try storedJSON(revocation.filter), revocation.connection, revocation.requestedBy, revocation.createdAt.milliseconds,
                    revocation.stoppedAt?.milliseconds, revocation.endedAt?.milliseconds, revocation.grants, revocation.revoked, revocation.unsupported,
                    revocation.failed,
                ])
        }
    }

    private static let selectRevocations =
        "SELECT *, (SELECT count(*) FROM orphan_token WHERE revocation_id = revocation.id) AS pending FROM revocation"

    package func revocation(id: String) async throws -> RevocationRecord? {
        try await read { try Row.fetchOne($0, sql: Self.selectRevocations + " WHERE id = ?", arguments: [id]).map(RevocationRecord.init) }
    }

    package func revocations(before: String?, limit: Int) async throws -> [RevocationRecord] {
        try await read {
            try Row.fetchAll($0, sql: Self.selectRevocations + " WHERE ?1 IS NULL OR id < ?1 ORDER BY id DESC LIMIT ?2", arguments: [before, limit])
                .map(RevocationRecord.init)
        }
    }

    package func unstoppedRevocations() async throws -> [RevocationRecord] {
        try await read {
            try Row.fetchAll($0, sql: Self.selectRevocations + " WHERE ended_at IS NULL AND stopped_at IS NULL ORDER BY id").map(RevocationRecord.init)
        }
    }

    package func endSessions(_ filter: RevocationFilter) async throws {
        try await write { database in
            try database.execute(
                sql: """
                    UPDATE connect_session SET state = 'expired' WHERE state IN ('open', 'pending')
                        AND (?1 IS NULL OR connection_uid = ?1) AND (?2 IS NULL OR subject = ?2) AND (?3 IS NULL OR key_id = ?3)
                    """, arguments: [filter.connection?.text, filter.subject, filter.key])
        }
    }

    package func noteStopped(revocation: String, at: Timestamp) async throws {
        try await write {
            try $0.execute(sql: "UPDATE revocation SET stopped_at = ? WHERE id = ? AND stopped_at IS NULL", arguments: [at.milliseconds, revocation])
        }
    }

    package func endRevocations(at: Timestamp) async throws {
        let condition = """
            ended_at IS NULL AND stopped_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM orphan_token WHERE revocation_id = revocation.id)
            """
        // Asked each second, and seldom so: a read waits for no writer.
        guard try await read({ try Bool.fetchOne($0, sql: "SELECT EXISTS (SELECT 1 FROM revocation WHERE \(condition))") }) == true else { return }
        try await write { try $0.execute(sql: "UPDATE revocation SET ended_at = ? WHERE \(condition)", arguments: [at.milliseconds]) }
    }

    package func failures(revocation: String, limit: Int) async throws -> [RevocationFailure] {
        try await read {
            try Row.fetchAll(
                $0, sql: "SELECT * FROM revocation_failure WHERE revocation_id = ? ORDER BY sequence LIMIT ?", arguments: [revocation, limit]
            ).map { RevocationFailure(connection: try $0.text("connection"), subject: $0.optionalText("subject"), reason: try $0.choice("reason")) }
        }
    }
}

extension RevocationFilter {
    /// Of grants that are not revoked yet.
    fileprivate var condition: (sql: String, arguments: StatementArguments) {
        var conditions = ["state <> 'revoked'"]
        var arguments = StatementArguments()
        func require(_ condition: String, _ value: String?) {
            guard let value else { return }
            conditions.append(condition)
            arguments += [value]
        }
        require("uid = ?", grant?.text)
        require("connection_uid = ?", connection?.text)
        require("subject = ?", subject)
        require("(connection_uid, subject) IN (SELECT connection_uid, coalesce(subject, '') FROM activity WHERE key = ? AND \(SQLiteStore.isUse))", key)
        return (conditions.joined(separator: " AND "), arguments)
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

import GRDB
package import Vault

extension SQLiteStore {
    package func grant(connection: UID, subject: String, slot: String) async throws -> Grant? {
        try await read { database in
            let statement = try database.cachedStatement(sql: #"SELECT * FROM "grant" WHERE connection_uid = ? AND subject = ? AND slot = ?"#)
            return try Row.fetchOne(statement, arguments: [connection.text, subject, slot]).map(Grant.init)
        }
    }

    package func grant(uid: UID) async throws -> Grant? {
        try await read { try Row.fetchOne($0, sql: #"SELECT * FROM "grant" WHERE uid = ?"#, arguments: [uid.text]).map(Grant.init) }
    }

    package func put(_ grant: Grant, expectedGeneration: Int?, events: [WebhookEvent]) async throws -> Bool {
        Failpoint.pass("store.put")
        return try await write { database in
            if let expectedGeneration {
                // A use that was noted meanwhile is not undone by a grant that was read before it.
                let sets = Grant.columnNames.filter { $0 != "uid" && $0 != "last_used_at" }.map { "\($0) = :\($0)" }.joined(separator: ", ")
                var arguments = try grant.columns
                arguments += ["expected": expectedGeneration]
                // What was voided since the grant was read is not revived by a renewal that was on its way.
                let statement = try database.cachedStatement(
                    sql: #"""
                        UPDATE "grant" SET \#(sets) WHERE uid = :uid AND token_generation = :expected
                            AND NOT (:state = 'active' AND state_reason IS 'host_changed' AND state_since > :state_since)
                        """#)
                try statement.execute(arguments: arguments)
                guard database.changesCount == 1 else { return false }
            } else {
                let values = Grant.columnNames.map { ":" + $0 }.joined(separator: ", ")
                do {
                    try database.execute(
                        sql: #"INSERT INTO "grant" (\#(Grant.columnNames.joined(separator: ", "))) VALUES (\#(values))"#, arguments: try grant.columns)
                } catch let error as DatabaseError
                    where error.extendedResultCode == .SQLITE_CONSTRAINT_UNIQUE || error.extendedResultCode == .SQLITE_CONSTRAINT_PRIMARYKEY
                {
                    return false
                }
            }
            try database.execute(sql: "DELETE FROM refresh_intent WHERE grant_uid = ?", arguments: [grant.uid.text])
            try Self.announce(events, in: database)
            return true
        }
    }

    package func setState(
        _ state: Grant.State, reason: String?, at: Timestamp, grant: UID, expectedGeneration: Int, events: [WebhookEvent]
    ) async throws -> Bool {
        try await write { database in
            try database.execute(
                sql: #"""
                    UPDATE "grant" SET state = ?, state_reason = ?, state_since = ?, \#(Self.nothingIsDue)
                    WHERE uid = ? AND token_generation = ? AND state = 'active'
                    """#,
                arguments: [state.rawValue, reason, at.milliseconds, grant.text, expectedGeneration])
            guard database.changesCount == 1 else { return false }
            try Self.announce(events, in: database)
            return true
        }
    }

    /// Of a grant that is not active: nobody renews it, and nobody is told of its end.
    static let nothingIsDue = "next_refresh_at = NULL, due_at = NULL, dies_at = NULL, warn_at = NULL"

    // MARK: Keeping alive

    package func connectionsDue(now: Timestamp) async throws -> [UID] {
        try await read { database in
            try String.fetchAll(
                database,
                sql: #"""
                    SELECT uid FROM connection AS c WHERE keep_alive AND health <> 'misconfigured'
                        AND EXISTS (SELECT 1 FROM "grant" WHERE connection_uid = c.uid AND due_at <= ?)
                    """#, arguments: [now.milliseconds]
            ).map(UID.init(text:))
        }
    }

    package func claimDue(connection: UID, now: Timestamp, limit: Int, until: Timestamp) async throws -> [Grant] {
        try await write { database in
            let grants = try Row.fetchAll(
                database, sql: #"SELECT * FROM "grant" WHERE connection_uid = ? AND due_at <= ? ORDER BY due_at LIMIT ?"#,
                arguments: [connection.text, now.milliseconds, limit]
            ).map(Grant.init)
            let statement = try database.cachedStatement(sql: #"UPDATE "grant" SET due_at = ? WHERE uid = ?"#)
            for grant in grants { try statement.execute(arguments: [until.milliseconds, grant.uid.text]) }
            return grants
        }
    }

    package func postpone(grant: UID, expectedGeneration: Int, until: Timestamp) async throws {
        try await write { database in
            try database.execute(
                sql: #"UPDATE "grant" SET due_at = ? WHERE uid = ? AND token_generation = ? AND due_at IS NOT NULL"#,
                arguments: [until.milliseconds, grant.text, expectedGeneration])
        }
    }

    package func hastenDue(notAfter: Timestamp) async throws {
        let now = notAfter.milliseconds
        // What failed is put off for an hour and a quarter at most, what a provider or receiver asks for is a day.
        let (furthestDue, furthestTry) = (now + 4_500_000, now + 87_000_000)
        try await write { database in
            try database.execute(
                sql: #"""
                    UPDATE "grant" SET due_at = ?1 WHERE due_at IS NOT NULL
                        AND (coalesce(refreshed_at, created_at) > ?1 OR (due_at > ?2 AND due_at > coalesce(expires_at, dies_at, 0)))
                    """#, arguments: [now, furthestDue])
            try database.execute(sql: "UPDATE orphan_token SET next_try_at = ?1 WHERE next_try_at > ?2", arguments: [now, furthestTry])
            try database.execute(sql: "UPDATE delivery SET next_try_at = ?1 WHERE next_try_at > ?2", arguments: [now, furthestTry])
        }
    }

    package func grantsToWarn(now: Timestamp, limit: Int) async throws -> [Grant] {
        try await read {
            try Row.fetchAll($0, sql: #"SELECT * FROM "grant" WHERE warn_at <= ? ORDER BY warn_at LIMIT ?"#, arguments: [now.milliseconds, limit])
                .map(Grant.init)
        }
    }

    package func noteWarned(grant: UID, expectedGeneration: Int, events: [WebhookEvent]) async throws -> Bool {
        try await write { database in
            try database.execute(
                sql: #"UPDATE "grant" SET warn_at = NULL WHERE uid = ? AND token_generation = ? AND warn_at IS NOT NULL"#,
                arguments: [grant.text, expectedGeneration])
            guard database.changesCount == 1 else { return false }
            try Self.announce(events, in: database)
            return true
        }
    }

    package func noteSecretWarned(connection: UID, expiry: Timestamp, events: [WebhookEvent]) async throws -> Bool {
        try await write { database in
            try database.execute(
                sql: "UPDATE connection SET secret_warned_for = ?1 WHERE uid = ?2 AND secret_warned_for IS NOT ?1",
                arguments: [expiry.milliseconds, connection.text])
            guard database.changesCount == 1 else { return false }
            try Self.announce(events, in: database)
            return true
        }
    }

    package func grants(filter: GrantFilter, after: UID?, limit: Int) async throws -> [Grant] {
        try await read { database in
            var conditions: [String] = []
            var arguments = StatementArguments()
            func require(_ condition: String, _ value: (any DatabaseValueConvertible)?) {
                guard let value else { return }
                conditions.append(condition)
                arguments += [value]
            }
            func requireOne(of values: [String]?, _ column: String) {
                guard let values else { return }
                conditions.append("\(column) IN (\(values.map { _ in "?" }.joined(separator: ", ")))")
                arguments += StatementArguments(values)
            }
            require("connection_uid = ?", filter.connection?.text)
            requireOne(of: filter.connections?.map(\.text), "connection_uid")
            require("subject = ?", filter.subject)
            requireOne(of: filter.subjects, "subject")
            switch filter.state {
            case "active": require("state = 'active' AND (expires_at IS NULL OR expires_at > ?)", filter.now.milliseconds)
            case "expired": require("state = 'active' AND expires_at <= ?", filter.now.milliseconds)
            case let state?: require("state = ?", state)
            case nil: break
            }
            require("dies_at < ?", filter.diesBefore?.milliseconds)
            let order = filter.worstFirst ? Self.worstFirst(now: filter.now) : "uid"
            if filter.worstFirst {
                require(#"(\#(order)) > (SELECT \#(order) FROM "grant" WHERE uid = ?)"#, after?.text)
            } else {
                require("uid > ?", after?.text)
            }
            let condition = conditions.isEmpty ? "" : "WHERE " + conditions.joined(separator: " AND ")
            arguments += [limit]
            return try Row.fetchAll(database, sql: #"SELECT * FROM "grant" \#(condition) ORDER BY \#(order) LIMIT ?"#, arguments: arguments)
                .map(Grant.init)
        }
    }

    /// What does not work, what works by the time of its death, what is revoked. An access token that nobody renews is the grant's end.
    private static func worstFirst(now: Timestamp) -> String {
        """
        CASE state WHEN 'reauthorization_required' THEN 0 WHEN 'revoked' THEN 3
            ELSE CASE WHEN next_refresh_at IS NULL AND expires_at <= \(now.milliseconds) THEN 1 ELSE 2 END END, \
        coalesce(dies_at, CASE WHEN next_refresh_at IS NULL THEN expires_at END, 9223372036854775807), uid
        """
    }

    package func touchGrants(_ lastUsed: [UID: Timestamp]) async throws {
        try await write { database in
            let statement = try database.cachedStatement(sql: #"UPDATE "grant" SET last_used_at = max(coalesce(last_used_at, 0), ?) WHERE uid = ?"#)
            for (uid, at) in lastUsed { try statement.execute(arguments: [at.milliseconds, uid.text]) }
        }
    }

    package func grantCounts(now: Timestamp) async throws -> [String: Int] {
        try await read { database in
            let rows = try Row.fetchAll(
                database,
                sql: #"""
                    SELECT CASE WHEN state = 'active' AND expires_at <= ? THEN 'expired' ELSE state END AS shown, count(*) AS n
                    FROM "grant" GROUP BY shown
                    """#, arguments: [now.milliseconds])
            return Dictionary(try rows.map { (try $0.text("shown"), try $0.integer("n")) }) { a, b in a + b }
        }
    }

    // MARK: Refresh

    package func beginRefresh(grant: UID, generation: Int, at: Timestamp, lease: LeaseClaim?) async throws -> Int? {
        try await write { database in
            let current = try Int.fetchOne(database, sql: #"SELECT token_generation FROM "grant" WHERE uid = ?"#, arguments: [grant.text])
            guard current == generation else { return nil }
            return try Int.fetchOne(
                database,
                sql: """
                    INSERT INTO refresh_intent VALUES (?, ?, ?, 1)
                    ON CONFLICT (grant_uid) DO UPDATE SET sent_at = excluded.sent_at, generation = excluded.generation,
                        attempts = CASE WHEN generation = excluded.generation THEN attempts + 1 ELSE 1 END
                    RETURNING attempts
                    """, arguments: [grant.text, generation, at.milliseconds])
        }
    }

    package func clearIntent(grant: UID, generation: Int) async throws {
        try await write { try $0.execute(sql: "DELETE FROM refresh_intent WHERE grant_uid = ? AND generation = ?", arguments: [grant.text, generation]) }
    }

    package func intent(grant: UID) async throws -> RefreshIntent? {
        try await read { database in
            try Row.fetchOne(database, sql: "SELECT * FROM refresh_intent WHERE grant_uid = ?", arguments: [grant.text]).map(RefreshIntent.init)
        }
    }
}

package import Vault

extension PostgresStore {
    // MARK: Many grants

    package func revoke(
        _ filter: RevocationFilter, at: Timestamp, askAt: Timestamp, revocation: String?, limit: Int,
        events: @escaping @Sendable (Grant, Connection) -> [WebhookEvent]
    ) async throws -> [RevokedGrant] {
        try await write(within: .seconds(30)) { session in
            try Self.holdConnections(of: filter, in: session)
            let condition = filter.condition
            // Whoever comes second waits for a row, and finds that it is revoked: each grant is counted once.
            let found = try session.rows(
                #"""
                SELECT uid, connection_uid, subject, token_generation, access_token IS NOT NULL OR refresh_token IS NOT NULL AS has_tokens
                FROM "grant" WHERE \#(condition.sql) ORDER BY uid LIMIT $\#(condition.parameters.count + 1) FOR NO KEY UPDATE
                """#, condition.parameters + [limit]
            ).map { row in
                let uid = try row.uid("uid")
                let orphan = OrphanToken.uid(grant: uid, generation: try row.integer("token_generation"))
                return RevokedGrant(
                    uid: uid, connectionUID: try row.uid("connection_uid"), subject: try row.text("subject"),
                    orphan: try row.boolean("has_tokens") ? orphan : nil)
            }
            guard !found.isEmpty else { return [] }
            let uids = ArrayOf(found.map(\.uid))
            try Self.turnIntoTombstones(uids, at: at, askAt: askAt, revocation: revocation, in: session)
            if let revocation {
                try session.execute(
                    "UPDATE revocation SET grants = grants + $1, unsupported = unsupported + $2 WHERE id = $3",
                    [found.count, found.count { $0.orphan == nil }, revocation])
            }
            try Self.announce(events, of: uids, in: session)
            return found
        }
    }

    /// Before grants, as whoever removes a connection does: what becomes an orphan needs its connection.
    private static func holdConnections(of filter: RevocationFilter, in session: Session) throws {
        try session.execute(
            #"""
            SELECT uid FROM connection WHERE ($1::text IS NULL OR uid = $1)
                AND ($2::text IS NULL OR uid = (SELECT connection_uid FROM "grant" WHERE uid = $2)) ORDER BY uid FOR KEY SHARE
            """#, [filter.connection, filter.grant])
    }

    private static func turnIntoTombstones(
        _ uids: ArrayOf<UID>, at: Timestamp, askAt: Timestamp, revocation: String?, in session: Session
    ) throws {
        try session.execute(
            #"""
            INSERT INTO orphan_token
                (uid, connection_uid, access_token, refresh_token, created_at, next_try_at, tries, grant_uid, generation, revocation_id)
            SELECT uid || ':' || token_generation, connection_uid, access_token, refresh_token, $1, $2, 0, uid, token_generation, $3 FROM "grant"
            WHERE uid = ANY ($4) AND (access_token IS NOT NULL OR refresh_token IS NOT NULL) ORDER BY uid ON CONFLICT (uid) DO NOTHING
            """#, [at, askAt, revocation, uids])
        try session.execute(
            #"""
            UPDATE "grant" SET state = 'revoked', state_reason = NULL, state_since = $1, token_generation = token_generation + 1, access_token = NULL,
                refresh_token = NULL, expires_at = NULL, refresh_expires_at = NULL, \#(nothingIsDue)
            WHERE uid = ANY ($2)
            """#, [at, uids])
        try session.execute("DELETE FROM refresh_intent WHERE grant_uid = ANY ($1)", [uids])
    }

    /// Makes the events of so many grants only if somebody may want them.
    private static func announce(_ events: (Grant, Connection) -> [WebhookEvent], of uids: ArrayOf<UID>, in session: Session) throws {
        guard try isAnybodyTold(in: session) else { return }
        var connections: [UID: Connection] = [:]
        var announced: [WebhookEvent] = []
        for row in try session.rows(#"SELECT * FROM "grant" WHERE uid = ANY ($1) ORDER BY uid"#, [uids]) {
            let grant = try Grant(row)
            if connections[grant.connectionUID] == nil {
                connections[grant.connectionUID] = try session.row("SELECT * FROM connection WHERE uid = $1", [grant.connectionUID])
                    .map(Connection.init)
            }
            if let connection = connections[grant.connectionUID] { announced += events(grant, connection) }
        }
        try announce(announced, in: session)
    }

    package func wasGivenTokens(key: String) async throws -> Bool {
        try await read { try $0.row("SELECT uid FROM activity WHERE key = $1 AND \(Self.isUse) LIMIT 1", [key]) != nil }
    }

    /// An entry of a grant's token that was used.
    fileprivate static let isUse = "action IN (" + Activity.uses.map { "'\($0)'" }.joined(separator: ", ") + ")"

    /// Connect sessions: many at once are locked in one order.
    package func endSessions(_ filter: RevocationFilter) async throws {
        try await write { session in
            try session.execute(
                """
                UPDATE connect_session SET state = 'expired' WHERE state IN ('open', 'pending') AND id IN (
                    SELECT id FROM connect_session WHERE state IN ('open', 'pending') AND ($1::text IS NULL OR connection_uid = $1)
                        AND ($2::text IS NULL OR subject = $2) AND ($3::text IS NULL OR key_id = $3) ORDER BY id FOR NO KEY UPDATE)
                """, [filter.connection, filter.subject, filter.key])
        }
    }
}

extension RevocationFilter {
    /// Of grants that are not revoked yet.
    fileprivate var condition: (sql: String, parameters: [any Bindable]) {
        var conditions = ["state <> 'revoked'"]
        var parameters: [any Bindable] = []
        func require(_ condition: (String) -> String, _ value: (any Bindable)?) {
            guard let value else { return }
            parameters.append(value)
            conditions.append(condition("$\(parameters.count)"))
        }
        require({ "uid = \($0)" }, grant)
        require({ "connection_uid = \($0)" }, connection)
        require({ "subject = \($0)" }, subject)
        require(
            { "(connection_uid, subject) IN (SELECT connection_uid, coalesce(subject, '') FROM activity WHERE key = \($0) AND \(PostgresStore.isUse))" }, key)
        return (conditions.joined(separator: " AND "), parameters)
    }
}

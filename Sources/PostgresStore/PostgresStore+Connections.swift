package import Vault

extension PostgresStore {
    package func insert(_ connection: Connection) async throws {
        try await write { session in
            let columns = try connection.columns
            try session.execute("INSERT INTO connection \(columns.insertion)", columns.values)
        }
    }

    package func connection(id: String) async throws -> Connection? {
        try await read { try $0.row("SELECT * FROM connection WHERE id = $1", [id]).map(Connection.init) }
    }

    package func connection(uid: UID) async throws -> Connection? {
        try await read { try $0.row("SELECT * FROM connection WHERE uid = $1", [uid]).map(Connection.init) }
    }

    package func connections(after: String?, limit: Int) async throws -> [Connection] {
        try await read { try $0.rows("SELECT * FROM connection WHERE id > $1 ORDER BY id LIMIT $2", [after ?? "", limit]).map(Connection.init) }
    }

    package func update(_ connection: Connection, expectedRevision: Int, grants change: GrantsChange) async throws -> Bool {
        try await write(within: Self.patienceForMany) { session in
            // Its row stays locked from here on.
            let changed = try session.change(
                """
                UPDATE connection SET settings = $1, client_secret = $2, password = $3, health = $4, health_reason = $5, health_since = $6,
                    updated_at = $7, keep_alive = $8, revision = revision + 1
                WHERE uid = $9 AND revision = $10
                """,
                [
                    try storedJSON(connection.settings), connection.clientSecret, connection.password, connection.health.state.rawValue,
                    connection.health.reason, connection.health.since, connection.updatedAt, connection.settings.keepAlive, connection.uid,
                    expectedRevision,
                ])
            guard changed == 1 else { return false }
            switch change {
            case .none: break
            case .void(let events): try Self.void(grantsOf: connection, events: events, in: session)
            case .endings(let change): try Self.changeEndings(ofGrantsOf: connection, change, in: session)
            }
            return true
        }
    }

    /// For a transaction that changes all grants of a connection.
    private static let patienceForMany: Duration = .seconds(60)

    private static func void(grantsOf connection: Connection, events: (Grant) -> [WebhookEvent], in session: Session) throws {
        let uids = try lockGrants(of: connection.uid, "state <> 'revoked'", in: session)
        for chunk in uids.chunks {
            if try isAnybodyTold(in: session) {
                let grants = try session.rows(
                    #"SELECT * FROM "grant" WHERE uid = ANY($1) AND state_reason IS DISTINCT FROM 'host_changed' ORDER BY uid"#, [chunk]
                ).map(Grant.init)
                try announce(grants.flatMap(events), in: session)
            }
            try session.execute(
                #"""
                UPDATE "grant" SET state = 'reauthorization_required', state_reason = 'host_changed', state_since = $1, \#(nothingIsDue)
                WHERE uid = ANY($2)
                """#, [connection.updatedAt, chunk])
        }
    }

    private static func changeEndings(ofGrantsOf connection: Connection, _ change: (inout Grant) -> Void, in session: Session) throws {
        let uids = try lockGrants(of: connection.uid, "state = 'active' AND refresh_token IS NOT NULL", in: session)
        for chunk in uids.chunks {
            var grants = try session.rows(#"SELECT * FROM "grant" WHERE uid = ANY($1)"#, [chunk]).map(Grant.init)
            for index in grants.indices { change(&grants[index]) }
            try session.execute(
                #"""
                UPDATE "grant" SET due_at = new.due_at, dies_at = new.dies_at, warn_at = new.warn_at
                FROM unnest($1, $2, $3, $4) AS new (uid, due_at, dies_at, warn_at) WHERE "grant".uid = new.uid
                """#,
                [ArrayOf(grants.map(\.uid)), ArrayOf(grants.map(\.dueAt)), ArrayOf(grants.map(\.diesAt)), ArrayOf(grants.map(\.warnAt))])
        }
    }

    /// Locks many in the one order in which everybody does, so that none waits for another in a circle.
    private static func lockGrants(of connection: UID, _ condition: String, for strength: String = "NO KEY UPDATE", in session: Session) throws -> [UID] {
        try session.rows(#"SELECT uid FROM "grant" WHERE connection_uid = $1 AND \#(condition) ORDER BY uid FOR \#(strength)"#, [connection])
            .map { try $0.uid("uid") }
    }

    package func setHealth(_ health: Connection.Health, connection: UID, expectedRevision: Int, events: [WebhookEvent]) async throws {
        try await write { session in
            // Locked before it is read: of two nodes that see one outage, one is the first.
            guard let before = try session.row("SELECT health FROM connection WHERE uid = $1 FOR NO KEY UPDATE", [connection]) else { return }
            let changed = try session.change(
                """
                UPDATE connection SET health = $1, health_reason = $2, health_since = $3
                WHERE uid = $4 AND revision = $5 AND NOT (health = 'misconfigured' AND $1 = 'provider_down')
                """, [health.state.rawValue, health.reason, health.since, connection, expectedRevision])
            if changed == 1, try before.text("health") != health.state.rawValue { try Self.announce(events, in: session) }
        }
    }

    package func deleteConnection(_ uid: UID) async throws {
        try await write(within: Self.patienceForMany) { session in
            // From here on nothing of it is added: that would need its row.
            try session.execute("SELECT uid FROM connection WHERE uid = $1 FOR UPDATE", [uid])
            _ = try Self.lockGrants(of: uid, "true", for: "UPDATE", in: session)
            try Self.giveUpOrphans(of: uid, in: session)
            try session.execute("DELETE FROM data_key WHERE scope = $1", [uid])
            try session.execute("DELETE FROM connection WHERE uid = $1", [uid])
        }
    }
}

extension [UID] {
    /// Few enough each that their rows have room in memory.
    fileprivate var chunks: [ArrayOf<UID>] {
        stride(from: 0, to: count, by: 1000).map { ArrayOf(Array(self[$0..<Swift.min($0 + 1000, count)])) }
    }
}

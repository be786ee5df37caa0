package import Vault

extension PostgresStore: SharedStore {
    // MARK: What has changed

    /// A transaction is read by the poll whose snapshot sees it and whose predecessor's did not: numbers of a sequence would
    /// lose those that end in another order than they began.
    ///
    /// The mark is that snapshot, and which server it is of: a standby that took over, or a database that was restored, numbers
    /// its transactions anew.
    package func changes(since mark: ChangeMark?) async throws -> Changes {
        try await read(within: .seconds(2), on: watch) { session in
            let known = mark.map { $0.text.split(separator: "|", maxSplits: 1).map(String.init) }
            guard let known, known.count == 2 else { return try Self.begin(session) }
            // One statement, one snapshot: the mark is of the very rows that come with it.
            let rows = try session.rows(
                """
                SELECT pg_current_snapshot()::text AS snapshot, \(Self.server) AS server, \(Self.isClosed) AS closed,
                    pg_snapshot_xmax(pg_current_snapshot()) < pg_snapshot_xmax($1::text::pg_snapshot) AS back, kind, connection, subject
                FROM (SELECT 1) AS one LEFT JOIN (
                    SELECT kind, connection, subject FROM change
                    WHERE transaction >= pg_snapshot_xmin($1::text::pg_snapshot)
                        AND NOT pg_visible_in_snapshot(transaction, $1::text::pg_snapshot) LIMIT $2) AS new ON true
                """, [known[0], Self.mostChanges + 1])
            guard let first = rows.first, try first.text("server") == known[1], try !first.boolean("back"), rows.count <= Self.mostChanges else {
                return try Self.begin(session)
            }
            try Self.requireOpen(first)
            var items: Set<Changes.Item> = []
            for row in rows {
                switch row.optionalText("kind") {
                case "grant": items.insert(.grant(connection: try row.uid("connection"), subject: try row.text("subject")))
                case "connection": items.insert(.connection(try row.uid("connection")))
                case "key": items.insert(.keys)
                case "data_key": items.insert(.dataKeys)
                // None, or what a newer version notes.
                default: break
                }
            }
            return Changes(items: items, isBroken: false, mark: ChangeMark(text: try first.text("snapshot") + "|" + known[1]))
        }
    }

    /// More in half a second are quicker forgotten than gone through.
    private static let mostChanges = 10_000

    /// Numbers of transactions mean the same as long as this does: a restart, and the recovery from a crash, which resets the
    /// statistics, may give some of them again.
    private static let server = """
        concat_ws('/', pg_postmaster_start_time(), (SELECT oid FROM pg_database WHERE datname = current_database()), \
        (SELECT stats_reset FROM pg_stat_bgwriter))
        """

    /// The vault was moved elsewhere, or a copy is made of it, which found nobody at work: a node that was frozen then must not go on.
    private static let isClosed = """
        (EXISTS (SELECT 1 FROM meta WHERE name = '\(MovedMark.name)') \
        OR EXISTS (SELECT 1 FROM lease WHERE name = 'copy' AND ends_at > clock_timestamp()))
        """

    private static func requireOpen(_ row: Row) throws {
        guard try !row.boolean("closed") else { throw StoreError.unavailable("the vault was moved to another database, or is being copied") }
    }

    private static func begin(_ session: Session) throws -> Changes {
        guard let row = try session.row("SELECT concat_ws('|', pg_current_snapshot(), \(server)) AS mark, \(isClosed) AS closed") else {
            throw StoreError.damaged("no snapshot")
        }
        try requireOpen(row)
        return Changes(items: [], isBroken: true, mark: ChangeMark(text: try row.text("mark")))
    }

    /// A node that reads no changes for so long begins anew.
    package func forgetChanges() async throws {
        try await write(isKept: false) { session in
            try session.execute("DELETE FROM change WHERE at < clock_timestamp() - interval '10 minutes'")
            try session.execute("DELETE FROM lease WHERE ends_at < clock_timestamp() - interval '1 hour'")
            try session.execute("DELETE FROM token_endpoint WHERE changed_at < \(Self.now) - 86400000")
        }
    }

    // MARK: Leases

    /// Not synced: what is done under a lease is, and brings it to the disk first.
    package func takeLease(_ name: String, owner: String, lifetime: Duration) async throws -> Bool {
        try await write(isKept: false) { session in
            try session.change(
                """
                INSERT INTO lease (name, owner, ends_at) VALUES ($1, $2, clock_timestamp() + $3 * interval '1 millisecond')
                ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, ends_at = excluded.ends_at
                    WHERE lease.owner = excluded.owner OR lease.ends_at < clock_timestamp()
                """, [name, owner, lifetime.milliseconds]) == 1
        }
    }

    package func endLease(_ name: String, owner: String) async throws {
        try await write(isKept: false) { session in try session.execute("DELETE FROM lease WHERE name = $1 AND owner = $2", [name, owner]) }
    }

    // MARK: Token endpoints

    package func changeEndpoint<R: Sendable>(
        _ key: String, _ change: @escaping @Sendable (_ state: String?, _ now: Timestamp) throws -> (state: String, result: R)
    ) async throws -> R {
        try await write(isKept: false) { session in
            try session.execute("INSERT INTO token_endpoint (key, state, changed_at) VALUES ($1, '', 0) ON CONFLICT (key) DO NOTHING", [key])
            guard let row = try session.row("SELECT state, \(Self.now) AS now FROM token_endpoint WHERE key = $1 FOR UPDATE", [key])
            // Dropped in between: once more.
            else { throw DatabaseError(state: "40001", words: "the row is gone") }
            let state = try row.text("state")
            let now = try row.time("now")
            let changed = try change(state.isEmpty ? nil : state, now)
            try session.execute("UPDATE token_endpoint SET state = $1, changed_at = $2 WHERE key = $3", [changed.state, now, key])
            return changed.result
        }
    }

    // MARK: Nodes

    /// Milliseconds, by the database's clock.
    static let now = "(extract(epoch FROM clock_timestamp()) * 1000)::int8"

    package func claimNode(_ name: String, version: String, masterKeyIDs: [String]) async throws -> Bool {
        try await write { session in
            try session.change(
                """
                INSERT INTO node (name, version, schema, master_key_ids, started_at, seen_at) VALUES ($1, $2, $3, $4, \(Self.now), \(Self.now))
                ON CONFLICT (name) DO NOTHING
                """, [name, version, Schema.migrations.count, try storedJSON(masterKeyIDs)]) == 1
        }
    }

    package func noteNode(_ name: String, version: String, masterKeyIDs: [String]) async throws {
        try await write(isKept: false) { session in
            try session.execute(
                """
                INSERT INTO node (name, version, schema, master_key_ids, started_at, seen_at) VALUES ($1, $2, $3, $4, \(Self.now), \(Self.now))
                ON CONFLICT (name) DO UPDATE SET seen_at = \(Self.now)
                """, [name, version, Schema.migrations.count, try storedJSON(masterKeyIDs)])
        }
    }

    package func removeNode(_ name: String) async throws {
        try await write { session in try session.execute("DELETE FROM node WHERE name = $1", [name]) }
    }

    package func nodesAtWork() async throws -> [NodeRecord] {
        try await read { try $0.rows("SELECT * FROM node WHERE \(Self.isAtWork) ORDER BY name").map(NodeRecord.init) }
    }

    package func takeLostNodes() async throws -> [NodeRecord] {
        let isThere = try await read { try $0.row("SELECT name FROM node WHERE NOT (\(Self.isAtWork)) LIMIT 1") != nil }
        guard isThere else { return [] }
        return try await write { try $0.rows("DELETE FROM node WHERE NOT (\(Self.isAtWork)) RETURNING *").map(NodeRecord.init) }
    }
}

extension NodeRecord {
    fileprivate init(_ row: Row) throws {
        self.init(
            name: try row.text("name"), version: try row.text("version"), masterKeyIDs: try row.json("master_key_ids"),
            startedAt: try row.time("started_at"), seenAt: try row.time("seen_at"))
    }
}

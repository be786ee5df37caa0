import Vault

/// A change of the tables. Named, only ever added, never altered once it was released.
struct Migration: Sendable {
    enum Kind: String, Sendable {
        /// Nodes of older versions go on working beside it, and may be started again: new tables, new columns that have a default.
        case expand
        /// Takes away what older versions use. Done by the first start that finds no node of an older version at work; what comes
        /// behind it in the list does not wait for it.
        case contract
    }
    let name: String
    let kind: Kind
    let sql: String
}

extension PostgresStore {
    /// Of many nodes that start at once one migrates; the others wait and find it done.
    func migrate(_ migrations: [Migration]) async throws {
        let known = migrations.map(\.name)
        try await write(within: .seconds(600)) { session in
            try session.run("SET LOCAL lock_timeout = 0")
            // "grantee!" as a number.
            try session.execute("SELECT pg_advisory_xact_lock(7454411435563672865)")
            // What waits for a lock on a table has every statement behind it wait, too.
            try session.run("SET LOCAL lock_timeout = 5000")
            try session.run(
                """
                CREATE TABLE IF NOT EXISTS migration (
                    name text COLLATE "C" PRIMARY KEY, kind text COLLATE "C" NOT NULL, position int8 NOT NULL, applied_at int8 NOT NULL)
                """)
            let applied = try session.rows("SELECT name, kind FROM migration ORDER BY position").map { (try $0.text("name"), try $0.text("kind")) }
            // What only adds leaves everything as this version knows it.
            if let newer = applied.first(where: { !known.contains($0.0) && $0.1 != Migration.Kind.expand.rawValue }) {
                throw StoreError.newerSchema(newer.0)
            }
            for (position, migration) in migrations.enumerated() where !applied.contains(where: { $0.0 == migration.name }) {
                if migration.kind == .contract, try Self.hasOlderNode(than: position + 1, in: session) { continue }
                try session.run(migration.sql)
                try session.execute(
                    "INSERT INTO migration (name, kind, position, applied_at) VALUES ($1, $2, $3, (extract(epoch FROM clock_timestamp()) * 1000)::int8)",
                    [migration.name, migration.kind.rawValue, position])
            }
        }
    }

    /// That its tables have this version's form, or a later one's that only adds.
    func requireMigrated(_ migrations: [Migration]) async throws {
        try await read { session in
            guard try session.row("SELECT 1::int8 AS found WHERE to_regclass('migration') IS NOT NULL") != nil else {
                throw StoreError.unavailable("no server has run on this database yet")
            }
            let applied = try session.rows("SELECT name, kind FROM migration ORDER BY position").map { (try $0.text("name"), try $0.text("kind")) }
            if let newer = applied.first(where: { row in
                !migrations.contains { $0.name == row.0 } && row.1 != Migration.Kind.expand.rawValue
            }) {
                throw StoreError.newerSchema(newer.0)
            }
            // What only takes away may have to wait for older nodes.
            guard migrations.allSatisfy({ migration in migration.kind == .contract || applied.contains { $0.0 == migration.name } }) else {
                throw StoreError.unavailable("the database was written by an older version; start a server of this version on it once")
            }
        }
    }

    private static func hasOlderNode(than schema: Int, in session: Session) throws -> Bool {
        try session.row("SELECT 1::int8 AS found FROM node WHERE schema < $1 AND \(isAtWork) LIMIT 1", [schema]) != nil
    }

    /// Of a row of `node`.
    static let isAtWork = "seen_at > (extract(epoch FROM clock_timestamp()) * 1000)::int8 - 15000"
}

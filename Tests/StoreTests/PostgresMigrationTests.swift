#if PostgreSQL
    import TestSupport
    import Testing
    import Vault

    @testable import PostgresStore

    /// Versions of a database, and of the nodes that share it.
    @Suite(.enabled(if: PostgresServer.isExpected)) struct PostgresMigrationTests {
        @Test func ofManyThatStartAtOnceOneMakesTheTables() async throws {
            try await withDatabase { url, server in
                let stores = try await withThrowingTaskGroup(of: PostgresStore.self) { group in
                    for _ in 0..<6 { group.addTask { try await PostgresStore(DatabaseURL(url + "?pool_size=1")) } }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                #expect(try await server.query("SELECT count(*) FROM migration", in: url) == "\(Schema.migrations.count)")
                for (index, store) in stores.enumerated() { try await store.setMeta("m\(index)", [1]) }
                #expect(try await server.query("SELECT count(*) FROM meta", in: url) == "6")
                for store in stores { try await store.close() }
            }
        }

        @Test func ofANewerVersionOnlyWhatAddsIsAccepted() async throws {
            try await withDatabase { url, server in
                try await PostgresStore(DatabaseURL(url)).close()
                try await server.query("INSERT INTO migration VALUES ('v9-adds', 'expand', 98, 0)", in: url)
                try await PostgresStore(DatabaseURL(url)).close()
                try await PostgresStore.openReadOnly(DatabaseURL(url)).close()
                try await server.query("INSERT INTO migration VALUES ('v9-takes', 'contract', 99, 0)", in: url)
                await #expect(throws: StoreError.newerSchema("v9-takes")) { try await PostgresStore(DatabaseURL(url)) }
                await #expect(throws: StoreError.newerSchema("v9-takes")) { try await PostgresStore.openReadOnly(DatabaseURL(url)) }
            }
        }

        @Test func whatAddsComesWhileAnOlderNodeIsAtWorkAndWhatTakesAwayWhenItHasGone() async throws {
            try await withDatabase { url, server in
                let older = try await PostgresStore(DatabaseURL(url))
                #expect(try await older.claimNode("old", version: "5", masterKeyIDs: ["k1"]))
                let newer =
                    Schema.migrations + [
                        Migration(name: "v9-adds", kind: .expand, sql: "ALTER TABLE meta ADD COLUMN added int8 NOT NULL DEFAULT 7"),
                        Migration(name: "v9-takes", kind: .contract, sql: "ALTER TABLE meta DROP COLUMN added"),
                    ]
                func hasColumn() async throws -> Bool {
                    try await server.query("SELECT 1 FROM information_schema.columns WHERE table_name = 'meta' AND column_name = 'added'", in: url) == "1"
                }
                try await PostgresStore(DatabaseURL(url), migrations: newer).close()
                #expect(try await hasColumn())
                // The older node goes on.
                try await older.setMeta("m", [1])
                try await older.removeNode("old")
                try await older.close()
                try await PostgresStore(DatabaseURL(url), migrations: newer).close()
                #expect(try await !hasColumn())
                await #expect(throws: StoreError.newerSchema("v9-takes")) { try await PostgresStore(DatabaseURL(url)) }
            }
        }

        @Test func aNodeThatStoppedWithoutAWordHoldsNothingBack() async throws {
            try await withDatabase { url, server in
                let older = try await PostgresStore(DatabaseURL(url))
                #expect(try await older.claimNode("old", version: "5", masterKeyIDs: ["k1"]))
                try await older.close()
                try await server.query("UPDATE node SET seen_at = seen_at - 16000", in: url)
                let newer = Schema.migrations + [Migration(name: "v9-takes", kind: .contract, sql: "DROP TABLE trouble")]
                try await PostgresStore(DatabaseURL(url), migrations: newer).close()
                #expect(try await server.query("SELECT count(*) FROM migration WHERE name = 'v9-takes'", in: url) == "1")
            }
        }

        @Test func aMigrationThatFailsLeavesNothing() async throws {
            try await withDatabase { url, server in
                let broken = Schema.migrations + [Migration(name: "v9-broken", kind: .expand, sql: "CREATE TABLE half (n int8); SELECT nothing")]
                await #expect(throws: StoreError.unavailable("PostgreSQL answers 42703")) { try await PostgresStore(DatabaseURL(url), migrations: broken) }
                #expect(try await server.query("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'", in: url) == "0")
                try await PostgresStore(DatabaseURL(url)).close()
            }
        }
    }
#endif

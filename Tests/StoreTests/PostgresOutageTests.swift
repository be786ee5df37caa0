#if PostgreSQL
    import TestSupport
    import Testing
    import Vault

    @testable import PostgresStore

    /// A server that goes away and comes back: the same store goes on.
    @Suite(.enabled(if: PostgresServer.isExpected)) struct PostgresOutageTests {
        private func isUnavailable(_ error: any Error) -> Bool { if case StoreError.unavailable = error { true } else { false } }

        /// A call that fails, and how long it took.
        private func failure(of store: PostgresStore) async -> Duration? {
            let started = ContinuousClock.now
            do {
                try await store.setMeta("during", [1])
                return nil
            } catch {
                #expect(isUnavailable(error), "\(error)")
                return ContinuousClock.now - started
            }
        }

        /// A quick restart, a failover, a firewall: each thread's connection is gone, and nobody is told so.
        @Test func noCallFailsForConnectionsThatWereCutWhileUnused() async throws {
            try await withDatabase { url, _ in
                let store = try await PostgresStore(DatabaseURL(url))
                func all() async throws {
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for index in 0..<64 { group.addTask { try await store.setMeta("m\(index)", [1]) } }
                        try await group.waitForAll()
                    }
                }
                try await all()
                let raw = try rawSession(url)
                defer { raw.close() }
                for _ in 0..<3 {
                    try raw.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
                    for index in 0..<20 { #expect(try await store.meta("m\(index)") == [1]) }
                    try await all()
                }
                try await store.close()
            }
        }

        /// What fails in the middle leaves nothing behind for the next.
        @Test func aTransactionThatCannotEndIsNobodyElses() async throws {
            try await withDatabase { url, _ in
                let store = try await PostgresStore(DatabaseURL(url + "?pool_size=1"))
                await #expect(throws: StoreError.self) {
                    try await store.read { session in
                        try session.run("BEGIN")
                        try session.execute("SELECT 1/0")
                    }
                }
                try await store.setMeta("after", [1])
                #expect(try await store.meta("after") == [1])
                try await store.close()
            }
        }

        @Test("Restarted, killed, frozen") func outages() async throws {
            try await PostgresServer.with { server in
                let url = try await server.makeDatabase()
                let store = try await PostgresStore(DatabaseURL(url))
                try await store.setMeta("before", [7])

                // Nobody was asked meanwhile: the connection that was closed is found out by its next use, and replaced.
                try await server.restart()
                #expect(try await store.meta("before") == [7])
                try await store.setMeta("restarted", [1])

                try await server.kill()
                let killed = try #require(await failure(of: store))
                #expect(killed < .seconds(10))
                // At once by now: not each call tries to connect.
                let next = try #require(await failure(of: store))
                #expect(next < .seconds(2))
                try await server.restart()
                try await eventually("the store goes on after the server was killed") { (try? await store.meta("restarted")) == [1] }
                try await store.setMeta("killed", [1])

                server.freeze()
                let frozen = try #require(await failure(of: store))
                #expect(frozen < .seconds(16))
                server.thaw()
                try await eventually("the store goes on after the server was frozen") {
                    do {
                        try await store.setMeta("thawed", [1])
                        return true
                    } catch {
                        #expect(isUnavailable(error), "\(error)")
                        return false
                    }
                }
                for name in ["before", "restarted", "killed", "thawed"] { #expect(try await store.meta(name) != nil, "\(name)") }
                try await store.close()
            }
        }

        @Test func whatWaitsOnAFrozenServerEndsWithItsDeadline() async throws {
            try await PostgresServer.with { server in
                let store = try await PostgresStore(DatabaseURL(try await server.makeDatabase() + "?pool_size=2"))
                let mark = try await store.changes(since: nil).mark
                server.freeze()
                let started = ContinuousClock.now
                // More than there are connections: those that get none wait no longer.
                let failures = await withTaskGroup(of: Bool.self) { group in
                    for _ in 0..<10 { group.addTask { await failure(of: store) != nil } }
                    group.addTask {
                        let started = ContinuousClock.now
                        await #expect(throws: StoreError.self) { try await store.changes(since: mark) }
                        return ContinuousClock.now - started < .seconds(9)
                    }
                    return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
                }
                #expect(failures == 11)
                #expect(ContinuousClock.now - started < .seconds(30))
                server.thaw()
                try await eventually("changes are read again") { (try? await store.changes(since: mark)) != nil }
                try await store.close()
            }
        }

        @Test func whatRefusesToOpenSaysWhy() async throws {
            try await withDatabase { url, server in
                func words(_ url: String) async -> StoreError? {
                    await #expect(throws: StoreError.self) { try await PostgresStore(DatabaseURL(url)) }
                }
                #expect(await words(url.replacing(/:[^:@\/]+@/, with: ":wrong@")) == DatabaseTrouble.wrongPassword.asStoreError)
                #expect(await words(url + "nowhere") == DatabaseTrouble.noSuchDatabase.asStoreError)
                #expect(await words("postgres://u:p@127.0.0.1:1/d") == DatabaseTrouble.refused.asStoreError)
                let latin = PostgresServer.name(ofDatabase: url) + "latin"
                try await server.query("CREATE DATABASE \(latin) TEMPLATE template0 ENCODING 'LATIN1'")
                #expect(await words(url + "latin") == DatabaseTrouble.wrongEncoding.asStoreError)
                try await server.query("DROP DATABASE \(latin)")
            }
        }

        @Test func theSocketServesToo() async throws {
            try await withDatabase { url, server in
                let store = try await PostgresStore(DatabaseURL(server.socketURL(database: PostgresServer.name(ofDatabase: url))))
                try await store.setMeta("m", [1])
                #expect(try await store.meta("m") == [1])
                try await store.close()
            }
        }
    }
#endif

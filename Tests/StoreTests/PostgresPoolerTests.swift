#if PostgreSQL
    import TestSupport
    import Testing
    import Vault

    @testable import PostgresStore

    /// Behind a pooler that gives each transaction another connection.
    @Suite(.enabled(if: PostgresServer.isExpected)) struct PostgresPoolerTests {
        @Test func twoNodesWorkThroughAPooler() async throws {
            try await withDatabase { url, server in
                try await PgBouncer.with(server, database: url, connections: 2) { pooler in
                    let pooled = pooler.url(url)
                    let stores = [try await PostgresStore(DatabaseURL(pooled)), try await PostgresStore(DatabaseURL(pooled))]
                    let connection = makeConnection("a")
                    try await stores[0].insert(connection)
                    var mark = try await stores[1].changes(since: nil).mark
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for index in 0..<40 {
                            let store = stores[index % 2]
                            group.addTask {
                                var grant = makeGrant(connection, subject: "s\(index)")
                                #expect(try await store.put(grant, expectedGeneration: nil))
                                #expect(try await store.beginRefresh(grant: grant.uid, generation: 1, at: now, lease: nil) == 1)
                                grant.tokenGeneration = 2
                                #expect(try await store.put(grant, expectedGeneration: 1))
                                #expect(try await store.grant(uid: grant.uid)?.tokenGeneration == 2)
                                try await store.append([Activity(uid: .make(at: now), at: now, action: "x", subject: "s\(index)")])
                                #expect(try await store.activity(filter: .init(subject: "s\(index)"), before: nil, limit: 9).count == 1)
                            }
                        }
                        try await group.waitForAll()
                    }
                    let changes = try await stores[1].changes(since: mark)
                    #expect(!changes.isBroken)
                    #expect(changes.items == Set((0..<40).map { .grant(connection: connection.uid, subject: "s\($0)") }))
                    mark = changes.mark
                    #expect(try await stores[1].changes(since: mark).items.isEmpty)
                    #expect(try await stores[0].takeLease("l", owner: "a", lifetime: .seconds(60)))
                    #expect(try await !stores[1].takeLease("l", owner: "b", lifetime: .seconds(60)))
                    // Nothing of a session's settings is left on a connection that is another client's next.
                    #expect(try await stores[0].read { try $0.row("SELECT current_setting('lock_timeout') AS t")?.text("t") } == "8s")
                    for store in stores { try await store.close() }
                }
            }
        }
    }
#endif

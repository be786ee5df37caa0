#if PostgreSQL
    import Foundation
    import TestSupport
    import Testing
    import Vault

    @testable import PostgresStore

    /// A database of one test's own.
    func withDatabase<R: Sendable>(on server: PostgresServer? = nil, _ body: (_ url: String, _ server: PostgresServer) async throws -> R) async throws -> R {
        let server = if let server { server } else { try await PostgresServer.shared }
        let url = try await server.makeDatabase()
        let outcome: Result<R, any Error>
        do { outcome = .success(try await body(url, server)) } catch { outcome = .failure(error) }
        // Not where the test has stopped its server.
        try? await server.dropDatabase(url)
        return try outcome.get()
    }

    /// A connection past the store, for one test at a time.
    func rawSession(_ url: String) throws -> Session { try Session(DatabaseURL(url), namedStatements: NamedStatements()) }

    /// What is PostgreSQL's alone.
    @Suite(.enabled(if: PostgresServer.isExpected)) struct PostgresTests {
        @Test func aNULIsNoReasonToFail() async throws {
            let opened = try await Backend.postgres.open()
            let connection = makeConnection("a")
            try await opened.store.insert(connection)
            var session = makeSession(connection)
            session.appName = "a\0b"
            try await opened.store.insert(session)
            #expect(try await opened.store.session(id: session.id)?.appName == "a\u{FFFD}b")
        }

        @Test func aRowThatMakesNoSenseIsDamage() async throws {
            let opened = try await Backend.postgres.open()
            let connection = makeConnection("a")
            try await opened.store.insert(connection)
            _ = try await opened.store.put(makeGrant(connection), expectedGeneration: nil)
            try await opened.tamper(#"UPDATE "grant" SET state = 'nonsense'"#)
            await #expect(throws: StoreError.damaged("a record's state makes no sense")) {
                try await opened.store.grant(connection: connection.uid, subject: "", slot: "")
            }
        }

        @Test func constraintsThatWereNeverCheckedAreFaults() async throws {
            let opened = try await Backend.postgres.open()
            #expect(try await opened.store.databaseFaults().isEmpty)
            try await opened.tamper("ALTER TABLE refresh_intent ADD CONSTRAINT later CHECK (attempts > 0) NOT VALID")
            #expect(try await opened.store.databaseFaults() == ["the constraint later of refresh_intent was never checked"])
        }

        @Test func manyConnectionsShareTheFewThatTheServerAllows() async throws {
            try await withDatabase { url, server in
                try await server.query("ALTER ROLE \(PostgresServer.name(ofDatabase: url)) CONNECTION LIMIT 2")
                let store = try await PostgresStore(DatabaseURL(url))
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for index in 0..<20 { group.addTask { try await store.setMeta("m\(index)", [UInt8(index)]) } }
                    try await group.waitForAll()
                }
                for index in 0..<20 { #expect(try await store.meta("m\(index)") == [UInt8(index)]) }
                try await store.close()
            }
        }

        @Test func twoWhoSweepLeaveNothing() async throws {
            try await withDatabase { url, server in
                let (one, other) = (try await PostgresStore(DatabaseURL(url)), try await PostgresStore(DatabaseURL(url)))
                let connection = makeConnection("a")
                try await one.insert(connection)
                try await one.insert(makeSession(connection))
                try await server.query(
                    """
                    INSERT INTO connect_session (id, ticket_hash, connection_uid, subject, options, state, app_name, key_id, created_at, expires_at)
                    SELECT 'old' || n, ('\\x' || to_hex(100000 + n) || '0')::bytea, connection_uid, subject, options, state, app_name, key_id, 0, n
                    FROM connect_session, generate_series(1, 3500) AS n;
                    INSERT INTO completion (session_id, connection_revision, code, captured, expires_at)
                    SELECT id, 1, '', '{}', 1 FROM connect_session WHERE id LIKE 'old%'
                    """, in: url)
                async let first: Void = one.sweep(now: now)
                async let second: Void = other.sweep(now: now)
                _ = try await (first, second)
                // What one left to the other while that held it is gone with the next sweep at the latest.
                try await one.sweep(now: now)
                #expect(try await server.query("SELECT count(*) FROM completion", in: url) == "0")
                #expect(try await server.query("SELECT id FROM connect_session", in: url) == "cs_1")
                for store in [one, other] { try await store.close() }
            }
        }

        @Test func twoWhoCutOneChainLeaveOneAnchor() async throws {
            try await withDatabase { url, _ in
                let stores = [try await PostgresStore(DatabaseURL(url)), try await PostgresStore(DatabaseURL(url))]
                let entries = (1...600).map { sequence in
                    Activity(
                        uid: .make(at: now + .seconds(sequence)), at: now + .seconds(sequence), action: "x",
                        link: ActivityLink(node: "main", sequence: sequence, mac: [1]))
                }
                try await stores[0].append(entries)
                let cuts = try await withThrowingTaskGroup(of: [Int].self) { group in
                    for store in stores {
                        group.addTask {
                            var cuts: [Int] = []
                            while let cut = try await store.cutActivity(
                                node: "main", before: now + .seconds(501), limit: 7, anchor: { ActivityAnchor(link: $0, at: now, signature: [2]) })
                            { cuts.append(cut.link.sequence) }
                            return cuts
                        }
                    }
                    return try await group.reduce(into: []) { $0 += $1 }
                }
                #expect(cuts.sorted() == Set(cuts).sorted() && cuts.max() == 500)
                #expect(try await stores[0].activityAnchors(node: "main").map(\.link.sequence) == [500])
                #expect(try await stores[0].activityPage(node: "main", afterSequence: 0, limit: 1000).map(\.link?.sequence) == (501...600).map { $0 })
                for store in stores { try await store.close() }
            }
        }
    }
#endif

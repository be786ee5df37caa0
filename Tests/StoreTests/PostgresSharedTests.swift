#if PostgreSQL
    import Synchronization
    import TestSupport
    import Testing
    import Vault

    @testable import PostgresStore

    /// What nodes learn of each other, and what only one may do.
    @Suite(.enabled(if: PostgresServer.isExpected)) struct PostgresSharedTests {
        private func withStores(_ body: (_ one: PostgresStore, _ other: PostgresStore, _ url: String) async throws -> Void) async throws {
            try await withDatabase { url, _ in
                let (one, other) = (try await PostgresStore(DatabaseURL(url)), try await PostgresStore(DatabaseURL(url)))
                try await body(one, other, url)
                for store in [one, other] { try await store.close() }
            }
        }

        // MARK: A vault that was moved

        /// A node that stood still while its vault was moved learns of it before it serves or sends anything.
        @Test func nothingIsServedOrSentFromAVaultThatWasMovedOrIsCopied() async throws {
            try await withStores { one, other, url in
                let connection = makeConnection("a")
                try await one.insert(connection)
                let grant = makeGrant(connection)
                #expect(try await one.put(grant, expectedGeneration: nil))
                let mark = try await other.changes(since: nil).mark
                let stamp = try await one.hold(for: "copy")
                await #expect(throws: StoreError.self) { _ = try await other.changes(since: mark) }
                await #expect(throws: StoreError.self) { _ = try await other.changes(since: nil) }
                try await one.letGo("copy")
                _ = try await other.changes(since: mark)

                // A hold that lapsed is another one, even where nobody else had it.
                #expect(try await one.hold(for: "copy") != stamp)
                let again = try await one.hold(for: "copy")
                #expect(try await one.hold(for: "copy") == again)
                let raw = try rawSession(url)
                defer { raw.close() }
                try raw.execute("UPDATE lease SET ends_at = clock_timestamp() - interval '1 second'")
                #expect(try await !one.setMark(MovedMark(at: Timestamp(milliseconds: 1), to: "x"), held: again))
                let third = try await one.hold(for: "copy")
                #expect(third != again)
                #expect(try await one.mark(MovedMark.self) == nil)
                #expect(try await one.setMark(MovedMark(at: Timestamp(milliseconds: 1), to: "x"), held: third))
                try await one.letGo("copy")
                await #expect(throws: StoreError.self) { _ = try await other.changes(since: mark) }
                await #expect(throws: StoreError.self) {
                    _ = try await other.beginRefresh(grant: grant.uid, generation: grant.tokenGeneration, at: Timestamp(milliseconds: 1), lease: nil)
                }
            }
        }

        // MARK: Changes

        @Test func moreChangesThanAreGoneThroughAreToldAsOne() async throws {
            try await withStores { one, other, url in
                let mark = try await other.changes(since: nil).mark
                let raw = try rawSession(url)
                defer { raw.close() }
                try raw.execute("INSERT INTO change (kind, connection, subject) SELECT 'grant', 'c', n::text FROM generate_series(1, 10001) AS n")
                let changes = try await other.changes(since: mark)
                #expect(changes.isBroken && changes.items.isEmpty)
                #expect(try await !other.changes(since: changes.mark).isBroken)
            }
        }

        @Test func whatBeganFirstAndEndsLastIsNotLost() async throws {
            try await withStores { one, other, url in
                let connections = ["a", "b", "c"].map(makeConnection)
                for connection in connections { try await one.insert(connection) }
                func touch(_ session: Session, _ connection: Connection) throws {
                    try session.execute("UPDATE connection SET health_since = health_since + 1 WHERE uid = $1", [connection.uid])
                }
                var mark = try await other.changes(since: nil).mark
                func seen() async throws -> Set<Changes.Item> {
                    let changes = try await other.changes(since: mark)
                    #expect(!changes.isBroken)
                    mark = changes.mark
                    return changes.items
                }
                #expect(try await seen().isEmpty)
                let (slow, gone) = (try rawSession(url), try rawSession(url))
                defer { for session in [slow, gone] { session.close() } }
                try slow.run("BEGIN")
                try touch(slow, connections[0])
                try gone.run("BEGIN")
                try touch(gone, connections[2])
                try await one.setHealth(.init(state: .providerDown, since: now), connection: connections[1].uid, expectedRevision: 1, events: [])
                #expect(try await seen() == [.connection(connections[1].uid)])
                #expect(try await seen().isEmpty)
                try gone.run("ROLLBACK")
                #expect(try await seen().isEmpty)
                try slow.run("COMMIT")
                #expect(try await seen() == [.connection(connections[0].uid)])
                #expect(try await seen().isEmpty)
            }
        }

        @Test func eachOfManyChangesIsReadOnce() async throws {
            try await withStores { one, other, _ in
                let connection = makeConnection("a")
                try await one.insert(connection)
                let grants = (0..<150).map { makeGrant(connection, subject: "s\($0)") }
                for grant in grants { _ = try await one.put(grant, expectedGeneration: nil) }
                let first = try await other.changes(since: nil).mark
                let isDone = Mutex(false)
                async let reading = {
                    var (mark, items) = (first, [Changes.Item]())
                    while true {
                        // Asked before it is read, so that the last reading is of everything.
                        let isLast = isDone.withLock { $0 }
                        let changes = try await other.changes(since: mark)
                        (mark, items) = (changes.mark, items + changes.items)
                        if isLast { return items }
                    }
                }()
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for (index, grant) in grants.enumerated() {
                        group.addTask {
                            _ = try await (index % 2 == 0 ? one : other).setState(
                                .revoked, reason: "x", at: now, grant: grant.uid, expectedGeneration: 1, events: [])
                        }
                    }
                    try await group.waitForAll()
                }
                isDone.withLock { $0 = true }
                let items = try await reading
                #expect(items.count == 150)
                #expect(Set(items) == Set(grants.map { .grant(connection: connection.uid, subject: $0.subject) }))
            }
        }

        @Test func keysAndConnectionsAndDataKeysAreTold() async throws {
            try await withStores { one, other, _ in
                let connection = makeConnection("a")
                try await one.insert(connection)
                var mark = try await other.changes(since: nil).mark
                func seen() async throws -> Set<Changes.Item> {
                    let changes = try await other.changes(since: mark)
                    mark = changes.mark
                    return changes.items
                }
                try await one.insert(APIKey(id: "key_1", name: "n", hash: [1], role: .use, createdAt: now))
                #expect(try await seen() == [.keys])
                // That it was used is nobody's concern.
                try await one.touchKeys(["key_1": now])
                #expect(try await seen().isEmpty)
                #expect(try await one.deleteKey(id: "key_1"))
                #expect(try await seen() == [.keys])
                _ = try await one.insertDataKey(scope: "x", masterKeyID: "k1", wrapped: [1])
                #expect(try await seen() == [.dataKeys])
                let grant = makeGrant(connection, subject: "s")
                _ = try await one.put(grant, expectedGeneration: nil)
                #expect(try await seen().isEmpty)
                try await one.touchGrants([grant.uid: now])
                #expect(try await seen().isEmpty)
                try await one.deleteConnection(connection.uid)
                #expect(try await seen().isSuperset(of: [.connection(connection.uid), .grant(connection: connection.uid, subject: "s")]))
            }
        }

        @Test func aMarkOfAnotherServerIsNoMark() async throws {
            try await withStores { one, other, _ in
                let mark = try await other.changes(since: nil).mark
                #expect(try await !one.changes(since: mark).isBroken)
                try await withStores { elsewhere, _, _ in
                    let changes = try await elsewhere.changes(since: mark)
                    #expect(changes.isBroken)
                }
                #expect(try await one.changes(since: ChangeMark(text: "")).isBroken)
            }
        }

        // MARK: Leases

        @Test func ofManyWhoTakeALeaseOneHasIt() async throws {
            try await withStores { one, other, _ in
                let wins = try await withThrowingTaskGroup(of: Int?.self) { group in
                    for index in 0..<30 {
                        group.addTask { try await (index % 2 == 0 ? one : other).takeLease("l", owner: "o\(index)", lifetime: .seconds(60)) ? index : nil }
                    }
                    return try await group.reduce(into: []) { if let winner = $1 { $0.append(winner) } }
                }
                #expect(wins.count == 1)
                let owner = "o\(try #require(wins.first))"
                #expect(try await other.takeLease("l", owner: owner, lifetime: .seconds(60)))
                #expect(try await other.takeLease("another", owner: "x", lifetime: .seconds(60)))
                try await other.endLease("l", owner: "x")
                #expect(try await !other.takeLease("l", owner: "x", lifetime: .seconds(60)))
                try await one.endLease("l", owner: owner)
                #expect(try await other.takeLease("l", owner: "x", lifetime: .milliseconds(50)))
                // It ends by itself.
                try await eventually("a lease ends") { try await one.takeLease("l", owner: "y", lifetime: .seconds(60)) }
            }
        }

        // MARK: Token endpoints

        @Test func aTokenEndpointIsChangedByOneAfterTheOther() async throws {
            try await withStores { one, other, _ in
                let counts = try await withThrowingTaskGroup(of: Int.self) { group in
                    for index in 0..<60 {
                        group.addTask {
                            try await (index % 2 == 0 ? one : other).changeEndpoint("e") { state, _ in
                                let count = (state.flatMap { Int($0) } ?? 0) + 1
                                return ("\(count)", count)
                            }
                        }
                    }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                #expect(counts.sorted() == Array(1...60))
            }
        }

        // MARK: Nodes

        @Test func nodesAreKnownWhileTheyAreAtWorkAndLostOnce() async throws {
            try await withDatabase { url, server in
                let stores = [try await PostgresStore(DatabaseURL(url)), try await PostgresStore(DatabaseURL(url))]
                #expect(try await stores[0].claimNode("b", version: "1", masterKeyIDs: ["k1"]))
                #expect(try await !stores[1].claimNode("b", version: "1", masterKeyIDs: ["k9"]))
                try await stores[1].noteNode("a", version: "2", masterKeyIDs: ["k2", "k1"])
                #expect(try await stores[0].nodesAtWork().map(\.name) == ["a", "b"])
                #expect(try await stores[0].nodesAtWork().map(\.masterKeyIDs) == [["k2", "k1"], ["k1"]])
                #expect(try await stores[0].takeLostNodes().isEmpty)
                try await server.query("UPDATE node SET seen_at = seen_at - 16000 WHERE name = 'b'", in: url)
                #expect(try await stores[0].nodesAtWork().map(\.version) == ["2"])
                let lost = try await withThrowingTaskGroup(of: [NodeRecord].self) { group in
                    for index in 0..<10 { group.addTask { try await stores[index % 2].takeLostNodes() } }
                    return try await group.reduce(into: []) { $0 += $1 }
                }
                #expect(lost.map(\.name) == ["b"])
                try await stores[1].removeNode("a")
                #expect(try await stores[0].nodesAtWork().isEmpty)
                for store in stores { try await store.close() }
            }
        }
    }
#endif

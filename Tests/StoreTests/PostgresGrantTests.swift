#if PostgreSQL
    import Dispatch
    import PostgresStore
    import TestSupport
    import Testing
    import Vault

    /// Two nodes on one database.
    struct TwoNodes {
        let server: PostgresServer
        let url: String
        let a: PostgresStore
        let b: PostgresStore
        let connection: Connection
        var both: [PostgresStore] { [a, b] }

        /// With a connection, and a webhook that is told of everything.
        static func with(_ body: (TwoNodes) async throws -> Void) async throws {
            let server = try await PostgresServer.shared
            let url = try await server.makeDatabase()
            let address = try DatabaseURL(url + "?pool_size=6")
            let nodes = TwoNodes(
                server: server, url: url, a: try await PostgresStore(address), b: try await PostgresStore(address), connection: makeConnection("a"))
            let outcome: Result<Void, any Error>
            do {
                try await nodes.a.insert(nodes.connection)
                try await nodes.a.insert(Webhook(id: "wh_1", url: "https://app.example/", kinds: nil, secret: Sealed(bytes: [1]), createdAt: now))
                outcome = .success(try await body(nodes))
            } catch {
                outcome = .failure(error)
            }
            for node in nodes.both { try await node.close() }
            try await server.dropDatabase(url)
            try outcome.get()
        }

        /// All at once, by turns on both nodes.
        func race<R: Sendable>(_ count: Int, _ body: @escaping @Sendable (PostgresStore, Int) async throws -> R) async throws -> [R] {
            try await withThrowingTaskGroup(of: R.self) { group in
                for number in 0..<count { group.addTask { [node = both[number % 2]] in try await body(node, number) } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
        }

        /// As the database's superuser.
        func query(_ sql: String) async throws -> String { try await server.query(sql, in: url) }

        /// Of those that were announced, the newest first.
        func events() async throws -> [String] {
            try await a.deliveries(webhook: "wh_1", state: nil, before: nil, limit: 1000).map(\.event.id)
        }
    }

    /// One after the other: each has a race of its own.
    @Suite(.serialized, .enabled(if: PostgresServer.isExpected)) struct PostgresGrantTests {
        private func event(_ id: String, _ grant: Grant) -> WebhookEvent {
            WebhookEvent(
                id: "evt_" + id, kind: .grantRefreshed, at: now, connectionUID: grant.connectionUID, orderKey: grant.uid, subject: grant.subject, data: "{}")
        }

        /// With tokens that nobody else has.
        private func renewed(_ grant: Grant, by writer: Int) -> Grant {
            var grant = grant
            grant.tokenGeneration += 1
            grant.accessToken = Sealed(bytes: [7, UInt8(writer)])
            grant.refreshToken = Sealed(bytes: [8, UInt8(writer)])
            return grant
        }

        private func insertGrants(_ count: Int, in nodes: TwoNodes, dueAt: Timestamp? = nil) async throws -> [Grant] {
            let grants = (0..<count).map { number in
                var grant = makeGrant(nodes.connection, subject: "s\(number)")
                grant.dueAt = dueAt.map { $0 + .seconds(-number * 37 % 100) }
                return grant
            }
            _ = try await nodes.race(count) { node, number in try await node.put(grants[number], expectedGeneration: nil) }
            return grants
        }

        // MARK: Compare and set

        @Test func ofManyWritersOfAGenerationOneWins() async throws {
            try await TwoNodes.with { nodes in
                let grant = makeGrant(nodes.connection)
                #expect(try await nodes.a.put(grant, expectedGeneration: nil))
                let wins = try await nodes.race(50) { node, writer in
                    (writer, try await node.put(renewed(grant, by: writer), expectedGeneration: 1, events: [event("\(writer)", grant)]))
                }
                let winners = wins.filter(\.1).map(\.0)
                #expect(winners.count == 1)
                let stored = try #require(try await nodes.b.grant(connection: nodes.connection.uid, subject: "", slot: ""))
                #expect(stored.tokenGeneration == 2)
                #expect(stored.accessToken == Sealed(bytes: [7, UInt8(winners[0])]))
                #expect(stored.refreshToken == Sealed(bytes: [8, UInt8(winners[0])]))
                #expect(try await nodes.events() == ["evt_\(winners[0])"])
            }
        }

        @Test func ofManyThatMakeAGrantOneDoes() async throws {
            try await TwoNodes.with { nodes in
                let wins = try await nodes.race(50) { node, _ in
                    let grant = makeGrant(nodes.connection)
                    return (grant.uid, try await node.put(grant, expectedGeneration: nil, events: [event(grant.uid.text, grant)]))
                }
                let winners = wins.filter(\.1).map(\.0)
                #expect(winners.count == 1)
                #expect(try await nodes.a.grants(filter: GrantFilter(now: now), after: nil, limit: 10).map(\.uid) == winners)
                #expect(try await nodes.events() == winners.map { "evt_" + $0.text })
            }
        }

        @Test func whoDoesNotKnowWhetherItWroteWritesAgain() async throws {
            try await TwoNodes.with { nodes async throws in
                let grant = makeGrant(nodes.connection)
                for _ in 0..<2 { #expect(try await nodes.a.put(grant, expectedGeneration: nil, events: [event("made", grant)])) }
                #expect(try await nodes.a.put(makeGrant(nodes.connection), expectedGeneration: nil) == false)
                let next = renewed(grant, by: 1)
                for _ in 0..<2 { #expect(try await nodes.a.put(next, expectedGeneration: 1, events: [event("renewed", grant)])) }
                // Each was announced once.
                #expect(try await nodes.events() == ["evt_renewed", "evt_made"])
                // Tokens of another writer are no repetition, nor is one of two that is the same.
                #expect(try await nodes.b.put(renewed(grant, by: 2), expectedGeneration: 1) == false)
                var half = next
                half.refreshToken = nil
                #expect(try await nodes.b.put(half, expectedGeneration: 1) == false)
                // Nor is it one when somebody wrote since.
                #expect(try await nodes.b.put(renewed(next, by: 3), expectedGeneration: 2))
                #expect(try await nodes.a.put(next, expectedGeneration: 1) == false)
                #expect(try await nodes.a.grant(uid: grant.uid)?.tokenGeneration == 3)
            }
        }

        @Test func twoThatEmptyAGrantAreNotTheSame() async throws {
            try await TwoNodes.with { nodes in
                let grant = makeGrant(nodes.connection)
                #expect(try await nodes.a.put(grant, expectedGeneration: nil))
                var empty = grant
                (empty.tokenGeneration, empty.accessToken, empty.refreshToken, empty.state) = (2, nil, nil, .revoked)
                let tombstone = empty
                let wins = try await nodes.race(20) { node, _ in try await node.put(tombstone, expectedGeneration: 1) }
                #expect(wins.count { $0 } == 1)
            }
        }

        // MARK: Put and what takes its right away

        @Test func aRenewalAndAChangeOfStateDoNotMix() async throws {
            try await TwoNodes.with { nodes in
                let grants = try await insertGrants(40, in: nodes)
                for grant in grants {
                    let next = renewed(grant, by: 1)
                    async let isWritten = nodes.a.put(next, expectedGeneration: 1)
                    async let isMarked = nodes.b.setState(
                        .reauthorizationRequired, reason: "invalid_grant", at: now, grant: grant.uid, expectedGeneration: 1,
                        events: [event(grant.uid.text, grant)])
                    let marked = try await (isWritten, isMarked)
                    #expect(marked.0)
                    // Whichever was first, what was refused was the old generation: the new one is whole.
                    let stored = try #require(try await nodes.a.grant(uid: grant.uid))
                    #expect(stored.state == .active)
                    #expect(stored.stateReason == nil)
                    #expect(stored.tokenGeneration == 2)
                    #expect(stored.refreshToken == next.refreshToken)
                    #expect(try await nodes.events().contains("evt_" + grant.uid.text) == marked.1)
                }
            }
        }

        @Test func noRenewalRevivesWhatWasVoided() async throws {
            try await TwoNodes.with { nodes in
                let grants = try await insertGrants(60, in: nodes)
                var moved = nodes.connection
                moved.updatedAt = now + .seconds(1)
                let connection = moved
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for grant in grants { group.addTask { _ = try await nodes.a.put(renewed(grant, by: 1), expectedGeneration: 1) } }
                    group.addTask {
                        let isMoved = try await nodes.b.update(connection, expectedRevision: 1, grants: .void { [event($0.uid.text, $0)] })
                        #expect(isMoved)
                    }
                    try await group.waitForAll()
                }
                for grant in grants {
                    let stored = try #require(try await nodes.a.grant(uid: grant.uid))
                    #expect(stored.state == .reauthorizationRequired)
                    #expect(stored.stateReason == "host_changed")
                }
                #expect(try await nodes.events().sorted() == grants.map { "evt_" + $0.uid.text }.sorted())
            }
        }

        // MARK: Claims and leases

        @Test func noGrantIsClaimedTwice() async throws {
            try await TwoNodes.with { nodes in
                let grants = try await insertGrants(300, in: nodes, dueAt: now)
                let until = now + .seconds(600)
                let claims = try await nodes.race(4) { node, _ -> [[Grant]] in
                    var claims: [[Grant]] = []
                    while true {
                        let claim = try await node.claimDue(connection: nodes.connection.uid, now: now, limit: 7, until: until)
                        if claim.isEmpty { return claims }
                        claims.append(claim)
                    }
                }.flatMap { $0 }
                // Whoever found nothing more found the rest in somebody else's hands.
                #expect(try await nodes.a.claimDue(connection: nodes.connection.uid, now: now, limit: 300, until: until).isEmpty)
                #expect(claims.flatMap { $0 }.map(\.uid).sorted() == grants.map(\.uid).sorted())
                for claim in claims {
                    let times = claim.compactMap(\.dueAt)
                    #expect(times == times.sorted())
                    #expect(times.count == claim.count)
                }
                #expect(try await nodes.b.grant(uid: grants[0].uid)?.dueAt == until)
                #expect(try await nodes.b.connectionsDue(now: now).isEmpty)
            }
        }

        @Test func aClaimLeavesWhatSomebodyHoldsAndARenewalWaitsForIt() async throws {
            try await TwoNodes.with { nodes in
                let grants = try await insertGrants(3, in: nodes, dueAt: now)
                let other = makeConnection("b")
                try await nodes.a.insert(other)
                // Runs inside the transaction, on a thread of its own, while the grants' rows are locked.
                let (isHeld, mayGoOn) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
                async let isChanged = nodes.a.update(
                    nodes.connection, expectedRevision: 1,
                    grants: .endings { grant in
                        isHeld.signal()
                        if grant.uid == grants[0].uid { _ = mayGoOn.wait(timeout: .now() + 8) }
                        grant.diesAt = now + .seconds(5)
                    })
                try await eventually("the grants are held") { isHeld.wait(timeout: .now()) == .success }
                #expect(try await nodes.b.claimDue(connection: nodes.connection.uid, now: now, limit: 10, until: now + .seconds(60)).isEmpty)
                // A connection that is being changed is in nobody else's way.
                #expect(try await nodes.b.put(makeGrant(nodes.connection, subject: "new"), expectedGeneration: nil))
                #expect(try await nodes.b.put(makeGrant(other), expectedGeneration: nil))
                async let isWritten = nodes.b.put(renewed(grants[0], by: 1), expectedGeneration: 1)
                #expect(try await nodes.b.grant(uid: grants[0].uid)?.tokenGeneration == 1)
                mayGoOn.signal()
                let outcomes = try await (isChanged, isWritten)
                #expect(outcomes == (true, true))
                #expect(try await nodes.b.grant(uid: grants[0].uid)?.tokenGeneration == 2)
                #expect(try await nodes.b.claimDue(connection: nodes.connection.uid, now: now, limit: 10, until: now + .seconds(60)).count == 3)
            }
        }

        @Test func aRefreshBeginsUnderALeaseThatIsHeld() async throws {
            try await TwoNodes.with { nodes in
                let grant = makeGrant(nodes.connection)
                #expect(try await nodes.a.put(grant, expectedGeneration: nil))
                func begin(_ node: PostgresStore, _ owner: String, generation: Int = 1, for lifetime: Duration = .seconds(60)) async throws -> Int? {
                    try await node.beginRefresh(
                        grant: grant.uid, generation: generation, at: now, lease: LeaseClaim(name: "renew", owner: owner, lifetime: lifetime))
                }
                // Nobody's.
                #expect(try await begin(nodes.a, "a") == nil)
                // One that has ended, though nobody took it since.
                #expect(try await nodes.a.takeLease("renew", owner: "a", lifetime: .milliseconds(50)))
                try await Task.sleep(for: .milliseconds(100))
                #expect(try await begin(nodes.a, "a") == nil)
                // Somebody else's.
                #expect(try await nodes.b.takeLease("renew", owner: "b", lifetime: .seconds(20)))
                #expect(try await begin(nodes.a, "a") == nil)
                #expect(try await nodes.a.intent(grant: grant.uid) == nil)
                // Held, but for a grant that has moved: neither an intent nor a longer lease.
                #expect(try await begin(nodes.b, "b", generation: 2) == nil)
                #expect(try await nodes.a.intent(grant: grant.uid) == nil)
                // Held: it lasts longer from here on.
                #expect(try await begin(nodes.b, "b") == 1)
                #expect(try await begin(nodes.b, "b") == 2)
                #expect(try await nodes.query("SELECT ends_at > clock_timestamp() + interval '30 seconds' FROM lease") == "t")
                #expect(try await nodes.a.takeLease("renew", owner: "a", lifetime: .seconds(1)) == false)
                // It ends when its holder said, not later.
                #expect(try await begin(nodes.b, "b", for: .milliseconds(50)) == 3)
                try await Task.sleep(for: .milliseconds(100))
                #expect(try await nodes.a.takeLease("renew", owner: "a", lifetime: .seconds(60)))
                #expect(try await begin(nodes.b, "b") == nil)
                #expect(try await begin(nodes.a, "a") == 4)
            }
        }

        @Test func everyAttemptIsCounted() async throws {
            try await TwoNodes.with { nodes in
                let grant = makeGrant(nodes.connection)
                #expect(try await nodes.a.put(grant, expectedGeneration: nil))
                let attempts = try await nodes.race(30) { node, _ in try await node.beginRefresh(grant: grant.uid, generation: 1, at: now, lease: nil) }
                #expect(attempts.compactMap(\.self).sorted() == Array(1...30))
                #expect(try await nodes.a.put(renewed(grant, by: 1), expectedGeneration: 1))
                #expect(try await nodes.b.intent(grant: grant.uid) == nil)
            }
        }

        @Test func noIntentOutlivesItsGeneration() async throws {
            try await TwoNodes.with { nodes in
                let grants = try await insertGrants(80, in: nodes)
                let begun = try await nodes.race(160) { node, number -> Int? in
                    // Two after each other are of one grant, on two nodes.
                    let grant = grants[number / 2]
                    if number % 2 == 0 { return try await node.beginRefresh(grant: grant.uid, generation: 1, at: now, lease: nil) }
                    return try await node.put(renewed(grant, by: 1), expectedGeneration: 1) ? 0 : nil
                }
                #expect(begun.count { $0 == 0 } == 80)
                for grant in grants { #expect(try await nodes.a.intent(grant: grant.uid) == nil) }
            }
        }

        // MARK: Uses

        @Test func usesThatAreNotedAtOnceKeepTheLatest() async throws {
            try await TwoNodes.with { nodes in
                let grants = try await insertGrants(50, in: nodes)
                _ = try await nodes.race(20) { node, number in
                    // Dictionaries have another order each time.
                    try await node.touchGrants(Dictionary(uniqueKeysWithValues: grants.map { ($0.uid, now + .seconds(number)) }))
                }
                for grant in grants { #expect(try await nodes.a.grant(uid: grant.uid)?.lastUsedAt == now + .seconds(19)) }
                // A renewal that read the grant before does not undo it.
                #expect(try await nodes.b.put(renewed(grants[0], by: 1), expectedGeneration: 1))
                #expect(try await nodes.a.grant(uid: grants[0].uid)?.lastUsedAt == now + .seconds(19))
            }
        }
    }
#endif

#if PostgreSQL
    import PostgresStore
    import TestSupport
    import Testing
    import Vault

    @Suite(.serialized, .enabled(if: PostgresServer.isExpected)) struct PostgresConnectionTests {
        @Test func ofManyChangesOfARevisionOneWins() async throws {
            try await TwoNodes.with { nodes in
                let wins = try await nodes.race(30) { node, number in
                    var changed = nodes.connection
                    changed.settings.name = "by \(number)"
                    return (number, try await node.update(changed, expectedRevision: 1, grants: .none))
                }
                let winners = wins.filter(\.1).map(\.0)
                #expect(winners.count == 1)
                let stored = try #require(try await nodes.a.connection(uid: nodes.connection.uid))
                #expect(stored.revision == 2)
                #expect(stored.settings.name == "by \(winners[0])")
            }
        }

        @Test func anOutageThatManySeeIsAnnouncedOnce() async throws {
            try await TwoNodes.with { nodes in
                let uid = nodes.connection.uid
                @Sendable func event(_ id: String, _ kind: WebhookEvent.Kind) -> WebhookEvent {
                    WebhookEvent(id: "evt_" + id, kind: kind, at: now, connectionUID: uid, orderKey: uid, subject: nil, data: "{}")
                }
                _ = try await nodes.race(30) { node, number in
                    try await node.setHealth(
                        .init(state: .providerDown, reason: "provider_unavailable", since: now), connection: uid, expectedRevision: 1,
                        events: [event("down\(number)", .connectionProviderDown)])
                }
                #expect(try await nodes.events().count == 1)
                #expect(try await nodes.a.connection(uid: uid)?.health.state == .providerDown)
                _ = try await nodes.race(30) { node, number in
                    try await node.setHealth(
                        .init(state: .ok, since: now), connection: uid, expectedRevision: 1, events: [event("up\(number)", .connectionRecovered)])
                }
                #expect(try await nodes.events().count == 2)
                let warned = try await nodes.race(20) { node, number in
                    try await node.noteSecretWarned(connection: uid, expiry: now, events: [event("secret\(number)", .connectionSecretExpiring)])
                }
                #expect(warned.count { $0 } == 1)
                #expect(try await nodes.events().count == 3)
            }
        }

        @Test func nothingIsLeftOfAConnectionThatGrantsWereMadeFor() async throws {
            try await TwoNodes.with { nodes in
                let uid = nodes.connection.uid
                _ = try await nodes.a.insertDataKey(scope: uid.text, masterKeyID: "m", wrapped: [1])
                let outcomes = try await nodes.race(61) { node, number -> Bool in
                    if number == 30 {
                        try await node.deleteConnection(uid)
                        return true
                    }
                    let grant = makeGrant(nodes.connection, subject: "s\(number)")
                    do {
                        let isMade = try await node.put(grant, expectedGeneration: nil)
                        _ = try await node.beginRefresh(grant: grant.uid, generation: 1, at: now, lease: nil)
                        return isMade
                    } catch StoreError.conflict {
                        return false
                    }
                }
                #expect(outcomes.count == 61)
                #expect(try await nodes.a.connection(uid: uid) == nil)
                #expect(try await nodes.a.grants(filter: GrantFilter(now: now), after: nil, limit: 100).isEmpty)
                #expect(try await nodes.a.dataKeys().isEmpty)
                await #expect(throws: StoreError.conflict) { try await nodes.a.put(makeGrant(nodes.connection), expectedGeneration: nil) }
            }
        }

        @Test func endingsChangeWithThePolicyWhileGrantsAreRenewed() async throws {
            try await TwoNodes.with { nodes in
                let grants = (0..<30).map { makeGrant(nodes.connection, subject: "s\($0)") }
                for grant in grants { #expect(try await nodes.a.put(grant, expectedGeneration: nil)) }
                async let isChanged = nodes.b.update(nodes.connection, expectedRevision: 1, grants: .endings { $0.diesAt = now + .seconds($0.tokenGeneration) })
                _ = try await nodes.race(30) { node, number in
                    var next = grants[number]
                    next.tokenGeneration = 2
                    next.accessToken = Sealed(bytes: [UInt8(number)])
                    return try await node.put(next, expectedGeneration: 1)
                }
                let changed = try await isChanged
                #expect(changed)
                for (number, grant) in grants.enumerated() {
                    let stored = try #require(try await nodes.a.grant(uid: grant.uid))
                    // Before the change: by the new generation. After it: as the renewal says. Never the old grant's in the new one's place.
                    #expect(stored.tokenGeneration == 2)
                    #expect(stored.accessToken == Sealed(bytes: [UInt8(number)]))
                    #expect(stored.diesAt == nil || stored.diesAt == now + .seconds(2))
                }
            }
        }

        // MARK: Keys

        @Test func ofManyThatMakeADataKeyOneDoes() async throws {
            try await TwoNodes.with { nodes in
                let ids = try await nodes.race(20) { node, number -> Int? in
                    do {
                        return try await node.insertDataKey(scope: "scope", masterKeyID: "m", wrapped: [UInt8(number)])
                    } catch StoreError.conflict {
                        return nil
                    }
                }.compactMap(\.self)
                #expect(ids.count == 1)
                #expect(try await nodes.b.dataKeys().map(\.id) == ids)
            }
        }

        @Test func aKeyThatManyNodesReplaceEndsItsSessions() async throws {
            try await TwoNodes.with { nodes in
                let old = APIKey(id: "key_admin", name: "admin", hash: [1], role: .admin, createdAt: now)
                try await nodes.a.insert(old)
                try await nodes.a.insert(
                    ConsoleSession(
                        id: "con_1", tokenHash: [5], keyID: old.id, createdAt: now, lastSeenAt: now, expiresAt: now + .seconds(600),
                        userAgent: "", address: ""))
                var new = old
                new.hash = [2]
                let key = new
                _ = try await nodes.race(10) { node, _ in try await node.put(key) }
                #expect(try await nodes.b.keys().map(\.hash) == [[2]])
                #expect(try await nodes.b.consoleSessions(key: nil).isEmpty)
                // The same key under another id takes its place.
                var renamed = key
                renamed.id = "key_other"
                try await nodes.a.put(renamed)
                #expect(try await nodes.b.keys().map(\.id) == ["key_other"])
                _ = try await nodes.race(10) { node, number in try await node.touchKeys(["key_other": now + .seconds(number)]) }
                #expect(try await nodes.a.keys().map(\.lastUsedAt) == [now + .seconds(9)])
            }
        }

        @Test func metaIsReplacedWhoeverWrites() async throws {
            try await TwoNodes.with { nodes in
                _ = try await nodes.race(20) { node, number in try await node.changeMeta(["x": [UInt8(number)], "y": [UInt8(number)], "gone": nil]) }
                let value = try #require(try await nodes.a.meta("x"))
                #expect(try await nodes.b.meta("y") == value)
                #expect(try await nodes.b.meta("gone") == nil)
            }
        }
    }
#endif

import Foundation
import Testing
import Vault

@Suite struct StoreTests {
    @Test(arguments: Backend.allCases) func connectionsComeBackWholeAndInOrder(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let store = opened.store
        for id in ["b", "a", "c"] { try await store.insert(makeConnection(id)) }
        #expect(try await store.connections(after: nil, limit: 2).map(\.id) == ["a", "b"])
        #expect(try await store.connections(after: "b", limit: 2).map(\.id) == ["c"])
        let first = try #require(try await store.connection(id: "a"))
        #expect(first.settings == makeConnection("a").settings)
        #expect(first.clientSecret == Sealed(bytes: [1, 2]))
        #expect(try await store.connection(uid: first.uid)?.id == "a")
        await #expect(throws: StoreError.conflict) { try await store.insert(makeConnection("a")) }
    }

    @Test func settingsOfAnOlderVersionLackWhatCameLater() throws {
        var settings = makeConnection("a").settings
        settings.allowEncodedSlash = true
        let stored = String(decoding: try JSONEncoder().encode(settings), as: UTF8.self)
        #expect(try JSONDecoder().decode(ConnectionSettings.self, from: Data(stored.utf8)) == settings)
        let older = stored.replacing(/"allowEncodedSlash":true,?/, with: "").replacing(",}", with: "}")
        settings.allowEncodedSlash = false
        #expect(try JSONDecoder().decode(ConnectionSettings.self, from: Data(older.utf8)) == settings)
    }

    @Test(arguments: Backend.allCases) func anUpdateWinsOnce(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let store = opened.store
        let connection = makeConnection("a")
        try await store.insert(connection)
        let wins = try await withThrowingTaskGroup(of: Bool.self) { group in
            for _ in 0..<50 { group.addTask { try await store.update(connection, expectedRevision: 1, grants: .none) } }
            return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(wins == 1)
        #expect(try await store.connection(id: "a")?.revision == 2)
        try await store.setHealth(
            .init(state: .misconfigured, reason: "invalid_client", since: now), connection: connection.uid, expectedRevision: 2, events: [])
        #expect(try await store.connection(id: "a")?.health.reason == "invalid_client")
        // That its provider is down, too, does not let it be asked again.
        try await store.setHealth(.init(state: .providerDown, since: now), connection: connection.uid, expectedRevision: 2, events: [])
        #expect(try await store.connection(id: "a")?.health.state == .misconfigured)
        #expect(try await store.connection(id: "a")?.revision == 2)
    }

    @Test(arguments: Backend.allCases) func aGrantIsReplacedByItsGenerationOnly(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let store = opened.store
        let connection = makeConnection("a")
        try await store.insert(connection)
        var grant = makeGrant(connection)
        #expect(try await store.put(grant, expectedGeneration: nil))
        #expect(try await store.put(makeGrant(connection), expectedGeneration: nil) == false)
        grant.tokenGeneration = 2
        let next = grant
        let wins = try await withThrowingTaskGroup(of: Bool.self) { group in
            for writer in 0..<100 {
                group.addTask {
                    var mine = next
                    mine.accessToken = Sealed(bytes: [7, UInt8(writer)])
                    return try await store.put(mine, expectedGeneration: 1)
                }
            }
            return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(wins == 1)
        let stored = try #require(try await store.grant(connection: connection.uid, subject: "", slot: ""))
        #expect(stored.tokenGeneration == 2)
        #expect(stored.captured == ["callback.shop": "x"])
        #expect(stored.scope == ["a"])
        #expect(try await store.setState(.revoked, reason: nil, at: now, grant: grant.uid, expectedGeneration: 1, events: []) == false)
        #expect(try await store.setState(.revoked, reason: "x", at: now, grant: grant.uid, expectedGeneration: 2, events: []))
        #expect(try await store.grant(uid: grant.uid)?.tokenGeneration == 2)
    }

    @Test(arguments: Backend.allCases) func aGrantNeedsItsConnection(_ backend: Backend) async throws {
        let opened = try await backend.open()
        await #expect(throws: StoreError.conflict) { try await opened.store.put(makeGrant(makeConnection("gone")), expectedGeneration: nil) }
    }

    @Test(arguments: Backend.allCases) func anIntentCountsItsGenerationAndEndsWithTheWrite(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let store = opened.store
        let connection = makeConnection("a")
        try await store.insert(connection)
        var grant = makeGrant(connection)
        _ = try await store.put(grant, expectedGeneration: nil)
        #expect(try await store.beginRefresh(grant: grant.uid, generation: 1, at: now, lease: nil) == 1)
        #expect(try await store.beginRefresh(grant: grant.uid, generation: 1, at: now, lease: nil) == 2)
        #expect(try await store.beginRefresh(grant: grant.uid, generation: 7, at: now, lease: nil) == nil)
        #expect(try await store.intent(grant: grant.uid)?.attempts == 2)
        grant.tokenGeneration = 2
        _ = try await store.put(grant, expectedGeneration: 1)
        #expect(try await store.intent(grant: grant.uid) == nil)
        #expect(try await store.beginRefresh(grant: grant.uid, generation: 2, at: now, lease: nil) == 1)
        try await store.clearIntent(grant: grant.uid, generation: 1)
        #expect(try await store.intent(grant: grant.uid) != nil)
        try await store.clearIntent(grant: grant.uid, generation: 2)
        #expect(try await store.intent(grant: grant.uid) == nil)
    }

    @Test(arguments: Backend.allCases) func grantsAreFoundByWhatTheyAre(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let store = opened.store
        let (a, b) = (makeConnection("a"), makeConnection("b"))
        try await store.insert(a)
        try await store.insert(b)
        _ = try await store.put(makeGrant(a, subject: "u1", expiresAt: now + .seconds(10)), expectedGeneration: nil)
        _ = try await store.put(makeGrant(a, subject: "u2", expiresAt: now), expectedGeneration: nil)
        let revoked = makeGrant(b, subject: "u1")
        _ = try await store.put(revoked, expectedGeneration: nil)
        _ = try await store.setState(.revoked, reason: nil, at: now, grant: revoked.uid, expectedGeneration: 1, events: [])
        func count(_ change: (inout GrantFilter) -> Void) async throws -> Int {
            var filter = GrantFilter(now: now)
            change(&filter)
            return try await store.grants(filter: filter, after: nil, limit: 10).count
        }
        #expect(try await count { _ in } == 3)
        #expect(try await count { $0.connection = a.uid } == 2)
        #expect(try await count { $0.subject = "u1" } == 2)
        #expect(try await count { $0.subjects = ["u2", "u3"] } == 1)
        #expect(try await count { $0.connections = [] } == 0)
        #expect(try await count { $0.state = "active" } == 1)
        #expect(try await count { $0.state = "expired" } == 1)
        #expect(try await count { $0.state = "revoked" } == 1)
        #expect(try await store.grantCounts(now: now) == ["active": 1, "expired": 1, "revoked": 1])
        let first = try #require(try await store.grants(filter: GrantFilter(now: now), after: nil, limit: 1).first)
        #expect(try await store.grants(filter: GrantFilter(now: now), after: first.uid, limit: 10).count == 2)
        try await store.touchGrants([first.uid: now])
        #expect(try await store.grant(uid: first.uid)?.lastUsedAt == now)
    }

    @Test(arguments: Backend.allCases) func aStateIsTakenOnce(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let store = opened.store
        let connection = makeConnection("a")
        try await store.insert(connection)
        try await store.insert(makeSession(connection))
        let attempt = AuthorizationAttempt(
            stateHash: [7], sessionID: "cs_1", connectionUID: connection.uid, connectionRevision: 1, bindingHash: [8], pending: Sealed(bytes: [1]),
            createdAt: now,
            expiresAt: now + .seconds(600))
        try await store.insert(attempt)
        let taken = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<100 { group.addTask { if case .taken = try await store.takeAttempt(stateHash: [7], now: now) { 1 } else { 0 } } }
            return try await group.reduce(0, +)
        }
        #expect(taken == 1)
        guard case .alreadyTaken("cs_1") = try await store.takeAttempt(stateHash: [7], now: now) else {
            Issue.record("a used state is known as used")
            return
        }
        guard case .unknown = try await store.takeAttempt(stateHash: [6], now: now) else {
            Issue.record("an unknown state is unknown")
            return
        }
        var late = attempt
        late.stateHash = [5]
        try await store.insert(late)
        guard case .expired("cs_1") = try await store.takeAttempt(stateHash: [5], now: now + .seconds(600)) else {
            Issue.record("a state ends with its time")
            return
        }
    }

    @Test(arguments: Backend.allCases) func sessionsMoveAndCompletionsAreTakenOnce(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let store = opened.store
        let connection = makeConnection("a")
        try await store.insert(connection)
        try await store.insert(makeSession(connection))
        #expect(try await store.session(ticketHash: [9])?.options.completion == .application)
        #expect(try await store.moveSession("cs_1", from: [.open], to: .pending, error: nil, errorDetail: nil, grant: nil))
        #expect(try await store.moveSession("cs_1", from: [.open], to: .connected, error: nil, errorDetail: nil, grant: nil) == false)
        let completion = Completion(sessionID: "cs_1", connectionRevision: 1, code: Sealed(bytes: [3]), captured: [:], expiresAt: now + .seconds(600))
        try await store.put(completion)
        #expect(try await store.completion(sessionID: "cs_1") != nil)
        #expect(try await store.takeCompletion(sessionID: "cs_1")?.code == Sealed(bytes: [3]))
        #expect(try await store.takeCompletion(sessionID: "cs_1") == nil)
        try await store.put(completion)
        try await store.sweep(now: now + .seconds(700))
        #expect(try await store.completion(sessionID: "cs_1") == nil)
        #expect(try await store.session(id: "cs_1") != nil)
        try await store.sweep(now: now + .seconds(100_000))
        #expect(try await store.session(id: "cs_1") == nil)
    }

    @Test(arguments: Backend.allCases) func aDeletedConnectionTakesEverythingButItsActivity(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let store = opened.store
        let connection = makeConnection("a")
        try await store.insert(connection)
        let grant = makeGrant(connection)
        _ = try await store.put(grant, expectedGeneration: nil)
        try await store.insert(makeSession(connection))
        try await store.insert(
            OrphanToken(uid: .make(at: now), connectionUID: connection.uid, accessToken: nil, refreshToken: nil, createdAt: now, nextTryAt: now))
        try await store.append([Activity(uid: .make(at: now), at: now, action: "token.read", connectionUID: connection.uid, connection: "a")])
        try await store.deleteConnection(connection.uid)
        #expect(try await store.connection(id: "a") == nil)
        #expect(try await store.grant(uid: grant.uid) == nil)
        #expect(try await store.session(id: "cs_1") == nil)
        #expect(try await store.orphans(due: now, limit: 10).isEmpty)
        #expect(try await store.activity(filter: .init(connection: "a"), before: nil, limit: 10).count == 1)
    }

    @Test(arguments: Backend.allCases) func keysActivityOrphansAndMeta(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let store = opened.store
        let key = APIKey(
            id: "key_1", name: "k", hash: [1], role: .use, connections: [UID(text: "x")], subjects: ["s"], requestsPerMinute: 5, createdAt: now, expiresAt: now)
        try await store.insert(key)
        await #expect(throws: StoreError.conflict) { try await store.insert(key) }
        #expect(try await store.keys() == [key])
        #expect(try await store.deleteKey(id: "key_1"))
        #expect(try await store.deleteKey(id: "key_1") == false)
        let entries = (0..<5).map { Activity(uid: .make(at: now + .seconds($0)), at: now, action: "x", subject: $0 == 0 ? "s" : nil, count: $0) }
        try await store.append(entries)
        #expect(try await store.activity(filter: .init(), before: nil, limit: 2).map(\.count) == [4, 3])
        #expect(try await store.activity(filter: .init(), before: entries[3].uid, limit: 10).map(\.count) == [2, 1, 0])
        #expect(try await store.activity(filter: .init(subject: "s"), before: nil, limit: 10).map(\.count) == [0])
        #expect(try await store.meta("m") == nil)
        try await store.setMeta("m", [1])
        try await store.setMeta("m", [2])
        #expect(try await store.meta("m") == [2])
    }

    @Test(arguments: Backend.allCases) func aWriteOutlivesItsCaller(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let store = opened.store
        let connection = makeConnection("a")
        try await store.insert(connection)
        for index in 0..<50 {
            let task = Task { _ = try await store.put(makeGrant(connection, subject: "u\(index)"), expectedGeneration: nil) }
            task.cancel()
            _ = await task.result
        }
        #expect(try await store.grants(filter: .init(now: now), after: nil, limit: 100).count == 50)
    }
}

import Foundation
import Testing
import Vault

@Suite struct RevocationStoreTests {
    /// Two connections, three subjects of the first, one of the second.
    private func filled(_ backend: Backend) async throws -> (opened: Opened, first: Connection, second: Connection) {
        let opened = try await backend.open()
        let (first, second) = (makeConnection("first"), makeConnection("second"))
        for connection in [first, second] { try await opened.store.insert(connection) }
        for subject in ["", "u1", "u2"] { _ = try await opened.store.put(makeGrant(first, subject: subject), expectedGeneration: nil) }
        _ = try await opened.store.put(makeGrant(second, subject: "u1"), expectedGeneration: nil)
        return (opened, first, second)
    }

    private func revoke(
        _ store: any Store, _ filter: RevocationFilter, revocation: String? = nil, limit: Int = 100
    ) async throws -> [RevokedGrant] {
        try await store.revoke(filter, at: now, askAt: now, revocation: revocation, limit: limit) { _, _ in [] }
    }

    private func record(_ store: any Store, _ filter: RevocationFilter = .init(), number: Int = 0) async throws -> RevocationRecord {
        let record = RevocationRecord(
            id: "rv_" + UID.make(at: now + .seconds(number)).text, filter: filter, connection: nil, requestedBy: "key_admin", createdAt: now)
        try await store.insert(record)
        return record
    }

    @Test("A revoked grant is a tombstone, and its tokens an orphan under the seals that they had", arguments: Backend.allCases)
    func tombstones(_ backend: Backend) async throws {
        let (opened, first, _) = try await filled(backend)
        let store = opened.store
        var grant = try #require(try await store.grant(connection: first.uid, subject: "u1", slot: ""))
        grant.expiresAt = now + .seconds(60)
        grant.nextRefreshAt = now + .seconds(30)
        grant.dueAt = now
        grant.diesAt = now + .seconds(90)
        grant.warnAt = now + .seconds(80)
        grant.refreshExpiresAt = now + .seconds(90)
        grant.tokenGeneration = 5
        #expect(try await store.put(grant, expectedGeneration: 1))
        #expect(try await store.beginRefresh(grant: grant.uid, generation: 5, at: now, lease: nil) == 1)

        let revoked = try await revoke(store, .init(grant: grant.uid))
        let orphanUID = OrphanToken.uid(grant: grant.uid, generation: 5)
        #expect(revoked == [RevokedGrant(uid: grant.uid, connectionUID: first.uid, subject: "u1", orphan: orphanUID)])
        let tombstone = try #require(try await store.grant(uid: grant.uid))
        #expect(tombstone.state == .revoked)
        #expect(tombstone.tokenGeneration == 6)
        #expect(tombstone.accessToken == nil && tombstone.refreshToken == nil)
        for time in [tombstone.expiresAt, tombstone.refreshExpiresAt, tombstone.nextRefreshAt, tombstone.dueAt, tombstone.diesAt, tombstone.warnAt] {
            #expect(time == nil)
        }
        #expect(try await store.intent(grant: grant.uid) == nil)
        let orphan = try #require(try await store.orphan(uid: orphanUID))
        #expect(orphan.accessToken == grant.accessToken && orphan.refreshToken == grant.refreshToken)
        #expect(orphan.origin == .init(grantUID: grant.uid, generation: 5))
        #expect(orphan.revocationID == nil)
        // A renewal that was on its way is refused; nothing is revoked twice.
        grant.tokenGeneration = 6
        #expect(try await store.put(grant, expectedGeneration: 5) == false)
        #expect(try await revoke(store, .init(grant: grant.uid)).isEmpty)
    }

    @Test("What is named is combined", arguments: Backend.allCases)
    func filters(_ backend: Backend) async throws {
        func subjects(_ make: (Connection, Connection) -> RevocationFilter) async throws -> [String] {
            let (opened, first, second) = try await filled(backend)
            try await opened.store.append([
                Activity(uid: .make(at: now), at: now, action: "token.read", connectionUID: first.uid, subject: "u1", key: "key_1"),
                Activity(uid: .make(at: now), at: now, action: "api.called", connectionUID: first.uid, key: "key_1"),
                Activity(uid: .make(at: now), at: now, action: "api.refused", connectionUID: second.uid, subject: "u1", key: "key_1"),
                Activity(uid: .make(at: now), at: now, action: "grant.refreshed", connectionUID: first.uid, subject: "u2", key: "key_1"),
                Activity(uid: .make(at: now), at: now, action: "token.read", connectionUID: second.uid, subject: "u1", key: "key_2"),
            ])
            let names = [first.uid: "first", second.uid: "second"]
            return try await revoke(opened.store, make(first, second)).map { "\(names[$0.connectionUID] ?? "") \($0.subject)" }.sorted()
        }
        #expect(try await subjects { _, _ in .init() } == ["first ", "first u1", "first u2", "second u1"])
        #expect(try await subjects { first, _ in .init(connection: first.uid) } == ["first ", "first u1", "first u2"])
        #expect(try await subjects { _, _ in .init(subject: "u1") } == ["first u1", "second u1"])
        #expect(try await subjects { _, _ in .init(subject: "") } == ["first "])
        #expect(try await subjects { _, second in .init(connection: second.uid, subject: "u1") } == ["second u1"])
        #expect(try await subjects { _, second in .init(connection: second.uid, subject: "u2") }.isEmpty)
        #expect(try await subjects { _, _ in .init(key: "key_1") } == ["first ", "first u1"])
        #expect(try await subjects { _, _ in .init(subject: "u1", key: "key_1") } == ["first u1"])
        #expect(try await subjects { _, second in .init(connection: second.uid, key: "key_1") }.isEmpty)
        #expect(try await subjects { _, _ in .init(key: "key_9") }.isEmpty)
    }

    @Test("A key's tokens are known by the activity log", arguments: Backend.allCases)
    func readsOfAKey(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let store = opened.store
        try await store.append([
            Activity(uid: .make(at: now), at: now, action: "token.read", key: "key_1"),
            Activity(uid: .make(at: now), at: now, action: "key.created", key: "key_2"),
            Activity(uid: .make(at: now), at: now, action: "api.called", key: "key_3"),
            Activity(uid: .make(at: now), at: now, action: "api.refused", key: "key_4"),
        ])
        #expect(try await store.wasGivenTokens(key: "key_1"))
        #expect(try await store.wasGivenTokens(key: "key_2") == false)
        #expect(try await store.wasGivenTokens(key: "key_3"))
        #expect(try await store.wasGivenTokens(key: "key_4") == false)
    }

    @Test("A record counts its grants, and how their tokens ended", arguments: Backend.allCases)
    func counts(_ backend: Backend) async throws {
        let (opened, first, second) = try await filled(backend)
        let store = opened.store
        var bare = makeGrant(second, subject: "bare")
        bare.accessToken = nil
        bare.refreshToken = nil
        _ = try await store.put(bare, expectedGeneration: nil)
        let filter = RevocationFilter()
        let id = try await record(store, filter).id
        #expect(try await store.unstoppedRevocations().map(\.id) == [id])
        #expect(try await revoke(store, filter, revocation: id, limit: 3).count == 3)
        #expect(try await store.revocation(id: id)?.grants == 3)
        #expect(try await revoke(store, filter, revocation: id, limit: 3).count == 2)
        try await store.endRevocations(at: now)
        try await store.noteStopped(revocation: id, at: now)
        try await store.endRevocations(at: now)
        #expect(try await store.unstoppedRevocations().isEmpty)
        var read = try #require(try await store.revocation(id: id))
        #expect(read.filter == filter)
        #expect([read.grants, read.revoked, read.unsupported, read.failed, read.pending] as [Int] == [5, 0, 1, 0, 4])
        #expect(read.endedAt == nil)

        let orphans = try await store.orphans(due: now, limit: 10)
        #expect(orphans.count == 4)
        #expect(orphans.allSatisfy { $0.revocationID == id })
        // Connections take turns.
        #expect(Set(orphans.prefix(2).map(\.connectionUID)) == [first.uid, second.uid])
        let ofFirst = orphans.filter { $0.connectionUID == first.uid }
        #expect(try await store.endOrphan(ofFirst[0].uid, outcome: .revoked))
        #expect(try await store.endOrphan(ofFirst[0].uid, outcome: .revoked) == false)
        #expect(try await store.endOrphan(ofFirst[1].uid, outcome: .unsupported))
        #expect(try await store.endOrphan(ofFirst[2].uid, outcome: .failed(.refused)))
        // What its provider was not asked about goes with its connection, and is said.
        try await store.deleteConnection(second.uid)
        try await store.endRevocations(at: now + .seconds(7))
        read = try #require(try await store.revocation(id: id))
        #expect([read.grants, read.revoked, read.unsupported, read.failed, read.pending] as [Int] == [5, 1, 2, 2, 0])
        #expect(read.endedAt == now + .seconds(7))
        let failures = try await store.failures(revocation: id, limit: 10)
        #expect(failures.map(\.connection) == ["first", "second"])
        #expect(failures.map(\.reason) == [.refused, .connectionRemoved])
        #expect(failures[1].subject == "u1")
        #expect(try await store.failures(revocation: id, limit: 1).count == 1)
    }

    @Test("After an outage none of a connection's orphans is due, and no other's is held up", arguments: Backend.allCases)
    func postponed(_ backend: Backend) async throws {
        let (opened, first, second) = try await filled(backend)
        let store = opened.store
        _ = try await revoke(store, .init())
        try await store.postponeOrphans(connection: first.uid, dueBefore: now + .seconds(30), until: now + .seconds(60))
        #expect(try await store.orphans(due: now, limit: 10).map(\.connectionUID) == [second.uid])
        let all = try await store.orphans(due: now + .seconds(60), limit: 10)
        #expect(all.count == 4)
        let later = try #require(all.first { $0.connectionUID == first.uid })
        try await store.updateOrphan(later.uid, nextTryAt: now + .seconds(120), tries: 3)
        try await store.postponeOrphans(connection: first.uid, dueBefore: now + .seconds(90), until: now + .seconds(90))
        #expect(try await store.orphan(uid: later.uid)?.nextTryAt == now + .seconds(120))
        #expect(try await store.orphan(uid: later.uid)?.tries == 3)
    }

    @Test("The newest revocation comes first", arguments: Backend.allCases)
    func listed(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let store = opened.store
        var ids: [String] = []
        for number in 0..<5 { ids.insert(try await record(store, .init(subject: "u\(number)"), number: number).id, at: 0) }
        #expect(try await store.revocations(before: nil, limit: 3).map(\.id) == Array(ids[..<3]))
        #expect(try await store.revocations(before: ids[2], limit: 3).map(\.id) == Array(ids[3...]))
        #expect(try await store.revocation(id: "rv_nothing") == nil)
    }

    @Test("Each grant's end is announced in the transaction that ends it", arguments: Backend.allCases)
    func announced(_ backend: Backend) async throws {
        let (opened, first, _) = try await filled(backend)
        let store = opened.store
        @Sendable func told(_ grant: Grant, _ connection: Connection) -> [WebhookEvent] {
            [
                WebhookEvent(
                    id: "evt_\(grant.uid)", kind: .grantRevoked, at: now, connectionUID: connection.uid, orderKey: grant.uid, subject: grant.subject,
                    data: "\(connection.id) \(grant.state.rawValue) \(grant.tokenGeneration)")
            ]
        }
        // Nobody listens: nothing is kept.
        _ = try await store.revoke(.init(connection: first.uid, subject: ""), at: now, askAt: now, revocation: nil, limit: 10, events: told)
        try await store.insert(Webhook(id: "wh_1", url: "https://app.example/", kinds: [.grantRevoked], secret: Sealed(bytes: [1]), createdAt: now))
        _ = try await store.revoke(.init(connection: first.uid), at: now, askAt: now, revocation: nil, limit: 10, events: told)
        let deliveries = try await store.deliveries(webhook: "wh_1", state: nil, before: nil, limit: 10)
        #expect(deliveries.compactMap(\.event.subject).sorted() == ["u1", "u2"])
        #expect(deliveries.allSatisfy { $0.event.data == "first revoked 2" })
    }

    @Test func whatWasRevokedIsInNoFile() async throws {  // SEC-53
        let opened = try await Backend.sqlite.open()
        let connection = makeConnection("a")
        try await opened.store.insert(connection)
        var grant = makeGrant(connection)
        grant.refreshToken = Sealed(bytes: Array("MARKER-IN-A-GRANT".utf8))
        _ = try await opened.store.put(grant, expectedGeneration: nil)
        let orphan = try #require(try await revoke(opened.store, .init(grant: grant.uid)).first?.orphan)
        #expect(try opened.bytes().range(of: Data("MARKER-IN-A-GRANT".utf8)) != nil)
        #expect(try await opened.store.endOrphan(orphan, outcome: .revoked))
        try await opened.store.forgetOverwritten()
        #expect(try opened.bytes().range(of: Data("MARKER-IN-A-GRANT".utf8)) == nil)
    }

    @Test(arguments: Backend.allCases) func tenThousandGrantsAreStoppedInAMoment(_ backend: Backend) async throws {  // SEC-66
        let opened = try await backend.open()
        let connection = makeConnection("a")
        try await opened.store.insert(connection)
        var grant = makeGrant(connection, subject: "u")
        grant.accessToken = Sealed(bytes: [UInt8](repeating: 7, count: 1500))
        grant.refreshToken = Sealed(bytes: [UInt8](repeating: 8, count: 500))
        // The data keys that these bytes name.
        try await opened.tamper(
            "INSERT INTO data_key (id, scope, master_key_id, wrapped) VALUES (\(0x0707_0707), 'x', 'm', 'w'), (\(0x0808_0808), 'y', 'm', 'w')")
        _ = try await opened.store.put(grant, expectedGeneration: nil)
        // One by one, each synced to disk, they would take longer than the test.
        let rest = """
            connection_uid, slot, access_token, refresh_token, token_type, requested_scope, captured, state, state_since, token_generation, created_at
            """
        try await opened.tamper(
            #"""
            WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 9999)
            INSERT INTO "grant" (uid, subject, \#(rest)) SELECT uid || n, subject || n, \#(rest) FROM "grant", number
            """#)
        let id = try await record(opened.store).id
        let started = ContinuousClock.now
        #expect(try await revoke(opened.store, .init(), revocation: id, limit: 5000).count == 5000)
        #expect(try await revoke(opened.store, .init(), revocation: id, limit: 5000).count == 5000)
        #expect(try await revoke(opened.store, .init(), revocation: id, limit: 5000).isEmpty)
        // Under a second by itself; other tests run beside it.
        #expect(ContinuousClock.now - started < .seconds(30))
        let read = try #require(try await opened.store.revocation(id: id))
        #expect(read.grants == 10_000)
        #expect(read.pending == 10_000)
        #expect(try await opened.store.orphans(due: now, limit: 400).count == 400)
    }
}

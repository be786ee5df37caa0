import Foundation
import Testing
import Vault

@Suite struct OverviewTests {
    @Test(arguments: Backend.allCases) func grantsAreCountedByWhatTheyAreGoodFor(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let store = opened.store
        let (a, b, c) = (makeConnection("a"), makeConnection("b"), makeConnection("c"))
        for connection in [a, b, c] { try await store.insert(connection) }

        func add(_ connection: Connection, _ subject: String, _ change: (inout Grant) -> Void) async throws {
            var grant = makeGrant(connection, subject: subject)
            change(&grant)
            #expect(try await store.put(grant, expectedGeneration: nil))
        }
        try await add(a, "no end known") { $0.expiresAt = nil }
        try await add(a, "ends later") { $0.expiresAt = now + .seconds(1) }
        try await add(a, "renewed with the next use") { ($0.expiresAt, $0.nextRefreshAt) = (now, now) }
        try await add(a, "over") { ($0.expiresAt, $0.nextRefreshAt) = (now, nil) }
        try await add(a, "waits") { $0.state = .reauthorizationRequired }
        try await add(a, "waits too") { ($0.state, $0.expiresAt) = (.reauthorizationRequired, now) }
        try await add(a, "gone") { $0.state = .revoked }
        try await add(b, "gone") { $0.state = .revoked }

        let all = try await store.summaries(connections: [a.uid, b.uid, c.uid], subjects: nil, now: now)
        #expect(all[a.uid]?.grants == GrantCounts(active: 2, expired: 1, ended: 1, reauthorizationRequired: 2, revoked: 1))
        #expect(all[a.uid]?.grants.usable == 3)
        #expect(all[a.uid]?.grants.waiting == 3)
        #expect(all[b.uid]?.grants == GrantCounts(revoked: 1))
        #expect(all[c.uid] == nil)

        #expect(try await Set(store.summaries(connections: [b.uid], subjects: nil, now: now).keys) == [b.uid])
        #expect(try await store.summaries(connections: [], subjects: nil, now: now).isEmpty)
        let some = try await store.summaries(connections: [a.uid, b.uid], subjects: ["waits", "over"], now: now)
        #expect(some == [a.uid: ConnectionSummary(grants: GrantCounts(ended: 1, reauthorizationRequired: 1))])
    }

    @Test(arguments: Backend.allCases) func theLatestTroubleIsTold(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let store = opened.store
        let (a, b) = (makeConnection("a"), makeConnection("b"))
        for connection in [a, b] { try await store.insert(connection) }
        let later = Trouble(stage: .refresh, failure: .refused, at: now + .seconds(2), revision: 1, error: "invalid_grant")
        let earlier = Trouble(stage: .token, failure: .timedOut, at: now, revision: 1)
        // The order in which they come says nothing.
        try await store.put(later, connection: a.uid)
        try await store.put(earlier, connection: a.uid)
        let found = try await store.summaries(connections: [a.uid, b.uid], subjects: nil, now: now)
        #expect(found == [a.uid: ConnectionSummary(trouble: later)])
        try await store.deleteTroubles(connection: a.uid, stages: [.refresh])
        #expect(try await store.summaries(connections: [a.uid], subjects: nil, now: now)[a.uid]?.trouble == earlier)
    }
}

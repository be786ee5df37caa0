import Testing
import Vault

/// In which order people look at grants.
@Suite struct GrantOrderTests {
    /// Each grant's subject says its place.
    private func fill(_ store: any Store, _ connection: Connection) async throws {
        try await store.insert(connection)
        func add(_ subject: String, _ change: (inout Grant) -> Void) async throws {
            var grant = makeGrant(connection, subject: subject)
            change(&grant)
            #expect(try await store.put(grant, expectedGeneration: nil))
        }
        // Renewed by whoever reads it, with no known end: nothing is about to happen.
        try await add("6") {
            $0.nextRefreshAt = now + .seconds(60)
            $0.expiresAt = now + .seconds(90)
        }
        try await add("7") { $0.state = .revoked }
        try await add("3") {
            $0.diesAt = now + .seconds(100)
            $0.nextRefreshAt = now + .seconds(60)
        }
        try await add("2") {
            $0.refreshToken = nil
            $0.expiresAt = now + .seconds(-1)
        }
        try await add("5") {
            $0.diesAt = now + .seconds(300)
            $0.nextRefreshAt = now + .seconds(60)
        }
        try await add("1") {
            $0.state = .reauthorizationRequired
            $0.expiresAt = now + .seconds(500)
        }
        try await add("4") {
            $0.refreshToken = nil
            $0.expiresAt = now + .seconds(200)
        }
    }

    @Test(arguments: Backend.allCases) func whatDoesNotWorkComesFirstAndThenWhatDiesSoonest(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let connection = makeConnection("a")
        try await fill(opened.store, connection)
        let filter = GrantFilter(connection: connection.uid, worstFirst: true, now: now)
        let all = try await opened.store.grants(filter: filter, after: nil, limit: 100)
        #expect(all.map(\.subject) == ["1", "2", "3", "4", "5", "6", "7"])
        // In the order in which they were made, as ever.
        let made = try await opened.store.grants(filter: GrantFilter(connection: connection.uid, now: now), after: nil, limit: 100)
        #expect(made.map(\.uid) == made.map(\.uid).sorted() && made.count == 7)
    }

    @Test(arguments: Backend.allCases) func pagesFollowThatOrder(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let connection = makeConnection("a")
        try await fill(opened.store, connection)
        let other = makeConnection("b")
        try await opened.store.insert(other)
        #expect(try await opened.store.put(makeGrant(other, subject: "elsewhere"), expectedGeneration: nil))
        for limit in 1...4 {
            var seen: [String] = []
            var after: UID?
            repeat {
                let page = try await opened.store.grants(
                    filter: GrantFilter(connection: connection.uid, worstFirst: true, now: now), after: after, limit: limit)
                seen += page.map(\.subject)
                after = page.last?.uid
            } while after != nil
            #expect(seen == ["1", "2", "3", "4", "5", "6", "7"], "\(limit)")
        }
        // One that nobody knows has nothing behind it.
        let filter = GrantFilter(connection: connection.uid, worstFirst: true, now: now)
        #expect(try await opened.store.grants(filter: filter, after: .make(at: now), limit: 10).isEmpty)
    }

    @Test(arguments: Backend.allCases) func activityIsFoundByResultKeyAndSeveralActions(_ backend: Backend) async throws {
        let opened = try await backend.open()
        func entry(_ action: String, subject: String?, key: String? = nil, result: String = "ok") -> Activity {
            Activity(uid: .make(at: now), at: now, action: action, connection: "a", subject: subject, key: key, result: result)
        }
        try await opened.store.append([
            entry("grant.created", subject: nil), entry("grant.refreshed", subject: nil), entry("api.called", subject: nil, key: "key_1"),
            entry("grant.created", subject: "s"), entry("api.called", subject: "s", key: "key_2", result: "provider_error"),
        ])
        func found(_ filter: ActivityFilter) async throws -> [String] {
            try await opened.store.activity(filter: filter, before: nil, limit: 10).map { "\($0.action) \($0.subject ?? "-")" }.sorted()
        }
        #expect(
            try await found(.init(connection: "a", isShared: true, actions: ["grant.created", "grant.refreshed"])) == ["grant.created -", "grant.refreshed -"])
        #expect(try await found(.init(subject: "s", actions: ["grant.created", "api.called"])) == ["api.called s", "grant.created s"])
        #expect(try await found(.init(key: "key_2")) == ["api.called s"])
        #expect(try await found(.init(result: "provider_error")) == ["api.called s"])
        #expect(try await found(.init(isShared: true, key: "key_2")) == [])
    }
}

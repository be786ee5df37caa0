import OAuth
import OAuthClient
import SQLiteStore
import Testing
import Vault

@testable import Broker

@Suite struct IssueTests {
    @Test func clientCredentialsAreFetchedWhenFirstNeededAndThenServedFromMemory() async throws {
        let bench = try await Bench()
        try await bench.connection("machine", .clientCredentials)
        let first = try await bench.token("machine")
        #expect(first.text == "at-1")
        #expect(first.refreshed)
        #expect(first.generation == 1)
        let second = try await bench.token("machine")
        #expect(second.text == "at-1")
        #expect(!second.refreshed)
        #expect(bench.broker.cachedToken(connectionID: "machine", query: .init(), for: bench.admin)?.text == "at-1")
        let requests = bench.provider.requests("client_credentials")
        #expect(requests.count == 1)
        #expect(requests[0].form["scope"] == "read write")
        #expect(requests[0].authorization == "Basic Y2xpZW50OnMzY3JldA==")
    }

    @Test func clientCredentialsAreFetchedAgainBeforeTheyExpire() async throws {
        let bench = try await Bench()
        try await bench.connection("machine", .clientCredentials)
        #expect(try await bench.token("machine").generation == 1)
        bench.time.advance(.seconds(3599))
        let renewed = try await bench.token("machine")
        #expect(renewed.text == "at-2")
        #expect(renewed.generation == 2)
    }

    @Test(arguments: [(3200, "at-0", true), (3301, "at-0", false), (3545, "at-1", true), (3700, "at-1", true)])
    func theOldTokenServesUntilTheMarginAndIsRenewedBehindIt(age: Int, expected: String, exact: Bool) async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app")
        bench.time.advance(.seconds(age))
        #expect(try await bench.token("app").text == expected)
        if exact { #expect(bench.provider.requests("refresh_token").count == (expected == "at-0" ? 0 : 1)) }
    }

    @Test func aTokenOfUnknownLifetimeServesUntilSomebodySaysOtherwise() async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app", expiresIn: nil)
        bench.time.advance(.seconds(10_000_000))
        let token = try await bench.token("app")
        #expect(token.text == "at-0")
        #expect(token.expiresAt == nil)
        #expect(try await bench.token("app", .init(afterGeneration: token.generation)).text == "at-1")
    }

    @Test func minTTLRenewsOnceAndThenGivesWhatCame() async throws {
        let bench = try await Bench()
        bench.provider.set(expiresIn: 100)
        try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app", expiresIn: 50)
        let token = try await bench.token("app", .init(minTTL: 600))
        #expect(token.text == "at-1")
        #expect(bench.provider.requests("refresh_token").count == 1)
    }

    @Test func afterGenerationRenewsOnlyTheCurrentGeneration() async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app")
        let generation = try await bench.token("app").generation
        #expect(try await bench.token("app", .init(afterGeneration: generation)).generation == generation + 1)
        #expect(try await bench.token("app", .init(afterGeneration: generation)).generation == generation + 1)
        #expect(bench.provider.requests("refresh_token").count == 1)
    }

    @Test("1,000 callers of one expired grant: one refresh, 1,000 good answers (SEC-57)", arguments: [false, true])
    func oneRefresh(afterGeneration: Bool) async throws {
        let bench = try await Bench()
        bench.provider.set(delay: .milliseconds(50))
        try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app", expiresIn: afterGeneration ? 3600 : 0)
        let query = Broker.TokenQuery(afterGeneration: afterGeneration ? try await bench.grant("app").grant.tokenGeneration : nil)
        let answers = try await withThrowingTaskGroup(of: String.self) { group in
            for _ in 0..<1000 { group.addTask { try await bench.token("app", query).text } }
            return try await group.reduce(into: [String: Int]()) { $0[$1, default: 0] += 1 }
        }
        #expect(answers == ["at-1": 1000])
        #expect(bench.provider.requests("refresh_token").count == 1)
    }

    @Test func aCallerThatLeavesDoesNotStopTheRefresh() async throws {
        let bench = try await Bench()
        bench.provider.set(delay: .milliseconds(200))
        try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app", expiresIn: 0)
        let task = Task { try await bench.token("app") }
        while bench.provider.requests("refresh_token").isEmpty { await Task.yield() }
        task.cancel()
        _ = await task.result
        #expect(try await bench.token("app").text == "at-1")
        #expect(bench.provider.requests("refresh_token").count == 1)
        #expect(try await bench.grant("app").grant.tokenGeneration == 2)
    }

    @Test func nobodyIsConnectedWithoutAGrant() async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        #expect(await bench.code { _ = try await bench.token("app") } == .notConnected)
        #expect(await bench.code { _ = try await bench.token("nowhere") } == .notFound)
    }

    @Test(arguments: ["", "-", "a b", "ü", String(repeating: "x", count: 256), "a\u{0}"])
    func subjectsAreVisibleASCII(subject: String) {
        #expect(Broker.isSubject(subject) == false)
    }

    @Test func aSharedOnlyConnectionTakesNoSubject() async throws {
        let bench = try await Bench()
        try await bench.connection("machine", .clientCredentials)
        #expect(await bench.code { _ = try await bench.token("machine", .init(subject: "user-1")) } == .invalidRequest)
    }

    @Test func keysSeeTheirConnectionsAndSubjectsOnlyColdAndWarm() async throws {  // SEC-56
        let bench = try await Bench()
        for id in ["one", "two"] {
            try await bench.connection(id, .authorizationCode)
            for subject in ["a", "b"] { try await bench.importGrant(id, subject: subject, access: "at-\(id)-\(subject)") }
        }
        let (_, text) = try await bench.broker.addKey(.init(name: "k", role: .use, connections: ["one"], subjects: ["a"]), by: bench.admin)
        let limited = try #require(bench.broker.authenticate(text))
        for _ in 0..<2 {
            for id in ["one", "two"] {
                for subject in ["a", "b"] {
                    let query = Broker.TokenQuery(subject: subject)
                    let hit = bench.broker.cachedToken(connectionID: id, query: query, for: limited)
                    let code = await bench.code { _ = try await bench.broker.token(connectionID: id, query: query, for: limited) }
                    if id == "one" && subject == "a" {
                        #expect(code == nil)
                    } else {
                        #expect(hit == nil)
                        #expect(code == .forbidden)
                    }
                    _ = try await bench.token(id, query)  // warms the cache for the next round
                }
            }
        }
        let (_, agentText) = try await bench.broker.addKey(.init(name: "robot", role: .agent), by: bench.admin)
        let agent = try #require(bench.broker.authenticate(agentText))
        #expect(bench.broker.cachedToken(connectionID: "one", query: .init(subject: "a"), for: agent) == nil)
        #expect(await bench.code { _ = try await bench.broker.token(connectionID: "one", query: .init(subject: "a"), for: agent) } == .forbidden)
    }

    @Test func aRemovedKeyIsUnknownAtOnce() async throws {
        let bench = try await Bench()
        let (record, text) = try await bench.broker.addKey(.init(name: "k", role: .use), by: bench.admin)
        #expect(bench.broker.authenticate(text) != nil)
        try await bench.broker.removeKey(id: record.id, by: bench.admin)
        #expect(bench.broker.authenticate(text) == nil)
    }

    @Test func whatACallNeedsIsKnownUntilAnyOfItChanges() async throws {  // SEC-66
        let bench = try await Bench()
        let broker = bench.broker
        try await bench.connection("app", .authorizationCode) { $0.baseURL = "https://api.example.com" }
        try await bench.importGrant("app", expiresIn: 7200)
        let (key, text) = try await broker.addKey(.init(name: "k", role: .use, expiresAt: bench.time.wall.now() + .seconds(3000)), by: bench.admin)
        /// Found anew, as a request does that begins now.
        func found() async throws -> KnownCall? {
            _ = try await bench.token("app")
            let destination = try await broker.destination("app")
            return broker.knownCall(destination, subject: "", at: bench.time.wall.now()) { broker.authenticate(text) }
        }
        func isCurrent(_ call: KnownCall) -> Bool { broker.isCurrent(call, at: bench.time.wall.now()) }
        let changes: [(String, () async throws -> Void)] = [
            ("renewal", { _ = try await bench.token("app", .init(forceRefresh: true)) }),
            ("import", { try await bench.importGrant("app", expiresIn: 7200) }),
            (
                "settings",
                {
                    var settings = try await broker.connection(id: "app", for: bench.admin).settings
                    settings.name = "another"
                    _ = try await broker.updateConnection(
                        id: "app", settings: settings, clientSecret: .keep, password: .keep, keepGrants: false, expectedRevision: nil, by: bench.admin)
                }
            ),
            ("another key is made", { _ = try await broker.addKey(.init(name: "other", role: .use), by: bench.admin) }),
            ("keys are read anew", { broker.callers.replaceAll(try await bench.store.keys()) }),
            ("another connection's token", { broker.tokenCache.remove(.init(connectionID: "other", subject: "")) }),
            ("everything", { broker.connectionCache.removeAll() }),
        ]
        for (change, make) in changes {
            let call = try #require(try await found(), "\(change)")
            #expect(isCurrent(call), "\(change)")
            try await make()
            #expect(!isCurrent(call), "\(change)")
        }
        let last = try #require(try await found())
        bench.time.advance(.seconds(2999))
        #expect(isCurrent(last))
        bench.time.advance(.seconds(1))
        #expect(!isCurrent(last))
        #expect(try await found() == nil)
        _ = try await broker.removeKey(id: key.id, by: bench.admin)
    }

    @Test("A token that made room for another one is not known any more") func whatWasEvictedIsNotKnown() async throws {
        let age = MemoryAge()
        let cache = TokenCache(capacity: 16 * 100, age: age)
        func entry(_ generation: Int) -> TokenCache.Entry {
            let token = IssuedToken(
                grantUID: UID(text: "g"), accessToken: AccessToken("at"), tokenType: "Bearer", expiresAt: nil, scope: nil, generation: generation,
                refreshed: false)
            return TokenCache.Entry(
                connectionUID: UID(text: "c"), token: token, freshUntil: nil, reads: Meters().issued(connection: "c", source: "cache"), cost: 60)
        }
        func put(_ number: Int) {
            let key = TokenCache.Key(connectionID: "c", subject: "u\(number)")
            cache.insert(entry(1), for: key, ticket: cache.ticket(key))
        }
        // One of 17 shares its place with another, which has room for one.
        for number in 0..<17 { put(number) }
        let kept = (0..<17).filter { cache.find(.init(connectionID: "c", subject: "u\($0)")) != nil }
        #expect(kept.count <= 16)
        #expect(age.now >= 17 - UInt64(kept.count))
        // What was used is spared once: the newcomer takes the place of nobody who is in use.
        let before = age.now
        put(100)
        #expect(cache.find(.init(connectionID: "c", subject: "u100")) != nil)
        #expect(age.now <= before + 1)
    }

    @Test func aTokenThatIsDueEndsWhatACallKnows() async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode) { $0.baseURL = "https://api.example.com" }
        try await bench.importGrant("app", expiresIn: 600)
        _ = try await bench.token("app")
        let destination = try await bench.broker.destination("app")
        let now = bench.time.wall.now()
        let call = try #require(bench.broker.knownCall(destination, subject: "", at: now) { bench.admin })
        #expect(bench.broker.isCurrent(call, at: now))
        #expect(!bench.broker.isCurrent(call, at: now + .seconds(600)))
        #expect(bench.broker.knownCall(destination, subject: "u", at: now) { bench.admin } == nil)
        #expect(bench.broker.knownCall(destination, subject: "", at: now) { nil } == nil)
        // A destination of before.
        bench.broker.connectionCache.removeAll()
        #expect(bench.broker.knownCall(destination, subject: "", at: now) { bench.admin } == nil)
    }

    @Test func readsAreCountedPerKeyGrantAndMinute() async throws {
        let bench = try await Bench()
        try await bench.connection("machine", .clientCredentials)
        for _ in 0..<5 { _ = try await bench.token("machine") }
        let reads = try await bench.broker.activity(connection: "machine", subject: nil, before: nil, limit: 50, for: bench.admin)
            .filter { $0.action == "token.read" }
        #expect(reads.map(\.count).reduce(0, +) == 5)
        #expect(reads.allSatisfy { $0.key == "key_admin" && $0.connection == "machine" })
    }
}

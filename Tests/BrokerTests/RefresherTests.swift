import GRDB
import OAuth
import OAuthClient
import Testing
import Vault

@testable import Broker
@testable import SQLiteStore

/// Grants that are kept alive, an hour in a second: the test moves the clock and makes the passes.
@Suite struct RefresherTests {
    private static let endpoint = "https://as.example/token"

    /// `count` grants of a connection that is kept alive, with access tokens that live so many seconds.
    private func bench(_ count: Int, expiresIn: (Int) -> Int = { _ in 3600 }) async throws -> Bench {
        let bench = try await Bench()
        try await add("app", count, to: bench, expiresIn: expiresIn)
        return bench
    }

    private func add(
        _ id: String, _ count: Int, to bench: Bench, endpoint: String = Self.endpoint, expiresIn: (Int) -> Int = { _ in 3600 }
    ) async throws {
        try await bench.connection(id, .authorizationCode) {
            $0.keepAlive = true
            $0.oauth.tokenURL = endpoint
        }
        bench.provider.accept(refreshTokens: (0..<count).map { "rt-\(id)-\($0)" })
        for index in 0..<count {
            try await bench.importGrant(id, subject: "u\(index)", access: "at-\(id)-\(index)", refresh: "rt-\(id)-\(index)", expiresIn: expiresIn(index))
        }
    }

    /// A pass, and the end of all that it began.
    private func pass(_ bench: Bench) async {
        await bench.broker.refreshDue()
        await bench.broker.refreshing.waitUntilIdle()
    }

    private func renewedCount(_ bench: Bench, _ id: String = "app") async throws -> Int {
        let uid = try #require(try await bench.store.connection(id: id)).uid
        return try await bench.store.read {
            try Int.fetchOne($0, sql: #"SELECT count(*) FROM "grant" WHERE connection_uid = ? AND token_generation > 1"#, arguments: [uid.text]) ?? 0
        }
    }

    @Test func aGrantIsRefreshedBeforeItsEndWithoutAnybodyAsking() async throws {
        let bench = try await bench(1)
        await pass(bench)
        #expect(bench.provider.seen.isEmpty)
        bench.time.advance(.seconds(3301 + 30))
        await pass(bench)
        #expect(try await renewedCount(bench) == 1)
        // And again, from what came.
        bench.time.advance(.seconds(3331))
        await pass(bench)
        #expect(try await bench.grant("app", subject: "u0").grant.tokenGeneration == 3)
    }

    @Test func whatIsNotKeptAliveIsLeftAlone() async throws {
        let bench = try await Bench()
        try await bench.connection("lazy", .authorizationCode)
        try await bench.importGrant("lazy")
        bench.time.advance(.seconds(3500))
        await pass(bench)
        #expect(bench.provider.seen.isEmpty)
        var settings = try await bench.broker.connection(id: "lazy", for: bench.admin).settings
        settings.keepAlive = true
        _ = try await bench.broker.updateConnection(
            id: "lazy", settings: settings, clientSecret: .keep, password: .keep, keepGrants: false, expectedRevision: nil, by: bench.admin)
        await pass(bench)
        #expect(bench.provider.requests("refresh_token").count == 1)
    }

    @Test func clientCredentialsAreKeptAliveToo() async throws {
        let bench = try await Bench()
        try await bench.connection("machine", .clientCredentials) { $0.keepAlive = true }
        _ = try await bench.token("machine")
        bench.time.advance(.seconds(3340))
        await pass(bench)
        #expect(bench.provider.requests("client_credentials").count == 2)
    }

    @Test("A thousand grants that are due at once, at a provider that takes fifty in a second")
    func aThousandAtOnce() async throws {
        // Those whose access token ends first are in need first.
        let bench = try await bench(1000) { 600 + $0 / 100 * 60 }
        bench.provider.set(limit: 50, by: bench.time)
        bench.time.advance(.seconds(560))
        var seconds = 0
        var order: [Int] = []
        var refusals = 0
        while try await renewedCount(bench) < 1000, seconds < 1500 {
            await pass(bench)
            // Somebody asks meanwhile, and is served at once: with the old token while it lives.
            if seconds % 5 == 0 { #expect(try await bench.token("app", .init(subject: "u\(seconds % 1000)")).text.hasPrefix("at-")) }
            bench.time.advance(.seconds(1))
            seconds += 1
        }
        let sent = bench.provider.requests("refresh_token").compactMap { $0.form["refresh_token"] }
        for text in sent { if let index = Int(text.dropFirst("rt-app-".count)), text.hasPrefix("rt-app-") { order.append(index) } }
        refusals = sent.count - 1000
        #expect(try await renewedCount(bench) == 1000)
        #expect(seconds < 1000)
        #expect(refusals < 100)
        // In order of need: the first hundred sent are all of the first tenth, but for the jitter.
        let firstHundred = order.prefix(100).count { $0 < 200 }
        #expect(firstHundred >= 95)
        #expect(try await bench.store.grants(filter: .init(state: "reauthorization_required", now: bench.time.wall.now()), after: nil, limit: 1).isEmpty)
    }

    @Test("A provider that is down for an hour: no grant is lost, one incident, few calls, a staggered recovery")
    func anHourOfDarkness() async throws {
        let bench = try await bench(500)
        try await bench.store.insert(
            Webhook(
                id: "wh_1", url: "https://app.example/hook", kinds: Set(WebhookEvent.Kind.allCases), secret: Sealed(bytes: [1]),
                createdAt: bench.time.wall.now()))
        bench.time.advance(.seconds(3590))
        bench.provider.set(isDown: true)
        for step in 0..<1200 {
            await pass(bench)
            if step % 20 == 0 { _ = await bench.code { _ = try await bench.token("app", .init(subject: "u\(step / 20)")) } }
            bench.time.advance(.seconds(3))
        }
        // Of 500 grants, in an hour: what one breaker lets pass.
        let calls = bench.provider.seen.count
        #expect(calls < 120)
        #expect(try await bench.broker.connection(id: "app", for: bench.admin).health.state == .providerDown)
        #expect(try await bench.store.grants(filter: .init(state: "reauthorization_required", now: bench.time.wall.now()), after: nil, limit: 1).isEmpty)
        let events = try await bench.store.deliveries(webhook: "wh_1", state: nil, before: nil, limit: 100).map(\.event.kind)
        #expect(events.filter { $0 == .connectionProviderDown }.count == 1)

        bench.provider.set(isDown: false)
        var perSecond: [Int] = []
        for _ in 0..<300 {
            let before = bench.provider.seen.count
            await pass(bench)
            perSecond.append(bench.provider.seen.count - before)
            bench.time.advance(.seconds(1))
        }
        #expect(try await renewedCount(bench) == 500)
        // A probe, then more and more.
        let started = perSecond.drop { $0 == 0 }
        #expect(started.first == 1)
        #expect((started.dropFirst().first ?? 0) <= 4)
        #expect(perSecond.max() ?? 0 <= 64)
        let after = try await bench.store.deliveries(webhook: "wh_1", state: nil, before: nil, limit: 1000).map(\.event.kind)
        #expect(after.filter { $0 == .connectionRecovered }.count == 1)
        #expect(after.filter { $0 == .grantRefreshed }.count == 500)
    }

    @Test func aConnectionWhoseProviderIsDownHoldsUpNoOther() async throws {
        let bench = try await Bench()
        try await add("dark", 200, to: bench, endpoint: "https://dark.example/token")
        try await add("light", 100, to: bench)
        bench.time.advance(.seconds(3500))
        bench.provider.set(darkHost: "dark.example")
        for _ in 0..<15 {
            await pass(bench)
            bench.time.advance(.seconds(1))
        }
        #expect(try await renewedCount(bench, "light") == 100)
        #expect(try await renewedCount(bench, "dark") == 0)
    }

    @Test("What connections whose provider is down may not use goes to the others") func theShareOfTheDark() async throws {
        let bench = try await Bench()
        for index in 0..<40 { try await add("dark\(index)", 5, to: bench, endpoint: "https://dark.example/token") }
        try await add("light", 60, to: bench)
        bench.time.advance(.seconds(3500))
        bench.provider.set(darkHost: "dark.example")
        for _ in 0..<6 {
            await pass(bench)
            bench.time.advance(.seconds(1))
        }
        #expect(try await renewedCount(bench, "light") == 60)
    }

    @Test("A claim of a process that died ends by itself") func aClaimEnds() async throws {
        let bench = try await bench(3)
        bench.time.advance(.seconds(3400))
        let uid = try #require(try await bench.store.connection(id: "app")).uid
        let now = bench.time.wall.now()
        #expect(try await bench.store.claimDue(connection: uid, now: now, limit: 2, until: now + Broker.claimLifetime).count == 2)
        await pass(bench)
        #expect(try await renewedCount(bench) == 1)
        bench.time.advance(Broker.claimLifetime)
        await pass(bench)
        #expect(try await renewedCount(bench) == 3)
    }

    @Test func aWrongClientSecretStopsTheConnectionAndTouchesNoGrant() async throws {
        let bench = try await bench(50)
        bench.time.advance(.seconds(3400))
        bench.provider.script(.json(401, #"{"error":"invalid_client"}"#))
        for _ in 0..<60 {
            await pass(bench)
            bench.time.advance(.seconds(1))
        }
        #expect(try await bench.broker.connection(id: "app", for: bench.admin).health.state == .misconfigured)
        let states = try await bench.store.grants(filter: .init(now: bench.time.wall.now()), after: nil, limit: 100).map(\.state)
        #expect(states.allSatisfy { $0 == .active })
        let asked = bench.provider.seen.count
        bench.time.advance(.seconds(3600))
        await pass(bench)
        #expect(bench.provider.seen.count == asked)
    }

    @Test func aRefreshTokenThatDiesOfDisuseIsUsedInTime() async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode) {
            $0.keepAlive = true
            $0.oauth.refreshTokenIdleDays = 30
        }
        // The access token outlives the refresh token.
        try await bench.importGrant("app", expiresIn: 90 * 86_400)
        bench.time.advance(.seconds(23 * 86_400))
        await pass(bench)
        #expect(bench.provider.seen.isEmpty)
        bench.time.advance(.seconds(86_400 + 1))
        await pass(bench)
        #expect(try await bench.grant("app").grant.tokenGeneration == 2)
    }

    @Test("A grant that asks nothing of the provider takes no probe of an endpoint that recovers") func noProbeForNothing() async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app", subject: "bare", refresh: nil, expiresIn: 0)
        try await bench.importGrant("app", subject: "u", expiresIn: 0)
        bench.provider.set(isDown: true)
        for _ in 0..<6 {
            _ = await bench.code { _ = try await bench.token("app", .init(subject: "u")) }
            bench.time.advance(.seconds(10))
        }
        #expect(!bench.broker.tokenEndpoints.breaker(Self.endpoint).isClosed)
        bench.provider.set(isDown: false)
        bench.time.advance(.seconds(120))
        #expect(await bench.code { _ = try await bench.token("app", .init(subject: "bare")) } == .reauthorizationRequired)
        #expect(try await bench.token("app", .init(subject: "u")).text == "at-1")
    }

    @Test func anOutcomeThatIsNotKnownIsLeftAloneWhileTheAccessTokenServes() async throws {
        let bench = try await bench(1)
        bench.time.advance(.seconds(3400))
        bench.provider.script(.losesAnswer)
        for _ in 0..<190 {
            await pass(bench)
            bench.time.advance(.seconds(1))
        }
        #expect(bench.provider.requests("refresh_token").count == 1)
        bench.time.advance(.seconds(120))
        await pass(bench)
        #expect(bench.provider.requests("refresh_token").count == 2)
        #expect(try await bench.grant("app", subject: "u0").grant.stateReason == "outcome_unknown")
    }

    // MARK: A day

    struct Day: Sendable, CustomTestStringConvertible {
        let answer: ScriptedProvider.Script
        let name: String
        /// Requests that a day of a caller every three minutes, and of the refresher, may cost.
        let most: Int
        let state: String
        let events: [WebhookEvent.Kind]
        var testDescription: String { name }
    }

    private static let days = [
        Day(
            answer: .json(400, #"{"error":"invalid_grant"}"#), name: "invalid_grant", most: 1, state: "reauthorization_required",
            events: [.grantReauthorizationRequired]),
        Day(answer: .json(401, #"{"error":"invalid_client"}"#), name: "invalid_client", most: 1, state: "expired", events: [.connectionMisconfigured]),
        Day(answer: .json(503, ""), name: "503", most: 1000, state: "expired", events: [.connectionProviderDown]),
        Day(answer: .json(429, "{}"), name: "429", most: 1000, state: "expired", events: []),
        Day(
            answer: .fails(TransportError(.unreachable("connection refused"), mayHaveBeenSent: false)), name: "refused", most: 1000, state: "expired",
            events: [.connectionProviderDown]),
        Day(
            answer: .fails(TransportError(.timedOut, mayHaveBeenSent: true)), name: "timed out", most: 1000, state: "expired", events: [.connectionProviderDown]
        ),
        Day(answer: .json(400, #"{"error":"brand_new"}"#), name: "an unknown code", most: 1000, state: "expired", events: []),
    ]

    @Test("A day of each failure: bounded requests, one event, and the old token while it lives", arguments: days)
    func aDay(_ day: Day) async throws {  // SEC-60
        let bench = try await bench(1)
        try await bench.store.insert(
            Webhook(id: "wh_1", url: "https://app.example/hook", kinds: nil, secret: Sealed(bytes: [1]), createdAt: bench.time.wall.now()))
        bench.time.advance(.seconds(3400))
        bench.provider.always(day.answer)
        for minute in stride(from: 0, to: 1440, by: 3) {
            await pass(bench)
            let code = await bench.code { _ = try await bench.token("app", .init(subject: "u0")) }
            // The access token lives three minutes more.
            if minute <= 3 { #expect(code == nil, "minute \(minute)") } else { #expect(code != nil, "minute \(minute)") }
            bench.time.advance(.seconds(180))
        }
        #expect(bench.provider.seen.count <= day.most)
        #expect(try await bench.grant("app", subject: "u0").state == day.state)
        let events = try await bench.store.deliveries(webhook: "wh_1", state: nil, before: nil, limit: 100).map(\.event.kind)
        #expect(events == day.events)
    }

    @Test("A refresh token that we sent once and that is refused as used raises a suspicion") func aSuspicion() async throws {  // SEC-62
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app", expiresIn: 0)
        _ = try await bench.token("app")
        // Somebody else uses a copy of what came.
        bench.provider.script(.json(400, #"{"error":"invalid_grant","error_description":"token reuse"}"#))
        #expect(await bench.code { _ = try await bench.token("app", .init(forceRefresh: true)) } == .reauthorizationRequired)
        let actions = try await bench.broker.activity(connection: "app", subject: nil, before: nil, limit: 50, for: bench.admin).map(\.action)
        #expect(actions.contains("grant.reuse_suspected"))
    }

    // MARK: What will die

    @Test func theEndOfARefreshTokenIsAnnouncedOnce() async throws {
        let bench = try await Bench()
        try await bench.store.insert(
            Webhook(id: "wh_1", url: "https://app.example/hook", kinds: [.grantExpiring], secret: Sealed(bytes: [1]), createdAt: bench.time.wall.now()))
        try await bench.connection("app", .authorizationCode) { $0.oauth.refreshTokenIdleDays = 60 }
        try await bench.importGrant("app", subject: "u")
        let grant = try await bench.grant("app", subject: "u").grant
        #expect(grant.diesAt == bench.time.wall.now() + .seconds(60 * 86_400))
        bench.time.advance(.seconds(52 * 86_400))
        await bench.broker.announceEndings()
        #expect(try await bench.store.deliveries(webhook: "wh_1", state: nil, before: nil, limit: 10).isEmpty)
        bench.time.advance(.seconds(86_400 + 1))
        for _ in 0..<3 { await bench.broker.announceEndings() }
        let deliveries = try await bench.store.deliveries(webhook: "wh_1", state: nil, before: nil, limit: 10)
        #expect(deliveries.count == 1)
        #expect(deliveries.first?.event.data.contains(#""subject":"u""#) == true)
        let views = try await bench.broker.grants(
            connectionID: nil, subject: nil, state: nil, diesWithin: 8 * 86_400, after: nil, limit: 10, for: bench.admin)
        #expect(views.map(\.grant.subject) == ["u"])
    }

    @Test("A changed limit of inactivity holds for the grants that are there") func aChangedLimit() async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app")
        #expect(try await bench.grant("app").grant.diesAt == nil)
        for days in [30, 7, nil] {
            var settings = try await bench.broker.connection(id: "app", for: bench.admin).settings
            settings.oauth.refreshTokenIdleDays = days
            _ = try await bench.broker.updateConnection(
                id: "app", settings: settings, clientSecret: .keep, password: .keep, keepGrants: false, expectedRevision: nil, by: bench.admin)
            let grant = try await bench.grant("app").grant
            #expect(grant.diesAt == days.map { grant.createdAt + .seconds($0 * 86_400) })
            #expect((grant.warnAt == nil) == (days == nil))
            #expect(grant.dueAt != nil)
        }
    }

    @Test("Who subscribed is told of each grant that a moved host voids, once") func aMovedHost() async throws {
        let bench = try await Bench()
        try await bench.store.insert(
            Webhook(id: "wh_1", url: "https://app.example/hook", kinds: nil, secret: Sealed(bytes: [1]), createdAt: bench.time.wall.now()))
        try await bench.connection("app", .authorizationCode)
        for subject in ["a", "b"] { try await bench.importGrant("app", subject: subject) }
        for host in ["elsewhere", "farther"] {
            var settings = try await bench.broker.connection(id: "app", for: bench.admin).settings
            settings.oauth.tokenURL = "https://\(host).example/token"
            _ = try await bench.broker.updateConnection(
                id: "app", settings: settings, clientSecret: .set(ClientSecret("s")), password: .keep, keepGrants: false, expectedRevision: nil,
                by: bench.admin)
        }
        let told = try await bench.store.deliveries(webhook: "wh_1", state: nil, before: nil, limit: 10).map(\.event)
            .filter { $0.kind == .grantReauthorizationRequired }
        #expect(Set(told.map(\.subject)) == ["a", "b"])
        #expect(told.count == 2)
        #expect(told.allSatisfy { $0.data.contains("host_changed") })
    }

    @Test func theEndOfAClientSecretIsAnnouncedOnceForEachEnd() async throws {
        let bench = try await Bench()
        let end = bench.time.wall.now() + .seconds(20 * 86_400)
        try await bench.store.insert(
            Webhook(
                id: "wh_1", url: "https://app.example/hook", kinds: [.connectionSecretExpiring], secret: Sealed(bytes: [1]), createdAt: bench.time.wall.now()))
        try await bench.connection("app", .authorizationCode) { $0.oauth.clientSecretExpiresAt = end }
        await bench.broker.announceEndings()
        #expect(try await bench.store.deliveries(webhook: "wh_1", state: nil, before: nil, limit: 10).isEmpty)
        bench.time.advance(.seconds(7 * 86_400))
        for _ in 0..<3 { await bench.broker.announceEndings() }
        #expect(try await bench.store.deliveries(webhook: "wh_1", state: nil, before: nil, limit: 10).count == 1)
    }

    // MARK: The clock is set

    @Test("A clock that was two hours ahead and is set right renews what it cannot judge") func theClockWasAhead() async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        bench.time.advance(.seconds(7200))
        try await bench.importGrant("app", expiresIn: 3600)
        bench.time.advance(.seconds(-7200))
        await bench.broker.watchClock()
        bench.broker.tokenCache.removeAll()
        #expect(try await bench.token("app").text == "at-0")
        while bench.provider.requests("refresh_token").isEmpty { await Task.yield() }
        await bench.broker.renewals.close(patience: .seconds(5))
        #expect(try await bench.grant("app").grant.tokenGeneration == 2)
        #expect(try await bench.token("app").text == "at-1")
    }

    @Test("A clock that is set two hours ahead loses nothing") func theClockGoesAhead() async throws {
        let bench = try await bench(5)
        bench.time.advance(.seconds(7200))
        for index in 0..<5 { #expect(try await bench.token("app", .init(subject: "u\(index)")).refreshed) }
        bench.time.advance(.seconds(-7200))
        for index in 0..<5 { _ = try await bench.token("app", .init(subject: "u\(index)")) }
        await bench.broker.renewals.close(patience: .seconds(5))
        let states = try await bench.store.grants(filter: .init(now: bench.time.wall.now()), after: nil, limit: 10).map(\.state)
        #expect(states.allSatisfy { $0 == .active })
    }

    @Test("After the clock was set back, what is kept alive is due soon") func dueAgain() async throws {
        let bench = try await Bench()
        bench.time.advance(.seconds(7200))
        try await add("app", 1, to: bench)
        await bench.broker.watchClock()
        bench.time.advance(.seconds(-7200))
        await bench.broker.watchClock()
        await pass(bench)
        #expect(try await renewedCount(bench) == 1)
    }

    @Test("What a clock that was years ahead claimed is due again when it is set right, also at a start") func claimedInTheFuture() async throws {
        let bench = try await bench(2)
        let uid = try #require(try await bench.store.connection(id: "app")).uid
        let future = bench.time.wall.now() + .seconds(4 * 365 * 86_400)
        #expect(try await bench.store.claimDue(connection: uid, now: future, limit: 10, until: future + Broker.claimLifetime).count == 2)
        await bench.broker.hastenDue()
        bench.time.advance(.seconds(3400))
        await pass(bench)
        #expect(try await renewedCount(bench) == 2)
    }

    @Test("A refresh token whose last outcome is not known is sent once more before it dies of disuse") func theLastChance() async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode) {
            $0.keepAlive = true
            $0.oauth.refreshTokenIdleDays = 30
        }
        try await bench.importGrant("app", expiresIn: nil)
        bench.time.advance(.seconds(24 * 86_400 + 1))
        // It arrives, and its answer is lost; the provider rotates nothing.
        bench.provider.set(rotates: false)
        bench.provider.script(.losesAnswer)
        for _ in 0..<20 {
            await pass(bench)
            bench.time.advance(.seconds(3600))
        }
        #expect(bench.provider.requests("refresh_token").count == 1)
        bench.time.advance(.seconds(3 * 86_400))
        await pass(bench)
        #expect(bench.provider.requests("refresh_token").count == 2)
        #expect(try await bench.grant("app").grant.tokenGeneration == 2)
    }

    // MARK: Late answers

    @Test("An answer that comes after the callers' patience is kept, and heals what was unknown") func aLateAnswer() async throws {
        let bench = try await Bench(patience: .milliseconds(50))
        try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app", expiresIn: 0)
        bench.provider.hold()
        #expect(await bench.code { _ = try await bench.token("app") } == .providerUnreachable)
        // Whoever asks meanwhile joins, and sends nothing.
        #expect(await bench.code { _ = try await bench.token("app") } == .providerUnreachable)
        bench.provider.letGo()
        await bench.broker.renewals.close(patience: .seconds(10))
        #expect(bench.provider.requests("refresh_token").count == 1)
        #expect(try await bench.token("app").text == "at-1")
    }

    @Test("Reconnecting during a refresh wins; the late tokens become an orphan and are revoked") func reconnectDuringARefresh() async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app", expiresIn: 0)
        bench.provider.hold()
        let refresh = Task { try await bench.token("app").text }
        while bench.provider.requests("refresh_token").isEmpty { await Task.yield() }
        try await bench.importGrant("app", access: "at-person", refresh: "rt-person")
        bench.provider.letGo()
        #expect(try await refresh.value == "at-person")
        #expect(try await bench.token("app").text == "at-person")
        for _ in 0..<100 where !bench.provider.seen.contains(where: { $0.form["token"] == "rt-1" }) { try await Task.sleep(for: .milliseconds(20)) }
        #expect(bench.provider.seen.contains { $0.path == "/revoke" && $0.form["token"] == "rt-1" })
    }
}

import GRDB
import Logging
import OAuth
import OAuthClient
import Testing
import Vault

@testable import Broker
@testable import SQLiteStore

/// Token endpoints that all nodes know the same of.
@Suite struct SharedEndpointsTests {
    private let start = Timestamp(milliseconds: 1_800_000_000_000)

    // MARK: As a value

    private func isRefused(_ answer: EndpointState.Answer) -> Problem? {
        if case .refused(let refusal) = answer { refusal.problem } else { nil }
    }

    private func turns(_ answer: EndpointState.Answer) -> Int? {
        if case .turns(let count) = answer { count } else { nil }
    }

    @Test func whatIsKnownSurvivesItsRecord() throws {
        var state = EndpointState()
        var problem = Problem(.providerError, "it answered with status 503", fix: "try again later")
        problem.provider = .init(status: 503, error: "server_error", errorDescription: "your token rt-0 is unwell")
        for _ in 0..<Breaker.threshold { _ = state.answer(.ended(.failed(problem), isOld: false), at: start, jitter: 1) }
        let json = try state.json()
        #expect(!json.contains("rt-0"))
        var read = EndpointState(json: json)
        #expect(read.breaker.state == .open(until: start + .seconds(1)))
        let refused = try #require(isRefused(read.answer(.admit(hasTurn: false), at: start, jitter: 1)))
        #expect(refused.code == .providerError)
        #expect(refused.detail == "it answered with status 503; it is not asked again for 1 s")
        #expect(refused.provider == .init(status: 503, error: "server_error"))

        var busy = EndpointState()
        _ = busy.answer(.ended(.tooFast(Problem(.providerError, "too fast"), retryAfter: 7), isOld: false), at: start, jitter: 1)
        var busyRead = EndpointState(json: try busy.json())
        #expect(busyRead.pace.rate == 10)
        #expect(busyRead.pace.pausedUntil == start + .seconds(7))
        #expect(isRefused(busyRead.answer(.admit(hasTurn: false), at: start + .seconds(6), jitter: 1))?.retryAfter == 1)
        #expect(isRefused(busyRead.answer(.admit(hasTurn: false), at: start + .seconds(7), jitter: 1)) == nil)
    }

    @Test(arguments: [nil, "", "{}", #"{"breaker":{"state":{"half_open":{}}}}"#])
    func whatCannotBeReadIsLearnedAnew(json: String?) {
        #expect(EndpointState(json: json).isWell)
    }

    @Test func aTurnIsCountedOnce() {
        var state = EndpointState()
        #expect(turns(state.answer(.takeTurns(15), at: start, jitter: 1)) == 15)
        for _ in 0..<15 { _ = state.answer(.admit(hasTurn: true), at: start, jitter: 1) }
        #expect(turns(state.answer(.takeTurns(15), at: start, jitter: 1)) == 5)
        _ = state.answer(.giveBack(3), at: start, jitter: 1)
        _ = state.answer(.admit(hasTurn: false), at: start, jitter: 1)
        #expect(turns(state.answer(.takeTurns(15), at: start, jitter: 1)) == 2)
        _ = state.answer(.giveBack(1000), at: start, jitter: 1)
        #expect(turns(state.answer(.takeTurns(1000), at: start, jitter: 1)) == 20)
    }

    @Test("Successes from before a failure do not end it") func oldSuccesses() {
        var state = EndpointState()
        for _ in 0..<Breaker.threshold { _ = state.answer(.ended(.failed(Problem(.providerError, "no")), isOld: false), at: start, jitter: 1) }
        for _ in 0..<100 { _ = state.answer(.ended(.gaveTokens, isOld: true), at: start, jitter: 1) }
        #expect(state.breaker.state == .open(until: start + .seconds(1)))
        _ = state.answer(.ended(.gaveTokens, isOld: false), at: start, jitter: 1)
        #expect(state.breaker.state == .recovering(allowed: 2))
    }

    // MARK: Among nodes

    @Test("Callers who come at once share transactions, and each is counted") func manyCallers() async throws {
        let bench = try await NodesBench()
        bench.store.set(endpointDelay: .milliseconds(50))
        let endpoints = bench.nodes[0].tokenEndpoints
        let now = bench.main.time.wall.now()
        try await withThrowingTaskGroup { group in
            for _ in 0..<10 {
                group.addTask {
                    let refusal = try await endpoints.admit("e", at: now)
                    #expect(refusal == nil)
                }
            }
            try await group.waitForAll()
        }
        #expect(bench.store.endpointChanges < 10)
        #expect(try await bench.nodes[1].tokenEndpoints.takeTurns("e", atMost: 100, at: now) == 10)
    }

    @Test func whatOneNodeFindsDownNoOtherAsks() async throws {
        let bench = try await NodesBench()
        try await bench.main.connection("app", .authorizationCode)
        for index in 0..<4 { try await bench.main.importGrant("app", subject: "u\(index)", access: "at-u\(index)", expiresIn: index < 3 ? 0 : 100) }
        bench.provider.set(isDown: true)
        for index in 0..<3 { #expect(await bench.ask(0, "app", .init(subject: "u\(index)")).value == "provider_unreachable") }
        #expect(await bench.ask(1, "app", .init(subject: "u3", minTTL: 200)).value == "at-u3")
        #expect(bench.wires.map(\.sent) == [3, 0])
        #expect(try await bench.store.connection(id: "app")?.health.state == .providerDown)
        // One probe, of whichever node, and all is well for both.
        bench.provider.set(isDown: false)
        bench.main.time.advance(.seconds(2))
        #expect(await bench.ask(1, "app", .init(subject: "u3", minTTL: 200)).value == "at-1")
    }

    @Test func whatOneNodeWasToldToLeaveAloneNoOtherAsks() async throws {
        let bench = try await NodesBench()
        let now = bench.main.time.wall.now()
        await bench.nodes[0].tokenEndpoints.ended("e", .tooFast(Problem(.providerError, "too fast"), retryAfter: 9), at: now)
        let refusal = try await bench.nodes[1].tokenEndpoints.admit("e", at: now)
        #expect(refusal?.problem.retryAfter == 9)
        #expect(refusal?.isDown == false)
    }

    @Test("What is shared goes by the database's clock") func theDatabasesClock() async throws {
        let bench = try await NodesBench()
        let ahead = bench.main.time.wall.now() + .seconds(7200)
        await bench.nodes[0].tokenEndpoints.ended("e", .tooFast(Problem(.providerError, "too fast"), retryAfter: 9), at: ahead)
        bench.nodes[0].tokenEndpoints.clockWasSet(by: .seconds(-7200))
        #expect(try await bench.nodes[1].tokenEndpoints.admit("e", at: ahead)?.problem.retryAfter == 9)
        bench.main.time.advance(.seconds(9))
        #expect(try await bench.nodes[1].tokenEndpoints.admit("e", at: ahead) == nil)
    }

    @Test("The store's error is the answer when it cannot be asked") func away() async throws {
        let bench = try await NodesBench()
        bench.store.set(isAway: true)
        await #expect(throws: StoreError.self) { _ = try await bench.nodes[0].tokenEndpoints.admit("e", at: start) }
        // What cannot be noted is no reason to fail.
        await bench.nodes[0].tokenEndpoints.ended("e", .failed(Problem(.providerError, "no")), at: start)
        bench.store.set(isAway: false)
        #expect(try await bench.nodes[0].tokenEndpoints.admit("e", at: start) == nil)
    }

    @Test("Three nodes together ask no faster than one: within the provider's limit, and without a leader") func onePace() async throws {
        let bench = try await NodesBench(3)
        try await bench.main.connection("app", .authorizationCode) { $0.keepAlive = true }
        bench.provider.accept(refreshTokens: (0..<150).map { "rt-u\($0)" })
        for index in 0..<150 { try await bench.main.importGrant("app", subject: "u\(index)", access: "at-u\(index)", refresh: "rt-u\(index)") }
        bench.provider.set(limit: 30, by: bench.main.time)
        bench.main.time.advance(.seconds(3400))
        var perSecond: [Int] = []
        var renewed = 0
        while renewed < 150, perSecond.count < 100 {
            let before = bench.provider.seen.count
            // Another one comes first each time.
            let first = perSecond.count % bench.nodes.count
            for node in bench.nodes[first...] + bench.nodes[..<first] { await node.refreshDue() }
            for node in bench.nodes { await node.refreshing.waitUntilIdle() }
            perSecond.append(bench.provider.seen.count - before)
            bench.main.time.advance(.seconds(1))
            renewed = try await bench.main.store.read { try Int.fetchOne($0, sql: #"SELECT count(*) FROM "grant" WHERE token_generation > 1"#) ?? 0 }
        }
        #expect(renewed == 150)
        #expect(bench.provider.requests("refresh_token").count == 150)
        #expect(perSecond.first ?? 0 <= 20)
        #expect(perSecond.allSatisfy { $0 <= 30 })
        #expect(bench.wires.allSatisfy { $0.sent > 0 })
    }
}

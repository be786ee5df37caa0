import Foundation
import HTTPTypes
import OAuth
import RehearsalProvider
import TestSupport
import Testing

@testable import Broker

/// `kill -9` at every step of a refresh, against a real provider that rotates its refresh tokens: after the next start the
/// grant works, or is in the one named state that the provider forces. SEC-58
@Suite struct CrashTests {
    /// Where the server dies, and what is known then.
    struct Point: Sendable, CustomTestStringConvertible {
        let name: String
        let afterCrash: RefreshMachine.AfterCrash
        var testDescription: String { name }
    }

    private static let points =
        RefreshMachine.Step.allCases.map { Point(name: "refresh.\($0.rawValue)", afterCrash: $0.afterCrash) }
        // Between the answer and the write of it.
        + [Point(name: "store.put", afterCrash: .outcomeUnknown)]

    // Two lanes at a time, for machines with two cores.

    @Test("kill -9 at a provider that takes a refresh token once", .serialized, arguments: points)
    func withoutGrace(point: Point) async throws {
        try await lane(point, hasGrace: false)
    }

    @Test("kill -9 at a provider that allows a grace", .serialized, arguments: points)
    func withGrace(point: Point) async throws {
        try await lane(point, hasGrace: true)
    }

    private func lane(_ point: Point, hasGrace: Bool) async throws {
        try await RunningProvider.with { provider in
            try await ServerHome.with { home in
                var lane = Lane(point: point, hasGrace: hasGrace, provider: provider, home: home)
                try await lane.run(rounds: isLongRun ? 1000 : 25)
            }
        }
    }

    // MARK: A refresh that nobody asked for

    @Test(
        "kill -9 during a refresh in the background: its claim ends, and the next process refreshes the grant",
        arguments: [("refresh.lease", 1), ("refresh.answered", 2), ("refresh.written", 1)])
    func background(point: String, requests: Int) async throws {
        try await RunningProvider.with { provider in
            try await ServerHome.with { home in
                let dying = try await home.start(["GRANTEE_FAILPOINT": point + ":kill@1"])
                try await provider.client(Lane.client(hasGrace: true))
                try await dying.add(Lane.connection(at: provider, hasGrace: true, keepAlive: true))
                // Due at once, and of no use to a caller.
                let tokens = try await provider.tokens("crash", secret: "crash-secret", expiresIn: 0)
                do {
                    try await dying.put("app", tokens)
                } catch {
                    // It may die before it answers.
                }
                #expect(await dying.program.outcome().status == -SIGKILL)
                let server = try await home.start()
                if isLongRun {
                    // Nobody asks. The claim of the dead process lasts two minutes.
                    let end = ContinuousClock.now + .seconds(150)
                    while try await server.grant("app")["generation"]?.integer == 1, ContinuousClock.now < end { try await Task.sleep(for: .seconds(1)) }
                }
                let token = try await server.token("app")
                #expect(token.status == 200, "\(token.text)")
                #expect(token["generation"]?.integer == 2)
                #expect(try await provider.user(of: token) == "user-alice")
                #expect(try await provider.tokenRequests("crash", "refresh_token").count == requests)
                await server.stop()
            }
        }
    }

    // MARK: What else a crash must not lose

    @Test func aStartAfterAKillIsNoted() async throws {
        try await ServerHome.with { home in
            func recoveries(_ server: ServerProcess) async throws -> Int {
                let items = try await server.send(.get, "/v1/activity")["items"]?.array ?? []
                return items.count { $0["action"]?.string == "node.recovered" }
            }
            let killed = try await home.start()
            #expect(try await recoveries(killed) == 0)
            await killed.kill()
            let recovered = try await home.start()
            #expect(try await recoveries(recovered) == 1)
            await recovered.stop()
            let third = try await home.start()
            #expect(try await recoveries(third) == 1)
            await third.stop()
        }
    }

    /// The event is in the transaction of the change that it tells of.
    @Test func anEventOfAServerThatWasKilledIsDelivered() async throws {
        try await RunningProvider.with { provider in
            try await ServerHome.with { home in
                let receiver = try Receiver()
                defer { receiver.close() }
                let dying = try await home.start(["GRANTEE_FAILPOINT": "refresh.written:kill@1"])
                try await provider.client(Lane.client(hasGrace: false))
                try await dying.add(Lane.connection(at: provider, hasGrace: false))
                try await dying.put("app", try await provider.tokens("crash", secret: "crash-secret"))
                let made = try await dying.send(.post, "/v1/webhooks", body: ["url": .string(receiver.url), "events": ["grant.refreshed"]])
                #expect(made.status == 201, "\(made.text)")
                await #expect(throws: (any Error).self) { try await dying.refresh("app") }
                #expect(await dying.program.outcome().status == -SIGKILL)
                #expect(receiver.bodies.isEmpty)
                let server = try await home.start()
                try await eventually("the event is delivered") { !receiver.bodies.isEmpty }
                let event = try JSONValue(parsing: Array((receiver.bodies.first ?? "").utf8))
                #expect(event["type"]?.string == "grant.refreshed")
                #expect(event["data"]?["connection"]?.string == "app")
                await server.stop()
            }
        }
    }

    // MARK: An end that is asked for

    /// A refresh token that was sent is answered and its successor written, though the server was told to stop.
    @Test func aRefreshOnItsWayIsWrittenBeforeTheEnd() async throws {
        try await RunningProvider.with { provider in
            try await ServerHome.with { home in
                let stopping = try await home.start()
                try await provider.client(Lane.client(hasGrace: false))
                try await stopping.add(Lane.connection(at: provider, hasGrace: false))
                try await stopping.put("app", try await provider.tokens("crash", secret: "crash-secret"))
                try await provider.client(["id": "crash", "faults": [["fault": "slow", "value": 3, "on": "refresh_token", "times": 1]]])
                async let refreshed = stopping.refresh("app")
                try await eventually("the provider is asked") { try await provider.requestCounts("crash").underWay == 1 }
                await stopping.stop()
                #expect(try await refreshed["generation"]?.integer == 2)
                let server = try await home.start()
                let token = try await server.token("app")
                #expect(token["generation"]?.integer == 2, "\(token.text)")
                #expect(try await provider.user(of: token) == "user-alice")
                #expect(try await provider.tokenRequests("crash", "refresh_token").count == 1)
                // The refresh token that was written is the one that serves.
                #expect(try await server.refresh("app")["generation"]?.integer == 3)
                await server.stop()
            }
        }
    }
}

/// One grant and one step: servers that die there, one after the other.
private struct Lane {
    let point: CrashTests.Point
    let hasGrace: Bool
    let provider: RunningProvider
    let home: ServerHome

    /// The last generation that was seen to work.
    private var generation = 1
    /// What the crash before left.
    private var left = RefreshMachine.AfterCrash.asBefore
    /// The client's requests before the one that died.
    private var requests: Int?
    private var round = 0

    init(point: CrashTests.Point, hasGrace: Bool, provider: RunningProvider, home: ServerHome) {
        (self.point, self.hasGrace, self.provider, self.home) = (point, hasGrace, provider, home)
    }

    static func client(hasGrace: Bool) -> JSONValue {
        ["id": "crash", "secret": "crash-secret", "rotates": true, "access_token_lifetime": 3600, "grace": hasGrace ? 60 : 0]
    }

    static func connection(at provider: RunningProvider, hasGrace: Bool, keepAlive: Bool = false) -> JSONValue {
        var document =
            provider.connection("app", "authorization_code", client: "crash", secret: "crash-secret", oauth: hasGrace ? ["rotation_grace": 60] : [:])
            .object ?? JSONObject()
        document["keep_alive"] = .bool(keepAlive)
        return .object(document)
    }

    mutating func run(rounds: Int) async throws {
        let first = try await home.start()
        try await provider.client(Self.client(hasGrace: hasGrace))
        try await first.add(Self.connection(at: provider, hasGrace: hasGrace))
        try await grantAccess(first)
        await first.stop()
        for _ in 0..<rounds {
            round += 1
            // Each looks at what the one before left, by one refresh, and dies in the second.
            let server = try await home.start(["GRANTEE_FAILPOINT": point.name + ":kill@2"])
            try await check(server)
            try await die(server)
        }
        let last = try await home.start()
        try await check(last)
        await last.stop()
    }

    private var here: Comment { "\(point.name), \(hasGrace ? "with" : "without") grace, round \(round)" }

    private func grantAccess(_ server: ServerProcess) async throws {
        try await server.put("app", try await provider.tokens("crash", secret: "crash-secret"))
    }

    // MARK: After the crash

    private mutating func check(_ server: ServerProcess) async throws {
        try await eventually(here) { try await provider.requestCounts("crash").underWay == 0 }
        let seen = try await provider.requestCounts("crash").all
        let wasSeen = requests.map { seen > $0 } ?? false
        if let requests {
            #expect(seen - requests <= 1, here)
            switch point.name {
            case "refresh.sent": break
            case "refresh.answered", "refresh.written", "refresh.served", "store.put": #expect(wasSeen, here)
            default: #expect(!wasSeen, here)
            }
        }
        if left == .renewed { generation += 1 }
        // The access token serves, whatever became of the refresh token; what was written is there without another request.
        try await expectToken(server)
        if left == .outcomeUnknown, !hasGrace {
            // A refresh token that may be spent is left alone while the access token serves.
            try await expectToken(server, "min_ttl=86400")
        }
        #expect(try await provider.requestCounts("crash").all == seen, here)

        let answer = try await server.refresh("app")
        if left == .outcomeUnknown, wasSeen, !hasGrace {
            #expect(answer.status == 409 && answer.code == "reauthorization_required", "\(here): \(answer.text)")
            let grant = try await server.grant("app")
            #expect(grant["state"]?.string == "reauthorization_required", here)
            #expect(grant["state_reason"]?.string == "outcome_unknown", here)
            // Whoever grants access again is served.
            try await grantAccess(server)
        } else {
            #expect(answer.status == 200, "\(here): \(answer.text)")
        }
        generation += 1
        try await expectToken(server)
    }

    private func expectToken(_ server: ServerProcess, _ query: String = "") async throws {
        let token = try await server.token("app", query)
        #expect(token.status == 200, "\(here): \(token.text)")
        #expect(token["generation"]?.integer == generation, "\(here): \(token.json["generation"] ?? .null)")
        #expect(try await provider.user(of: token) == "user-alice", here)
    }

    // MARK: The crash

    private mutating func die(_ server: ServerProcess) async throws {
        if point.name == "refresh.sent" {
            // It dies within hundredths of a second, so before the answer.
            let halfASecond = JSONValue.number(JSONNumber(validText: "0.5"))
            try await provider.client(["id": "crash", "faults": [["fault": "slow", "value": halfASecond, "on": "refresh_token", "times": 1]]])
        }
        let token = try await server.token("app")["access_token"]?.string ?? ""
        requests = try await provider.requestCounts("crash").all
        left = point.afterCrash
        do {
            let answer = try await server.refresh("app")
            Issue.record("\(here): it lives on and answers \(answer.status)")
            server.program.signal(SIGKILL)
        } catch {
            // Its connection ended with it.
        }
        let outcome = await server.program.outcome()
        #expect(outcome.status == -SIGKILL, here)
        #expect(!token.isEmpty && !outcome.errors.contains(token), here)
    }
}

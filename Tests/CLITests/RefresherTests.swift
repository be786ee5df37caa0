import Foundation
import HTTPTypes
import OAuth
import RehearsalProvider
import TestSupport
import Testing

/// Many grants that are due at once, in real time, at real providers.
@Suite struct RefresherTests {
    struct Load: Sendable, CustomTestStringConvertible {
        let grants: Int
        /// Seconds; due when four fifths of them have passed.
        let expiresIn: Int
        /// Whether there is time to refresh all before the first expires.
        var isBearable = true
        var testDescription: String { "\(grants)" }
    }

    private static let loads =
        [Load(grants: 300, expiresIn: 75)]
        + (isLongRun ? [Load(grants: 1000, expiresIn: 200), Load(grants: 10_000, expiresIn: 300, isBearable: false)] : [])

    private static let client = "load"
    private static let secret = "load-secret"

    private func client(_ more: JSONObject = [:]) -> JSONValue {
        var object: JSONObject = ["id": .string(Self.client), "secret": .string(Self.secret), "rotates": true, "access_token_lifetime": 86_400]
        for member in more.members { object[member.name] = member.value }
        return .object(object)
    }

    private func connection(_ id: String, at provider: RunningProvider) -> JSONValue {
        var document = provider.connection(id, "authorization_code", client: Self.client, secret: Self.secret).object ?? JSONObject()
        document["keep_alive"] = true
        return .object(document)
    }

    /// Imports the grants u0, u1 … of a connection, each with a refresh token of its own.
    private func add(_ count: Int, to id: String, of server: ServerProcess, at provider: RunningProvider, expiresIn: Int) async throws {
        let lanes = 8
        /// One by one in each of a few lanes.
        func each(_ body: @escaping @Sendable (Int) async throws -> Void) async throws {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for lane in 0..<lanes {
                    group.addTask { for index in stride(from: lane, to: count, by: lanes) { try await body(index) } }
                }
                try await group.waitForAll()
            }
        }
        let tokens = Tokens()
        try await each { await tokens.keep(try await provider.tokens(Self.client, secret: Self.secret, expiresIn: expiresIn), $0) }
        try await each { try await server.put(id, subject: "u\($0)", await tokens.take($0)) }
    }

    private actor Tokens {
        private var all: [Int: JSONValue] = [:]
        func keep(_ tokens: JSONValue, _ index: Int) { all[index] = tokens }
        func take(_ index: Int) -> JSONValue { all[index] ?? .null }
    }

    /// How many grants of a connection have which generation.
    private func generations(_ id: String, _ server: ServerProcess) async throws -> [Int: Int] {
        var counts: [Int: Int] = [:]
        var cursor = ""
        while true {
            let page = try await server.send(.get, "/v1/connections/\(id)/grants?limit=100" + cursor)
            for item in page["items"]?.array ?? [] {
                #expect(["active", "expired"].contains(item["state"]?.string))
                counts[item["generation"]?.integer ?? 0, default: 0] += 1
            }
            guard let next = page["next"]?.string else { return counts }
            cursor = "&after=" + next
        }
    }

    @Test("Grants that are due at once at a provider that allows 50 requests per second", .serialized, arguments: loads)
    func dueAtOnce(load: Load) async throws {
        try await RunningProvider.with { provider in
            try await ServerHome.with { home in
                let server = try await home.start()
                try await provider.client(client())
                try await server.add(connection("app", at: provider))
                let begun = ContinuousClock.now
                try await add(load.grants, to: "app", of: server, at: provider, expiresIn: load.expiresIn)
                // One that is far from its end.
                try await server.put("app", subject: "fresh", try await provider.tokens(Self.client, secret: Self.secret))
                try await provider.client(client(["rate_limit": 50]))
                let before = try await provider.requestCounts(Self.client)

                let calls = try await withThrowingTaskGroup(of: [Duration].self) { group in
                    for _ in 0..<2 { group.addTask { try await call(server, load, from: begun + .seconds(load.expiresIn * 4 / 5)) } }
                    try await finish(load, provider, past: before.all)
                    group.cancelAll()
                    return try await group.reduce([]) { $0 + $1 }.sorted()
                }

                try await eventually("all are refreshed, each once") { try await generations("app", server) == [1: 1, 2: load.grants] }
                // Callers were served meanwhile, and did not wait for the queue.
                #expect(calls.count > 20)
                #expect(calls[calls.count * 99 / 100] < .seconds(2), "\(calls.last ?? .zero)")
                // The provider's limit was found without running into it again and again.
                let after = try await provider.requestCounts(Self.client)
                #expect(after.rateLimited <= load.grants / 10, "\(after)")
                #expect(try await server.send(.get, "/v1/connections/app")["health"]?["state"]?.string == "ok")
                await server.stop()
            }
        }
    }

    /// Asks for tokens until it is cancelled: of grants that wait for their refresh, where they can bear it.
    /// - Returns: how long each call took.
    private func call(_ server: ServerProcess, _ load: Load, from start: ContinuousClock.Instant) async throws -> [Duration] {
        var durations: [Duration] = []
        do {
            try await Task.sleep(until: start, clock: .continuous)
            while true {
                let subject = load.isBearable ? "u\(Int.random(in: 0..<load.grants))" : "fresh"
                // In a task of its own, so that its end does not cut it off.
                let (status, duration) = try await Task {
                    let begun = ContinuousClock.now
                    let answer = try await server.token("app", "subject=" + subject)
                    return (answer.status, ContinuousClock.now - begun)
                }.value
                #expect(status == 200)
                durations.append(duration)
                try await Task.sleep(for: .milliseconds(200))
            }
        } catch is CancellationError {
            return durations
        }
    }

    /// Waits until the provider has answered as many refreshes as there are grants.
    private func finish(_ load: Load, _ provider: RunningProvider, past before: Int) async throws {
        let end = ContinuousClock.now + .seconds(load.expiresIn + load.grants / 10 + 60)
        while true {
            let counts = try await provider.requestCounts(Self.client)
            if counts.all - counts.rateLimited - counts.underWay - before >= load.grants { return }
            guard ContinuousClock.now < end else {
                Issue.record("after \(counts.all - before) requests, \(counts.rateLimited) of them too many, some are not refreshed")
                return
            }
            try await Task.sleep(for: .milliseconds(200))
        }
    }

    @Test func aConnectionWhoseProviderIsDownTakesNothingFromTheOther() async throws {
        try await RunningProvider.with { dead in
            try await RunningProvider.with { alive in
                try await ServerHome.with { home in
                    let server = try await home.start()
                    for (id, provider) in [("down", dead), ("up", alive)] {
                        try await provider.client(client())
                        try await server.add(connection(id, at: provider))
                    }
                    try await dead.client(client(["faults": [["fault": "status_503", "on": "refresh_token"]]]))
                    // All are expired, so that all are due now.
                    try await add(100, to: "down", of: server, at: dead, expiresIn: 0)
                    try await eventually("the outage is noticed") {
                        try await server.send(.get, "/v1/connections/down")["health"]?["state"]?.string == "provider_down"
                    }
                    try await add(50, to: "up", of: server, at: alive, expiresIn: 0)
                    try await eventually("nobody waits for the one that is down") { try await generations("up", server) == [2: 50] }
                    #expect(try await generations("down", server) == [1: 100])
                    // Those that were sent before the first failures came back, and a few probes since.
                    let asked = try await dead.tokenRequests(Self.client, "refresh_token").count
                    #expect(asked <= 40)
                    // A caller is told at once, and the provider is left alone.
                    let token = try await server.token("down", "subject=u99")
                    #expect(token.status == 502 || token.status == 504, "\(token.text)")

                    // Whoever has not failed by itself is refreshed as soon as it is up again.
                    try await dead.client(client(["faults": []]))
                    try await eventually("it recovers", within: .seconds(90)) { try await generations("down", server)[2] ?? 0 >= 50 }
                    #expect(try await server.send(.get, "/v1/connections/down")["health"]?["state"]?.string == "ok")
                    await server.stop()
                }
            }
        }
    }
}

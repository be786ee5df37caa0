import Foundation
import HTTPTypes
import OAuth
import RehearsalProvider
import TestSupport
import Testing

/// A disk that is full or broken in the moment that counts, by real system calls: received tokens are held until they can
/// be written, and nobody is given what is not on the disk. SEC-58
@Suite(.enabled(if: DiskFault.compiler != nil, "needs Linux and a C compiler"))
struct DiskFaultTests {
    /// One grant of a provider that rotates refresh tokens and allows no grace, and a disk that obeys.
    private struct Scene {
        let home: ServerHome
        let provider: RunningProvider
        let disk: DiskFault
        let server: ServerProcess

        static func with(_ body: (Scene) async throws -> Void) async throws {
            let disk = try await DiskFault.make()
            defer { do { try disk.remove() } catch { Issue.record("\(error)") } }
            try await RunningProvider.with { provider in
                try await ServerHome.with { home in
                    let server = try await home.start(disk.environment)
                    try await provider.client(["id": "disk", "secret": "disk-secret", "rotates": true, "access_token_lifetime": 3600])
                    try await server.add(provider.connection("app", "authorization_code", client: "disk", secret: "disk-secret"))
                    try await server.put("app", try await provider.tokens("disk", secret: "disk-secret"))
                    try await body(Scene(home: home, provider: provider, disk: disk, server: server))
                }
            }
        }

        var refreshes: Int { get async throws { try await provider.tokenRequests("disk", "refresh_token").count } }

        func isReady(_ server: ServerProcess) async throws -> Bool { try await server.send(.get, "/health/ready").status == 200 }

        /// A refresh whose answer comes to a disk that fails.
        func refreshWhileFailing(_ order: DiskFault.Order) async throws {
            try await provider.client(["id": "disk", "faults": [["fault": "slow", "value": 1, "on": "refresh_token", "times": 1]]])
            async let answer = server.refresh("app")
            try await eventually("the provider is asked") { try await provider.requestCounts("disk").underWay == 1 }
            try disk.begin(order)
            let refused = try await answer
            #expect(refused.status == 503 && refused.code == "unavailable", "\(refused.text)")
            #expect(refused.headers[.retryAfter] != nil)
            #expect(try await !isReady(server))
            // Neither the token that is not written nor, as uses cannot be recorded, the old one.
            try await eventually("issuing stops") { try await server.token("app").code == "unavailable" }
        }

        /// A grant that works, and with the refresh token that the provider gave last.
        func expectWorks(_ server: ServerProcess, generation: Int, sourceLocation: SourceLocation = #_sourceLocation) async throws {
            let token = try await server.token("app")
            #expect(token["generation"]?.integer == generation, "\(token.status) \(token.code ?? "")", sourceLocation: sourceLocation)
            #expect(try await provider.user(of: token) == "user-alice", sourceLocation: sourceLocation)
        }
    }

    @Test("Received tokens are held, written when the disk is back, and stay written", arguments: DiskFault.Order.allCases)
    func held(order: DiskFault.Order) async throws {
        try await Scene.with { scene in
            try await scene.refreshWhileFailing(order)
            // No second refresh is sent while the first one's tokens wait.
            #expect(try await scene.server.refresh("app").code == "unavailable")
            #expect(try await scene.refreshes == 1)
            try scene.disk.end()
            try await eventually("the server is ready") { try await scene.isReady(scene.server) }
            try await scene.expectWorks(scene.server, generation: 2)
            #expect(try await scene.refreshes == 1)
            // What failed once is not taken for done: killed now, the next process has it, and its refresh token is the newest.
            let killed = await scene.server.kill()
            let critical = killed.errors.split(separator: "\n").filter { $0.contains(#""level":"critical""#) }
            #expect(critical.count == 1 && critical.allSatisfy { $0.contains("RECEIVED TOKENS COULD NOT BE WRITTEN") }, "\(critical)")
            let next = try await scene.home.start()
            try await scene.expectWorks(next, generation: 2)
            #expect(try await scene.refreshes == 1)
            #expect(try await next.refresh("app")["generation"]?.integer == 3)
            await next.stop()
        }
    }

    @Test("A refresh is not sent while its result could not be written", arguments: DiskFault.Order.allCases)
    func notSent(order: DiskFault.Order) async throws {
        try await Scene.with { scene in
            try scene.disk.begin(order)
            let refused = try await scene.server.refresh("app")
            #expect(refused.status == 503 && refused.code == "unavailable", "\(refused.text)")
            #expect(try await scene.refreshes == 0)
            try scene.disk.end()
            try await eventually("the server is ready") { try await scene.isReady(scene.server) }
            #expect(try await scene.server.refresh("app")["generation"]?.integer == 2)
            try await scene.expectWorks(scene.server, generation: 2)
            await scene.server.stop()
        }
    }

    @Test("kill -9 while tokens are held leaves an outcome that is known to be unknown", arguments: [DiskFault.Order.fullAtWrite, .brokenAtWrite])
    func killed(order: DiskFault.Order) async throws {
        try await Scene.with { scene in
            try await scene.refreshWhileFailing(order)
            await scene.server.kill()
            try scene.disk.end()
            let next = try await scene.home.start()
            // The old access token serves, and the refresh token that may be spent is left alone.
            try await scene.expectWorks(next, generation: 1)
            #expect(try await next.token("app", "min_ttl=86400")["generation"]?.integer == 1)
            #expect(try await scene.refreshes == 1)
            #expect(try await next.refresh("app").code == "reauthorization_required")
            #expect(try await next.grant("app")["state_reason"]?.string == "outcome_unknown")
            await next.stop()
        }
    }

    /// What a failed sync leaves in the log of the database may be there for the next process or not, but as a whole.
    @Test func killedAfterAFailedSyncTheGrantIsRenewedOrItsOutcomeUnknown() async throws {
        try await Scene.with { scene in
            try await scene.refreshWhileFailing(.brokenAtSync)
            await scene.server.kill()
            try scene.disk.end()
            let next = try await scene.home.start()
            let token = try await next.token("app")
            let refreshed = try await next.refresh("app")
            switch token["generation"]?.integer {
            case 2: #expect(refreshed["generation"]?.integer == 3, "\(refreshed.text)")
            case 1:
                #expect(refreshed.code == "reauthorization_required", "\(refreshed.text)")
                #expect(try await next.grant("app")["state_reason"]?.string == "outcome_unknown")
            default: Issue.record("\(token.text)")
            }
            await next.stop()
        }
    }

    /// A stop is no crash: what was received is waited for.
    @Test func aStopGivesTheDiskTimeToTakeWhatIsHeld() async throws {
        try await Scene.with { scene in
            try await scene.refreshWhileFailing(.fullAtWrite)
            scene.server.program.signal(SIGTERM)
            async let stopped = scene.server.program.outcome()
            // Long enough for a stop that waits for nothing to be over.
            try await Task.sleep(for: .seconds(1))
            try scene.disk.end()
            #expect(await stopped.status == 0)
            let next = try await scene.home.start()
            try await scene.expectWorks(next, generation: 2)
            #expect(try await scene.refreshes == 1)
            #expect(try await next.refresh("app")["generation"]?.integer == 3)
            await next.stop()
        }
    }

    /// What cannot be recorded is not sent, whatever fails; what was sent is recorded, call for call. SEC-115
    @Test("No request leaves for an API while it could not be recorded", arguments: DiskFault.Order.allCases)
    func notCalled(order: DiskFault.Order) async throws {
        try await RawUpstream.with(.success) { upstream in
            try await Scene.with { scene in
                let server = scene.server
                var api = scene.provider.connection("api", "client_credentials", client: "machine", secret: "machine-secret").object ?? JSONObject()
                api["base_url"] = .string(upstream.url)
                try await server.add(.object(api))
                func call() async throws -> RunningServer.Answer { try await server.send(.get, "/gateway/api/x") }
                #expect(try await call().status == 200)
                try scene.disk.begin(order)
                // Within a second, and what a busy machine takes.
                let began = ContinuousClock.now
                try await eventually("calls stop") { try await call().code == "unavailable" }
                #expect(ContinuousClock.now - began < .seconds(5))
                let sent = upstream.requests.count
                for _ in 0..<20 {
                    let refused = try await call()
                    #expect(refused.status == 503 && refused.headers[.retryAfter] != nil, "\(refused.text)")
                }
                #expect(upstream.requests.count == sent)
                try scene.disk.end()
                try await eventually("calls go again") { try await call().status == 200 }
                let entries = try await server.send(.get, "/v1/activity?action=api.called&limit=200")["items"]?.array ?? []
                #expect(entries.reduce(0) { $0 + ($1["count"]?.integer ?? 0) } == upstream.requests.count)
                await server.stop()
            }
        }
    }
}

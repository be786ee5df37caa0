import Gateway
import OAuth
import Server
import TestSupport
import Testing

/// Whoever is silent for too long is not waited for. SEC-75.
@Suite(.timeLimit(.minutes(5))) struct GatewayDeadlineTests {
    /// With some limits far below what they are.
    private func with(
        _ script: RawUpstream.Script, _ limits: [(WritableKeyPath<GatewayLimits, Duration>, Duration)], _ body: (Stage, RawUpstream) async throws -> Void
    ) async throws {
        func shorten(_ configuration: inout ServerConfiguration) { for (limit, value) in limits { configuration.gatewayLimits[keyPath: limit] = value } }
        try await Stage.with(upstream: script, [:], shorten, body)
    }

    @Test func anAPIThatSaysNothingIsGivenUp() async throws {
        try await with(.silence, [(\.firstByte, .milliseconds(300))]) { stage, upstream async throws in
            let start = ContinuousClock.now
            let answer = try await stage.ask("POST", "api/x", body: "x")
            #expect(answer.status == 504)
            #expect(answer.problem == "provider_unreachable")
            #expect(ContinuousClock.now - start > .milliseconds(150))
            try await upstream.closed(0)
            #expect(upstream.requests.count == 1)
        }
    }

    @Test func interimAnswersAreNotTheFirstByte() async throws {
        let script = RawUpstream.Script.answering(.again(Array("HTTP/1.1 102 Processing\r\n\r\n".utf8), 3))
        try await with(script, [(\.firstByte, .milliseconds(300))]) { stage, _ async throws in
            #expect(try await stage.ask("GET", "api/x").problem == "provider_unreachable")
        }
    }

    @Test func anAPIThatStopsInTheMiddleIsGivenUp() async throws {
        let script = RawUpstream.Script.answering(.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"))
        try await with(script, [(\.idle, .milliseconds(300))]) { stage, upstream async throws in
            let answer = try await stage.ask("GET", "api/x")
            #expect(answer.text == "abc")
            #expect(!answer.isWhole)
            try await upstream.closed(0)
        }
    }

    @Test func aCallerThatStopsInItsBodyIsGivenUp() async throws {
        try await with(.success, [(\.idle, .milliseconds(300))]) { stage, upstream async throws in
            let request = stage.head("POST", "api/x", ["Content-Length: 10"]) + "abc"
            try await stage.client { client async throws in
                await client.send(request)
                do {
                    #expect(try await client.answer().status >= 400)
                } catch is RawClient.Ended {}
                #expect(await client.rest().isClosedByServer)
            }
            try await upstream.closed(0)
            #expect(upstream.requests.isEmpty)
        }
    }

    @Test func oneThatIsSlowButSpeaksIsWaitedFor() async throws {
        let script = RawUpstream.Script.answering(.drip(RawUpstream.answer(body: "slowly"), every: .milliseconds(20)))
        try await with(script, [(\.firstByte, .milliseconds(2_000)), (\.idle, .milliseconds(600))]) { stage, _ async throws in
            #expect(try await stage.ask("GET", "api/x").text == "slowly")
        }
    }

    @Test func aCallersConnectionOnWhichNothingComesIsClosed() async throws {
        try await with(.success, [(\.keepAlive, .milliseconds(400))]) { stage, _ async throws in
            let request = stage.head("GET", "api/x")
            try await stage.client { client async throws in
                await client.send(request)
                #expect(try await client.answer().status == 200)
                #expect(await client.rest().isClosedByServer)
            }
            // Half a head is nothing, too.
            try await stage.client { client async throws in
                await client.send("GET /gateway/api/x HTTP/1.1\r\nHost:")
                #expect(await client.rest().isClosedByServer)
            }
        }
    }

    @Test func anIdleConnectionToTheAPIIsClosedInTime() async throws {
        try await with(.success, [(\.upstreamKeepAlive, .milliseconds(200)), (\.idle, .milliseconds(400))]) { stage, upstream async throws in
            #expect(try await stage.ask("GET", "api/x").status == 200)
            try await upstream.closed(0)
        }
    }

    @Test func anAPIThatTakesNoConnectionHoldsNobodyElseUp() async throws {  // SEC-75
        try await with(.success, [(\.connect, .milliseconds(400))]) { stage, upstream async throws in
            // TLS to a server that says nothing: a connection that never becomes one.
            try await RawUpstream.with(.silence) { silent in
                try await stage.add("silent", at: silent.url.replacing("http:", with: "https:"))
                async let problems = withThrowingTaskGroup(of: String?.self) { group in
                    for _ in 0..<20 { group.addTask { try await stage.ask("GET", "silent/x").problem } }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                for _ in 0..<20 { #expect(try await stage.ask("GET", "api/x").status == 200) }
                #expect(try await Set(problems) == ["provider_unreachable"])
            }
        }
    }
}

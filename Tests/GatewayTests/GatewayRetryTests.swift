import OAuth
import Synchronization
import TestSupport
import Testing

/// A 401 of the API: one new token, one more try, and no more. SEC-61.
@Suite(.timeLimit(.minutes(5))) struct GatewayRetryTests {
    private static let subject = ["Grantee-Subject: user-1"]

    private static let pickyAnswer: @Sendable (RawUpstream.Request) -> [RawUpstream.Step] = { request in
        request["Authorization"] == "Bearer stale-token"
            ? [.send(RawUpstream.answer("401 Unauthorized", ["WWW-Authenticate: Bearer error=\"invalid_token\""], body: "stale"))]
            : [.send(RawUpstream.answer(body: "fresh"))]
    }
    /// Takes every token but the one that is imported.
    private static let picky = RawUpstream.Script.answering(pickyAnswer)

    private func with(_ script: RawUpstream.Script, _ body: (Stage, RawUpstream) async throws -> Void) async throws {
        try await RawUpstream.with(script) { upstream in
            try await Stage.with { stage async throws in
                try await stage.addStale("api", at: upstream.url)
                try await body(stage, upstream)
            }
        }
    }

    private func refreshCount(_ stage: Stage) async throws -> Int { try await stage.provider.tokenRequests("conf", "refresh_token").count }

    @Test func aStaleTokenIsRenewedAndNobodyNotices() async throws {  // SEC-61
        try await with(Self.picky) { stage, upstream async throws in
            let answer = try await stage.ask("GET", "api/x?a=1", Self.subject + ["X-Mine: 1"])
            #expect(answer.status == 200)
            #expect(answer.text == "fresh")
            #expect(answer.values("WWW-Authenticate").isEmpty)
            #expect(try await refreshCount(stage) == 1)
            let requests = upstream.requests
            #expect(requests.count == 2)
            #expect(requests[0].lines.filter { !$0.hasPrefix("Authorization") } == requests[1].lines.filter { !$0.hasPrefix("Authorization") })
            #expect(requests[0]["Authorization"] != requests[1]["Authorization"])
            // The new token serves from now on.
            #expect(try await stage.ask("GET", "api/x", Self.subject).text == "fresh")
            #expect(upstream.requests.count == 3)
            #expect(try await refreshCount(stage) == 1)
        }
    }

    @Test func nginxSeesTheSame() async throws {  // SEC-61
        try await Nginx.with { nginx in
            try await Stage.with { stage async throws in
                try await stage.addStale("api", at: nginx.url)
                #expect(try await stage.ask("GET", "api/stale", Self.subject).text == "fresh")
                #expect(try await stage.ask("POST", "api/stale", Self.subject, body: "body").text == "fresh")
                try await eventually("nginx has logged them") { try nginx.calls().count == 3 }
                #expect(try nginx.calls().map(\.status) == ["401", "200", "200"])
                #expect(try await refreshCount(stage) == 1)
            }
        }
    }

    @Test func aTokenThatIsFetchedWithoutAPersonIsFetchedAnew() async throws {  // SEC-61
        let first = Mutex<String?>(nil)
        let script = RawUpstream.Script.answering { request in
            let isFirst = first.withLock { first in
                if first == nil { first = request["Authorization"] }
                return first == request["Authorization"]
            }
            return [.send(isFirst ? RawUpstream.answer("401 Unauthorized", body: "stale") : RawUpstream.answer(body: "fresh"))]
        }
        try await Stage.with(upstream: script) { stage, upstream async throws in
            let answer = try await stage.ask("GET", "api/x")
            #expect(answer.text == "fresh")
            #expect(try await stage.provider.tokenRequests("machine").count == 2)
            #expect(upstream.requests.count == 2)
        }
    }

    @Test func anAPIThatAlwaysRefusesIsAskedTwice() async throws {  // SEC-61
        let script = RawUpstream.Script.answering { request in
            let which = request["Authorization"] == "Bearer stale-token" ? "first" : "second"
            return [.send(RawUpstream.answer("401 Unauthorized", ["WWW-Authenticate: Bearer", "X-Which: \(which)"], body: which))]
        }
        try await with(script) { stage, upstream async throws in
            let answer = try await stage.ask("GET", "api/x", Self.subject)
            #expect(answer.status == 401)
            #expect(answer.text == "second")
            #expect(answer["X-Which"] == "second")
            #expect(answer["WWW-Authenticate"] == "Bearer")
            #expect(answer.values("Grantee-Problem").isEmpty)
            #expect(upstream.requests.count == 2)
            #expect(try await refreshCount(stage) == 1)
            // Nor does the next call renew what was renewed just now.
            for _ in 0..<3 { #expect(try await stage.ask("GET", "api/x", Self.subject).status == 401) }
            #expect(upstream.requests.count == 5)
            #expect(try await refreshCount(stage) == 1)
        }
    }

    @Test(arguments: [403, 400, 407, 419, 498, 500]) func noOtherStatusRenews(status: Int) async throws {  // SEC-61
        let script = RawUpstream.Script.answering(
            .send(RawUpstream.answer("\(status) No", ["WWW-Authenticate: Bearer error=\"insufficient_scope\", scope=\"admin\""], body: "no")))
        try await with(script) { stage, upstream async throws in
            let answer = try await stage.ask("GET", "api/x", Self.subject)
            #expect(answer.status == status)
            #expect(answer.text == "no")
            #expect(upstream.requests.count == 1)
            #expect(try await refreshCount(stage) == 0)
        }
    }

    @Test(arguments: [0, 1, 30_000, 64 << 10], [false, true]) func aBodyThatWasKeptIsSentAgainByteForByte(count: Int, isChunked: Bool) async throws {  // SEC-61
        try await with(Self.picky) { stage, upstream async throws in
            let framing = isChunked ? "Transfer-Encoding: chunked" : "Content-Length: \(count)"
            let request = stage.head("POST", "api/x", Self.subject + [framing])
            let answer = try await stage.client { client in
                await client.send(request)
                await client.sender.sendPattern(count, chunked: isChunked)
                if isChunked { await client.send("0\r\n\r\n") }
                return try await client.answer()
            }
            #expect(answer.text == "fresh")
            #expect(upstream.requests.map(\.body.count) == [count, count])
            #expect(upstream.requests.allSatisfy { $0.pattern.isRight })
            #expect(upstream.requests[0]["Content-Length"] == upstream.requests[1]["Content-Length"])
            #expect(try await refreshCount(stage) == 1)
        }
    }

    @Test(arguments: [false, true]) func aBodyThatIsTooLargeToBeKeptIsSentOnce(isChunked: Bool) async throws {  // SEC-61
        try await with(Self.picky) { stage, upstream async throws in
            let count = 1 << 20
            let request = stage.head("POST", "api/x", Self.subject + [isChunked ? "Transfer-Encoding: chunked" : "Content-Length: \(count)"])
            let answer = try await stage.client { client in
                await client.send(request)
                await client.sender.sendPattern(count, chunked: isChunked)
                if isChunked { await client.send("0\r\n\r\n") }
                return try await client.answer()
            }
            #expect(answer.status == 401)
            #expect(answer.text == "stale")
            #expect(answer.values("Grantee-Problem").isEmpty)
            #expect(upstream.requests.map(\.pattern.count) == [count])
            // The next call is fresh.
            #expect(try await stage.ask("GET", "api/x", Self.subject).text == "fresh")
            #expect(try await refreshCount(stage) == 1)
        }
    }

    @Test func aCrowdThatIsRefusedRenewsOnce() async throws {  // SEC-57, SEC-61
        try await with(Self.picky) { stage, upstream async throws in
            let texts = try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 0..<50 { group.addTask { try await stage.ask("GET", "api/x", Self.subject).text } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(texts == Array(repeating: "fresh", count: 50))
            #expect(try await refreshCount(stage) == 1)
            #expect(upstream.requests.count <= 100)
        }
    }

    @Test func aGrantThatTheProviderWillNotRenewIsAskedForOfAPerson() async throws {  // SEC-60, SEC-61
        try await with(Self.picky) { stage, upstream async throws in
            try await stage.provider.client(["id": "conf", "faults": [["fault": "error", "value": "invalid_grant", "on": "refresh_token"]]])
            let answer = try await stage.ask("GET", "api/x", Self.subject)
            #expect(answer.problem == "reauthorization_required", "\(answer.text)")
            #expect(upstream.requests.count == 1)
            #expect(try await refreshCount(stage) == 1)
        }
    }

    @Test(arguments: ["status_503", "dropped_before", "status_429"])
    func aRenewalThatFailsNowLeavesTheAPIsAnswer(fault: String) async throws {  // SEC-60, SEC-61
        try await with(Self.picky) { stage, upstream async throws in
            try await stage.provider.client(["id": "conf", "faults": [["fault": .string(fault), "on": "refresh_token"]]])
            let answer = try await stage.ask("GET", "api/x", Self.subject)
            #expect(answer.status == 401)
            #expect(answer.text == "stale")
            #expect(answer["WWW-Authenticate"] == "Bearer error=\"invalid_token\"")
            #expect(upstream.requests.count == 1)
        }
    }

    @Test func aRefusalWithALargeBodyIsNotKept() async throws {  // SEC-61
        let script = RawUpstream.Script.answering { request in
            request["Authorization"] == "Bearer stale-token"
                ? [.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: \(64 << 20)\r\n\r\n"), .pattern(64 << 20)] : [.send(RawUpstream.answer(body: "fresh"))]
        }
        try await with(script) { stage, upstream async throws in
            #expect(try await stage.ask("GET", "api/x", Self.subject).text == "fresh")
            #expect(upstream.sentCount < 32 << 20)
        }
    }

    @Test func aCallerThatLeavesDuringTheRenewalLeavesTheNewTokenToOthers() async throws {
        try await with(Self.picky) { stage, upstream async throws in
            try await stage.provider.client(["id": "conf", "faults": [["fault": "slow", "value": 1, "times": 1, "on": "refresh_token"]]])
            let request = stage.head("GET", "api/x", Self.subject)
            try await stage.client { client in
                await client.send(request)
                _ = await upstream.nextRequest()
                await client.die()
            }
            #expect(try await stage.ask("GET", "api/x", Self.subject).text == "fresh")
            #expect(try await refreshCount(stage) == 1)
        }
    }
}

import Gateway
import NIOCore
import NIOHTTP2
import OAuth
import Server
import TestSupport
import Testing

/// Moments at which an answer, a connection or a caller could get lost between the others.
@Suite(.timeLimit(.minutes(5))) struct GatewayRegressionTests {
    private static let subject = ["Grantee-Subject: user-1"]
    private static let agents: JSONObject = ["agent_access": ["enabled": true, "methods": ["GET"], "paths": ["/**"]]]

    // MARK: The API's connection

    /// Unless something follows it: the 401 is held, and that would be in memory when the next call comes.
    @Test(arguments: [("", 1), ("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nplanted", 2)])
    func aConnectionWhose401WasPassedOnServesTheNextCall(extra: String, connections: Int) async throws {  // SEC-61, SEC-77
        let script = RawUpstream.Script.answering { request in
            let isFirst = request.target == "/first"
            return [.send(isFirst ? RawUpstream.answer("401 Unauthorized", body: "stale") + Array(extra.utf8) : RawUpstream.answer(body: "second"))]
        }
        try await RawUpstream.with(script) { upstream in
            try await Stage.with { stage async throws in
                try await stage.addStale("api", at: upstream.url)
                try await stage.provider.client(["id": "conf", "faults": [["fault": "status_503", "on": "refresh_token"]]])
                try await stage.client { client async throws in
                    await client.send(stage.head("GET", "api/first", Self.subject))
                    #expect(try await client.answer().text == "stale")
                    await client.send(stage.head("GET", "api/second", Self.subject))
                    #expect(try await client.answer().text == "second")
                }
                #expect(upstream.connectionCount == connections)
            }
        }
    }

    @Test func aConnectionThatEndsDuringTheRenewalIsNotNeededAnyMore() async throws {  // SEC-61
        let script = RawUpstream.Script.answering { request in
            request["Authorization"] == "Bearer stale-token"
                ? [.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\nstale"), .close] : [.send(RawUpstream.answer(body: "fresh"))]
        }
        try await RawUpstream.with(script) { upstream in
            try await Stage.with { stage async throws in
                try await stage.addStale("api", at: upstream.url)
                try await stage.provider.client(["id": "conf", "faults": [["fault": "slow", "value": 1, "times": 1, "on": "refresh_token"]]])
                #expect(try await stage.ask("POST", "api/x", Self.subject, body: "body").text == "fresh")
                #expect(upstream.requests.map { String(decoding: $0.body, as: UTF8.self) } == ["body", "body"])
            }
        }
    }

    @Test func a401ThatBrokeOffIsAProblemWhereNoTokenIsToBeHad() async throws {  // SEC-61
        let script = RawUpstream.Script.answering(.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\nstale"), .close)
        try await RawUpstream.with(script) { upstream in
            try await Stage.with { stage async throws in
                try await stage.addStale("api", at: upstream.url)
                try await stage.provider.client(["id": "conf", "faults": [["fault": "status_503", "on": "refresh_token"]]])
                #expect(try await stage.ask("GET", "api/x", Self.subject).problem == "provider_error")
            }
        }
    }

    /// A caller that has sent its next request already.
    @Test(arguments: ["extra bytes", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"])
    func whatFollowsAnAnswerMeetsNoRequestThatWaited(extra: String) async throws {  // SEC-77
        let script = RawUpstream.Script.answering { request in
            request.target.hasSuffix("/first") ? [.send(RawUpstream.answer(body: "first") + Array(extra.utf8))] : [.send(RawUpstream.answer(body: "second"))]
        }
        try await Stage.with(upstream: script) { stage, upstream async throws in
            let row = stage.head("GET", "api/first") + stage.head("POST", "api/second", body: "body")
            try await stage.client { client async throws in
                await client.send(row)
                #expect(try await client.answer().text == "first")
                #expect(try await client.answer().text == "second")
            }
            #expect(upstream.connectionCount == 2)
            #expect(upstream.requests.map(\.connection) == [0, 1])
        }
    }

    @Test func aSwitchOfProtocolsIsNoAnswer() async throws {  // SEC-77, SEC-89
        let script = RawUpstream.Script.answering { request in
            request.target.hasSuffix("/good")
                ? [.send(RawUpstream.answer(body: "good"))] : [.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")]
        }
        try await Stage.with(upstream: script) { stage, upstream async throws in
            try await stage.client { client async throws in
                await client.send(stage.head("GET", "api/bad"))
                let answer = try await client.answer()
                #expect(answer.interim.isEmpty)
                #expect(answer.problem == "provider_error", "\(answer.text)")
                try await upstream.closed(0)
                await client.send(stage.head("GET", "api/good"))
                #expect(try await client.answer().text == "good")
            }
        }
    }

    /// The end of the answer is here, most of it waits for the caller, and the API has gone or is asked again.
    @Test(arguments: [false, true]) func aSlowAgentGetsAllOfAnAnswerWhoseEndHasCome(closes: Bool) async throws {
        var random = Seeded(1)
        // About an eighth of it when it is packed.
        let plain = (0..<20_000).flatMap { _ in (0..<64).map { _ in UInt8(truncatingIfNeeded: random.next()) } + [UInt8](repeating: 0x20, count: 450) }
        let packed = Gzip.packed(plain)
        let fields = ["Content-Encoding: gzip", "Content-Length: \(packed.count)"] + (closes ? ["Connection: close"] : [])
        let large = Array((["HTTP/1.1 200 OK"] + fields + ["", ""]).joined(separator: "\r\n").utf8) + packed
        let script = RawUpstream.Script.answering { request in
            request.target.hasSuffix("/large") ? [.send(large)] + (closes ? [.close] : []) : [.send(RawUpstream.answer(body: "next"))]
        }
        try await Stage.with(upstream: script, Self.agents) { stage, upstream async throws in
            let key = try await stage.key("agent")
            try await stage.client { client async throws in
                await client.send(stage.head("GET", "api/large", key: key))
                _ = await upstream.nextRequest()
                // Nothing of it is read until nothing moves any more.
                _ = try await settled { upstream.sentCount + 1 }
                let answer = try await client.answer()
                #expect(answer.isWhole)
                #expect(answer.body.count == plain.count)
                #expect(answer.body == plain)
                await client.send(stage.head("GET", "api/next", key: key))
                #expect(try await client.answer().text == "next")
            }
        }
    }

    @Test func aBodyOfManySmallPiecesIsSentAgainAsItWas() async throws {  // SEC-61
        let script = RawUpstream.Script.answering { request in
            [.send(request["Authorization"] == "Bearer stale-token" ? RawUpstream.answer("401 Unauthorized") : RawUpstream.answer(body: "fresh"))]
        }
        try await RawUpstream.with(script) { upstream in
            try await Stage.with { stage async throws in
                try await stage.addStale("api", at: upstream.url)
                let bytes = PatternBytes.piece(at: 0, count: 30_000)
                let head = stage.head("POST", "api/x", Self.subject + ["Transfer-Encoding: chunked"])
                try await stage.client { client async throws in
                    await client.send(head)
                    for start in stride(from: 0, to: 10_000, by: 10) { await client.send(Array("a\r\n".utf8) + bytes[start..<start + 10] + [13, 10]) }
                    await client.send(Array("2710\r\n".utf8) + bytes[10_000..<20_000] + [13, 10])
                    for start in stride(from: 20_000, to: 30_000, by: 1000) {
                        await client.send(Array("3e8\r\n".utf8) + bytes[start..<start + 1000] + [13, 10])
                    }
                    await client.send("0\r\n\r\n")
                    #expect(try await client.answer().text == "fresh")
                }
                #expect(upstream.requests.map(\.body) == [bytes, bytes])
            }
        }
    }

    // MARK: The caller's connection

    @Test func aLongRowThatIsRefusedAtOnceIsAnsweredOneByOne() async throws {
        let signal = Signal()
        try await Stage.with(upstream: .answering(.wait(signal), .send(RawUpstream.answer(body: "first")))) { stage, upstream async throws in
            let count = 6000
            let row = String(repeating: "GET /gateway/api HTTP/1.1\r\nHost: a\r\n\r\n", count: count)
            try await stage.client { client async throws in
                await client.send(stage.head("GET", "api/first"))
                _ = await upstream.nextRequest()
                let sender = client.sender
                async let isSent = sender.send(row)
                signal.give()
                #expect(try await client.answer().text == "first")
                var statuses: [Int] = []
                for _ in 0..<count { statuses.append(try await client.answer().status) }
                #expect(statuses == Array(repeating: 401, count: count))
                #expect(await isSent)
            }
        }
    }

    @Test func aCallersConnectionIsKeptAfterAnAnswerThatTookLong() async throws {
        func shorten(_ configuration: inout ServerConfiguration) { configuration.gatewayLimits.keepAlive = .seconds(3) }
        // Longer than that; and the end is far enough off for a reader who is kept waiting by others.
        let script = RawUpstream.Script.answering(.drip(RawUpstream.answer(body: "0123456789"), every: .milliseconds(80)))
        try await Stage.with(upstream: script, [:], shorten) { stage, _ async throws in
            let request = stage.head("GET", "api/x")
            try await stage.client { client async throws in
                await client.send(request)
                #expect(try await client.answer().text == "0123456789")
                let end = ContinuousClock.now
                #expect(await client.rest().isClosedByServer)
                #expect(ContinuousClock.now - end > .milliseconds(600))
            }
        }
    }

    @Test func theLastAnswerOfAConnectionIsWholeHoweverSlowlyItIsRead() async throws {
        let count = 8 << 20
        let script = RawUpstream.Script.answering(.send("HTTP/1.1 200 OK\r\nContent-Length: \(count)\r\n\r\n"), .pattern(count))
        try await Stage.with(upstream: script) { stage, upstream async throws in
            let request = stage.head("GET", "api/x", ["Connection: close"])
            try await stage.client { client async throws in
                await client.send(request)
                #expect(try await client.head().status == 200)
                var check = PatternBytes.Check()
                for _ in 0..<8 {
                    // All that this side has room for is on its way.
                    _ = try await settled { upstream.sentCount }
                    #expect(await client.take(count / 8) { check.next($0) })
                }
                #expect(check.count == count)
                #expect(check.isRight)
                #expect(await client.rest().isClosedByServer)
            }
        }
    }

    // MARK: HTTP/2

    @Test func anInterimAnswerOverHTTP2IsNoAnswer() async throws {
        let script: HTTP2Upstream.Script = { _, _ in [.head(103), .head(200), .body("final", isEnd: true)] }
        try await HTTP2Upstream.with(script) { stage, _ async throws in
            try await stage.client { client async throws in
                for _ in 0..<2 {
                    await client.send(stage.head("GET", "api/x"))
                    let answer = try await client.answer()
                    #expect(answer.status == 200)
                    #expect(answer.text == "final")
                }
            }
        }
    }

    /// Each says of the first request that nothing was done with it: whatever it is, it may be sent again.
    @Test(arguments: [[.goAway(after: .rootStream)], [.reset(.refusedStream)]] as [[HTTP2Upstream.Step]])
    func aRequestThatTheAPIDidNotTouchIsSentAgain(steps: [HTTP2Upstream.Step]) async throws {
        let script: HTTP2Upstream.Script = { _, count in count == 1 ? steps : [.head(200), .body("done", isEnd: true)] }
        try await HTTP2Upstream.with(script) { stage, upstream async throws in
            #expect(try await stage.ask("POST", "api/x", body: "body").text == "done")
            #expect(upstream.requests == ["POST /x", "POST /x"])
        }
    }

    @Test func aRequestThatTheAPIMayHaveDoneIsNotSentAgain() async throws {
        let script: HTTP2Upstream.Script = { _, _ in [.reset(.cancel)] }
        try await HTTP2Upstream.with(script) { stage, upstream async throws in
            #expect(try await stage.ask("POST", "api/x", body: "body").problem == "provider_error")
            #expect(upstream.requests == ["POST /x"])
        }
    }

    /// An answer under way keeps the connection open; new requests go elsewhere.
    @Test func aConnectionThatIsToEndTakesNoMoreRequests() async throws {
        let signal = Signal()
        let script: HTTP2Upstream.Script = { request, _ in
            request == "GET /long"
                ? [.head(200), .goAway(after: .maxID), .body("begin "), .wait(signal), .body("end", isEnd: true)] : [.head(200), .body("done", isEnd: true)]
        }
        try await HTTP2Upstream.with(script) { stage, upstream async throws in
            let long = stage.head("GET", "api/long")
            try await stage.client { client async throws in
                await client.send(long)
                #expect(try await client.head().status == 200)
                await client.take("6\r\nbegin \r\n".utf8.count)
                // Callers' connections go round the event loops: one of these meets the connection.
                for _ in 0..<2 * System.coreCount { #expect(try await stage.ask("POST", "api/x", body: "body").text == "done") }
                signal.give()
                var text = ""
                await client.take("3\r\nend\r\n0\r\n\r\n".utf8.count) { text += String(buffer: $0) }
                #expect(text == "3\r\nend\r\n0\r\n\r\n")
            }
            #expect(upstream.requests.count == 1 + 2 * System.coreCount)
        }
    }
}

import Foundation
import Gateway
import NIOCore
import Server
import Synchronization
import TestSupport
import Testing

/// Bodies of any size, framing of any kind, and everything that breaks on the way.
@Suite(.timeLimit(.minutes(5))) struct GatewayStreamingTests {
    // MARK: As it comes

    @Test(arguments: [
        ("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc", "def", "6", 3),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "3\r\ndef\r\n0\r\n\r\n", nil, 8),
    ])
    func theFirstHalfArrivesBeforeTheSecondIsMade(first: String, second: String, length: String?, wireCount: Int) async throws {
        let signal = Signal()
        try await Stage.with(upstream: .answering(.send(first), .wait(signal), .send(second))) { stage, _ async throws in
            let request = stage.head("GET", "api/halves")
            try await stage.client { client async throws in
                await client.send(request)
                let head = try await client.head()
                #expect(head["Content-Length"] == length)
                var text = ""
                #expect(await client.take(wireCount) { text += String(buffer: $0) })
                #expect(text.contains("abc"))
                signal.give()
                #expect(await client.take(second.utf8.count) { text += String(buffer: $0) })
                #expect(text.contains("def"))
            }
        }
    }

    @Test func anAnswerMayBeginBeforeTheBodyHasEnded() async throws {
        var script = RawUpstream.Script.answering(.send("3\r\nend\r\n0\r\n\r\n"))
        script.onHead = { _ in [.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n")] }
        try await Stage.with(upstream: script) { stage, upstream async throws in
            let request = stage.head("POST", "api/both", ["Transfer-Encoding: chunked"])
            try await stage.client { client async throws in
                await client.send(request + "5\r\nfirst\r\n")
                #expect(try await client.head().status == 200)
                var text = ""
                #expect(await client.take(10) { text += String(buffer: $0) })
                #expect(text == "5\r\nbegin\r\n")
                await client.send("4\r\nlast\r\n0\r\n\r\n")
                #expect(await client.take(13) { text += String(buffer: $0) })
                #expect(text == "5\r\nbegin\r\n3\r\nend\r\n0\r\n\r\n")
            }
            #expect(upstream.requests.map(\.body) == [Array("firstlast".utf8)])
        }
    }

    @Test func anAPIThatAnswersByteByByteIsWaitedFor() async throws {
        let script = RawUpstream.Script.answering(.drip(RawUpstream.chunked(chunks: [Array("slow".utf8), Array("ly".utf8)]), every: .milliseconds(2)))
        try await Stage.with(upstream: script) { stage, _ async throws in
            let answer = try await stage.ask("GET", "api/slow")
            #expect(answer.text == "slowly")
            #expect(answer.isWhole)
        }
    }

    @Test func aSlowAPISetsThePace() async throws {
        try await Stage.withNginx { stage, nginx async throws in
            // 2 MiB at once, then 2 MiB in each second.
            try nginx.addFile("file", count: 3 << 20)
            let request = stage.head("GET", "api/slow/file")
            let start = ContinuousClock.now
            try await stage.client { client async throws in
                await client.send(request)
                var check = PatternBytes.Check()
                let answer = try await client.answer { check.next($0) }
                #expect(answer.isWhole)
                #expect(check.isRight)
                #expect(check.count == 3 << 20)
            }
            #expect(ContinuousClock.now - start > .milliseconds(300))
        }
    }

    // MARK: Framing

    @Test(arguments: Stage.NginxFace.allCases)
    func answersWithoutABodyLeaveTheConnectionInStep(face: Stage.NginxFace) async throws {
        try await Stage.withNginx(face) { stage, nginx async throws in
            try nginx.addFile("file", count: 1000)
            try await stage.client { client async throws in
                func ask(_ method: String, _ path: String, _ fields: [String] = []) async throws -> RawAnswer {
                    await client.send(stage.head(method, "api" + path, fields))
                    return try await client.answer(to: method)
                }
                let head = try await ask("HEAD", "/files/file")
                #expect(head.status == 200)
                #expect(head["Content-Length"] == "1000")
                let tag = try #require(head["ETag"])
                let nothing = try await ask("GET", "/none")
                #expect(nothing.status == 204)
                #expect(nothing.values("Content-Length").isEmpty)
                #expect(nothing.values("Transfer-Encoding").isEmpty)
                let unchanged = try await ask("GET", "/files/file", ["If-None-Match: \(tag)"])
                #expect(unchanged.status == 304)
                #expect(unchanged["ETag"] == tag)
                let part = try await ask("GET", "/files/file", ["Range: bytes=10-19"])
                #expect(part.status == 206)
                #expect(part.body == PatternBytes.piece(at: 10, count: 10))
                let missing = try await ask("HEAD", "/files/missing")
                #expect(missing.status == 404)
                let version = try await ask("GET", "/version")
                #expect(version.text == face.version)
            }
        }
    }

    @Test func anAnswerToHEADMaySpeakOfChunks() async throws {
        let script = RawUpstream.Script.answering(.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"))
        try await Stage.with(upstream: script) { stage, upstream async throws in
            try await stage.client { client async throws in
                for _ in 0..<2 {
                    await client.send(stage.head("HEAD", "api/x"))
                    #expect(try await client.answer(to: "HEAD").status == 200)
                }
            }
            #expect(upstream.connectionCount == 1)
        }
    }

    @Test func trailersAreKeptOrCleanlyDropped() async throws {
        let script = RawUpstream.Script.answering(
            .send(
                RawUpstream.chunked(
                    "200 OK", ["Trailer: X-Checksum"], chunks: [Array("abc".utf8)],
                    trailers: ["X-Checksum: 900150983cd24fb0", "Set-Cookie: a=b", "Grantee-Problem: forged"])))
        try await Stage.with(upstream: script) { stage, upstream async throws in
            let body = "3\r\nabc\r\n0\r\nX-Mine: 1\r\nAuthorization: Bearer mine\r\nHost: evil.example\r\nCookie: a=b\r\n\r\n"
            let first = stage.head("POST", "api/x", ["Transfer-Encoding: chunked", "Trailer: X-Mine, Authorization"])
            try await stage.client { client async throws in
                for _ in 0..<2 {
                    await client.send(first + body)
                    let answer = try await client.answer()
                    #expect(answer.text == "abc")
                    #expect(answer.isWhole)
                    #expect(answer.trailers.allSatisfy { $0.name.lowercased() == "x-checksum" && $0.value == "900150983cd24fb0" })
                }
            }
            #expect(upstream.requests.map(\.body) == [Array("abc".utf8), Array("abc".utf8)])
            #expect(upstream.requests.allSatisfy { $0.trailers.allSatisfy { $0 == "X-Mine: 1" } })
            #expect(!upstream.hasLeftovers)
        }
    }

    @Test func anAnswerThatEndsWithItsConnectionIsFramedAnew() async throws {
        let script = RawUpstream.Script.answering(.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end"), .close)
        try await Stage.with(upstream: script) { stage, upstream async throws in
            try await stage.client { client async throws in
                for _ in 0..<2 {
                    await client.send(stage.head("GET", "api/x"))
                    let answer = try await client.answer()
                    #expect(answer.text == "until the end")
                    #expect(answer.isWhole)
                    #expect(answer["Transfer-Encoding"] == "chunked")
                }
            }
            #expect(upstream.connectionCount == 2)
        }
    }

    @Test func anHTTP10CallerGetsWhatItCanRead() async throws {
        let script = RawUpstream.Script.answering { request in
            var steps: [RawUpstream.Step] = [.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")]
            switch request.target {
            case "/base/chunked": steps.append(.send(RawUpstream.chunked(chunks: [Array("ab".utf8), Array("c".utf8)])))
            default: steps.append(.send(RawUpstream.answer(body: "abc")))
            }
            return steps
        }
        try await Stage.with(upstream: script) { stage, upstream async throws in
            for path in ["chunked", "sized"] {
                let request = stage.head("POST", "api/" + path, ["Expect: 100-continue"], version: "HTTP/1.0", body: "body")
                try await stage.client { client async throws in
                    await client.send(request)
                    let answer = try await client.answer()
                    #expect(answer.interim.isEmpty)
                    #expect(answer.status == 200)
                    #expect(answer.values("Transfer-Encoding").isEmpty)
                    #expect(answer.text == "abc")
                    #expect(await client.rest().isClosedByServer)
                }
            }
            #expect(upstream.requests.map { String(decoding: $0.body, as: UTF8.self) } == ["body", "body"])
            #expect(upstream.requests.allSatisfy { $0.requestLine.hasSuffix(" HTTP/1.1") })
        }
    }

    // MARK: Expect and interim answers

    @Test func aCallerThatAsksFirstIsToldToGoOn() async throws {
        var script = RawUpstream.Script.success
        script.onHead = { $0.values("Expect").isEmpty ? [] : [.send("HTTP/1.1 100 Continue\r\n\r\n")] }
        try await Stage.with(upstream: script) { stage, upstream async throws in
            let request = stage.head("POST", "api/x", ["Expect: 100-continue", "Content-Length: 4"])
            try await stage.client { client async throws in
                for _ in 0..<2 {
                    await client.send(request)
                    #expect(try await client.head().status == 100)
                    await client.send("body")
                    let answer = try await client.answer()
                    #expect(answer.status == 200)
                    #expect(answer.interim.isEmpty)
                }
            }
            #expect(upstream.requests.map(\.body) == [Array("body".utf8), Array("body".utf8)])
        }
    }

    @Test func aRefusedCallerIsNotToldToGoOn() async throws {
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            for (target, key, problem) in [("nothing/x", nil, "not_found"), ("api/x", "wrong", "unauthenticated"), ("api/../x", nil, "invalid_request")] {
                let request = stage.head("POST", target, ["Expect: 100-continue", "Content-Length: 1000000"], key: key)
                try await stage.client { client async throws in
                    await client.send(request)
                    let answer = try await client.answer()
                    #expect(answer.interim.isEmpty)
                    #expect(answer.problem == problem, "\(answer.text)")
                }
            }
            #expect(upstream.connectionCount == 0)
        }
    }

    @Test func aRefusalReachesACallerThatIsStillSending() async throws {
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            let request = stage.head("POST", "nothing/x", ["Content-Length: \(8 << 20)"])
            try await stage.client { client async throws in
                await client.send(request)
                let sender = client.sender
                async let isSent = sender.sendPattern(8 << 20)
                let answer = try await client.answer()
                #expect(answer.problem == "not_found")
                #expect(answer.isWhole)
                _ = await isSent
            }
            #expect(upstream.connectionCount == 0)
        }
    }

    @Test func anAPIThatAnswersBeforeTheBodyIsHeard() async throws {
        var script = RawUpstream.Script()
        script.onHead = { _ in [.send(RawUpstream.answer("413 Content Too Large", ["Connection: close"], body: "no"))] }
        try await Stage.with(upstream: script) { stage, upstream async throws in
            let request = stage.head("POST", "api/x", ["Content-Length: \(4 << 20)"])
            try await stage.client { client async throws in
                await client.send(request)
                let answer = try await client.answer()
                #expect(answer.status == 413)
                #expect(answer.text == "no")
                #expect(answer.values("Grantee-Problem").isEmpty)
            }
            try await upstream.closed(0)
            #expect(upstream.requests.isEmpty)
        }
    }

    @Test func interimAnswersAreNoAnswer() async throws {
        let script = RawUpstream.Script.answering(
            .send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"),
            .send(RawUpstream.answer(body: "final")))
        try await Stage.with(upstream: script) { stage, upstream async throws in
            try await stage.client { client async throws in
                for _ in 0..<2 {
                    await client.send(stage.head("GET", "api/x"))
                    let answer = try await client.answer()
                    #expect(answer.status == 200)
                    #expect(answer.text == "final")
                }
            }
            #expect(upstream.connectionCount == 1)
        }
    }

    // MARK: An API that breaks off

    @Test(
        arguments: [
            [.close], [.reset], [.send("HTTP/1.1 200 O"), .close], [.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"), .close],
            [.send("HTTP/1.1 100 Continue\r\n\r\n"), .close],
        ] as [[RawUpstream.Step]])
    func anAPIThatDiesBeforeItAnswersIsAProblem(steps: [RawUpstream.Step]) async throws {
        try await Stage.with(upstream: .answering { _ in steps }) { stage, upstream async throws in
            // Not idempotent: sent once, whatever happens.
            let answer = try await stage.ask("POST", "api/x", body: "once")
            #expect(answer.status == 502, "\(answer.text)")
            #expect(answer.problem == "provider_error", "\(answer.text)")
            #expect(upstream.requests.count == 1)
        }
    }

    @Test(
        arguments: [
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nabc",
        ], [false, true])
    func anAPIThatDiesInTheMiddleLeavesNoWholeAnswer(beginning: String, isReset: Bool) async throws {
        let signal = Signal()
        let script = RawUpstream.Script.answering(.send(beginning), .wait(signal), isReset ? .reset : .close)
        try await Stage.with(upstream: script) { stage, _ async throws in
            let request = stage.head("GET", "api/x")
            try await stage.client { client async throws in
                await client.send(request)
                #expect(try await client.head().status == 200)
                signal.give()
                let (text, isClosedByServer) = await client.rest()
                #expect(isClosedByServer)
                #expect(text.utf8.count < 10)
                #expect(!text.hasSuffix("0\r\n\r\n"))
            }
        }
    }

    @Test(arguments: Stage.NginxFace.allCases)
    func anNginxThatIsStoppedInTheMiddleLeavesNoWholeAnswer(face: Stage.NginxFace) async throws {
        try await Stage.withNginx(face) { stage, nginx async throws in
            try nginx.addFile("file", count: 64 << 20)
            let request = stage.head("GET", "api/slow/file")
            try await stage.client { client async throws in
                await client.send(request)
                #expect(try await client.head().status == 200)
                #expect(await client.take(10_000))
                await nginx.stop()
                #expect(await client.take(64 << 20) == false)
            }
            #expect(try await stage.ask("GET", "api/files/file").problem == "provider_unreachable")
        }
    }

    /// What is no answer, or not one that can be told from what follows it.
    static let nonsenseAnswers: [(String, [RawUpstream.Step])] = [
        ("no HTTP", [.send("SSH-2.0-OpenSSH_9.2\r\n"), .close]),
        ("another protocol's version", [.send("HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n")]),
        ("a status that is no number", [.send("HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n")]),
        ("two lengths", [.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde")]),
        ("a negative length", [.send("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n")]),
        ("a length and chunks", [.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")]),
        ("a space before the colon", [.send("HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length: 0\r\n\r\n")]),
        ("a NUL in a field", [.send("HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 0\r\n\r\n")]),
        ("10,000 fields", [.send("HTTP/1.1 200 OK\r\n"), .again(Array("X-Field: 0123456789\r\n".utf8), 10_000), .send("\r\n")]),
        ("a field without end", [.send("HTTP/1.1 200 OK\r\nX-Long: "), .again([UInt8](repeating: 0x61, count: 16_384), 1_000)]),
    ]

    @Test("Nonsense is a problem, and its connection is not used again", arguments: nonsenseAnswers)
    func nonsense(name: String, steps: [RawUpstream.Step]) async throws {  // SEC-74, SEC-77
        try await Stage.with(upstream: .answering { $0.target.hasSuffix("/good") ? [.send(RawUpstream.answer())] : steps }) { stage, upstream async throws in
            let answer = try await stage.ask("POST", "api/bad", body: "x")
            #expect(answer.problem == "provider_error", "\(name): \(answer.status) \(answer.text)")
            try await upstream.closed(0)
            #expect(try await stage.ask("GET", "api/good").status == 200)
            #expect(upstream.connectionCount == 2)
        }
    }

    @Test(arguments: ["extra bytes", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"])
    func whatFollowsAnAnswerIsNobodysAnswer(extra: String) async throws {  // SEC-77
        let script = RawUpstream.Script.answering { request in
            request.target.hasSuffix("/first") ? [.send(RawUpstream.answer(body: "first") + Array(extra.utf8))] : [.send(RawUpstream.answer(body: "second"))]
        }
        try await Stage.with(upstream: script) { stage, upstream async throws in
            try await stage.client { client async throws in
                await client.send(stage.head("GET", "api/first"))
                #expect(try await client.answer().text == "first")
                try await upstream.closed(0)
                await client.send(stage.head("GET", "api/second"))
                #expect(try await client.answer().text == "second")
            }
            #expect(upstream.connectionCount == 2)
        }
    }

    @Test(arguments: ["Connection: close", "Connection: Close, X-Other", "connection: x-other,close"])
    func anAPIThatSaysThatItClosesIsTakenAtItsWord(field: String) async throws {
        try await Stage.with(upstream: .answering(.send(RawUpstream.answer("200 OK", [field])))) { stage, upstream async throws in
            try await stage.client { client async throws in
                for _ in 0..<3 {
                    await client.send(stage.head("GET", "api/x"))
                    #expect(try await client.answer().status == 200)
                }
            }
            #expect(upstream.connectionCount == 3)
        }
    }

    @Test func anHTTP10APIIsUnderstood() async throws {
        let script = RawUpstream.Script.answering(.send("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold"), .close)
        try await Stage.with(upstream: script) { stage, upstream async throws in
            try await stage.client { client async throws in
                for _ in 0..<2 {
                    await client.send(stage.head("GET", "api/x"))
                    #expect(try await client.answer().text == "old")
                }
            }
            #expect(upstream.connectionCount == 2)
        }
    }

    // MARK: A caller that leaves

    private func leaves(_ beginning: String, script: RawUpstream.Script, stage: Stage, upstream: RawUpstream, reads: Int = 0) async throws {
        try await stage.client { client async throws in
            await client.send(beginning)
            _ = await upstream.nextHead()
            if reads > 0 { await client.take(reads) }
            await client.die()
        }
        let start = ContinuousClock.now
        try await upstream.closed(0)
        #expect(ContinuousClock.now - start < .seconds(5))
    }

    @Test(arguments: ["Content-Length: 100", "Transfer-Encoding: chunked"])
    func aCallerThatDiesInItsBodyTakesTheRequestWithIt(framing: String) async throws {
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            try await leaves(stage.head("POST", "api/x", [framing]) + "5\r\nhello\r\n", script: .success, stage: stage, upstream: upstream)
            #expect(upstream.requests.isEmpty)
            #expect(upstream.hasLeftovers)
        }
    }

    @Test func aCallerThatDiesWhileItWaitsTakesTheRequestWithIt() async throws {
        try await Stage.with(upstream: .silence) { stage, upstream async throws in
            try await leaves(stage.head("GET", "api/x"), script: .silence, stage: stage, upstream: upstream)
        }
    }

    @Test func aCallerThatDiesInTheAnswerTakesTheRequestWithIt() async throws {
        let script = RawUpstream.Script.answering(.send("HTTP/1.1 200 OK\r\nContent-Length: \(1 << 30)\r\n\r\n"), .pattern(1 << 30))
        try await Stage.with(upstream: script) { stage, upstream async throws in
            try await leaves(stage.head("GET", "api/x"), script: script, stage: stage, upstream: upstream, reads: 100_000)
            #expect(upstream.sentCount < 1 << 30)
        }
    }

    // MARK: Keep-alive

    @Test func aCallersConnectionUsesOneOfTheAPIs() async throws {
        try await Stage.withNginx { stage, nginx async throws in
            try await stage.client { client async throws in
                for _ in 0..<50 {
                    await client.send(stage.head("GET", "api/hello"))
                    #expect(try await client.answer().text == #"{"hello":"world"}"#)
                }
            }
            try await eventually("nginx has logged them") { try nginx.calls().count == 50 }
            #expect(Set(try nginx.calls().map(\.connection)).count == 1)
        }
    }

    /// An API that closes a connection just as it is used again: nobody must notice.
    @Test(arguments: [("brief", isLongRun ? 20_000 : 2_000), ("three", 1_000), ("once", 500)], [1024, 1])
    func noCallIsLostToAConnectionThatCloses(load: (path: String, count: Int), connections: Int) async throws {
        let (path, count) = load
        func limited(_ configuration: inout ServerConfiguration) { configuration.gatewayLimits.connections = connections }
        try await Stage.withNginx(.plain, limited) { stage, nginx async throws in
            let request = stage.head("GET", "api/" + path)
            let wrong = try await withThrowingTaskGroup(of: [String].self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        try await stage.client { client async throws in
                            var wrong: [String] = []
                            for _ in 0..<count / 4 {
                                await client.send(request)
                                let answer = try await client.answer()
                                if answer.status != 200 || answer.text != path { wrong.append("\(answer.status) \(answer.text)") }
                            }
                            return wrong
                        }
                    }
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(wrong == [])
        }
    }

    /// Where the API says that it closes, not even a request that must not be sent twice can be lost.
    @Test(arguments: ["three", "once"])
    func noPOSTIsLostWhereTheAPISaysThatItCloses(path: String) async throws {
        try await Stage.withNginx { stage, _ async throws in
            let request = stage.head("POST", "api/" + path, body: "body")
            try await stage.client { client async throws in
                for _ in 0..<300 {
                    await client.send(request)
                    let answer = try await client.answer()
                    #expect(answer.status == 200, "\(answer.text)")
                }
            }
        }
    }

    @Test func requestsInARowAreAnsweredInOrder() async throws {
        let signal = Signal()
        let script = RawUpstream.Script.answering { request in
            let body = "\(request.method) \(request.target) \(String(decoding: request.body, as: UTF8.self))"
            let bytes = RawUpstream.answer(body: body)
            let answer: RawUpstream.Step = .send(request.method == "HEAD" ? Array(bytes.dropLast(body.utf8.count)) : bytes)
            return request.target.hasSuffix("/first") ? [.wait(signal), answer] : [answer]
        }
        try await Stage.with(upstream: script) { stage, upstream async throws in
            let live = stage.head("GET", "/health/live")
            let row =
                stage.head("GET", "api/first") + live + stage.head("POST", "api/second", body: "two") + stage.head("GET", "nothing/x")
                + stage.head("POST", "api/third", ["Transfer-Encoding: chunked"]) + "5\r\nthree\r\n0\r\n\r\n" + live + live + stage.head("HEAD", "api/fourth")
                + stage.head("GET", "api/fifth")
            try await stage.client { client async throws in
                await client.send(row)
                _ = await upstream.nextRequest()
                signal.give()
                #expect(try await client.answer().text == "GET /base/first ")
                let health = try await client.answer()
                #expect(health.status == 200)
                #expect(try await client.answer().text == "POST /base/second two")
                #expect(try await client.answer().problem == "not_found")
                #expect(try await client.answer().text == "POST /base/third three")
                #expect(try await client.answer().body == health.body)
                #expect(try await client.answer().body == health.body)
                #expect(try await client.answer(to: "HEAD")["Content-Length"] == String("HEAD /base/fourth ".utf8.count))
                #expect(try await client.answer().text == "GET /base/fifth ")
            }
            #expect(!upstream.hasLeftovers)
        }
    }

    @Test func aHundredRequestsInARowAreAnsweredInOrder() async throws {
        try await Stage.with(upstream: .answering { [.send(RawUpstream.answer(body: $0.target))] }) { stage, upstream async throws in
            let row = (0..<100).map { stage.head("GET", $0 % 3 == 2 ? "/health/live" : "api/\($0)") }.joined()
            try await stage.client { client async throws in
                await client.send(row)
                for index in 0..<100 {
                    let answer = try await client.answer()
                    #expect(answer.status == 200)
                    if index % 3 != 2 { #expect(answer.text == "/base/\(index)") }
                }
            }
        }
    }

    @Test func aCallerThatSaysThatItClosesIsClosed() async throws {
        try await Stage.with(upstream: .success) { stage, _ async throws in
            try await stage.client { client async throws in
                await client.send(stage.head("GET", "api/x", ["Connection: close"]))
                let answer = try await client.answer()
                #expect(answer.status == 200)
                #expect(answer["Connection"] == "close")
                #expect(await client.rest().isClosedByServer)
            }
        }
    }

    // MARK: HTTP/2

    @Test func aHundredCallsAtOnceShareAFewConnections() async throws {
        try await Stage.withNginx(.http2) { stage, nginx async throws in
            try nginx.addFile("file", count: 200_000)
            let request = stage.head("GET", "api/files/file")
            let right = try await withThrowingTaskGroup(of: Bool.self) { group in
                for _ in 0..<100 {
                    group.addTask {
                        try await stage.client { client async throws in
                            await client.send(request)
                            var check = PatternBytes.Check()
                            let answer = try await client.answer { check.next($0) }
                            return answer.status == 200 && answer.isWhole && check.isRight && check.count == 200_000
                        }
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(right.count == 100)
            #expect(right.allSatisfy { $0 })
            try await eventually("nginx has logged them") { try nginx.calls().count == 100 }
            let calls = try nginx.calls()
            #expect(calls.allSatisfy { $0.version == "HTTP/2.0" })
            // nginx takes 32 calls at a time on each, and each event loop has connections of its own.
            #expect(Set(calls.map(\.connection)).count <= 4 * ProcessInfo.processInfo.activeProcessorCount)
        }
    }

    @Test func smallCallsOverHTTP2KeepWhatTheySay() async throws {
        try await Stage.withNginx(.http2) { stage, nginx async throws in
            let put = stage.head("PUT", "api/uploads/small", ["Connection: keep-alive, X-Hop", "X-Hop: 1", "TE: trailers", "Keep-Alive: 5"], body: "small")
            try await stage.client { client async throws in
                await client.send(put)
                let made = try await client.answer(to: "PUT")
                #expect(made.status == 201)
                #expect(made.head.version == "HTTP/1.1")
                await client.send(stage.head("GET", "api/version?x=1"))
                #expect(try await client.answer().text == "HTTP/2.0")
            }
            #expect(nginx.isUploaded("small"))
            try await eventually("nginx has logged them") { try nginx.calls().count == 2 }
            #expect(try nginx.calls().map(\.target) == ["/uploads/small", "/version?x=1"])
        }
    }
}

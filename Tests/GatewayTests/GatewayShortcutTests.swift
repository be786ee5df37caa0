import HTTPTypes
import NIOCore
import OAuth
import Server
import Synchronization
import TestSupport
import Testing

@testable import Gateway

/// The shortcut and the long way are one gateway: what the API gets and what the caller gets does not depend on the way.
@Suite(.timeLimit(.minutes(5))) struct GatewayShortcutTests {
    enum Way: String, CaseIterable { case short, long }

    /// A connection on which requests go that way: connection and token are in memory.
    private func client<R: Sendable>(_ stage: Stage, _ way: Way, warm: String = "api/warm", _ body: (RawClient) async throws -> R) async throws -> R {
        #expect(try await stage.ask("GET", warm).status != 404)
        return try await stage.client { client async throws in
            if way == .long {
                // Not the gateway's: the shortcut leaves for good.
                await client.send(stage.head("GET", "/health/live"))
                #expect(try await client.answer().status == 200)
            }
            return try await body(client)
        }
    }

    /// Everything of an answer but what names it.
    private func shown(_ answer: RawAnswer) -> String {
        let fields = answer.head.fields.map { "\($0.name): \($0.name.hasSuffix("Request-Id") ? "ID" : $0.value)" }
        let trailers = answer.trailers.map { "\($0.name): \($0.value)" }
        return
            (["\(answer.head.version) \(answer.status) \(answer.head.reason)"] + fields + ["", answer.text] + trailers + [answer.isWhole ? "whole" : "broken"])
            .joined(separator: "\n")
    }

    private func isShort(_ request: String) -> Bool {
        var fields = ShortFields()
        return ShortRequest(ByteBuffer(string: request), fields: &fields, mayRepeat: false) { _ in nil } != nil
    }

    // MARK: Both ways

    /// What each way makes of a request: what the API received, and what came back.
    private func compare(
        _ requests: [String], _ connection: JSONObject = [:], isAllShort: Bool = true, answer: @escaping @Sendable (RawUpstream.Request) -> [RawUpstream.Step]
    ) async throws {
        try await Stage.with(upstream: .answering(answer), connection) { stage, upstream async throws in
            var seen: [Way: [String]] = [:]
            for way in Way.allCases {
                try await client(stage, way) { client async throws in
                    for request in requests {
                        let request = request.replacing("HOST", with: stage.authority).replacing("KEY", with: stage.server.adminKey)
                        if isAllShort { #expect(isShort(request), "\(request)") }
                        let before = upstream.requests.count
                        await client.send(request)
                        let answer = try await client.answer(to: String(request.prefix { $0 != " " }))
                        let sent = upstream.requests.dropFirst(before).map(\.text).joined(separator: "---")
                        seen[way, default: []].append(request + "→\n" + sent + "←\n" + shown(answer))
                    }
                }
            }
            let (short, long) = (seen[.short] ?? [], seen[.long] ?? [])
            #expect(short.count == requests.count)
            for (one, other) in zip(short, long) { #expect(one == other) }
            #expect(!upstream.hasLeftovers)
        }
    }

    private static func head(_ method: String = "GET", _ target: String = "api/x", _ fields: [String] = [], body: String? = nil) -> String {
        let length = body.map { ["Content-Length: \($0.utf8.count)"] } ?? []
        return (["\(method) /gateway/\(target) HTTP/1.1", "Host: HOST", "Authorization: Bearer KEY"] + fields + length).joined(separator: "\r\n") + "\r\n\r\n"
            + (body ?? "")
    }

    @Sendable private static func echo(_ request: RawUpstream.Request) -> [RawUpstream.Step] {
        let answer = RawUpstream.answer(
            "200 OK", ["Content-Type: text/plain", "X-Sent:\(request.target)", "Set-Cookie: a=b", "ETag: \"1\""], body: request.target)
        return [.send(request.method == "HEAD" ? Array(answer.dropLast(request.target.utf8.count)) : answer)]
    }

    @Test func fieldsOfEveryKindGoTheSame() async throws {  // SEC-80, SEC-84, SEC-89, SEC-90
        let fields = GatewayWireTests.droppedFields.filter { !$0.lowercased().hasPrefix("authorization") && !$0.hasPrefix("Sec-") }
        let unusual = [
            "X-Empty:", "X-Wide:   a b", "x-lower: 1", "X_Under: 2", "X.Dot: 3", "Accept: a", "Accept: b", "User-Agent: u", "Connection: keep-alive",
        ]
        try await compare(
            (fields + unusual).map { Self.head("GET", "api/x", ["X-Before: 1", $0, "X-After: 2"]) } + [Self.head("GET", "api/x", fields + unusual)],
            answer: Self.echo)
    }

    @Test func targetsOfEveryKindGoTheSame() async throws {  // SEC-82, SEC-83
        let targets = [
            "", "/", "/a/b", "/a/", "/a%20b", "/%7euser/%7E", "/~user/*'()!:@&=+$,-._", "/v1.2/a...b", "?", "/x?", "/x?a=1&a=2", "/x?q=a+b%20c", "/x?&&=&",
            "/x?next=http://a.example/../b?c", "?only=query", "/x#y", "/a//b", "/;x", "/x?[a]={b}|c",
        ]
        let tricks = GatewayWireTests.tricks.filter { path in path.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } }
        try await compare((targets + tricks).map { Self.head("GET", "api\($0)") }, answer: Self.echo)
    }

    @Test func methodsAndBodiesGoTheSame() async throws {
        let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        let bodies = [nil, "", "body", String(repeating: "0123456789", count: 100)]
        try await compare(methods.flatMap { method in bodies.map { Self.head(method, "api/x", body: $0) } }, answer: Self.echo)
    }

    @Test func theConnectionsOwnFieldsGoTheSame() async throws {  // SEC-80, SEC-92
        let connection: JSONObject = [
            "authentication_instructions": "X-Api-Token: <token>\n?client=<client_id>", "allow_token_in_query": true,
            "headers": ["X-Api-Version": "2026-01-01", "Accept": "application/json"],
        ]
        let fields = ["X-Api-Token: evil", "x_api_token: evil", "X-API-Version: evil", "accept: evil", "X-Other: 1", "Accept-Language: en"]
        try await compare(
            fields.map { Self.head("GET", "api/x?a=1", [$0]) } + ["client=evil", "CLIENT=evil", "a=1"].map { Self.head("GET", "api/x?\($0)") }, connection,
            answer: Self.echo)
    }

    @Test func answersOfEveryKindComeBackTheSame() async throws {  // SEC-88
        let answers: [[RawUpstream.Step]] = [
            [.send(RawUpstream.answer("201 Created", ["Location:  /y ", "Connection: x-own", "X-Own: 1", "Server: s"], body: "made"))],
            [.send(RawUpstream.chunked(chunks: [Array("abc".utf8), Array(repeating: 0x61, count: 300)], trailers: ["X-Sum: 1", "Set-Cookie: a=b"]))],
            [.send("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")], [.send("HTTP/1.1 304 X\r\nETag: e\r\nContent-Length: 9\r\n\r\n")],
            [.send("HTTP/1.1 200 OK\r\nX: y\r\n\r\nuntil the end"), .close], [.send("HTTP/1.0 404 Not Found\r\nContent-Length: 2\r\n\r\nno"), .close],
            [.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 599 Odd\r\nContent-Length: 0\r\n\r\n")],
            [.drip(RawUpstream.answer(body: "slowly"), every: .milliseconds(1))],
            [.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd")], [.send("HTTP/1.1 101 Switching Protocols\r\n\r\n")],
            [.send(RawUpstream.answer(body: "next"))], [.close],
        ]
        let script: @Sendable (RawUpstream.Request) -> [RawUpstream.Step] = { request in
            guard let index = request.target.split(separator: "/").last.flatMap({ Int($0) }) else { return [.send(RawUpstream.answer())] }
            return answers[index]
        }
        try await compare(answers.indices.map { Self.head("POST", "api/\($0)", body: "x") }, answer: script)
    }

    @Test(arguments: [51, 52] as [UInt64]) func whateverIsAskedGoesTheSame(seed: UInt64) async throws {
        var random = Seeded(seed)
        let names = ["X-A", "x-b", "Accept", "Cookie", "X_Forwarded_For", "TE", "Content-Type", "Via", "Grantee-New", "If-None-Match", "X-Kept.", "Proxy-X"]
        let values = ["1", "", "a b", "  padded", "\"quoted\"", "a,b", "x=y; z", "(comment)"]
        let paths = ["/x", "/a/b", "/%41", "/a//b", "/..", "/;", "", "?q", "/x?y=z&w", "/a%2fb", "/a%252e", "/~", "/x?%zz"]
        let requests = (0..<150).map { _ in
            let fields = (0..<random.below(6)).map { _ in "\(names[random.below(names.count)]):\(values[random.below(values.count)])" }
            let method = ["GET", "POST", "DELETE", "PATCH"][random.below(4)]
            return Self.head(method, "api" + paths[random.below(paths.count)], fields, body: random.below(3) == 0 ? "body" : nil)
        }
        try await compare(requests, answer: Self.echo)
    }

    /// What breaks the framing is never taken, and the long way ends the connection. SEC-85.
    @Test("No violation is taken", arguments: GatewaySmugglingTests.violations) func violation(_ example: GatewaySmugglingTests.Case) async throws {
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            let text = stage.head("POST", "api/first", [example.fields]) + example.body
            #expect(!isShort(text))
            try await client(stage, .short) { client async throws in
                await client.send(stage.head("GET", "api/before"))
                #expect(try await client.answer().status == 200)
                await client.send(text + stage.head("GET", "api/next"))
                let (text, isClosedByServer) = await client.rest()
                #expect(isClosedByServer)
                #expect(text.isEmpty || text.hasPrefix("HTTP/1.1 4"), "\(text)")
                #expect(text.ranges(of: "HTTP/1.1 ").count <= 1, "\(text)")
            }
            #expect(upstream.requests.map(\.target) == ["/base/warm", "/base/before"])
            #expect(upstream.received.allSatisfy { !$0.contains("smuggled") && !$0.contains("/base/next") }, "\(upstream.received)")
        }
    }

    // MARK: One after the other

    @Test func bothWaysServeOneConnectionInTurn() async throws {
        try await Stage.with(upstream: .answering(Self.echo)) { stage, upstream async throws in
            // The first is for the long way, as nothing is in memory; an unknown connection and a wrong key are its too.
            let asked: [(target: String, key: String?, status: Int)] = [
                ("api/1", nil, 200), ("api/2", nil, 200), ("nothing/3", nil, 404), ("api/4", "wrong", 401), ("api/5", nil, 200), ("api/../6", nil, 400),
                ("api/7", nil, 200),
            ]
            try await stage.client { client async throws in
                for (target, key, status) in asked {
                    await client.send(stage.head("GET", target, key: key))
                    #expect(try await client.answer().status == status, "\(target)")
                }
                await client.send(stage.head("POST", "api/8", ["Transfer-Encoding: chunked"]) + "3\r\nabc\r\n0\r\n\r\n" + stage.head("GET", "api/9"))
                for _ in 0..<2 { #expect(try await client.answer().status == 200) }
                await client.send(stage.head("GET", "api/10"))
                #expect(try await client.answer().status == 200)
            }
            #expect(upstream.requests.map(\.target) == [1, 2, 5, 7, 8, 9, 10].map { "/base/\($0)" })
        }
    }

    /// What comes during a call has its turn behind the answer.
    @Test func whatComesDuringACallWaits() async throws {
        let signal = Signal()
        let script = RawUpstream.Script.answering { request in
            request.target.hasSuffix("/first") ? [.wait(signal), .send(RawUpstream.answer(body: "first"))] : [.send(RawUpstream.answer(body: request.target))]
        }
        try await Stage.with(upstream: script) { stage, upstream async throws in
            for next in [
                stage.head("GET", "api/second"),
                stage.head("GET", "api/second") + stage.head("GET", "/health/live") + stage.head("POST", "api/third", body: "x"),
            ] {
                try await client(stage, .short) { client async throws in
                    await client.send(stage.head("GET", "api/first"))
                    _ = try await settled { upstream.received.joined().utf8.count }
                    await client.send(next)
                    try await Task.sleep(for: .milliseconds(30))
                    signal.give()
                    #expect(try await client.answer().text == "first")
                    #expect(try await client.answer().text == "/base/second")
                    if next.contains("third") {
                        #expect(try await client.answer().status == 200)
                        #expect(try await client.answer().text == "/base/third")
                    }
                    await client.send(stage.head("GET", "api/last"))
                    #expect(try await client.answer().text == "/base/last")
                }
            }
        }
    }

    /// A head whose rest comes later, behind a request that was taken.
    @Test func aRequestInPiecesIsTheLongWays() async throws {
        try await Stage.with(upstream: .answering(Self.echo)) { stage, upstream async throws in
            try await client(stage, .short) { client async throws in
                for request in [stage.head("GET", "api/1"), stage.head("POST", "api/2", body: "body")] {
                    await client.send(request)
                    #expect(try await client.answer().status == 200)
                }
                let request = Array(stage.head("POST", "api/3", body: "body").utf8)
                for byte in request { await client.send([byte]) }
                #expect(try await client.answer().text == "/base/3")
            }
            #expect(upstream.requests.map(\.target) == ["/base/warm", "/base/1", "/base/2", "/base/3"])
            #expect(upstream.requests.map { String(decoding: $0.body, as: UTF8.self) } == ["", "", "body", "body"])
        }
    }

    // MARK: Ends

    /// Who asked last on a connection is remembered there.
    @Test(arguments: Way.allCases) func eachRequestIsItsOwnKeys(way: Way) async throws {  // SEC-80
        try await Stage.with(upstream: .answering(Self.echo)) { stage, upstream async throws in
            let (one, other) = (try await stage.key("use"), try await stage.key("use", ["name": "other"]))
            let elsewhere = try await stage.key("use", ["subjects": ["user-1"]])
            let (first, last) = (one.prefix(1) == "x" ? "y" : "x", one.suffix(1) == "x" ? "y" : "x")
            try await client(stage, way) { client async throws in
                func expect(_ status: Int, _ key: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
                    await client.send(stage.head("GET", "api/x", key: key))
                    #expect(try await client.answer().status == status, sourceLocation: sourceLocation)
                }
                let strange = [String(one.dropLast()) + last, first + String(one.dropFirst()), one + "x", String(one.dropLast()), one.uppercased()]
                for key in strange {
                    for _ in 0..<2 { try await expect(200, one) }
                    for _ in 0..<2 { try await expect(401, key) }
                }
                for (status, key) in [(200, one), (200, other), (403, elsewhere), (200, other), (200, one), (200, one)] { try await expect(status, key) }
                let keys = try await stage.server.send(.get, "/v1/keys")["items"]?.array ?? []
                let id = try #require(keys.first { $0["name"]?.string == "other" }?["id"]?.string)
                try await expect(200, other)
                #expect(try await stage.server.send(.delete, "/v1/keys/\(id)").status == 204)
                for _ in 0..<2 { try await expect(401, other) }
                try await expect(200, one)
            }
        }
    }

    @Test(arguments: Way.allCases) func aCallerThatDiesTakesTheRequestWithIt(way: Way) async throws {
        let script = RawUpstream.Script.answering { $0.target.hasSuffix("/warm") ? [.send(RawUpstream.answer())] : [] }
        try await Stage.with(upstream: script) { stage, upstream async throws in
            try await client(stage, way) { client async throws in
                await client.send(stage.head("GET", "api/x"))
                var request = await upstream.nextRequest()
                while request?.target == "/base/warm" { request = await upstream.nextRequest() }
                await client.die()
                try await upstream.closed(request?.connection ?? 0)
            }
        }
    }

    @Test(arguments: Way.allCases) func anAnswerIsReadAsFastAsTheCallerTakesIt(way: Way) async throws {
        let count = 64 << 20
        let script = RawUpstream.Script.answering { request in
            request.target.hasSuffix("/warm") ? [.send(RawUpstream.answer())] : [.send("HTTP/1.1 200 OK\r\nContent-Length: \(count)\r\n\r\n"), .pattern(count)]
        }
        try await Stage.with(upstream: script) { stage, upstream async throws in
            try await client(stage, way) { client async throws in
                await client.send(stage.head("GET", "api/x"))
                #expect(try await client.head().status == 200)
                #expect(try await settled { upstream.sentCount } < count / 2)
                var check = PatternBytes.Check()
                #expect(await client.take(count) { check.next($0) })
                #expect(check.isRight)
                await client.send(stage.head("GET", "api/warm"))
                #expect(try await client.answer().status == 200)
            }
        }
    }

    @Test(arguments: Way.allCases) func anAnswerThatBreaksOffIsNotWhole(way: Way) async throws {
        let signal = Signal()
        let script = RawUpstream.Script.answering { request in
            request.target.hasSuffix("/warm")
                ? [.send(RawUpstream.answer())] : [.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"), .wait(signal), .close]
        }
        try await Stage.with(upstream: script) { stage, _ async throws in
            try await client(stage, way) { client async throws in
                await client.send(stage.head("GET", "api/x"))
                #expect(try await client.head().status == 200)
                signal.give()
                let (text, isClosedByServer) = await client.rest()
                #expect(isClosedByServer)
                #expect(text == "3\r\nabc\r\n")
            }
        }
    }

    @Test(arguments: Way.allCases) func aRefused401IsRenewedAndSentAgain(way: Way) async throws {  // SEC-61
        let script = RawUpstream.Script.answering { request in
            [
                .send(
                    request.target == "/x" && request["Authorization"] == "Bearer stale-token"
                        ? RawUpstream.answer("401 Unauthorized") : RawUpstream.answer(body: "good"))
            ]
        }
        try await RawUpstream.with(script) { upstream in
            try await Stage.with { stage async throws in
                try await stage.addStale("api", at: upstream.url)
                let subject = ["Grantee-Subject: user-1"]
                #expect(try await stage.ask("GET", "api/warm", subject).status == 200)
                try await client(stage, way) { client async throws in
                    await client.send(stage.head("POST", "api/x", subject, body: "body"))
                    #expect(try await client.answer().text == "good")
                }
                #expect(upstream.requests.filter { $0.target == "/x" }.map { String(decoding: $0.body, as: UTF8.self) } == ["body", "body"])
            }
        }
    }

    @Test(arguments: Way.allCases) func anAPIThatIsGoneIsAProblem(way: Way) async throws {
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            try await client(stage, way) { client async throws in
                await upstream.stop()
                for method in ["GET", "HEAD"] {
                    await client.send(stage.head(method, "api/x"))
                    let answer = try await client.answer(to: method)
                    #expect(answer.status == 504 || answer.status == 502, "\(answer.status)")
                    #expect(answer["Grantee-Problem"] == "provider_unreachable")
                    #expect(answer.values("Grantee-Request-Id").count == 1 || answer.values("Request-Id").count == 1)
                }
                await client.send(stage.head("GET", "/health/live"))
                #expect(try await client.answer().status == 200)
            }
        }
    }

    @Test func aCallersConnectionIsClosedOnceNothingComes() async throws {  // SEC-75
        func shorten(_ configuration: inout ServerConfiguration) { configuration.gatewayLimits.keepAlive = .milliseconds(500) }
        let script = RawUpstream.Script.answering { request in
            request.target.hasSuffix("/slow") ? [.drip(RawUpstream.answer(body: "0123456789"), every: .milliseconds(20))] : [.send(RawUpstream.answer())]
        }
        try await Stage.with(upstream: script, [:], shorten) { stage, _ async throws in
            try await client(stage, .short) { client async throws in
                // Longer than the limit: a call is not nothing.
                await client.send(stage.head("GET", "api/slow"))
                #expect(try await client.answer().text == "0123456789")
                await client.send(stage.head("GET", "api/x"))
                #expect(try await client.answer().status == 200)
                #expect(await client.rest().isClosedByServer)
            }
        }
    }

    /// A server that ends lets a call end, and says that it is the last one.
    @Test(arguments: Way.allCases) func aCallUnderWayIsEndedAtShutdown(way: Way) async throws {
        let (signal, isAsked) = (Signal(), Signal())
        let script = RawUpstream.Script.answering { request in
            if request.target.hasSuffix("/warm") { return [.send(RawUpstream.answer())] }
            isAsked.give()
            return [.wait(signal), .send(RawUpstream.answer(body: "last"))]
        }
        try await RawUpstream.with(script) { upstream in
            let caller = Mutex<Task<RawAnswer, any Error>?>(nil)
            try await Stage.with { stage async throws in
                try await stage.add("api", at: upstream.url + "/base")
                #expect(try await stage.ask("GET", "api/warm").status == 200)
                caller.withLock {
                    $0 = Task {
                        try await stage.client { client async throws in
                            if way == .long {
                                await client.send(stage.head("GET", "/health/live"))
                                _ = try await client.answer()
                            }
                            await client.send(stage.head("GET", "api/x"))
                            let answer = try await client.answer()
                            #expect(await client.rest().isClosedByServer)
                            return answer
                        }
                    }
                }
                await isAsked.wait()
                Task {
                    // When the server has begun to end.
                    try await Task.sleep(for: .milliseconds(300))
                    signal.give()
                }
            }
            let answer = try #require(try await caller.withLock { $0 }?.value)
            #expect(answer.text == "last")
            #expect(answer["Connection"] == "close")
        }
    }

    @Test(arguments: Way.allCases) func aCallIsInTheLogOnce(way: Way) async throws {  // SEC-112
        try await Stage.with(upstream: .success) { stage, _ async throws in
            let id = try await client(stage, way) { client async throws in
                await client.send(stage.head("GET", "api/seen/here?secret=1"))
                return try await client.answer()["Grantee-Request-Id"] ?? ""
            }
            try await eventually("it is written") {
                let text = try await stage.server.send(.get, "/v1/activity").text
                return text.contains(id)
            }
            let entries = try await stage.server.send(.get, "/v1/activity")["items"]?.array ?? []
            let mine = entries.filter { $0["request_id"]?.string == id }
            #expect(mine.count == 1)
            #expect(mine.first?["detail"]?.string?.hasSuffix("/base/seen/here → 200") == true, "\(mine)")
        }
    }
}

import TestSupport
import Testing

/// Requests that two servers in a row could take apart differently: the API sees one request for each that was meant, or none. SEC-85.
@Suite(.timeLimit(.minutes(5))) struct GatewaySmugglingTests {
    /// What a smuggled request would ask for; it bears no key, so only a request that is not read as one can carry it on.
    static let smuggled = "GET /gateway/api/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        /// Behind request line, `Host` and key; without the last line break.
        let fields: String
        /// What follows the head.
        let body: String
        var testDescription: String { name }

        init(_ name: String, _ fields: String, body: String = smuggled) {
            self.name = name
            self.fields = fields
            self.body = body
        }
    }

    /// Each breaks the framing: nothing of it may reach the API, and what follows on the connection is believed no more.
    static let violations: [Case] = [
        .init("both lengths", "Content-Length: 6\r\nTransfer-Encoding: chunked", body: "0\r\n\r\n" + smuggled),
        .init("both lengths, the other way round", "Transfer-Encoding: chunked\r\nContent-Length: 100", body: "0\r\n\r\n" + smuggled),
        .init("both lengths, zero", "Content-Length: 0\r\nTransfer-Encoding: chunked", body: "0\r\n\r\n"),
        .init("two lengths", "Content-Length: 0\r\nContent-Length: 44"),
        .init("two lengths in one field", "Content-Length: 0, 44"),
        .init("twice the same length in one field", "Content-Length: 4, 4", body: "body"),
        .init("a length with a sign", "Content-Length: +4", body: "body"),
        .init("a negative length", "Content-Length: -1"),
        .init("a length in hex", "Content-Length: 0x4", body: "body"),
        .init("a length with a point", "Content-Length: 4.0", body: "body"),
        .init("a length with words", "Content-Length: 4 bytes", body: "body"),
        .init("a length beyond 64 bits", "Content-Length: 18446744073709551620", body: "body"),
        .init("an empty length", "Content-Length:"),
        .init("an unknown coding", "Transfer-Encoding: xchunked", body: "0\r\n\r\n" + smuggled),
        .init("chunked and not last", "Transfer-Encoding: chunked, identity", body: "0\r\n\r\n" + smuggled),
        .init("two codings in two fields", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", body: "0\r\n\r\n" + smuggled),
        .init("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", body: "0\r\n\r\n" + smuggled),
        .init("chunked twice in one field", "Transfer-Encoding: chunked, chunked", body: "0\r\n\r\n" + smuggled),
        .init("gzip, chunked", "Transfer-Encoding: gzip, chunked", body: "0\r\n\r\n" + smuggled),
        .init("a quoted coding", "Transfer-Encoding: \"chunked\"", body: "0\r\n\r\n" + smuggled),
        .init("a coding with a vertical tab", "Transfer-Encoding: \u{0B}chunked", body: "0\r\n\r\n" + smuggled),
        .init("a coding with a NUL", "Transfer-Encoding: chunked\u{0}", body: "0\r\n\r\n" + smuggled),
        .init("a space before the colon", "Transfer-Encoding : chunked", body: "0\r\n\r\n" + smuggled),
        .init("a space before the colon of a length", "Content-Length : 44"),
        .init("a tab before the colon", "Content-Length\t: 44"),
        .init("a folded line", "X-A: b\r\n Transfer-Encoding: chunked", body: "0\r\n\r\n" + smuggled),
        .init("a folded coding", "Transfer-Encoding:\r\n chunked", body: "0\r\n\r\n" + smuggled),
        .init("a name with a NUL", "Content-\u{0}Length: 44"),
        .init("a NUL in a value", "X-A: a\u{0}b", body: ""),
        .init("no name", ": value", body: ""),
        .init("a line without a colon", "Content-Length 44"),
        .init("a bare carriage return", "X-A: a\rContent-Length: 44"),
        .init("a bare line feed", "X-A: a\nContent-Length: 44"),
        .init("a name in quotes", "\"Content-Length\": 44"),
        .init("a name with a bracket", "Content-Length[]: 44"),
        .init("a second Host", "Host: evil.example", body: ""),
        .init("a chunk size that is no number", "Transfer-Encoding: chunked", body: "zz\r\nabc\r\n0\r\n\r\n"),
        .init("a chunk size with a sign", "Transfer-Encoding: chunked", body: "-1\r\nabc\r\n0\r\n\r\n"),
        .init("a chunk size with 0x", "Transfer-Encoding: chunked", body: "0x3\r\nabc\r\n0\r\n\r\n"),
        .init("a chunk size beyond 64 bits", "Transfer-Encoding: chunked", body: "10000000000000003\r\nabc\r\n0\r\n\r\n"),
        .init("a chunk size with a bare line feed", "Transfer-Encoding: chunked", body: "3\nabc\r\n0\r\n\r\n"),
        .init("a chunk that is longer than it says", "Transfer-Encoding: chunked", body: "3\r\nabcdef\r\n0\r\n\r\n"),
        .init("a chunk without its end", "Transfer-Encoding: chunked", body: "3\r\nabc0\r\n\r\n"),
        .init("an extension with a bare line feed", "Transfer-Encoding: chunked", body: "3;a\nb\r\nabc\r\n0\r\n\r\n"),
    ]

    @Test("Nothing of it is a request, and the connection ends", arguments: violations) func violation(_ example: Case) async throws {  // SEC-85
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            let head = stage.head("POST", "api/first", [example.fields])
            let next = stage.head("GET", "api/next")
            try await stage.client { client async throws in
                await client.send(head + example.body + next)
                let (text, isClosedByServer) = await client.rest()
                #expect(isClosedByServer)
                #expect(!text.hasPrefix("HTTP/1.1 2"), "\(text)")
                // One answer at most: what followed was not read as a request.
                #expect(text.ranges(of: "HTTP/1.1 ").count <= 1, "\(text)")
                #expect(text.isEmpty || text.hasPrefix("HTTP/1.1 4"), "\(text)")
            }
            #expect(upstream.requests.isEmpty, "\(upstream.received)")
            // A body that broke off in the middle may have been begun: never ended.
            #expect(
                upstream.received.allSatisfy { !$0.contains("smuggled") && !$0.contains("/base/next") && !$0.contains("\r\n0\r\n\r\n") }, "\(upstream.received)"
            )
        }
    }

    /// Unusual, and clear: each is one request, and the next one is another.
    static let clearCases: [Case] = [
        .init("twice the same length", "Content-Length: 4\r\nContent-Length: 4", body: "body"),
        .init("a length with zeros", "Content-Length: 0004", body: "body"),
        .init("chunked in another case", "transfer-encoding: Chunked", body: "4\r\nbody\r\n0\r\n\r\n"),
        .init("spaces around the coding", "Transfer-Encoding: \t chunked \t", body: "4\r\nbody\r\n0\r\n\r\n"),
        .init("no space behind the colon", "Content-Length:4", body: "body"),
        .init("chunk extensions", "Transfer-Encoding: chunked", body: "4;name=\"a;b\";other\r\nbody\r\n0;last\r\n\r\n"),
        .init("a body that looks like a request", "Content-Length: \(smuggled.utf8.count)", body: smuggled),
        .init("a chunk that looks like an end", "Transfer-Encoding: chunked", body: "5\r\n0\r\n\r\n\r\n0\r\n\r\n"),
        .init("a trailer that looks like framing", "Transfer-Encoding: chunked", body: "0\r\nContent-Length: 44\r\nTransfer-Encoding: chunked\r\n\r\n"),
        .init("framing in other words", "X-Content-Length: 44\r\nTransfer_Encoding: chunked\r\nContent_Length: 44\r\nContent-Length2: 1", body: ""),
    ]

    @Test("It is one request, or none", arguments: clearCases) func clear(_ example: Case) async throws {  // SEC-85
        try await Stage.with(upstream: .answering { [.send(RawUpstream.answer(body: $0.target))] }) { stage, upstream async throws in
            let head = stage.head("POST", "api/first", [example.fields])
            let next = stage.head("GET", "api/next", ["Connection: close"])
            let text = try await stage.client { client in
                await client.send(head + example.body + next)
                return await client.rest().text
            }
            let targets = upstream.requests.map(\.target)
            if text.hasPrefix("HTTP/1.1 200") {
                #expect(targets == ["/base/first", "/base/next"], "\(upstream.received)")
                #expect(text.hasSuffix("/base/next"))
            } else {
                #expect(text.hasPrefix("HTTP/1.1 4"), "\(text)")
                #expect(targets.isEmpty)
            }
            #expect(!upstream.hasLeftovers)
        }
    }

    /// The authority is the connection's, whatever the request says of it.
    @Test(arguments: [
        "GET http://evil.example/gateway/api/x HTTP/1.1\r\nHost: HOST", "GET https://evil.example/gateway/api/x HTTP/1.1\r\nHost: evil.example",
        "GET http://evil.example/gateway HTTP/1.1\r\nHost: evil.example", "GET //evil.example/gateway/api/x HTTP/1.1\r\nHost: HOST",
        "GET /gateway/api/http://evil.example/ HTTP/1.1\r\nHost: HOST", "GET /gateway/api/x HTTP/1.1\r\nHost: evil.example",
        "GET /gateway/api/x HTTP/1.1\r\nHost: HOST@evil.example", "GET /gateway/api/x HTTP/1.1\r\nHost: HOST, evil.example",
        "GET /gateway/api/x HTTP/1.1\r\nHost: HOST\r\nHost: HOST", "GET /gateway/api/x HTTP/1.1\r\nX-Host: evil.example",
        "GET /gateway/api/x HTTP/1.1\r\nHost:",
        "GET /gateway/api/x HTTP/1.1\r\nHost: HOST\r\nX-Forwarded-Host: evil.example\r\nForwarded: host=evil.example",
        "GET gateway/api/x HTTP/1.1\r\nHost: HOST",
        "GET * HTTP/1.1\r\nHost: HOST", "OPTIONS * HTTP/1.1\r\nHost: HOST", "GET evil.example:443 HTTP/1.1\r\nHost: HOST",
        "GET /gateway/api/x HTTP/2.0\r\nHost: HOST",
        "GET /gateway/api/x HTTP/1.9\r\nHost: HOST", "GET /gateway/api/x\r\nHost: HOST", "GET  /gateway/api/x HTTP/1.1\r\nHost: HOST",
        "GET /gateway/api/x  HTTP/1.1\r\nHost: HOST",
        "GET\t/gateway/api/x\tHTTP/1.1\r\nHost: HOST", "PRI * HTTP/2.0\r\nHost: HOST", "GET /gateway/api/x HTTP/1.1 \r\nHost: HOST",
    ])
    func theAuthorityIsTheConnections(head: String) async throws {  // SEC-81, SEC-85
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            let text = head.replacing("HOST", with: stage.authority) + "\r\nAuthorization: Bearer \(stage.server.adminKey)\r\nConnection: close\r\n\r\n"
            let answer = try await stage.client { client in
                await client.send(text)
                return await client.rest().text
            }
            #expect(upstream.requests.count <= 1)
            #expect(answer.hasPrefix("HTTP/1.1 200") == (upstream.requests.count == 1), "\(answer)")
            for request in upstream.requests {
                #expect(request["Host"] == upstream.authority)
                #expect(request.target.hasPrefix("/base/"))
                #expect(request.names == ["authorization", "host"])
            }
            #expect(!upstream.received.joined().contains("Host: evil"))
            #expect(!upstream.hasLeftovers)
        }
    }

    @Test func whatFollowsALastRequestIsNotRead() async throws {  // SEC-85
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            let next = stage.head("GET", "api/next")
            for (path, status, count) in [("api/last", "200", 1), ("nothing/last", "404", 0), ("/health/live", "200", 0)] {
                let before = upstream.requests.count
                let text = try await stage.client { client in
                    await client.send(stage.head("GET", path, ["Connection: close"]) + next + next)
                    return await client.rest().text
                }
                #expect(text.hasPrefix("HTTP/1.1 \(status)"), "\(path)")
                #expect(text.ranges(of: "HTTP/1.1 ").count == 1, "\(path)")
                #expect(upstream.requests.count == before + count, "\(path)")
            }
            #expect(!upstream.received.joined().contains("/base/next"))
            #expect(try await stage.ask("GET", "api/x").status == 200)
        }
    }

    @Test func oneByteAtATimeIsOneRequest() async throws {
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            let request =
                stage.head("POST", "api/x", ["Transfer-Encoding: chunked"]) + "3\r\nabc\r\n0\r\n\r\n" + stage.head("GET", "api/y", ["Connection: close"])
            try await stage.client { client async throws in
                for byte in request.utf8 { await client.send([byte]) }
                #expect(try await client.answer().status == 200)
                #expect(try await client.answer().status == 200)
            }
            #expect(upstream.requests.map(\.target) == ["/base/x", "/base/y"])
            #expect(upstream.requests.map { String(decoding: $0.body, as: UTF8.self) } == ["abc", ""])
        }
    }

    @Test(arguments: [200, 2_000, 20_000]) func manyOrLongFieldsAreRefusedOrPassed(count: Int) async throws {  // SEC-74
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            let fields = (0..<count).map { "X-Field-\($0): value" }
            let text = try await stage.client { client in
                await client.send(stage.head("GET", "api/x", fields + ["Connection: close"]))
                return await client.rest().text
            }
            #expect(upstream.requests.count <= 1)
            #expect(text.hasPrefix("HTTP/1.1 200") == (upstream.requests.count == 1))
            if let request = upstream.requests.first { #expect(request.lines.count == count + 3) }
            if count == 20_000 { #expect(upstream.requests.isEmpty) }
        }
    }

    @Test func aFieldWithoutEndIsRefused() async throws {  // SEC-74
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            // Two line breaks, of which one goes: Swift counts each as one character.
            let beginning = stage.head("GET", "api/x").dropLast() + "X-Long: "
            try await stage.client { client async throws in
                await client.send(String(beginning))
                let piece = [UInt8](repeating: 0x61, count: 65_536)
                var sent = 0
                while sent < 512, await client.send(piece) { sent += 1 }
                #expect(sent < 512)
                #expect(await client.rest().isClosedByServer)
            }
            #expect(upstream.connectionCount == 0)
        }
    }
}

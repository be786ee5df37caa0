import HTTPTypes
import OAuth
import TestSupport
import Testing

/// What reaches an API, byte by byte, and what comes back from it.
@Suite(.timeLimit(.minutes(5))) struct GatewayWireTests {
    // MARK: Fields of a request

    @Test func aRequestIsTheCallersWithTheTokenInIt() async throws {
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            let token = try await stage.token()
            let key = try await stage.key("use")
            _ = try await stage.ask(
                "POST", "api/items?a=1", ["Accept: application/json", "X-Custom: one", "x-custom: two", "Content-Type: text/plain", "X-Empty:"], key: key,
                body: "hello")
            let request = try #require(upstream.requests.first)
            #expect(request.requestLine == "POST /base/items?a=1 HTTP/1.1")
            #expect(
                Set(request.lines.dropFirst()) == [
                    "Host: \(upstream.authority)", "Accept: application/json", "X-Custom: one", "x-custom: two", "Content-Type: text/plain", "X-Empty: ",
                    "Content-Length: 5", "Authorization: Bearer \(token)",
                ])
            #expect(request.lines.count == 9)
            #expect(request.values("X-Custom") == ["one", "two"])
            #expect(request.body == Array("hello".utf8))
            #expect(!upstream.received.joined().contains(key))
        }
    }

    @Test(arguments: ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "PUT", "PATCH", "PROPFIND", "REPORT", "SEARCH"])
    func everyMethodGoesOnAsItIs(method: String) async throws {
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            #expect(try await stage.ask(method, "api/x").status == 200)
            #expect(upstream.requests.map(\.method) == [method])
            // A body's absence is said where a body would be expected. RFC 9110 §8.6.
            let expected = ["POST", "PUT", "PATCH"].contains(method) ? ["0"] : []
            #expect(upstream.requests.map { $0.values("Content-Length") } == [expected])
            #expect(upstream.requests.allSatisfy { $0.values("Transfer-Encoding").isEmpty })
        }
    }

    /// Each with the words `evil` in its value, which must not arrive.
    static let droppedFields = [
        // Credentials, in every spelling that an API may read alike.
        "AUTHORIZATION: Basic evil", "authorization: Bearer evil", "Cookie: session=evil", "COOKIE: session=evil", "Cookie2: evil",
        "Proxy-Authorization: Basic evil", "Proxy_Authorization: Basic evil", "PROXY-AUTHORIZATION: evil", "Proxy-Anything: evil", "Proxy: http://evil.example",
        "Grantee-Anything: evil", "GRANTEE_ANYTHING: evil", "grantee-key: evil",
        // Hop-by-hop.
        "Keep-Alive: timeout=5, evil", "TE: trailers, evil", "Trailer: evil", "Proxy-Connection: evil", "HTTP2-Settings: evil", "Keep_Alive: evil",
        // What speaks of the near side.
        "X-Forwarded-For: evil", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: evil", "X-Forwarded-Prefix: /evil", "X_Forwarded_For: evil",
        "x-forwarded_host: evil.example", "Forwarded: for=evil", "FORWARDED: host=evil.example", "X-Original-URL: /evil", "X-Rewrite-URL: /evil",
        "X_Original_URL: /evil", "X-Real-IP: evil", "X_Real_IP: evil", "X-Client-IP: evil", "True-Client-IP: evil", "CF-Connecting-IP: evil", "Via: 1.1 evil",
        "X-Host: evil.example", "X-Envoy-Original-Path: /evil", "X-Forwarded: evil", "Client-IP: evil", "X-Originating-IP: evil", "CDN-Loop: evil",
        // What names another method.
        "X-HTTP-Method-Override: EVIL", "X-Method-Override: EVIL", "X-HTTP-Method: EVIL", "x_http_method_override: EVIL",
        // A browser's own.
        "Sec-Fetch-Site: same-origin; evil", "Sec-Fetch-Mode: evil", "Sec-CH-UA: evil",
    ]

    @Test("No such field arrives", arguments: droppedFields) func dropped(field: String) async throws {  // SEC-80, SEC-84, SEC-89, SEC-90
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            _ = try await stage.ask("GET", "api/x", [field, "X-Kept: 1"])
            for request in upstream.requests {
                #expect(request.method == "GET")
                #expect(!request.text.lowercased().contains("evil"), "\(request.text)")
                #expect(request.names == ["authorization", "host", "x-kept"])
                #expect(request["Authorization"] == "Bearer \(try await stage.token())")
                #expect(request["Host"] == upstream.authority)
            }
        }
    }

    @Test func allSuchFieldsAtOnceLeaveTheRestOfTheRequest() async throws {  // SEC-90
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            let fields = Self.droppedFields.filter { !$0.lowercased().hasPrefix("authorization") && !$0.hasPrefix("Sec-Fetch-Site") }
            #expect(try await stage.ask("GET", "api/x", fields + ["X-Kept: 1"]).status == 200)
            #expect(upstream.requests.map(\.names) == [["authorization", "host", "x-kept"]])
        }
    }

    @Test(arguments: [
        ["Connection: close, authorization"], ["connection: AUTHORIZATION"], ["Connection: keep-alive, host, authorization, x-kept"],
        ["Connection: x-private", "X-Private: evil"], ["Connection: X_Private, Keep-Alive", "X-Private: evil", "Keep-Alive: evil"],
        ["Connection: x-one", "Connection: x-private", "X-Private: evil", "X-One: evil"], ["Connection: ,, ,x-private,", "X-Private: evil"],
        ["Connection: content-type, grantee-subject"],
    ])
    func whatConnectionNamesGoesNoFurtherAndTheTokenStillArrives(fields: [String]) async throws {  // SEC-84
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            #expect(try await stage.ask("GET", "api/x", fields).status == 200)
            let request = try #require(upstream.requests.first)
            #expect(request.names == ["authorization", "host"])
            #expect(request["Authorization"] == "Bearer \(try await stage.token())")
            #expect(request["Host"] == upstream.authority)
        }
    }

    @Test func theInstructionsAndTheConnectionsOwnFieldsTakeThePlaceOfTheCallers() async throws {  // SEC-80, SEC-92
        let connection: JSONObject = [
            "authentication_instructions": "X-Api-Token: <token>\nX-Client: <client_id>\nKeep to ten requests a second.",
            "headers": ["X-Api-Version": "2026-01-01", "Accept": "application/vnd.example+json"],
        ]
        try await Stage.with(upstream: .success, connection) { stage, upstream async throws in
            let token = try await stage.token()
            let fields = ["X-Api-Token: evil", "x_api_token: evil", "X-API-TOKEN: evil", "X-Client: evil", "x-api_version: evil", "Accept: evil", "X-Other: 1"]
            #expect(try await stage.ask("GET", "api/x", fields).status == 200)
            let request = try #require(upstream.requests.first)
            #expect(
                Set(request.lines.dropFirst()) == [
                    "Host: \(upstream.authority)", "X-Api-Token: \(token)", "X-Client: machine", "X-Api-Version: 2026-01-01",
                    "Accept: application/vnd.example+json", "X-Other: 1",
                ])
        }
    }

    @Test func aSubjectsTokenIsTheSubjectsAndItsNameGoesNoFurther() async throws {
        try await RawUpstream.with(.success) { upstream in
            try await Stage.with { stage async throws in
                try await stage.add(stage.provider.connection("api", "authorization_code"), at: upstream.url, [:])
                try await stage.grant("api", ["access_token": "token-of-user-1", "expires_in": 3600])
                let named = try await stage.ask("GET", "api/x", ["Grantee-Subject: user-1"])
                #expect(named.status == 200)
                #expect(try await stage.ask("GET", "api/x").problem == "not_connected")
                #expect(try await stage.ask("GET", "api/x", ["Grantee-Subject: user-2"]).problem == "not_connected")
                for wrong in [["Grantee-Subject: user-1", "Grantee-Subject: user-1"], ["Grantee-Subject:"], ["Grantee-Subject: -"], ["Grantee-Subject: a b"]] {
                    #expect(try await stage.ask("GET", "api/x", wrong).problem == "invalid_request", "\(wrong)")
                }
                #expect(upstream.requests.map { $0["Authorization"] } == ["Bearer token-of-user-1"])
                #expect(upstream.requests.map(\.names) == [["authorization", "host"]])
            }
        }
    }

    /// A connection could carry this token nowhere without harm: none of it is kept, and nothing is sent.
    @Test(arguments: ["abc\r\nX-Evil: 1", "abc\u{0}def", "abc def", "abc\tdef", "\u{1F511}", String(repeating: "a", count: 70_000), "", "abc\u{7F}"])
    func aTokenThatNoHeaderCanCarryGoesNowhere(token: String) async throws {  // SEC-43, SEC-79
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            let body = JSONValue.object(["access_token": .string(token), "token_type": "Bearer", "expires_in": 3600])
            try await stage.provider.client([
                "id": "machine",
                "faults": [
                    [
                        "fault": "answer",
                        "value": ["status": 200, "content_type": "application/json", "body": .string(String(decoding: body.serialized(), as: UTF8.self))],
                    ]
                ],
            ])
            let answer = try await stage.ask("GET", "api/x")
            #expect(answer.problem == "provider_error", "\(answer.text)")
            #expect(upstream.connectionCount == 0)
        }
    }

    // MARK: Target

    @Test(arguments: [
        ("", "/base"), ("/", "/base/"), ("/a/b", "/base/a/b"), ("/a/", "/base/a/"), ("/a%20b", "/base/a%20b"), ("/caf%C3%A9", "/base/caf%C3%A9"),
        ("/%7euser/%7E", "/base/%7euser/%7E"),
        ("/~user/*'()!:@&=+$,-._", "/base/~user/*'()!:@&=+$,-._"), ("/v1.2/a...b", "/base/v1.2/a...b"), ("?", "/base?"), ("/x?", "/base/x?"),
        ("/x?a=1&a=2", "/base/x?a=1&a=2"), ("/x?a=1;b=2", "/base/x?a=1;b=2"), ("/x?q=a+b%20c", "/base/x?q=a+b%20c"), ("/x?&&=&", "/base/x?&&=&"),
        ("/x?next=http://a.example/../b?c", "/base/x?next=http://a.example/../b?c"), ("/x?%E2%82%AC=%00", "/base/x?%E2%82%AC=%00"),
        ("?only=query", "/base?only=query"),
    ])
    func pathAndQueryArriveAsTheyCame(sent: String, arrives: String) async throws {  // SEC-82, SEC-83
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            let answer = try await stage.ask("GET", "api" + sent)
            #expect(answer.status == 200, "\(answer.text)")
            #expect(upstream.requests.map(\.target) == [arrives])
        }
    }

    @Test func sixteenThousandParametersArriveAsTheyCame() async throws {  // SEC-83
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            let query = (0..<16_000).map { String($0 % 10) }.joined(separator: "&")
            #expect(try await stage.ask("GET", "api/x?" + query).status == 200)
            #expect(upstream.requests.map(\.target) == ["/base/x?" + query])
        }
    }

    static let tricks = [
        "/..", "/../", "/../x", "/a/../../x", "/./../x", "/%2e%2e/x", "/%2E%2E/x", "/.%2e/x", "/%2e./x", "/%252e%252e/x", "/%25252e%25252e/x", "/..%2fx",
        "/..%2Fx", "/..%5cx",
        "/..%252fx", "/a/..;/x", "/..;/x", "/..;a=b/x", "/;/../x", "/.;/x", "/\\x", "/a\\..\\..\\x", "/..\\x", "/%5c%2e%2e%5cx", "//evil.example/x",
        "///evil.example", "/.//x",
        "/http://evil.example/", "/@evil.example/", "/:80/", "/:@evil.example:80/x", "/#/x", "/x#y", "/%23", "/%00", "/a%00/../x", "/%0d%0aX-Evil:%201",
        "/%c0%ae%c0%ae/x",
        "/%e0%80%ae%e0%80%ae/x", "/%c0%af", "/%u002e%u002e/x", "/\u{FF0E}\u{FF0E}/x", "/%ef%bc%8e%ef%bc%8e/x", "/%", "/%2", "/%zz", "/a//../../x", "/a/.%00./x",
        "@evil.example/x",
        ":80/x", ".evil.example/x", "\\..\\x", "%2f..%2fx", "%2e%2e/x", "/..%09/x", "/..%20/x", "/.. /x", "/%2e%2e%2f%2e%2e%2fadmin", "/x/..%c0%afadmin",
        "/..%ff/x", "/..",
    ]

    @Test("No path leads anywhere else", arguments: tricks) func trick(path: String) async throws {  // SEC-81, SEC-82
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            let request = stage.head("GET", "/gateway/api\(path)", ["Connection: close"])
            let status = try await stage.client { client in
                await client.send(request)
                do { return try await client.answer().status } catch is RawClient.Ended { return 400 }
            }
            #expect(status == 200 || (400..<500).contains(status), "\(status)")
            // What got through lies below the base path, and at its own host, as even a server reads it that decodes twice.
            for request in upstream.requests {
                #expect(request.target.hasPrefix("/base/"), "\(request.target)")
                #expect(request["Host"] == upstream.authority)
                let target = request.target.lowercased()
                #expect(!target.hasPrefix("/base//"), "\(target)")
                #expect(!target.hasSuffix("/.."), "\(target)")
                for part in ["/../", "/./", "..;", "%2e%2e", ".%2e", "%2e.", "\\", "%5c", "%2f", "%25", "%00", "%0d", "%0a", "#"] {
                    #expect(!target.contains(part), "\(target)")
                }
            }
            #expect(status != 200 || upstream.requests.count == 1)
            #expect(upstream.requests.count <= 1)
            #expect(!upstream.hasLeftovers)
        }
    }

    @Test func theBasePathsOwnQueryAndSlashAreKept() async throws {
        for (base, arrives) in [("/v2/?key=1", "/v2/x?key=1&a=2"), ("", "/x?a=2"), ("/", "/x?a=2"), ("/v2", "/v2/x?a=2"), ("/v2/", "/v2/x?a=2")] {
            try await RawUpstream.with(.success) { upstream in
                try await Stage.with { stage async throws in
                    try await stage.add("api", at: upstream.url + base)
                    #expect(try await stage.ask("GET", "api/x?a=2").status == 200)
                    #expect(upstream.requests.map(\.target) == [arrives], "\(base)")
                }
            }
        }
    }

    @Test func aTokenInTheQueryIsTheConnectionsAndIsWrittenDownNowhere() async throws {  // SEC-91
        let connection: JSONObject = ["allow_token_in_query": true, "authentication_instructions": "?access_token=<token>"]
        try await Stage.with(upstream: .success, connection) { stage, upstream async throws in
            let token = try await stage.token()
            #expect(try await stage.ask("GET", "api/x?a=1").status == 200)
            #expect(try await stage.ask("GET", "api/x").status == 200)
            #expect(upstream.requests.map(\.target) == ["/base/x?a=1&access_token=\(token)", "/base/x?access_token=\(token)"])
            #expect(upstream.requests.map(\.names) == [["host"], ["host"]])
            for query in [
                "access_token=evil", "a=1&access_token=evil", "ACCESS_TOKEN=evil", "access%5Ftoken=evil", "access_token[]=evil", "a=1;access_token=evil",
            ] {
                #expect(try await stage.ask("GET", "api/x?" + query).problem == "invalid_request", "\(query)")
            }
            #expect(upstream.requests.count == 2)
            #expect(!stage.server.log.text.contains(token))
            #expect(try await !stage.server.send(.get, "/v1/activity").text.contains(token))
            #expect(try await !stage.server.send(.get, "/metrics").text.contains(token))
        }
    }

    // MARK: Body

    @Test func aBodyKeepsItsLengthOrItsChunks() async throws {
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            try await stage.client { client async throws in
                await client.send(stage.head("POST", "api/x", body: "0123456789"))
                #expect(try await client.answer().status == 200)
                // Extensions and odd sizes are of one hop: chunks are made anew.
                await client.send(stage.head("POST", "api/x", ["Transfer-Encoding: chunked"]) + "4;a=b\r\n0123\r\n006\r\n456789\r\n000\r\n\r\n")
                #expect(try await client.answer().status == 200)
                await client.send(stage.head("POST", "api/x", ["Transfer-Encoding: CHUNKED"]) + "0\r\n\r\n")
                #expect(try await client.answer().status == 200)
            }
            #expect(upstream.requests.map { String(decoding: $0.body, as: UTF8.self) } == ["0123456789", "0123456789", ""])
            #expect(upstream.requests.map { $0["Content-Length"] } == ["10", nil, nil])
            #expect(upstream.requests.map { $0["Transfer-Encoding"]?.lowercased() } == [nil, "chunked", "chunked"])
            #expect(!upstream.received.joined().contains("a=b"))
        }
    }

    @Test func aGETWithABodyGoesOnAsItIs() async throws {
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            #expect(try await stage.ask("GET", "api/search", body: #"{"query":{}}"#).status == 200)
            #expect(upstream.requests.map { String(decoding: $0.body, as: UTF8.self) } == [#"{"query":{}}"#])
        }
    }

    // MARK: Fields of an answer

    @Test func anAnswersFieldsComeBackWithoutThoseThatAreNotForTheCaller() async throws {  // SEC-88
        let fields = [
            "Content-Type: text/html; charset=utf-8", "ETag: \"1\"", "Link: </x>; rel=next", "X-RateLimit-Remaining: 7",
            "WWW-Authenticate: Basic realm=\"api\"",
            "Server: api/1.0", "Date: Thu, 26 Nov 2026 10:00:00 GMT", "Vary: Accept", "Cache-Control: max-age=60", "Retry-After: 3", "X-Twice: a", "X-Twice: b",
        ]
        let dropped = [
            "Set-Cookie: session=evil; Path=/", "set-cookie: b=evil", "Set-Cookie2: evil", "Strict-Transport-Security: max-age=1; evil",
            "Alt-Svc: h3=\"evil.example:443\"",
            "Proxy-Authenticate: Basic realm=\"evil\"", "Proxy-Authentication-Info: evil", "Keep-Alive: timeout=5, evil", "Upgrade: evil",
            "Connection: X-Private, keep-alive",
            "X-Private: evil", "Trailer: evil", "Grantee-Problem: evil", "grantee-anything: evil", "Content-Security-Policy: script-src evil",
            "X-Content-Type-Options: evil", "Access-Control-Allow-Origin: http://evil.example", "Access-Control-Allow-Credentials: evil",
            "Clear-Site-Data: \"evil\"",
            "X-Accel-Redirect: /evil", "X-Sendfile: /evil",
        ]
        try await Stage.with(upstream: .answering(.send(RawUpstream.answer("200 Fine", fields + dropped, body: "<p>")))) { stage, _ async throws in
            let answer = try await stage.ask("GET", "api/page")
            #expect(answer.status == 200)
            #expect(answer.text == "<p>")
            let shown = answer.head.fields.map { "\($0.name): \($0.value)" }
            #expect(shown.filter { fields.contains($0) } == fields)
            #expect(!shown.joined(separator: "\n").contains("evil"))
            #expect(answer["Content-Security-Policy"] == "sandbox")
            #expect(answer["X-Content-Type-Options"] == "nosniff")
            #expect(answer["Content-Length"] == "3")
            #expect(answer["Date"] == "Thu, 26 Nov 2026 10:00:00 GMT")
        }
    }

    @Test(arguments: [200, 201, 202, 203, 206, 226, 300, 304, 400, 401, 402, 403, 404, 409, 410, 418, 422, 429, 451, 500, 501, 502, 503, 504, 599])
    func everyStatusComesBackAsItIs(status: Int) async throws {
        let script = RawUpstream.Script.answering(.send(status == 304 ? Array("HTTP/1.1 304 X\r\n\r\n".utf8) : RawUpstream.answer("\(status) X", body: "own")))
        try await Stage.with(upstream: script) { stage, _ async throws in
            let answer = try await stage.ask("POST", "api/x")
            #expect(answer.status == status)
            #expect(answer.text == (status == 304 ? "" : "own"))
            #expect(answer.values("Grantee-Problem").isEmpty)
        }
    }

    @Test(arguments: [300, 301, 302, 303, 305, 307, 308])
    func aRedirectIsTheCallersToFollow(status: Int) async throws {  // SEC-86
        try await RawUpstream.with(.success) { collector in
            let location = collector.url + "/collect?x=1"
            let script = RawUpstream.Script.answering(
                .send(RawUpstream.answer("\(status) Elsewhere", ["Location: \(location)", "Refresh: 0; url=\(location)"])))
            try await Stage.with(upstream: script) { stage, upstream async throws in
                for method in ["GET", "POST"] {
                    let answer = try await stage.ask(method, "api/x")
                    #expect(answer.status == status)
                    #expect(answer["Location"] == location)
                    #expect(answer["Refresh"] == "0; url=\(location)")
                }
                #expect(upstream.requests.count == 2)
            }
            #expect(collector.connectionCount == 0)
        }
    }
}

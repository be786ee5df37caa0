import Broker
import Foundation
import Gateway
import HTTPTypes
import OAuth
import Server
import TestSupport
import Testing
import Vault

extension Stage {
    /// A tool, as an MCP client calls it.
    func tool(_ name: String, _ arguments: JSONObject = [:], key: String, sourceLocation: SourceLocation = #_sourceLocation) async throws -> ToolAnswer {
        let body: JSONValue = ["jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": ["name": .string(name), "arguments": .object(arguments)]]
        let revision = try #require(HTTPField.Name("MCP-Protocol-Version"))
        let answer = try await server.send(.post, "/mcp", body: body, key: .other(key), headers: [revision: "2025-11-25"])
        return ToolAnswer(whole: answer.text, result: try #require(answer["result"], "\(answer.text)", sourceLocation: sourceLocation))
    }

    struct ToolAnswer: Sendable {
        let whole: String
        let result: JSONValue

        /// Of a problem of Grantee's own.
        var code: String? { result["structuredContent"]?["problem"]?["code"]?.string }
        var status: Int? { result["structuredContent"]?["status"]?.integer }
        var text: String { result["content"]?.array?.first?["text"]?.string ?? "" }
    }

    /// What the activity log says of calls, the oldest first.
    func calls(_ action: String? = nil) async throws -> [JSONValue] {
        let items = try await server.send(.get, "/v1/activity?limit=200" + (action.map { "&action=" + $0 } ?? ""))["items"]?.array ?? []
        return items.reversed().filter { action != nil || $0["action"]?.string?.hasPrefix("api.") == true }
    }

    func change(_ id: String = "api", _ settings: JSONValue, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let answer = try await server.send(.patch, "/v1/connections/\(id)", body: settings)
        #expect(answer.status == 200, "\(answer.text)", sourceLocation: sourceLocation)
    }
}

extension Seeded {
    /// Up to `count` of the pieces, one behind the other.
    mutating func text(of pieces: [String], atMost count: Int) -> String {
        (0..<Int.random(in: 1...count, using: &self)).map { _ in pieces.randomElement(using: &self) ?? "" }.joined()
    }
}

/// The security checklist's items that need more than one part of the gateway.
@Suite(.timeLimit(.minutes(5))) struct GatewaySecurityTests {
    private static let open: JSONObject = ["agent_access": ["enabled": true, "methods": ["GET", "POST"], "paths": ["/**"]]]

    // MARK: Callers

    @Test func everyCallerGetsWhatTheTableSays() async throws {  // SEC-105
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            try await stage.add("open", at: upstream.url, Self.open)
            try await stage.addStale("code", at: upstream.url)
            let removed = try await stage.server.send(.post, "/v1/keys", body: ["name": "removed", "role": "admin"])
            let removedKey = try #require(removed["key"]?.string)
            #expect(try await stage.server.send(.delete, "/v1/keys/\(removed["id"]?.string ?? "")").status == 204)
            let soon = Date(timeIntervalSinceNow: 1).formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
            let expired = try await stage.key("admin", ["expires_at": .string(soon)])
            try await eventually("the key has ended") { try await stage.ask("GET", "nothing/x", key: expired).status == 401 }

            // A connection of applications alone, one that agents may call, subjects with and without a grant, and nothing.
            let targets: [(target: String, fields: [String])] = [
                ("api/x", []), ("open/x", []), ("code/x", ["Grantee-Subject: user-1"]), ("code/x", ["Grantee-Subject: user-2"]), ("nothing/x", []),
            ]
            let none = [401, 401, 401, 401, 401]
            let table: [(who: String, key: String, statuses: [Int])] = [
                ("nobody", "", none), ("wrong", "gk_" + String(repeating: "A", count: 43), none), ("expired", expired, none), ("removed", removedKey, none),
                ("agent", try await stage.key("agent"), [403, 200, 403, 403, 404]),
                ("agent elsewhere", try await stage.key("agent", ["connections": ["api"]]), [403, 403, 403, 403, 404]),
                ("use elsewhere", try await stage.key("use", ["connections": ["open"]]), [403, 200, 403, 403, 404]),
                ("stranger", try await stage.key("use", ["subjects": ["user-2"]]), [403, 403, 403, 409, 404]),
                ("use", try await stage.key("use"), [200, 200, 200, 409, 404]), ("admin", stage.server.adminKey, [200, 200, 200, 409, 404]),
            ]
            for row in table {
                for (target, status) in zip(targets, row.statuses) {
                    let answer = try await stage.ask("GET", target.target, target.fields, key: row.key)
                    #expect(answer.status == status, "\(row.who) \(target): \(answer.text)")
                    if status != 200 { #expect(answer.problem != nil, "\(row.who) \(target): \(answer.text)") }
                }
            }
            #expect(upstream.requests.count == table.reduce(0) { $0 + $1.statuses.count { $0 == 200 } })
        }
    }

    @Test func noCellOfKeysConnectionsAndSubjectsLeaks() async throws {  // SEC-56
        try await RawUpstream.with(.success) { upstream in
            try await Stage.with { stage async throws in
                for id in ["one", "two"] {
                    try await stage.add(stage.provider.connection(id, "authorization_code"), at: upstream.url + "/" + id, [:])
                    for subject in ["a", "b"] {
                        let tokens: JSONValue = ["access_token": .string("\(id)-\(subject)"), "expires_in": 3600]
                        #expect(try await stage.server.send(.put, "/v1/connections/\(id)/grants/\(subject)", body: tokens).status == 200)
                    }
                }
                let keys: [(key: String, id: String, subject: String)] = [
                    (try await stage.key("use", ["connections": ["one"], "subjects": ["a"]]), "one", "a"),
                    (try await stage.key("use", ["connections": ["two"], "subjects": ["b"]]), "two", "b"),
                ]
                // Cold, and warmed by somebody who may see it all.
                for round in 0..<2 {
                    for (id, subject) in [("one", "a"), ("one", "b"), ("two", "a"), ("two", "b")] {
                        for own in keys {
                            let answer = try await stage.ask("GET", id + "/x", ["Grantee-Subject: \(subject)"], key: own.key)
                            let isOwn = own.id == id && own.subject == subject
                            #expect(answer.status == (isOwn ? 200 : 403), "\(round) \(own) \(id) \(subject): \(answer.text)")
                            #expect(isOwn || answer.problem == "forbidden")
                        }
                        if round == 0 { #expect(try await stage.ask("GET", id + "/x", ["Grantee-Subject: \(subject)"]).status == 200) }
                    }
                }
                // Each connection and subject met its own token alone.
                #expect(upstream.requests.count == 4 + 4)
                for request in upstream.requests {
                    let id = request.target.hasPrefix("/one/") ? "one" : "two"
                    #expect(["Bearer \(id)-a", "Bearer \(id)-b"].contains(request["Authorization"]))
                }
                for token in ["one-a", "two-b"] { #expect(upstream.requests.count { $0["Authorization"] == "Bearer " + token } == 3) }
                for token in ["one-b", "two-a"] { #expect(upstream.requests.count { $0["Authorization"] == "Bearer " + token } == 1) }
            }
        }
    }

    @Test func eachChangeTakesHoldWithTheNextRequestOfAnOpenConnection() async throws {  // SEC-93
        try await Stage.with(upstream: .success, Self.open) { stage, upstream async throws in
            let made = try await stage.server.send(.post, "/v1/keys", body: ["name": "agent", "role": "agent"])
            let agent = try #require(made["key"]?.string)
            func access(_ methods: JSONValue, _ paths: JSONValue, enabled: Bool = true) -> JSONValue {
                ["agent_access": ["enabled": .bool(enabled), "methods": methods, "paths": paths]]
            }
            try await stage.client { client async throws in
                func status(_ target: String = "api/items", key: String) async throws -> Int {
                    await client.send(stage.head("GET", target, key: key))
                    return try await client.answer().status
                }
                #expect(try await status(key: agent) == 200)
                for narrower in [access(["GET"], ["/other"]), access(["POST"], ["/**"]), access(["GET"], ["/**"], enabled: false)] {
                    try await stage.change("api", narrower)
                    #expect(try await status(key: agent) == 403, "\(narrower)")
                    try await stage.change("api", access(["GET"], ["/**"]))
                    #expect(try await status(key: agent) == 200)
                }
                #expect(try await stage.server.send(.delete, "/v1/keys/\(made["id"]?.string ?? "")").status == 204)
                #expect(try await status(key: agent) == 401)
            }
            try await stage.addStale("code", at: upstream.url)
            let use = try await stage.key("use")
            try await stage.client { client async throws in
                func status() async throws -> Int {
                    await client.send(stage.head("GET", "code/x", ["Grantee-Subject: user-1"], key: use))
                    return try await client.answer().status
                }
                #expect(try await status() == 200)
                #expect(try await stage.server.send(.delete, "/v1/connections/code/grants/user-1").status == 200)
                #expect(try await status() == 409)
                #expect(try await stage.server.send(.delete, "/v1/connections/code").status == 204)
                #expect(try await status() == 404)
            }
        }
    }

    // MARK: Browsers

    /// What pages of other sites can have a browser send, with all that it adds by itself.
    @Test func noPageReachesAnythingByWhatABrowserSends() async throws {  // SEC-94
        try await Stage.with(upstream: .success, Self.open) { stage, upstream async throws in
            let key = stage.server.adminKey
            let cookies = "Cookie: grantee-binding=\(key); __Host-grantee=\(key); Authorization=Bearer \(key); key=\(key)"
            let foreign = ["Origin: https://evil.example", "Referer: https://evil.example/page"]
            let marked = ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"]
            let preflight = ["Access-Control-Request-Method: GET", "Access-Control-Request-Headers: authorization, grantee-subject"]
            let form = ["Content-Type: application/x-www-form-urlencoded"]
            let sent: [(what: String, method: String, fields: [String])] = [
                ("fetch with credentials", "GET", foreign + marked), ("fetch of an old browser", "GET", foreign), ("form", "POST", foreign + form),
                ("marked form", "POST", foreign + marked + form), ("top-level GET", "GET", ["Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate"]),
                ("image", "GET", ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: image"]), ("frame of a sibling", "GET", ["Sec-Fetch-Site: same-site"]),
                ("opaque page", "GET", ["Origin: null"]), ("preflight", "OPTIONS", foreign + marked + preflight),
                ("old preflight", "OPTIONS", foreign + preflight),
            ]
            for target in ["api/x", "api/x?key=\(key)", "/v1/keys", "/mcp"] {
                for row in sent {
                    let answer = try await stage.ask(row.method, target, row.fields + [cookies], key: "", body: row.method == "POST" ? "a=b" : nil)
                    let isMarked = row.fields.contains("Sec-Fetch-Site: cross-site")
                    if target.hasPrefix("/") {
                        #expect([401, 403, 405].contains(answer.status), "\(row.what) \(target): \(answer.status)")
                    } else {
                        #expect(answer.status == (isMarked ? 403 : 401), "\(row.what) \(target): \(answer.text)")
                    }
                    for name in answer.head.fields.map({ $0.name.lowercased() }) {
                        #expect(!name.hasPrefix("access-control-") && name != "set-cookie", "\(row.what) \(target): \(name)")
                    }
                }
            }
            // Not even with the key that a page was told.
            for target in ["api/x", "/v1/keys"] { #expect(try await stage.ask("GET", target, foreign + marked).status == 403) }
            #expect(upstream.connectionCount == 0)
            #expect(!stage.server.log.text.contains(key))
        }
    }

    // MARK: Paths

    /// What the rules judge is what the API gets: said by the rules, the upstream's bytes and the activity log alike.
    @Test(arguments: [11, 12] as [UInt64]) func whatTheRulesSawIsWhatTheAPIGot(seed: UInt64) async throws {  // SEC-83
        let paths = ["/a/**", "/b/*", "/c"]
        let connection: JSONObject = ["agent_access": ["enabled": true, "methods": ["GET"], "paths": .array(paths.map(JSONValue.string))]]
        var access = AgentAccess()
        (access.enabled, access.methods, access.paths) = (true, ["GET"], paths)
        let policy = AgentPolicy(access, connection: "api")
        let plain = [
            "x", "y1", "b", "/x", "/b", "/c", "~", "-._", "%41", "%7e", "%2D", "%c3%a9", "%3B", "%25", "@", ":80", "*", "+", "'()", "%20",
        ]
        let odd = [
            "/", "..", "/..", "/.", "%2e", "%2E%2e", "%2f", "%252e", ";", ";v=1", "//", "%5c", "\\", "%00", "%zz", "%C0%AE", "é", "%252f",
        ]
        let queries = [
            "", "?", "?a=1;b=2", "?q=a+b", "?q=%00", "?a=1&a=2&A=3", "?%61=1&b=%2e%2e%2f", "?=&&", "?next=http://evil.example/../x?y", "?a[]=1&a[]=2",
            "?" + String(repeating: "a&", count: 20_000),
        ]
        try await Stage.with(upstream: .success, connection) { stage, upstream async throws in
            let key = try await stage.key("agent", ["requests_per_minute": 100_000])
            var dice = Seeded(seed)
            var logged: [String] = []
            // As many as the activity log shows at once.
            for _ in 0..<200 {
                let sent = (["/a/x", "/a/x", "/a/", "/b/x", "/c", "/"].randomElement(using: &dice) ?? "") + dice.text(of: plain + plain + odd, atMost: 3)
                let query = queries.randomElement(using: &dice) ?? ""
                let before = upstream.requests.count
                let status = try await stage.client { client in
                    await client.send(stage.head("GET", "api" + sent + query, key: key))
                    do { return try await client.answer().status } catch is RawClient.Ended { return 400 }
                }
                let got = upstream.requests.dropFirst(before).map(\.target)
                guard status == 200 else {
                    #expect((400..<500).contains(status) && got.isEmpty, "\(sent)\(query.prefix(40)): \(status) \(got)")
                    continue
                }
                let judged = try #require(try? TargetPath(sent[...], isCanonical: true, allowsEncodedSlash: false), "\(sent)")
                #expect(got == ["/base" + judged.text + query], "\(sent)")
                // The rules again, on what the API logged.
                let path = got.first.map { $0.dropFirst("/base".count).prefix { $0 != "?" } } ?? ""
                #expect(policy.denial(method: "GET", path: String(path)) == nil, "\(sent) \(path)")
                logged.append("/base" + path)
            }
            #expect(logged.count > 20)
            #expect(!upstream.hasLeftovers)
            let told = try await stage.calls("api.called").compactMap { $0["detail"]?.string?.split(separator: " ").dropFirst().first }
            #expect(told.map(String.init).sorted() == logged.map { upstream.authority + $0 }.sorted())
        }
    }

    // MARK: Fields

    private static let nasty = [
        "a", "Z9", "\r", "\n", "\r\n", "\r\nX-Evil: 1", "\r\n\r\nGET /evil HTTP/1.1\r\nHost: evil\r\n\r\n", "\u{0}", "\u{1}", "\u{8}", "\u{B}", "\u{1B}[0m",
        "\u{7F}", "\t", " ", "é", "\u{85}", "\u{2028}", "\u{FEFF}", "\u{10A}\u{10D}", ":", ";", ",", "\"", "\\", "%0d%0a", "\\r\\n", "{x}", "<", ">", "<token>",
        "<client_id>", "\u{1F511}",
    ]

    /// Every text that a builder or a provider may bring into a header field: it is refused, or goes out as one clean line.
    @Test(arguments: [21, 22, 23] as [UInt64]) func noTextBreaksAHeader(seed: UInt64) async throws {  // SEC-43, SEC-79
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            var dice = Seeded(seed)
            var sent = 0
            for round in 0..<25 {
                let text = dice.text(of: Self.nasty, atMost: 4)
                let isHostile = text.utf8.contains { ($0 < 0x20 && $0 != 0x09) || $0 == 0x7F }
                // The connection's own fields: value, and name.
                let asValue = try await stage.server.send(.patch, "/v1/connections/api", body: ["headers": ["X-Fixed": .string(text)]])
                #expect([200, 400].contains(asValue.status), "\(asValue.text)")
                #expect(!isHostile || Set(asValue.pointers) == ["/headers/X-Fixed"], "\(text.debugDescription): \(asValue.status) \(asValue.pointers)")
                if asValue.status == 200 { sent += try await stage.ask("GET", "api/value").status == 200 ? 1 : 0 }
                let asName = try await stage.server.send(.patch, "/v1/connections/api", body: ["headers": .object(JSONObject([(text, "x")]))])
                #expect([200, 400].contains(asName.status), "\(asName.text)")
                if asName.status == 200 { sent += try await stage.ask("GET", "api/name").status == 200 ? 1 : 0 }
                try await stage.change("api", ["headers": .null])

                // A template, and what it is filled with.
                let id = "code-\(round)"
                var document = stage.provider.connection(id, "authorization_code", client: text).object ?? JSONObject()
                document["base_url"] = .string(upstream.url)
                document["authentication_instructions"] = .string("X-Client: <client_id>\nX-Template: v<token>\nAuthorization: Bearer <token>")
                if try await stage.server.send(.post, "/v1/connections", body: .object(document)).status == 201 {
                    let imported = try await stage.server.send(
                        .put, "/v1/connections/\(id)/grants/-", body: ["access_token": .string("t" + text), "expires_in": 3600])
                    #expect([200, 400].contains(imported.status), "\(imported.text)")
                    #expect(!isHostile || imported.status == 400, "\(text.debugDescription)")
                    for token in ["t", "t" + text] where token == "t" || imported.status == 200 {
                        _ = try await stage.server.send(.put, "/v1/connections/\(id)/grants/-", body: ["access_token": .string(token), "expires_in": 3600])
                        let answer = try await stage.ask("GET", id + "/x")
                        #expect(answer.status == 200 || answer.problem == "misconfigured", "\(text.debugDescription): \(answer.text)")
                        sent += answer.status == 200 ? 1 : 0
                    }
                }
                let instructions: JSONValue = ["authentication_instructions": .string("Authorization: Bearer <token>\nX-Template: a\(text)<token>")]
                if try await stage.server.send(.patch, "/v1/connections/api", body: instructions).status == 200 {
                    sent += try await stage.ask("GET", "api/template").status == 200 ? 1 : 0
                }
                try await stage.change("api", ["authentication_instructions": "Authorization: Bearer <token>"])
            }
            #expect(sent > 5)
            #expect(upstream.requests.count == sent)
            #expect(!upstream.hasLeftovers)
            for request in upstream.requests {
                #expect(!request.target.contains("evil"))
                for line in request.lines {
                    #expect(!line.utf8.contains { ($0 < 0x20 && $0 != 0x09) || $0 == 0x7F }, "\(line.debugDescription)")
                    #expect(line.utf8.first != UInt8(ascii: " ") && line.utf8.first != UInt8(ascii: "\t"), "\(line.debugDescription)")
                }
            }
        }
    }

    // MARK: Sockets

    @Test func twoConnectionsToOneHostNeverShareASocket() async throws {  // SEC-77
        try await RawUpstream.with(.success) { upstream in
            try await Stage.with { stage async throws in
                for id in ["one", "two"] { try await stage.add(id, at: upstream.url + "/" + id) }
                func sockets(_ id: String) -> Set<Int> { Set(upstream.requests.filter { $0.target.hasPrefix("/\(id)/") }.map(\.connection)) }
                // One caller's connection: one event loop, which keeps what it opens.
                try await stage.client { client async throws in
                    func call(_ id: String) async throws {
                        await client.send(stage.head("GET", id + "/x"))
                        #expect(try await client.answer().status == 200)
                    }
                    for _ in 0..<10 {
                        try await call("one")
                        try await call("two")
                    }
                    #expect((sockets("one").count, sockets("two").count) == (1, 1))
                    #expect(sockets("one").isDisjoint(with: sockets("two")))
                    // What is made anew under an id inherits no socket.
                    let former = sockets("one")
                    #expect(try await stage.server.send(.delete, "/v1/connections/one").status == 204)
                    try await stage.add("one", at: upstream.url + "/one/again")
                    try await call("one")
                    let latest = try #require(upstream.requests.last)
                    #expect(latest.target == "/one/again/x")
                    #expect(!former.contains(latest.connection) && !sockets("two").contains(latest.connection))
                }
            }
        }
    }

    @Test func norDoTheyShareOneOfHTTP2() async throws {  // SEC-77
        try await Stage.withNginx(.http2) { stage, nginx async throws in
            try await stage.add("other", at: nginx.secureURL)
            try await withThrowingTaskGroup(of: Int.self) { group in
                for index in 0..<60 { group.addTask { try await stage.ask("GET", (index % 2 == 0 ? "api" : "other") + "/version?\(index % 2)").status } }
                for try await status in group { #expect(status == 200) }
            }
            try await eventually("nginx has logged them") { try nginx.calls().count == 60 }
            func sockets(_ query: String) throws -> Set<String> { Set(try nginx.calls().filter { $0.target == "/version?" + query }.map(\.connection)) }
            #expect(try !sockets("0").isEmpty && !sockets("1").isEmpty)
            #expect(try sockets("0").isDisjoint(with: sockets("1")))
        }
    }

    // MARK: What is written down

    /// A token in the query, and calls that end in every way: neither it nor any caller's query is in what is kept or told.
    @Test func noQueryIsWrittenDown() async throws {  // SEC-91, SEC-110, SEC-113
        let script = RawUpstream.Script.answering { request in
            switch request.target.split(separator: "?").first?.split(separator: "/").last ?? "" {
            case "nonsense": [.send("HTTP/1.1 abc OK\r\n\r\n")]
            case "close": [.close]
            case "stale": [.send(RawUpstream.answer("401 Unauthorized", ["WWW-Authenticate: Bearer error=\"invalid_token\""]))]
            case "cut": [.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), .close]
            default: [.send(RawUpstream.answer())]
            }
        }
        let inQuery: JSONObject = [
            "allow_token_in_query": true, "authentication_instructions": "?access_token=<token>",
            "agent_access": ["enabled": true, "methods": ["GET"], "paths": ["/**"]],
        ]
        try await Stage.with(upstream: script, inQuery) { stage, upstream async throws in
            try await stage.add("dead", at: RawUpstream.nobody, inQuery)
            var tokens = [try await stage.token(), try await stage.token("dead")]
            let agent = try await stage.key("agent")
            let marker = "caller-query-marker"
            var told = ""
            for key in [nil, agent] {
                for target in ["api/good", "api/nonsense", "api/close", "api/stale", "api/cut", "dead/x", "nothing/x", "api/../x", "api/%zz"] {
                    for query in ["?a=\(marker)", "?access_token=\(marker)", "?a=\(marker)#\(marker)", "?a=\(marker)%0d%0a"] {
                        let answer = try await stage.client { client -> RawAnswer? in
                            await client.send(stage.head("GET", target + query, key: key))
                            do { return try await client.answer() } catch is RawClient.Ended { return nil }
                        }
                        if let answer, let problem = answer.problem { told += "\(problem) \(answer.head.fields) \(answer.text)\n" }
                    }
                }
            }
            let call: JSONObject = ["connection": "api", "method": "GET", "path": "/close", "query": ["a": .string(marker)]]
            told += try await stage.tool("call_api", call, key: agent).whole
            tokens += [try await stage.token(), try await stage.token("dead")]
            #expect(upstream.requests.contains { $0.target.contains("access_token=\(tokens[0])") })
            let kept = [
                "the log": stage.server.log.text, "problems": told, "the activity log": try await stage.server.send(.get, "/v1/activity?limit=200").text,
                "metrics": try await stage.server.send(.get, "/metrics").text, "health": try await stage.server.send(.get, "/health/ready").text,
            ]
            for (place, text) in kept {
                #expect(!text.isEmpty, "\(place)")
                for token in tokens { #expect(!text.contains(token), "a token is in \(place)") }
                // A problem may quote what is wrong with it to who wrote it.
                guard place != "problems" else { continue }
                #expect(!text.contains(marker), "a query is in \(place)")
                #expect(!text.contains("access_token="), "the rule is in \(place)")
            }
        }
    }

    /// Whatever stands in a path, a subject, a connection's place or a client's own name.
    @Test func oneCallIsOneLineWhateverIsInIt() async throws {  // SEC-112, SEC-113
        let payloads = [
            "\u{202E}\u{2028}forged", "\u{1B}[2J", "%0d%0aerror%20forged", "%1b%5b31m", "{\"level\":\"error\"}", "a=b level=critical", "\u{85}\u{FEFF}",
        ]
        try await Stage.with(upstream: .success, Self.open) { stage, upstream async throws in
            let agent = try await stage.key("agent")
            for payload in payloads {
                for key in [nil, agent, "gk_wrong"] {
                    for (target, fields) in [
                        ("api/" + payload, []), ("api/x", ["Grantee-Subject: " + payload]), ("api/x", ["User-Agent: " + payload]), (payload + "/x", []),
                        ("api/x", ["X-Forwarded-For: " + payload, "Request-Id: " + payload]),
                    ] as [(String, [String])] {
                        try await stage.client { client async throws in
                            await client.send(stage.head("GET", target, fields + ["Connection: close"], key: key))
                            _ = await client.rest()
                        }
                    }
                }
                _ = try await stage.tool("call_api", ["connection": .string(payload), "method": "GET", "path": "/x"], key: agent)
                _ = try await stage.tool(
                    "call_api", ["connection": "api", "method": "GET", "path": .string("/" + payload), "subject": .string(payload)], key: agent)
            }
            func isHostile(_ text: some StringProtocol) -> Bool {
                text.unicodeScalars.contains { [.control, .format, .lineSeparator, .paragraphSeparator].contains($0.properties.generalCategory) }
            }
            let levels = ["trace ", "debug ", "info ", "notice ", "warning ", "error ", "critical "]
            for line in stage.server.log.text.split(separator: "\n", omittingEmptySubsequences: false) {
                #expect(levels.contains { line.hasPrefix($0) } && !isHostile(line), "\(line.debugDescription)")
                #expect(!line.contains("forged"), "\(line)")
            }
            let items = try await stage.server.send(.get, "/v1/activity?limit=200")["items"]?.array ?? []
            #expect(items.count > payloads.count)
            for member in items.flatMap({ $0.object?.members ?? [] }) { #expect(member.value.string.map { !isHostile($0) } ?? true, "\(member)") }
        }
    }

    /// Bad and good calls of one agent over both faces: one entry each, with who, for whom, by which rules and with what outcome.
    @Test func everyCallOfAnAgentIsOneEntry() async throws {  // SEC-112, SEC-131, SEC-137
        let access: JSONObject = ["agent_access": ["enabled": true, "methods": ["GET"], "paths": ["/items"]]]
        try await Stage.with(upstream: .answering { [.send(RawUpstream.answer($0.target.hasSuffix("x=404") ? "404 No" : "200 OK"))] }, access) {
            stage, upstream async throws in
            try await stage.add("dead", at: RawUpstream.nobody, access)
            let made = try await stage.server.send(.post, "/v1/keys", body: ["name": "agent", "role": "agent"])
            let (key, id) = (try #require(made["key"]?.string), try #require(made["id"]?.string))
            let session: [(method: String, target: String, fields: [String], result: String, status: Int)] = [
                ("GET", "api/items?x=1", [], "ok", 200), ("GET", "api/items?x=404", [], "ok", 404), ("GET", "api/items?x=1", ["Accept: a/b"], "ok", 200),
                ("POST", "api/items", [], "forbidden", 403), ("GET", "api/secret", [], "forbidden", 403), ("GET", "api/ITEMS", [], "forbidden", 403),
                ("GET", "api/items", ["X-Extra: 1"], "forbidden", 403), ("GET", "api/items/../user", [], "invalid_request", 400),
                ("GET", "api/items", ["Grantee-Subject: user-1"], "invalid_request", 400), ("GET", "dead/items", [], "provider_unreachable", 504),
            ]
            var ids: [String] = []
            for row in session {
                let answer = try await stage.ask(row.method, row.target, row.fields, key: key)
                #expect(answer.status == row.status, "\(row) \(answer.text)")
                ids.append(try #require(answer["Grantee-Request-Id"] ?? answer["Request-Id"]))
            }
            let told = try await stage.calls()
            #expect(told.count == session.count)
            // Calls of one millisecond are in no order.
            let entries = ids.compactMap { id in told.first { $0["request_id"]?.string == id } }
            #expect(entries.count == session.count)
            #expect(entries.compactMap { $0["result"]?.string } == session.map(\.result))
            #expect(entries.allSatisfy { $0["key"]?.string == id && $0["count"]?.integer == 1 })
            #expect(entries.compactMap { $0["connection"]?.string } == session.map { $0.target.hasPrefix("dead") ? "dead" : "api" })
            #expect(entries.map { $0["subject"]?.string } == session.map { $0.fields == ["Grantee-Subject: user-1"] ? "user-1" : nil })
            let sent = entries.filter { $0["action"]?.string == "api.called" }.compactMap { $0["detail"]?.string }
            #expect(sent.count == 3 && upstream.requests.count == 3)
            // The ETag of a connection is its revision.
            let revision = try #require(try await stage.server.send(.get, "/v1/connections/api").headers[.eTag]).replacing("\"", with: "")
            let host = "GET \(upstream.authority)/base/items"
            for (detail, status) in zip(sent, [200, 404, 200]) {
                #expect(detail.hasPrefix("\(host) → \(status); arguments ") && detail.hasSuffix("; policy \(revision)"), "\(detail)")
            }
            // Of each entry, refused ones included, the policy that judged it.
            #expect(entries.compactMap { $0["detail"]?.string }.allSatisfy { $0.contains("; policy ") })

            // The same over MCP; what is no call to a connection is told of as what was turned away.
            let calls: [(path: String, query: JSONValue, connection: String, code: String?)] = [
                ("/items", ["x": "1"], "api", nil), ("/secret", [:], "api", "forbidden"), ("/items", [:], "dead", "provider_unreachable"),
                ("/items", [:], "nothing", "not_found"), ("items", [:], "api", "invalid_request"),
            ]
            for call in calls {
                let answer = try await stage.tool(
                    "call_api", ["connection": .string(call.connection), "method": "GET", "path": .string(call.path), "query": call.query], key: key)
                #expect(answer.code == call.code, "\(answer.whole)")
            }
            let later = try await stage.calls().filter { entry in !ids.contains { $0 == entry["request_id"]?.string } }
            #expect(later.compactMap { $0["result"]?.string }.sorted() == ["forbidden", "ok", "provider_unreachable"])
            // The first call again, by another face: the same arguments.
            #expect(later.first { $0["result"]?.string == "ok" }?["detail"]?.string == sent[0])
            #expect(sent[0] == sent[2] && sent[0].replacing("→ 200", with: "→ 404") != sent[1])
            // Stopped, it does nothing more.
            #expect(try await stage.server.send(.post, "/v1/revocations", body: ["key": .string(id)]).status < 300)
            #expect(try await stage.ask("GET", "api/items", key: key).status == 401)
            #expect(try await stage.calls().count == session.count + 3)
        }
    }

    /// What an agent tried is as telling as what it did.
    @Test func aRefusedCallOfAnAgentHasItsArgumentsFingerprint() async throws {  // SEC-137
        let access: JSONObject = ["agent_access": ["enabled": true, "methods": ["GET"], "paths": ["/items"]]]
        try await Stage.with(upstream: .success, access) { stage, upstream async throws in
            let key = try await stage.key("agent")
            for (method, target) in [("GET", "api/secret?x=1"), ("GET", "api/secret?x=1"), ("GET", "api/secret?x=2"), ("DELETE", "api/items")] {
                #expect(try await stage.ask(method, target, key: key).status == 403)
            }
            let body: JSONObject = ["connection": "api", "method": "POST", "path": "/items", "body": "a"]
            #expect(try await stage.tool("call_api", body, key: key).code == "forbidden")
            let prints = try await stage.calls().map { entry in
                entry["detail"]?.string?.split(separator: ";").first { $0.hasPrefix(" arguments ") }.map(String.init)
            }
            #expect(prints.count == 5 && prints.allSatisfy { $0 != nil }, "\(prints)")
            // Two of them are alike.
            #expect(Set(prints).count == 4)
            #expect(upstream.connectionCount == 0)
        }
    }

    // MARK: Models

    /// An API that says the token back in every way, and failures of every kind: nothing of it is in what a model reads.
    @Test func noTokenReachesAModelWhateverAnAPISays() async throws {  // SEC-87, SEC-110, SEC-127
        let echoes = GatewayAnswerScanTests.Echo.allCases
        let script = RawUpstream.Script.answering { request in
            let token = String((request["Authorization"] ?? "").dropFirst("Bearer ".count))
            let last = String(request.target.split(separator: "/").last ?? "")
            if let index = Int(last) { return [.send(echoes[index].answer(token))] }
            switch last {
            case "stale": return [.send(RawUpstream.answer("401 \(token)", ["WWW-Authenticate: Bearer error=\"\(token)\""], body: token))]
            case "redirect": return [.send(RawUpstream.answer("302 Found", ["Location: /x?access_token=\(token)", "Link: <\(token)>"], body: token))]
            case "nonsense": return [.send("HTTP/1.1 \(token) OK\r\n\(token): \(token)\r\n\r\n")]
            case "coding": return [.send(RawUpstream.answer("200 OK", ["Content-Encoding: \(token)"], body: token))]
            case "broken": return [.send(RawUpstream.answer("200 OK", ["Content-Encoding: gzip"], body: token))]
            case "cut": return [.send("HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n\(token)"), .close]
            case "split": return [.send(RawUpstream.answer(body: token.map { "\($0)\u{200B}" }.joined() + token.prefix(8) + "\u{0}" + token.dropFirst(8)))]
            default: return [.send(RawUpstream.answer("500 Broken", ["X-Request-Id: \(token)", "Retry-After: \(token)"], body: "{\"error\":\"\(token)\"}"))]
            }
        }
        try await Stage.with(upstream: script, Self.open) { stage, upstream async throws in
            var tokens = [try await stage.token()]
            let key = try await stage.key("agent")
            var transcript = ""
            let paths = echoes.indices.map { "/echo/\($0)" } + ["/redirect", "/nonsense", "/coding", "/broken", "/cut", "/split", "/error", "/stale"]
            for tool in ["list_connections", "describe_connection", "connect"] {
                transcript += try await stage.tool(tool, tool == "list_connections" ? [:] : ["connection": "api"], key: key).whole
            }
            for path in paths {
                for method in ["GET", "POST"] {
                    transcript += try await stage.tool("call_api", ["connection": "api", "method": .string(method), "path": .string(path)], key: key).whole
                }
                // The same agent past MCP.
                let answer = try await stage.client { client -> RawAnswer? in
                    await client.send(stage.head("GET", "api" + path, key: key))
                    do { return try await client.answer() } catch is RawClient.Ended { return nil }
                }
                if let answer {
                    let body = answer["Content-Encoding"] == "gzip" ? Gzip.unpacked(answer.body) : answer.body
                    transcript += "\(answer.head.reason) \(answer.head.fields) \(answer.trailers) \(String(decoding: body, as: UTF8.self))"
                }
            }
            tokens.append(try await stage.token())
            #expect(upstream.requests.count >= paths.count * 3)
            #expect(transcript.utf8.count > 10_000)
            for token in Set(tokens) {
                #expect(upstream.requests.contains { $0["Authorization"] == "Bearer " + token })
                for form in GatewayAnswerScanTests.forms(token) {
                    #expect(!transcript.lowercased().contains(form.lowercased()), "\(form)")
                    #expect(!stage.server.log.text.contains(form))
                }
            }
            #expect(!transcript.contains("machine-secret") && !transcript.contains(key))
            let activity = try await stage.server.send(.get, "/v1/activity?limit=200").text
            for token in tokens { #expect(!activity.contains(token)) }
        }
    }

    @Test func whatIsMaskedIsCounted() async throws {  // SEC-87
        let script = RawUpstream.Script.answering {
            [.send(RawUpstream.answer("200 OK", ["X-Echo: \($0["Authorization"] ?? "")"], body: $0["Authorization"] ?? ""))]
        }
        try await Stage.with(upstream: script) { stage, upstream async throws in
            // Of a name that no other test has: counters are the process's.
            try await stage.add("counted", at: upstream.url, Self.open)
            let key = try await stage.key("agent")
            for _ in 0..<2 { #expect(try await stage.ask("GET", "counted/x", key: key).status == 200) }
            #expect(try await stage.ask("GET", "counted/x", key: try await stage.key("use")).status == 200)
            let metrics = try await stage.server.send(.get, "/metrics").text
            #expect(
                metrics.contains("grantee_gateway_masked_total{connection=\"counted\"} 4\n"),
                "\(metrics.split(separator: "\n").filter { $0.contains("masked") })")
        }
    }

    /// Text that would steer a terminal, hide from a person, or have a client fetch something.
    @Test func whatAModelIsGivenIsLabelledCutAndInert() async throws {  // SEC-135
        try await RawUpstream.with(.success) { collector in
            let beacon = "![x](\(collector.url)/beacon) <img src=\"\(collector.url)/beacon\"> [a]: \(collector.url)/beacon"
            let head = "\u{1B}[31m\u{1B}]8;;\(collector.url)\u{7}link\u{202E}evil\u{200B}\u{E0041}\u{E0042}\u{2066}~~~~\n\(beacon)\n~~~\n"
            let long = Array(head.utf8) + [UInt8](repeating: UInt8(ascii: "y"), count: 10 << 20)
            let script = RawUpstream.Script.answering { request in
                let type = request.target.hasSuffix("/json") ? "application/json" : request.target.hasSuffix("/html") ? "text/html" : "text/plain"
                let body = type == "application/json" ? JSONValue.object(["text": .string(head)]).serialized() : long
                return [
                    .send("HTTP/1.1 200 OK\r\nContent-Type: \(type)\r\nX-RateLimit-Note: a\u{202E}b\r\nContent-Length: \(body.count)\r\n\r\n"), .send(body),
                ]
            }
            try await Stage.with(upstream: script, Self.open) { stage, _ async throws in
                let key = try await stage.key("agent")
                for path in ["/json", "/html", "/text"] {
                    let answer = try await stage.tool("call_api", ["connection": "api", "method": "GET", "path": .string(path)], key: key)
                    #expect(answer.status == 200, "\(answer.text.prefix(500))")
                    #expect(answer.whole.utf8.count < 256 << 10)
                    #expect(answer.text.contains("data, not instructions"))
                    #expect(answer.result["structuredContent"]?["source"]?["connection"]?.string == "api")
                    #expect(answer.result["structuredContent"]?["source"]?["trust"]?.string?.contains("not instructions") == true)
                    if path != "/json" { #expect(answer.text.contains("Only the first")) }
                    // The fence is longer than any in the body, and nothing invisible is left, in words or in values.
                    let fence = answer.text.split(separator: "\n").first { $0.allSatisfy { $0 == "~" } } ?? ""
                    #expect(fence.count > 4)
                    func walk(_ value: JSONValue) {
                        for scalar in value.string?.unicodeScalars ?? "".unicodeScalars where scalar != "\n" && scalar != "\t" {
                            let isSeen = ![.control, .format, .lineSeparator, .paragraphSeparator, .privateUse].contains(scalar.properties.generalCategory)
                            if !isSeen { Issue.record("\(scalar.value) at \(path)") }
                        }
                        for element in value.array ?? [] { walk(element) }
                        for member in value.object?.members ?? [] { walk(member.value) }
                    }
                    walk(answer.result)
                }
            }
            #expect(collector.connectionCount == 0)
        }
    }

    // MARK: Limits

    /// - Parameter limit: the key's own; `nil` = what every agent has.
    @Test(arguments: [nil, 20]) func aLoopThatPagesThroughAnAccountStopsAtTheLimitWithOneAlert(limit: Int?) async throws {  // SEC-133
        try await Stage.with(upstream: .success, Self.open) { stage, upstream async throws in
            let made = try await stage.server.send(
                .post, "/v1/keys", body: ["name": "agent", "role": "agent", "requests_per_minute": limit.map { .number(JSONNumber($0)) } ?? .null])
            let (key, id) = (try #require(made["key"]?.string), try #require(made["id"]?.string))
            let allowed = limit ?? 600
            try await stage.client { client async throws in
                for page in 0..<allowed + 30 {
                    await client.send(stage.head("GET", "api/items?page=\(page)", key: key))
                    let answer = try await client.answer()
                    #expect(answer.status == (page < allowed ? 200 : 429), "\(page): \(answer.text)")
                    guard page >= allowed else { continue }
                    #expect(answer.problem == "rate_limited")
                    #expect((1...60).contains(answer["Retry-After"].flatMap { Int($0) } ?? 0))
                }
            }
            #expect(upstream.requests.count == allowed)
            let alerts = try await stage.calls("agent.limited")
            #expect(alerts.compactMap { $0["key"]?.string } == [id])
            #expect(alerts.compactMap { $0["result"]?.string } == ["rate_limited"])
            let lines = stage.server.log.text.split(separator: "\n").filter { $0.contains("an agent reached a limit") }
            #expect(lines.count == 1 && lines.allSatisfy { $0.hasPrefix("warning ") && $0.contains("key=\(id)") }, "\(lines)")
            // Others go on.
            #expect(try await stage.ask("GET", "api/items", key: try await stage.key("agent")).status == 200)
        }
    }
}

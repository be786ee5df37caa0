import Foundation
import HTTPTypes
import OAuth
import RehearsalProvider
import TestSupport
import Testing

@testable import Server

/// Who may do what, from one table over all routes.
@Suite struct AccessTests {
    enum Who: String, CaseIterable, Sendable {
        case nobody, wrong, expired, removed, agent
        /// `use`, bound to another connection.
        case elsewhere
        /// `use`, bound to another subject.
        case stranger
        case use, admin
    }

    /// What each caller gets. Without a valid key it is always 401, for an agent 403 but at its own face.
    struct Row: Sendable {
        let path: String
        var body: JSONValue?
        let agent: Int
        let elsewhere: Int
        let stranger: Int
        let use: Int
        let admin: Int

        init(_ path: String, _ body: JSONValue? = nil, agent: Int = 403, elsewhere: Int, stranger: Int, use: Int, admin: Int) {
            self.path = path
            self.body = body
            self.agent = agent
            self.elsewhere = elsewhere
            self.stranger = stranger
            self.use = use
            self.admin = admin
        }

        func expected(_ who: Who) -> Int {
            switch who {
            case .nobody, .wrong, .expired, .removed: 401
            case .agent: agent
            case .elsewhere: elsewhere
            case .stranger: stranger
            case .use: use
            case .admin: admin
            }
        }
    }

    /// Routes that ask for no key.
    static let open: Set<String> = [
        "GET /connect/{ticket}", "HEAD /connect/{ticket}", "POST /connect/{ticket}", "GET /connect/{ticket}/continue", "HEAD /connect/{ticket}/continue",
        "GET /connect/result/{session}", "GET /oauth/callback/{id}", "HEAD /oauth/callback/{id}", "GET /", "GET /assets/grantee.css", "GET /health/live",
        "GET /health/ready", "GET /openapi.json", "GET /metrics", "GET /assets/console.css", "GET /assets/console.js", "GET /assets/icon.svg",
        "GET /console/sign-in", "POST /console/sign-in", "GET /console/sign-in/{code}", "HEAD /console/sign-in/{code}",
    ]

    private static let made: JSONValue = [
        "name": "Made",
        "oauth": ["grant_type": "client_credentials", "token_url": "https://as.example/token", "client_id": "client", "client_secret": "secret"],
    ]

    private func table(session: String, key: String, issuer: String, webhooks: [String]) -> [String: Row] {
        [
            "GET /v1/connections/{id}/token": Row("/v1/connections/app/token?subject=user-1", elsewhere: 403, stranger: 403, use: 200, admin: 200),
            "GET /v1/presets": Row("/v1/presets", elsewhere: 200, stranger: 200, use: 200, admin: 200),
            "GET /v1/presets/{id}": Row("/v1/presets/google", elsewhere: 200, stranger: 200, use: 200, admin: 200),
            "GET /v1/connections": Row("/v1/connections", elsewhere: 200, stranger: 200, use: 200, admin: 200),
            "POST /v1/connections": Row("/v1/connections", Self.made, elsewhere: 403, stranger: 403, use: 403, admin: 201),
            "POST /v1/connections/discover": Row(
                "/v1/connections/discover", ["issuer": .string(issuer)], elsewhere: 403, stranger: 403, use: 403, admin: 200),
            "GET /v1/connections/{id}": Row("/v1/connections/app", elsewhere: 403, stranger: 200, use: 200, admin: 200),
            "PATCH /v1/connections/{id}": Row("/v1/connections/app", ["name": "App"], elsewhere: 403, stranger: 403, use: 403, admin: 200),
            "DELETE /v1/connections/{id}": Row("/v1/connections/doomed", elsewhere: 403, stranger: 403, use: 403, admin: 204),
            "GET /v1/connections/{id}/instructions": Row(
                "/v1/connections/app/instructions?subject=user-1", elsewhere: 403, stranger: 403, use: 200, admin: 200),
            "POST /v1/connections/{id}/connect": Row(
                "/v1/connections/app/connect", ["subject": "user-1"], elsewhere: 403, stranger: 403, use: 201, admin: 201),
            "POST /v1/connections/{id}/diagnose": Row("/v1/connections/app/diagnose", elsewhere: 403, stranger: 403, use: 403, admin: 200),
            "GET /v1/connect-sessions/{session}": Row("/v1/connect-sessions/" + session, elsewhere: 403, stranger: 403, use: 200, admin: 200),
            // The session is not pending: past the door, that is a conflict.
            "POST /v1/connect-sessions/{session}/complete": Row(
                "/v1/connect-sessions/\(session)/complete", ["subject": "user-1"], elsewhere: 403, stranger: 403, use: 409, admin: 409),
            "GET /v1/grants": Row("/v1/grants", elsewhere: 200, stranger: 200, use: 200, admin: 200),
            "GET /v1/connections/{id}/grants": Row("/v1/connections/app/grants", elsewhere: 403, stranger: 200, use: 200, admin: 200),
            "GET /v1/connections/{id}/grants/{subject}": Row("/v1/connections/app/grants/user-1", elsewhere: 403, stranger: 403, use: 200, admin: 200),
            "PUT /v1/connections/{id}/grants/{subject}": Row(
                "/v1/connections/app/grants/user-8", ["access_token": "a"], elsewhere: 403, stranger: 403, use: 403, admin: 200),
            "DELETE /v1/connections/{id}/grants/{subject}": Row("/v1/connections/app/grants/user-9", elsewhere: 403, stranger: 403, use: 200, admin: 200),
            "POST /v1/connections/{id}/grants/{subject}/refresh": Row(
                "/v1/connections/machine/grants/-/refresh", elsewhere: 403, stranger: 403, use: 200, admin: 200),
            "POST /mcp": Row(
                "/mcp", ["jsonrpc": "2.0", "id": 1, "method": "tools/list"], agent: 200, elsewhere: 200, stranger: 200, use: 200, admin: 200),
            "GET /v1/activity": Row("/v1/activity", elsewhere: 403, stranger: 403, use: 403, admin: 200),
            "GET /v1/vault": Row("/v1/vault", elsewhere: 403, stranger: 403, use: 403, admin: 200),
            "POST /v1/vault/rotate": Row("/v1/vault/rotate", ["data_keys": true], elsewhere: 403, stranger: 403, use: 403, admin: 200),
            "POST /v1/vault/verify": Row("/v1/vault/verify", elsewhere: 403, stranger: 403, use: 403, admin: 200),
            "GET /v1/keys": Row("/v1/keys", elsewhere: 403, stranger: 403, use: 403, admin: 200),
            "POST /v1/keys": Row("/v1/keys", ["name": "k", "role": "use"], elsewhere: 403, stranger: 403, use: 403, admin: 201),
            "DELETE /v1/keys/{id}": Row("/v1/keys/" + key, elsewhere: 403, stranger: 403, use: 403, admin: 204),
            "POST /v1/console-links": Row("/v1/console-links", elsewhere: 403, stranger: 403, use: 403, admin: 201),
            "GET /v1/revocations": Row("/v1/revocations", elsewhere: 403, stranger: 403, use: 403, admin: 200),
            "POST /v1/revocations": Row("/v1/revocations", ["subject": "user-7"], elsewhere: 403, stranger: 403, use: 403, admin: 202),
            // Past the door, there is none.
            "GET /v1/revocations/{id}": Row("/v1/revocations/rv_nothing", elsewhere: 403, stranger: 403, use: 403, admin: 404),
            "GET /v1/webhooks": Row("/v1/webhooks", elsewhere: 403, stranger: 403, use: 403, admin: 200),
            "POST /v1/webhooks": Row(
                "/v1/webhooks", ["url": "https://app.example/hook", "events": ["grant.expiring"]], elsewhere: 403, stranger: 403, use: 403, admin: 201),
            "DELETE /v1/webhooks/{id}": Row("/v1/webhooks/" + webhooks[0], elsewhere: 403, stranger: 403, use: 403, admin: 204),
            "GET /v1/webhooks/{id}/deliveries": Row("/v1/webhooks/\(webhooks[1])/deliveries", elsewhere: 403, stranger: 403, use: 403, admin: 200),
            "POST /v1/webhooks/{id}/replay": Row("/v1/webhooks/\(webhooks[1])/replay", [:], elsewhere: 403, stranger: 403, use: 403, admin: 200),
        ]
    }

    private static func soon(_ seconds: Double) -> JSONValue {
        .string(Date(timeIntervalSinceNow: seconds).formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true)))
    }

    /// One key for each kind of caller.
    private func keys(_ server: RunningServer) async throws -> [Who: RunningServer.Key] {
        func make(_ document: JSONValue) async throws -> RunningServer.Key {
            let key = try await server.makeKey(document)
            #expect(key.hasPrefix("gk_"))
            return .other(key)
        }
        let removed = try await server.send(.post, "/v1/keys", body: ["name": "removed", "role": "admin"])
        #expect(try await server.send(.get, "/v1/keys", key: .other(removed.string("key"))).status == 200)
        #expect(try await server.send(.delete, "/v1/keys/" + removed.string("id")).status == 204)
        let keys: [Who: RunningServer.Key] = [
            .nobody: .none, .wrong: .other("gk_" + String(repeating: "A", count: 43)),
            .expired: try await make(["name": "expired", "role": "admin", "expires_at": Self.soon(0.3)]), .removed: .other(removed.string("key")),
            .agent: try await make(["name": "agent", "role": "agent"]),
            .elsewhere: try await make(["name": "elsewhere", "role": "use", "connections": ["other"]]),
            .stranger: try await make(["name": "stranger", "role": "use", "subjects": ["user-2"]]), .use: try await make(["name": "use", "role": "use"]),
            .admin: try await make(["name": "admin", "role": "admin"]),
        ]
        try await Task.sleep(for: .milliseconds(400))
        return keys
    }

    @Test func everyRouteAnswersEachCallerAsTheTableSays() async throws {  // SEC-105
        try await Stage.with { stage in
            let server = stage.server
            for id in ["app", "other", "doomed"] { try await stage.add(stage.provider.connection(id, "authorization_code")) }
            try await stage.add(stage.provider.connection("machine", "client_credentials", client: "machine", secret: "machine-secret"))
            for subject in ["user-1", "user-9"] { try await stage.put("app", subject, ["access_token": "a"]) }
            let link = try await stage.begin("app", ["subject": "user-1"])
            let doomed = try await server.send(.post, "/v1/keys", body: ["name": "doomed", "role": "use"])
            var webhooks: [String] = []
            for _ in 0..<2 {
                let made = try await server.send(.post, "/v1/webhooks", body: ["url": "https://app.example/hook", "events": ["grant.expiring"]])
                webhooks.append(made.string("id"))
            }
            let table = table(session: link.session, key: doomed.string("id"), issuer: stage.provider.url, webhooks: webhooks)
            let keys = try await keys(server)
            for route in Routes.all {
                let name = "\(route.method.rawValue) \(route.pattern)"
                // Of these, whoever has a key alone.
                if route.access == .console { continue }
                guard route.access.needsKey else {
                    #expect(Self.open.contains(name), "\(name) needs an entry")
                    continue
                }
                guard let row = table[name] else {
                    Issue.record("\(name) needs an entry")
                    continue
                }
                for who in Who.allCases {
                    let key = try #require(keys[who])
                    let answer = try await server.send(route.method, row.path, body: row.body, key: key)
                    #expect(answer.status == row.expected(who), "\(who) \(name): \(answer.status) \(answer.text.prefix(300))")
                    if row.expected(who) == 401 {
                        #expect(answer.code == "unauthenticated", "\(who) \(name)")
                        #expect(answer.headers[.wwwAuthenticate]?.hasPrefix("Bearer") == true, "\(who) \(name)")
                    }
                    if row.expected(who) == 403 { #expect(answer.isProblem("forbidden", 403), "\(who) \(name)") }
                }
            }
            #expect(table.count == Routes.all.filter(\.access.needsKey).count, "the table names a route that is gone")
        }
    }

    @Test func aKeyOpensNoPageOfTheConsole() async throws {  // SEC-101, SEC-105
        try await RunningServer.with { server in
            _ = try await server.send(
                .post, "/v1/connections",
                body: ["id": "other", "name": "o", "oauth": Self.made["oauth"] ?? .null])
            let keys = try await keys(server)
            let pages = Routes.all.filter { $0.access == .console }
            #expect(pages.count > 30)
            for route in pages {
                for who in Who.allCases {
                    let answer = try await server.send(route.method, filled(route.pattern), key: try #require(keys[who]))
                    let name = "\(who) \(route.method.rawValue) \(route.pattern)"
                    #expect(answer.status == 401, "\(name): \(answer.status)")
                    // The sign-in page itself: no redirect that could go round in circles.
                    #expect(answer.headers[.location] == nil && answer.headers[.setCookie] == nil, "\(name)")
                    #expect(answer.headers[.contentType] == "text/html; charset=utf-8" && answer.text.contains("action=\"/console/sign-in\""), "\(name)")
                }
            }
        }
    }

    @Test func aWrongKeyAnExpiredAndARemovedOneGetTheSameAnswer() async throws {  // SEC-99
        try await RunningServer.with { server in
            _ = try await server.send(
                .post, "/v1/connections",
                body: ["id": "other", "name": "o", "oauth": Self.made["oauth"] ?? .null])
            let keys = try await keys(server)
            var answers: Set<String> = []
            for who in [Who.wrong, .expired, .removed] {
                answers.insert(try await server.send(.get, "/v1/connections", key: try #require(keys[who])).text)
            }
            #expect(answers.count == 1)
            for text in ["", " ", "Bearer", "Bearer ", "Basic YTpi", "bearer", server.adminKey, "Token " + server.adminKey, "Bearer " + server.adminKey + "x"] {
                let answer = try await server.send(.get, "/v1/keys", key: .none, headers: [.authorization: text])
                #expect(answer.isProblem("unauthenticated", 401), "\(text)")
            }
            // The scheme's name has no case. RFC 9110 §11.1
            #expect(try await server.send(.get, "/v1/keys", key: .none, headers: [.authorization: "bearer " + server.adminKey]).status == 200)
        }
    }

    @Test func limitedKeysSeeTheirOwnAndNothingElse() async throws {  // SEC-56
        try await RunningServer.with { server in
            for id in ["one", "two"] {
                let document: JSONValue = [
                    "id": .string(id), "name": .string(id),
                    "oauth": [
                        "grant_type": "authorization_code", "authorization_url": "https://as.example/authorize", "token_url": "https://as.example/token",
                        "client_id": "client",
                    ],
                ]
                #expect(try await server.send(.post, "/v1/connections", body: document).status == 201)
                for subject in ["a", "b"] {
                    _ = try await server.send(.put, "/v1/connections/\(id)/grants/\(subject)", body: ["access_token": .string("\(id)-\(subject)")])
                }
            }
            let mine = [("one", "a"), ("two", "b")]
            var keys: [String] = []
            for (id, subject) in mine {
                keys.append(
                    try await server.makeKey(["name": "k", "role": "use", "connections": [.string(id)], "subjects": [.string(subject)]]))
            }
            // Cold, and warmed by somebody who may see it all.
            for round in 0..<2 {
                for (key, own) in zip(keys, mine) {
                    for (id, subject) in [("one", "a"), ("one", "b"), ("two", "a"), ("two", "b")] {
                        let answer = try await server.send(.get, "/v1/connections/\(id)/token?subject=\(subject)", key: .other(key))
                        if own == (id, subject) {
                            #expect(answer["access_token"]?.string == "\(id)-\(subject)")
                        } else {
                            #expect(answer.isProblem("forbidden", 403), "\(round) \(own) \(id) \(subject): \(answer.text)")
                        }
                        if round == 0 { #expect(try await server.send(.get, "/v1/connections/\(id)/token?subject=\(subject)").status == 200) }
                    }
                    let grants = try await server.send(.get, "/v1/grants", key: .other(key))
                    #expect(grants.items("connection") == [own.0])
                    #expect(grants.items("subject") == [own.1])
                    #expect(try await server.send(.get, "/v1/connections", key: .other(key)).items("id") == [own.0])
                    let shared = try await server.send(.post, "/v1/connections/\(own.0)/connect", body: [:], key: .other(key))
                    #expect(shared.isProblem("forbidden", 403))
                }
            }
        }
    }

    @Test func aKeyBoundToAConnectionDoesNotCoverItsSuccessor() async throws {
        try await RunningServer.with { server in
            var document = Self.made.object ?? [:]
            document["id"] = "app"
            #expect(try await server.send(.post, "/v1/connections", body: .object(document)).status == 201)
            let key = try await server.makeKey(["name": "k", "role": "use", "connections": ["app"]])
            #expect(try await server.send(.get, "/v1/connections/app", key: .other(key)).status == 200)
            #expect(try await server.send(.delete, "/v1/connections/app").status == 204)
            #expect(try await server.send(.get, "/v1/connections/app", key: .other(key)).isProblem("not_found", 404))
            #expect(try await server.send(.post, "/v1/connections", body: .object(document)).status == 201)
            #expect(try await server.send(.get, "/v1/connections/app", key: .other(key)).isProblem("forbidden", 403))
        }
    }

    @Test func anAdminKeyWithLimitsCannotLeaveThem() async throws {
        try await RunningServer.with { server in
            for id in ["one", "two"] {
                var document = Self.made.object ?? [:]
                document["id"] = .string(id)
                #expect(try await server.send(.post, "/v1/connections", body: .object(document)).status == 201)
            }
            let key = RunningServer.Key.other(try await server.makeKey(["name": "k", "role": "admin", "connections": ["one"]]))
            #expect(try await server.send(.get, "/v1/connections/one", key: key).status == 200)
            #expect(try await server.send(.patch, "/v1/connections/one", body: ["name": "One"], key: key).status == 200)
            for (method, path, body) in [
                (HTTPRequest.Method.get, "/v1/connections/two", nil), (.patch, "/v1/connections/two", ["name": "x"]), (.delete, "/v1/connections/two", nil),
                (.put, "/v1/connections/two/grants/-", ["access_token": "a"]), (.get, "/v1/keys", nil), (.post, "/v1/keys", ["name": "x", "role": "admin"]),
                (.delete, "/v1/keys/key_x", nil), (.get, "/v1/vault", nil), (.post, "/v1/vault/rotate", nil), (.post, "/v1/vault/verify", nil),
                (.post, "/v1/connections", Self.made), (.post, "/v1/revocations", [:]),
                (.post, "/v1/revocations", ["connection": "two"]), (.post, "/v1/revocations", ["key": "key_x", "connection": "one"]),
                (.get, "/v1/revocations", nil),
            ] as [(HTTPRequest.Method, String, JSONValue?)] {
                let answer = try await server.send(method, path, body: body, key: key)
                #expect(answer.isProblem("forbidden", 403), "\(method) \(path): \(answer.text)")
            }
            #expect(try await server.send(.get, "/v1/connections/two").status == 200)
        }
    }

    @Test func aKeyHasItsRate() async throws {
        try await RunningServer.with { server in
            let slow = try await server.makeKey(["name": "slow", "role": "use", "requests_per_minute": 3])
            let other = try await server.makeKey(["name": "other", "role": "use", "requests_per_minute": 3])
            for _ in 0..<3 { #expect(try await server.send(.get, "/v1/connections", key: .other(slow)).status == 200) }
            let limited = try await server.send(.get, "/v1/connections", key: .other(slow))
            #expect(limited.isProblem("rate_limited", 429))
            #expect((1...60).contains(Int(limited.headers[.retryAfter] ?? "") ?? 0))
            #expect(try await server.send(.get, "/v1/connections", key: .other(other)).status == 200)
            #expect(try await server.send(.get, "/v1/connections").status == 200)
        }
    }

    @Test func aKeyEndsWhenItWasToldTo() async throws {  // SEC-106
        try await RunningServer.with { server in
            let key = try await server.makeKey(["name": "short", "role": "use", "expires_at": Self.soon(2)])
            #expect(try await server.send(.get, "/v1/connections", key: .other(key)).status == 200)
            var last = try await server.send(.get, "/v1/connections", key: .other(key))
            for _ in 0..<40 where last.status == 200 {
                try await Task.sleep(for: .milliseconds(100))
                last = try await server.send(.get, "/v1/connections", key: .other(key))
            }
            #expect(last.isProblem("unauthenticated", 401))
        }
    }

    @Test func aKeyIsShownOnceAndHasAPrefix() async throws {  // SEC-100, SEC-106
        try await RunningServer.with { server in
            let made = try await server.send(.post, "/v1/keys", body: ["name": "k", "role": "use"])
            let key = made.string("key")
            #expect(key.hasPrefix("gk_"))
            #expect(key.utf8.count >= 43)
            let list = try await server.send(.get, "/v1/keys")
            #expect(list.items("id").contains(made.string("id")))
            #expect(!list.text.contains(key))
            #expect(!list.text.contains(server.adminKey))
            #expect(server.adminKey.utf8.count >= 32)
        }
    }

    // MARK: Browsers

    @Test func theAPITakesNoCredentialThatABrowserSendsByItself() async throws {  // SEC-94, SEC-101
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            let server = stage.server
            let port = try EndpointURL(server.url).effectivePort
            let binding = "grantee-binding-\(port)=" + String(repeating: "A", count: 43)
            for cookie in [binding, "Authorization=Bearer \(server.adminKey)", "key=\(server.adminKey)"] {
                #expect(try await server.send(.get, "/v1/keys", key: .none, headers: [.cookie: cookie]).status == 401)
            }
            #expect(try await server.raw("GET", "/v1/keys?key=\(server.adminKey)").status == 401)

            let crossSite: HTTPFields = [.named("Sec-Fetch-Site"): "cross-site", .origin: "https://evil.example"]
            let reads = try await server.send(.get, "/v1/connections", headers: crossSite)
            #expect(reads.isProblem("forbidden", 403))
            let writes = try await server.send(.post, "/v1/keys", body: ["name": "k", "role": "admin"], headers: crossSite)
            #expect(writes.isProblem("forbidden", 403))
            #expect(try await server.send(.get, "/v1/keys").items("id") == ["key_admin"])
            #expect(try await server.send(.get, "/v1/connections", headers: [.named("Sec-Fetch-Site"): "same-origin"]).status == 200)

            // No preflight is answered, and no answer is for another origin to read.
            let preflight = try await server.send(
                .options, "/v1/connections", key: .none,
                headers: [.origin: "https://evil.example", .named("Access-Control-Request-Method"): "POST"])
            #expect(preflight.status == 405)
            let plain = try await server.send(.get, "/v1/connections", headers: [.origin: "https://evil.example"])
            for answer in [preflight, plain, reads] {
                #expect(!answer.headers.contains { $0.name.canonicalName.hasPrefix("access-control-") })
            }
        }
    }

    @Test func pagesAnswerAtTheirOwnHostOnly() async throws {  // SEC-108
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            let link = try await stage.begin("app")
            let server = stage.server
            let port = try EndpointURL(server.url).effectivePort
            let paths = [
                "/connect/\(link.ticket)", "/connect/\(link.ticket)/continue", "/connect/result/\(link.session)", "/oauth/callback/app?code=a&state=b",
            ]
            let foreign = [
                "evil.example", "evil.example:\(port)", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.evil.example:\(port)", "localhost",
                "127.0.0.1:\(port)@evil.example",
            ]
            for path in paths {
                for host in foreign {
                    let answer = try await server.raw("GET", path, host: host)
                    #expect(answer.status == 421, "\(host) \(path): \(answer.status)")
                    #expect(answer.field("Location") == nil)
                    #expect(answer.field("Set-Cookie") == nil)
                }
                for host in ["localhost:\(port)", "LOCALHOST:\(port)", "[::1]:\(port)"] {
                    let answer = try await server.raw("GET", path, host: host)
                    #expect(answer.status == 302, "\(host) \(path): \(answer.status)")
                    #expect(answer.field("Location") == server.url + path)
                    #expect(answer.field("Cache-Control") == "no-store")
                }
            }
            #expect(try await server.raw("POST", paths[0], host: "localhost:\(port)", body: "username=a&password=b").status == 421)
        }
    }

    @Test func forwardingFieldsAreIgnored() async throws {  // SEC-11, SEC-108
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            let server = stage.server
            let fields = [
                "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Port: 443", "X-Original-URL: /v1/keys",
                "X-Rewrite-URL: /v1/keys", "Forwarded: for=127.0.0.1;host=evil.example;proto=https", "X-Host: evil.example",
            ]
            let begun = try await server.raw(
                "POST", "/v1/connections/app/connect", host: "evil.example",
                fields: fields + ["Authorization: Bearer \(server.adminKey)", "Content-Type: application/json"], body: "{}")
            let link = try #require(begun.json["connect_url"]?.string)
            #expect(link.hasPrefix(server.url + "/connect/"))
            let ticket = try #require(link.split(separator: "/").last)
            let left = try await server.raw("GET", "/connect/\(ticket)/continue", fields: fields)
            #expect(left.status == 303)
            let sent = try parameters(of: try #require(left.field("Location")))
            #expect(sent["redirect_uri"] == server.url + "/oauth/callback/app")
            let show = try await server.raw("GET", "/v1/connections/app", host: "evil.example", fields: fields + ["Authorization: Bearer \(server.adminKey)"])
            #expect(show.json["callback_url"]?.string == server.url + "/oauth/callback/app")
            #expect(try await server.raw("GET", "/health/live", fields: fields).json["status"]?.string == "ok")
        }
    }

    // MARK: Without a key

    @Test func withoutAKeyThereIsWhatIsListedAndNothingElse() async throws {  // SEC-109
        try await RunningServer.with { server in
            for route in Routes.all {
                let path = filled(route.pattern)
                let answer = try await server.raw(route.method.rawValue, path, fields: ["User-Agent: kube-probe/1.30", "Content-Type: application/json"])
                let isOpen = Self.open.contains("\(route.method.rawValue) \(route.pattern)")
                #expect((answer.status == 401) == !isOpen, "\(route.method) \(path): \(answer.status)")
                for name in ["Server", "X-Powered-By", "Via"] { #expect(answer.field(name) == nil, "\(path)") }
            }
        }
    }

    @Test func metricsNeedAKeyWhereOthersCanReachThem() async throws {
        func exposed(_ configuration: inout ServerConfiguration) {
            configuration.host = "0.0.0.0"
            configuration.publicURL = "https://grantee.example"
        }
        try await RunningServer.with(exposed) { server in
            func status(_ key: String?) async throws -> Int {
                try await server.raw("GET", "/metrics", host: "grantee.example", fields: key.map { ["Authorization: Bearer \($0)"] } ?? []).status
            }
            let use = try await server.makeKey(["name": "k", "role": "use"])
            #expect(try await status(nil) == 401)
            #expect(try await status(use) == 403)
            #expect(try await status(server.adminKey) == 200)
        }
    }
}

import Egress
import Foundation
import HTTPTypes
import OAuth
import Server
import TestSupport
import Testing

/// What is Grantee's own answer: a problem that says so, and no request to the API.
@Suite(.timeLimit(.minutes(5))) struct GatewayRefusalTests {
    private func expect(
        _ answer: RawAnswer, _ code: String, _ status: Int, says words: String..., sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(answer.status == status, "\(answer.text)", sourceLocation: sourceLocation)
        #expect(answer.problem == code, "\(answer.text)", sourceLocation: sourceLocation)
        #expect(answer.json["type"]?.string == "urn:grantee:problem:" + code, sourceLocation: sourceLocation)
        #expect(answer.json["detail"]?.string?.isEmpty == false, sourceLocation: sourceLocation)
        for word in words { #expect(answer.text.contains(word), "\(answer.text)", sourceLocation: sourceLocation) }
    }

    // MARK: Who asks

    @Test func nobodyIsLetInWithoutAKey() async throws {
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            let keys = [
                "Authorization: Bearer wrong", "Authorization: Basic \(Data(stage.server.adminKey.utf8).base64EncodedString())",
                "Authorization: \(stage.server.adminKey)",
                "Cookie: grantee=\(stage.server.adminKey)", "Authorization: Bearer", "Grantee-Key: \(stage.server.adminKey)",
                "Authorization: Bearer  \(stage.server.adminKey)x",
            ]
            for field in keys {
                let answer = try await stage.ask("GET", "api/x", [field], key: "")
                expect(answer, "unauthenticated", 401)
                #expect(answer["WWW-Authenticate"] == "Bearer realm=\"grantee\"")
            }
            expect(try await stage.ask("GET", "api/x", key: ""), "unauthenticated", 401)
            // Nor is anybody told what there is.
            expect(try await stage.ask("GET", "nothing/x", key: ""), "unauthenticated", 401)
            expect(try await stage.ask("GET", "api/x?api_key=\(stage.server.adminKey)&access_token=\(stage.server.adminKey)", key: ""), "unauthenticated", 401)
            #expect(upstream.connectionCount == 0)
            #expect(!stage.server.log.text.contains(stage.server.adminKey))
        }
    }

    @Test func aKeyReachesWhatItCovers() async throws {
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            try await stage.add("other", at: upstream.url)
            let key = try await stage.key("use", ["connections": ["api"]])
            #expect(try await stage.ask("GET", "api/x", key: key).status == 200)
            expect(try await stage.ask("GET", "other/x", key: key), "forbidden", 403)
            expect(try await stage.ask("GET", "nothing/x"), "not_found", 404)
            for path in ["", "/", "/?x", "//x"] { #expect(try await (400..<500).contains(stage.ask("GET", "/gateway" + path).status)) }
            try await stage.addStale("code", at: upstream.url)
            let bound = try await stage.key("use", ["subjects": ["user-1"]])
            #expect(try await stage.ask("GET", "code/x", ["Grantee-Subject: user-1"], key: bound).status == 200)
            expect(try await stage.ask("GET", "code/x", ["Grantee-Subject: user-2"], key: bound), "forbidden", 403)
            expect(try await stage.ask("GET", "code/x", key: bound), "forbidden", 403)
            expect(try await stage.ask("GET", "api/x", key: bound), "forbidden", 403)
            // Client credentials have the shared grant alone.
            expect(try await stage.ask("GET", "api/x", ["Grantee-Subject: user-1"]), "invalid_request", 400)
            #expect(upstream.requests.count == 2)
        }
    }

    @Test func aKeyHasItsRate() async throws {
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            let key = try await stage.key("use", ["requests_per_minute": 2])
            for _ in 0..<2 { #expect(try await stage.ask("GET", "api/x", key: key).status == 200) }
            let answer = try await stage.ask("GET", "api/x", key: key)
            expect(answer, "rate_limited", 429)
            let wait = try #require(answer["Retry-After"].flatMap { Int($0) })
            #expect((1...60).contains(wait))
            // The rate is the key's, on every face.
            #expect(try await stage.server.send(.get, "/v1/presets", key: .other(key)).status == 429)
            #expect(try await stage.ask("GET", "api/x").status == 200)
            #expect(upstream.requests.count == 3)
        }
    }

    @Test func aKeyThatIsRemovedIsRefusedOnTheConnectionsThatItOpened() async throws {  // SEC-93
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            let made = try await stage.server.send(.post, "/v1/keys", body: ["name": "short", "role": "use"])
            let key = try #require(made["key"]?.string)
            let id = try #require(made["id"]?.string)
            let request = stage.head("GET", "api/x", key: key)
            let (count, removed) = (100, Signal())
            let arrived = Counter()
            let statuses = try await withThrowingTaskGroup(of: [Int].self) { group in
                for _ in 0..<count {
                    group.addTask {
                        try await stage.client { client in
                            await client.send(request)
                            let first = try await client.answer().status
                            arrived.add()
                            await removed.wait()
                            await client.send(request)
                            return [first, try await client.answer().status]
                        }
                    }
                }
                group.addTask {
                    try await eventually("all have been answered once") { arrived.value == count }
                    #expect(try await stage.server.send(.delete, "/v1/keys/" + id).status == 204)
                    removed.give()
                    return []
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(statuses.filter { !$0.isEmpty } == Array(repeating: [200, 401], count: count))
            #expect(upstream.requests.count == count)
        }
    }

    // MARK: Browsers

    @Test func noPageOfAnotherSiteCallsAnAPI() async throws {  // SEC-94
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            expect(try await stage.ask("GET", "api/x", ["Sec-Fetch-Site: cross-site"]), "forbidden", 403)
            expect(try await stage.ask("POST", "api/x", ["Sec-Fetch-Site: cross-site"], body: "x"), "forbidden", 403)
            expect(try await stage.ask("GET", "api/x", ["Sec-Fetch-Site: cross-site", "Cookie: grantee-console=1"], key: ""), "forbidden", 403)
            let preflight = try await stage.ask(
                "OPTIONS", "api/x", ["Origin: https://evil.example", "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: authorization"],
                key: "")
            expect(preflight, "unauthenticated", 401)
            #expect(!preflight.head.fields.contains { $0.name.lowercased().hasPrefix("access-control-") })
            #expect(upstream.connectionCount == 0)
            // An API's own word on other origins is none on Grantee's.
            let answer = try await stage.ask("GET", "api/x", ["Origin: https://evil.example"])
            #expect(answer.status == 200)
            #expect(!answer.head.fields.contains { $0.name.lowercased().hasPrefix("access-control-") })
        }
    }

    // MARK: Connections that cannot serve

    @Test func aConnectionWithoutAURLOrARuleIsMisconfigured() async throws {
        try await Stage.with(upstream: .success, ["authentication_instructions": "Ask the people of this API how it is done."]) {
            stage, upstream async throws in
            expect(try await stage.ask("GET", "api/x"), "misconfigured", 409)
            try await stage.add(stage.provider.connection("nowhere", "client_credentials", client: "machine", secret: "machine-secret"), at: nil, [:])
            expect(try await stage.ask("GET", "nowhere/x"), "misconfigured", 409, says: "base_url")
            #expect(upstream.connectionCount == 0)
            #expect(try await stage.provider.tokenRequests("machine").isEmpty)
        }
    }

    @Test func aGrantThatIsNotThereIsAskedForOfAPerson() async throws {
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            try await stage.add(stage.provider.connection("code", "authorization_code"), at: upstream.url, [:])
            expect(try await stage.ask("GET", "code/x"), "not_connected", 409, says: "/v1/connections/code/connect")
            expect(try await stage.ask("GET", "code/x", ["Grantee-Subject: user-1"]), "not_connected", 409, says: "user-1")
            try await stage.grant("code", ["access_token": "old", "expires_in": 0])
            expect(try await stage.ask("GET", "code/x", ["Grantee-Subject: user-1"]), "reauthorization_required", 409, says: "connect")
            try await stage.grant("code", ["access_token": "new", "expires_in": 3600])
            #expect(try await stage.ask("GET", "code/x", ["Grantee-Subject: user-1"]).status == 200)
            #expect(try await stage.server.send(.delete, "/v1/connections/code/grants/user-1").status == 200)
            expect(try await stage.ask("GET", "code/x", ["Grantee-Subject: user-1"]), "not_connected", 409)
            #expect(upstream.requests.count == 1)
        }
    }

    @Test func aProviderThatRefusesIsNamed() async throws {
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            try await stage.provider.client(["id": "machine", "faults": [["fault": "error", "value": "invalid_client"]]])
            expect(try await stage.ask("GET", "api/x"), "provider_error", 502, says: "invalid_client")
            expect(try await stage.ask("GET", "api/x"), "misconfigured", 409)
            #expect(upstream.connectionCount == 0)
        }
    }

    @Test func anotherHostGetsNoTokenUntilSomebodyConnectsAgain() async throws {  // SEC-37
        try await RawUpstream.with(.success) { collector in
            try await Stage.with(upstream: .success) { stage, upstream async throws in
                try await stage.addStale("code", at: upstream.url)
                let subject = ["Grantee-Subject: user-1"]
                #expect(try await stage.ask("GET", "code/x", subject).status == 200)
                func move(to url: String) async throws {
                    #expect(try await stage.server.send(.patch, "/v1/connections/code", body: ["base_url": .string(url)]).status == 200)
                }
                try await move(to: "http://localhost:\(collector.port)")
                expect(try await stage.ask("GET", "code/x", subject), "reauthorization_required", 409)
                #expect(collector.connectionCount == 0)
                try await move(to: upstream.url)
                expect(try await stage.ask("GET", "code/x", subject), "reauthorization_required", 409)
                #expect(upstream.requests.count == 1)
                #expect(try await stage.provider.tokenRequests("conf", "refresh_token").isEmpty)
            }
        }
    }

    // MARK: Where requests may not go

    @Test func aHostThatMayNotBeReachedIsNot() async throws {  // SEC-69, SEC-70, SEC-76
        let directory = FileManager.default.temporaryDirectory.appending(path: "gateway-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try await RawUpstream.with(.success) { upstream in
            try await RunningProvider.with { provider in
                // While loopback may be reached, each gets its token.
                try await RunningServer.with(directory: directory) { server in
                    let stage = Stage(server: server, provider: provider)
                    try await stage.add("literal", at: upstream.url)
                    try await stage.add("name", at: "http://localhost:\(upstream.port)")
                    try await stage.add("closed", at: RawUpstream.nobody)
                    for id in ["literal", "name", "closed"] { _ = try await stage.token(id) }
                }
                try await RunningServer.with(directory: directory, { $0.egressAllow = ["10.9.0.0/16"].compactMap { Egress.CIDR($0) } }) { server in
                    let stage = Stage(server: server, provider: provider)
                    var problems: [String] = []
                    for id in ["literal", "name", "closed"] {
                        let answer = try await stage.ask("GET", id + "/x")
                        expect(answer, "egress_blocked", 422, says: "--egress-allow")
                        problems.append(answer.text.replacing(id, with: "ID"))
                        #expect(!answer.text.contains("127.0.0.1"))
                    }
                    #expect(problems[0] == problems[2])
                }
            }
            #expect(upstream.connectionCount == 0)
        }
    }

    @Test func ourselvesAreNoAPI() async throws {  // SEC-70
        try await Stage.with { stage async throws in
            // Refused when it is saved, or when it is called.
            var document = stage.provider.connection("api", "client_credentials", client: "machine", secret: "machine-secret").object ?? JSONObject()
            document["base_url"] = .string(stage.server.url)
            let made = try await stage.server.send(.post, "/v1/connections", body: .object(document))
            guard made.status == 201 else { return #expect(made.code == "egress_blocked") }
            expect(try await stage.ask("GET", "api/health/live"), "egress_blocked", 422)
        }
    }

    @Test func anAPIThatIsNotThereIsUnreachable() async throws {
        try await Stage.with { stage async throws in
            try await stage.add("api", at: RawUpstream.nobody)
            for _ in 0..<3 { expect(try await stage.ask("POST", "api/x", body: "x"), "provider_unreachable", 504) }
            try await stage.add("nameless", at: "http://no-such-host.invalid")
            expect(try await stage.ask("GET", "nameless/x"), "provider_unreachable", 504)
        }
    }

    @Test func aCertificateThatNobodyVouchesForIsNotTrusted() async throws {  // SEC-73
        try await Nginx.with { nginx in
            try await Stage.with { stage async throws in
                for (id, url) in [("http1", nginx.secureHTTP1URL), ("http2", nginx.secureURL), ("plain", nginx.url.replacing("http:", with: "https:"))] {
                    try await stage.add(id, at: url)
                    expect(try await stage.ask("GET", id + "/hello"), "provider_unreachable", 504)
                }
            }
            // A name that the certificate does not have.
            try await Stage.with({ $0.caFile = nginx.caFile }) { stage async throws in
                try await stage.add("api", at: nginx.secureURL.replacing("127.0.0.1", with: "localhost"))
                #expect(try await stage.ask("GET", "api/hello").problem == "provider_unreachable")
            }
            #expect(try nginx.calls().filter { $0.target == "/hello" }.isEmpty)
        }
    }

    // MARK: Methods and upgrades

    @Test func tunnelsTracesAndUpgradesAreRefused() async throws {  // SEC-89
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            expect(try await stage.ask("TRACE", "api/x"), "method_not_allowed", 405)
            for head in [
                stage.head("CONNECT", "api/x"), stage.head("CONNECT", "api.example:443"), "CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n\r\n",
            ] {
                let text = try await stage.client { client in
                    await client.send(head)
                    do { return "\(try await client.answer().status)" } catch is RawClient.Ended { return "4" }
                }
                #expect(text.hasPrefix("4"), "\(head) \(text)")
            }
            let webSocket = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"]
            let answer = try await stage.ask("GET", "api/x", webSocket)
            #expect((400..<500).contains(answer.status))
            #expect(answer.problem != nil, "\(answer.text)")
            #expect(upstream.connectionCount == 0)
            // What curl says by itself is an offer that need not be taken up. RFC 9110 §7.8.
            let offer = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"]
            #expect(try await stage.ask("GET", "api/x", offer).status == 200)
            #expect(upstream.requests.map(\.names) == [["authorization", "host"]])
        }
    }

    @Test(arguments: ["get", "Get", "BREW", "G ET", "GET\u{0}", "G\u{E9}T", "CONNECT", "TRACE", "trace"])
    func anUnknownMethodIsRefused(method: String) async throws {  // SEC-89
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            let text = try await stage.client { client in
                await client.send(stage.head(method, "api/x", ["Connection: close"]))
                return await client.rest().text
            }
            #expect(text.isEmpty || text.hasPrefix("HTTP/1.1 4"), "\(text)")
            #expect(upstream.requests.isEmpty)
        }
    }

    // MARK: Agents

    @Test func anAgentMayDoNothingUntilSomebodySaysWhat() async throws {  // SEC-131
        try await Stage.with(upstream: .success) { stage, upstream async throws in
            let key = try await stage.key("agent")
            expect(try await stage.ask("GET", "api/x", key: key), "forbidden", 403, says: "agent_access")
            try await stage.add("empty", at: upstream.url, ["agent_access": ["enabled": true]])
            expect(try await stage.ask("GET", "empty/x", key: key), "forbidden", 403, says: "agent_access")
            expect(try await stage.ask("GET", "nothing/x", key: key), "not_found", 404)
            #expect(upstream.connectionCount == 0)
            // And never a token.
            #expect(try await stage.server.send(.get, "/v1/connections/api/token", key: .other(key)).code == "forbidden")
        }
    }

    @Test func anAgentMayDoWhatTheListsName() async throws {  // SEC-89, SEC-90, SEC-131
        let access: JSONObject = [
            "agent_access": ["enabled": true, "methods": ["GET", "POST"], "paths": ["/items", "/items/*", "/docs/**"], "headers": ["X-Trace"]]
        ]
        try await Stage.with(upstream: .success, access) { stage, upstream async throws in
            let key = try await stage.key("agent")
            for (method, path) in [("GET", "/items"), ("POST", "/items"), ("GET", "/items/1?x=1"), ("GET", "/docs/a/b/c")] {
                #expect(try await stage.ask(method, "api" + path, ["X-Trace: 1", "Accept: */*", "User-Agent: agent/1"], key: key).status == 200)
            }
            #expect(upstream.requests.map(\.target) == ["/base/items", "/base/items", "/base/items/1?x=1", "/base/docs/a/b/c"])
            #expect(upstream.requests.allSatisfy { $0["X-Trace"] == "1" })
            let denied: [(String, String, [String], [String])] = [
                ("DELETE", "/items/1", [], ["DELETE", "agent_access"]), ("HEAD", "/other", [], ["agent_access"]),
                ("GET", "/other", [], ["agent_access"]),
                ("GET", "/items/1/2", [], ["agent_access"]), ("GET", "/items/", [], ["agent_access"]), ("GET", "/ITEMS", [], ["agent_access"]),
                ("GET", "/items/1", ["X-Other: 1"], ["X-Other", "agent_access"]), ("GET", "", [], ["agent_access"]), ("GET", "/", [], ["agent_access"]),
            ]
            for (method, path, fields, words) in denied {
                let answer = try await stage.ask(method, "api" + path, fields, key: key)
                #expect(answer.status == 403, "\(method) \(path)")
                if method != "HEAD" {
                    #expect(answer.problem == "forbidden", "\(method) \(path) \(answer.text)")
                    for word in words { #expect(answer.text.contains(word), "\(method) \(path) \(answer.text)") }
                }
            }
            // What is judged is what is sent: nothing that only looks allowed gets through.
            for path in [
                "/docs/../other", "/docs/%2e%2e/other", "/items/..%2f..%2fother", "/docs/..;/other", "//items", "/items/%2e%2e%2fother", "/docs\\..\\other",
            ] {
                #expect(try await (400..<404).contains(stage.ask("GET", "api" + path, key: key).status), "\(path)")
            }
            _ = try await stage.ask("GET", "api/items", ["X-HTTP-Method-Override: DELETE", "X-Forwarded-Host: evil.example", "Cookie: a=b"], key: key)
            #expect(upstream.requests.count <= 5)
            #expect(!upstream.received.joined().contains("DELETE"))
            #expect(!upstream.received.joined().contains("other"))
        }
    }
}

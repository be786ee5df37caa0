import Foundation
import GRDB
import HTTPTypes
import OAuth
import RehearsalProvider
import Server
import TestSupport
import Testing

extension HTTPField.Name {
    static let requestID = HTTPField.Name("Request-Id")!
}

extension RunningServer {
    /// A second hand on the database: what an intruder, or a broken disk, can do to it.
    func tamper(_ sql: String) async throws {
        var configuration = Configuration()
        configuration.busyMode = .timeout(5)
        let queue = try DatabaseQueue(path: directory + "/grantee.sqlite", configuration: configuration)
        try await queue.write { try $0.execute(sql: sql) }
        try queue.close()
    }

    fileprivate func activity(_ action: String) async throws -> [JSONValue] {
        (try await send(.get, "/v1/activity?limit=200")["items"]?.array ?? []).filter { $0["action"]?.string == action }
    }
}

extension StringProtocol {
    /// Holds what could end a line, or move a cursor.
    fileprivate var isHostile: Bool { unicodeScalars.contains { $0.isHostile } }
}

extension Unicode.Scalar {
    fileprivate var isHostile: Bool { [.control, .format, .lineSeparator, .paragraphSeparator].contains(properties.generalCategory) }
}

@Suite("Request ids (SEC-112)") struct RequestIDTests {
    @Test func everyAnswerHasOneOfOurOwn() async throws {
        try await RunningServer.with { server in
            let asked: [(HTTPRequest.Method, String, RunningServer.Key)] = [
                (.get, "/", .none), (.get, "/health/live", .none), (.head, "/oauth/callback/x", .none), (.get, "/oauth/callback/x", .none),
                (.get, "/connect/unknown", .none), (.get, "/openapi.json", .none), (.get, "/metrics", .none), (.get, "/v1/keys", .admin),
                (.get, "/v1/keys", .none), (.get, "/v1/keys", .other("wrong")), (.get, "/nothing/here", .none), (.post, "/health/live", .none),
                (.get, "/v1/connections/none", .admin), (.get, "/v1/connections/none/token", .admin), (.get, "/v1/connections/none/token", .none),
                (.get, "/v1/connections/none/token?min_ttl=x", .admin), (.post, "/v1/keys", .admin),
            ]
            var seen: Set<String> = []
            for (method, path, key) in asked {
                let answer = try await server.send(method, path, key: key, headers: [.requestID: "mine-123"])
                let id = try #require(answer.headers[.requestID], "\(method) \(path)")
                #expect(id.utf8.count == 16, "\(method) \(path)")
                #expect(seen.insert(id).inserted)
            }
            #expect(!server.log.text.contains("mine-123"))
        }
    }

    @Test func aTokenFromMemoryGoesWithoutOne() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("machine", "client_credentials", client: "machine", secret: "machine-secret"))
            let fetched = try await stage.token("machine")
            #expect(fetched.headers[.requestID] != nil)
            let hit = try await stage.token("machine")
            #expect(hit.status == 200)
            #expect(hit.headers[.requestID] == nil)
            #expect(hit["access_token"] == fetched["access_token"])
            // Whose request it was that fetched.
            let created = try await stage.server.activity("grant.created")
            #expect(created.map { $0["request_id"]?.string } == [fetched.headers[.requestID]])
            #expect(created.map { $0["key"]?.string } == ["key_admin"])
        }
    }

    @Test func whatARequestDidIsFoundByIt() async throws {
        try await Stage.with { stage in
            let server = stage.server
            let made = try await stage.add(stage.provider.connection("app", "authorization_code"))
            try await stage.connect("app", ["subject": "user-1"])
            let refreshed = try await stage.refresh("app", "user-1")
            let revoked = try await stage.revoke("app", "user-1")
            for (action, answer) in [("connection.created", made), ("grant.refreshed", refreshed), ("grant.revoked", revoked)] {
                let entries = try await server.activity(action)
                #expect(entries.map { $0["request_id"]?.string } == [answer.headers[.requestID]], "\(action)")
            }
            // A browser's request has one too, and no key.
            let connected = try await server.activity("connect.connected")
            #expect(connected.count == 1)
            #expect(connected.first?["request_id"]?.string?.utf8.count == 16)
            #expect(connected.first?["key"]?.isNull == true)
        }
    }

    @Test func theUseOfAnEgressExceptionIsWritten() async throws {  // SEC-71
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("machine", "client_credentials", client: "machine", secret: "machine-secret"))
            _ = try await stage.token("machine")
            let used = try await stage.server.activity("egress.exception")
            #expect(used.map { $0["detail"]?.string } == [try EndpointURL(stage.provider.url).authority])
            #expect(used.map { $0["key"]?.string } == ["key_admin"])
        }
    }

    @Test func refusalsAreLoggedByItAndCounted() async throws {
        try await RunningServer.with { server in
            let agent = try await server.send(.post, "/v1/keys", body: ["name": "agent", "role": "agent"])
            let slow = try await server.send(.post, "/v1/keys", body: ["name": "slow", "role": "use", "requests_per_minute": 1])
            var answers: [RunningServer.Answer] = []
            for _ in 0..<3 { answers.append(try await server.send(.get, "/v1/keys", key: .other("gk_wrong"))) }
            answers.append(try await server.send(.delete, "/v1/keys/key_x", key: .other(agent.string("key"))))
            for _ in 0..<3 { answers.append(try await server.send(.get, "/v1/presets", key: .other(slow.string("key")))) }
            for answer in answers where answer.status >= 400 {
                let id = try #require(answer.headers[.requestID])
                let lines = server.log.text.split(separator: "\n").filter { $0.hasPrefix("notice refused ") && $0.contains("request_id=\(id)") }
                #expect(lines.count == 1)
            }
            let refused = try await server.activity("request.refused")
            func count(_ result: String, _ key: String?, _ route: String) -> Int {
                refused.filter { $0["result"]?.string == result && $0["key"]?.string == key && $0["detail"]?.string == route }
                    .reduce(0) { $0 + ($1["count"]?.integer ?? 0) }
            }
            #expect(count("unauthenticated", nil, "/v1/keys") == 3)
            #expect(count("forbidden", agent.string("id"), "/v1/keys/{id}") == 1)
            #expect(count("rate_limited", slow.string("id"), "/v1/presets") == 2)
        }
    }
}

@Suite struct DamageTests {
    @Test(
        "What nobody expected is answered with a reference and nothing else (SEC-116)",
        arguments: [
            ("UPDATE connection SET settings = '{\"a\":'", "/v1/connections"), ("UPDATE connection SET health = 'odd'", "/v1/connections"),
            ("UPDATE connection SET client_secret = zeroblob(80)", "/v1/connections/machine/token"),
            ("UPDATE \"grant\" SET access_token = zeroblob(80)", "/v1/connections/app/token?subject=user-1"),
            ("UPDATE \"grant\" SET state = 'odd'", "/v1/connections/app/grants"), ("UPDATE api_key SET role = 'odd'", "/v1/keys"),
        ])
    func damage(sql: String, path: String) async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("machine", "client_credentials", client: "machine", secret: "machine-secret"))
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            try await stage.put("app", "user-1", ["access_token": "a"])
            try await stage.server.tamper(sql)
            let answer = try await stage.server.send(.get, path)
            #expect(answer.isProblem("internal", 500), "\(answer.text)")
            let id = try #require(answer.headers[.requestID])
            #expect(answer["detail"]?.string == "something went wrong here; the log has the details under \(id)")
            #expect(answer.json.object?.members.map(\.name).sorted() == ["code", "detail", "status", "title", "type"])
            #expect(stage.server.log.text.split(separator: "\n").contains { $0.hasPrefix("error internal error") && $0.contains("request_id=\(id)") })
        }
    }

    @Test func oneEventIsOneLineWhateverIsSent() async throws {  // SEC-113
        try await Stage.with { stage in
            let server = stage.server
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            let payloads = [
                "\r\nerror forged key=value", "\u{1B}[2J\u{1B}[31m", "\n{\"level\":\"error\"}", "\u{2028}\u{85}\u{202E}", "a=b \"c\" level=critical",
            ]
            for payload in payloads {
                let encoded = Form.encode(payload).replacing("+", with: "%20")
                for path in [
                    "/v1/connections/\(encoded)", "/v1/connections/app/token?subject=\(encoded)", "/v1/connections/app/grants/\(encoded)", "/\(encoded)",
                    "/connect/\(encoded)", "/oauth/callback/\(encoded)?code=\(encoded)&state=\(encoded)", "/oauth/callback/app?error=\(encoded)&state=x",
                ] {
                    _ = try await server.send(.get, path)
                    _ = try await server.send(.get, path, key: .other("gk_wrong"))
                    _ = try await server.raw(
                        "GET", path, fields: ["User-Agent: \(payload.filter { $0 != "\r\n" && $0 != "\n" })", "X-Forwarded-For: \(encoded)"])
                }
                _ = try await server.send(.post, "/v1/connections/app/connect", body: ["subject": .string(payload)])
                _ = try await server.send(.post, "/v1/keys", body: ["name": .string(payload), "role": "use"])
                try await stage.faults("conf", ["fault": "error", "value": .string(payload), "on": "authorization_code", "times": 1])
                _ = try await Visitor().connect(try await stage.begin("app", ["subject": "user-1"]).url)
            }
            let levels = ["trace ", "debug ", "info ", "notice ", "warning ", "error ", "critical "]
            for line in server.log.text.split(separator: "\n", omittingEmptySubsequences: false) {
                #expect(levels.contains { line.hasPrefix($0) }, "\(line)")
                #expect(!line.isHostile, "\(line)")
                #expect(!line.contains("forged"))
            }
            let items = try await server.send(.get, "/v1/activity?limit=200")["items"]?.array ?? []
            #expect(items.count > 10)
            for member in items.flatMap({ $0.object?.members ?? [] }) {
                #expect(member.value.string?.isHostile != true, "\(member)")
                #expect(member.value.string?.contains("forged") != true, "\(member)")
            }
        }
    }

    @Test func withoutARecordNothingIsGivenOut() async throws {  // SEC-115
        try await Stage.with { stage in
            let server = stage.server
            try await stage.add(stage.provider.connection("machine", "client_credentials", client: "machine", secret: "machine-secret"))
            var given = 0
            func status(until wanted: Int) async throws -> Duration {
                let started = ContinuousClock.now
                while ContinuousClock.now - started < .seconds(20) {
                    let answer = try await stage.token("machine")
                    if answer.status == 200 { given += 1 }
                    if answer.status == wanted {
                        if wanted != 200 { #expect(answer.isProblem("unavailable", wanted)) }
                        return ContinuousClock.now - started
                    }
                    try await Task.sleep(for: .milliseconds(20))
                }
                Issue.record("\(wanted) never came")
                return .seconds(20)
            }
            _ = try await status(until: 200)
            try await server.tamper("CREATE TRIGGER no_more BEFORE INSERT ON activity BEGIN SELECT RAISE(ABORT, 'no'); END")
            // Within a second, and what a busy machine takes.
            _ = try await status(until: 503)
            let ready = try await server.send(.get, "/health/ready", key: .none)
            #expect(ready.status == 503 && ready["not_ready"]?.array?.compactMap(\.string) == ["recording"], "\(ready.text)")
            let requests = try await stage.provider.tokenRequests("machine").count
            for _ in 0..<5 { #expect(try await stage.token("machine", "force_refresh=true").status == 503) }
            #expect(try await stage.provider.tokenRequests("machine").count == requests)
            try await server.tamper("DROP TRIGGER no_more")
            #expect(try await status(until: 200) < .seconds(3))
            let reads = try await server.activity("token.read").reduce(0) { $0 + ($1["count"]?.integer ?? 0) }
            #expect(reads == given)
            let audit = try await ActivityAudit(ServerConfiguration(dataDirectory: server.directory))
            #expect(audit.isWhole)
        }
    }

    /// Nor does a request leave for an API, by the gateway or by MCP.
    @Test func withoutARecordNoRequestReachesAnAPI() async throws {  // SEC-115
        try await RawUpstream.with(.success) { upstream in
            try await Stage.with { stage async throws in
                let server = stage.server
                var document = MCPTests.open(stage.provider.connection("api", "client_credentials", client: "machine", secret: "machine-secret")).object ?? [:]
                document["base_url"] = .string(upstream.url)
                try await stage.add(.object(document))
                let agent = RunningServer.Key.other(try await server.makeKey(["name": "agent", "role": "agent"]))
                let call: JSONObject = ["connection": "api", "method": "GET", "path": "/x"]
                func status() async throws -> Int { try await server.send(.get, "/gateway/api/x").status }
                #expect(try await status() == 200)
                #expect(try await MCPTests.Client(server: server, key: agent).call("call_api", call)["status"]?.integer == 200)
                try await server.tamper("CREATE TRIGGER no_more BEFORE INSERT ON activity BEGIN SELECT RAISE(ABORT, 'no'); END")
                // Within a second, and what a busy machine takes.
                let began = ContinuousClock.now
                try await eventually("calls stop") { try await status() == 503 }
                #expect(ContinuousClock.now - began < .seconds(5))
                let sent = upstream.requests.count
                for _ in 0..<5 {
                    let refused = try await server.send(.get, "/gateway/api/x")
                    #expect(refused.isProblem("unavailable", 503), "\(refused.text)")
                    #expect(refused.headers[.retryAfter] != nil)
                    #expect(try await MCPTests.Client(server: server, key: agent).call("call_api", call).code == "unavailable")
                }
                #expect(upstream.requests.count == sent)
                try await server.tamper("DROP TRIGGER no_more")
                try await eventually("calls go again") { try await status() == 200 }
                // What the API saw is in the log, call for call.
                let recorded = try await server.activity("api.called").reduce(0) { $0 + ($1["count"]?.integer ?? 0) }
                #expect(recorded == upstream.requests.count)
                #expect(try await ActivityAudit(ServerConfiguration(dataDirectory: server.directory)).isWhole)
            }
        }
    }
}

@Suite("Verifying the activity log offline (SEC-114)") struct ActivityAuditTests {
    private func audit(_ server: RunningServer, anchors: [ActivityAudit.Anchor] = []) async throws -> ActivityAudit {
        _ = try await server.send(.get, "/v1/activity")
        return try await ActivityAudit(ServerConfiguration(dataDirectory: server.directory), anchors: anchors)
    }

    @Test func itReadsBesideARunningServerAndNamesTheFirstWrongEntry() async throws {
        try await RunningServer.with { server in
            for index in 0..<5 { _ = try await server.makeKey(["name": .string("k\(index)"), "role": "use"]) }
            let whole = try await audit(server)
            #expect(whole.isWhole)
            #expect(whole.chains.map(\.node) == ["main"])
            #expect(whole.chains.first?.entries == 6)
            #expect((whole.unlinked, whole.added) == (0, 0))
            try await server.tamper("UPDATE activity SET detail = 'another' WHERE sequence = 4")
            let broken = try await audit(server)
            #expect(!broken.isWhole)
            #expect(broken.chains.first?.broken?.kind == "altered")
            #expect(broken.chains.first?.broken?.sequence == 4)
            try await server.tamper("DELETE FROM activity WHERE sequence = 3")
            #expect(try await audit(server).chains.first?.broken?.words == "entry 3 is missing")
        }
    }

    @Test func whatSomebodyPutInPastTheChainIsCounted() async throws {
        try await RunningServer.with { server in
            try await server.tamper("INSERT INTO activity (uid, at, action, result, count) VALUES ('u', 1, 'x', 'ok', 1)")
            let audit = try await audit(server)
            #expect(audit.chains.allSatisfy { $0.broken == nil })
            #expect(audit.added == 1)
            #expect(!audit.isWhole)
        }
    }

    @Test func itNeedsTheMasterKeyAndChangesNothing() async throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "audit-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try await RunningServer.with(directory: directory) { server async throws in _ = try await server.makeKey(["name": "k", "role": "use"]) }
        let before = try Data(contentsOf: URL(filePath: directory + "/grantee.sqlite"))
        let audit = try await ActivityAudit(ServerConfiguration(dataDirectory: directory))
        // The shutdown wrote the last entry and signed it.
        #expect(audit.isWhole)
        #expect((audit.chains.first?.entries, audit.chains.first?.anchors) == (3, 1))
        var other = ServerConfiguration(dataDirectory: directory)
        other.masterKeys = "k1:" + Base64URL.encode(Entropy.system.bytes(32))
        let error = await #expect(throws: StartError.self) { _ = try await ActivityAudit(other) }
        #expect(error?.message.contains("another master key") == true)
        #expect(try Data(contentsOf: URL(filePath: directory + "/grantee.sqlite")) == before)
        let nowhere = await #expect(throws: StartError.self) { _ = try await ActivityAudit(ServerConfiguration(dataDirectory: directory + "/none")) }
        #expect(nowhere?.message.hasPrefix("there is no database") == true)
        // A server starts on it as if nothing had been.
        try await RunningServer.with(directory: directory) { server async throws in
            #expect(try await server.send(.get, "/v1/keys").status == 200)
        }
    }
}

import HTTPTypes
import OAuth
import TestSupport
import Testing

@testable import Server

/// Where secrets come out: tokens of one route alone, and secrets nowhere.
@Suite struct DisclosureTests {
    /// A caller, and which tokens of the grant it may be given.
    private static let callers: [(name: String, document: JSONValue?, getsToken: Bool)] = [
        ("nobody", nil, false), ("agent", ["name": "agent", "role": "agent"], false),
        ("elsewhere", ["name": "elsewhere", "role": "use", "connections": ["other"]], false),
        ("stranger", ["name": "stranger", "role": "use", "subjects": ["user-2"]], false), ("use", ["name": "use", "role": "use"], true),
        ("admin", ["name": "admin", "role": "admin"], true),
    ]

    private static let bodies: [String: JSONValue] = [
        "POST /v1/connections": [
            "name": "Made",
            "oauth": ["grant_type": "client_credentials", "token_url": "https://as.example/token", "client_id": "client", "client_secret": "s"],
        ],
        "PATCH /v1/connections/{id}": ["name": "App"], "POST /v1/connections/{id}/connect": ["subject": "user-1"],
        "POST /v1/connect-sessions/{session}/complete": ["subject": "user-1"], "POST /v1/vault/rotate": ["data_keys": true],
        "POST /v1/keys": ["name": "k", "role": "use"], "POST /v1/webhooks": ["url": "https://app.example/hook", "events": ["grant.expiring"]],
        "POST /v1/webhooks/{id}/replay": [:], "POST /v1/revocations": ["subject": "user-7"],
        "POST /mcp": ["jsonrpc": "2.0", "id": 1, "method": "tools/list"],
    ]

    /// Those that read come first, and last what takes the connection away.
    private static let routes: [RouteTable.Route] = {
        func rank(_ route: RouteTable.Route) -> Int {
            if route.method == .get || route.method == .head { return 0 }
            if route.method != .delete { return 1 }
            return route.pattern == "/v1/connections/{id}" ? 3 : 2
        }
        return (0...3).flatMap { wanted in Routes.all.filter { rank($0) == wanted } }
    }()

    @Test func secretsComeOutOfNoRouteAndTokensOutOfOne() async throws {  // SEC-52, SEC-110, SEC-127
        let secret = SecrecyTests.Marker("client secret")
        let access = SecrecyTests.Marker("access token")
        let refresh = SecrecyTests.Marker("refresh token")
        let said = SecrecyTests.Marker("what the provider said")
        // An API that says back what it was sent.
        let echo = RawUpstream.Script.answering { request in
            [.send(RawUpstream.answer("200 OK", ["X-Echo: \(request["Authorization"] ?? "")"], body: request.lines.joined(separator: "\n")))]
        }
        try await RawUpstream.with(echo) { upstream in
            try await Stage.with { stage async throws in
                let server = stage.server
                try await stage.provider.client(["id": "marked", "secret": .string(secret.text)])
                for id in ["app", "other"] {
                    var document = stage.provider.connection(id, "authorization_code", client: "marked", secret: secret.text).object ?? [:]
                    document["base_url"] = .string(upstream.url)
                    document["return_origins"] = ["https://app.example"]
                    document["agent_access"] = ["enabled": true, "methods": ["GET"], "paths": ["/**"]]
                    try await stage.add(.object(document))
                }
                try await stage.put("app", "user-1", ["access_token": .string(access.text), "refresh_token": .string(refresh.text), "expires_in": 3600])
                let refusal = #"{"error":"temporarily_unavailable","error_description":"\#(said.text)"}"#
                try await stage.faults("marked", ["fault": "answer", "value": ["status": 400, "body": .string(refusal)]])
                let link = try await stage.begin("app", ["subject": "user-1"])
                let doomed = try await server.send(.post, "/v1/keys", body: ["name": "doomed", "role": "use"]).string("id")
                let hook = try await server.send(.post, "/v1/webhooks", body: Self.bodies["POST /v1/webhooks"] ?? .null)
                let signing = SecrecyTests.Marker("webhook secret", found: hook.string("secret"))
                let secrets = [secret, refresh, signing, SecrecyTests.Marker("admin key", found: server.adminKey)]

                func path(_ route: RouteTable.Route) -> String {
                    let ids = ["keys": doomed, "webhooks": hook.string("id"), "presets": "google", "revocations": "rv_nothing"]
                    let area = route.pattern.split(separator: "/").dropFirst().first.map(String.init) ?? ""
                    var path = route.pattern.replacing("{id}", with: ids[area] ?? "app").replacing("{subject}", with: "user-1")
                    path = path.replacing("{session}", with: link.session).replacing("{ticket}", with: link.ticket)
                        .replacing("{code}", with: "unknown")
                    return path.hasSuffix("/token") || path.hasSuffix("/instructions") ? path + "?subject=user-1" : path
                }

                var given: [String] = []
                var answered = 0
                func judge(_ what: String, _ text: String, mayHoldToken: Bool = false) {
                    answered += 1
                    for marker in secrets { #expect(!marker.isIn(text), "the \(marker.name) is in \(what)") }
                    guard access.isIn(text) else { return }
                    given.append(what)
                    #expect(mayHoldToken, "the access token is in \(what)")
                }
                var keys: [String: RunningServer.Key] = [:]
                for caller in Self.callers {
                    keys[caller.name] = try await caller.document.asyncMap { .other(try await server.makeKey($0)) } ?? RunningServer.Key.none
                }

                // The tools of models, before any route changes what there is.
                for caller in Self.callers where caller.document != nil {
                    for revision in ["2025-11-25", MCPTests.newest] {
                        let client = MCPTests.Client(server: server, key: keys[caller.name] ?? .none, revision: revision)
                        let person: JSONObject = ["connection": "app", "subject": "user-1"]
                        for (tool, more) in [
                            ("list_connections", nil), ("describe_connection", ["connection": "app"]), ("call_api", ["method": "GET", "path": "/x"]),
                            ("connect", ["return_url": "https://app.example/"]), ("call_api", ["method": "DELETE", "path": "/x"]),
                            ("connect", ["password": "p"]),
                        ] as [(String, JSONObject?)] {
                            var arguments = tool == "call_api" || tool == "connect" ? person : [:]
                            for member in more?.members ?? [] { arguments[member.name] = member.value }
                            let result = try await client.call(tool, arguments)
                            judge("\(tool) of \(caller.name)", result.whole)
                            #expect(!said.isIn(result.whole))
                        }
                    }
                }
                // What an agent calls without MCP is searched as well.
                judge(
                    "the gateway",
                    try await server.send(.get, "/gateway/app/x", key: keys["agent"] ?? .none, headers: [.named("Grantee-Subject"): "user-1"]).text)

                for route in Self.routes {
                    let name = "\(route.method.rawValue) \(route.pattern)"
                    for caller in Self.callers {
                        let body = name == "PUT /v1/connections/{id}/grants/{subject}" ? ["access_token": .string(access.text)] : Self.bodies[name]
                        let answer = try await server.send(route.method, path(route), body: body, key: keys[caller.name] ?? .none)
                        #expect(answer.status < 500 || (502...504).contains(answer.status), "\(caller.name) \(name): \(answer.status)")
                        let fields = answer.headers.map { "\($0.name.rawName): \($0.value)" }.joined(separator: "\n")
                        judge("\(name) of \(caller.name)", fields + "\n" + answer.text, mayHoldToken: caller.getsToken && route.pattern.hasSuffix("/token"))
                    }
                }
                #expect(given == ["use", "admin"].map { "GET /v1/connections/{id}/token of \($0)" })
                #expect(answered == Self.routes.count * Self.callers.count + 5 * 2 * 6 + 1)
                #expect(upstream.requests.contains { access.isIn($0.text) })
                for marker in secrets + [access] { #expect(!marker.isIn(server.log.text), "the \(marker.name) is in the log") }
            }
        }
    }
}

extension Optional {
    fileprivate func asyncMap<R>(_ body: (Wrapped) async throws -> R) async rethrows -> R? {
        guard let self else { return nil }
        return try await body(self)
    }
}

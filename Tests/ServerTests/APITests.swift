import Broker
import HTTPTypes
import OAuth
import RehearsalProvider
import TestSupport
import Testing
import Vault

@testable import Server

/// What a client of the API may rely on.
@Suite struct APITests {
    private static func code(_ id: String, _ extra: JSONObject = [:]) -> JSONValue {
        var document: JSONObject = [
            "id": .string(id), "name": .string(id), "base_url": "https://api.example",
            "oauth": [
                "grant_type": "authorization_code", "authorization_url": "https://as.example/authorize", "token_url": "https://as.example/token",
                "revocation_url": "https://as.example/revoke", "client_id": "client", "client_secret": "secret", "scopes": ["read", "write"],
            ],
        ]
        for member in extra.members { document[member.name] = member.value }
        return .object(document)
    }

    // MARK: Two editors

    @Test func anETagGuardsAgainstTwoEditors() async throws {
        try await RunningServer.with { server in
            let made = try await server.send(.post, "/v1/connections", body: Self.code("app"))
            #expect(made.status == 201)
            let tag = try #require(made.headers[.eTag])
            #expect(tag.hasPrefix("\"") && tag.hasSuffix("\""))
            #expect(try await server.send(.get, "/v1/connections/app").headers[.eTag] == tag)
            func patch(_ name: String, _ match: String) async throws -> RunningServer.Answer {
                try await server.send(.patch, "/v1/connections/app", body: ["name": .string(name)], headers: [.ifMatch: match])
            }
            let first = try await patch("First", tag)
            #expect(first.status == 200)
            let next = try #require(first.headers[.eTag])
            #expect(next != tag)
            for stale in [tag, "\"999\"", "\"\"", "1", "nonsense"] {
                #expect(try await patch("Stale", stale).isProblem("precondition_failed", 412), "\(stale)")
            }
            #expect(try await server.send(.get, "/v1/connections/app")["name"]?.string == "First")
            #expect(try await patch("Second", "\"999\", \(next)").status == 200)
            #expect(try await patch("Third", "*").status == 200)
            #expect(try await server.send(.patch, "/v1/connections/app", body: ["name": "Fourth"]).status == 200)
        }
    }

    @Test func patchesOfDifferentMembersAtOneMomentAllCount() async throws {
        try await RunningServer.with { server in
            #expect(try await server.send(.post, "/v1/connections", body: Self.code("app")).status == 201)
            for round in 0..<5 {
                let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                    for number in 0..<4 {
                        group.addTask {
                            let headers: JSONObject = ["X-\(round)-\(number)": "here"]
                            return try await server.send(.patch, "/v1/connections/app", body: ["headers": .object(headers)]).status
                        }
                    }
                    return try await group.reduce(into: [Int]()) { $0.append($1) }
                }
                #expect(statuses == [200, 200, 200, 200])
            }
            let headers = try await server.send(.get, "/v1/connections/app")["headers"]?.object
            #expect(headers?.members.count == 20)
        }
    }

    // MARK: PATCH

    @Test func aPatchKeepsWhatItDoesNotNameAndClearsWhatItNulls() async throws {
        try await RunningServer.with { server in
            let made = try await server.send(
                .post, "/v1/connections",
                body: Self.code("app", ["headers": ["X-A": "1", "X-B": "2"], "return_origins": ["https://app.example"], "keep_alive": true]))
            #expect(made.status == 201, "\(made.text)")
            func patch(_ body: JSONValue) async throws -> RunningServer.Answer {
                let answer = try await server.send(.patch, "/v1/connections/app", body: body)
                #expect(answer.status == 200, "\(answer.text)")
                return answer
            }
            let named = try await patch(["name": "New"])
            for name in (made.json.object?.names ?? []) where !["name", "updated_at"].contains(name) { #expect(named[name] == made[name], "\(name)") }
            #expect(named["has_client_secret"]?.bool == true)

            let cleared = try await patch([
                "base_url": .null, "headers": ["X-A": .null, "X-C": "3"], "return_origins": .null, "keep_alive": .null,
                "oauth": ["scopes": .null, "revocation_url": .null, "client_secret": .null],
            ])
            #expect(cleared["base_url"]?.isNull == true)
            let headers: JSONValue = ["X-B": "2", "X-C": "3"]
            #expect(cleared["headers"] == headers)
            #expect(cleared.texts("return_origins")?.isEmpty == true)
            #expect(cleared["keep_alive"]?.bool == false)
            #expect(cleared["oauth"]?["scopes"]?.array?.isEmpty == true)
            #expect(cleared["oauth"]?["revocation_url"]?.isNull == true)
            #expect(cleared["has_client_secret"]?.bool == false)
            #expect(cleared["oauth"]?["token_url"]?.string == "https://as.example/token")
            #expect(cleared["oauth"]?["client_id"]?.string == "client")

            let replaced = try await patch(["oauth": ["scopes": ["one"], "authorization_params": ["prompt": "consent"]]])
            #expect(replaced["oauth"]?["scopes"]?.array?.compactMap(\.string) == ["one"])
            let both = try await patch(["oauth": ["authorization_params": ["access_type": "offline"]]])
            #expect(both["oauth"]?["authorization_params"]?.object?.names.sorted() == ["access_type", "prompt"])
            let merged = try await server.send(
                .patch, "/v1/connections/app", raw: Array(#"{"name":"Merged"}"#.utf8), type: "application/merge-patch+json")
            #expect(merged["name"]?.string == "Merged")
        }
    }

    @Test func readOnlyMembersAreTakenBackUnchangedAndNotOtherwise() async throws {
        try await RunningServer.with { server in
            #expect(try await server.send(.post, "/v1/connections", body: Self.code("app")).status == 201)
            let changed: [(String, JSONValue)] = [
                ("id", "other"), ("uid", "019a0000-0000-7000-8000-000000000000"), ("callback_url", "https://evil.example/"), ("has_client_secret", false),
                ("has_password", true), ("created_at", "2001-01-01T00:00:00Z"), ("uid", .null), ("id", 7),
            ]
            for (name, value) in changed {
                let answer = try await server.send(.patch, "/v1/connections/app", body: .object(JSONObject([(name: name, value: value)])))
                #expect(answer.isProblem("invalid_request", 400), "\(name): \(answer.text)")
                #expect(answer.pointers == ["/" + name])
            }
            // Members of an object have no order, whoever wrote them.
            let document = try await server.send(.get, "/v1/connections/app").json.object ?? [:]
            var reversed = JSONObject(document.members.reversed())
            if let health = document["health"]?.object { reversed["health"] = .object(JSONObject(health.members.reversed())) }
            let same = try await server.send(.patch, "/v1/connections/app", body: .object(reversed))
            #expect(same.status == 200, "\(same.text)")
            #expect(same["uid"] == document["uid"])
        }
    }

    /// What takes the place of members of a plain connection, as JSON.
    static let rich: [(id: String, changes: String)] = [
        ("code", "{}"),
        (
            "everything",
            #"""
            {"headers": {"X-A": "1"}, "variables": {"tenant": "one"}, "return_origins": ["https://app.example", "http://localhost:3000"],
             "allow_encoded_slash": true, "keep_alive": true, "base_url": "https://{callback.shop}.shop.example", "authentication_instructions": "X-Key: <token>\nX-Client: <client_id>",
             "variable_patterns": {"callback.shop": {"kind": "label"}, "token_response.url": {"kind": "origin", "hosts": ["*.as.example"]},
              "callback.realm": {"kind": "regex", "pattern": "^[0-9]+$"}},
             "agent_access": {"enabled": true, "methods": ["GET", "POST"], "paths": ["/v1/**"], "headers": ["Accept"]},
             "oauth": {"grant_type": "authorization_code", "pkce": "plain", "issuer": "https://as.example",
              "authorization_url": "https://{tenant}.as.example/authorize", "token_url": "https://{tenant}.as.example/token",
              "refresh_url": "https://{tenant}.as.example/refresh", "client_id": "client", "client_secret": "secret",
              "client_authentication": "client_secret_post", "scopes": ["a", "b"], "scope_separator": ",", "redirect_uri": "https://app.example/callback",
              "authorization_params": {"prompt": "consent"}, "token_params": {"audience": "x"}, "refresh_params": {"audience": "y"},
              "token_headers": {"X-Version": "1"}, "token_request_format": "json", "token_request_method": "PUT",
              "token_response_members": {"access_token": "data.token"}, "default_expires_in": 3600, "refresh_token_idle_days": 30,
              "client_secret_expires_at": "2030-01-01T00:00:00Z", "parameter_names": {"client_id": "app_id"}, "raw_scope": true,
              "response_mode": "query", "code_parameter": "auth_code", "state_parameter": "s", "redirect_uri_in_exchange": false,
              "state_in_exchange": true, "client_id_in_body": true, "basic_user": "secret", "client_auth_for_refresh": "client_secret_basic",
              "response_path": "data", "error_path": "data.error", "error_aliases": {"bad": "invalid_grant"}, "token_type_aliases": ["user"],
              "expires_in_unit": "milliseconds", "zero_means_never": true, "refresh_token_policy": "keep_original", "scope_in_refresh": true,
              "rotation_grace": 30, "refresh_margin": 25}}
            """#
        ),
        (
            "stored",
            #"""
            {"oauth": {"grant_type": "password", "token_url": "https://as.example/token", "client_id": "c", "username": "alice", "password": "password"}}
            """#
        ),
        (
            "machine",
            #"""
            {"oauth": {"grant_type": "client_credentials", "token_url": "https://as.example/token", "client_id": "c", "client_secret": "secret"}}
            """#
        ),
        ("preset", #"{"preset": "google", "oauth": {"grant_type": "authorization_code", "client_id": "c"}}"#),
    ]

    @Test func whatGETShowsCanBeSentBack() async throws {
        try await RunningServer.with { server in
            for (id, changes) in Self.rich {
                let extra = try #require(try JSONValue(parsing: Array(changes.utf8)).object)
                let made = try await server.send(.post, "/v1/connections", body: Self.code(id, extra))
                #expect(made.status == 201, "\(id): \(made.text)")
                let shown = try await server.send(.get, "/v1/connections/\(id)")
                #expect(shown.json == made.json)
                let back = try await server.send(.patch, "/v1/connections/\(id)", body: shown.json)
                #expect(back.status == 200, "\(id): \(back.text)")
                for name in (shown.json.object?.names ?? []) where name != "updated_at" { #expect(back[name] == shown[name], "\(id) \(name)") }
                // As a new one, but for the secrets that are not shown.
                var copy = shown.json.object ?? [:]
                copy["id"] = .string(id + "-copy")
                var oauth = copy["oauth"]?.object ?? [:]
                if shown["has_client_secret"]?.bool == true { oauth["client_secret"] = "secret" }
                if shown["has_password"]?.bool == true { oauth["password"] = "password" }
                copy["oauth"] = .object(oauth)
                let copied = try await server.send(.post, "/v1/connections", body: .object(copy))
                #expect(copied.status == 201, "\(id): \(copied.text)")
                #expect(copied["oauth"] == shown["oauth"], "\(id)")
                #expect(copied["uid"] != shown["uid"])
            }
            #expect(try await server.send(.get, "/v1/connections/stored")["warnings"]?.array?.count == 1)
        }
    }

    @Test func anIDIsMadeFromTheNameAndTakenOnce() async throws {
        try await RunningServer.with { server in
            func make(_ name: String, id: String? = nil) async throws -> RunningServer.Answer {
                var document = Self.code("x").object ?? [:]
                document["id"] = id.map(JSONValue.string)
                document["name"] = .string(name)
                return try await server.send(.post, "/v1/connections", body: .object(document))
            }
            #expect(try await make("My  GitHub (prod)!")["id"]?.string == "my-github-prod")
            #expect(try await make("My GitHub prod")["id"]?.string == "my-github-prod-2")
            #expect(try await make("日本")["id"]?.string == "connection")
            #expect(try await make("Discover")["id"]?.string != "discover")
            #expect(try await make("a", id: "mine").status == 201)
            let taken = try await make("b", id: "mine")
            #expect(taken.isProblem("conflict", 409))
            #expect(taken.pointers == ["/id"])
            #expect(try await server.send(.delete, "/v1/connections/mine").status == 204)
            #expect(try await server.send(.delete, "/v1/connections/mine").isProblem("not_found", 404))
            #expect(try await make("b", id: "mine").status == 201)
        }
    }

    @Test func aMoveToAnotherHostWantsTheSecretsAnewAndPutsGrantsOnHold() async throws {  // SEC-37
        try await RunningServer.with { server in
            #expect(try await server.send(.post, "/v1/connections", body: Self.code("app")).status == 201)
            func patch(_ body: JSONValue) async throws -> RunningServer.Answer { try await server.send(.patch, "/v1/connections/app", body: body) }
            func grant() async throws -> JSONValue {
                _ = try await server.send(.put, "/v1/connections/app/grants/u", body: ["access_token": "a"])
                return try await server.send(.get, "/v1/connections/app/grants/u").json
            }
            #expect(try await grant()["state"]?.string == "active")
            let moves = [
                ("token_url", "https://other.example/token"), ("revocation_url", "https://other.example/r"), ("refresh_url", "https://as.example:444/t"),
            ]
            for (name, url) in moves {
                let refused = try await patch(["oauth": .object(JSONObject([(name: name, value: .string(url))]))])
                #expect(refused.isProblem("invalid_request", 400), "\(name)")
                #expect(refused.pointers == ["/oauth/client_secret"])
            }
            #expect(try await server.send(.get, "/v1/connections/app/grants/u")["state"]?.string == "active")
            #expect(try await patch(["base_url": "https://elsewhere.example", "keep_grants": true]).status == 200)
            #expect(try await server.send(.get, "/v1/connections/app/grants/u")["state"]?.string == "active")
            #expect(try await patch(["base_url": "https://collector.example"]).status == 200)
            let held = try await server.send(.get, "/v1/connections/app/grants/u")
            #expect(held["state"]?.string == "reauthorization_required")
            #expect(held["state_reason"]?.string == "host_changed")
            #expect(try await server.send(.get, "/v1/connections/app/token?subject=u").isProblem("reauthorization_required", 409))
            // The old host does not revive it.
            #expect(try await patch(["base_url": "https://elsewhere.example"]).status == 200)
            #expect(try await server.send(.get, "/v1/connections/app/token?subject=u").isProblem("reauthorization_required", 409))
            #expect(try await patch(["oauth": ["token_url": "https://other.example/token", "client_secret": "new"]]).status == 200)
        }
    }

    // MARK: Presets

    @Test func presetsAreFound() async throws {
        try await RunningServer.with { server in
            let first = try await server.send(.get, "/v1/presets?limit=200").items("id")
            #expect(first == Preset.all.prefix(200).map(\.id))
            #expect(first == first.sorted())
            #expect(try await server.send(.get, "/v1/presets?q=GOOGLE").items("id").first == "google")
            #expect(try await server.send(.get, "/v1/presets?q=entra").items("name").contains("Microsoft Entra ID"))
            #expect(try await server.send(.get, "/v1/presets?q=no-such-provider").items("id").isEmpty)
            for id in ["google", "own-server", "alipay", "vk"] {
                let one = try await server.send(.get, "/v1/presets/" + id)
                #expect(one.json == .object(try #require(Preset.find(id)).document))
                #expect(one["verified"]?.bool == true)
            }
            #expect(try await server.send(.get, "/v1/presets/vk")["deprecated"]?.string?.isEmpty == false)
            #expect(try await server.send(.get, "/v1/presets/nowhere").isProblem("not_found", 404))
            // A search is read page by page in its own order; a cursor of another list is none.
            #expect(try await pages(server, "/v1/presets?q=google", 2, "id") == Preset.search("google").map(\.id))
            #expect(try await server.send(.get, "/v1/presets?q=google&after=slack").isProblem("invalid_request", 400))
        }
    }

    @Test func eachPresetFillsInAConnectionOfEachGrantTypeItKnows() async throws {
        try await RunningServer.with { server in
            // All that hold what a connection takes over, and some of the others: BrokerTests judges each.
            let holding = Preset.all.filter { preset in ["variables", "headers", "variable_patterns"].contains { preset.document[$0] != nil } }
            let others = Preset.all.enumerated().filter { $0.offset % 25 == 0 }.map(\.element)
            for preset in holding + others where preset.unsupported == nil {
                for grantType in preset.grantTypes.map(\.rawValue) {
                    let what = "\(preset.id) \(grantType)"
                    var oauth: JSONObject = ["grant_type": .string(grantType), "client_id": "client", "client_secret": "secret"]
                    var variables = JSONObject()
                    for (name, variable) in preset.document["variables"]?.object?.members ?? [] where variable["default"] == nil {
                        variables[name] = variable["example"] ?? "example"
                    }
                    if preset.document["token_url"] == nil {
                        oauth["token_url"] = "https://as.example/token"
                        if grantType == "authorization_code" { oauth["authorization_url"] = "https://as.example/authorize" }
                    }
                    let made = try await server.send(
                        .post, "/v1/connections",
                        body: ["name": .string(what), "preset": .string(preset.id), "variables": .object(variables), "oauth": .object(oauth)])
                    #expect(made.status == 201, "\(what): \(made.text)")
                    #expect(made["preset"]?.string == preset.id)
                    #expect(made.string("authentication_instructions") == preset.document["authentication_instructions"]?.string)
                    for name in ["base_url", "headers", "variable_patterns"] {
                        if let value = preset.document[name] { #expect(made[name] == value, "\(what) \(name)") }
                    }
                    let filled = made["oauth"]
                    for name in ["token_url", "revocation_url", "issuer", "client_authentication"] {
                        if let value = preset.document[name] { #expect(filled?[name] == value, "\(what) \(name)") }
                    }
                    guard grantType == "authorization_code" else { continue }
                    for name in ["authorization_url", "pkce", "scopes"] {
                        if let value = preset.document[name] { #expect(filled?[name] == value, "\(what) \(name)") }
                    }
                    // The preset's own values are kept apart from the builder's.
                    #expect(filled?["authorization_params"]?.object?.members.isEmpty == true, "\(what)")
                }
            }
        }
    }

    @Test func whatABuilderSaysComesBeforeThePreset() async throws {
        try await RunningServer.with { server in
            let own: JSONValue = [
                "name": "own", "preset": "google", "base_url": "https://api.example",
                "oauth": [
                    "grant_type": "authorization_code", "client_id": "c", "token_url": "https://as.example/token", "scopes": ["one"], "pkce": "none",
                    "client_authentication": "client_secret_post",
                ],
            ]
            let made = try await server.send(.post, "/v1/connections", body: own)
            #expect(made.status == 201, "\(made.text)")
            #expect(made["base_url"]?.string == "https://api.example")
            #expect(made["oauth"]?["token_url"]?.string == "https://as.example/token")
            #expect(made["oauth"]?["scopes"]?.array?.compactMap(\.string) == ["one"])
            #expect(made["oauth"]?["pkce"]?.string == "none")
            // A variable without a default is asked for, and one that does not fit is refused.
            func auth0(_ variables: JSONValue) async throws -> RunningServer.Answer {
                try await server.send(
                    .post, "/v1/connections",
                    body: ["name": "a", "preset": "auth0", "variables": variables, "oauth": ["grant_type": "authorization_code", "client_id": "c"]])
            }
            let missing = try await auth0([:])
            #expect(missing.isProblem("invalid_request", 400))
            #expect(missing.pointers.contains("/oauth/token_url"))
            #expect(try await auth0(["domain": "evil.example/x"]).pointers.contains("/variables/domain"))
            #expect(try await auth0(["domain": "tenant.eu.auth0.com"]).status == 201)
        }
    }

    @Test func whatIsToBeKnownOfAPresetIsSaid() async throws {
        try await RunningServer.with { server in
            func make(_ preset: String, _ variables: JSONValue = [:]) async throws -> RunningServer.Answer {
                try await server.send(
                    .post, "/v1/connections",
                    body: [
                        "name": .string(preset), "preset": .string(preset), "variables": variables,
                        "oauth": ["grant_type": "authorization_code", "client_id": "c", "client_secret": "s"],
                    ])
            }
            func warnings(_ answer: RunningServer.Answer) -> [String] { (answer["warnings"]?.array ?? []).compactMap(\.string) }
            let refused = try await make("zalo")
            #expect(refused.isProblem("invalid_request", 400))
            #expect(refused.pointers == ["/preset"])
            #expect(refused.text.contains("secret_key"))
            let past = try await make("vk")
            #expect(past.status == 201, "\(past.text)")
            #expect(warnings(past).contains { $0.hasPrefix("VK (classic) is withdrawing") && $0.hasSuffix("use vk-id.") })
            let careful = try await make("workday", ["authorization_host": "impl.workday.com", "services_host": "wd2.workday.com", "tenant": "acme"])
            #expect(warnings(careful).count == 1)
            #expect(warnings(try await make("slack")).isEmpty)
            // The builder's header is one with the preset's, however it is spelled.
            let notion: JSONValue = [
                "name": "n", "preset": "notion", "headers": ["notion-version": "2099-01-01", "X-Own": "1"],
                "oauth": ["grant_type": "authorization_code", "client_id": "c", "client_secret": "s"],
            ]
            #expect(try await server.send(.post, "/v1/connections", body: notion)["headers"] == ["X-Own": "1", "notion-version": "2099-01-01"])
        }
    }

    @Test func thePresetsParametersGoOut() async throws {
        try await RunningServer.with { server in
            let made = try await server.send(
                .post, "/v1/connections",
                body: ["id": "g", "name": "g", "preset": "google", "oauth": ["grant_type": "authorization_code", "client_id": "c", "issuer": .null]])
            #expect(made.status == 201)
            // Without an issuer no metadata is read, so nothing leaves this machine.
            #expect(try await server.send(.patch, "/v1/connections/g", body: ["oauth": ["issuer": .null]])["oauth"]?["issuer"]?.isNull == true)
            let link = try await server.send(.post, "/v1/connections/g/connect", body: [:]).string("connect_url")
            let left = try await server.raw("GET", link.replacing(server.url, with: "") + "/continue")
            let location = try #require(left.field("Location"))
            #expect(location.hasPrefix("https://accounts.google.com/o/oauth2/v2/auth?"))
            let sent = try parameters(of: location)
            #expect(sent["access_type"] == "offline")
            #expect(sent["prompt"] == "consent")
            #expect(sent["scope"] == "openid email profile")
            #expect(sent["code_challenge_method"] == "S256")
        }
    }

    // MARK: Lists

    /// All pages of a list, by a member of its items.
    private func pages(_ server: RunningServer, _ path: String, _ limit: Int, _ name: String) async throws -> [String] {
        var found: [String] = []
        var after: String?
        for _ in 0..<50 {
            let query = "limit=\(limit)" + (after.map { "&after=" + Form.encode($0) } ?? "")
            let page = try await server.send(.get, path + (path.contains("?") ? "&" : "?") + query)
            #expect(page.status == 200, "\(page.text)")
            let items = page.items(name)
            #expect(items.count <= limit)
            found += items
            guard let next = page["next"]?.string else { return found }
            after = next
        }
        Issue.record("\(path) has no end")
        return found
    }

    @Test("Every list is read page by page", arguments: [1, 2, 3, 4, 5, 200])
    func lists(limit: Int) async throws {
        try await RunningServer.with { server in
            for number in 1...4 {
                #expect(try await server.send(.post, "/v1/connections", body: Self.code("c\(number)")).status == 201)
                _ = try await server.makeKey(["name": .string("k\(number)"), "role": "use"])
                _ = try await server.send(.put, "/v1/connections/c1/grants/u\(number)", body: ["access_token": "a"])
                _ = try await server.send(.put, "/v1/connections/c\(number)/grants/shared-name", body: ["access_token": "a"])
            }
            #expect(try await pages(server, "/v1/connections", limit, "id") == ["c1", "c2", "c3", "c4"])
            #expect(try await pages(server, "/v1/keys", limit, "name").sorted() == ["admin", "k1", "k2", "k3", "k4"])
            #expect(try await pages(server, "/v1/grants", limit, "state").count == 8)
            #expect(try await pages(server, "/v1/grants?subject=shared-name", limit, "connection").sorted() == ["c1", "c2", "c3", "c4"])
            #expect(try await pages(server, "/v1/connections/c1/grants", limit, "subject").sorted() == ["shared-name", "u1", "u2", "u3", "u4"])
            // Hundreds of them: no page of one or two.
            if limit > 10 { #expect(try await pages(server, "/v1/presets", limit, "id") == Preset.all.map(\.id)) }
            let activity = try await pages(server, "/v1/activity", limit, "id")
            #expect(activity.count == Set(activity).count)
            #expect(activity == activity.sorted(by: >))
            #expect(activity.count >= 16)
        }
    }

    @Test func grantsAreFilteredByState() async throws {
        try await RunningServer.with { server in
            for id in ["one", "two"] { #expect(try await server.send(.post, "/v1/connections", body: Self.code(id)).status == 201) }
            func put(_ id: String, _ subject: String, _ tokens: JSONValue) async throws {
                #expect(try await server.send(.put, "/v1/connections/\(id)/grants/\(subject)", body: tokens).status == 200)
            }
            try await put("one", "active", ["access_token": "a", "expires_in": 3600])
            try await put("one", "expired", ["access_token": "a", "refresh_token": "r", "expires_in": 0])
            try await put("one", "over", ["access_token": "a", "expires_in": 0])
            try await put("two", "active", ["access_token": "a"])
            _ = try await server.send(.get, "/v1/connections/one/token?subject=over")
            func found(_ query: String) async throws -> [String] {
                let list = try await server.send(.get, "/v1/grants?" + query)
                return zip(list.items("connection"), list.items("subject")).map { "\($0)/\($1)" }.sorted()
            }
            #expect(try await found("state=active") == ["one/active", "two/active"])
            #expect(try await found("state=expired") == ["one/expired"])
            #expect(try await found("state=reauthorization_required") == ["one/over"])
            #expect(try await found("state=revoked").isEmpty)
            #expect(try await found("state=active&connection=two") == ["two/active"])
            #expect(try await found("subject=active") == ["one/active", "two/active"])
            #expect(try await server.send(.get, "/v1/grants?connection=nowhere").isProblem("not_found", 404))
        }
    }

    // MARK: Problems

    @Test func everyCodeHasItsStatusAndItsShape() async throws {
        try await Stage.with { stage in
            let server = stage.server
            func send(
                _ method: HTTPRequest.Method, _ path: String, _ body: JSONValue? = nil, key: RunningServer.Key = .admin, headers: HTTPFields = [:]
            ) async throws -> RunningServer.Answer { try await server.send(method, path, body: body, key: key, headers: headers) }
            var oauth: JSONObject = ["scopes": ["openid"], "issuer": .string(stage.provider.url)]
            var document = stage.provider.connection("app", "authorization_code", oauth: oauth).object ?? [:]
            document["return_origins"] = [.string(stage.provider.url)]
            try await stage.add(.object(document))
            try await stage.add(stage.provider.connection("machine", "client_credentials", client: "machine", secret: "machine-secret"))
            oauth = ["grant_type": "client_credentials", "token_url": "http://127.0.0.1:1/token", "client_id": "c", "client_secret": "s"]
            try await stage.add(["id": "nowhere", "name": "nowhere", "oauth": .object(oauth)])
            let use = RunningServer.Key.other(try await server.makeKey(["name": "k", "role": "use"]))
            let slow = RunningServer.Key.other(try await server.makeKey(["name": "k", "role": "use", "requests_per_minute": 1]))
            let pending = try await stage.begin(
                "app", ["subject": "u", "return_url": .string(stage.provider.url + "/"), "completion": "application", "expected_account": "somebody"])
            _ = try await Visitor().connect(pending.url)
            let complete = "/v1/connect-sessions/\(pending.session)/complete"
            let open = try await stage.begin("app")
            try await stage.faults("machine", ["fault": "error", "value": "invalid_client"])
            _ = try await stage.token("machine")
            _ = try await send(.get, "/v1/connections", key: slow)
            try await stage.put("app", "over", ["access_token": "a", "expires_in": 0])

            var answers: [Problem.Code: RunningServer.Answer] = [:]
            for code in Problem.Code.allCases {
                switch code {
                case .invalidRequest: answers[code] = try await send(.post, "/v1/connections", [:])
                case .unauthenticated: answers[code] = try await send(.get, "/v1/connections", key: .none)
                case .forbidden: answers[code] = try await send(.post, "/v1/connections", [:], key: use)
                case .notFound: answers[code] = try await send(.get, "/v1/connections/none")
                case .conflict: answers[code] = try await send(.post, "/v1/connections", .object(document))
                case .subjectMismatch: answers[code] = try await send(.post, complete, ["subject": "other"])
                case .accountMismatch: answers[code] = try await send(.post, complete, ["subject": "u"])
                case .invalidState: answers[code] = try await send(.post, "/v1/connect-sessions/\(open.session)/complete", ["subject": "u"])
                case .misconfigured: answers[code] = try await stage.token("machine")
                case .methodNotAllowed: answers[code] = try await send(.put, "/v1/keys")
                case .preconditionFailed: answers[code] = try await send(.patch, "/v1/connections/app", ["name": "x"], headers: [.ifMatch: "\"0\""])
                case .unsupportedMediaType: answers[code] = try await server.send(.post, "/v1/keys", body: [:], type: "text/plain")
                case .notConnected: answers[code] = try await stage.token("app", "subject=nobody")
                case .reauthorizationRequired: answers[code] = try await stage.token("app", "subject=over")
                case .tooLarge: answers[code] = try await server.send(.post, "/v1/keys", raw: [UInt8](repeating: 32, count: 2 << 20))
                case .rateLimited: answers[code] = try await send(.get, "/v1/connections", key: slow)
                case .egressBlocked: answers[code] = try await send(.post, "/v1/connections/discover", ["issuer": "https://10.0.0.1"])
                case .providerError: answers[code] = try await send(.post, "/v1/connections/discover", ["issuer": .string(stage.provider.url + "/")])
                case .providerUnreachable: answers[code] = try await stage.token("nowhere")
                // A page says it; and what a healthy server does not say.
                case .misdirectedRequest, .internal, .unavailable: break
                }
            }
            #expect(answers.count == Problem.Code.allCases.count - 3)
            let members: Set<String> = ["type", "title", "status", "detail", "code", "fix", "errors", "provider"]
            for (code, answer) in answers {
                #expect(answer.isProblem(code.rawValue, code.status), "\(code): \(answer.status) \(answer.text)")
                let sent = Set(answer.json.object?.names ?? [])
                #expect(sent.isSubset(of: members), "\(code)")
                #expect(answer.headers[.cacheControl] == "no-store", "\(code)")
                #expect(answer.string("title").lowercased() == code.rawValue.replacing("_", with: " "))
            }
            #expect(answers[.rateLimited]?.headers[.retryAfter] != nil)
            #expect(answers[.methodNotAllowed]?.headers[.allow] == "GET, POST")
            #expect(answers[.unauthenticated]?.headers[.wwwAuthenticate] == "Bearer realm=\"grantee\"")
            #expect(Set(answers[.invalidRequest]?.pointers ?? []) == ["/name", "/oauth"])
            for code in [Problem.Code.misconfigured, .notConnected, .reauthorizationRequired, .egressBlocked, .providerError, .providerUnreachable] {
                #expect(answers[code]?.string("fix").isEmpty == false, "\(code)")
            }
        }
    }

    // MARK: The description

    private func description() throws -> JSONValue { try JSONValue(parsing: Array(PackageResources.openapi_json)) }

    @Test func theDescriptionListsExactlyTheRoutes() async throws {
        let api = try description()
        var described: Set<String> = []
        var operations: [String] = []
        for (path, item) in api["paths"]?.object?.members ?? [] {
            for (method, operation) in item.object?.members ?? [] where method != "parameters" {
                described.insert(method.uppercased() + " " + path)
                operations.append(operation["operationId"]?.string ?? "")
            }
        }
        // What people alone open.
        let areas = ["/console", "/assets"]
        let pages = Set(
            Routes.all.filter { route in route.pattern == "/" || areas.contains { route.pattern == $0 || route.pattern.hasPrefix($0 + "/") } }
                .map { "\($0.method.rawValue) \($0.pattern)" })
        let routes = Set(Routes.all.map { "\($0.method.rawValue) \($0.pattern)" })
        #expect(described == routes.subtracting(pages))
        #expect(Set(operations).count == operations.count && !operations.contains(""))
        for route in Routes.all where !pages.contains("\(route.method.rawValue) \(route.pattern)") {
            let security = api["paths"]?[route.pattern]?[route.method.rawValue.lowercased()]?["security"]
            switch (route.access, route.pattern) {
            case (.key, _), (.keyAtHost, _): #expect(security == nil, "\(route.pattern)")
            // May be asked for with a key or without one.
            case (_, "/metrics"): #expect(security?.array?.count == 2)
            default: #expect(security?.array?.isEmpty == true, "\(route.pattern)")
            }
        }
        let ofAll: JSONValue = [["apiKey": []]]
        #expect(api["security"] == ofAll)
        let codes = api["components"]?["schemas"]?["Problem"]?["properties"]?["code"]?["enum"]?.array?.compactMap(\.string)
        #expect(codes == Problem.Code.allCases.map(\.rawValue))
        try await RunningServer.with { server in
            let served = try await server.send(.get, "/openapi.json", key: .none)
            #expect(served.headers[.contentType] == "application/json")
            #expect(served.json == api)
        }
    }

    @Test func everyReferenceOfTheDescriptionLeadsSomewhere() throws {
        let api = try description()
        func walk(_ value: JSONValue) {
            for element in value.array ?? [] { walk(element) }
            for (name, member) in value.object?.members ?? [] {
                if name == "$ref", let target = member.string {
                    var found: JSONValue? = api
                    for step in target.split(separator: "/").dropFirst() { found = found?[String(step)] }
                    #expect(target.hasPrefix("#/") && found != nil, "\(target)")
                }
                walk(member)
            }
        }
        walk(api)
    }

    @Test func answersHoldWhatTheDescriptionSays() async throws {
        let schemas = try #require(try description()["components"]?["schemas"])
        func expect(_ value: JSONValue?, _ schema: String, sourceLocation: SourceLocation = #_sourceLocation) {
            let names = Set(value?.object?.names ?? [])
            let required = Set((schemas[schema]?["required"]?.array ?? []).compactMap(\.string))
            let known = Set(schemas[schema]?["properties"]?.object?.names ?? [])
            #expect(names.isSuperset(of: required), "\(schema) lacks \(required.subtracting(names))", sourceLocation: sourceLocation)
            #expect(names.isSubset(of: known), "\(schema) has \(names.subtracting(known))", sourceLocation: sourceLocation)
        }
        try await Stage.with { stage in
            let server = stage.server
            let made = try await stage.add(stage.provider.connection("app", "authorization_code"))
            expect(made.json, "Connection")
            expect(made["oauth"], "OAuth")
            expect(made["health"], "Health")
            expect(made["agent_access"], "AgentAccess")
            let instructions = try await server.send(.get, "/v1/connections/app/instructions")
            expect(instructions.json, "Instructions")
            expect(instructions["rules"]?.array?.first, "InstructionRule")
            expect(instructions["snippets"]?["token"], "Snippets")
            let begun = try await server.send(.post, "/v1/connections/app/connect", body: ["subject": "user-1"])
            expect(begun.json, "ConnectLink")
            _ = try await Visitor().connect(begun.string("connect_url"))
            let session = try await server.send(.get, "/v1/connect-sessions/" + begun.string("session"))
            expect(session.json, "ConnectSession")
            expect(session["grant"], "Grant")
            expect(try await stage.token("app", "subject=user-1").json, "Token")
            expect(try await stage.grant("app", "user-1").json, "Grant")
            expect(try await stage.put("app", "user-2", ["access_token": "a"]).json, "Grant")
            expect(try await stage.refresh("app", "user-1").json, "Grant")
            expect(try await stage.revoke("app", "user-1").json, "Revocation")
            expect(try await server.send(.post, "/v1/keys", body: ["name": "k", "role": "agent", "subjects": ["u"]]).json, "NewKey")
            expect(try await server.send(.post, "/v1/console-links").json, "ConsoleLink")
            // Port 9 answers nothing: the delivery stays pending.
            let webhook = try await server.send(.post, "/v1/webhooks", body: ["url": "http://127.0.0.1:9/", "events": ["*"]])
            expect(webhook.json, "NewWebhook")
            expect(try await stage.put("app", "user-3", ["access_token": "a"]).json, "Grant")
            let deliveries = "/v1/webhooks/\(webhook.string("id"))/deliveries"
            expect(try await server.send(.post, "/v1/webhooks/\(webhook.string("id"))/replay", body: ["delivery": "1"]).json, "Replayed")
            expect(try await server.send(.post, "/v1/connections/discover", body: ["issuer": .string(stage.provider.url)]).json, "Discovery")
            expect(try await server.send(.get, "/health/ready").json, "Status")
            expect(try await server.send(.get, "/v1/vault").json, "Vault")
            expect(try await server.send(.get, "/v1/connections/none").json, "Problem")
            for (path, list, item) in [
                ("/v1/connections", "ConnectionList", "Connection"), ("/v1/grants", "GrantList", "Grant"), ("/v1/presets", "PresetList", "Preset"),
                ("/v1/keys", "KeyList", "Key"), ("/v1/activity", "ActivityList", "Activity"), ("/v1/webhooks", "WebhookList", "Webhook"),
                (deliveries, "DeliveryList", "Delivery"),
            ] {
                let answer = try await server.send(.get, path)
                expect(answer.json, list)
                for element in answer["items"]?.array ?? [] { expect(element, item) }
                #expect(answer["items"]?.array?.isEmpty == false, "\(path)")
            }
        }
    }

    // MARK: Metrics and activity

    @Test func metricsHaveTheirNames() async throws {
        try await Stage.with { stage in
            let machine = "metrics-machine"
            let person = "metrics-person"
            try await stage.add(stage.provider.connection(machine, "client_credentials", client: "machine", secret: "machine-secret"))
            try await stage.add(stage.provider.connection(person, "authorization_code"))
            _ = try await stage.token(machine)
            for _ in 0..<3 { _ = try await stage.token(machine) }
            try await stage.put(person, "user-1", ["access_token": "a"])
            _ = try await stage.token(person, "subject=user-1")
            _ = try await stage.revoke(person, "user-1")
            try await stage.put(person, "user-2", ["access_token": "a", "expires_in": 0])
            let answer = try await stage.server.send(.get, "/metrics", key: .none)
            #expect(answer.headers[.contentType] == "text/plain; version=0.0.4; charset=utf-8")
            let lines = answer.text.split(separator: "\n").map(String.init)
            let expected = [
                #"grantee_tokens_issued_total{connection="\#(machine)",source="refresh"} 1"#,
                #"grantee_tokens_issued_total{connection="\#(machine)",source="cache"} 3"#,
                #"grantee_tokens_issued_total{connection="\#(person)",source="vault"} 1"#, #"grantee_refreshes_total{connection="\#(machine)",result="ok"} 1"#,
                #"grantee_provider_seconds_count{connection="\#(machine)",operation="token"} 1"#,
                #"grantee_provider_seconds_bucket{connection="\#(machine)",operation="token",le="+Inf"} 1"#,
                #"grantee_grants{state="active"} 1.0"#, #"grantee_grants{state="expired"} 1.0"#, #"grantee_grants{state="reauthorization_required"} 0.0"#,
                #"grantee_grants{state="revoked"} 1.0"#, "# TYPE grantee_tokens_issued_total counter", "# TYPE grantee_refreshes_total counter",
                "# TYPE grantee_provider_seconds histogram", "# TYPE grantee_grants gauge", "# TYPE grantee_http_requests_total counter",
            ]
            for line in expected { #expect(lines.contains(line), "\(line)") }
            let starts = [
                #"grantee_http_requests_total{route="/v1/connections/{id}/token",status="200"} "#, "grantee_provider_seconds_sum{",
                "process_resident_memory_bytes ", "process_cpu_seconds_total ", "process_open_fds ",
            ]
            for start in starts {
                #expect(lines.contains { $0.hasPrefix(start) }, "\(start)")
            }
            // Each series once, each name in one piece with its type before it.
            #expect(Set(lines).count == lines.count)
            var current = ""
            var seen: Set<String> = []
            for line in lines {
                if line.hasPrefix("# TYPE ") {
                    current = String(line.split(separator: " ")[2])
                    #expect(seen.insert(current).inserted, "\(current)")
                } else {
                    #expect(line.hasPrefix(current) && !current.isEmpty, "\(line)")
                    #expect(Double(line.split(separator: " ").last ?? "") != nil, "\(line)")
                }
            }
        }
    }

    @Test func everyUseIsInTheActivityLog() async throws {  // SEC-112
        try await Stage.with { stage in
            let server = stage.server
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            try await stage.add(stage.provider.connection("other", "authorization_code"))
            let made = try await server.send(.post, "/v1/keys", body: ["name": "k", "role": "use"])
            let key = RunningServer.Key.other(made.string("key"))
            let denied = try await stage.begin("app", ["subject": "user-1"], key: key)
            _ = try await Visitor().connect(denied.url, approve: false)
            _ = try await Visitor().connect(try await stage.begin("app", ["subject": "user-1"], key: key).url)
            for _ in 0..<5 { #expect(try await stage.token("app", "subject=user-1", key: key).status == 200) }
            #expect(try await stage.token("app", "subject=user-1").status == 200)
            _ = try await stage.refresh("app", "user-1")
            try await stage.put("app", "user-2", ["access_token": "a"])
            _ = try await stage.revoke("app", "user-1")
            _ = try await server.send(.patch, "/v1/connections/app", body: ["name": "App"])
            _ = try await server.send(.delete, "/v1/connections/other")
            _ = try await server.send(.delete, "/v1/keys/" + made.string("id"))

            let log = try await server.send(.get, "/v1/activity?limit=200")
            let entries = log["items"]?.array ?? []
            func count(_ action: String, _ fits: (JSONValue) -> Bool = { _ in true }) -> Int {
                entries.filter { $0["action"]?.string == action && fits($0) }.reduce(0) { $0 + ($1["count"]?.integer ?? 0) }
            }
            let mine = { (entry: JSONValue) in entry["key"]?.string == made.string("id") }
            let ofUser = { (entry: JSONValue) in entry["connection"]?.string == "app" && entry["subject"]?.string == "user-1" }
            #expect(count("token.read") { mine($0) && ofUser($0) } == 5)
            #expect(count("token.read") { !mine($0) && ofUser($0) } == 1)
            #expect(count("connect.begun", mine) == 2)
            #expect(count("connect.failed") { ofUser($0) && $0["result"]?.string == "access_denied" } == 1)
            for action in ["grant.created", "grant.refreshed", "grant.revoked"] { #expect(count(action, ofUser) == 1, "\(action)") }
            #expect(count("grant.imported") { $0["subject"]?.string == "user-2" } == 1)
            #expect(count("connection.created") == 2)
            for action in ["connection.changed", "connection.removed", "key.created", "key.removed"] {
                #expect(count(action) { $0["key"]?.string == "key_admin" } == 1, "\(action)")
            }
            #expect(try await stage.grant("app", "user-1")["last_used_at"]?.string != nil)
            #expect(try await stage.grant("app", "user-2")["last_used_at"]?.isNull == true)

            let filtered = try await server.send(.get, "/v1/activity?connection=app&subject=user-2")
            #expect(filtered.items("action") == ["grant.imported"])
            #expect(try await server.send(.get, "/v1/activity?connection=none").items("action").isEmpty)
        }
    }

    @Test func aUseDuringARefreshIsRemembered() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            try await stage.connect("app", ["subject": "user-1"])
            try await stage.faults("conf", ["fault": "slow", "value": 1, "on": "refresh_token", "times": 1])
            async let refreshed = stage.refresh("app", "user-1")
            while try await stage.provider.tokenRequests("conf", "refresh_token").isEmpty { try await Task.sleep(for: .milliseconds(10)) }
            // The old token still serves, and its use is written before the refresh is.
            #expect(try await stage.token("app", "subject=user-1").status == 200)
            #expect(try await stage.server.send(.get, "/v1/activity").items("action").contains("token.read"))
            #expect(try await stage.grant("app", "user-1")["last_used_at"]?.string != nil)
            #expect(try await refreshed["generation"]?.integer == 2)
            #expect(try await stage.grant("app", "user-1")["last_used_at"]?.string != nil)
        }
    }
}

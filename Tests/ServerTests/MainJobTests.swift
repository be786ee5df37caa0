import HTTPTypes
import OAuth
import RehearsalProvider
import TestSupport
import Testing

/// What the product is for, over HTTP, with a real provider and a scripted browser.
@Suite struct MainJobTests {
    private static let authentications = ["client_secret_basic", "client_secret_basic_raw", "client_secret_post", "none"]

    /// A client of the provider that proves itself this way.
    private func client(_ authentication: String, of provider: RunningProvider) async throws -> (id: String, secret: String?) {
        guard authentication == "none" else { return ("conf", "conf-secret") }
        try await provider.client([
            "id": "open", "secret": .null, "client_authentication": ["none"], "grant_types": ["authorization_code", "password", "refresh_token"],
            "pkce": "optional",
        ])
        return ("open", nil)
    }

    /// How the provider's log names it.
    private func seen(_ authentication: String) -> String { authentication == "client_secret_basic_raw" ? "client_secret_basic" : authentication }

    /// The one token request of this grant type, and what was in it.
    private func onlyRequest(_ stage: Stage, _ client: String, _ grantType: String) async throws -> (authentication: String?, parameters: [String]) {
        let requests = try await stage.provider.tokenRequests(client, grantType)
        #expect(requests.count == 1)
        let parameters = requests.first?["parameters"]?.array?.compactMap(\.string) ?? []
        return (requests.first?["client_authentication"]?.string, parameters)
    }

    /// Token, refresh, revocation: the same for every grant that a person gave.
    private func live(_ stage: Stage, _ id: String, subject: String?, as account: String, generation: Int = 1) async throws {
        let query = subject.map { "subject=\($0)" } ?? ""
        let first = try await stage.token(id, query)
        #expect(first.status == 200, "\(first.text)")
        #expect(first["generation"]?.integer == generation)
        #expect(first["token_type"]?.string == "Bearer")
        #expect(first.texts("scope") == ["read"])
        #expect((3500...3600).contains(first["expires_in"]?.integer ?? 0))
        #expect(first["expires_at"]?.string != nil)
        #expect(try await stage.whoami(first) == account)

        let refreshed = try await stage.refresh(id, subject ?? "-")
        #expect(refreshed.status == 200, "\(refreshed.text)")
        #expect(refreshed["generation"]?.integer == generation + 1)
        let second = try await stage.token(id, query)
        #expect(second["access_token"]?.string != first["access_token"]?.string)
        #expect(try await stage.whoami(second) == account)

        let revoked = try await stage.revoke(id, subject ?? "-")
        #expect(revoked.status == 200)
        #expect(revoked["provider"]?.string == "revoked")
        #expect(try await stage.token(id, query).isProblem("not_connected", 409))
        #expect(try await stage.refresh(id, subject ?? "-").isProblem("not_connected", 409))
        #expect(try await stage.whoami(second) == nil)
        let grant = try await stage.grant(id, subject ?? "-")
        #expect(grant["state"]?.string == "revoked")
        #expect(grant["has_refresh_token"]?.bool == false)
        #expect(grant["generation"]?.integer == generation + 2)
    }

    // MARK: Each grant type

    @Test("Authorization code, with each client authentication and each PKCE mode", arguments: authentications, ["none", "S256", "plain"])
    func authorizationCode(authentication: String, pkce: String) async throws {
        try await Stage.with { stage in
            let client = try await client(authentication, of: stage.provider)
            try await stage.add(
                stage.provider.connection(
                    "app", "authorization_code", client: client.id, secret: client.secret,
                    oauth: ["client_authentication": .string(authentication), "pkce": .string(pkce)]))
            #expect(try await stage.token("app", "subject=user-1").isProblem("not_connected", 409))

            let link = try await stage.begin("app", ["subject": "user-1"])
            #expect(try await stage.session(link)["state"]?.string == "open")
            let page = try await Visitor().connect(link.url)
            #expect(page.status == 200)
            #expect(page.url == stage.server.url + "/connect/result/" + link.session)
            let session = try await stage.session(link)
            #expect(session["state"]?.string == "connected")
            #expect(session["error"]?.isNull == true)
            #expect(session["grant"]?["subject"]?.string == "user-1")
            #expect(session["grant"]?["state"]?.string == "active")

            let request = try await onlyRequest(stage, client.id, "authorization_code")
            #expect(request.authentication == seen(authentication))
            #expect(request.parameters.contains("code_verifier") == (pkce != "none"))
            #expect(request.parameters.contains("client_secret") == (authentication == "client_secret_post"))
            try await live(stage, "app", subject: "user-1", as: "user-alice")
        }
    }

    @Test("Password, stored, with each client authentication", arguments: authentications)
    func storedPassword(authentication: String) async throws {
        try await Stage.with { stage in
            let client = try await client(authentication, of: stage.provider)
            try await stage.add(
                stage.provider.connection(
                    "app", "password", client: client.id, secret: client.secret,
                    oauth: ["client_authentication": .string(authentication), "username": "alice", "password": "password"]))
            // Nobody needs to connect it.
            let first = try await stage.token("app")
            #expect(first["refreshed"]?.bool == true, "\(first.text)")
            #expect(try await stage.token("app")["refreshed"]?.bool == false)
            let request = try await onlyRequest(stage, client.id, "password")
            #expect(request.authentication == seen(authentication))
            #expect(try await stage.token("app", "subject=user-1").isProblem("invalid_request", 400))
            let again = try await stage.server.send(.post, "/v1/connections/app/connect", body: [:])
            #expect(again.status == 200)
            #expect(again["subject"]?.isNull == true)
            try await live(stage, "app", subject: nil, as: "user-alice", generation: 2)
        }
    }

    @Test("Password, typed by the end user, with each client authentication", arguments: authentications)
    func typedPassword(authentication: String) async throws {
        try await Stage.with { stage in
            let client = try await client(authentication, of: stage.provider)
            try await stage.add(
                stage.provider.connection(
                    "app", "password", client: client.id, secret: client.secret, oauth: ["client_authentication": .string(authentication)]))
            let link = try await stage.begin("app", ["subject": "user-1"])
            let page = try await Visitor().connect(link.url)
            #expect(page.status == 200)
            #expect(page.url == stage.server.url + "/connect/result/" + link.session)
            #expect(try await stage.session(link)["state"]?.string == "connected")
            try await live(stage, "app", subject: "user-1", as: "user-alice")

            // The application may hand it over at once.
            let done = try await stage.server.send(
                .post, "/v1/connections/app/connect", body: ["subject": "user-2", "username": "bob", "password": "password"])
            #expect(done.status == 200)
            #expect(done["subject"]?.string == "user-2")
            #expect(try await stage.whoami(stage.token("app", "subject=user-2")) == "user-bob")
        }
    }

    @Test("Client credentials, with each client authentication", arguments: authentications)
    func clientCredentials(authentication: String) async throws {
        try await Stage.with { stage in
            let document = stage.provider.connection(
                "app", "client_credentials", client: "machine", secret: "machine-secret", oauth: ["client_authentication": .string(authentication)])
            guard authentication != "none" else {
                let refused = try await stage.server.send(.post, "/v1/connections", body: document)
                #expect(refused.isProblem("invalid_request", 400))
                #expect(refused.pointers == ["/oauth/client_authentication"])
                return
            }
            try await stage.add(document)
            #expect(try await stage.token("app")["refreshed"]?.bool == true)
            let request = try await onlyRequest(stage, "machine", "client_credentials")
            #expect(request.authentication == seen(authentication))
            #expect(try await stage.token("app", "subject=user-1").isProblem("invalid_request", 400))
            #expect(try await stage.grant("app")["has_refresh_token"]?.bool == false)
            try await live(stage, "app", subject: nil, as: "machine")
            // Only connecting again revives it.
            #expect(try await stage.server.send(.post, "/v1/connections/app/connect").status == 200)
            #expect(try await stage.token("app").status == 200)
        }
    }

    @Test func openIDSendsANonceAndShowsTheAccount() async throws {
        try await Stage.with { stage in
            try await stage.add(
                stage.provider.connection("app", "authorization_code", oauth: ["scopes": ["openid", "read"], "issuer": .string(stage.provider.url)]))
            let visitor = Visitor()
            let link = try await stage.begin("app", ["subject": "user-1", "login_hint": "alice@example.com"])
            let url = try await stage.leave(link, by: visitor)
            let sent = try parameters(of: url)
            #expect((22...64).contains(sent["nonce"]?.utf8.count ?? 0))
            #expect(sent["scope"] == "openid read")
            #expect(sent["login_hint"] == "alice@example.com")
            #expect(sent["redirect_uri"] == stage.server.url + "/oauth/callback/app")
            _ = try await visitor.open(try await stage.consent(to: url, by: visitor))
            let grant = try await stage.grant("app", "user-1")
            #expect(grant["account"]?.string == "user-alice")
            // A refreshed ID token says the same.
            #expect(try await stage.refresh("app", "user-1")["account"]?.string == "user-alice")
        }
    }

    // MARK: Connecting

    private func returning(_ stage: Stage, oauth: JSONObject = [:]) -> JSONValue {
        var document = stage.provider.connection("app", "authorization_code", oauth: oauth).object ?? [:]
        document["return_origins"] = [.string(stage.provider.url)]
        return .object(document)
    }

    @Test func theBrowserEndsOnTheReturnURL() async throws {
        try await Stage.with { stage in
            try await stage.add(returning(stage))
            let link = try await stage.begin("app", ["subject": "user-1", "return_url": .string(stage.provider.url + "/?x=1")])
            let visitor = Visitor()
            let denied = try await visitor.connect(link.url, approve: false)
            #expect(
                denied.url == stage.provider.url + "/?x=1&grantee_status=failed&grantee_error=access_denied&grantee_session=" + link.session)
            let failed = try await stage.session(link)
            #expect(failed["state"]?.string == "failed")
            #expect(failed["error"]?.string == "access_denied")
            #expect(failed["grant"]?.isNull == true)
            #expect(try await stage.grant("app", "user-1").isProblem("not_found", 404))
            // A failed try leaves the link open.
            let page = try await visitor.connect(link.url)
            #expect(page.url == stage.provider.url + "/?x=1&grantee_status=connected&grantee_session=" + link.session)
            #expect(try await stage.session(link)["state"]?.string == "connected")
            #expect(try await visitor.connect(link.url).status == 410)
        }
    }

    @Test func withoutAReturnURLAPageSaysThatAccessWasDenied() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            let link = try await stage.begin("app")
            let page = try await Visitor().connect(link.url, approve: false)
            #expect(page.url == stage.server.url + "/connect/result/" + link.session)
            #expect(page.status == 400)
            #expect(page.body.contains("<code>access_denied</code>"))
            #expect(page.body.contains("the person said no"))
        }
    }

    @Test func theApplicationCompletesWhatABrowserBegan() async throws {  // SEC-03
        try await Stage.with { stage in
            try await stage.add(returning(stage))
            let link = try await stage.begin(
                "app", ["subject": "user-1", "return_url": .string(stage.provider.url + "/"), "completion": "application"])
            let page = try await Visitor().connect(link.url)
            #expect(page.url == stage.provider.url + "/?grantee_status=pending&grantee_session=" + link.session)
            #expect(try await stage.session(link)["state"]?.string == "pending")
            #expect(try await stage.provider.tokenRequests("conf").isEmpty)
            #expect(try await stage.token("app", "subject=user-1").isProblem("not_connected", 409))

            func complete(_ subject: JSONValue) async throws -> RunningServer.Answer {
                try await stage.server.send(.post, "/v1/connect-sessions/\(link.session)/complete", body: ["subject": subject])
            }
            #expect(try await complete("user-2").isProblem("subject_mismatch", 409))
            #expect(try await stage.provider.tokenRequests("conf").isEmpty)
            let grant = try await complete("user-1")
            #expect(grant.status == 200)
            #expect(grant["subject"]?.string == "user-1")
            #expect(try await stage.session(link)["state"]?.string == "connected")
            #expect(try await complete("user-1").isProblem("invalid_state", 409))
            #expect(try await stage.provider.tokenRequests("conf", "authorization_code").count == 1)
            #expect(try await stage.whoami(stage.token("app", "subject=user-1")) == "user-alice")
        }
    }

    @Test func aWrongPasswordKeepsTheFormAndCanBeMended() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "password"))
            let link = try await stage.begin("app", ["subject": "user-1"])
            let visitor = Visitor()
            let wrong = try await visitor.connect(link.url, password: "not-it")
            #expect(wrong.status == 422)
            #expect(wrong.url == link.url)
            #expect(wrong.link(to: "/connect/") == "/connect/" + link.ticket)
            #expect(wrong.body.contains("value=\"alice\""))
            #expect(wrong.body.contains("check user name and password"))
            #expect(!wrong.body.contains("not-it"))
            let failed = try await stage.session(link)
            #expect(failed["state"]?.string == "failed")
            #expect(failed["error"]?.string == "exchange_failed")
            #expect(try await stage.health("app") == "ok")
            let page = try await visitor.open(link.url, form: [("username", "alice"), ("password", "password")])
            #expect(page.url == stage.server.url + "/connect/result/" + link.session)
            #expect(try await stage.session(link)["state"]?.string == "connected")
        }
    }

    @Test func anotherAccountThanBeforeNeedsPermission() async throws {  // SEC-47
        try await Stage.with { stage in
            try await stage.add(returning(stage, oauth: ["scopes": ["openid"], "issuer": .string(stage.provider.url)]))
            func connect(_ username: String, _ options: JSONObject = [:]) async throws -> [String: String] {
                var options = options
                options["subject"] = "user-1"
                options["return_url"] = .string(stage.provider.url + "/")
                let link = try await stage.begin("app", options)
                return try parameters(of: try await Visitor().connect(link.url, username: username).url)
            }
            #expect(try await connect("alice")["grantee_status"] == "connected")
            let generation = try await stage.grant("app", "user-1")["generation"]?.integer
            #expect(try await connect("bob")["grantee_error"] == "account_mismatch")
            let kept = try await stage.grant("app", "user-1")
            #expect(kept["account"]?.string == "user-alice")
            #expect(kept["generation"]?.integer == generation)
            #expect(try await connect("alice")["grantee_status"] == "connected")
            #expect(try await connect("bob", ["expected_account": "user-carol"])["grantee_error"] == "account_mismatch")
            #expect(try await connect("bob", ["allow_account_change": true])["grantee_status"] == "connected")
            #expect(try await stage.grant("app", "user-1")["account"]?.string == "user-bob")
        }
    }

    @Test func aNarrowerGrantNamesWhatIsMissing() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code", oauth: ["scopes": ["read", "write"]]))
            try await stage.faults("conf", ["fault": "narrowed_scope", "value": "read", "on": "authorization_code"])
            try await stage.connect("app", ["subject": "user-1"])
            let grant = try await stage.grant("app", "user-1")
            #expect(grant.texts("scope") == ["read"])
            #expect(grant.texts("missing_scope") == ["write"])
            #expect(try await stage.token("app", "subject=user-1").texts("scope") == ["read"])
            // Scopes asked for in one connect stand in for the connection's.
            try await stage.connect("app", ["subject": "user-2", "scopes": ["read"]])
            #expect(try await stage.grant("app", "user-2").texts("missing_scope")?.isEmpty == true)
        }
    }

    // MARK: Grants

    @Test func theSharedGrantIsADash() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            try await stage.connect("app")
            try await stage.connect("app", ["subject": "user-1"])
            let shared = try await stage.grant("app")
            #expect(shared["subject"]?.isNull == true)
            #expect(try await stage.token("app").status == 200)
            func subjects(_ query: String) async throws -> [String] {
                let list = try await stage.server.send(.get, "/v1/grants" + query)
                return (list["items"]?.array ?? []).map { $0["subject"]?.string ?? "-" }.sorted()
            }
            #expect(try await subjects("?subject=-") == ["-"])
            #expect(try await subjects("?subject=user-1") == ["user-1"])
            #expect(try await subjects("") == ["-", "user-1"])
            #expect(try await stage.token("app", "subject=-").isProblem("invalid_request", 400))
            #expect(try await stage.revoke("app")["provider"]?.string == "revoked")
            #expect(try await stage.token("app", "subject=user-1").status == 200)
            #expect(try await stage.token("app").isProblem("not_connected", 409))
        }
    }

    @Test func tokensObtainedElsewhereAreImported() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            let first = try await stage.put(
                "app", "user-1", ["access_token": "imported-1", "refresh_token": "imported-r", "expires_in": 3600, "scope": "read write"])
            #expect(first.status == 200, "\(first.text)")
            #expect(first["state"]?.string == "active")
            #expect(first["has_refresh_token"]?.bool == true)
            #expect(first.texts("scope") == ["read", "write"])
            #expect(try await stage.token("app", "subject=user-1")["access_token"]?.string == "imported-1")

            let second = try await stage.put("app", "user-1", ["access_token": "imported-2", "scope": ["read"]])
            #expect(second["generation"]?.integer == 2)
            #expect(second["expires_at"]?.isNull == true)
            #expect(second["has_refresh_token"]?.bool == false)
            let unknown = try await stage.token("app", "subject=user-1&min_ttl=100")
            #expect(unknown["access_token"]?.string == "imported-2")
            #expect(unknown["expires_in"]?.isNull == true)

            let expired = try await stage.put("app", "user-1", ["access_token": "imported-3", "expires_in": 0])
            #expect(expired["state"]?.string == "expired")
            let over = try await stage.token("app", "subject=user-1")
            #expect(over.isProblem("reauthorization_required", 409))
            #expect(over["fix"]?.string?.contains("/v1/connections/app/connect") == true)
            #expect(try await stage.grant("app", "user-1")["state_reason"]?.string == "no_refresh_token")

            _ = try await stage.revoke("app", "user-1")
            let revived = try await stage.put("app", "user-1", ["access_token": "imported-4"])
            #expect(revived["state"]?.string == "active")
            #expect((revived["generation"]?.integer ?? 0) > 3)
        }
    }

    @Test func anImportedRefreshTokenIsUsed() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code", client: "rotating", secret: "rotating-secret"))
            let form = [
                ("grant_type", "password"), ("username", "bob"), ("password", "password"), ("client_id", "rotating"), ("client_secret", "rotating-secret"),
            ]
            let given = try await Visitor().request(.post, stage.provider.url + "/token", form: form)
            let refresh = try #require(try JSONValue(parsing: Array(given.body.utf8))["refresh_token"]?.string)
            try await stage.put("app", "user-1", ["refresh_token": .string(refresh)])
            let token = try await stage.token("app", "subject=user-1")
            #expect(token["refreshed"]?.bool == true, "\(token.text)")
            #expect(try await stage.whoami(token) == "user-bob")
            #expect(try await stage.refresh("app", "user-1").status == 200)
        }
    }

    // MARK: Lifetimes and crowds

    @Test func aTokenLivesAtLeastAsLongAsWasAskedWhereTheProviderAllows() async throws {
        try await Stage.with { stage in
            try await stage.provider.client(["id": "conf", "access_token_lifetime": 300])
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            try await stage.connect("app", ["subject": "user-1"])
            let enough = try await stage.token("app", "subject=user-1&min_ttl=100")
            #expect(enough["refreshed"]?.bool == false)
            #expect(enough["generation"]?.integer == 1)
            // It cannot: one refresh, then what came.
            let tooLong = try await stage.token("app", "subject=user-1&min_ttl=3000")
            #expect(tooLong["refreshed"]?.bool == true)
            #expect(tooLong["generation"]?.integer == 2)
            #expect((290...300).contains(tooLong["expires_in"]?.integer ?? 0))
            #expect(try await stage.provider.tokenRequests("conf", "refresh_token").count == 1)
            let forced = try await stage.token("app", "subject=user-1&force_refresh=true")
            #expect(forced["generation"]?.integer == 3)
            let late = try await stage.token("app", "subject=user-1&after_generation=1")
            #expect(late["refreshed"]?.bool == false)
            #expect(late["generation"]?.integer == 3)
        }
    }

    @Test func aThousandCallersCostOneRefresh() async throws {  // SEC-57
        try await Stage.with { stage in
            // Each refresh token counts once, and a second use ends the grant.
            try await stage.provider.client(["id": "rotating", "access_token_lifetime": 0])
            try await stage.add(stage.provider.connection("app", "authorization_code", client: "rotating", secret: "rotating-secret"))
            try await stage.connect("app", ["subject": "user-1"])
            #expect(try await stage.grant("app", "user-1")["state"]?.string == "expired")
            try await stage.provider.client(["id": "rotating", "access_token_lifetime": 3600])

            for (generation, query) in [(2, ""), (3, "&after_generation=2")] {
                let answers = try await stage.server.crowd(of: 1000, "/v1/connections/app/token?subject=user-1" + query)
                #expect(answers.count == 1000)
                #expect(Set(answers.map(\.status)) == [200])
                #expect(Set(answers.map { $0.json["access_token"]?.string ?? "" }).count == 1)
                #expect(Set(answers.map { $0.json["generation"]?.integer ?? 0 }) == [generation])
                #expect(try await stage.provider.tokenRequests("rotating", "refresh_token").count == generation - 1)
            }
            #expect(try await stage.refresh("app", "user-1").status == 200)
            #expect(try await stage.whoami(stage.token("app", "subject=user-1")) == "user-alice")
        }
    }

    @Test func expiredGrantsOfOneImportAreRefreshedByACrowdOnce() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code", client: "rotating", secret: "rotating-secret"))
            let form = [
                ("grant_type", "password"), ("username", "alice"), ("password", "password"), ("client_id", "rotating"), ("client_secret", "rotating-secret"),
            ]
            let given = try JSONValue(parsing: Array(try await Visitor().request(.post, stage.provider.url + "/token", form: form).body.utf8))
            try await stage.put(
                "app", "user-1",
                ["access_token": given["access_token"] ?? .null, "refresh_token": given["refresh_token"] ?? .null, "expires_in": 0])
            #expect(try await stage.grant("app", "user-1")["state"]?.string == "expired")
            let answers = try await stage.server.crowd(of: 200, "/v1/connections/app/token?subject=user-1")
            #expect(Set(answers.map(\.status)) == [200])
            #expect(Set(answers.map { $0.json["access_token"]?.string ?? "" }).count == 1)
            #expect(try await stage.provider.tokenRequests("rotating", "refresh_token").count == 1)
        }
    }
}

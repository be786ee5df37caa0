import HTTPTypes
import OAuth
import RehearsalProvider
import TestSupport
import Testing

@testable import Server

/// The doctor over HTTP: each cause provoked at the rehearsal provider, and mended where it can be mended here.
@Suite struct DoctorTests {
    /// What `POST …/diagnose` found, by check.
    struct Found {
        let answer: RunningServer.Answer
        let checks: [String: JSONValue]
        var isOK: Bool { answer["ok"]?.bool == true }
        var wrong: [String] { (answer["checks"]?.array ?? []).filter { $0["ok"]?.bool == false }.compactMap { $0["id"]?.string } }

        func state(_ id: String) -> String? { checks[id]?["state"]?.string }
        func patch(_ id: String) -> JSONValue? { checks[id]?["apply"] }
    }

    private func diagnose(
        _ stage: Stage, _ id: String, _ body: JSONValue? = nil, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Found {
        let answer = try await stage.server.send(.post, "/v1/connections/\(id)/diagnose", body: body)
        #expect(answer.status == 200, "\(answer.text)", sourceLocation: sourceLocation)
        let checks = answer["checks"]?.array ?? []
        for check in checks {
            #expect(check["ok"]?.bool != nil && check["detail"]?.string?.isEmpty == false, "\(check)", sourceLocation: sourceLocation)
            if check["ok"]?.bool == false { #expect(check["fix"]?.string?.isEmpty == false, "\(check)", sourceLocation: sourceLocation) }
        }
        return Found(answer: answer, checks: Dictionary(checks.map { ($0["id"]?.string ?? "", $0) }) { first, _ in first })
    }

    @Test func aConnectionInOrder() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            try await stage.connect("app", ["subject": "user-1"])
            let found = try await diagnose(stage, "app")
            #expect(found.wrong == [])
            #expect(found.isOK)
            for id in ["health", "settings", "callback_url", "token_url", "authorization_url", "metadata", "grants"] {
                #expect(found.state(id) == "ok", "\(id)")
            }
            // Looking is no token request, and a diagnosis leaves no trip behind.
            #expect(try await stage.provider.tokenRequests("conf").count == 1)
            try await stage.add(stage.provider.connection("machine", "client_credentials", client: "machine", secret: "machine-secret"))
            #expect(try await diagnose(stage, "machine").isOK)
            #expect(try await stage.provider.tokenRequests("machine").isEmpty)
        }
    }

    // MARK: What the provider's page tells before anybody has failed

    struct Setup: Sendable, CustomTestStringConvertible {
        let id: String
        /// How the provider knows the client.
        var client: JSONObject = [:]
        var oauth: JSONObject = [:]
        var apply: JSONValue?
        var testDescription: String { "\(id) \(oauth.members.map(\.name))" }
    }

    static let setups: [Setup] = [
        Setup(id: "redirect_uri", client: ["redirect_uris": ["https://elsewhere.example/cb"]]),
        Setup(id: "client", oauth: ["client_id": "nobody-knows-it"]),
        Setup(id: "pkce_required", client: ["pkce": "required"], oauth: ["pkce": "none"], apply: ["oauth": ["pkce": "S256"]]),
        Setup(id: "pkce_required", client: ["pkce": "s256_only"], oauth: ["pkce": "plain"], apply: ["oauth": ["pkce": "S256"]]),
        Setup(id: "pkce_unsupported", client: ["pkce": "forbidden"], apply: ["oauth": ["pkce": "none"]]),
        Setup(id: "pkce_unsupported", client: ["faults": ["refuse_s256"]], apply: ["oauth": ["pkce": "plain"]]),
        Setup(id: "scope", oauth: ["scopes": ["read", "nope"]]), Setup(id: "grant_type", client: ["grant_types": ["client_credentials"]]),
    ]

    @Test("Seen on the authorization page, without a person", arguments: setups)
    func setup(_ setup: Setup) async throws {
        try await Stage.with { stage in
            var client = setup.client
            client["id"] = "mine"
            client["secret"] = "mine-secret"
            try await stage.provider.client(.object(client))
            let made = try await stage.add(
                stage.provider.connection("app", "authorization_code", client: "mine", secret: "mine-secret", oauth: setup.oauth))
            let found = try await diagnose(stage, "app")
            #expect(found.state(setup.id) == "bad", "\(found.answer.text)")
            if setup.id == "redirect_uri" { #expect(found.checks["redirect_uri"]?["values"]?.array?.first?["text"] == made["callback_url"]) }
            guard let apply = setup.apply else { return }
            #expect(found.patch(setup.id) == apply)
            let applied = try await diagnose(stage, "app", ["apply": [.string(setup.id)]])
            #expect(applied.answer.texts("applied") == [setup.id])
            #expect(try await diagnose(stage, "app").wrong == [])
            try await stage.connect("app", ["subject": "user-1"])
        }
    }

    // MARK: What came back from the token endpoint

    struct Answer: Sendable, CustomTestStringConvertible {
        let id: String
        let fault: JSONValue
        var testDescription: String { "\(id) \(String(decoding: fault.serialized(), as: UTF8.self).prefix(80))" }

        init(_ id: String, _ fault: JSONValue) {
            self.id = id
            self.fault = fault
        }
        /// As it is sent, with what it says besides.
        init(_ id: String, says text: String, error: String = "invalid_request", status: Int = 400) {
            let body: JSONValue = ["error": .string(error), "error_description": .string(text)]
            self.init(
                id, ["fault": "answer", "value": ["status": .number(JSONNumber(status)), "body": .string(String(decoding: body.serialized(), as: UTF8.self))]])
        }
    }

    static let answers: [Answer] = [
        Answer("html", "html"), Answer("redirect", "redirect"), Answer("provider_down", "status_500"), Answer("provider_down", "status_503"),
        Answer("rate_limited", "status_429"), Answer("broken_answer", "dropped_before"), Answer("broken_answer", "big_body"),
        Answer("token_type", ["fault": "token_type", "value": "mac"]), Answer("provider_down", "error_with_200"),
        Answer("not_found", ["fault": "answer", "value": ["status": 404, "content_type": "text/html", "body": "<title>Not Found</title>"]]),
        Answer("media_type", ["fault": "answer", "value": ["content_type": "text/xml", "body": "<token>x</token>"]]),
        Answer("media_type", ["fault": "answer", "value": ["body": "{}"]]), Answer("provider", ["fault": "error", "value": "brand_new"]),
        Answer("resource", ["fault": "error", "value": "invalid_target"]), Answer("scope", ["fault": "error", "value": "invalid_scope"]),
        Answer("grant_type", ["fault": "error", "value": "unauthorized_client"]), Answer("request", ["fault": "error", "value": "invalid_request"]),
        Answer("client", says: "AADSTS7000215: Invalid client secret provided.", error: "invalid_client", status: 401),
        Answer("client_secret_expired", says: "AADSTS7000222: The provided client secret keys for app 'x' are expired.", error: "invalid_client", status: 401),
        Answer("admin_consent", says: "AADSTS65001: The user or administrator has not consented", error: "invalid_grant"),
        Answer("mfa", says: "AADSTS50076: you must use multi-factor authentication", error: "invalid_grant"),
        Answer("tenant", says: "AADSTS90002: Tenant not found."), Answer("platform", says: "AADSTS9002327: Tokens issued for the 'Single-Page Application'"),
        Answer("interaction", ["fault": "error", "value": "interaction_required"]),
    ]

    @Test("An answer of the token endpoint", arguments: answers)
    func answer(_ row: Answer) async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("machine", "client_credentials", client: "machine", secret: "machine-secret"))
            var fault = row.fault.object ?? ["fault": row.fault]
            fault["times"] = 1
            try await stage.faults("machine", .object(fault))
            #expect(try await stage.token("machine").status != 200)
            let found = try await diagnose(stage, "machine")
            #expect(found.wrong.contains(row.id), "\(found.answer.text)")
            let evidence = found.checks[row.id]?["evidence"]
            #expect(evidence?["sent"]?.string?.contains("grant_type=client_credentials") == true)
            #expect(evidence?["received"]?.string?.isEmpty == false)
            #expect(!found.answer.text.contains("machine-secret") && !found.answer.text.contains("at_"))
            // The next token that comes ends it.
            _ = try await stage.server.send(.post, "/v1/connections/machine/connect", body: [:])
            #expect(try await diagnose(stage, "machine").isOK)
        }
    }

    @Test func aRefusedSecretAndAWayToSendItThatIsNotTheirs() async throws {
        try await Stage.with { stage in
            try await stage.provider.client(["id": "poster", "secret": "poster-secret", "client_authentication": ["client_secret_post"]])
            try await stage.add(stage.provider.connection("app", "client_credentials", client: "poster", secret: "poster-secret"))
            #expect(try await stage.token("app").status == 502)
            #expect(try await stage.health("app") == "misconfigured")
            let found = try await diagnose(stage, "app")
            #expect(found.state("client_authentication") == "bad")
            #expect(found.patch("client_authentication") == ["oauth": ["client_authentication": "client_secret_post"]])
            _ = try await diagnose(stage, "app", ["apply": ["client_authentication"]])
            #expect(try await stage.health("app") == "ok")
            #expect(try await stage.token("app").status == 200)
            #expect(try await diagnose(stage, "app").isOK)

            try await stage.add(stage.provider.connection("wrong", "client_credentials", client: "machine", secret: "not-the-secret"))
            #expect(try await stage.token("wrong").status == 502)
            let wrong = try await diagnose(stage, "wrong")
            #expect(wrong.state("client") == "bad")
            #expect(!wrong.answer.text.contains("not-the-secret"))
        }
    }

    @Test func theProbeAsksThreeTimesAtMostAndFindsTheWay() async throws {
        try await Stage.with { stage in
            try await stage.provider.client(["id": "poster", "secret": "poster-secret", "client_authentication": ["client_secret_post"]])
            try await stage.add(stage.provider.connection("app", "authorization_code", client: "poster", secret: "poster-secret"))
            let found = try await diagnose(stage, "app", ["probe": true, "apply": ["client_authentication"]])
            #expect(found.answer.texts("applied") == ["client_authentication"])
            #expect(try await stage.provider.tokenRequests("poster").count + stage.provider.refused() <= 3)
            #expect(try await stage.server.send(.get, "/v1/connections/app")["oauth"]?["client_authentication"]?.string == "client_secret_post")
            try await stage.connect("app", ["subject": "user-1"])
        }
    }

    @Test func aConnectionThatWasStoppedGoesOnWhenTheDoctorFindsThatItWorks() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            try await stage.connect("app", ["subject": "user-1"])
            try await stage.provider.client(["id": "conf", "secret": "another-secret"])
            #expect(try await stage.refresh("app", "user-1").status == 502)
            #expect(try await stage.health("app") == "misconfigured")
            try await stage.provider.client(["id": "conf", "secret": "conf-secret"])
            let found = try await diagnose(stage, "app", ["probe": true])
            #expect(found.state("client_authentication") == "ok", "\(found.answer.text)")
            #expect(found.state("health") == "ok")
            #expect(try await stage.health("app") == "ok")
            #expect(try await stage.refresh("app", "user-1").status == 200)
        }
    }

    @Test func grantsThatLackSomething() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code", oauth: ["scopes": ["read", "write"]]))
            try await stage.faults("conf", ["fault": "narrowed_scope", "value": "read", "times": 1], ["fault": "no_refresh_token", "times": 1])
            try await stage.connect("app", ["subject": "user-1"])
            let found = try await diagnose(stage, "app")
            #expect(Set(found.wrong) == ["missing_scope", "offline_access"])
            // The rehearsal provider lists offline_access: the doctor knows how to ask.
            #expect(found.patch("offline_access") == ["oauth": ["scopes": ["read", "write", "offline_access"]]])
            try await stage.faults("conf", ["fault": "error", "value": "invalid_grant", "on": "refresh_token"])
            try await stage.add(stage.provider.connection("kept", "authorization_code"))
            try await stage.connect("kept", ["subject": "user-1"])
            #expect(try await stage.refresh("kept", "user-1").code == "reauthorization_required")
            #expect(Set(try await diagnose(stage, "kept").wrong) == ["refresh_token", "grants"])
            try await stage.connect("kept", ["subject": "user-1"])
            #expect(try await diagnose(stage, "kept").wrong == [])
        }
    }

    @Test func clocksAndIssuersOfIDTokens() async throws {
        try await Stage.with { stage in
            try await stage.add(
                stage.provider.connection("app", "authorization_code", oauth: ["scopes": ["openid"], "issuer": .string(stage.provider.url)]))
            for (claims, id) in [(["iat": 4_102_444_800] as JSONValue, "clock"), (["iss": "https://another.example"], "id_token")] {
                try await stage.faults("conf", ["fault": "id_token", "value": claims, "times": 1])
                _ = try await Visitor().connect(try await stage.begin("app", ["subject": "user-1"]).url)
                #expect(try await diagnose(stage, "app").state(id) == "bad")
            }
        }
    }

    @Test func whatTheBrowserBroughtBack() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code", oauth: ["issuer": .string(stage.provider.url)]))
            for (fault, id) in [
                (["fault": "wrong_iss", "times": 1] as JSONValue, "issuer"),
                (["fault": "redirect_query", "value": "state={state}&iss=ISS", "times": 1], "callback"),
                (["fault": "redirect_query", "value": "error=access_denied&state={state}&iss=ISS", "times": 1], "access_denied"),
            ] {
                var fault = fault.object ?? [:]
                if let value = fault["value"]?.string { fault["value"] = .string(value.replacing("ISS", with: Form.encode(stage.provider.url))) }
                try await stage.faults("conf", .object(fault))
                _ = try await Visitor().connect(try await stage.begin("app", ["subject": "user-1"]).url)
                let found = try await diagnose(stage, "app")
                #expect(found.wrong == [id], "\(found.answer.text)")
            }
            try await stage.connect("app", ["subject": "user-1"])
            #expect(try await diagnose(stage, "app").wrong == [])
        }
    }

    @Test func aPersonsPasswordThatIsWrongStopsNobodyElse() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "password"))
            let refused = try await stage.server.send(
                .post, "/v1/connections/app/connect", body: ["subject": "user-1", "username": "alice", "password": "wrong-passphrase"])
            #expect(refused.status == 502)
            let found = try await diagnose(stage, "app")
            #expect(found.state("credentials") == "warn")
            #expect(!found.answer.text.contains("wrong-passphrase") && !found.answer.text.contains("alice"))
        }
    }

    @Test func endpointsThatTheProviderNamesOtherwise() async throws {
        try await Stage.with { stage in
            let url = stage.provider.url
            try await stage.add(
                stage.provider.connection(
                    "app", "authorization_code", oauth: ["issuer": .string(url), "token_url": .string(url + "/oauth2/token")]))
            let found = try await diagnose(stage, "app")
            #expect(found.patch("metadata") == ["oauth": ["token_url": .string(url + "/token")]])
            _ = try await diagnose(stage, "app", ["apply": ["metadata"]])
            try await stage.connect("app", ["subject": "user-1"])
            #expect(try await diagnose(stage, "app").wrong == [])
            // An issuer that is none stops everybody who connects.
            try await stage.add(stage.provider.connection("odd", "authorization_code", oauth: ["issuer": .string(url + "/")]))
            #expect(try await diagnose(stage, "odd").state("metadata") == "bad")
        }
    }

    @Test func hostsThatDoNotAnswer() async throws {
        try await Stage.with { stage in
            let secure = stage.provider.url.replacing("http://", with: "https://")
            for (id, url) in [("nobody", "http://127.0.0.1:1"), ("plain", secure)] {
                try await stage.add(
                    stage.provider.connection(
                        id, "authorization_code", oauth: ["token_url": .string(url + "/token"), "authorization_url": .string(url + "/authorize")]))
            }
            let nobody = try await diagnose(stage, "nobody")
            #expect(nobody.state("token_url") == "bad" && nobody.state("authorization_url") == "bad")
            let plain = try await diagnose(stage, "plain")
            #expect(plain.state("token_url") == "bad", "\(plain.answer.text)")
        }
    }

    @Test func aBrowserThatWasLostOnTheWay() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            _ = try await stage.leave(try await stage.begin("app", ["subject": "user-1"]), by: Visitor())
            // Not in the first minute: the person is still there.
            #expect(try await diagnose(stage, "app").checks["no_return"] == nil)
        }
    }

    // MARK: The door

    @Test func whatIsAskedForWronglyIsNamed() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            func pointers(_ body: JSONValue) async throws -> [String] {
                let answer = try await stage.server.send(.post, "/v1/connections/app/diagnose", body: body)
                #expect(answer.isProblem("invalid_request", 400), "\(answer.text)")
                return answer.pointers
            }
            #expect(try await pointers(["probe": "yes"]) == ["/probe"])
            #expect(try await pointers(["apply": "pkce_required"]) == ["/apply"])
            #expect(try await pointers(["fix": true]) == ["/fix"])
            #expect(try await pointers(["apply": ["health"]]) == ["/apply/0"])
            let unknown = try await stage.server.send(.post, "/v1/connections/none/diagnose")
            #expect(unknown.isProblem("not_found", 404))
        }
    }

    @Test func whatWasChangedMeanwhileIsNotOverwritten() async throws {
        try await Stage.with { stage in
            try await stage.provider.client(["id": "mine", "secret": "mine-secret", "pkce": "forbidden"])
            try await stage.add(stage.provider.connection("app", "authorization_code", client: "mine", secret: "mine-secret"))
            let browser = try await ConsoleBrowser.signedIn(stage.server)
            _ = try await browser.submit("/console/connections/app/doctor", [("button", "check")])
            #expect(try await stage.server.send(.patch, "/v1/connections/app", body: ["name": "Renamed"]).status == 200)
            let late = try await browser.submit(
                "/console/connections/app/doctor", [("button", "apply"), ("check", "pkce_unsupported"), ("revision", "1")])
            #expect(late.status == 412)
            #expect(try await stage.server.send(.get, "/v1/connections/app")["oauth"]?["pkce"]?.string == "S256")
        }
    }

    // MARK: The page

    @Test func thePageShowsTheCauseTheEvidenceAndTheChangeAndAppliesIt() async throws {
        try await Stage.with { stage in
            try await stage.provider.client(["id": "poster", "secret": "poster-secret", "client_authentication": ["client_secret_post"]])
            try await stage.add(stage.provider.connection("app", "client_credentials", client: "poster", secret: "poster-secret"))
            #expect(try await stage.token("app").status == 502)
            let browser = try await ConsoleBrowser.signedIn(stage.server)
            let path = "/console/connections/app/doctor"
            let page = try await browser.get(path)
            #expect(page.status == 200, "\(page.body)")
            for text in [
                "keep this connection from working", "The provider wants the client authenticated otherwise", "What was sent", "What came back",
                "oauth.client_authentication", "client_secret_basic", "client_secret_post", "Check now", "at most three requests",
            ] { #expect(page.body.contains(text), "\(text)") }
            #expect(!page.body.contains("poster-secret"))
            // Looking at the page asks nobody.
            #expect(try await stage.provider.tokenRequests("poster").isEmpty)
            let form = try #require(FormReader(page.body, action: path))
            #expect(form["csrf"]?.isEmpty == false)
            let checked = try await browser.submit(path, [("button", "check")])
            #expect(checked.status == 303)
            #expect(ConsoleBrowser.path(checked, at: stage.server) == path)
            #expect(try await browser.get(path).body.contains("Looked at the provider"))
            let revision = try await stage.server.send(.get, "/v1/connections/app").headers[.eTag]?.filter { $0 != "\"" } ?? ""
            let applied = try await browser.submit(path, [("button", "apply"), ("check", "client_authentication"), ("revision", revision)])
            #expect(ConsoleBrowser.path(applied, at: stage.server) == path + "?done=doctor-applied")
            #expect(try await stage.token("app").status == 200)
            #expect(try await browser.get(path).body.contains("Nothing is wrong as far as can be told"))
        }
    }

    @Test func textOfAProviderStaysText() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("machine", "client_credentials", client: "machine", secret: "machine-secret"))
            let row = Answer("provider", says: #"<script>alert(1)</script><a href="javascript:x">y</a>"#, error: "brand_new", status: 418)
            try await stage.faults("machine", row.fault)
            _ = try await stage.token("machine")
            let page = try await ConsoleBrowser.signedIn(stage.server).get("/console/connections/machine/doctor")
            #expect(page.body.contains("&lt;script&gt;"))
            #expect(!page.body.contains("<script>alert") && !page.body.contains("href=\"javascript"))
        }
    }
}

extension RunningProvider {
    /// Token requests whose client was refused at the door: the log does not say whose they were.
    fileprivate func refused() async throws -> Int {
        let log = try await RunningServer.send(.get, to: url + "/_rehearsal/log", key: nil)
        return (log["items"]?.array ?? []).filter { $0["path"]?.string == "/token" && $0["client"]?.isNull == true }.count
    }
}

import HTTPTypes
import OAuth
import RehearsalProvider
import Server
import TestSupport
import Testing

/// A provider that misbehaves in each way that it knows: what the caller sees, and that no grant is lost by it.
@Suite struct FaultTests {
    /// What becomes of a token request.
    enum Outcome: Sendable {
        case works
        /// `provider_error`, with the status that the provider sent (`nil`: no whole answer) and its error code.
        case refused(status: Int?, error: String? = nil, health: String)
        case reauthorization
        /// Not at the token endpoint, or told apart by a test of its own.
        case elsewhere
    }

    /// A new kind needs its line here.
    private func plan(_ kind: RehearsalFault.Kind) -> (value: JSONValue, outcome: Outcome) {
        switch kind {
        case .slow: (1, .works)
        case .droppedBefore, .droppedAfter, .bigBody: (.null, .refused(status: nil, health: "provider_down"))
        case .status500: (.null, .refused(status: 500, health: "provider_down"))
        case .status503: (.null, .refused(status: 503, health: "provider_down"))
        case .status429: (.null, .refused(status: 429, error: "temporarily_unavailable", health: "provider_down"))
        case .html: (.null, .refused(status: 200, health: "ok"))
        case .redirect: ("http://localhost:1/elsewhere", .refused(status: 307, health: "misconfigured"))
        case .answer: (["status": 418, "body": "{}"], .refused(status: 418, health: "ok"))
        case .error: ("invalid_grant", .reauthorization)
        case .errorWith200: (.null, .refused(status: 200, error: "server_error", health: "provider_down"))
        case .tokenType: ("mac", .refused(status: 200, health: "ok"))
        case .narrowedScope: ("read", .works)
        case .formEncoded, .noExpiresIn, .stringExpiresIn, .noRefreshToken: (.null, .works)
        case .idToken, .wrongIss, .noIss, .wrongState, .noState, .redirectQuery, .refuseS256, .revocationStatus: (.null, .elsewhere)
        }
    }

    private func fault(_ kind: RehearsalFault.Kind, _ value: JSONValue, on grantType: String, times: Int = 1) -> JSONValue {
        ["fault": .string(kind.rawValue), "value": value, "on": .string(grantType), "times": .number(JSONNumber(times))]
    }

    /// The problem of a refused token request.
    private func expect(_ answer: RunningServer.Answer, status: Int?, error: String?, sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(answer.isProblem("provider_error", 502), "\(answer.text)", sourceLocation: sourceLocation)
        #expect(!answer.string("fix").isEmpty, sourceLocation: sourceLocation)
        #expect(answer["provider"]?.object != nil, sourceLocation: sourceLocation)
        #expect(answer["provider"]?["status"]?.integer == status, "\(answer.text)", sourceLocation: sourceLocation)
        #expect(answer["provider"]?["error"]?.string == error, sourceLocation: sourceLocation)
        // Of a body that is no token response nothing is shown. SEC-41
        #expect(!answer.text.contains("<h1>") && !answer.text.contains("doctype"), sourceLocation: sourceLocation)
    }

    // MARK: At the token endpoint

    @Test("A refresh", arguments: RehearsalFault.Kind.allCases)
    func refresh(kind: RehearsalFault.Kind) async throws {
        let (value, outcome) = plan(kind)
        if case .elsewhere = outcome { return }
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code", oauth: ["scopes": ["read", "write"]]))
            try await stage.connect("app", ["subject": "user-1"])
            try await stage.faults("conf", fault(kind, value, on: "refresh_token"))
            let answer = try await stage.refresh("app", "user-1")
            let grant = try await stage.grant("app", "user-1")
            switch outcome {
            case .elsewhere: break
            case .works:
                #expect(answer.status == 200, "\(answer.text)")
                #expect(grant["generation"]?.integer == 2)
                #expect(grant["has_refresh_token"]?.bool == true)
                #expect(grant.texts("missing_scope") == (kind == .narrowedScope ? ["write"] : []))
                let token = try await stage.token("app", "subject=user-1")
                #expect((token["expires_in"]?.integer ?? 0 > 3500) == (kind != .noExpiresIn), "\(token.text)")
                #expect(try await stage.health("app") == "ok")
            case .reauthorization:
                #expect(answer.isProblem("reauthorization_required", 409), "\(answer.text)")
                #expect(answer["provider"]?["status"]?.integer == 400)
                #expect(answer["provider"]?["error"]?.string == "invalid_grant")
                #expect(answer.string("fix").contains("/v1/connections/app/connect"))
                #expect(grant["state"]?.string == "reauthorization_required")
                #expect(grant["state_reason"]?.string == "invalid_grant")
                #expect(try await stage.health("app") == "ok")
                // The provider is not asked again; a person mends it.
                #expect(try await stage.refresh("app", "user-1").isProblem("reauthorization_required", 409))
                #expect(try await stage.provider.tokenRequests("conf", "refresh_token").count == 1)
                try await stage.connect("app", ["subject": "user-1"])
                #expect(try await stage.grant("app", "user-1")["state"]?.string == "active")
            case .refused(let status, let error, let health):
                expect(answer, status: status, error: error)
                #expect(try await stage.health("app") == health)
                // The grant is as it was, and the token that still lives is served.
                #expect(grant["state"]?.string == "active")
                #expect(grant["generation"]?.integer == 1)
                #expect(try await stage.token("app", "subject=user-1")["generation"]?.integer == 1)
                if health == "misconfigured" {
                    #expect(try await stage.refresh("app", "user-1").isProblem("misconfigured", 409))
                    #expect(try await stage.provider.tokenRequests("conf", "refresh_token").count == 1)
                    #expect(try await stage.server.send(.patch, "/v1/connections/app", body: ["name": "Mended"]).status == 200)
                }
                let again = try await stage.refresh("app", "user-1")
                #expect(again["generation"]?.integer == 2, "\(again.text)")
                #expect(try await stage.health("app") == "ok")
                #expect(try await stage.whoami(stage.token("app", "subject=user-1")) == "user-alice")
            }
        }
    }

    @Test("A first token, and a person's code", arguments: RehearsalFault.Kind.allCases)
    func first(kind: RehearsalFault.Kind) async throws {
        let (value, outcome) = plan(kind)
        guard kind != .slow else { return }
        let (status, error): (Int?, String?)
        switch outcome {
        case .elsewhere: return
        case .works: (status, error) = (0, nil)
        case .reauthorization: (status, error) = (400, "invalid_grant")
        case .refused(let said, let code, _): (status, error) = (said, code)
        }
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("machine", "client_credentials", client: "machine", secret: "machine-secret"))
            try await stage.faults("machine", fault(kind, value, on: "client_credentials"))
            let answer = try await stage.token("machine")
            if case .works = outcome {
                #expect(answer.status == 200, "\(answer.text)")
            } else {
                expect(answer, status: status, error: error)
                #expect(try await stage.grant("machine").isProblem("not_found", 404))
                #expect(try await stage.server.send(.patch, "/v1/connections/machine", body: ["name": "Mended"]).status == 200)
                #expect(try await stage.token("machine").status == 200)
            }

            try await stage.add(stage.provider.connection("app", "authorization_code", oauth: ["scopes": ["read", "write"]]))
            try await stage.faults("conf", fault(kind, value, on: "authorization_code"))
            let link = try await stage.begin("app", ["subject": "user-1"])
            let visitor = Visitor()
            let page = try await visitor.connect(link.url)
            let session = try await stage.session(link)
            if case .works = outcome {
                #expect(session["state"]?.string == "connected", "\(session.text)")
                let grant = try await stage.grant("app", "user-1")
                #expect(grant["has_refresh_token"]?.bool == (kind != .noRefreshToken))
                #expect(grant["expires_at"]?.isNull == (kind == .noExpiresIn))
                #expect(grant.texts("missing_scope") == (kind == .narrowedScope ? ["write"] : []))
            } else {
                #expect(session["state"]?.string == "failed", "\(session.text)")
                #expect(session["error"]?.string == "exchange_failed")
                #expect(page.status == 400)
                #expect(page.body.contains("<code>exchange_failed</code>"))
                #expect(try await stage.grant("app", "user-1").isProblem("not_found", 404))
                // The code went out once, and a new try has one of its own. SEC-31
                #expect(try await stage.provider.tokenRequests("conf", "authorization_code").count == 1)
                _ = try await visitor.connect(link.url)
                #expect(try await stage.session(link)["state"]?.string == "connected")
            }
        }
    }

    @Test(
        "Each error code names its remedy (SEC-60)",
        arguments: [
            ("invalid_request", "misconfigured"), ("invalid_client", "misconfigured"), ("unauthorized_client", "misconfigured"),
            ("unsupported_grant_type", "misconfigured"), ("invalid_scope", "misconfigured"), ("temporarily_unavailable", "provider_down"),
            ("server_error", "provider_down"), ("brand_new", "ok"),
        ])
    func errorCode(code: String, health: String) async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            try await stage.connect("app", ["subject": "user-1"])
            try await stage.faults("conf", ["fault": "error", "value": .string(code), "on": "refresh_token"])
            expect(try await stage.refresh("app", "user-1"), status: 400, error: code)
            #expect(try await stage.health("app") == health)
            #expect(try await stage.grant("app", "user-1")["state"]?.string == "active")
            #expect(try await stage.token("app", "subject=user-1").status == 200)
        }
    }

    @Test func retryAfterIsPassedOnAndKept() async throws {  // SEC-60
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            try await stage.connect("app", ["subject": "user-1"])
            try await stage.faults("conf", ["fault": "status_429", "value": 30, "on": "refresh_token", "times": 1])
            let first = try await stage.refresh("app", "user-1")
            expect(first, status: 429, error: "temporarily_unavailable")
            #expect(first.headers[.retryAfter] == "30")
            let second = try await stage.refresh("app", "user-1")
            #expect(second.code == "provider_error")
            #expect((25...30).contains(Int(second.headers[.retryAfter] ?? "") ?? 0))
            #expect(try await stage.provider.tokenRequests("conf", "refresh_token").count == 1)
            #expect(try await stage.token("app", "subject=user-1").status == 200)
        }
    }

    @Test func aRotatedTokenWhoseAnswerWasLostIsTriedOnceMoreAndThenNeedsAPerson() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code", client: "rotating", secret: "rotating-secret"))
            try await stage.connect("app", ["subject": "user-1"])
            try await stage.faults("rotating", ["fault": "dropped_after", "on": "refresh_token", "times": 1])
            expect(try await stage.refresh("app", "user-1"), status: nil, error: nil)
            #expect(try await stage.token("app", "subject=user-1").status == 200)
            #expect(try await stage.refresh("app", "user-1").isProblem("reauthorization_required", 409))
            #expect(try await stage.grant("app", "user-1")["state_reason"]?.string == "outcome_unknown")
            #expect(try await stage.provider.tokenRequests("rotating", "refresh_token").count == 2)
        }
    }

    @Test("A token endpoint that is not there", arguments: ["http://127.0.0.1:1/token", "https://127.0.0.1:1/token"])
    func unreachable(url: String) async throws {
        try await RunningServer.with { server in
            let made = try await server.send(
                .post, "/v1/connections",
                body: [
                    "id": "app", "name": "app",
                    "oauth": ["grant_type": "client_credentials", "token_url": .string(url), "client_id": "c", "client_secret": "s"],
                ])
            #expect(made.status == 201, "\(made.text)")
            let answer = try await server.send(.get, "/v1/connections/app/token")
            #expect(answer.isProblem("provider_unreachable", 504), "\(answer.text)")
            #expect(!answer.string("fix").isEmpty)
            #expect(try await server.send(.get, "/v1/connections/app")["health"]?["state"]?.string == "provider_down")
        }
    }

    // MARK: ID tokens

    @Test(
        "An ID token that fails one check gives no grant (SEC-08, SEC-45)",
        arguments: [
            #"{"nonce":"another"}"#, #"{"nonce":null}"#, #"{"iss":"https://another.example"}"#, #"{"aud":"another"}"#, #"{"aud":["conf","another"]}"#,
            #"{"azp":"another"}"#, #"{"exp":1}"#, #"{"exp":null}"#, #"{"iat":1}"#, #"{"iat":null}"#, #"{"sub":null}"#, #"{"sub":""}"#, #"{"nbf":4102444800}"#,
        ])
    func idToken(claims: String) async throws {
        let value = try JSONValue(parsing: Array(claims.utf8))
        try await Stage.with { stage in
            try await stage.add(
                stage.provider.connection("app", "authorization_code", oauth: ["scopes": ["openid"], "issuer": .string(stage.provider.url)]))
            try await stage.faults("conf", ["fault": "id_token", "value": value, "times": 1])
            let link = try await stage.begin("app", ["subject": "user-1"])
            let page = try await Visitor().connect(link.url)
            #expect(page.status == 400)
            #expect(try await stage.session(link)["error"]?.string == "exchange_failed")
            #expect(try await stage.grant("app", "user-1").isProblem("not_found", 404))
            #expect(try await stage.token("app", "subject=user-1").isProblem("not_connected", 409))
        }
    }

    @Test func aRefreshThatAnswersForAnotherAccountEndsTheGrant() async throws {  // SEC-47
        try await Stage.with { stage in
            try await stage.add(
                stage.provider.connection("app", "authorization_code", oauth: ["scopes": ["openid"], "issuer": .string(stage.provider.url)]))
            try await stage.connect("app", ["subject": "user-1"])
            try await stage.faults("conf", ["fault": "id_token", "value": ["sub": "user-mallory"], "on": "refresh_token", "times": 1])
            #expect(try await stage.refresh("app", "user-1").isProblem("reauthorization_required", 409))
            let grant = try await stage.grant("app", "user-1")
            #expect(grant["state_reason"]?.string == "account_mismatch")
            #expect(grant["account"]?.string == "user-alice")
            #expect(try await stage.token("app", "subject=user-1").isProblem("reauthorization_required", 409))
        }
    }

    // MARK: At the callback

    struct Callback: Sendable, CustomTestStringConvertible {
        let fault: String
        var value: JSONValue = .null
        /// Whether the connection names its issuer, whose metadata promises `iss`.
        var hasIssuer = false
        /// `nil` = it connects.
        let error: String?
        /// Whether the session is found, so that the browser leaves with the error.
        var isKnown = true
        var testDescription: String { "\(fault) \(value.string ?? "") \(hasIssuer ? "with" : "without") issuer" }
    }

    static let callbacks: [Callback] = [
        Callback(fault: "wrong_iss", hasIssuer: true, error: "issuer_mismatch"),
        Callback(fault: "wrong_iss", value: "HTTP://LOCALHOST", hasIssuer: true, error: "issuer_mismatch"),
        Callback(fault: "no_iss", hasIssuer: true, error: "issuer_mismatch"),
        Callback(fault: "wrong_iss", error: nil),
        Callback(fault: "no_iss", error: nil),
        Callback(fault: "wrong_state", error: "invalid_state", isKnown: false),
        Callback(fault: "no_state", error: "invalid_state", isKnown: false),
        Callback(fault: "refuse_s256", error: "invalid_request"),
        Callback(fault: "redirect_query", value: "state={state}", error: "missing_code"),
        Callback(fault: "redirect_query", value: "code=&state={state}", error: "missing_code"),
        Callback(fault: "redirect_query", value: "error=server_error&state={state}", error: "server_error"),
        Callback(fault: "redirect_query", value: "error=brand_new&state={state}", error: "brand_new"),
        Callback(fault: "redirect_query", value: "error=%3Cscript%3E&state={state}", error: "unknown_error"),
        Callback(fault: "redirect_query", value: "error=access_denied&state={state}", hasIssuer: true, error: "issuer_mismatch"),
        Callback(fault: "redirect_query", value: "code=a%20b&state={state}", error: "invalid_request"),
        Callback(fault: "redirect_query", value: "code={code}&code={code}&state={state}", error: "invalid_request", isKnown: false),
        Callback(fault: "redirect_query", value: "code={code}&error=x&state={state}", error: "invalid_request", isKnown: false),
        Callback(fault: "redirect_query", value: "code={code}&state={state}&extra=1", error: nil),
    ]

    @Test("A faulty authorization response", arguments: callbacks)
    func callback(row: Callback) async throws {
        try await Stage.with { stage in
            var oauth: JSONObject = [:]
            if row.hasIssuer { oauth["issuer"] = .string(stage.provider.url) }
            var document = stage.provider.connection("app", "authorization_code", oauth: oauth).object ?? [:]
            document["return_origins"] = [.string(stage.provider.url)]
            try await stage.add(.object(document))
            try await stage.faults("conf", ["fault": .string(row.fault), "value": row.value])
            let link = try await stage.begin("app", ["subject": "user-1", "return_url": .string(stage.provider.url + "/")])
            let page = try await Visitor().connect(link.url)
            let session = try await stage.session(link)
            guard let error = row.error else {
                #expect(session["state"]?.string == "connected", "\(session.text)")
                return
            }
            // Nothing went to the token endpoint, and no weaker request was tried. SEC-05, SEC-23, SEC-24
            #expect(try await stage.provider.tokenRequests("conf").isEmpty)
            if row.isKnown {
                #expect(try parameters(of: page.url)["grantee_error"] == error)
                #expect(session["state"]?.string == "failed")
                #expect(session["error"]?.string == error)
            } else {
                #expect(page.status == 400)
                #expect(page.body.contains("<code>\(error)</code>"))
                #expect(session["state"]?.string == "open")
            }
        }
    }

    // MARK: Revocation

    @Test(
        "What the provider answers to a revocation (SEC-64)",
        arguments: [(200, "revoked"), (503, "pending"), (500, "pending"), (429, "pending"), (400, "unsupported")])
    func revocation(status: Int, result: String) async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            try await stage.connect("app", ["subject": "user-1"])
            try await stage.faults("conf", ["fault": "revocation_status", "value": .number(JSONNumber(status))])
            let answer = try await stage.revoke("app", "user-1")
            #expect(answer.status == 200)
            #expect(answer["provider"]?.string == result)
            // Here it is over, whatever the provider says.
            #expect(try await stage.grant("app", "user-1")["state"]?.string == "revoked")
            #expect(try await stage.token("app", "subject=user-1").isProblem("not_connected", 409))
        }
    }

    @Test func aRevocationThatCannotBeAskedForSaysSo() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code", oauth: ["revocation_url": .null]))
            try await stage.connect("app")
            #expect(try await stage.revoke("app")["provider"]?.string == "unsupported")

            try await stage.add(stage.provider.connection("other", "authorization_code"))
            try await stage.connect("other")
            try await stage.provider.client(["id": "conf", "secret": "changed-at-the-provider"])
            #expect(try await stage.revoke("other")["provider"]?.string == "failed")
            #expect(try await stage.token("other").isProblem("not_connected", 409))
        }
    }

    // MARK: Metadata

    @Test func metadataIsReadStrictly() async throws {  // SEC-48
        try await Stage.with { stage in
            func discover(_ issuer: String) async throws -> RunningServer.Answer {
                try await stage.server.send(.post, "/v1/connections/discover", body: ["issuer": .string(issuer)])
            }
            let found = try await discover(stage.provider.url)
            #expect(found.status == 200, "\(found.text)")
            #expect(found["token_url"]?.string == stage.provider.url + "/token")
            #expect(found["authorization_url"]?.string == stage.provider.url + "/authorize")
            #expect(found["iss_parameter_supported"]?.bool == true)
            #expect(found.texts("pkce_supported") == ["S256", "plain"])
            // The same server by another name is another issuer.
            for issuer in [stage.provider.url + "/", stage.provider.url.replacing("localhost", with: "127.0.0.1")] {
                let other = try await discover(issuer)
                #expect(other.isProblem("provider_error", 502), "\(other.text)")
                #expect(!other.string("fix").isEmpty)
            }
            // A path has no document there.
            #expect(try await discover(stage.provider.url + "/tenant").isProblem("provider_error", 502))
            #expect(try await discover("http://127.0.0.1:1").isProblem("provider_unreachable", 504))
            #expect(try await discover(stage.server.url).isProblem("egress_blocked", 422))
        }
    }

    @Test func anIssuerWhoseMetadataSpeaksForAnotherStopsTheTrip() async throws {
        try await Stage.with { stage in
            let issuer = stage.provider.url.replacing("localhost", with: "127.0.0.1")
            try await stage.add(stage.provider.connection("app", "authorization_code", oauth: ["issuer": .string(issuer)]))
            let link = try await stage.begin("app")
            let page = try await Visitor().connect(link.url)
            #expect(page.status == 502)
            #expect(page.body.contains("another issuer"))
            #expect(try await stage.provider.tokenRequests("conf").isEmpty)
        }
    }

    @Test("A forbidden address tells nothing of what is there (SEC-76)") func forbiddenAddressesLookAlike() async throws {
        try await RunningServer.with(
            { $0.egressAllow = [] },
            { server in
                let port = try EndpointURL(server.url).effectivePort
                var answers: Set<[UInt8]> = []
                // An open port, a closed one, and places that would not answer at all.
                for target in ["https://127.0.0.1:\(port)", "https://127.0.0.1:1", "https://10.255.255.1", "https://169.254.169.254", "https://[::1]:\(port)"] {
                    let answer = try await server.send(.post, "/v1/connections/discover", body: ["issuer": .string(target)])
                    #expect(answer.status == 422)
                    answers.insert(answer.bytes)
                }
                #expect(answers.count == 1)
            })
    }
}

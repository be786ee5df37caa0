import OAuth
import Testing
import Vault

@testable import Broker

@Suite struct CallbackTests {
    private func bench(_ change: (inout ConnectionSettings) -> Void = { _ in }) async throws -> Bench {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode) {
            $0.returnOrigins = ["https://app.example"]
            change(&$0)
        }
        return bench
    }

    @Test func aTripEndsConnectedAndTheCodeIsSentWithItsVerifier() async throws {
        let bench = try await bench()
        let trip = try await Trip(bench, "app", options: .init(subject: "user-1", returnURL: "https://app.example/done?x=1"))
        #expect(trip.parameters["code_challenge_method"] == "S256")
        #expect(trip.parameters["redirect_uri"] == "http://127.0.0.1:8080/oauth/callback/app")
        let outcome = await trip.callback()
        #expect(outcome.error == nil)
        #expect(outcome.location == "https://app.example/done?x=1&grantee_status=connected&grantee_session=\(trip.session.id)")
        let request = try #require(bench.provider.requests("authorization_code").first)
        #expect(request.form["code"] == "c-1")
        #expect(try PKCE.challenge(for: CodeVerifier(request.form["code_verifier"] ?? ""), mode: .s256) == trip.parameters["code_challenge"])
        #expect(try await bench.token("app", .init(subject: "user-1")).text == "at-1")
        let session = try await bench.broker.session(id: trip.session.id, for: bench.admin)
        #expect(session.session.state == .connected)
        #expect(session.grant?.grant.subject == "user-1")
    }

    @Test(
        "Each is refused before anything goes to the token endpoint (SEC-02, SEC-10, SEC-23, SEC-26)",
        arguments: [
            ("code=c-1", "invalid_state"),
            ("code=c-1&state=unknown", "invalid_state"),
            ("code=c-1&state=STATE&state=STATE", "invalid_request"),
            ("code=c-1&error=access_denied&state=STATE", "invalid_request"),
            ("code=%ZZ&state=STATE", "invalid_request"),
            ("state=STATE", "missing_code"),
            ("code=&state=STATE", "missing_code"),
            ("error=access_denied&state=STATE", "access_denied"),
            ("error=%3Cscript%3E&state=STATE", "unknown_error"),
        ])
    func refused(query: String, code: String) async throws {
        let bench = try await bench()
        let trip = try await Trip(bench, "app")
        #expect(await trip.callback(query.replacing("STATE", with: trip.state)).error == code)
        #expect(trip.tokenRequests == 0)
    }

    @Test func aCallbackCountsOnceHoweverManyCopiesArrive() async throws {  // SEC-23
        let bench = try await bench()
        let trip = try await Trip(bench, "app")
        let errors = await withTaskGroup(of: String?.self) { group in
            for _ in 0..<100 { group.addTask { await trip.callback().error } }
            return await group.reduce(into: [String: Int]()) { $0[$1 ?? "ok", default: 0] += 1 }
        }
        #expect(errors == ["ok": 1, "invalid_state": 99])
        #expect(trip.tokenRequests == 1)
    }

    @Test func anAttemptLivesTenMinutes() async throws {  // SEC-01
        let bench = try await bench()
        let trip = try await Trip(bench, "app")
        bench.time.advance(.seconds(601))
        #expect(await trip.callback().error == "invalid_state")
        #expect(trip.tokenRequests == 0)
    }

    @Test func anotherBrowserIsRefused() async throws {  // SEC-02
        let bench = try await bench()
        #expect(try await Trip(bench, "app").callback(binding: "browser-2").error == "browser_mismatch")
        #expect(try await Trip(bench, "app").callback(binding: .some(nil)).error == "browser_mismatch")
        #expect(bench.provider.requests("authorization_code").isEmpty)
    }

    @Test func aCodeForOneConnectionIsNotTakenAtAnothersURL() async throws {  // SEC-10
        let bench = try await bench()
        try await bench.connection("other", .authorizationCode)
        let trip = try await Trip(bench, "app")
        #expect(await trip.callback(at: "other").error == "invalid_state")
        #expect(trip.tokenRequests == 0)
    }

    @Test func aConnectionThatChangedMeanwhileStopsTheTrip() async throws {  // SEC-09
        let bench = try await bench()
        let trip = try await Trip(bench, "app")
        var settings = try await bench.broker.connection(id: "app", for: bench.admin).settings
        settings.oauth.tokenURL = "https://collector.example/token"
        _ = try await bench.broker.updateConnection(
            id: "app", settings: settings, clientSecret: .set(ClientSecret("s")), password: .keep, keepGrants: false, expectedRevision: nil,
            by: bench.admin)
        #expect(await trip.callback().error == "exchange_failed")
        #expect(trip.tokenRequests == 0)
    }

    @Test func aFailedTryLeavesTheLinkOpenAndTheFirstSuccessClosesIt() async throws {  // SEC-17
        let bench = try await bench()
        let trip = try await Trip(bench, "app")
        #expect(await trip.callback("error=access_denied&state=\(trip.state)").error == "access_denied")
        #expect(try await bench.broker.session(id: trip.session.id, for: bench.admin).session.state == .failed)
        let again = try await bench.broker.beginAttempt(ticket: trip.ticket, binding: trip.binding)
        let state = try #require(Form.parse(again.split(separator: "?")[1].utf8).first { $0.name == "state" }?.value)
        #expect(state != trip.state)
        #expect(await trip.callback("code=c&state=\(state)").error == nil)
        #expect(await bench.code { _ = try await bench.broker.beginAttempt(ticket: trip.ticket, binding: trip.binding) } == .invalidState)
        #expect(try await bench.broker.connectPage(ticket: trip.ticket).ended == .connected)
    }

    @Test func aLostAnswerEndsTheTripAndTheCodeIsNotSentAgain() async throws {  // SEC-31
        let bench = try await bench()
        let trip = try await Trip(bench, "app")
        bench.provider.script(.losesAnswer)
        #expect(await trip.callback().error == "exchange_failed")
        #expect(await trip.callback().error == "invalid_state")
        #expect(trip.tokenRequests == 1)
    }

    // MARK: Completion by the application

    private func pending(_ bench: Bench, binding: String?? = nil) async throws -> Trip {
        let trip = try await Trip(
            bench, "app", options: .init(subject: "user-1", returnURL: "https://app.example/done", completion: .application))
        let outcome = await trip.callback(binding: binding)
        #expect(outcome.location == "https://app.example/done?grantee_status=pending&grantee_session=\(trip.session.id)")
        return trip
    }

    @Test func theCodeWaitsSealedUntilTheApplicationCompletes() async throws {  // SEC-03
        let bench = try await bench()
        let trip = try await pending(bench, binding: .some(nil))
        #expect(trip.tokenRequests == 0)
        let complete = { (subject: String) in
            await bench.code { _ = try await bench.broker.completeSession(id: trip.session.id, subject: subject, by: bench.admin) }
        }
        #expect(await complete("user-2") == .subjectMismatch)
        #expect(trip.tokenRequests == 0)
        #expect(await complete("user-1") == nil)
        #expect(await complete("user-1") == .invalidState)
        #expect(trip.tokenRequests == 1)
    }

    @Test func aBindingCookieThatIsPresentMustFitEvenThen() async throws {
        let bench = try await bench()
        let trip = try await Trip(
            bench, "app", options: .init(subject: "user-1", returnURL: "https://app.example/done", completion: .application))
        #expect(await trip.callback(binding: "browser-2").error == "browser_mismatch")
    }

    @Test func aCompletionLivesTenMinutes() async throws {
        let bench = try await bench()
        let trip = try await pending(bench)
        bench.time.advance(.seconds(601))
        #expect(await bench.code { _ = try await bench.broker.completeSession(id: trip.session.id, subject: "user-1", by: bench.admin) } == .invalidState)
        #expect(trip.tokenRequests == 0)
    }

    @Test func oneOfManyCompletionsWins() async throws {
        let bench = try await bench()
        let trip = try await pending(bench)
        let wins = await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<20 {
                group.addTask {
                    await bench.code { _ = try await bench.broker.completeSession(id: trip.session.id, subject: "user-1", by: bench.admin) } == nil
                }
            }
            return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(wins == 1)
        #expect(trip.tokenRequests == 1)
    }

    // MARK: Accounts, scopes, captured values

    @Test func anotherAccountThanBeforeIsRefusedUnlessAllowed() async throws {
        let bench = try await bench { $0.oauth.scopes = ["openid"] }
        func connect(_ account: String, _ options: Broker.ConnectOptions = .init()) async throws -> String? {
            let trip = try await Trip(bench, "app", options: options)
            bench.provider.set(members: try trip.idToken(subject: account, at: bench.time))
            return await trip.callback().error
        }
        #expect(try await connect("alice") == nil)
        #expect(try await connect("bob") == "account_mismatch")
        #expect(try await bench.grant("app").grant.account == "alice")
        #expect(try await connect("bob", .init(allowAccountChange: true)) == nil)
        #expect(try await connect("carol", .init(expectedAccount: "carol")) == nil)
        #expect(try await connect("carol", .init(expectedAccount: "dave")) == "account_mismatch")
    }

    @Test func aNarrowerGrantIsShown() async throws {
        let bench = try await bench()
        let trip = try await Trip(bench, "app")
        bench.provider.set(members: #","scope":"read""#)
        #expect(await trip.callback().error == nil)
        let view = try await bench.grant("app")
        #expect(view.grant.scope == ["read"])
        #expect(view.missingScope == ["write"])
    }

    @Test(arguments: [("evil.example", false), ("a%2eb", false), ("127.0.0.1", false), ("my-store%2F%40evil.example", false), ("my-store", true)])
    func callbackValuesMatchTheirPatternBeforeTheExchange(shop: String, passes: Bool) async throws {  // SEC-27
        let bench = try await bench {
            $0.baseURL = "https://{callback.shop}.shop.example"
            $0.variablePatterns = ["callback.shop": .init(kind: .label)]
        }
        let trip = try await Trip(bench, "app")
        let outcome = await trip.callback("code=c&state=\(trip.state)&shop=\(shop)")
        #expect((outcome.error == nil) == passes)
        #expect(trip.tokenRequests == (passes ? 1 : 0))
    }

    @Test(arguments: [
        ("https://a.shop.example", true), ("https://a.b.shop.example/", true), ("https://evil-shop.example", false), ("https://shop.example", false),
        ("https://.shop.example", false), ("https://a.shop.example.evil.example", false), ("https://evil.example/.shop.example", false),
        ("https://evil.example?.shop.example", false), ("https://evil.example#.shop.example", false), ("https://evil.example\\.shop.example", false),
        ("https://a.shop.example@evil.example", false), ("https://user@a.shop.example", false), ("http://a.shop.example", false),
        ("https://a.shop.example:443", true), ("https://A.SHOP.example", true), ("https://a.shop.example/x", false), ("//a.shop.example", false),
        ("https://evil.example%2f.shop.example", false), ("https://evil.example\u{0}.shop.example", false), ("https://a.shop.example.", false),
    ])
    func aWildcardStandsForWholeLabelsBeforeAFixedSuffix(origin: String, passes: Bool) {  // SEC-27, SEC-81
        #expect(Capture.matches(origin, .init(kind: .origin, hosts: ["*.shop.example"])) == passes)
    }

    @Test(arguments: [
        "//evil.example", "https:\\\\evil.example", "https://app.example@evil.example/", "https://app.example.evil.example/", "javascript:alert(1)",
        "http://app.example/",
    ])
    func onlyListedOriginsAreReturnedTo(url: String) async throws {  // SEC-29
        let bench = try await bench()
        #expect(await bench.code { _ = try await Trip(bench, "app", options: .init(returnURL: url)) } == .invalidRequest)
    }

    // MARK: Password

    @Test func anEndUserTypesUsernameAndPassword() async throws {
        let bench = try await Bench()
        try await bench.connection("legacy", .password)
        guard case .link(_, let link) = try await bench.broker.connect(connectionID: "legacy", options: .init(subject: "u"), by: bench.admin) else {
            Issue.record("no link")
            return
        }
        let ticket = String(try #require(link.split(separator: "/").last))
        #expect(try await bench.broker.connectPage(ticket: ticket).asksForPassword)
        bench.provider.script(.json(400, #"{"error":"invalid_grant"}"#))
        #expect(try await bench.broker.submitPassword(ticket: ticket, username: "alice", password: Password("wrong")).state == .failed)
        #expect(try await bench.broker.submitPassword(ticket: ticket, username: "alice", password: Password("right")).state == .connected)
        #expect(try await bench.token("legacy", .init(subject: "u")).text == "at-1")
        #expect(await bench.code { _ = try await bench.broker.submitPassword(ticket: ticket, username: "a", password: Password("b")) } == .invalidState)
    }

    @Test func aServerThatForbidsThePasswordGrantNeitherSavesNorUsesIt() async throws {  // SEC-21
        let bench = try await Bench(forbidPasswordGrant: true)
        #expect(await bench.code { try await bench.connection("legacy", .password) } == .invalidRequest)
    }
}

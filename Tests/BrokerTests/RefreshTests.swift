import GRDB
import OAuth
import OAuthClient
import Synchronization
import Testing
import Vault

@testable import Broker
@testable import SQLiteStore

@Suite struct RefreshTests {
    private func expired() async throws -> Bench {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app", expiresIn: 0)
        return bench
    }

    @Test func theNewestRefreshTokenIsAlwaysTheOneSent() async throws {  // SEC-59
        let bench = try await expired()
        for round in 1...20 {
            bench.provider.set(rotates: round % 3 != 0)
            _ = try await bench.token("app", .init(forceRefresh: true))
        }
        let sent = bench.provider.requests("refresh_token").compactMap { $0.form["refresh_token"] }
        #expect(sent.count == 20)
        // Rounds 3, 6, … answer without a new one: the one before is sent again.
        #expect(sent[2] == "rt-2")
        #expect(sent[3] == "rt-2")
        #expect(sent[4] == "rt-4")
    }

    @Test(arguments: [#","refresh_token":null"#, #","refresh_token":"""#])
    func aNullOrEmptyRefreshTokenKeepsTheOldOne(member: String) async throws {
        let bench = try await expired()
        bench.provider.script(.json(200, #"{"access_token":"new","token_type":"Bearer","expires_in":0"# + member + "}"))
        _ = try await bench.token("app")
        _ = try await bench.token("app")
        #expect(bench.provider.requests("refresh_token").map { $0.form["refresh_token"] } == ["rt-0", "rt-0"])
    }

    @Test func invalidGrantEndsTheGrantAndIsAskedOnce() async throws {  // SEC-60
        let bench = try await expired()
        bench.provider.script(.json(400, #"{"error":"invalid_grant"}"#))
        for _ in 0..<5 { #expect(await bench.code { _ = try await bench.token("app") } == .reauthorizationRequired) }
        #expect(bench.provider.requests("refresh_token").count == 1)
        let view = try await bench.grant("app")
        #expect(view.state == "reauthorization_required")
        #expect(view.grant.stateReason == "invalid_grant")
    }

    @Test(arguments: [(401, #"{"error":"invalid_client"}"#), (403, ""), (400, #"{"error":"unauthorized_client"}"#)])
    func aRefusedClientBlamesTheConnectionAndLeavesTheGrant(status: Int, body: String) async throws {
        let bench = try await expired()
        bench.provider.script(.json(status, body))
        #expect(await bench.code { _ = try await bench.token("app") } == .providerError)
        #expect(await bench.code { _ = try await bench.token("app") } == .misconfigured)
        #expect(bench.provider.requests("refresh_token").count == 1)
        #expect(try await bench.grant("app").state == "expired")
        // A changed connection is asked again.
        let connection = try await bench.broker.connection(id: "app", for: bench.admin)
        _ = try await bench.broker.updateConnection(
            id: "app", settings: connection.settings, clientSecret: .set(ClientSecret("better")), password: .keep, keepGrants: false,
            expectedRevision: nil, by: bench.admin)
        #expect(try await bench.token("app").text == "at-1")
    }

    @Test func theOldTokenIsServedWhileItLivesWhenTheProviderIsDown() async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app")
        bench.time.advance(.seconds(3570))
        bench.provider.script(.json(503, "<html>"), .json(503, "<html>"))
        #expect(try await bench.token("app").text == "at-0")
        bench.time.advance(.seconds(40))
        #expect(await bench.code { _ = try await bench.token("app") } == .providerError)
        bench.time.advance(.seconds(120))
        #expect(try await bench.token("app").text == "at-1")
    }

    @Test func retryAfterIsHonoured() async throws {
        let bench = try await expired()
        bench.provider.script(
            .fails(TransportError(.unreachable("connection refused"), mayHaveBeenSent: false)), .json(429, #"{"error":"slow_down"}"#))
        #expect(await bench.code { _ = try await bench.token("app") } == .providerUnreachable)
        #expect(await bench.code { _ = try await bench.token("app") } == .providerError)
        // Two failures: a short wait without asking.
        #expect(await bench.code { _ = try await bench.token("app") } == .providerError)
        #expect(bench.provider.requests("refresh_token").count == 2)
        bench.time.advance(.seconds(5))
        #expect(try await bench.token("app").text == "at-1")
    }

    @Test func aLostAnswerIsAskedForOnceMoreAndARefusalThenSaysSo() async throws {
        let bench = try await expired()
        bench.provider.script(.losesAnswer)
        #expect(await bench.code { _ = try await bench.token("app") } == .providerUnreachable)
        bench.time.advance(.seconds(10))
        #expect(await bench.code { _ = try await bench.token("app") } == .reauthorizationRequired)
        #expect(try await bench.grant("app").grant.stateReason == "outcome_unknown")
        #expect(bench.provider.requests("refresh_token").count == 2)
    }

    @Test func aLostAnswerIsNotAskedForAgainWhileTheAccessTokenServes() async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app")
        bench.time.advance(.seconds(3570))
        bench.provider.script(.losesAnswer)
        for _ in 0..<5 { #expect(try await bench.token("app").text == "at-0") }
        #expect(bench.provider.requests("refresh_token").count == 1)
    }

    @Test func aSuccessThatCannotBeReadLeavesTheOutcomeUnknown() async throws {
        let bench = try await expired()
        bench.provider.script(.json(200, "<html>login</html>"))
        #expect(await bench.code { _ = try await bench.token("app") } == .providerError)
        let grant = try await bench.grant("app").grant
        #expect(try await bench.store.intent(grant: grant.uid)?.generation == grant.tokenGeneration)
        #expect(try await bench.token("app").text == "at-1")
        #expect(try await bench.store.intent(grant: grant.uid) == nil)
    }

    @Test func anExpiredGrantWithoutRefreshTokenNeedsAPerson() async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app", refresh: nil, expiresIn: 0)
        #expect(await bench.code { _ = try await bench.token("app") } == .reauthorizationRequired)
        #expect(try await bench.grant("app").grant.stateReason == "no_refresh_token")
    }

    @Test func storedCredentialsTakeTheRefreshTokensPlace() async throws {
        let bench = try await Bench()
        try await bench.connection("legacy", .password, password: "pw") { $0.oauth.username = "alice" }
        #expect(try await bench.token("legacy").text == "at-1")
        bench.provider.script(.json(400, #"{"error":"invalid_grant"}"#))
        #expect(try await bench.token("legacy", .init(forceRefresh: true)).text == "at-2")
        #expect(bench.provider.requests("password").count == 2)
        #expect(bench.provider.requests("refresh_token").count == 1)
    }

    @Test func aRefusedStoredPasswordIsNotSentAgain() async throws {
        let bench = try await Bench()
        try await bench.connection("legacy", .password, password: "wrong") { $0.oauth.username = "alice" }
        bench.provider.script(.json(400, #"{"error":"invalid_grant"}"#))
        #expect(await bench.code { _ = try await bench.token("legacy") } == .providerError)
        #expect(await bench.code { _ = try await bench.token("legacy") } == .misconfigured)
        #expect(bench.provider.requests("password").count == 1)
    }

    @Test func aRevokedGrantServesNothingUntilItIsConnectedAgain() async throws {
        let bench = try await Bench()
        try await bench.connection("machine", .clientCredentials)
        _ = try await bench.token("machine")
        #expect(try await bench.broker.revoke(connectionID: "machine", subject: "", by: bench.admin) == .revoked)
        #expect(bench.broker.cachedToken(connectionID: "machine", query: .init(), for: bench.admin) == nil)
        #expect(await bench.code { _ = try await bench.token("machine") } == .notConnected)
        let before = try await bench.grant("machine").grant.tokenGeneration
        guard case .connected(let view) = try await bench.broker.connect(connectionID: "machine", options: .init(), by: bench.admin) else {
            Issue.record("client credentials connect at once")
            return
        }
        #expect(view.grant.tokenGeneration == before + 1)
        #expect(try await bench.token("machine").generation == before + 1)
    }

    @Test func bothTokensAreRevokedTheRefreshTokenFirst() async throws {  // SEC-63
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app")
        #expect(try await bench.broker.revoke(connectionID: "app", subject: "", by: bench.admin) == .revoked)
        let revoked = bench.provider.seen.filter { $0.path == "/revoke" }.map { [$0.form["token"], $0.form["token_type_hint"]] }
        #expect(revoked == [["rt-0", "refresh_token"], ["at-0", "access_token"]])
    }

    @Test(arguments: [(503, "", "pending"), (400, #"{"error":"unsupported_token_type"}"#, "unsupported"), (401, #"{"error":"invalid_client"}"#, "failed")])
    func whatTheProviderSaysOfARevocationIsReported(status: Int, body: String, expected: String) async throws {  // SEC-64
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app", access: nil)
        bench.provider.set(revocation: status, body)
        #expect(try await bench.broker.revoke(connectionID: "app", subject: "", by: bench.admin).rawValue == expected)
        #expect(try await bench.grant("app").state == "revoked")
    }

    @Test func tokensThatArriveForARevokedGrantAreRevokedToo() async throws {
        let bench = try await expired()
        bench.provider.set(delay: .seconds(1))
        let refresh = Task { await bench.code { _ = try await bench.token("app") } }
        while bench.provider.requests("refresh_token").isEmpty { await Task.yield() }
        bench.provider.set(delay: nil)
        _ = try await bench.broker.revoke(connectionID: "app", subject: "", by: bench.admin)
        #expect(await refresh.value != nil)
        #expect(try await bench.grant("app").state == "revoked")
        for _ in 0..<100 where !bench.provider.seen.contains(where: { $0.form["token"] == "rt-1" }) { try await Task.sleep(for: .milliseconds(20)) }
        #expect(bench.provider.seen.contains { $0.path == "/revoke" && $0.form["token"] == "rt-1" })
    }

    @Test("A clock that is set wrong does not cost the refresh token that an ID token came with", arguments: [-7200, 7200])
    func anIDTokenOfAnotherTime(_ seconds: Int) async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode) { $0.oauth.scopes = ["openid"] }
        let trip = try await Trip(bench, "app")
        bench.provider.set(members: try trip.idToken(subject: "alice", at: bench.time))
        #expect(await trip.callback().error == nil)
        bench.time.advance(.seconds(seconds))
        #expect(try await bench.token("app", .init(forceRefresh: true)).text == "at-2")
        let grant = try await bench.grant("app").grant
        #expect(grant.state == .active && grant.tokenGeneration == 2)
    }

    @Test("A refusal of a renewal on its way does not let a voided token serve again (SEC-37)") func aVoidedGrantThatIsRefused() async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app")
        bench.provider.hold()
        bench.provider.script(.json(400, #"{"error":"invalid_grant"}"#))
        let refresh = Task { await bench.code { _ = try await bench.token("app", .init(forceRefresh: true)) } }
        while bench.provider.requests("refresh_token").isEmpty { await Task.yield() }
        var settings = try await bench.broker.connection(id: "app", for: bench.admin).settings
        settings.oauth.tokenURL = "https://elsewhere.example/token"
        _ = try await bench.broker.updateConnection(
            id: "app", settings: settings, clientSecret: .set(ClientSecret("s")), password: .keep, keepGrants: false, expectedRevision: nil,
            by: bench.admin)
        bench.provider.letGo()
        #expect(await refresh.value == .reauthorizationRequired)
        #expect(try await bench.grant("app").grant.stateReason == "host_changed")
        #expect(await bench.code { _ = try await bench.token("app") } == .reauthorizationRequired)
    }

    // MARK: Tokens that cannot be written

    @Test("Tokens that come too late while the database cannot be written are held, and revoked when it can") func lateAndUnwritten() async throws {
        let bench = try await expired()
        bench.provider.hold()
        let refresh = Task { await bench.code { _ = try await bench.token("app") } }
        while bench.provider.requests("refresh_token").isEmpty { await Task.yield() }
        try await bench.importGrant("app", access: "at-person", refresh: "rt-person")
        try await bench.store.write { try $0.execute(sql: "ALTER TABLE orphan_token RENAME TO away") }
        bench.provider.letGo()
        #expect(await refresh.value == .unavailable)
        #expect(!bench.broker.unwritten.isEmpty)
        try await bench.store.write { try $0.execute(sql: "ALTER TABLE away RENAME TO orphan_token") }
        await bench.broker.writeUnwritten()
        #expect(bench.broker.unwritten.isEmpty)
        #expect(try await bench.token("app").text == "at-person")
        for _ in 0..<100 where !bench.provider.seen.contains(where: { $0.form["token"] == "rt-1" }) { try await Task.sleep(for: .milliseconds(20)) }
        #expect(bench.provider.seen.contains { $0.path == "/revoke" && $0.form["token"] == "rt-1" })
    }

    @Test("Held tokens of a connection that is removed meanwhile do not wait for ever") func heldAndRemoved() async throws {
        let bench = try await expired()
        bench.provider.hold()
        let refresh = Task { await bench.code { _ = try await bench.token("app") } }
        while bench.provider.requests("refresh_token").isEmpty { await Task.yield() }
        try await bench.store.set(isWritable: false)
        bench.provider.letGo()
        #expect(await refresh.value == .unavailable)
        try await bench.store.set(isWritable: true)
        #expect(!bench.broker.unwritten.isEmpty)
        try await bench.broker.deleteConnection(id: "app", by: bench.admin)
        await bench.broker.writeUnwritten()
        #expect(bench.broker.unwritten.isEmpty)
    }

    @Test("Of two that are held for one grant none is dropped, and a person's consent is the one that is kept") func twoAreHeld() async throws {
        let bench = try await expired()
        let connection = try await bench.broker.connection(id: "app", for: bench.admin)
        let grant = try await bench.grant("app").grant
        func hold(_ token: String, _ kind: WebhookEvent.Kind) throws {
            let tokens = TokenSet(imported: .init(accessToken: AccessToken(token), refreshToken: nil, expiresIn: 3600, scope: nil), at: bench.time.wall.now())
            let next = try bench.broker.seal(tokens, as: grant, connection: connection, subject: "", renewable: true)
            bench.broker.hold(
                next, expectedGeneration: grant.tokenGeneration, connection: connection, events: [bench.broker.event(kind, next, of: connection)],
                because: StoreError.unavailable("the disk is full"))
        }
        try hold("at-renewal", .grantRefreshed)
        try hold("at-person", .grantCreated)
        await bench.broker.writeUnwritten()
        #expect(bench.broker.unwritten.isEmpty)
        #expect(try await bench.token("app").text == "at-person")
        for _ in 0..<100 where !bench.provider.seen.contains(where: { $0.form["token"] == "at-renewal" }) { try await Task.sleep(for: .milliseconds(20)) }
        #expect(bench.provider.seen.contains { $0.path == "/revoke" && $0.form["token"] == "at-renewal" })
    }

    @Test("At the end one renewal that takes too long does not cut off another") func theEndWaitsForEach() async throws {
        let renewals = Renewals()
        let uid = UID.make(at: Timestamp(milliseconds: 0))
        let ended = Mutex(false)
        await #expect(throws: Problem.self) {
            _ = try await renewals.join(.init(connectionUID: uid, subject: "slow"), patience: .zero) {
                try await Task.sleep(for: .seconds(5))
                throw Problem(.internal, "too late")
            }
        }
        try await Task.sleep(for: .milliseconds(1100))
        await #expect(throws: Problem.self) {
            _ = try await renewals.join(.init(connectionUID: uid, subject: "quick"), patience: .zero) {
                try await Task.sleep(for: .milliseconds(100))
                ended.withLock { $0 = true }
                throw Problem(.internal, "ended")
            }
        }
        await renewals.close(patience: .seconds(1))
        #expect(ended.withLock { $0 })
    }

    @Test("A renewal on its way does not revive what a moved host voided (SEC-37)") func aVoidedGrantStaysVoided() async throws {
        let bench = try await expired()
        bench.provider.set(delay: .seconds(1))
        let refresh = Task { await bench.code { _ = try await bench.token("app") } }
        while bench.provider.requests("refresh_token").isEmpty { await Task.yield() }
        bench.provider.set(delay: nil)
        bench.time.advance(.seconds(1))
        var settings = try await bench.broker.connection(id: "app", for: bench.admin).settings
        settings.oauth.tokenURL = "https://elsewhere.example/token"
        _ = try await bench.broker.updateConnection(
            id: "app", settings: settings, clientSecret: .set(ClientSecret("s")), password: .keep, keepGrants: false, expectedRevision: nil,
            by: bench.admin)
        #expect(await refresh.value != nil)
        let grant = try await bench.grant("app")
        #expect(grant.state == "reauthorization_required")
        #expect(grant.grant.stateReason == "host_changed")
        #expect(await bench.code { _ = try await bench.token("app") } == .reauthorizationRequired)
    }

    @Test("A late answer does not revoke the refresh token that a live grant holds", arguments: [true, false])
    func aSharedRefreshTokenIsNotRevoked(isShared: Bool) async throws {
        let bench = try await expired()
        bench.provider.set(rotates: false)
        bench.provider.set(delay: .seconds(1))
        let refresh = Task { try await bench.token("app").text }
        while bench.provider.requests("refresh_token").isEmpty { await Task.yield() }
        bench.provider.set(delay: nil)
        try await bench.importGrant("app", access: "at-new", refresh: isShared ? "rt-0" : "rt-new")
        #expect(try await refresh.value == "at-new")
        #expect(try await bench.token("app").text == "at-new")
        for _ in 0..<20 where bench.provider.seen.filter({ $0.path == "/revoke" }).isEmpty { try await Task.sleep(for: .milliseconds(20)) }
        #expect(bench.provider.seen.contains { $0.form["token"] == "rt-0" && $0.path == "/revoke" } == !isShared)
    }

    /// What came meanwhile has no token that serves: it can be renewed, and asking again does.
    @Test(arguments: [(nil, nil), ("at-new", 0)] as [(String?, Int?)])
    func whoeverIsOvertakenByWhatDoesNotServeAsksAgain(access: String?, expiresIn: Int?) async throws {
        let bench = try await expired()
        bench.provider.set(rotates: false)
        bench.provider.hold()
        let refresh = Task { await bench.code { _ = try await bench.token("app") } }
        while bench.provider.requests("refresh_token").isEmpty { await Task.yield() }
        try await bench.importGrant("app", access: access, refresh: "rt-0", expiresIn: expiresIn)
        bench.provider.letGo()
        #expect(await refresh.value == .conflict)
        #expect(try await bench.grant("app").grant.state == .active)
        #expect(try await bench.token("app").text == "at-2")
        #expect(bench.provider.requests("refresh_token").count == 2)
    }

    @Test func aTokenThatWasRevokedDuringARenewalIsNotServedInItsPlace() async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app", expiresIn: 100)
        bench.provider.set(delay: .seconds(1))
        let refresh = Task { await bench.code { _ = try await bench.token("app", .init(minTTL: 200)) } }
        while bench.provider.requests("refresh_token").isEmpty { await Task.yield() }
        bench.provider.set(delay: nil)
        _ = try await bench.broker.revoke(connectionID: "app", subject: "", by: bench.admin)
        #expect(await refresh.value != nil)
    }

    @Test func anotherAccountsIDTokenInARefreshEndsTheGrant() async throws {  // SEC-47
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode) { $0.oauth.scopes = ["openid"] }
        let trip = try await Trip(bench, "app")
        bench.provider.set(members: try trip.idToken(subject: "alice", at: bench.time))
        #expect(await trip.callback().error == nil)
        #expect(try await bench.grant("app").grant.account == "alice")
        bench.provider.set(members: try trip.idToken(subject: "mallory", at: bench.time))
        #expect(await bench.code { _ = try await bench.token("app", .init(forceRefresh: true)) } == .reauthorizationRequired)
        let grant = try await bench.grant("app").grant
        #expect(grant.stateReason == "account_mismatch")
        #expect(grant.tokenGeneration == 1)
    }
}

import HTTPTypes
import OAuth
import OAuthClient
import SQLiteStore
import Testing
import Vault

@testable import Broker

/// What the doctor finds by looking: at settings and grants, at the provider's pages and metadata, and by asking it.
@Suite struct DoctorLookTests {
    static let facts = DoctorTests.facts()

    private static func view(_ change: (inout Grant) -> Void) -> GrantView {
        var grant = Grant(
            uid: .make(at: DoctorTests.now), connectionUID: facts.connection.uid, subject: "user-1", accessToken: Sealed(bytes: [1]),
            refreshToken: Sealed(bytes: [2]), scope: ["read", "write"], requestedScope: ["read", "write"], captured: [:], account: nil,
            expiresAt: DoctorTests.now + .seconds(3600), stateSince: DoctorTests.now, tokenGeneration: 1, createdAt: DoctorTests.now)
        change(&grant)
        return GrantView(grant, connectionID: "app", now: DoctorTests.now)
    }

    private static func checks(
        _ facts: Facts = facts, problem: Problem? = nil, grants: [GrantView] = [], trip: (trip: LastTrip, session: ConnectSession.State)? = nil
    ) -> [String: Check] {
        Dictionary(uniqueKeysWithValues: Doctor.settingsChecks(facts, problem: problem, grants: grants, trip: trip).map { ($0.id, $0) })
    }

    @Test func aConnectionInOrderHasNothingWrong() {
        let found = Self.checks(grants: [Self.view { _ in }])
        #expect(found.values.filter { !$0.isOK }.map(\.id) == [])
        #expect(Set(found.keys) == ["health", "settings", "callback_url", "missing_scope", "grants", "instructions"])
    }

    @Test func healthSaysWhyNobodyIsAsked() {
        var facts = Self.facts
        facts.connection.health = .init(state: .misconfigured, reason: "invalid_client", since: facts.now)
        #expect(Self.checks(facts)["health"]?.state == .bad)
        #expect(Self.checks(facts)["health"]?.detail.contains("invalid_client") == true)
        facts.connection.health = .init(state: .providerDown, reason: Broker.rateLimited, since: facts.now)
        #expect(Self.checks(facts)["health"]?.title.contains("slowly") == true)
    }

    @Test func missingSettingsAreNamed() {
        let problem = Problem(.invalidRequest, "no", errors: [.init(pointer: "/oauth/token_url", detail: "is required: the Access Token URL")])
        #expect(Self.checks(problem: problem)["settings"]?.detail == "oauth.token_url: is required: the Access Token URL.")
        let blocked = Self.checks(problem: Problem(.egressBlocked, "/oauth/token_url points where", fix: "start with --egress-allow"))
        #expect(blocked["egress_policy"]?.state == .bad)
        #expect(blocked["egress_policy"]?.fix?.contains("--egress-allow") == true)
    }

    @Test(arguments: [(-1, "client_secret_expired", Check.State.bad), (3, "client_secret_expiry", .warn), (100, "client_secret_expiry", .ok)])
    func theEndOfAClientSecretIsSaid(days: Int, id: String, state: Check.State) {
        let facts = DoctorTests.facts { $0.oauth.clientSecretExpiresAt = DoctorTests.now + .seconds(86_400 * days + 60) }
        #expect(Self.checks(facts)[id]?.state == state)
    }

    @Test(arguments: [
        ("http://127.0.0.1:8080/oauth/callback/app", Check.State.warn, "from this machine only"),
        ("http://host.example/oauth/callback/app", .bad, "plain http"),
        ("https://app.example/cb", .ok, "Callback URL"), ("nonsense", .bad, "not usable"),
    ]) func callbackURLsThatNobodyReaches(url: String, state: Check.State, title: String) {
        var facts = DoctorTests.facts { $0.oauth.redirectURI = url }
        facts.callbackURL = url
        let check = Self.checks(facts)["callback_url"]
        #expect(check?.state == state)
        #expect(check?.title.contains(title) == true)
        #expect(check?.values.first?.text == url)
    }

    @Test func aLoopbackProviderIsReachedFromALoopbackServer() {
        var facts = DoctorTests.facts { $0.oauth.authorizationURL = "http://localhost:9000/authorize" }
        facts.callbackURL = "http://127.0.0.1:8080/oauth/callback/app"
        #expect(Self.checks(facts)["callback_url"]?.state == .ok)
    }

    static let offline: [(String, JSONObject)] = [
        ("https://accounts.google.com/o/oauth2/v2/auth", ["oauth": ["authorization_params": ["access_type": "offline", "prompt": "consent"]]]),
        ("https://login.microsoftonline.com/t/oauth2/v2.0/authorize", ["oauth": ["scopes": ["read", "write", "offline_access"]]]),
        ("https://x.okta.com/oauth2/v1/authorize", ["oauth": ["scopes": ["read", "write", "offline_access"]]]),
        ("https://login.salesforce.com/services/oauth2/authorize", ["oauth": ["scopes": ["read", "write", "refresh_token"]]]),
        ("https://www.dropbox.com/oauth2/authorize", ["oauth": ["authorization_params": ["token_access_type": "offline"]]]),
        ("https://www.reddit.com/api/v1/authorize", ["oauth": ["authorization_params": ["duration": "permanent"]]]),
    ]

    @Test(arguments: offline) func offlineAccessIsAskedForAsEachProviderWants(url: String, patch: JSONObject) {
        let facts = DoctorTests.facts { $0.oauth.authorizationURL = url }
        let short = Self.view { $0.refreshToken = nil }
        #expect(Self.checks(facts, grants: [short])["offline_access"]?.apply == patch)
        #expect(Self.checks(facts)["offline_access"]?.apply == patch)
        // Who has a refresh token shows that it is given.
        #expect(Self.checks(facts, grants: [Self.view { _ in }])["offline_access"] == nil)
        let asked = DoctorTests.facts {
            $0.oauth.authorizationURL = url
            if let scopes = patch["oauth"]?["scopes"]?.array { $0.oauth.scopes = scopes.compactMap(\.string) }
            if let params = patch["oauth"]?["authorization_params"]?.object {
                $0.oauth.profile.authorizationParams = Dictionary(uniqueKeysWithValues: params.members.map { ($0.name, $0.value.string ?? "") })
            }
        }
        let check = Self.checks(asked, grants: [short])["offline_access"]
        #expect(check?.state == .warn)
        #expect(check?.apply == nil)
        #expect(check?.fix?.contains("connect once more") == true)
    }

    @Test func aTokenThatDoesNotEndNeedsNoRefreshToken() {
        let endless = Self.view {
            $0.refreshToken = nil
            $0.expiresAt = nil
        }
        #expect(Self.checks(grants: [endless])["offline_access"] == nil)
    }

    @Test func scopesThatWereNotGrantedAndASeparatorThatIsAnother() {
        let narrow = Self.checks(grants: [Self.view { $0.scope = ["read"] }])
        #expect(narrow["missing_scope"]?.state == .warn)
        #expect(narrow["missing_scope"]?.detail.contains("One grant lacks write.") == true)
        let joined = Self.checks(grants: [Self.view { $0.scope = ["read,write"] }])
        #expect(joined["missing_scope"]?.isOK == true)
        #expect(joined["scope_separator"]?.apply == ["oauth": ["scope_separator": ","]])
    }

    @Test func grantsThatWaitForAPersonAreCounted() {
        let broken = Self.view {
            $0.state = .reauthorizationRequired
            $0.stateReason = "invalid_grant"
        }
        let found = Self.checks(grants: [broken, broken, Self.view { _ in }])
        #expect(found["grants"]?.detail == "2 grants do not work any more (invalid_grant: 2).")
        #expect(Self.checks()["grants"]?.state == .unknown)
    }

    @Test func instructionsAndAgents() {
        let guidance = DoctorTests.facts { $0.authenticationInstructions = "Ask a colleague for the token." }
        let check = Self.checks(guidance)["instructions"]
        #expect(check?.state == .warn)
        #expect(check?.apply == ["authentication_instructions": "Authorization: Bearer <token>\nAsk a colleague for the token."])
        let agents = DoctorTests.facts { $0.agentAccess.enabled = true }
        #expect(Self.checks(agents)["agent_access"]?.state == .warn)
        let open = DoctorTests.facts {
            $0.agentAccess.enabled = true
            $0.agentAccess.paths = ["/v1/**"]
        }
        #expect(Self.checks(open)["agent_access"]?.state == .ok)
    }

    @Test func aBrowserThatDidNotComeBackPointsAtTheCallbackURL() {
        let trip = LastTrip(sessionID: "cs_1", startedAt: DoctorTests.now + .seconds(-300), cameBack: false)
        #expect(Self.checks(trip: (trip, .open))["no_return"]?.state == Check.State.warn)
        #expect(Self.checks(trip: (trip, .connected))["no_return"] == nil)
        var recent = trip
        recent.startedAt = DoctorTests.now + .seconds(-5)
        #expect(Self.checks(trip: (recent, .open))["no_return"] == nil)
        var back = trip
        back.cameBack = true
        #expect(Self.checks(trip: (back, .open))["no_return"] == nil)
    }

    // MARK: The authorization page

    private static func page(_ status: Int, _ body: String = "", location: String? = nil) -> WireResponse {
        var fields: HTTPFields = [.contentType: "text/html"]
        if let location { fields[.location] = location }
        return WireResponse(head: .init(status: .init(code: status), headerFields: fields), body: Array(body.utf8))
    }

    /// As Google packs its error page's words: a length before each.
    private static func packed(_ code: String, _ text: String) -> String {
        Base64URL.encode([0x0A, UInt8(code.utf8.count)] + Array(code.utf8) + [0x12, 0x80, 0x01] + Array(text.utf8))
    }

    @Test(arguments: [
        ("authorization_url", Check.State.ok, page(200, "<title>Sign in</title>")),
        ("authorization_url", .ok, page(302, location: "https://as.example/login?next=%2Fauthorize")),
        ("authorization_url", .bad, page(404, "<title>Not found</title>")),
        ("authorization_url", .unknown, page(403, "<title>Attention Required!</title>")),
        ("authorization_url", .unknown, page(503, "<title>Busy</title>")),
        ("authorization_url", .warn, page(400, "<p>Something about your app is odd.")),
        ("redirect_uri", .bad, page(400, "<h1>Error</h1><p>This redirect_uri is not registered for the client.")),
        ("client", .bad, page(400, "No client is registered under this client_id.")),
        ("redirect_uri", .bad, page(200, #"<script>$Config={"strServiceExceptionMessage":"AADSTS50011: The redirect URI does not match"}</script>"#)),
        (
            "pkce_unsupported", .bad,
            page(302, location: "https://grantee.example/oauth/callback/app?error=invalid_request&error_description=code_challenge+is+not+supported&state=x")
        ),
        ("scope", .bad, page(303, location: "https://grantee.example/oauth/callback/app?error=invalid_scope&state=x")),
        (
            "redirect_uri", .bad,
            page(
                302,
                location: "https://accounts.google.com/signin/oauth/error?authError=" + packed("redirect_uri_mismatch", "You can't sign in") + "&flowName=x")
        ),
    ]) func theAuthorizationPageIsRead(id: String, state: Check.State, response: WireResponse) {
        let checks = AuthorizationVisit.checks(response, Self.facts)
        #expect(checks.map(\.id) == [id])
        #expect(checks.first?.state == state)
    }

    @Test func theVisitHoldsNoSecretAndAStateOfNoTrip() throws {
        let client = Client(
            server: AuthorizationServer(
                authorizationEndpoint: try EndpointURL("https://as.example/authorize"), tokenEndpoint: try EndpointURL("https://as.example/token")),
            registration: ClientRegistration(clientID: "client", clientSecret: ClientSecret("s3cret-value"), authentication: .clientSecretPost))
        let request = try AuthorizationVisit.request(client, Self.facts).get()
        #expect(request.head.method == .get)
        #expect(request.body.isEmpty)
        #expect(request.head.path?.contains("s3cret") == false)
        #expect(request.head.path?.contains("redirect_uri=https%3A%2F%2Fgrantee.example%2Foauth%2Fcallback%2Fapp") == true)
        #expect(request.head.headerFields[.authorization] == nil && request.head.headerFields[.cookie] == nil)
    }

    // MARK: Metadata

    @Test(arguments: [
        ("https://id.example/realms/one/protocol/openid-connect/token", ["https://id.example/realms/one"]),
        ("https://x.okta.com/oauth2/default/v1/token", ["https://x.okta.com/oauth2/default"]), ("https://x.okta.com/oauth2/v1/token", ["https://x.okta.com"]),
        ("https://login.microsoftonline.com/contoso/oauth2/v2.0/token", ["https://login.microsoftonline.com/contoso/v2.0"]),
        ("https://as.example/oauth/token", ["https://as.example"]), ("https://github.com/login/oauth/access_token", []),
    ]) func issuersAreGuessedFromTokenURLs(url: String, guesses: [String]) {
        #expect(Doctor.issuerGuesses(DoctorTests.facts { $0.oauth.tokenURL = url }) == guesses)
    }

    private static func metadata(_ members: String, issuer: String = "https://as.example") throws -> AuthorizationServerMetadata {
        try AuthorizationServerMetadata(parsing: Array(#"{"issuer":"\#(issuer)",\#(members)}"#.utf8), issuer: issuer)
    }

    @Test func endpointsThatDifferAreWrittenByApplyUnlessASecretWouldMove() throws {
        let same = try Self.metadata(#""token_endpoint":"https://as.example/token","authorization_endpoint":"https://as.example/authorize""#)
        #expect(Doctor.metadataChecks(same, isGuess: false, Self.facts).map(\.state) == [.ok])
        let moved = try Self.metadata(#""token_endpoint":"https://as.example/oauth2/token","authorization_endpoint":"https://as.example/authorize""#)
        let check = Doctor.metadataChecks(moved, isGuess: false, Self.facts).first
        #expect(check?.state == .bad)
        #expect(check?.apply == ["oauth": ["token_url": "https://as.example/oauth2/token"]])
        #expect(Doctor.metadataChecks(moved, isGuess: true, Self.facts).first?.state == .warn)
        let elsewhere = try Self.metadata(#""token_endpoint":"https://other.example/token""#)
        let other = Doctor.metadataChecks(elsewhere, isGuess: false, Self.facts).first
        #expect(other?.apply == nil)
        #expect(other?.fix?.contains("secret has to be given again") == true)
    }

    @Test func featuresThatAreNotListedAreHints() throws {
        let listed = try Self.metadata(
            #""token_endpoint":"https://as.example/token","code_challenge_methods_supported":["plain"],"token_endpoint_auth_methods_supported":["client_secret_post"],"grant_types_supported":["client_credentials"]"#
        )
        let checks = Dictionary(uniqueKeysWithValues: Doctor.metadataChecks(listed, isGuess: false, Self.facts).map { ($0.id, $0) })
        #expect(checks["pkce_unsupported"]?.apply == ["oauth": ["pkce": "plain"]])
        #expect(checks["client_authentication"]?.apply == ["oauth": ["client_authentication": "client_secret_post"]])
        #expect(checks["grant_type"]?.state == .warn)
    }

    // MARK: Clock

    @Test(arguments: [(0, Check.State.ok), (59, .ok), (-300, .warn), (4000, .warn)]) func clocksAreCompared(skew: Int, state: Check.State) throws {
        // 15 January 2027, 08:00:00 UTC: the tests' now.
        let response = WireResponse(
            head: .init(status: .ok, headerFields: [.date: "Fri, 15 Jan 2027 08:00:00 GMT"]), body: [])
        let reach = Reach(url: try EndpointURL("https://as.example/token"), outcome: .success(response))
        let check = Doctor.clock([reach], now: DoctorTests.now + .seconds(skew))
        #expect(check?.state == state)
        if skew == 4000 { #expect(check?.detail.contains("4000 seconds ahead of that of as.example") == true) }
    }

    @Test func anAnswerFromACacheIsAsOldAsItSays() throws {
        var head = HTTPResponse(status: .ok, headerFields: [.date: "Fri, 15 Jan 2027 07:00:00 GMT"])
        head.headerFields[try #require(HTTPField.Name("Age"))] = "3600"
        let reach = Reach(url: try EndpointURL("https://as.example/token"), outcome: .success(WireResponse(head: head, body: [])))
        #expect(Doctor.clock([reach], now: DoctorTests.now)?.state == .ok)
    }

    // MARK: The probe, as a value

    private static func client(_ secret: String? = "s3cret") throws -> Client {
        Client(
            server: AuthorizationServer(tokenEndpoint: try EndpointURL("https://as.example/token")),
            registration: ClientRegistration(clientID: "client", clientSecret: secret.map { ClientSecret($0) }, authentication: .clientSecretBasic))
    }

    private static func refusal(_ error: String, _ status: Int) -> Trouble {
        Trouble(
            stage: .token, failure: .refused, at: DoctorTests.now, revision: 1, response: .init(status: status, contentType: "application/json"), error: error)
    }

    @Test func theWayThatIsAcceptedIsProposed() throws {
        var probe = ClientProbe(Self.facts, client: try Self.client())
        #expect(probe.next == .method(.clientSecretBasic))
        probe.ask(.method(.clientSecretBasic), answered: Self.refusal("invalid_client", 401))
        #expect(probe.next == .method(.clientSecretPost))
        probe.ask(.method(.clientSecretPost), answered: Self.refusal("invalid_grant", 400))
        #expect(probe.next == nil)
        #expect(!probe.works)
        #expect(probe.check.state == .bad)
        #expect(probe.check.apply == ["oauth": ["client_authentication": "client_secret_post"]])
    }

    @Test func aClientThatWorksIsProvenByASecretThatDoesNot() throws {
        var probe = ClientProbe(Self.facts, client: try Self.client())
        probe.ask(.method(.clientSecretBasic), answered: Self.refusal("invalid_grant", 400))
        #expect(!probe.works)
        #expect(probe.next == .control)
        var proven = probe
        proven.ask(.control, answered: Self.refusal("invalid_client", 401))
        #expect(proven.works)
        #expect(proven.next == nil)
        #expect(proven.check.state == .ok)
        // Who says the same to everybody has said nothing.
        probe.ask(.control, answered: Self.refusal("invalid_grant", 400))
        #expect(!probe.works)
        #expect(probe.next == nil)
        #expect(probe.check.state == .unknown)
    }

    @Test func noMoreThanThreeAreAsked() throws {
        var probe = ClientProbe(Self.facts, client: try Self.client())
        var asked: [ClientProbe.Way] = []
        while let way = probe.next {
            asked.append(way)
            probe.ask(way, answered: Self.refusal("invalid_client", 401))
        }
        #expect(asked == [.method(.clientSecretBasic), .method(.clientSecretPost), .method(.none)])
        #expect(probe.check.state == .bad)
        #expect(probe.check.apply == nil)
        #expect(probe.check.title.contains("in every way"))
        // Raw Basic is another way only where encoding changes something.
        var odd = ClientProbe(Self.facts, client: try Self.client("s3cret/+"))
        odd.ask(.method(.clientSecretBasic), answered: Self.refusal("invalid_client", 401))
        odd.ask(.method(.clientSecretPost), answered: Self.refusal("invalid_client", 401))
        #expect(odd.next == .method(.clientSecretBasicRaw))
    }

    @Test func aPublicClientIsAskedOnce() throws {
        var probe = ClientProbe(DoctorTests.facts(secret: false), client: try Self.client(nil))
        #expect(probe.next == .method(.none))
        probe.ask(.method(.none), answered: Self.refusal("invalid_grant", 400))
        #expect(probe.works)
        #expect(probe.next == nil)
    }

    @Test func anAnswerAboutSomethingElseTellsNothing() throws {
        var probe = ClientProbe(Self.facts, client: try Self.client())
        probe.ask(.method(.clientSecretBasic), answered: Self.refusal("invalid_request", 400))
        #expect(probe.next == nil)
        #expect(probe.check.state == .unknown)
    }
}

import HTTPTypes
import OAuth
import OAuthClient
import SQLiteStore
import Testing
import Vault

@testable import Broker

/// The doctor at a broker: what is kept of a failure, when it goes, and what asking the provider changes.
@Suite struct DoctorBrokerTests {
    private func troubles(_ bench: Bench, _ connection: Connection) async throws -> [Trouble] {
        try await bench.store.troubles(connection: connection.uid)
    }

    private func check(_ diagnosis: Diagnosis, _ id: String) -> Check? { diagnosis.checks.first { $0.id == id } }

    // MARK: What is kept

    @Test func aFailedExchangeIsKeptMaskedAndASuccessEndsIt() async throws {
        let bench = try await Bench()
        let connection = try await bench.connection("app", .authorizationCode, secret: "s3cret-value-1")
        let trip = try await Trip(bench, "app", options: .init(subject: "user-1"))
        bench.provider.script(.json(401, #"{"error":"invalid_client","error_description":"no s3cret-value-1 and no code-value-1"}"#))
        _ = await trip.callback("code=code-value-1&state=\(trip.state)")
        let kept = try #require(try await troubles(bench, connection).first)
        #expect(kept.stage == .token)
        #expect(kept.error == "invalid_client")
        #expect(kept.subject == "user-1")
        #expect(kept.revision == connection.revision)
        #expect(kept.response?.status == 401)
        #expect(kept.request?.fields.map(\.name) == ["grant_type", "code", "redirect_uri", "code_verifier"])
        let verifier = bench.provider.seen.last?.form["code_verifier"] ?? ""
        for marker in ["s3cret-value-1", "code-value-1", verifier] { #expect(!"\(kept)".contains(marker)) }
        let again = try await Trip(bench, "app", options: .init(subject: "user-2"))
        #expect(await again.callback().error == nil)
        #expect(try await troubles(bench, connection).isEmpty)
    }

    @Test func aRefreshThatFailedIsKeptBesideAndEndsWithTheNextThatWorks() async throws {
        let bench = try await Bench()
        let connection = try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app", expiresIn: 0)
        bench.provider.script(.json(400, #"{"error":"brand_new","error_description":"rt-0 is odd"}"#))
        #expect(await bench.code { _ = try await bench.token("app") } == .providerError)
        let kept = try await troubles(bench, connection)
        #expect(kept.map(\.stage) == [.refresh])
        #expect(kept.first?.errorDescription == "\(Mask.dots) is odd")
        bench.time.advance(.seconds(120))
        _ = try await bench.token("app")
        #expect(try await troubles(bench, connection).isEmpty)
    }

    @Test func whatABrowserBringsBackIsKept() async throws {
        let bench = try await Bench()
        let connection = try await bench.connection("app", .authorizationCode)
        let denied = try await Trip(bench, "app")
        _ = await denied.callback("error=invalid_scope&error_description=write+is+unknown&state=\(denied.state)")
        let kept = try #require(try await troubles(bench, connection).first)
        #expect(kept.stage == .authorization)
        #expect(kept.error == "invalid_scope")
        #expect(kept.request?.fields.contains(.init("scope", "read write")) == true)
        #expect(kept.request?.fields.contains(.init("state", Mask.dots)) == true)
        #expect(!"\(kept)".contains(denied.state))
        let diagnosis = try await bench.broker.lastDiagnosis(connectionID: "app", for: bench.admin)
        #expect(check(diagnosis, "scope")?.apply == ["oauth": ["scopes": ["read"]]])
        let elsewhere = try await Trip(bench, "app")
        _ = await elsewhere.callback(binding: .some("another-browser"))
        #expect(try await troubles(bench, connection).first?.reason == "browser_mismatch")
        // What belongs to nobody's trip leaves nothing.
        _ = await elsewhere.callback("error=server_error&state=unknown")
        #expect(try await troubles(bench, connection).first?.reason == "browser_mismatch")
    }

    @Test func aStoreThatCannotBeWrittenCostsNoMoreThanTheEvidence() async throws {
        let bench = try await Bench()
        let connection = try await bench.connection("machine", .clientCredentials)
        bench.provider.script(.json(503, ""))
        try await bench.store.set(isWritable: false)
        #expect(await bench.code { _ = try await bench.token("machine") } == .providerError)
        try await bench.store.set(isWritable: true)
        #expect(try await troubles(bench, connection).isEmpty)
    }

    @Test func evidenceGoesWithItsConnection() async throws {
        let bench = try await Bench()
        let connection = try await bench.connection("machine", .clientCredentials)
        bench.provider.script(.json(401, #"{"error":"invalid_client"}"#))
        _ = await bench.code { _ = try await bench.token("machine") }
        #expect(try await troubles(bench, connection).count == 1)
        try await bench.broker.deleteConnection(id: "machine", by: bench.admin)
        #expect(try await troubles(bench, connection).isEmpty)
    }

    @Test func aRefreshOfAGrantThatHasGoneIsNoTroubleAnyMore() async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app", subject: "user-1", refresh: "rt-unknown", expiresIn: 0)
        _ = await bench.code { _ = try await bench.token("app", .init(subject: "user-1")) }
        let before = try await bench.broker.lastDiagnosis(connectionID: "app", for: bench.admin)
        #expect(check(before, "refresh_token")?.state == .warn)
        _ = try await bench.broker.revoke(connectionID: "app", subject: "user-1", by: bench.admin)
        let after = try await bench.broker.lastDiagnosis(connectionID: "app", for: bench.admin)
        #expect(check(after, "refresh_token") == nil)
    }

    // MARK: Looking

    @Test func onlyAnAdminIsTold() async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        let use = Caller(key: APIKey(id: "key_u", name: "u", hash: [], role: .use, createdAt: bench.time.wall.now()))
        #expect(await bench.code { _ = try await bench.broker.diagnose(connectionID: "app", probe: false, by: use) } == .forbidden)
        #expect(await bench.code { _ = try await bench.broker.lastDiagnosis(connectionID: "app", for: use) } == .forbidden)
        #expect(await bench.code { _ = try await bench.broker.diagnose(connectionID: "none", probe: false, by: bench.admin) } == .notFound)
    }

    @Test func lookingSendsNothingThatIsSecretAndCallsNoTokenEndpoint() async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        let diagnosis = try await bench.broker.diagnose(connectionID: "app", probe: false, by: bench.admin)
        #expect(diagnosis.isLive && !diagnosis.isProbed)
        #expect(bench.provider.seen.contains { $0.path.hasPrefix("/authorize?") })
        #expect(!bench.provider.seen.contains { $0.path.hasPrefix("/token") || $0.authorization != nil || $0.path.contains("s3cret") })
        #expect(check(diagnosis, "token_url")?.state == .ok)
        #expect(check(diagnosis, "authorization_url")?.state == .ok)
        // What was found is shown again without asking.
        let count = bench.provider.seen.count
        let again = try await bench.broker.lastDiagnosis(connectionID: "app", for: bench.admin)
        #expect(again.isLive)
        #expect(again.checks.map(\.id) == diagnosis.checks.map(\.id))
        #expect(bench.provider.seen.count == count)
    }

    @Test func aHostThatIsDarkIsSaidOfEachURL() async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode) { $0.baseURL = "https://api.example" }
        bench.provider.set(darkHost: "as.example")
        let diagnosis = try await bench.broker.diagnose(connectionID: "app", probe: false, by: bench.admin)
        #expect(check(diagnosis, "token_url")?.state == .bad)
        #expect(check(diagnosis, "token_url")?.title.hasPrefix("Access Token URL: ") == true)
        #expect(check(diagnosis, "authorization_url")?.state == .bad)
        #expect(check(diagnosis, "api_url")?.state == .ok)
    }

    // MARK: Asking

    @Test func theProbeFindsTheWayAndSparesTheProvider() async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        bench.provider.script(.json(401, #"{"error":"invalid_client"}"#), .json(400, #"{"error":"invalid_grant"}"#))
        let diagnosis = try await bench.broker.diagnose(connectionID: "app", probe: true, by: bench.admin)
        #expect(diagnosis.isProbed)
        #expect(check(diagnosis, "client_authentication")?.apply == ["oauth": ["client_authentication": "client_secret_post"]])
        let asked = bench.provider.requests("authorization_code")
        #expect(asked.count == 2)
        #expect(asked.first?.authorization?.hasPrefix("Basic ") == true)
        #expect(asked.last?.form["client_secret"] == "s3cret")
        #expect(Set(asked.map { $0.form["code"] ?? "" }).count == 2)
        #expect(asked.allSatisfy { $0.form["code"]?.hasPrefix("grantee-doctor-") == true })
        // It was no try of the connection: nothing is held against it.
        #expect(try await bench.broker.connection(id: "app", for: bench.admin).health.state == .ok)
        #expect(try await troubles(bench, diagnosis.connection).isEmpty)
    }

    @Test func aClientThatIsAcceptedAgainIsAskedAgain() async throws {
        let bench = try await Bench()
        let connection = try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app", expiresIn: 0)
        bench.provider.script(.json(401, #"{"error":"invalid_client"}"#))
        #expect(await bench.code { _ = try await bench.token("app") } == .providerError)
        #expect(await bench.code { _ = try await bench.token("app") } == .misconfigured)
        // The secret was mended at the provider. It takes the right one, and refuses one that is wrong.
        bench.provider.script(.json(400, #"{"error":"invalid_grant"}"#), .json(401, #"{"error":"invalid_client"}"#))
        let diagnosis = try await bench.broker.diagnose(connectionID: "app", probe: true, by: bench.admin)
        #expect(check(diagnosis, "client_authentication")?.state == .ok)
        #expect(check(diagnosis, "health")?.state == .ok)
        #expect(try await troubles(bench, connection).isEmpty)
        #expect(try await bench.token("app").text.hasPrefix("at-"))
    }

    @Test func aProviderThatSaysTheSameToEverybodyLiftsNothing() async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app", expiresIn: 0)
        bench.provider.script(.json(401, #"{"error":"invalid_client"}"#))
        _ = await bench.code { _ = try await bench.token("app") }
        bench.provider.always(.json(400, #"{"error":"invalid_grant"}"#))
        let diagnosis = try await bench.broker.diagnose(connectionID: "app", probe: true, by: bench.admin)
        #expect(check(diagnosis, "client_authentication")?.state == .unknown)
        #expect(check(diagnosis, "health")?.state == .bad)
        #expect(bench.provider.requests("authorization_code").count == 2)
    }

    @Test func aMachineIsProbedByTheTokenThatItNeeds() async throws {
        let bench = try await Bench()
        let connection = try await bench.connection("machine", .clientCredentials)
        bench.provider.script(.json(401, #"{"error":"invalid_client"}"#))
        _ = await bench.code { _ = try await bench.token("machine") }
        #expect(await bench.code { _ = try await bench.token("machine") } == .misconfigured)
        let diagnosis = try await bench.broker.diagnose(connectionID: "machine", probe: true, by: bench.admin)
        #expect(check(diagnosis, "client_authentication")?.state == .ok)
        #expect(bench.provider.requests("client_credentials").count == 2)
        #expect(bench.provider.requests("authorization_code").isEmpty)
        // The token is kept as any other.
        #expect(try await bench.token("machine").text.hasPrefix("at-"))
        #expect(bench.provider.requests("client_credentials").count == 2)
        #expect(try await troubles(bench, connection).isEmpty)
    }

    @Test func aMachineThatIsRefusedIsProbedFurther() async throws {
        let bench = try await Bench()
        try await bench.connection("machine", .clientCredentials)
        bench.provider.script(.json(401, #"{"error":"invalid_client"}"#), .json(400, #"{"error":"unauthorized_client"}"#))
        let diagnosis = try await bench.broker.diagnose(connectionID: "machine", probe: true, by: bench.admin)
        #expect(check(diagnosis, "client_authentication")?.apply == ["oauth": ["client_authentication": "client_secret_post"]])
        #expect(bench.provider.requests("client_credentials").count == 1)
        #expect(bench.provider.requests("authorization_code").count == 1)
    }

    @Test func nobodyIsAskedWhileTheProviderWantsToBeLeftAlone() async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        bench.provider.set(limit: 0, by: bench.time)
        _ = try await bench.broker.diagnose(connectionID: "app", probe: true, by: bench.admin)
        let count = bench.provider.requests("authorization_code").count
        #expect(count == 1)
        let diagnosis = try await bench.broker.diagnose(connectionID: "app", probe: true, by: bench.admin)
        #expect(check(diagnosis, "client_authentication")?.state == .unknown)
        #expect(bench.provider.requests("authorization_code").count == count)
    }

    @Test func whatTheDoctorDidIsInTheActivityLog() async throws {
        let bench = try await Bench()
        let connection = try await bench.connection("app", .authorizationCode)
        _ = try await bench.broker.diagnose(connectionID: "app", probe: false, by: bench.admin)
        bench.broker.noteApplied(["pkce_required"], to: connection, by: bench.admin)
        let entries = try await bench.broker.activity(
            connection: "app", subject: nil, action: "connection.diagnosed", before: nil, limit: 10, for: bench.admin)
        #expect(entries.count == 2)
        #expect(entries.contains { $0.detail == "applied pkce_required" })
        #expect(entries.allSatisfy { $0.key == bench.admin.key.id && $0.connection == "app" })
    }

    @Test func aChangeVoidsWhatWasFoundBefore() async throws {
        let bench = try await Bench()
        let connection = try await bench.connection("app", .authorizationCode)
        _ = try await bench.broker.diagnose(connectionID: "app", probe: false, by: bench.admin)
        _ = try await bench.broker.updateConnection(
            id: "app", settings: connection.settings, clientSecret: .keep, password: .keep, keepGrants: false, expectedRevision: nil, by: bench.admin)
        let after = try await bench.broker.lastDiagnosis(connectionID: "app", for: bench.admin)
        #expect(!after.isLive)
    }
}

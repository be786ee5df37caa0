import Egress
import HTTPTypes
import Logging
import OAuth
import OAuthClient
import SQLiteStore
import Synchronization
import Testing
import Vault

@testable import Broker

/// The kill switch, and what providers say to a revocation.
@Suite struct RevocationTests {
    /// Connections `a` and `b` with grants of people, and `m`, which fetches alone.
    private static let everyGrant = ["a -", "a u1", "b u1", "b u2", "m -"]

    private static func split(_ name: String) -> (connection: String, subject: String) {
        let parts = name.split(separator: " ")
        return (String(parts[0]), parts[1] == "-" ? "" : String(parts[1]))
    }

    private func filled() async throws -> Bench {
        let bench = try await Bench()
        for id in ["a", "b"] { try await bench.connection(id, .authorizationCode) }
        try await bench.connection("m", .clientCredentials)
        for name in Self.everyGrant where name != "m -" {
            let (connection, subject) = Self.split(name)
            try await bench.importGrant(connection, subject: subject, access: "at-\(connection)-\(subject)", refresh: "rt-\(connection)-\(subject)")
        }
        // Warms the cache.
        for name in Self.everyGrant { _ = try await read(bench, name, by: bench.admin) }
        return bench
    }

    private func read(_ bench: Bench, _ name: String, by caller: Caller) async throws -> IssuedToken {
        let (connection, subject) = Self.split(name)
        if let hit = bench.broker.cachedToken(connectionID: connection, query: .init(subject: subject), for: caller) { return hit }
        return try await bench.broker.token(connectionID: connection, query: .init(subject: subject), for: caller)
    }

    /// Those of ``everyGrant`` whose token is given out no more.
    private func stopped(_ bench: Bench) async throws -> [String] {
        var stopped: [String] = []
        for name in Self.everyGrant {
            let code = await bench.code { _ = try await read(bench, name, by: bench.admin) }
            if code == .notConnected { stopped.append(name) } else { #expect(code == nil, "\(name)") }
        }
        return stopped
    }

    // MARK: Who and what

    @Test(
        "Everything named stops being given out at once, also from memory (SEC-66)",
        arguments: [
            (nil, nil, ["a -", "a u1", "b u1", "b u2", "m -"]), ("a", nil, ["a -", "a u1"]), ("m", nil, ["m -"]), (nil, "u1", ["a u1", "b u1"]),
            (nil, "", ["a -", "m -"]), ("a", "u1", ["a u1"]), ("b", "", []), ("b", "u9", []),
        ] as [(String?, String?, [String])])
    func filters(connection: String?, subject: String?, expected: [String]) async throws {
        let bench = try await filled()
        let report = try await bench.broker.revokeAll(connectionID: connection, subject: subject, keyID: nil, by: bench.admin)
        for name in expected {
            let (id, subject) = Self.split(name)
            #expect(bench.broker.cachedToken(connectionID: id, query: .init(subject: subject), for: bench.admin) == nil)
        }
        #expect(try await stopped(bench) == expected)
        #expect(report.record.grants == expected.count)
        #expect(report.record.requestedBy == Broker.adminKeyID)
        #expect(report.record.pending == expected.count)
        await bench.broker.revokeOrphans()
        let after = try await bench.broker.revocation(id: report.record.id, for: bench.admin).record
        #expect(after.revoked == expected.count)
        #expect(after.endedAt != nil)
        await bench.broker.flushActivity(everything: true)
        let entries = try await bench.store.activity(filter: .init(action: "grant.revoked"), before: nil, limit: 100)
        #expect(entries.count == expected.count)
        #expect(entries.allSatisfy { $0.detail == report.record.id && $0.key == Broker.adminKeyID })
    }

    @Test func aKeyGoesAndWhatItWasGiven() async throws {  // SEC-66
        let bench = try await filled()
        let (key, secret) = try await bench.broker.addKey(.init(name: "app", role: .use), by: bench.admin)
        let app = try #require(bench.broker.authenticate(secret))
        // One read from memory, one that is not written to the log yet.
        for name in ["a u1", "m -"] { _ = try await read(bench, name, by: app) }
        let report = try await bench.broker.revokeAll(connectionID: nil, subject: nil, keyID: key.id, by: bench.admin)
        #expect(report.record.grants == 2)
        #expect(bench.broker.authenticate(secret) == nil)
        #expect(try await bench.store.keys().map(\.id) == [Broker.adminKeyID])
        #expect(try await stopped(bench) == ["a u1", "m -"])
    }

    @Test func aKeyThatIsGoneIsStillKnownByWhatItWasGiven() async throws {
        let bench = try await filled()
        let (key, secret) = try await bench.broker.addKey(.init(name: "app", role: .use), by: bench.admin)
        let app = try #require(bench.broker.authenticate(secret))
        for name in ["a u1", "b u2"] { _ = try await read(bench, name, by: app) }
        await bench.broker.flushActivity()
        try await bench.broker.removeKey(id: key.id, by: bench.admin)
        _ = try await bench.broker.revokeAll(connectionID: "b", subject: nil, keyID: key.id, by: bench.admin)
        #expect(try await stopped(bench) == ["b u2"])
        let admin = bench.admin
        #expect(await bench.code { _ = try await bench.broker.revokeAll(connectionID: nil, subject: nil, keyID: "key_nothing", by: admin) } == .notFound)
        #expect(await bench.code { _ = try await bench.broker.revokeAll(connectionID: nil, subject: nil, keyID: Broker.adminKeyID, by: admin) } == .conflict)
        #expect(await bench.code { _ = try await bench.broker.revokeAll(connectionID: "nowhere", subject: nil, keyID: nil, by: admin) } == .notFound)
        #expect(await bench.code { _ = try await bench.broker.revokeAll(connectionID: nil, subject: "a b", keyID: nil, by: admin) } == .invalidRequest)
    }

    @Test func aBoundAdminReachesNoFurtherThanItsBounds() async throws {  // SEC-56
        let bench = try await filled()
        func key(_ new: Broker.NewKey) async throws -> Caller { try #require(bench.broker.authenticate(try await bench.broker.addKey(new, by: bench.admin).1)) }
        let ofA = try await key(.init(name: "a", role: .admin, connections: ["a"]))
        let ofU1 = try await key(.init(name: "u1", role: .admin, subjects: ["u1"]))
        let use = try await key(.init(name: "use", role: .use))
        let cases: [(Caller, String?, String?, String?)] = [
            (ofA, nil, nil, nil), (ofA, "b", nil, nil), (ofA, nil, "u1", nil), (ofA, "a", nil, use.key.id), (ofU1, nil, nil, nil), (ofU1, "a", nil, nil),
            (ofU1, nil, "u2", nil), (ofU1, nil, "", nil), (ofU1, nil, nil, use.key.id), (use, "a", nil, nil), (use, nil, nil, nil),
        ]
        for (caller, connection, subject, keyID) in cases {
            let code = await bench.code {
                _ = try await bench.broker.revokeAll(connectionID: connection, subject: subject, keyID: keyID, by: caller)
            }
            #expect(code == .forbidden, "\(caller.key.name) \(connection ?? "-") \(subject ?? "-") \(keyID ?? "-")")
        }
        #expect(try await stopped(bench).isEmpty)
        #expect(try await bench.broker.revocations(before: nil, limit: 10, for: bench.admin).isEmpty)

        let mine = try await bench.broker.revokeAll(connectionID: "a", subject: nil, keyID: nil, by: ofA)
        let theirs = try await bench.broker.revokeAll(connectionID: nil, subject: "u1", keyID: nil, by: ofU1)
        #expect(try await stopped(bench) == ["a -", "a u1", "b u1"])
        #expect(try await bench.broker.revocation(id: mine.record.id, for: ofA).record.grants == 2)
        #expect(await bench.code { _ = try await bench.broker.revocation(id: theirs.record.id, for: ofA) } == .forbidden)
        #expect(await bench.code { _ = try await bench.broker.revocation(id: mine.record.id, for: use) } == .forbidden)
        #expect(await bench.code { _ = try await bench.broker.revocation(id: "rv_nothing", for: bench.admin) } == .notFound)
    }

    // MARK: At once

    @Test func aConnectionThatFetchesAloneDoesNotFetchAfterwards() async throws {
        let bench = try await Bench()
        try await bench.connection("idle", .clientCredentials)
        let report = try await bench.broker.revokeAll(connectionID: nil, subject: nil, keyID: nil, by: bench.admin)
        #expect(report.record.grants == 0)
        #expect(await bench.code { _ = try await bench.token("idle") } == .notConnected)
        #expect(bench.provider.seen.isEmpty)
        guard case .connected = try await bench.broker.connect(connectionID: "idle", options: .init(), by: bench.admin) else {
            Issue.record("client credentials connect at once")
            return
        }
        #expect(try await bench.token("idle").text == "at-1")
    }

    @Test("A renewal on its way neither serves nor revives what was revoked meanwhile", arguments: [GrantType.authorizationCode, .clientCredentials])
    func renewalsInFlight(_ type: GrantType) async throws {  // SEC-66
        let bench = try await Bench()
        try await bench.connection("app", type)
        if type == .authorizationCode { try await bench.importGrant("app", expiresIn: 0) }
        bench.provider.hold()
        let waiting = Task { await bench.code { _ = try await bench.token("app") } }
        while bench.provider.seen.isEmpty { await Task.yield() }
        _ = try await bench.broker.revokeAll(connectionID: "app", subject: nil, keyID: nil, by: bench.admin)
        bench.provider.letGo()
        #expect(await waiting.value != nil)
        #expect(await bench.code { _ = try await bench.token("app") } == .notConnected)
        // What it brought is revoked, too.
        for _ in 0..<200 where !bench.provider.seen.contains(where: { $0.path == "/revoke" && $0.form["token"] == "at-1" }) {
            try await Task.sleep(for: .milliseconds(20))
        }
        #expect(bench.provider.seen.contains { $0.path == "/revoke" && $0.form["token"] == "at-1" })
    }

    @Test("Connect links that are on their way end with what is named", arguments: ["connection", "subject", "key", "everything", "another"])
    func openLinks(_ what: String) async throws {
        let bench = try await Bench()
        for id in ["a", "b"] { try await bench.connection(id, .authorizationCode) }
        let (key, secret) = try await bench.broker.addKey(.init(name: "app", role: .use), by: bench.admin)
        let app = try #require(bench.broker.authenticate(secret))
        guard case .link(let session, _) = try await bench.broker.connect(connectionID: "a", options: .init(subject: "u"), by: app) else {
            Issue.record("a person is asked")
            return
        }
        _ = try await bench.broker.revokeAll(
            connectionID: what == "connection" ? "a" : what == "another" ? "b" : nil, subject: what == "subject" ? "u" : nil,
            keyID: what == "key" ? key.id : nil, by: bench.admin)
        #expect(try await bench.store.session(id: session.id)?.state == (what == "another" ? .open : .expired))
    }

    @Test func whoLeavesDoesNotStopIt() async throws {
        let bench = try await filled()
        let task = Task { try await bench.broker.revokeAll(connectionID: nil, subject: nil, keyID: nil, by: bench.admin) }
        task.cancel()
        _ = await task.result
        guard let record = try await bench.store.revocations(before: nil, limit: 1).first else { return }
        #expect(record.stoppedAt != nil)
        #expect(try await stopped(bench) == Self.everyGrant)
    }

    // MARK: Restart

    @Test func aRestartHalfWayGoesOn() async throws {  // SEC-66
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        for number in 0..<7 { try await bench.importGrant("app", subject: "u\(number)", access: "at-\(number)", refresh: "rt-\(number)") }
        let (key, _) = try await bench.broker.addKey(.init(name: "app", role: .use), by: bench.admin)
        let now = bench.time.wall.now()
        let all = RevocationRecord(
            id: "rv_" + UID.make(at: now).text, filter: .init(), connection: nil, requestedBy: Broker.adminKeyID, createdAt: now)
        try await bench.store.insert(all)
        #expect(try await bench.store.revoke(all.filter, at: now, askAt: now, revocation: all.id, limit: 3) { _, _ in [] }.count == 3)
        let ofKey = RevocationRecord(
            id: "rv_" + UID.make(at: now).text, filter: .init(key: key.id), connection: nil, requestedBy: Broker.adminKeyID, createdAt: now)
        try await bench.store.insert(ofKey)

        let restarted = try await bench.restarted()
        #expect(try await bench.store.keys().map(\.id) == [Broker.adminKeyID])
        for number in 0..<7 {
            let code = await bench.code { _ = try await restarted.token(connectionID: "app", query: .init(subject: "u\(number)"), for: bench.admin) }
            #expect(code == .notConnected)
        }
        #expect(try await restarted.revocation(id: all.id, for: bench.admin).record.grants == 7)
        await restarted.revokeOrphans()
        let record = try await restarted.revocation(id: all.id, for: bench.admin).record
        #expect(record.revoked == 7)
        #expect(record.endedAt != nil)
        #expect(try await restarted.revocation(id: ofKey.id, for: bench.admin).record.endedAt != nil)
        #expect(Set(bench.provider.seen.filter { $0.path == "/revoke" }.compactMap { $0.form["token"] }).count == 14)
    }

    @Test func whatTheStoreCouldNotDoIsDoneInTheBackground() async throws {
        let bench = try await filled()
        let now = bench.time.wall.now()
        let record = RevocationRecord(
            id: "rv_" + UID.make(at: now).text, filter: .init(subject: "u1"), connection: nil, requestedBy: Broker.adminKeyID, createdAt: now)
        try await bench.store.insert(record)
        await bench.broker.goOnRevoking()
        #expect(try await stopped(bench) == ["a u1", "b u1"])
        #expect(try await bench.store.revocation(id: record.id)?.endedAt != nil)
    }

    // MARK: What providers say

    struct Answer: Sendable, CustomTestStringConvertible {
        let name: String
        let status: Int
        var body = ""
        var retryAfter: String?
        /// revoked, unsupported, failed, pending
        let counts: [Int]
        var testDescription: String { name }
    }

    static let answers: [Answer] = [
        Answer(name: "200", status: 200, counts: [1, 0, 0, 0]),
        Answer(name: "an unknown token", status: 400, body: #"{"error":"invalid_token"}"#, counts: [1, 0, 0, 0]),
        Answer(name: "unsupported_token_type", status: 400, body: #"{"error":"unsupported_token_type"}"#, counts: [0, 1, 0, 0]),
        Answer(name: "invalid_client", status: 401, body: #"{"error":"invalid_client"}"#, counts: [0, 0, 1, 0]),
        Answer(name: "a page", status: 302, body: "<html>", counts: [0, 0, 1, 0]), Answer(name: "500", status: 500, body: "<html>", counts: [0, 0, 0, 1]),
        Answer(name: "503", status: 503, retryAfter: "120", counts: [0, 0, 0, 1]), Answer(name: "429", status: 429, retryAfter: "5", counts: [0, 0, 0, 1]),
    ]

    @Test("No answer is taken for success by mistake (SEC-64)", arguments: answers)
    func judged(_ answer: Answer) async throws {
        let endpoint = RevocationEndpoint { _ in .answer(answer.status, answer.body, retryAfter: answer.retryAfter) }
        let (bench, broker) = try await served(by: endpoint)
        let report = try await broker.revokeAll(connectionID: "app", subject: nil, keyID: nil, by: bench.admin)
        await broker.revokeOrphans()
        let record = try await broker.revocation(id: report.record.id, for: bench.admin).record
        #expect([record.revoked, record.unsupported, record.failed, record.pending] == answer.counts)
        #expect((record.endedAt != nil) == (record.pending == 0))
        #expect(try await bench.grant("app").state == "revoked")
    }

    @Test("A provider that cannot answer is asked again when it says, else after a minute (SEC-64)", arguments: ["120", "", "time-out"])
    func askedAgain(_ retryAfter: String) async throws {
        let endpoint = RevocationEndpoint { count in
            guard count == 1 else { return .answer(200, "", retryAfter: nil) }
            return retryAfter == "time-out" ? .timesOut : .answer(503, "", retryAfter: retryAfter.isEmpty ? nil : retryAfter)
        }
        let (bench, broker) = try await served(by: endpoint)
        let id = try await broker.revokeAll(connectionID: "app", subject: nil, keyID: nil, by: bench.admin).record.id
        await broker.revokeOrphans()
        #expect(endpoint.seen.count == 1)
        bench.time.advance(.seconds(retryAfter == "120" ? 119 : 59))
        await broker.revokeOrphans()
        #expect(endpoint.seen.count == 1)
        #expect(try await broker.revocation(id: id, for: bench.admin).record.pending == 1)
        bench.time.advance(.seconds(1))
        await broker.revokeOrphans()
        #expect(endpoint.seen.count == 3)
        let record = try await broker.revocation(id: id, for: bench.admin).record
        #expect(record.revoked == 1 && record.endedAt != nil)
    }

    @Test("A provider that never answers is given up after a day, and that is listed (SEC-63)") func givenUp() async throws {
        let endpoint = RevocationEndpoint { _ in .answer(500, "<html>", retryAfter: nil) }
        let (bench, broker) = try await served(by: endpoint)
        let id = try await broker.revokeAll(connectionID: "app", subject: nil, keyID: nil, by: bench.admin).record.id
        for _ in 0..<26 {
            await broker.revokeOrphans()
            bench.time.advance(.seconds(3600))
        }
        let report = try await broker.revocation(id: id, for: bench.admin)
        #expect(report.record.failed == 1 && report.record.endedAt != nil)
        #expect(report.failures == [RevocationFailure(connection: "app", subject: "", reason: .gaveUp)])
        #expect(endpoint.seen.count <= 30)
        #expect(try await failures(broker, bench).map(\.detail) == ["gave_up"])
        #expect(try await bench.store.orphans(due: bench.time.wall.now() + .seconds(1_000_000), limit: 10).isEmpty)
    }

    @Test func bothTokensGoTheRefreshTokenFirstAuthenticatedAsTheClient() async throws {  // SEC-63
        let endpoint = RevocationEndpoint { _ in .answer(200, "", retryAfter: nil) }
        let (bench, broker) = try await served(by: endpoint)
        _ = try await broker.revokeAll(connectionID: "app", subject: nil, keyID: nil, by: bench.admin)
        await broker.revokeOrphans()
        #expect(endpoint.seen.map { [$0.form["token"], $0.form["token_type_hint"]] } == [["rt-0", "refresh_token"], ["at-0", "access_token"]])
        #expect(endpoint.seen.allSatisfy { $0.authorization == "Basic Y2xpZW50OnMzY3JldA==" })
        #expect(endpoint.seen.allSatisfy { $0.target == "as.example/revoke" })
    }

    @Test("A provider without the endpoint is said so (SEC-63)") func withoutEndpoint() async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode) { $0.oauth.revocationURL = nil }
        try await bench.importGrant("app")
        let id = try await bench.broker.revokeAll(connectionID: "app", subject: nil, keyID: nil, by: bench.admin).record.id
        await bench.broker.revokeOrphans()
        #expect(try await bench.broker.revocation(id: id, for: bench.admin).record.unsupported == 1)
        #expect(bench.provider.seen.isEmpty)
    }

    @Test("A grant whose ciphertext does not open can be revoked (SEC-53)", arguments: [true, false])
    func damagedSeals(isBulk: Bool) async throws {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app", subject: "u1")
        var grant = try await bench.grant("app", subject: "u1").grant
        grant.refreshToken?.bytes[30] ^= 1
        #expect(try await bench.store.put(grant, expectedGeneration: grant.tokenGeneration))
        if isBulk {
            let id = try await bench.broker.revokeAll(connectionID: nil, subject: "u1", keyID: nil, by: bench.admin).record.id
            await bench.broker.revokeOrphans()
            let report = try await bench.broker.revocation(id: id, for: bench.admin)
            #expect(report.failures == [RevocationFailure(connection: "app", subject: "u1", reason: .unreadable)])
            #expect(report.record.endedAt != nil)
        } else {
            #expect(try await bench.broker.revoke(connectionID: "app", subject: "u1", by: bench.admin) == .failed)
        }
        #expect(try await bench.grant("app", subject: "u1").state == "revoked")
        // The one that opens is revoked all the same.
        #expect(bench.provider.seen.filter { $0.path == "/revoke" }.map { $0.form["token"] } == ["at-0"])
        let entries = try await failures(bench.broker, bench)
        #expect(entries.map(\.detail) == ["unreadable"])
        #expect(entries.map(\.subject) == ["u1"])
        #expect(entries.map(\.connection) == ["app"])
    }

    @Test func aRefusalIsNamedInTheActivityLog() async throws {  // SEC-66
        let endpoint = RevocationEndpoint { _ in .answer(403, "", retryAfter: nil) }
        let (bench, broker) = try await served(by: endpoint)
        try await bench.importGrant("app", subject: "u1")
        let id = try await broker.revokeAll(connectionID: nil, subject: nil, keyID: nil, by: bench.admin).record.id
        await broker.revokeOrphans()
        let report = try await broker.revocation(id: id, for: bench.admin)
        #expect(Set(report.failures.map(\.subject)) == ["", "u1"])
        #expect(report.failures.allSatisfy { $0.reason == .refused && $0.connection == "app" })
        let entries = try await failures(broker, bench)
        #expect(Set(entries.map(\.subject)) == [nil, "u1"])
        #expect(entries.allSatisfy { $0.detail == "refused" && $0.result == "provider_error" })
    }

    // MARK: Pace

    @Test func aProviderThatIsDownHoldsUpNoOther() async throws {
        let endpoint = RevocationEndpoint { _ in .answer(200, "", retryAfter: nil) }
        endpoint.set(down: "down.example")
        let bench = try await Bench()
        for host in ["down", "up"] {
            try await bench.connection(host, .authorizationCode) { $0.oauth.revocationURL = "https://\(host).example/revoke" }
            for number in 0..<30 { try await bench.importGrant(host, subject: "u\(number)", access: nil, refresh: "rt-\(host)-\(number)") }
        }
        let broker = try await bench.restarted(transport: endpoint)
        let id = try await broker.revokeAll(connectionID: nil, subject: nil, keyID: nil, by: bench.admin).record.id
        await broker.revokeOrphans()
        var record = try await broker.revocation(id: id, for: bench.admin).record
        #expect([record.revoked, record.pending] == [30, 30])
        // One outage is not tried with every token.
        #expect(endpoint.seen.filter { $0.target == "down.example/revoke" }.count <= 8)
        await broker.revokeOrphans()
        #expect(endpoint.seen.filter { $0.target == "down.example/revoke" }.count <= 8)
        endpoint.set(down: nil)
        bench.time.advance(.seconds(60))
        await broker.revokeOrphans()
        record = try await broker.revocation(id: id, for: bench.admin).record
        #expect([record.revoked, record.pending] == [60, 0])
    }

    @Test func noProviderIsAskedMoreThanEightAtOnce() async throws {
        let endpoint = RevocationEndpoint { _ in .answer(200, "", retryAfter: nil) }
        endpoint.set(delay: .milliseconds(5))
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        for number in 0..<60 { try await bench.importGrant("app", subject: "u\(number)", access: nil, refresh: "rt-\(number)") }
        let broker = try await bench.restarted(transport: endpoint)
        let id = try await broker.revokeAll(connectionID: "app", subject: nil, keyID: nil, by: bench.admin).record.id
        await broker.revokeOrphans()
        #expect(try await broker.revocation(id: id, for: bench.admin).record.revoked == 60)
        #expect(endpoint.mostAtOnce <= 8)
        #expect(endpoint.mostAtOnce > 1)
    }

    // MARK: Means

    /// A grant at `app`, and a broker that finds `endpoint` in the provider's place.
    private func served(by endpoint: RevocationEndpoint) async throws -> (Bench, Broker) {
        let bench = try await Bench()
        try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app")
        return (bench, try await bench.restarted(transport: endpoint))
    }

    private func failures(_ broker: Broker, _ bench: Bench) async throws -> [Activity] {
        await broker.flushActivity(everything: true)
        return try await bench.store.activity(filter: .init(action: "grant.revocation_failed"), before: nil, limit: 100)
    }
}

extension Bench {
    /// Another broker on the same store, as after a restart.
    func restarted(transport: (any Transport)? = nil) async throws -> Broker {
        let restarted = Broker(
            store: store, keyring: broker.keyring, transport: transport ?? provider, egress: broker.egress, clock: time.wall,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, configuration: broker.configuration)
        try await restarted.start(adminKey: Self.adminKey)
        return restarted
    }
}

/// A revocation endpoint that answers as it is told.
final class RevocationEndpoint: Transport {
    enum Reply: Sendable {
        case answer(Int, String, retryAfter: String?)
        case timesOut
    }
    struct Seen: Sendable {
        var target: String
        var form: [String: String]
        var authorization: String?
    }
    private struct State {
        var seen: [Seen] = []
        var down: String?
        var delay: Duration?
        var (running, most) = (0, 0)
    }
    private let reply: @Sendable (Int) -> Reply
    private let state = Mutex(State())

    /// - Parameter reply: to the first request, the second …
    init(_ reply: @escaping @Sendable (Int) -> Reply) { self.reply = reply }

    var seen: [Seen] { state.withLock { $0.seen } }
    var mostAtOnce: Int { state.withLock { $0.most } }
    func set(down host: String?) { state.withLock { $0.down = host } }
    func set(delay: Duration) { state.withLock { $0.delay = delay } }

    func send(_ request: WireRequest) async throws(TransportError) -> WireResponse {
        let host = request.head.authority ?? ""
        let pairs = (try? Form.parse(request.body)) ?? []
        let seen = Seen(
            target: host + (request.head.path ?? ""), form: Dictionary(pairs.map { ($0.name, $0.value) }) { first, _ in first },
            authorization: request.head.headerFields[.authorization])
        let (number, isDown, delay) = state.withLock { state in
            state.seen.append(seen)
            state.running += 1
            state.most = max(state.most, state.running)
            return (state.seen.count, state.down == host, state.delay)
        }
        defer { state.withLock { $0.running -= 1 } }
        if isDown { throw TransportError(.unreachable("connection refused"), mayHaveBeenSent: false) }
        if let delay {
            do { try await Task.sleep(for: delay) } catch { throw TransportError(.cancelled, mayHaveBeenSent: true) }
        }
        switch reply(number) {
        case .timesOut: throw TransportError(.timedOut, mayHaveBeenSent: true)
        case .answer(let status, let body, let retryAfter):
            var response = ScriptedProvider.response(status, body)
            response.head.headerFields[.retryAfter] = retryAfter
            return response
        }
    }
}

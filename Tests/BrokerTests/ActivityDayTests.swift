import OAuth
import OAuthClient
import SQLiteStore
import Testing
import Vault

@testable import Broker

@Suite("What is written down (SEC-112)") struct ActivityDayTests {
    private struct Line: Equatable, CustomStringConvertible {
        var action: String
        var connection: String?
        var subject: String?
        var key: String?
        var result: String
        var request: String?

        init(_ action: String, _ connection: String? = nil, _ subject: String? = nil, key: String? = nil, _ result: String = "ok", request: String? = nil) {
            self.action = action
            self.connection = connection
            self.subject = subject
            self.key = key
            self.result = result
            self.request = request
        }
        init(_ entry: Activity) {
            self.init(entry.action, entry.connection, entry.subject, key: entry.key, entry.result, request: entry.requestID)
        }
        var description: String { [action, connection, subject, key, result, request].map { $0 ?? "-" }.joined(separator: " ") }
    }

    @Test func aScriptedDayIsThereInOrderOnceEach() async throws {
        let bench = try await Bench(egressAllow: [])
        let broker = bench.broker
        let admin = "key_admin"
        var expected = [Line("node.started")]
        /// As the server does it for each request.
        func request<R: Sendable>(_ id: String, key: String? = "key_admin", _ body: @Sendable () async throws -> R) async throws -> R {
            bench.time.advance(.seconds(1))
            return try await RequestID.$scope.withValue(.init(id: id, key: key), operation: body)
        }

        // A connection; one that points where it may not.
        _ = try await request("r-1") { try await bench.connection("app", .authorizationCode) }
        expected.append(Line("connection.created", "app", key: admin, request: "r-1"))
        _ = await bench.code {
            try await request("r-2") { _ = try await bench.connection("inside", .authorizationCode) { $0.oauth.tokenURL = "https://10.0.0.1/token" } }
        }
        expected.append(Line("egress.blocked", key: admin, "egress_blocked", request: "r-2"))

        // A key, and a person who declines, and then does not.
        let (key, text) = try await request("r-3") { try await broker.addKey(.init(name: "app", role: .use), by: bench.admin) }
        expected.append(Line("key.created", key: admin, request: "r-3"))
        let caller = try #require(broker.authenticate(text))
        let link = try await request("r-4", key: key.id) {
            try await broker.connect(connectionID: "app", options: .init(subject: "user-1"), by: caller)
        }
        guard case .link(_, let url) = link else { throw Problem(.internal, "no link") }
        let ticket = String(try #require(url.split(separator: "/").last))
        expected.append(Line("connect.begun", "app", "user-1", key: key.id, request: "r-4"))
        func state(of location: String) throws -> String {
            let query = try #require(location.split(separator: "?", maxSplits: 1).last)
            return try #require(try Form.parse(query.utf8).first { $0.name == "state" }?.value)
        }
        let first = try state(of: try await request("r-5", key: nil) { try await broker.beginAttempt(ticket: ticket, binding: "b") })
        _ = try await request("r-6", key: nil) { await broker.callback(connectionID: "app", query: "error=access_denied&state=\(first)", binding: "b") }
        expected += [
            Line("connect.continued", "app", "user-1", request: "r-5"), Line("connect.failed", "app", "user-1", "access_denied", request: "r-6"),
        ]
        let second = try state(of: try await request("r-7", key: nil) { try await broker.beginAttempt(ticket: ticket, binding: "b") })
        _ = try await request("r-8", key: nil) { await broker.callback(connectionID: "app", query: "code=c-1&state=\(second)", binding: "b") }
        expected += [
            Line("connect.continued", "app", "user-1", request: "r-7"), Line("grant.created", "app", "user-1", request: "r-8"),
            Line("connect.connected", "app", "user-1", request: "r-8"),
        ]
        // Of nobody.
        for _ in 0..<3 {
            _ = try await request("r-9", key: nil) { await broker.callback(connectionID: "app", query: "code=c-2&state=\(second)x", binding: "b") }
        }

        // Reads; a refresh, whose work is done in a task of its own; one that the provider fails.
        for _ in 0..<3 { _ = try await bench.token("app", .init(subject: "user-1")) }
        _ = try await request("r-10", key: key.id) { try await broker.refresh(connectionID: "app", subject: "user-1", for: caller) }
        expected.append(Line("grant.refreshed", "app", "user-1", key: key.id, request: "r-10"))
        bench.provider.script(.json(500, "{}"))
        _ = await bench.code {
            try await request("r-11", key: key.id) { _ = try await broker.refresh(connectionID: "app", subject: "user-1", for: caller) }
        }
        expected.append(Line("grant.refresh_failed", "app", "user-1", key: key.id, "provider_error", request: "r-11"))
        // A provider whose name leads where it may not.
        bench.provider.script(.fails(TransportError(.blocked, mayHaveBeenSent: false)))
        bench.time.advance(.seconds(600))
        _ = await bench.code {
            try await request("r-12", key: key.id) { _ = try await broker.refresh(connectionID: "app", subject: "user-1", for: caller) }
        }
        expected += [
            Line("egress.blocked", key: key.id, "egress_blocked", request: "r-12"),
            Line("grant.refresh_failed", "app", "user-1", key: key.id, "egress_blocked", request: "r-12"),
        ]

        // Import, revocation, change, removal.
        _ = try await request("r-13") { try await bench.importGrant("app", subject: "user-2", access: "at-x", refresh: nil) }
        expected.append(Line("grant.imported", "app", "user-2", key: admin, request: "r-13"))
        _ = try await request("r-14") { try await broker.revoke(connectionID: "app", subject: "user-1", by: bench.admin) }
        expected.append(Line("grant.revoked", "app", "user-1", key: admin, request: "r-14"))
        var settings = try await broker.connection(id: "app", for: bench.admin).settings
        settings.name = "App"
        let changed = settings
        _ = try await request("r-15") {
            try await broker.updateConnection(
                id: "app", settings: changed, clientSecret: .keep, password: .keep, keepGrants: false, expectedRevision: nil, by: bench.admin)
        }
        expected.append(Line("connection.changed", "app", key: admin, request: "r-15"))
        try await request("r-16") { try await broker.deleteConnection(id: "app", by: bench.admin) }
        expected.append(Line("connection.removed", "app", key: admin, request: "r-16"))
        try await request("r-17") { try await broker.removeKey(id: key.id, by: bench.admin) }
        expected.append(Line("key.removed", key: admin, request: "r-17"))

        // Refusals at the door, by the minute.
        for _ in 0..<4 { broker.noteRefusal(.unauthenticated, route: "/v1/keys", key: nil) }
        broker.noteRefusal(.forbidden, route: "/v1/keys", key: key.id)
        await broker.finish()

        let entries = try await bench.store.activityPage(node: "main", afterSequence: 0, limit: 1000)
        // What is counted comes behind what happened one by one.
        let counted: Set = ["token.read", "request.refused", "connect.callback"]
        #expect(entries.last.map(Line.init) == Line("node.stopped"))
        #expect(entries.dropLast().filter { !counted.contains($0.action) }.map(Line.init) == expected)
        func count(_ action: String, key: String? = nil, _ result: String = "ok") -> Int {
            entries.filter { $0.action == action && $0.key == key && $0.result == result }.map(\.count).reduce(0, +)
        }
        #expect(count("token.read", key: admin) == 3)
        #expect(count("connect.callback", "invalid_state") == 3)
        #expect(count("request.refused", "unauthenticated") == 4)
        #expect(count("request.refused", key: key.id, "forbidden") == 1)
        #expect(entries.filter { $0.action == "request.refused" }.allSatisfy { $0.detail == "/v1/keys" })
        // Blocked hosts by name.
        #expect(entries.filter { $0.action == "egress.blocked" }.map(\.detail) == ["10.0.0.1", "as.example"])
        // In the order of time.
        #expect(entries.map(\.at) == entries.map(\.at).sorted())
    }
}

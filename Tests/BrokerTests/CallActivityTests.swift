import OAuth
import SQLiteStore
import Testing
import Vault

@testable import Broker

extension Bench {
    /// A call as the gateway records it.
    static func call(
        key: String = "key_1", connection: UID = UID(text: "c"), subject: String = "user-1", grant: String? = "g", method: String = "GET",
        path: String = "/repos/x", status: Int? = 200, result: String = "ok", requestID: String? = nil, policyRevision: Int? = nil, arguments: String? = nil
    ) -> APICall {
        APICall(
            key: key,
            target: APICall.Target(connectionUID: connection, connection: "app", grant: grant.map { UID(text: $0) }, host: "api.example.com"),
            subject: subject, method: method, path: path, status: status, result: result, requestID: requestID, policyRevision: policyRevision,
            arguments: arguments)
    }

    func record(_ call: APICall) { broker.record(call, at: time.wall.now()) }

    /// What is in the store of calls, in its order.
    func calls() async throws -> [Activity] { try await entries().filter { $0.action.hasPrefix("api.") } }
}

@Suite("Calls of APIs in the activity log") struct CallActivityTests {
    // MARK: One entry each

    @Test func eachCallIsOneEntryWithItsOutcome() async throws {  // SEC-112, SEC-137
        let bench = try await Bench()
        let fingerprint = try #require(bench.broker.fingerprint(of: Array("{}".utf8)))
        let calls = [
            Bench.call(requestID: "r-1"),
            Bench.call(subject: "", method: "POST", status: 404, requestID: "r-2"),
            Bench.call(status: nil, result: "provider_unreachable", requestID: "r-3"),
            Bench.call(key: "key_agent", grant: nil, status: nil, result: "forbidden", requestID: "r-4", policyRevision: 7, arguments: fingerprint),
        ]
        for call in calls {
            bench.record(call)
            bench.time.advance(.milliseconds(1))
        }
        await bench.broker.flushActivity()
        let entries = try await bench.calls()
        #expect(entries.map(\.action) == ["api.called", "api.called", "api.called", "api.refused"])
        #expect(entries.map(\.key) == ["key_1", "key_1", "key_1", "key_agent"])
        #expect(entries.map(\.subject) == ["user-1", nil, "user-1", "user-1"])
        #expect(entries.map(\.result) == ["ok", "ok", "provider_unreachable", "forbidden"])
        #expect(entries.map(\.requestID) == ["r-1", "r-2", "r-3", "r-4"])
        #expect(
            entries.map(\.detail) == [
                "GET api.example.com/repos/x → 200", "POST api.example.com/repos/x → 404", "GET api.example.com/repos/x",
                "GET api.example.com/repos/x; arguments \(fingerprint); policy 7",
            ])
        #expect(entries.allSatisfy { $0.count == 1 && $0.connection == "app" && $0.connectionUID == UID(text: "c") })
        #expect(entries.map(\.at.milliseconds) == (0..<4).map { 1_800_000_000_000 + $0 })
        // Lists go by the uid: the newest first.
        let shown = try await bench.broker.activity(connection: "app", subject: nil, before: nil, limit: 50, for: bench.admin)
        #expect(shown.map(\.requestID) == ["r-4", "r-3", "r-2", "r-1"])
        let refused = try await bench.broker.activity(connection: nil, subject: nil, action: "api.refused", before: nil, limit: 50, for: bench.admin)
        #expect(refused.map(\.requestID) == ["r-4"])
        #expect(try await bench.report().broken == nil)
    }

    static let paths: [(path: String, shown: String)] = [
        ("/a%0D%0Ab/%C3%A9", "/a%0D%0Ab/%C3%A9"),
        ("/a\r\nb\u{1B}[31m", "/a  b [31m"),
        ("/a\u{202E}b\u{2028}c", "/ab c"),
        ("/\"a\",x=1\\", "/\"a\",x=1\\"),
        ("/" + String(repeating: "x", count: 400), "/" + String(repeating: "x", count: 299)),
    ]

    @Test("A path stays on its line (SEC-113)", arguments: paths) func shown(path: String, shown: String) async throws {
        let bench = try await Bench()
        bench.record(Bench.call(path: path))
        await bench.broker.flushActivity()
        #expect(try await bench.calls().map(\.detail) == ["GET api.example.com\(shown) → 200"])
    }

    /// Of a refused call nothing was checked yet.
    @Test func aSubjectStaysInItsField() async throws {  // SEC-113
        let bench = try await Bench()
        for subject in ["a\r\nb", String(repeating: "s", count: 70_000)] {
            bench.record(Bench.call(subject: subject, grant: nil, path: "/", status: nil, result: "invalid_request"))
        }
        await bench.broker.flushActivity()
        #expect(try await bench.calls().map(\.subject) == ["a  b", String(repeating: "s", count: 255)])
        #expect(Bench.call(path: String(repeating: "/x", count: 30_000)).cut.path.utf8.count == 300)
    }

    @Test func aFingerprintTellsEqualArgumentsAndNothingElse() async throws {  // SEC-137
        let (one, other) = (try await Bench(), try await Bench())
        func print(_ bench: Bench, _ text: String) -> String { bench.broker.fingerprint(of: Array(text.utf8)) ?? "" }
        #expect(print(one, "a") == print(one, "a"))
        #expect(print(one, "a") != print(one, "b"))
        #expect(print(one, "a") != print(other, "a"))
        #expect(print(one, "a").utf8.count == 32)
        // The key is the database's: a restart changes nothing.
        #expect(try await one.another().fingerprint(of: Array("a".utf8)) == print(one, "a"))
    }

    // MARK: Many

    @Test func beyondTheFirstOnesThoseThatAreAlikeAreOne() async throws {
        let bench = try await Bench()
        for index in 0..<CallQueue.singles { bench.record(Bench.call(requestID: "r-\(index)")) }
        let others = [
            Bench.call(status: 500), Bench.call(key: "key_2"), Bench.call(subject: "user-2", grant: "h"), Bench.call(method: "PUT"), Bench.call(path: "/y"),
            Bench.call(connection: UID(text: "d"), grant: "i"), Bench.call(status: nil, result: "provider_unreachable"),
        ]
        for _ in 0..<3 { for call in others + [Bench.call(requestID: "r-x")] { bench.record(call) } }
        await bench.broker.flushActivity()
        let entries = try await bench.calls()
        #expect(entries.count == CallQueue.singles + others.count + 1)
        #expect(entries.prefix(CallQueue.singles).allSatisfy { $0.count == 1 && $0.requestID != nil })
        #expect(entries.dropFirst(CallQueue.singles).allSatisfy { $0.count == 3 && $0.requestID == nil })
        let told = entries.dropFirst(CallQueue.singles).map { [$0.key, $0.subject, $0.result, $0.connectionUID?.text, $0.detail] }
        #expect(Set(told).count == others.count + 1)
        // The next interval has its own.
        bench.record(Bench.call(requestID: "r-y"))
        bench.record(Bench.call(requestID: "r-z"))
        await bench.broker.flushActivity()
        #expect(try await bench.calls().suffix(2).map(\.requestID) == ["r-y", "r-z"])
    }

    @Test func whatIsNotQuiteAlikeStaysApart() async throws {
        let bench = try await Bench()
        for _ in 0..<CallQueue.singles { bench.record(Bench.call()) }
        // The second is equal to the first for Swift, and not the same bytes; arguments are told of each.
        let calls = [Bench.call(path: "/\u{E9}"), Bench.call(path: "/e\u{301}"), Bench.call(arguments: "f1"), Bench.call(arguments: "f2")]
        for _ in 0..<2 { for call in calls { bench.record(call) } }
        await bench.broker.flushActivity()
        let entries = try await bench.calls().dropFirst(CallQueue.singles)
        #expect(entries.map(\.count).reduce(0, +) == 8)
        func details(_ text: String) -> Int { entries.filter { sameBytes($0.detail ?? "", text) }.map(\.count).reduce(0, +) }
        #expect(details("GET api.example.com/\u{E9} → 200") == 2)
        #expect(details("GET api.example.com/e\u{301} → 200") == 2)
        #expect(details("GET api.example.com/repos/x → 200; arguments f1") == 2)
        #expect(details("GET api.example.com/repos/x → 200; arguments f2") == 2)
    }

    @Test func eachCallOfAnAgentIsItsOwnEntryHoweverBusyOthersAre() async throws {  // SEC-112
        let bench = try await Bench()
        for _ in 0..<(CallQueue.singles + 100) { bench.record(Bench.call()) }
        for index in 0..<5 { bench.record(Bench.call(key: "agent", requestID: "a-\(index)", policyRevision: 1, arguments: "f")) }
        for index in 0..<5 { bench.record(Bench.call(grant: nil, status: nil, result: "forbidden", requestID: "f-\(index)")) }
        await bench.broker.flushActivity()
        let ids = try await bench.calls().filter { $0.count == 1 }.compactMap(\.requestID)
        #expect(ids.filter { $0.hasPrefix("a-") } == (0..<5).map { "a-\($0)" })
        #expect(ids.filter { $0.hasPrefix("f-") } == (0..<5).map { "f-\($0)" })
    }

    @Test func whatIsRefusedFillsNoQueue() async throws {
        let bench = try await Bench()
        for index in 0..<(ActivityLog.capacity + 5_000) { bench.record(Bench.call(grant: nil, path: "/\(index)", status: nil, result: "forbidden")) }
        #expect(bench.broker.isRecording)
        await bench.broker.flushActivity()
        let entries = try await bench.calls()
        #expect(entries.count == ActivityLog.mostRefused + 1)
        #expect(entries.map(\.count).reduce(0, +) == ActivityLog.capacity + 5_000)
        #expect(entries.last?.detail == nil)
        #expect(entries.allSatisfy { $0.action == "api.refused" && $0.result == "forbidden" && $0.key == "key_1" })
    }

    @Test func aFullQueueStopsCallsAndKeepsThoseUnderWay() {  // SEC-115
        let log = ActivityLog()
        let now = Timestamp(milliseconds: 1_800_000_000_000)
        for index in 0..<ActivityLog.capacity {
            #expect(log.isAccepting)
            log.append(Bench.call(path: "/\(index)"), at: now)
        }
        #expect(!log.isAccepting)
        for index in 0..<(ActivityLog.capacity + 3) { log.append(Bench.call(path: "/late/\(index)"), at: now) }
        let batch = log.take(minute: 0, everything: false)
        #expect((batch.calls.count, batch.leftOut) == (2 * ActivityLog.capacity, 3))
        #expect(log.isAccepting)
        #expect(log.isEmpty)
    }

    @Test func whileNothingCanBeWrittenNoCallIsSentAndWhatWasIsKept() async throws {  // SEC-115
        let bench = try await Bench()
        await bench.broker.flushActivity()
        bench.record(Bench.call(requestID: "r-1"))
        try await bench.store.set(isWritable: false)
        await bench.broker.flushActivity()
        #expect(!bench.broker.isRecording)
        bench.record(Bench.call(requestID: "r-2"))
        for _ in 0..<5 { bench.record(Bench.call(grant: nil, status: nil, result: "unavailable")) }
        await bench.broker.flushActivity()
        try await bench.store.set(isWritable: true)
        await bench.broker.flushActivity(everything: true)
        #expect(bench.broker.isRecording)
        let entries = try await bench.calls()
        #expect(entries.filter { $0.action == "api.called" }.map(\.requestID) == ["r-1", "r-2"])
        #expect(entries.filter { $0.action == "api.refused" }.map(\.count).reduce(0, +) == 5)
        #expect(try await bench.report().broken == nil)
    }

    @Test func manyAreWrittenBeforeTheSecondIsOver() async throws {
        let bench = try await Bench()
        let flushing = Task { await bench.broker.flushWhenFilling() }
        defer { flushing.cancel() }
        for index in 0..<ActivityLog.manyCalls { bench.record(Bench.call(path: "/\(index)")) }
        while try await bench.store.activityHead(node: "main")?.sequence != ActivityLog.manyCalls + 1 { await Task.yield() }
        #expect(bench.broker.activityLog.isEmpty)
    }

    @Test func aBusyChainIsAnchoredOnceAMinute() async throws {
        let bench = try await Bench()
        func anchors(afterCalls count: Int) async throws -> Int {
            for index in 0..<count { bench.record(Bench.call(path: "/\(index)")) }
            await bench.broker.flushActivity()
            return try await bench.store.activityAnchors(node: "main").count
        }
        #expect(try await anchors(afterCalls: 1_500) == 1)
        bench.time.advance(.seconds(1))
        #expect(try await anchors(afterCalls: 1_500) == 1)
        bench.time.advance(.seconds(59))
        #expect(try await anchors(afterCalls: 1) == 2)
    }

    // MARK: What follows from them

    @Test func aGrantKnowsWhenItsTokenWasUsed() async throws {
        let bench = try await Bench()
        let connection = try await bench.connection("app", .authorizationCode)
        try await bench.importGrant("app", subject: "user-1")
        try await bench.importGrant("app", subject: "user-2")
        func grant(_ subject: String) async throws -> Grant { try await bench.grant("app", subject: subject).grant }
        let (one, two) = (try await grant("user-1").uid.text, try await grant("user-2").uid.text)
        let begin = bench.time.wall.now()
        func used(_ grant: String?) async throws -> [Int64?] {
            if let grant { bench.record(Bench.call(connection: connection.uid, grant: grant)) }
            await bench.broker.flushActivity()
            return [try await self.seconds(bench, "user-1", since: begin), try await self.seconds(bench, "user-2", since: begin)]
        }
        #expect(try await used(one) == [0, nil])
        bench.time.advance(.seconds(1))
        #expect(try await used(two) == [0, 1])
        // A grant is written once a minute, however often it is used.
        bench.time.advance(.seconds(1))
        #expect(try await used(one) == [0, 1])
        #expect(try await used(two) == [0, 1])
        bench.time.advance(.seconds(60))
        #expect(try await used(nil) == [2, 2])
    }

    private func seconds(_ bench: Bench, _ subject: String, since begin: Timestamp) async throws -> Int64? {
        try await bench.grant("app", subject: subject).grant.lastUsedAt.map { ($0.milliseconds - begin.milliseconds) / 1000 }
    }

    @Test func theKillSwitchOfAKeyReachesWhatItCalledWith() async throws {  // SEC-66
        let bench = try await Bench()
        let connection = try await bench.connection("app", .authorizationCode)
        for subject in ["called", "unanswered", "refused", "others"] { try await bench.importGrant("app", subject: subject) }
        let (key, secret) = try await bench.broker.addKey(.init(name: "agent", role: .agent), by: bench.admin)
        bench.record(Bench.call(key: key.id, connection: connection.uid, subject: "called"))
        bench.record(Bench.call(key: key.id, connection: connection.uid, subject: "unanswered", status: nil, result: "provider_unreachable"))
        // Naming a subject is not having its token.
        bench.record(Bench.call(key: key.id, connection: connection.uid, subject: "refused", grant: nil, status: nil, result: "forbidden"))
        bench.record(Bench.call(key: "key_2", connection: connection.uid, subject: "others"))
        _ = try await bench.broker.revokeAll(connectionID: nil, subject: nil, keyID: key.id, by: bench.admin)
        #expect(bench.broker.authenticate(secret) == nil)
        var revoked: [String] = []
        for subject in ["called", "unanswered", "refused", "others"] where try await bench.grant("app", subject: subject).state == "revoked" {
            revoked.append(subject)
        }
        #expect(revoked == ["called", "unanswered"])
    }
}

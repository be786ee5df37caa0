import Foundation
import GRDB
import Logging
import OAuth
import Synchronization
import Testing
import Vault

@testable import Broker
@testable import SQLiteStore

extension Bench {
    /// What whoever has the database file can do to it.
    func tamper(_ sql: String) async throws { try await store.write { try $0.execute(sql: sql) } }

    func entries(of node: String = "main") async throws -> [Activity] { try await store.activityPage(node: node, afterSequence: 0, limit: 10_000) }

    func report(kept: [ActivityLink] = []) async throws -> ActivityVerifier.Report {
        let chain = try #require(try await ActivityChain(of: store, keyring: broker.keyring))
        return try await ActivityVerifier.report(store, chain: chain, node: "main", kept: kept)
    }

    /// Another process's broker on the same store.
    func another(log: @escaping @Sendable (String) -> Void = { _ in }, change: (inout Broker.Configuration) -> Void = { _ in }) async throws -> Broker {
        var configuration = Broker.Configuration(publicURL: "http://127.0.0.1:8080")
        change(&configuration)
        let broker = Broker(
            store: store, keyring: self.broker.keyring, transport: provider, egress: self.broker.egress, clock: time.wall,
            logger: Logger(label: "test") { _ in TestLog(line: log) }, configuration: configuration)
        try await broker.start(adminKey: Self.adminKey)
        return broker
    }
}

/// Hands each event on as `level message key=value …`.
struct TestLog: LogHandler {
    let line: @Sendable (String) -> Void
    var logLevel = Logger.Level.trace
    var metadata: Logger.Metadata = [:]
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }
    init(line: @escaping @Sendable (String) -> Void) { self.line = line }
    func log(event: LogEvent) {
        let pairs = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        line((["\(event.level)", "\(event.message)"] + pairs).joined(separator: " "))
    }
}

extension ActivityVerifier.Finding {
    /// Without the ids, which differ from run to run.
    var short: String {
        switch self {
        case .altered(let place, _): "altered \(place)"
        case .swapped(let place, let other, _): "swapped \(place) \(other)"
        case .removed(let first, let last): "removed \(first)-\(last)"
        case .tailRemoved(let last, let anchor): "tail \(last)<\(anchor)"
        case .replaced(let place): "replaced \(place)"
        case .forgedAnchor(let place): "forged \(place)"
        }
    }
}

@Suite("The activity log shows what was done to it (SEC-114)") struct ActivityChainTests {
    /// `node.started` and nine more.
    private func ten() async throws -> Bench {
        let bench = try await Bench()
        for index in 1...9 {
            bench.time.advance(.seconds(1))
            bench.broker.note("test", subject: "s", detail: "e\(index)")
            if index.isMultiple(of: 3) { await bench.broker.flushActivity() }
        }
        return bench
    }

    // MARK: Links

    /// Against an implementation of its own, in another language.
    @Test func linksAndAnchorsAreThoseOfTheDocumentedConstruction() {
        func uid(_ last: String) -> UID { UID(text: "018bcfe5-6800-7000-8000-" + last) }
        let chain = ActivityChain(secret: Array(0..<32), entriesBefore: 0)
        let entries = [
            Activity(
                uid: uid("000000000001"), at: Timestamp(milliseconds: 1_700_000_000_000), action: "token.read", connectionUID: uid("00000000000c"),
                connection: "app", subject: "user-ü", key: "key_1", count: 3, requestID: "request-1"),
            Activity(uid: uid("000000000002"), at: Timestamp(milliseconds: 1_700_000_001_000), action: "node.stopped", detail: ""),
        ]
        func hex(_ bytes: [UInt8]) -> String { bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }
        let links = chain.linked(entries, after: ActivityChain.beginning(of: "main")).compactMap(\.link)
        #expect(links.map(\.sequence) == [1, 2])
        #expect(
            links.map { hex($0.mac) } == [
                "70fab6aeace0a01181440bea6ad2d9218191968d111e0a48325c362ef91a3783", "190bc617360ba8aeaabace8a491af8f12537a1b2e2c7b0779bd6325f9b444b53",
            ])
        let time = Timestamp(milliseconds: 1_700_000_002_000)
        let (reached, cut) = (chain.anchor(.reached, at: links[1], time: time), chain.anchor(.cut, at: links[1], time: time))
        #expect(hex(reached.signature) == "fe261560bce5234095b58ace64ea4ed0052945b7e761de52cdd123a2d8cf6624")
        #expect(hex(cut.signature) == "b015e974eb2a3dcb48e1943fb470e4b38047d012ab79723620e5a91d9d084b04")
        // Each has a key of its own. SEC-125
        #expect(chain.kind(of: reached) == .reached)
        #expect(chain.kind(of: cut) == .cut)
        #expect(ActivityChain(secret: Array(1..<33), entriesBefore: 0).kind(of: reached) == nil)
    }

    @Test func noTwoEntriesEncodeAlike() {
        let chain = ActivityChain(secret: [UInt8](repeating: 7, count: 32), entriesBefore: 0)
        let plain = Activity(uid: UID(text: "u"), at: Timestamp(milliseconds: 1), action: "a")
        let changes: [(inout Activity) -> Void] = [
            { $0.uid = UID(text: "v") }, { $0.at.milliseconds = 2 }, { $0.action = "b" }, { $0.connectionUID = UID(text: "") }, { $0.connection = "" },
            { $0.subject = "" }, { $0.key = "" }, { $0.result = "" }, { $0.count = 2 }, { $0.detail = "" }, { $0.requestID = "" }, { $0.connection = "x" },
            { $0.subject = "x" }, { $0.key = "x" }, { $0.detail = "x" }, { $0.requestID = "x" },
        ]
        var macs: Set<[UInt8]> = [chain.mac(of: plain, at: 1, after: ActivityChain.beginning(of: "n"))]
        for change in changes {
            var entry = plain
            change(&entry)
            macs.insert(chain.mac(of: entry, at: 1, after: ActivityChain.beginning(of: "n")))
        }
        macs.insert(chain.mac(of: plain, at: 2, after: ActivityChain.beginning(of: "n")))
        macs.insert(chain.mac(of: plain, at: 1, after: ActivityChain.beginning(of: "m")))
        #expect(macs.count == changes.count + 3)
    }

    @Test func aChainThatNobodyTouchedIsWhole() async throws {
        let bench = try await ten()
        let report = try await bench.report()
        #expect(report.broken == nil)
        #expect((report.entries, report.first, report.last, report.anchors, report.cutAt) == (10, 1, 10, 0, nil))
        let entries = try await bench.entries()
        #expect(entries.compactMap(\.link?.sequence) == Array(1...10))
        #expect(entries.compactMap(\.detail) == ["main"] + (1...9).map { "e\($0)" })
        #expect(report.times == entries[0].at...entries[9].at)
    }

    @Test func theSecretIsSealed() async throws {  // SEC-125
        let bench = try await ten()
        let sealed = try #require(try await bench.store.meta("activity_chain"))
        let secret = try bench.broker.keyring.open(Sealed(bytes: sealed), at: .activityChain)
        #expect(secret.count == 40)
        #expect(!sealed.indices.contains { sealed[$0...].starts(with: secret.prefix(16)) })
        try await bench.tamper("UPDATE meta SET value = zeroblob(100) WHERE name = 'activity_chain'")
        await #expect(throws: KeyringError.self) { _ = try await bench.report() }
    }

    // MARK: Tampering

    static let deeds: [(sql: String, finding: String)] = [
        ("UPDATE activity SET detail = 'other' WHERE sequence = 5", "altered 5"),
        ("UPDATE activity SET detail = NULL WHERE sequence = 5", "altered 5"),
        ("UPDATE activity SET at = at + 1 WHERE sequence = 5", "altered 5"),
        ("UPDATE activity SET at = 'never' WHERE sequence = 5", "altered 5"),
        ("UPDATE activity SET action = 'else' WHERE sequence = 1", "altered 1"),
        ("UPDATE activity SET subject = 't' WHERE sequence = 10", "altered 10"),
        ("UPDATE activity SET key = 'key_x' WHERE sequence = 5", "altered 5"),
        ("UPDATE activity SET connection = 'c' WHERE sequence = 5", "altered 5"),
        ("UPDATE activity SET connection_uid = 'c' WHERE sequence = 5", "altered 5"),
        ("UPDATE activity SET result = 'denied' WHERE sequence = 5", "altered 5"),
        ("UPDATE activity SET count = 9 WHERE sequence = 5", "altered 5"),
        ("UPDATE activity SET request_id = 'r' WHERE sequence = 5", "altered 5"),
        ("UPDATE activity SET uid = 'u' WHERE sequence = 5", "altered 5"),
        ("UPDATE activity SET mac = zeroblob(32) WHERE sequence = 5", "altered 5"),
        ("UPDATE activity SET mac = NULL WHERE sequence = 5", "altered 5"),
        ("UPDATE activity SET detail = 'other' WHERE sequence IN (4, 8)", "altered 4"),
        ("DELETE FROM activity WHERE sequence = 5", "removed 5-5"),
        ("DELETE FROM activity WHERE sequence BETWEEN 3 AND 6", "removed 3-6"),
        ("DELETE FROM activity WHERE sequence <= 2", "removed 1-2"),
        ("UPDATE activity SET node = NULL, sequence = NULL, mac = NULL WHERE sequence = 5", "removed 5-5"),
        ("DELETE FROM activity WHERE sequence = 5; UPDATE activity SET sequence = sequence - 1 WHERE sequence > 5", "altered 5"),
        // The places of two rows; their contents, each with its mac; their contents without it.
        (
            "UPDATE activity SET sequence = 99 WHERE sequence = 4; UPDATE activity SET sequence = 4 WHERE sequence = 7; "
                + "UPDATE activity SET sequence = 7 WHERE sequence = 99",
            "swapped 4 7"
        ),
        (
            "CREATE TEMP TABLE a AS SELECT * FROM activity WHERE sequence IN (4, 5); DELETE FROM activity WHERE sequence IN (4, 5); "
                + "UPDATE a SET sequence = 9 - sequence; INSERT INTO activity SELECT * FROM a; DROP TABLE a",
            "swapped 4 5"
        ),
        (
            "CREATE TEMP TABLE a AS SELECT * FROM activity WHERE sequence IN (4, 6); CREATE TEMP TABLE b AS SELECT * FROM a; "
                + "DELETE FROM activity WHERE sequence IN (4, 6); UPDATE a SET mac = (SELECT mac FROM b WHERE b.sequence <> a.sequence); "
                + "UPDATE a SET sequence = 10 - sequence; INSERT INTO activity SELECT * FROM a; DROP TABLE a; DROP TABLE b",
            "swapped 4 6"
        ),
        (
            "INSERT INTO activity (uid, at, action, result, count, node, sequence, mac) VALUES ('u', 1, 'x', 'ok', 1, 'main', 11, zeroblob(32))",
            "altered 11"
        ),
        ("INSERT INTO activity_anchor VALUES ('main', 20, zeroblob(32), 1, zeroblob(32))", "forged 20"),
        ("INSERT INTO activity_anchor SELECT node, 5, mac, at, mac FROM activity WHERE sequence = 5", "forged 5"),
        ("DELETE FROM activity; INSERT INTO activity_anchor VALUES ('main', 10, zeroblob(32), 1, zeroblob(32))", "forged 10"),
    ]

    @Test("The first wrong entry is named", arguments: deeds) func tampering(sql: String, finding: String) async throws {
        let bench = try await ten()
        try await bench.tamper(sql)
        #expect(try await bench.report().broken?.short == finding)
    }

    @Test func anEntryPastTheChainIsCounted() async throws {
        let bench = try await Bench()
        let chain = try #require(try await ActivityChain(of: bench.store, keyring: bench.broker.keyring))
        #expect(chain.entriesBefore == 0)
        try await bench.tamper("INSERT INTO activity (uid, at, action, result, count) VALUES ('u', 1, 'x', 'ok', 1)")
        #expect(try await bench.store.unlinkedActivity() == 1)
        // Where a chain begins in an old log, what is there is known to be outside.
        try await bench.tamper("DELETE FROM meta WHERE name = 'activity_chain'")
        _ = try await bench.another()
        #expect(try await ActivityChain(of: bench.store, keyring: bench.broker.keyring)?.entriesBefore == 1)
    }

    // MARK: Anchors

    @Test func aCutTailShowsAgainstTheLastAnchor() async throws {
        let bench = try await ten()
        await bench.broker.finish()
        #expect(try await bench.entries().last?.action == "node.stopped")
        let anchor = try #require(try await bench.store.activityAnchors(node: "main").last)
        #expect(anchor.link.sequence == 11)
        #expect(try await bench.report().broken == nil)
        try await bench.tamper("DELETE FROM activity WHERE sequence > 8")
        #expect(try await bench.report().broken?.short == "tail 8<11")
        // With the anchors gone too, only one that was kept elsewhere tells.
        try await bench.tamper("DELETE FROM activity_anchor")
        #expect(try await bench.report().broken == nil)
        #expect(try await bench.report(kept: [anchor.link]).broken?.short == "tail 8<11")
        // A server goes on where an anchor says; what is missing stays missing.
        try await bench.store.insert(anchor)
        let again = try await bench.another()
        await again.flushActivity(everything: true)
        #expect(try await bench.entries().suffix(1).map { $0.link?.sequence } == [12])
        #expect(try await bench.report().broken?.short == "removed 9-11")
    }

    @Test func anAnchorThatWasKeptElsewhereShowsAnotherLog() async throws {
        let bench = try await ten()
        var link = try #require(try await bench.entries()[4].link)
        #expect(try await bench.report(kept: [link]).broken == nil)
        link.mac[0] ^= 1
        #expect(try await bench.report(kept: [link]).broken?.short == "replaced 5")
    }

    @Test func onlyARetentionCutsTheHead() async throws {
        let bench = try await ten()
        await bench.broker.activityWriter.anchor(now: bench.time.wall.now(), always: true)
        bench.broker.note("test", detail: "last")
        await bench.broker.flushActivity()
        // An anchor that says how far the chain had come is no leave to cut there, and cannot be made one.
        try await bench.tamper("DELETE FROM activity WHERE sequence <= 10")
        #expect(try await bench.report().broken?.short == "removed 1-10")
        try await bench.tamper("UPDATE activity_anchor SET sequence = 9")
        #expect(try await bench.report().broken != nil)
    }

    @Test func theChainIsAnchoredByEntriesAndByTime() async throws {
        let bench = try await Bench()
        let lines = Mutex<[String]>([])
        let broker = try await bench.another(log: { line in lines.withLock { $0.append(line) } })
        func anchors() async throws -> [Int] { try await bench.store.activityAnchors(node: "main").map(\.link.sequence) }
        await broker.flushActivity()
        let begun = try await bench.entries().count
        #expect(try await anchors().isEmpty)
        for _ in 0..<2_500 { broker.note("test") }
        await broker.flushActivity()
        #expect(try await anchors() == [begun + 2_500])
        bench.time.advance(.seconds(3_599))
        broker.note("test")
        await broker.flushActivity()
        #expect(try await anchors().count == 1)
        bench.time.advance(.seconds(2))
        await broker.flushActivity()
        #expect(try await anchors() == [begun + 2_500, begun + 2_501])
        // Nothing new, nothing to sign.
        bench.time.advance(.seconds(10_000))
        await broker.flushActivity()
        #expect(try await anchors().count == 2)
        // The log has each of them, to be kept elsewhere.
        let logged = lines.withLock { $0.filter { $0.hasPrefix("notice activity anchor ") } }
        let stored = try await bench.store.activityAnchors(node: "main").map { anchor in
            "notice activity anchor mac=" + anchor.link.mac.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
                + " node=main sequence=\(anchor.link.sequence)"
        }
        #expect(logged == stored)
        #expect(try await bench.report().broken == nil)
    }

    // MARK: Retention

    @Test func theHeadIsCutAfterItsTimeAndTheRestIsWhole() async throws {
        let bench = try await ten()
        let broker = bench.broker
        bench.time.advance(.seconds(399 * 86_400))
        broker.note("test", detail: "young")
        await broker.flushActivity()
        await broker.cutActivity()
        #expect(try await bench.report().entries == 11)
        bench.time.advance(.seconds(2 * 86_400))
        await broker.cutActivity()
        let report = try await bench.report()
        #expect(report.broken == nil)
        #expect((report.entries, report.first, report.cutAt) == (1, 11, 10))
        #expect(try await bench.entries().first?.detail == "young")
        // What is left is guarded as before.
        try await bench.tamper("UPDATE activity SET detail = 'old'")
        #expect(try await bench.report().broken?.short == "altered 11")
    }

    @Test func aChainGoesOnBehindItsOwnEnd() async throws {
        let bench = try await ten()
        await bench.broker.finish()
        bench.time.advance(.seconds(500 * 86_400))
        let short = try await bench.another(change: { $0.activityDays = 1 })
        await short.flushActivity()
        bench.time.advance(.seconds(2 * 86_400))
        await short.cutActivity()
        let empty = try await bench.report()
        #expect(empty.broken == nil)
        #expect((empty.entries, empty.cutAt) == (0, 12))
        short.note("test")
        await short.flushActivity()
        let again = try await bench.another()
        await again.flushActivity()
        let report = try await bench.report()
        #expect(report.broken == nil)
        #expect((report.first, report.cutAt) == (13, 12))
        // Deleting the rest up to the cut's own place changes nothing; deleting more does.
        try await bench.tamper("DELETE FROM activity WHERE sequence = 13")
        #expect(try await bench.report().broken?.short == "removed 13-13")
    }

    // MARK: Writing

    @Test func aRestartGoesOnInTheChainAndACrashIsSaid() async throws {  // SEC-115
        let bench = try await ten()
        await bench.broker.finish()
        let lines = Mutex<[String]>([])
        let note: @Sendable (String) -> Void = { line in lines.withLock { $0.append(line) } }
        let second = try await bench.another(log: note)
        await second.flushActivity()
        #expect(!lines.withLock { $0.contains { $0.contains("without a shutdown") } })
        // It ends without a word: the third says so.
        _ = second
        let third = try await bench.another(log: note)
        await third.flushActivity()
        #expect(lines.withLock { $0.filter { $0.hasPrefix("warning the server ended without a shutdown") }.count } == 1)
        await third.finish()
        let actions = try await bench.entries().map(\.action).suffix(5)
        #expect(Array(actions) == ["node.stopped", "node.started", "node.recovered", "node.started", "node.stopped"])
        #expect(try await bench.report().broken == nil)
    }

    @Test func whatWasReportedAsFailedAndDoneIsNotWrittenTwice() async throws {
        let bench = try await ten()
        let writer = bench.broker.activityWriter
        let entries = (0..<3).map { Activity(uid: .make(at: bench.time.wall.now() + .seconds($0)), at: bench.time.wall.now(), action: "twice") }
        #expect(await writer.write(entries) == nil)
        let more = Activity(uid: .make(at: bench.time.wall.now()), at: bench.time.wall.now(), action: "once")
        #expect(await writer.write(entries + [more]) == nil)
        #expect(await writer.write(entries) == nil)
        let actions = try await bench.entries().map(\.action)
        #expect(actions.suffix(4) == ["twice", "twice", "twice", "once"])
        #expect(actions.count == 14)
        #expect(try await bench.report().broken == nil)
    }

    /// One long write would keep requests waiting that have the same core.
    @Test(arguments: [(1_000, false, 250), (8_000, false, 400), (250, false, 250), (2_000, true, 1_000)])
    func manyAreWrittenInPiecesAndInOrder(count: Int, isHurried: Bool, piece: Int) async throws {
        let bench = try await Bench()
        let store = bench.store
        let pauses = Mutex<[Int]>([])
        let writer = ActivityWriter(store: store, keyring: bench.broker.keyring, node: "other", logger: bench.broker.logger) {
            let written = try? await store.activityHead(node: "other")?.sequence
            pauses.withLock { $0.append(written ?? 0) }
        }
        let now = bench.time.wall.now()
        let entries = (0..<count).map { Activity(uid: .make(at: now), at: now, action: "entry \($0)") }
        #expect(await writer.write(entries, isHurried: isHurried) == nil)
        // Each piece is on disk before the pause behind it.
        #expect(pauses.withLock { $0 } == (isHurried ? [] : Array(stride(from: piece, to: count, by: piece))))
        let written = try await bench.entries(of: "other")
        #expect(written.map(\.action) == entries.map(\.action))
        #expect(written.map(\.link?.sequence) == (1...count).map { $0 })
    }

    /// What could not be written stays, behind nothing that came later.
    @Test func aPieceThatFailsKeepsThoseBehindItInOrder() async throws {  // SEC-115
        let bench = try await Bench()
        let writer = ActivityWriter(store: bench.store, keyring: bench.broker.keyring, node: "other", logger: bench.broker.logger, pause: {})
        let now = bench.time.wall.now()
        let entries = (0..<600).map { Activity(uid: .make(at: now), at: now, action: "entry \($0)") }
        try await bench.tamper("CREATE TRIGGER no_more BEFORE INSERT ON activity WHEN NEW.action = 'entry 320' BEGIN SELECT RAISE(ABORT, 'no'); END")
        let remainder = try #require(await writer.write(entries))
        #expect(remainder.entries.map(\.action) == entries.dropFirst(250).map(\.action))
        #expect(remainder.inDoubt == 0)
        try await bench.tamper("DROP TRIGGER no_more")
        #expect(await writer.write(remainder.entries) == nil)
        #expect(try await bench.entries(of: "other").map(\.action) == entries.map(\.action))
    }

    @Test func twoThatWriteTheSameChainTakeTurns() async throws {
        let bench = try await ten()
        let other = ActivityWriter(store: bench.store, keyring: bench.broker.keyring, node: "main", logger: bench.broker.logger)
        for round in 0..<3 {
            let now = bench.time.wall.now()
            for writer in [bench.broker.activityWriter, other] {
                #expect(await writer.write([Activity(uid: .make(at: now), at: now, action: "round \(round)")]) == nil)
            }
        }
        #expect(try await bench.entries().count == 16)
        #expect(try await bench.report().broken == nil)
    }

    @Test func entriesThatCouldNotBeWrittenAreLinkedWhenTheyAre() async throws {  // SEC-115
        let bench = try await ten()
        try await bench.connection("machine", .clientCredentials)
        #expect(try await bench.token("machine").text == "at-1")
        #expect(bench.broker.cachedToken(connectionID: "machine", query: .init(), for: bench.admin) != nil)
        try await bench.tamper("CREATE TRIGGER no_more BEFORE INSERT ON activity BEGIN SELECT RAISE(ABORT, 'no'); END")
        await bench.broker.flushActivity()
        // Nothing is given out that cannot be recorded.
        #expect(bench.broker.cachedToken(connectionID: "machine", query: .init(), for: bench.admin) == nil)
        #expect(await bench.code { _ = try await bench.token("machine") } == .unavailable)
        #expect(await bench.broker.isReady() == false)
        bench.broker.note("test", detail: "meanwhile")
        await bench.broker.flushActivity()
        try await bench.tamper("DROP TRIGGER no_more")
        await bench.broker.flushActivity(everything: true)
        #expect(try await bench.token("machine").text == "at-1")
        let entries = try await bench.entries().dropFirst(10)
        #expect(entries.map(\.action) == ["connection.created", "grant.created", "token.read", "test"])
        #expect(entries.filter { $0.action == "token.read" }.map(\.count).reduce(0, +) == 2)
        #expect(try await bench.report().broken == nil)
    }
}

@Suite("The queue of activity") struct ActivityLogTests {
    private let now = Timestamp(milliseconds: 1_800_000_000_000)
    private let connection = UID(text: "c")

    private func entry(_ action: String, count: Int = 1) -> Activity {
        Activity(uid: .make(at: now), at: now, action: action, connectionUID: connection, connection: "c", key: "k", count: count)
    }

    private func failed(_ entries: [Activity], inDoubt: Int = 0) -> ActivityWriter.Remainder {
        ActivityWriter.Remainder(entries: entries, inDoubt: inDoubt, error: Problem(.unavailable, "no"))
    }

    @Test func itIsBoundedAndSaysWhatItLeftOut() {
        let log = ActivityLog()
        #expect(log.isAccepting)
        for _ in 0..<ActivityLog.capacity { log.append(entry("x")) }
        #expect(!log.isAccepting)
        let read = ActivityLog.Read(key: "k", connectionUID: connection, connection: "c", subject: "", minute: 0)
        #expect(!log.countRead(read, grant: connection, at: now))
        for _ in 0..<(ActivityLog.capacity + 7) { log.append(entry("x")) }
        let batch = log.take(minute: 0, everything: true)
        #expect((batch.entries.count, batch.leftOut, batch.merged) == (2 * ActivityLog.capacity, 7, 0))
        #expect(log.isAccepting)
        #expect(log.isEmpty)
    }

    @Test func oldReadsBecomeOneBeforeAnythingIsLeftOut() {
        let log = ActivityLog()
        let reads = (0..<100).map { entry("token.read", count: $0 < 3 ? 1 : 2) }
        // Of the first three nobody knows whether they are in the store: they stay as they are.
        log.putBack(failed(reads + (0..<(2 * ActivityLog.capacity - 100)).map { _ in entry("x") }, inDoubt: 3), lastUsed: [:])
        #expect(!log.isAccepting)
        for _ in 0..<97 { log.append(entry("y")) }
        let batch = log.take(minute: 0, everything: true)
        #expect((batch.entries.count, batch.leftOut, batch.merged) == (2 * ActivityLog.capacity, 1, 96))
        #expect(batch.entries.prefix(5).map(\.count) == [1, 1, 1, 194, 1])
        #expect(batch.entries.filter { $0.action == "token.read" }.map(\.count).reduce(0, +) == 197)
        #expect(batch.entries.count { $0.action == "y" } == 96)
    }

    @Test func whatStrangersCauseIsCounted() {
        let log = ActivityLog()
        func tally(_ detail: String, minute: Int64 = 1) -> ActivityLog.Tally {
            ActivityLog.Tally(action: "request.refused", result: "unauthenticated", detail: detail, minute: minute)
        }
        for _ in 0..<5 { log.count(tally("/v1/keys")) }
        #expect(log.take(minute: 1, everything: false).tallies == [tally("/v1/keys"): 5])
        // The first of a minute at once, the rest when it is over.
        for _ in 0..<5 { log.count(tally("/v1/keys")) }
        #expect(log.take(minute: 1, everything: false).isEmpty)
        #expect(log.take(minute: 2, everything: false).tallies == [tally("/v1/keys"): 5])
        // However many there are, they fill no queue.
        for index in 0..<(ActivityLog.tallyCapacity + 500) { log.count(tally("\(index)", minute: 2)) }
        let many = log.take(minute: 3, everything: false).tallies
        #expect(many.count == ActivityLog.tallyCapacity + 1)
        #expect(many[tally("many", minute: 2)] == 500)
        #expect(log.isAccepting)
    }

    @Test func whatWasLeftOutIsAnEntry() async throws {
        let bench = try await Bench()
        let batch = ActivityLog.Batch(entries: [entry("x")], merged: 2, leftOut: 3, reads: [:], tallies: [:], lastUsed: [:])
        let entries = bench.broker.entries(of: batch, at: now)
        #expect(entries.map(\.action) == ["x", "activity.dropped", "activity.dropped"])
        #expect(entries.map(\.count) == [1, 2, 3])
        #expect(entries.map(\.result) == ["ok", "queue_full", "queue_full"])
    }
}

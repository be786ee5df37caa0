import SQLiteStore
import TestSupport
import Testing
import Vault

@Suite struct StoreCopyTests {
    /// From which store to which.
    struct Way: Sendable, CustomTestStringConvertible {
        let from: Backend
        let to: Backend
        var testDescription: String { "\(from) to \(to)" }
    }

    private static let ways = Backend.allCases.flatMap { from in Backend.allCases.map { Way(from: from, to: $0) } }

    private static func copyable(_ opened: Opened) throws -> any CopyableStore { try #require(opened.store as? any CopyableStore) }

    private static func copy(_ source: Opened, _ target: Opened) async throws -> StoreDigest {
        try await StoreCopy(from: copyable(source), to: copyable(target)) { _, _, _ in }.run(at: now, to: "elsewhere")
    }

    private static func compare(_ source: Opened, _ target: Opened) async throws -> (source: StoreDigest, target: StoreDigest) {
        try await StoreCopy(from: copyable(source), to: copyable(target)) { _, _, _ in }.compare()
    }

    /// Something of everything, and of some things several pages.
    private static func fill(_ store: any Store, grants count: Int = 60) async throws {
        _ = try await store.insertDataKey(scope: "", masterKeyID: "k1", wrapped: [1, 2, 3])
        let connections = ["a", "b"].map(makeConnection)
        for connection in connections {
            try await store.insert(connection)
            _ = try await store.insertDataKey(scope: connection.uid.text, masterKeyID: "k2", wrapped: [4])
        }
        // The last number that was given is nobody's any more.
        _ = try await store.insertDataKey(scope: "gone", masterKeyID: "k1", wrapped: [5])
        try await store.deleteDataKey(scope: "gone")
        try await store.insert(Webhook(id: "wh_1", url: "https://app.example/x", kinds: nil, secret: Sealed(bytes: [7, 0, 255]), createdAt: now))
        for number in 0..<count {
            var grant = makeGrant(connections[number % 2], subject: "s-\(number)-é\"'", expiresAt: number % 3 == 0 ? nil : now + .seconds(number))
            grant.rotates = [nil, true, false][number % 3]
            grant.scope = number % 5 == 0 ? nil : ["a"]
            let event = WebhookEvent(
                id: "evt_\(number)", kind: .grantCreated, at: now, connectionUID: grant.connectionUID, orderKey: grant.uid, subject: grant.subject,
                data: "{}")
            #expect(try await store.put(grant, expectedGeneration: nil, events: number % 4 == 0 ? [event] : []))
            if number % 7 == 0 { #expect(try await store.beginRefresh(grant: grant.uid, generation: 1, at: now, lease: nil) == 1) }
        }
        let key = APIKey(id: "key_1", name: "app", hash: [1, 9], role: .use, connections: [connections[0].uid], createdAt: now)
        try await store.insert(key)
        try await store.insert(makeSession(connections[0]))
        try await store.insert(
            OrphanToken(
                uid: .make(at: now), connectionUID: connections[1].uid, accessToken: Sealed(bytes: [3]), refreshToken: nil, createdAt: now, nextTryAt: now))
        try await store.append(
            (1...(2 * count)).map { number in
                Activity(
                    uid: .make(at: now + .seconds(number)), at: now, action: "token.read", connection: "a", subject: "s",
                    link: number % 3 == 0 ? nil : ActivityLink(node: "main", sequence: number, mac: [UInt8(truncatingIfNeeded: number)]))
            })
        try await store.insert(ActivityAnchor(link: ActivityLink(node: "main", sequence: 2, mac: [2]), at: now, signature: [8]))
        try await store.changeMeta(["something": [1, 0, 2], RunningMark.name: [1]])
    }

    private static func grants(_ store: any Store) async throws -> [Grant] {
        try await store.grants(filter: GrantFilter(now: now), after: nil, limit: 1000)
    }

    private static func activity(_ store: any Store) async throws -> [Activity] {
        try await store.activity(filter: ActivityFilter(), before: nil, limit: 1000)
    }

    @Test(arguments: ways) func everythingGoesOverAsItIs(_ way: Way) async throws {
        let (source, target) = (try await way.from.open(), try await way.to.open())
        try await Self.fill(source.store)
        let digest = try await Self.copy(source, target)
        #expect(digest.rows > 200)
        let compared = try await Self.compare(source, target)
        #expect(compared.source == digest && compared.target == digest)
        let (old, new) = (source.store, target.store)
        let (grants, copies) = (try await Self.grants(old), try await Self.grants(new))
        #expect(copies.map(\.uid) == grants.map(\.uid) && copies.map(\.rotates) == grants.map(\.rotates) && copies.map(\.scope) == grants.map(\.scope))
        #expect(try await new.keys() == old.keys())
        #expect(try await new.dataKeys() == old.dataKeys())
        let (entries, copied) = (try await Self.activity(old), try await Self.activity(new))
        #expect(entries == copied)
        #expect(try await new.meta("something") == [1, 0, 2])
        // What is of the store itself stays there.
        #expect(try await new.meta(RunningMark.name) == nil)
        #expect(try await new.mark(CopyMark.self) == nil)
        #expect(try await new.mark(MovedMark.self) == nil)
        #expect(try await old.mark(MovedMark.self) == MovedMark(at: now, to: "elsewhere"))
        // No number is given twice, also where its row is gone.
        #expect(try await new.insertDataKey(scope: "next", masterKeyID: "k1", wrapped: [6]) == 5)
    }

    @Test(arguments: ways.filter { $0.from != $0.to || Backend.allCases.count == 1 }) func thereAndBackIsTheSame(_ way: Way) async throws {
        let (source, target, back) = (try await way.from.open(), try await way.to.open(), try await way.from.open())
        try await Self.fill(source.store, grants: 5000)
        let there = try await Self.copy(source, target)
        #expect(there.tables.first { $0.name == "grant" }?.rows == 5000)
        #expect(try await Self.copy(target, back) == there)
        let compared = try await Self.compare(source, back)
        #expect(compared.source == there && compared.target == there)
    }

    @Test(arguments: ways) func whatDiffersIsFound(_ way: Way) async throws {
        let (source, target) = (try await way.from.open(), try await way.to.open())
        try await Self.fill(source.store)
        _ = try await Self.copy(source, target)
        try await target.tamper(#"UPDATE "grant" SET access_token = ? WHERE uid = (SELECT max(uid) FROM "grant")"#, [2])
        let compared = try await Self.compare(source, target)
        #expect(zip(compared.source.tables, compared.target.tables).filter { $0 != $1 }.map(\.0.name) == ["grant"])
    }

    // MARK: In the middle

    @Test(arguments: ways) func whatWasBegunGoesOn(_ way: Way) async throws {
        let (source, target) = (try await way.from.open(), try await way.to.open())
        try await Self.fill(source.store, grants: 1200)
        let digest = try await Self.copy(source, target)
        // As a copy leaves it that dies behind the first page of grants: all that follows is not there yet.
        let uids = try await target.texts(#"SELECT uid FROM "grant" ORDER BY uid LIMIT 500"#)
        let last = try #require(uids.last)
        try await target.tamper(#"DELETE FROM "grant" WHERE uid > '\#(last)'"#)
        let order = StoredTable.all.map(\.name)
        let place = try #require(order.firstIndex(of: "grant"))
        for table in order[(place + 1)...] { try await target.tamper("DELETE FROM \(table)") }
        try await target.store.setMark(CopyMark(source: digest.fingerprint, table: "grant", after: [.text(last)]))
        #expect(try await Self.copy(source, target) == digest)
        #expect(try await target.store.mark(CopyMark.self) == nil)
    }

    @Test(arguments: ways) func whatIsLostBehindTheMarkIsFoundInTheEnd(_ way: Way) async throws {
        let (source, target) = (try await way.from.open(), try await way.to.open())
        try await Self.fill(source.store)
        let digest = try await Self.copy(source, target)
        try await target.tamper("DELETE FROM delivery")
        let mark = CopyMark(source: digest.fingerprint, table: "delivery", after: [.integer(.max)])
        try await target.store.setMark(mark)
        await #expect(throws: CopyError("the copy differs from the source in delivery", hint: "empty the target, then copy anew")) {
            _ = try await Self.copy(source, target)
        }
        // Nobody serves from it.
        #expect(try await target.store.mark(CopyMark.self) == mark)
    }

    @Test(arguments: ways) func aSourceThatChangedIsNotGoneOnWith(_ way: Way) async throws {
        let (source, target) = (try await way.from.open(), try await way.to.open())
        try await Self.fill(source.store)
        let before = try await Self.compare(source, target).source
        try await target.store.setMark(CopyMark(source: before.fingerprint, table: "grant"))
        try await source.store.changeMeta(["something": [2]])
        let error = await #expect(throws: CopyError.self) { _ = try await Self.copy(source, target) }
        #expect(error?.message.contains("unfinished copy of something else") == true)
        #expect(try await source.store.mark(MovedMark.self) == nil)
    }

    @Test func nothingIsComparedWithWhatWasNotCopied() async throws {
        let (source, target) = (try await Backend.sqlite.open(), try await Backend.sqlite.open())
        func words() async throws -> String? {
            let copy = StoreCopy(from: try Self.copyable(source), to: try Self.copyable(target)) { _, _, _ in }
            do {
                try await copy.requireCopied()
                return nil
            } catch let error as CopyError {
                return error.message
            }
        }
        #expect(try await words() == "the source holds no vault")
        try await Self.fill(source.store)
        #expect(try await words() == "nothing was copied there: the target holds no vault")
        let digest = try await Self.copy(source, target)
        #expect(try await words() == nil)
        try await target.store.setMark(CopyMark(source: digest.fingerprint, table: "grant"))
        #expect(try await words() == "the copy in the target is not finished")
    }

    // MARK: What is refused

    @Test(arguments: ways) func aTargetThatHoldsSomethingStaysAsItIs(_ way: Way) async throws {
        let (source, target) = (try await way.from.open(), try await way.to.open())
        try await Self.fill(source.store)
        try await target.store.insert(makeConnection("mine"))
        await #expect(throws: CopyError("the target is not empty: there is something in connection", hint: "name a new file, or an empty database")) {
            _ = try await Self.copy(source, target)
        }
        #expect(try await target.store.connections(after: nil, limit: 10).map(\.id) == ["mine"])
        #expect(try await target.store.mark(CopyMark.self) == nil)
        #expect(try await source.store.mark(MovedMark.self) == nil)
    }

    @Test(arguments: Backend.allCases) func whatWasMovedIsNotMovedAgain(_ backend: Backend) async throws {
        let (source, target, other) = (try await backend.open(), try await backend.open(), try await backend.open())
        try await Self.fill(source.store)
        _ = try await Self.copy(source, target)
        let again = await #expect(throws: CopyError.self) { _ = try await Self.copy(source, other) }
        #expect(again?.message.hasPrefix("the source was moved to elsewhere at ") == true)
        let empty = await #expect(throws: CopyError.self) { _ = try await Self.copy(other, source) }
        #expect(empty?.message == "the source holds no vault")
    }

    @Test func aFileThatIsOpenElsewhereIsInUse() async throws {
        let opened = try await Backend.sqlite.open()
        try await Self.fill(opened.store)
        let path = opened.path
        let error = #expect(throws: CopyError.self) { try SQLiteStore.requireUnused(path) }
        #expect(error?.message == "another program has the database \(opened.path) open")
        try await opened.store.close()
    }

    @Test func aFileThatIsWrittenToMeanwhileIsNotBelieved() async throws {
        let (source, target) = (try await Backend.sqlite.open(), try await Backend.sqlite.open())
        try await Self.fill(source.store)
        let copyable = try Self.copyable(source)
        let stamp = try await copyable.hold(for: "me")
        try await copyable.changeMeta(["something": [3]])
        #expect(try await copyable.hold(for: "me") == stamp)
        try await source.tamper("UPDATE api_key SET name = 'other'")
        #expect(try await copyable.hold(for: "me") != stamp)
        #expect(try await Self.copy(source, target).rows > 200)
    }

    #if PostgreSQL
        @Test(.enabled(if: PostgresServer.isExpected)) func aDatabaseIsHeldByOneCopyAndByNoServer() async throws {
            let opened = try await Backend.postgres.open()
            let store = try Self.copyable(opened)
            #expect(try await !store.isHeld())
            _ = try await store.hold(for: "me")
            #expect(try await store.isHeld())
            let other = await #expect(throws: CopyError.self) { _ = try await store.hold(for: "you") }
            #expect(other?.isPassing == true)
            _ = try await store.hold(for: "me")
            try await store.letGo("me")
            #expect(try await !store.isHeld())
            let nodes = try #require(opened.store as? any SharedStore)
            try await nodes.noteNode("a", version: "1", masterKeyIDs: ["k1"])
            let used = await #expect(throws: CopyError.self) { _ = try await store.hold(for: "me") }
            #expect(used?.message == "is in use by a" && used?.isPassing == false)
            #expect(try await !store.isHeld())
        }
    #endif
}

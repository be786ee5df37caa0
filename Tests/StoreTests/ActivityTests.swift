import Foundation
import GRDB
import Testing
import Vault

@testable import SQLiteStore

/// The activity log and the chains in it.
@Suite struct ActivityTests {
    private func entry(_ sequence: Int, node: String = "main", at time: Timestamp? = nil) -> Activity {
        let time = time ?? now + .seconds(sequence)
        return Activity(
            uid: .make(at: time), at: time, action: "x", connectionUID: UID(text: "c"), connection: "app", subject: "s", key: "key_1", result: "no", count: 2,
            detail: "d", requestID: "r-\(sequence)", link: ActivityLink(node: node, sequence: sequence, mac: [UInt8(sequence), 0, 255]))
    }

    private func anchor(_ link: ActivityLink) -> ActivityAnchor { ActivityAnchor(link: link, at: now, signature: [9, UInt8(link.sequence)]) }

    @Test(arguments: Backend.allCases) func aChainIsReadInItsOrder(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let store = opened.store
        #expect(try await store.activityNodes().isEmpty)
        #expect(try await store.activityHead(node: "main") == nil)
        // Made in another order than they are chained in.
        let entries = [entry(1, at: now + .seconds(9)), entry(2, at: now + .seconds(5)), entry(3, at: now + .seconds(7))]
        try await store.append(entries)
        let others = [entry(1, node: "other"), entry(2, node: "other")]
        try await store.append(others)
        let unlinked = Activity(uid: .make(at: now), at: now, action: "old")
        try await store.append([unlinked])
        #expect(try await store.activityNodes() == ["main", "other"])
        #expect(try await store.activityHead(node: "main") == entries[2].link)
        #expect(try await store.activityHead(node: "other")?.sequence == 2)
        #expect(try await store.activityPage(node: "main", afterSequence: 0, limit: 10) == entries)
        #expect(try await store.activityPage(node: "main", afterSequence: 0, limit: 2) == Array(entries[..<2]))
        #expect(try await store.activityPage(node: "main", afterSequence: 2, limit: 10) == [entries[2]])
        #expect(try await store.activityPage(node: "other", afterSequence: 0, limit: 10) == others)
        #expect(try await store.activityPage(node: "none", afterSequence: 0, limit: 10).isEmpty)
        #expect(try await store.unlinkedActivity() == 1)
        let nobody = UID.make(at: now)
        #expect(try await store.writtenActivity([entries[0].uid, nobody, unlinked.uid]) == [entries[0].uid, unlinked.uid])
        #expect(try await store.writtenActivity([]).isEmpty)
    }

    @Test(arguments: Backend.allCases) func aPlaceInAChainAndAnEntryAreTakenOnce(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let store = opened.store
        let first = entry(1)
        try await store.append([first])
        await #expect(throws: StoreError.conflict) { try await store.append([entry(2), entry(1)]) }
        await #expect(throws: StoreError.conflict) { try await store.append([entry(2), first]) }
        // Whole or not at all.
        #expect(try await store.activityPage(node: "main", afterSequence: 0, limit: 10) == [first])
    }

    @Test(arguments: Backend.allCases) func anAnchorStandsOnceAtItsPlace(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let store = opened.store
        let (two, one) = (anchor(ActivityLink(node: "main", sequence: 2, mac: [2])), anchor(ActivityLink(node: "main", sequence: 1, mac: [1])))
        try await store.insert(two)
        try await store.insert(one)
        try await store.insert(anchor(ActivityLink(node: "main", sequence: 1, mac: [7])))
        try await store.insert(anchor(ActivityLink(node: "other", sequence: 1, mac: [3])))
        #expect(try await store.activityAnchors(node: "main") == [one, two])
        #expect(try await store.activityNodes() == ["main", "other"])
    }

    @Test(arguments: Backend.allCases) func theHeadIsCutTogetherWithItsAnchor(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let store = opened.store
        // The third is older than the second, the fourth is young; behind it stands an old one.
        let ages = [10, 30, 20, 50, 15]
        let entries = ages.enumerated().map { entry($0 + 1, at: now + .seconds($1)) }
        try await store.append(entries)
        try await store.append([entry(1, node: "other", at: now)])
        let (old, young) = (
            Activity(uid: .make(at: now), at: now, action: "old"), Activity(uid: .make(at: now + .seconds(60)), at: now + .seconds(60), action: "young")
        )
        try await store.append([old, young])
        for sequence in [1, 3, 4] { try await store.insert(anchor(ActivityLink(node: "main", sequence: sequence, mac: [1]))) }

        #expect(try await store.cutActivity(node: "main", before: now + .seconds(5), limit: 10) { anchor($0) } == nil)
        #expect(try await store.unlinkedActivity() == 1)
        // Not more at once than was asked for.
        let first = try await store.cutActivity(node: "main", before: now + .seconds(40), limit: 2) { anchor($0) }
        #expect(first == anchor(entries[1].link!))
        #expect(try await store.activityAnchors(node: "main").map(\.link.sequence) == [2, 3, 4])
        let second = try await store.cutActivity(node: "main", before: now + .seconds(40), limit: 10) { anchor($0) }
        #expect(second == anchor(entries[2].link!))
        #expect(try await store.activityPage(node: "main", afterSequence: 0, limit: 10) == Array(entries[3...]))
        // The one that stood there says the same, and gives way.
        #expect(try await store.activityAnchors(node: "main") == [anchor(entries[2].link!), anchor(ActivityLink(node: "main", sequence: 4, mac: [1]))])
        #expect(try await store.cutActivity(node: "main", before: now + .seconds(40), limit: 10) { anchor($0) } == nil)
        #expect(try await store.activityPage(node: "other", afterSequence: 0, limit: 10).count == 1)
        #expect(try await store.unlinkedActivity() == 1)
        // The whole of it.
        #expect(try await store.cutActivity(node: "main", before: now + .seconds(100), limit: 10) { anchor($0) } == anchor(entries[4].link!))
        #expect(try await store.activityHead(node: "main") == nil)
        #expect(try await store.activityNodes() == ["main", "other"])
        #expect(try await store.unlinkedActivity() == 0)
    }

    @Test("Of an action, whether it is frequent or rare", arguments: Backend.allCases) func actions(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let store = opened.store
        let actions = ["token.read", "api.called", "api.refused", "grant.revoked"]
        try await store.append(
            (0..<12).map { Activity(uid: .make(at: now + .seconds($0)), at: now, action: actions[$0 % 4], connection: $0 < 8 ? "a" : "b", count: $0) })
        for (index, action) in actions.enumerated() {
            let filter = ActivityFilter(action: action)
            let all = try await store.activity(filter: filter, before: nil, limit: 10)
            #expect(all.map(\.count) as [Int] == [index + 8, index + 4, index])
            #expect(try await store.activity(filter: filter, before: all[0].uid, limit: 1).map(\.count) as [Int] == [index + 4])
            let one = try await store.activity(filter: ActivityFilter(connection: "a", action: action), before: nil, limit: 10)
            #expect(one.map(\.count) as [Int] == [index + 4, index])
        }
        #expect(try await store.activity(filter: ActivityFilter(action: "nothing"), before: nil, limit: 10).isEmpty)
    }

    @Test func anOlderDatabaseKeepsItsEntriesAndFindsThemByAction() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "activity-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = folder.appending(path: "t.sqlite").path
        let older = try SQLiteStore(path: path)
        let actions = ["token.read", "grant.revoked", "token.read"]
        try await older.append(actions.enumerated().map { Activity(uid: .make(at: now + .seconds($0)), at: now, action: $1, count: $0) })
        try await older.write { try $0.execute(sql: "DROP INDEX activity_action; DELETE FROM grdb_migrations WHERE identifier = 'v3-calls'") }
        try await older.close()

        let store = try SQLiteStore(path: path)
        for (action, counts) in [("token.read", [2, 0]), ("grant.revoked", [1])] {
            #expect(try await store.activity(filter: ActivityFilter(action: action), before: nil, limit: 10).map(\.count) as [Int] == counts)
        }
        // SQLite takes a partial index for a query only that says the same.
        let plan = try await store.write { database in
            try Row.fetchAll(
                database, sql: "EXPLAIN QUERY PLAN SELECT * FROM activity WHERE action = ? AND \(Schema.isRareAction) ORDER BY uid DESC", arguments: ["x"]
            ).map { $0["detail"] as String }
        }
        #expect(plan == ["SEARCH activity USING INDEX activity_action (action=?)"])
        try await store.close()
    }

    @Test func aUIDBearsItsTimeAndIsOneOfAKind() {
        let uids = (0..<1_000).map { _ in UID.make(at: now) }
        #expect(Set(uids).count == 1_000)
        // RFC 9562 §5.7: the time, version 7, variant 10.
        #expect(uids.allSatisfy { UID(parsing: $0.text) != nil && $0.text.hasPrefix("01a3185c-5000-7") && "89ab".contains($0.text.dropFirst(19).prefix(1)) })
        #expect(UID.make(at: Timestamp(milliseconds: 0)).text.hasPrefix("00000000-0000-7"))
        #expect(UID.make(at: Timestamp(milliseconds: -5)).text.hasPrefix("00000000-0000-7"))
    }

    @Test func aDatabaseIsReadWhileAServerWritesToIt() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "activity-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = folder.appending(path: "t.sqlite").path
        #expect(throws: StoreError.self) { try SQLiteStore.openReadOnly(path: path) }
        let store = try SQLiteStore(path: path)
        try await store.append([entry(1)])
        let reader = try SQLiteStore.openReadOnly(path: path)
        #expect(try await reader.activityHead(node: "main")?.sequence == 1)
        try await store.append([entry(2)])
        #expect(try await reader.activityHead(node: "main")?.sequence == 2)
        await #expect(throws: StoreError.self) { try await reader.append([entry(3)]) }
        await #expect(throws: StoreError.self) { try await reader.setMeta("x", [1]) }
        try await reader.close()
        try await store.append([entry(3)])
        try await store.close()
        // And when none runs.
        let alone = try SQLiteStore.openReadOnly(path: path)
        #expect(try await alone.activityHead(node: "main")?.sequence == 3)
        try await alone.close()
        let again = try SQLiteStore(path: path)
        try await again.append([entry(4)])
        try await again.close()
    }

    @Test func aDatabaseOfAnotherVersionIsNotRead() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "activity-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = folder.appending(path: "t.sqlite").path
        let store = try SQLiteStore(path: path)
        try await store.write { try $0.execute(sql: "INSERT INTO grdb_migrations VALUES ('v9-future')") }
        #expect(throws: StoreError.newerSchema("v9-future")) { try SQLiteStore.openReadOnly(path: path) }
        try await store.write { try $0.execute(sql: "DELETE FROM grdb_migrations WHERE identifier <> 'v1-main'") }
        let error = #expect(throws: StoreError.self) { try SQLiteStore.openReadOnly(path: path) }
        if case .unavailable(let reason) = error { #expect(reason.contains("older version")) } else { Issue.record("\(String(describing: error))") }
        try await store.close()
    }
}

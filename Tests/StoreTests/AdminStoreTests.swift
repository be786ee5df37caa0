import Foundation
import GRDB
import Testing
import Vault

@testable import SQLiteStore

/// What the console's pages ask of a store: the log by key and result, the last use of keys, links that are confirmed.
@Suite struct AdminStoreTests {
    @Test("Of a key, and of a result", arguments: Backend.allCases) func activity(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let store = opened.store
        try await store.append(
            (0..<12).map {
                Activity(
                    uid: .make(at: now + .seconds($0)), at: now, action: $0 % 2 == 0 ? "token.read" : "grant.refreshed", key: $0 % 3 == 0 ? "key_a" : "key_b",
                    result: $0 % 4 == 0 ? "provider_error" : "ok", count: $0)
            })
        func counts(_ filter: ActivityFilter, before: UID? = nil) async throws -> [Int] {
            try await store.activity(filter: filter, before: before, limit: 10).map(\.count)
        }
        #expect(try await counts(.init(key: "key_a")) == [9, 6, 3, 0])
        #expect(try await counts(.init(result: "provider_error")) == [8, 4, 0])
        #expect(try await counts(.init(result: "ok")) == [11, 10, 9, 7, 6, 5, 3, 2, 1])
        #expect(try await counts(.init(action: "token.read", key: "key_a", result: "ok")) == [6])
        #expect(try await counts(.init(key: "key_c")).isEmpty)
        let last = try #require(try await store.activity(filter: .init(key: "key_a"), before: nil, limit: 1).first)
        #expect(try await counts(.init(key: "key_a"), before: last.uid) == [6, 3, 0])
        #expect(try await store.wasGivenTokens(key: "key_a"))
        #expect(try await !store.wasGivenTokens(key: "key_c"))
    }

    @Test func theLogIsFoundByKeyAndByResultWithoutReadingAllOfIt() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "admin-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let store = try SQLiteStore(path: folder.appending(path: "t.sqlite").path)
        for (condition, index) in [("key = ?", "activity_key (key=?)"), ("result = ? AND \(Schema.isFailure)", "activity_failed (result=?)")] {
            let plan = try await store.write { database in
                try Row.fetchAll(database, sql: "EXPLAIN QUERY PLAN SELECT * FROM activity WHERE \(condition) ORDER BY uid DESC", arguments: ["x"])
                    .map { $0["detail"] as String }
            }
            #expect(plan == ["SEARCH activity USING INDEX \(index)"])
        }
    }

    @Test("The last use of a key only moves on", arguments: Backend.allCases) func lastUse(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let store = opened.store
        for id in ["key_a", "key_b"] {
            try await store.insert(APIKey(id: id, name: id, hash: Array(id.utf8), role: .use, createdAt: now))
        }
        try await store.touchKeys(["key_a": now + .seconds(60), "key_gone": now])
        try await store.touchKeys(["key_a": now])
        #expect(try await store.keys().map(\.lastUsedAt) == [now + .seconds(60), nil])
    }

    @Test("A link is confirmed while it can go on", arguments: Backend.allCases) func confirmation(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let store = opened.store
        let connection = makeConnection("a")
        try await store.insert(connection)
        let session = makeSession(connection)
        try await store.insert(session)
        #expect(try await store.session(id: session.id)?.options.confirmation == nil)
        var options = session.options
        for confirmation in [ConnectSession.Options.Confirmation.needed, .given(keyID: "key_1", bindingHash: [1, 2, 3])] {
            options.confirmation = confirmation
            let changed = options
            #expect(try await store.setOptions(changed, session: session.id))
            #expect(try await store.session(id: session.id)?.options == changed)
        }
        _ = try await store.moveSession(session.id, from: [.open], to: .connected, error: nil, errorDetail: nil, grant: nil)
        let late = options
        #expect(try await !store.setOptions(late, session: session.id))
        #expect(try await !store.setOptions(late, session: "cs_nothing"))
    }
}

import Foundation
import Testing
import Vault

@Suite struct ConsoleStoreTests {
    private func opened(_ backend: Backend) async throws -> Opened {
        let opened = try await backend.open()
        for id in ["key_1", "key_2"] { try await opened.store.insert(key(id)) }
        return opened
    }

    private func key(_ id: String, hash: String? = nil) -> APIKey {
        APIKey(id: id, name: id, hash: Array((hash ?? id).utf8), role: .admin, createdAt: now)
    }

    private func session(_ id: String, key: String = "key_1", after seconds: Int = 0, lasting life: Int = 3600) -> ConsoleSession {
        let at = now + .seconds(seconds)
        return ConsoleSession(
            id: id, tokenHash: Array(id.utf8), keyID: key, createdAt: at, lastSeenAt: at, expiresAt: at + .seconds(life), userAgent: "Browser \(id)",
            address: "192.0.2.1")
    }

    private func link(_ code: String, key: String = "key_1", lasting life: Int = 300) -> SignInLink {
        SignInLink(codeHash: Array(code.utf8), keyID: key, expiresAt: now + .seconds(life))
    }

    @Test(arguments: Backend.allCases) func aSessionIsFoundByItsToken(_ backend: Backend) async throws {
        let opened = try await opened(backend)
        let store = opened.store
        try await store.insert(session("ses_1"))
        #expect(try await store.consoleSession(tokenHash: Array("ses_1".utf8)) == session("ses_1"))
        #expect(try await store.consoleSession(tokenHash: Array("ses_2".utf8)) == nil)
        // No two of them share a token, and none is of a key that is gone.
        var twin = session("ses_3")
        twin.tokenHash = Array("ses_1".utf8)
        await #expect(throws: StoreError.conflict) { try await store.insert(twin) }
        await #expect(throws: StoreError.conflict) { try await store.insert(session("ses_4", key: "key_none")) }
    }

    @Test(arguments: Backend.allCases) func sessionsAreListedNewestFirst(_ backend: Backend) async throws {
        let opened = try await opened(backend)
        let store = opened.store
        for (id, key, seconds) in [("ses_1", "key_1", 1), ("ses_2", "key_2", 2), ("ses_3", "key_1", 3)] {
            try await store.insert(session(id, key: key, after: seconds))
        }
        #expect(try await store.consoleSessions(key: nil).map(\.id) == ["ses_3", "ses_2", "ses_1"])
        #expect(try await store.consoleSessions(key: "key_1").map(\.id) == ["ses_3", "ses_1"])
        #expect(try await store.consoleSessions(key: "key_none").isEmpty)
    }

    @Test(arguments: Backend.allCases) func theLastSightOnlyMovesForward(_ backend: Backend) async throws {
        let opened = try await opened(backend)
        let store = opened.store
        try await store.insert(session("ses_1"))
        for (seconds, expected) in [(60, 60), (30, 60), (90, 90)] {
            try await store.touchConsoleSession(id: "ses_1", at: now + .seconds(seconds))
            #expect(try await store.consoleSessions(key: nil).map(\.lastSeenAt) == [now + .seconds(expected)])
        }
    }

    @Test(arguments: Backend.allCases) func sessionsEndOneByOneOrTogether(_ backend: Backend) async throws {
        let opened = try await opened(backend)
        let store = opened.store
        for (id, key) in [("ses_1", "key_1"), ("ses_2", "key_2"), ("ses_3", "key_1"), ("ses_4", "key_2")] { try await store.insert(session(id, key: key)) }
        #expect(try await store.deleteConsoleSession(id: "ses_4"))
        #expect(try await store.deleteConsoleSession(id: "ses_4") == false)
        #expect(try await store.deleteConsoleSessions(key: "key_1").sorted() == ["ses_1", "ses_3"])
        #expect(try await store.consoleSessions(key: nil).map(\.id) == ["ses_2"])
        #expect(try await store.deleteConsoleSessions(key: nil) == ["ses_2"])
        #expect(try await store.deleteConsoleSessions(key: nil).isEmpty)
    }

    @Test(arguments: Backend.allCases) func sessionsAndLinksEndWithTheirKey(_ backend: Backend) async throws {  // SEC-96
        let opened = try await opened(backend)
        let store = opened.store
        func fill() async throws {
            for (id, key) in [("ses_1", "key_1"), ("ses_2", "key_2")] {
                try await store.insert(session(id, key: key))
                try await store.insert(link(id, key: key))
            }
        }
        func expectOnly(_ id: String) async throws {
            #expect(try await store.consoleSessions(key: nil).map(\.id) == [id])
            let gone = id == "ses_1" ? "ses_2" : "ses_1"
            #expect(try await store.takeSignInLink(codeHash: Array(gone.utf8), now: now) == nil)
            #expect(try await store.takeSignInLink(codeHash: Array(id.utf8), now: now) == link(id, key: id == "ses_1" ? "key_1" : "key_2"))
            #expect(try await store.deleteConsoleSession(id: id))
        }
        try await fill()
        // The key of the start is another one now.
        try await store.put(key("key_1", hash: "another"))
        try await expectOnly("ses_2")
        try await fill()
        #expect(try await store.deleteKey(id: "key_2"))
        try await expectOnly("ses_1")
    }

    @Test(arguments: Backend.allCases) func aLinkIsTakenOnce(_ backend: Backend) async throws {  // SEC-98
        let opened = try await opened(backend)
        let store = opened.store
        try await store.insert(link("code"))
        let taken = try await withThrowingTaskGroup(of: SignInLink?.self) { group in
            for _ in 0..<20 { group.addTask { try await store.takeSignInLink(codeHash: Array("code".utf8), now: now) } }
            return try await group.reduce(into: [SignInLink]()) { if let link = $1 { $0.append(link) } }
        }
        #expect(taken == [link("code")])

        try await store.insert(link("late", lasting: 300))
        #expect(try await store.takeSignInLink(codeHash: Array("late".utf8), now: now + .seconds(300)) == nil)
        #expect(try await store.takeSignInLink(codeHash: Array("late".utf8), now: now + .seconds(299)) == link("late"))
        await #expect(throws: StoreError.conflict) { try await store.insert(link("nobody's", key: "key_none")) }
    }

    @Test(arguments: Backend.allCases) func linksAreForgottenOfOneKeyOrAll(_ backend: Backend) async throws {
        let opened = try await opened(backend)
        let store = opened.store
        for (code, key) in [("a", "key_1"), ("b", "key_2"), ("c", "key_2")] { try await store.insert(link(code, key: key)) }
        try await store.deleteSignInLinks(key: "key_1")
        #expect(try await store.takeSignInLink(codeHash: Array("a".utf8), now: now) == nil)
        #expect(try await store.takeSignInLink(codeHash: Array("b".utf8), now: now) == link("b", key: "key_2"))
        try await store.deleteSignInLinks(key: nil)
        #expect(try await store.takeSignInLink(codeHash: Array("c".utf8), now: now) == nil)
    }

    @Test(arguments: Backend.allCases) func whatHasExpiredIsSwept(_ backend: Backend) async throws {
        let opened = try await opened(backend)
        let store = opened.store
        try await store.insert(session("ses_1", lasting: 100))
        try await store.insert(session("ses_2", lasting: 101))
        try await store.insert(link("a", lasting: 100))
        try await store.insert(link("b", lasting: 101))
        try await store.sweep(now: now + .seconds(100))
        #expect(try await store.consoleSessions(key: nil).map(\.id) == ["ses_2"])
        // As if it had not expired: the row itself is gone.
        #expect(try await store.takeSignInLink(codeHash: Array("a".utf8), now: now) == nil)
        #expect(try await store.takeSignInLink(codeHash: Array("b".utf8), now: now) == link("b", lasting: 101))
    }
}

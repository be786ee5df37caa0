import Testing
import Vault

@Suite struct TroubleStoreTests {
    private func trouble(_ stage: Trouble.Stage, at seconds: Int, error: String = "invalid_client") -> Trouble {
        Trouble(
            stage: stage, failure: .refused, at: now + .seconds(seconds), subject: "user-1", revision: 3,
            request: .init(
                method: "POST", url: "https://as.example/token", headers: [.init("Accept", "application/json")], fields: [.init("grant_type", "refresh_token")]),
            response: .init(status: 401, contentType: "application/json", location: nil, date: 1, pageTitle: "t", body: "b"), error: error,
            errorDescription: "d", reason: "r")
    }

    @Test(arguments: Backend.allCases) func theLastOfEachStageIsKeptNewestFirst(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let store = opened.store
        let connection = makeConnection("a")
        let other = makeConnection("b")
        try await store.insert(connection)
        try await store.insert(other)
        try await store.put(trouble(.token, at: 1), connection: connection.uid)
        try await store.put(trouble(.refresh, at: 2), connection: connection.uid)
        try await store.put(trouble(.token, at: 3, error: "invalid_grant"), connection: connection.uid)
        let kept = try await store.troubles(connection: connection.uid)
        #expect(kept == [trouble(.token, at: 3, error: "invalid_grant"), trouble(.refresh, at: 2)])
        #expect(try await store.troubles(connection: other.uid).isEmpty)
        try await store.deleteTroubles(connection: connection.uid, stages: [.authorization, .token])
        #expect(try await store.troubles(connection: connection.uid).map(\.stage) == [.refresh])
    }

    @Test(arguments: Backend.allCases) func nothingIsKeptOfAConnectionThatHasGone(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let store = opened.store
        let connection = makeConnection("a")
        try await store.put(trouble(.token, at: 1), connection: connection.uid)
        #expect(try await store.troubles(connection: connection.uid).isEmpty)
        try await store.insert(connection)
        try await store.put(trouble(.token, at: 1), connection: connection.uid)
        try await store.deleteConnection(connection.uid)
        #expect(try await store.troubles(connection: connection.uid).isEmpty)
    }

    @Test(arguments: Backend.allCases) func theLastTripSaysWhetherTheBrowserCameBack(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let store = opened.store
        let connection = makeConnection("a")
        try await store.insert(connection)
        try await store.insert(makeSession(connection))
        #expect(try await store.lastTrip(connection: connection.uid) == nil)
        func attempt(_ hash: UInt8, at seconds: Int) -> AuthorizationAttempt {
            AuthorizationAttempt(
                stateHash: [hash], sessionID: "cs_1", connectionUID: connection.uid, connectionRevision: 1, bindingHash: [1], pending: Sealed(bytes: [1]),
                createdAt: now + .seconds(seconds), expiresAt: now + .seconds(seconds + 600))
        }
        try await store.insert(attempt(1, at: 0))
        try await store.insert(attempt(2, at: 60))
        #expect(try await store.lastTrip(connection: connection.uid) == LastTrip(sessionID: "cs_1", startedAt: now + .seconds(60), cameBack: false))
        _ = try await store.takeAttempt(stateHash: [2], now: now + .seconds(70))
        #expect(try await store.lastTrip(connection: connection.uid)?.cameBack == true)
    }
}

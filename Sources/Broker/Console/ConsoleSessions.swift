import Logging
import OAuth
package import Vault

/// Who is signed in at the console, and how that ends. SEC-95, SEC-96.
extension Broker {
    package struct SignedIn: Sendable {
        package let session: ConsoleSession
        package let caller: Caller
        package init(session: ConsoleSession, caller: Caller) {
            self.session = session
            self.caller = caller
        }
    }

    /// Whose cookie this is; `nil` when its session is over, or its key is gone. Moves the session's idle limit.
    package func consoleSession(token: String) async throws(Problem) -> SignedIn? {
        let hash = KeyHash(of: token[...]).bytes
        guard var session = try await asProblem({ try await store.consoleSession(tokenHash: hash) }) else { return nil }
        let now = clock.now()
        guard let caller = try await lookUp({ caller(of: session, at: now) }) else { return nil }
        if consoleSightings.note(session, at: now) {
            do {
                try await store.touchConsoleSession(id: session.id, at: now)
            } catch {
                // Who only looks is not turned away because a disk is full.
                logFailure(.warning, "the last use of a console session was not recorded", error)
            }
        }
        session.lastSeenAt = consoleSightings.last(of: session)
        return SignedIn(session: session, caller: caller)
    }

    /// Those that a caller may end, newest first: all, or those of its own key where that is bound.
    package func consoleSessions(for caller: Caller) async throws(Problem) -> [ConsoleSession] {
        let key = try keyOfSessions(for: caller)
        let now = clock.now()
        return try await asProblem { try await store.consoleSessions(key: key) }.compactMap { session in
            guard self.caller(of: session, at: now) != nil else { return nil }
            var session = session
            session.lastSeenAt = consoleSightings.last(of: session)
            return session
        }
    }

    /// At once: its next request is refused.
    /// - Throws: `not_found` also for a session that the caller may not end.
    package func endConsoleSession(id: String, by caller: Caller) async throws(Problem) {
        let key = try keyOfSessions(for: caller)
        let isKnown = try await asProblem { try await store.consoleSessions(key: key) }.contains { $0.id == id }
        guard isKnown, try await asProblem({ try await store.deleteConsoleSession(id: id) }) else {
            throw Problem(.notFound, "this console session is over already")
        }
        consoleSightings.forget(id)
        note("console.signed_out", caller: caller, detail: id)
    }

    /// All that the caller may end, its own included, and the sign-in links that nobody has used.
    /// - Returns: how many sessions that were.
    @discardableResult
    package func endAllConsoleSessions(by caller: Caller) async throws(Problem) -> Int {
        let key = try keyOfSessions(for: caller)
        // Links first: one that is opened meanwhile makes a session that ends with the others.
        try await asProblem { try await store.deleteSignInLinks(key: key) }
        let ended = try await asProblem { try await store.deleteConsoleSessions(key: key) }
        for id in ended {
            consoleSightings.forget(id)
            note("console.signed_out", caller: caller, detail: id)
        }
        return ended.count
    }

    /// `nil` = those of every key. Who is bound sees nobody else.
    private func keyOfSessions(for caller: Caller) throws(Problem) -> String? {
        try caller.requireAdmin()
        return caller.key.connections == nil && caller.key.subjects == nil ? nil : caller.key.id
    }

    /// `nil` when the session is over.
    private func caller(of session: ConsoleSession, at now: Timestamp) -> Caller? {
        guard now < session.expiresAt, now < consoleSightings.last(of: session) + configuration.consoleIdle else { return nil }
        return callerOfKey(session.keyID, at: now)
    }

    /// An admin key that is there and has not expired.
    func callerOfKey(_ id: String, at now: Timestamp) -> Caller? {
        guard let caller = callers.find(id: id), caller.isAdmin, caller.key.expiresAt.map({ $0 > now }) ?? true else { return nil }
        return caller
    }
}

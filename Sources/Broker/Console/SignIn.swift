import OAuth
package import Vault

/// Signing in at the console, by an admin key or a one-time link. SEC-95, SEC-98.
extension Broker {
    /// Who comes, for the list of sessions.
    package struct Newcomer: Sendable {
        package var userAgent: String
        package var address: String
        /// The token that the browser brought: worthless afterwards, so that nobody can set one in advance.
        package var token: String?

        package init(userAgent: String, address: String, token: String?) {
            self.userAgent = userAgent
            self.address = address
            self.token = token
        }
    }

    static let signInLinkLifetime: Duration = .seconds(300)

    /// - Returns: the session, and the token for the cookie, which is never seen again.
    /// - Throws: `unauthenticated` for a key that is unknown or has expired, `forbidden` for one of another role.
    package func signIn(key: String, by newcomer: Newcomer) async throws(Problem) -> (SignedIn, token: String) {
        guard let caller = try await lookUp({ authenticate(key) }) else {
            noteSignInRefused(.unauthenticated)
            throw Problem(
                .unauthenticated, "this API key is not known, or has expired", fix: "paste the whole key, or make a sign-in link by `grantee console`")
        }
        guard caller.isAdmin else {
            noteSignInRefused(.forbidden, key: caller.key.id)
            throw Problem(
                .forbidden, "this key's role is \(caller.key.role.rawValue); the console needs admin", fix: "sign in by an API key with the role admin")
        }
        return try await begin(caller, newcomer, detail: "by key")
    }

    /// - Returns: `nil` for a code that is unknown, was used, or has expired: which of them is nobody's business.
    package func signIn(code: String, by newcomer: Newcomer) async throws(Problem) -> (SignedIn, token: String)? {
        let now = clock.now()
        let hash = KeyHash(of: code[...]).bytes
        guard let link = try await asProblem({ try await store.takeSignInLink(codeHash: hash, now: now) }),
            let caller = try await lookUp({ callerOfKey(link.keyID, at: now) })
        else {
            noteSignInRefused(.unauthenticated, detail: "by link")
            return nil
        }
        return try await begin(caller, newcomer, detail: "by link")
    }

    /// A link that signs in once, with the rights of the caller's key.
    package func makeSignInLink(by caller: Caller) async throws(Problem) -> (url: String, expiresAt: Timestamp) {
        try caller.requireAdmin()
        let code = entropy.token(bytes: 32)
        let link = SignInLink(codeHash: KeyHash(of: code[...]).bytes, keyID: caller.key.id, expiresAt: clock.now() + Self.signInLinkLifetime)
        try await asProblem { try await store.insert(link) }
        note("console.link_made", caller: caller)
        return (configuration.publicURL + "/console/sign-in/" + code, link.expiresAt)
    }

    package func signOut(_ signedIn: SignedIn) async throws(Problem) {
        let id = signedIn.session.id
        guard try await asProblem({ try await store.deleteConsoleSession(id: id) }) else { return }
        consoleSightings.forget(id)
        note("console.signed_out", caller: signedIn.caller, detail: id)
    }

    /// Counted by the minute: whoever guesses, guesses often.
    package func noteSignInRefused(_ code: Problem.Code, key: String? = nil, detail: String = "by key") {
        tally("console.refused", key: key, result: code.rawValue, detail: detail)
    }

    private func begin(_ caller: Caller, _ newcomer: Newcomer, detail: String) async throws(Problem) -> (SignedIn, token: String) {
        let now = clock.now()
        let token = entropy.token(bytes: 32)
        let session = ConsoleSession(
            id: "ses_" + entropy.token(bytes: 9), tokenHash: KeyHash(of: token[...]).bytes, keyID: caller.key.id, createdAt: now, lastSeenAt: now,
            expiresAt: now + configuration.consoleLife, userAgent: ProviderText.clean(newcomer.userAgent, limit: 200),
            address: ProviderText.clean(newcomer.address, limit: 64))
        if let old = newcomer.token { try await end(token: old, by: caller) }
        do throws(Problem) {
            try await asProblem { try await store.insert(session) }
        } catch {
            guard error.code == .conflict else { throw error }
            throw Problem(.unauthenticated, "this API key was removed just now", fix: "sign in by another API key with the role admin")
        }
        note("console.signed_in", caller: caller, detail: "\(session.id), \(detail)")
        return (SignedIn(session: session, caller: caller), token)
    }

    /// The session that a browser had before it signed in anew.
    private func end(token: String, by caller: Caller) async throws(Problem) {
        let hash = KeyHash(of: token[...]).bytes
        try await asProblem {
            guard let old = try await store.consoleSession(tokenHash: hash), try await store.deleteConsoleSession(id: old.id) else { return }
            consoleSightings.forget(old.id)
            note("console.signed_out", caller: caller, detail: old.id)
        }
    }
}

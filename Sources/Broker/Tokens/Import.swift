package import OAuth
import Vault

/// Tokens obtained elsewhere, and a refresh on demand.
extension Broker {
    package struct ImportedTokens: Sendable {
        package var accessToken: AccessToken?
        package var refreshToken: RefreshToken?
        /// Seconds; 0 = already expired; `nil` = not known.
        package var expiresIn: Int?
        package var scope: [String]?

        package init(accessToken: AccessToken?, refreshToken: RefreshToken?, expiresIn: Int?, scope: [String]?) {
            self.accessToken = accessToken
            self.refreshToken = refreshToken
            self.expiresIn = expiresIn
            self.scope = scope
        }
    }

    /// Replaces whatever the grant held, also a revoked one. `admin` only: a `use` key could plant its own account.
    package func importGrant(
        connectionID: String, subject: String, tokens: ImportedTokens, by caller: Caller
    ) async throws(Problem) -> GrantView {
        try caller.requireAdmin()
        let connection = try await connection(id: connectionID, for: caller)
        try require(subject, for: caller, of: connection)
        try check(tokens)
        let set = TokenSet(imported: tokens, at: clock.now())
        return try await asProblem {
            let existing = try await store.grant(connection: connection.uid, subject: subject, slot: "")
            var grant = try seal(set, as: existing, connection: connection, subject: subject, renewable: false)
            grant.beginConsent(at: clock.now(), behind: existing)
            let key = TokenCache.Key(connectionID: connection.id, subject: subject)
            tokenCache.remove(key)
            let events = [event(existing == nil ? .grantCreated : .grantRefreshed, grant, of: connection, reason: "imported")]
            guard try await store.put(grant, expectedGeneration: existing?.tokenGeneration, events: events) else { throw StoreError.conflict }
            tokenCache.remove(key)
            backOff.succeeded(grant.key)
            note("grant.imported", connection: connection, subject: subject, caller: caller)
            return GrantView(grant, connectionID: connection.id, now: clock.now())
        }
    }

    private func check(_ tokens: ImportedTokens) throws(Problem) {
        var errors: [Problem.FieldError] = []
        func judge<Kind>(_ secret: Secret<Kind>?, _ pointer: String) {
            guard let secret else { return }
            let fits = secret.withExposed { (1...65_536).contains($0.utf8.count) && $0.utf8.allSatisfy { (0x21...0x7E).contains($0) } }
            if !fits { errors.append(.init(pointer: pointer, detail: "must be 1 to 65536 visible ASCII characters without space")) }
        }
        judge(tokens.accessToken, "/access_token")
        judge(tokens.refreshToken, "/refresh_token")
        if tokens.accessToken == nil, tokens.refreshToken == nil {
            errors.append(.init(pointer: "/access_token", detail: "an access token or a refresh token is required"))
        }
        if let expiresIn = tokens.expiresIn, !(0...315_360_000).contains(expiresIn) {
            errors.append(.init(pointer: "/expires_in", detail: "must be 0 to 315360000 seconds (ten years)"))
        }
        for (index, scope) in (tokens.scope ?? []).enumerated() where !Client.isScopeToken(scope) {
            errors.append(.init(pointer: "/scope/\(index)", detail: "is not one scope: visible ASCII without space, quote and backslash"))
        }
        guard errors.isEmpty else { throw Problem(.invalidRequest, "the tokens cannot be imported", errors: errors) }
    }

    /// Renews now, whatever the token's age.
    package func refresh(connectionID: String, subject: String, for caller: Caller) async throws(Problem) -> GrantView {
        let connection = try await connection(id: connectionID, for: caller)
        try require(subject, for: caller, of: connection)
        let existing = try await findGrant(of: connection, subject: subject)
        if let existing {
            switch existing.state {
            case .revoked: throw Self.notConnected(connection, subject: subject, revoked: true)
            case .reauthorizationRequired: throw reauthorizationRequired(connection, existing)
            case .active: break
            }
        } else if !connection.fetchesAlone {
            throw Self.notConnected(connection, subject: subject)
        }
        let key = GrantKey(connectionUID: connection.uid, subject: subject)
        let result = try await renewed(connection, key: key, seen: existing?.tokenGeneration, demanded: true)
        return GrantView(result.grant, connectionID: connection.id, now: clock.now())
    }
}

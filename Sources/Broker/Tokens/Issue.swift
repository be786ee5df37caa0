import Logging
import Metrics
import OAuth
import OAuthClient
import Synchronization
import Vault

/// Handing out a valid access token: from memory, from the vault, or after a renewal.
extension Broker {
    package struct TokenQuery: Sendable {
        /// `""` = the shared grant.
        package var subject: String
        /// Seconds that the token should live at least.
        package var minTTL: Int
        package var forceRefresh: Bool
        /// Renew only if this is still the current generation: what callers send after a 401.
        package var afterGeneration: Int?

        package init(subject: String = "", minTTL: Int = 0, forceRefresh: Bool = false, afterGeneration: Int? = nil) {
            self.subject = subject
            self.minTTL = minTTL
            self.forceRefresh = forceRefresh
            self.afterGeneration = afterGeneration
        }
    }

    /// The hot path: a fresh token that this caller may have, or `nil`. No await, no database, no decryption.
    package func cachedToken(connectionID: String, query: TokenQuery, for caller: Caller) -> IssuedToken? {
        guard isCoherent, !query.forceRefresh, !caller.isAgent, caller.covers(subject: query.subject) else { return nil }
        let key = TokenCache.Key(connectionID: connectionID, subject: query.subject)
        guard let entry = tokenCache.find(key), caller.covers(connection: entry.connectionUID) else { return nil }
        let now = clock.now()
        if let freshUntil = entry.freshUntil, now >= freshUntil { return nil }
        if let after = query.afterGeneration, after == entry.token.generation { return nil }
        if query.minTTL > 0, let expiresAt = entry.token.expiresAt, expiresAt.milliseconds - now.milliseconds < Int64(query.minTTL) * 1000 {
            return nil
        }
        guard recordRead(entry.token, connectionUID: entry.connectionUID, connectionID: connectionID, subject: query.subject, caller: caller, at: now)
        else { return nil }
        entry.reads.increment()
        return entry.token
    }

    private func recordRead(
        _ token: IssuedToken, connectionUID: UID, connectionID: String, subject: String, caller: Caller, at now: Timestamp
    ) -> Bool {
        activityLog.countRead(
            .init(
                key: caller.key.id, connectionUID: connectionUID, connection: connectionID, subject: subject, minute: now.milliseconds / 60_000),
            grant: token.grantUID, at: now)
    }

    /// A valid access token, renewed first where that is due. The old token is served while it lives if the provider
    /// cannot renew it now.
    package func token(connectionID: String, query: TokenQuery, for caller: Caller) async throws(Problem) -> IssuedToken {
        let connection = try await connection(id: connectionID, for: caller)
        try require(query.subject, for: caller, of: connection)
        guard activityLog.isAccepting else {
            throw Problem(.unavailable, "uses cannot be recorded now, so no token is given out; nothing was lost", retryAfter: 1)
        }
        let issued = try await obtain(connection, query: query)
        guard
            recordRead(
                issued, connectionUID: connection.uid, connectionID: connection.id, subject: query.subject, caller: caller, at: clock.now())
        else { throw Problem(.unavailable, "uses cannot be recorded now, so no token is given out; nothing was lost", retryAfter: 1) }
        meters.issued(connection: connection.id, source: issued.refreshed ? "refresh" : "vault").increment()
        return issued
    }

    /// Whether the caller may name this subject, and the connection has grants for subjects at all.
    func require(_ subject: String, for caller: Caller, of connection: Connection) throws(Problem) {
        if !subject.isEmpty {
            guard Self.isSubject(subject) else {
                throw Problem(.invalidRequest, Self.subjectRule, errors: [.init(pointer: "/subject", detail: Self.subjectRule)])
            }
            if connection.fetchesAlone {
                let detail = "\(connection.id) has only the shared grant: leave the subject out"
                throw Problem(.invalidRequest, detail, errors: [.init(pointer: "/subject", detail: detail)])
            }
        }
        try caller.require(subject: subject)
    }

    func obtain(_ connection: Connection, query: TokenQuery) async throws(Problem) -> IssuedToken {
        let issued = try await obtainOnce(connection, query: query)
        guard !isCoherent else { return issued }
        // It took long, or the process stood still: what was revoked meanwhile is in nobody's hand.
        try await catchUp()
        guard let current = try await currentToken(of: connection, subject: query.subject), current.grant.uid == issued.grantUID,
            Self.servesToItsEnd(current.grant), let token = current.token
        else { return try await obtainOnce(connection, query: TokenQuery(subject: query.subject)) }
        return current.grant.tokenGeneration == issued.generation ? issued : token
    }

    private func obtainOnce(_ connection: Connection, query: TokenQuery) async throws(Problem) -> IssuedToken {
        let current = try await currentToken(of: connection, subject: query.subject)
        let decision = try decide(connection, current, query: query)
        let key = GrantKey(connectionUID: connection.uid, subject: query.subject)
        switch decision {
        case .serve(let token):
            return token
        case .serveAndRenew(let token):
            // Unstructured: the caller leaves with its token; the renewal goes on.
            Task { [self] in
                do {
                    _ = try await renewed(connection, key: key, seen: token.generation, demanded: false)
                } catch {
                    logger.info(
                        "renewal ahead of expiry failed",
                        metadata: ["connection": "\(connection.id)", "code": "\((error as? Problem)?.code.rawValue ?? "internal")"])
                }
            }
            return token
        case .renew(let seen, let fallback, let demanded):
            do {
                var token = try await renewed(connection, key: key, seen: seen, demanded: demanded).token
                token.refreshed = true
                return token
            } catch {
                // What was revoked or voided meanwhile is served no more: the vault is asked again.
                guard fallback != nil, let current = try await currentToken(of: connection, subject: query.subject), let token = current.token,
                    Self.servesToItsEnd(current.grant), Lifetime(of: current.grant).isAlive(at: clock.now())
                else { throw error }
                return token
            }
        }
    }

    /// A grant and its opened token: what a decision is made on.
    struct Current: Sendable {
        let grant: Grant
        /// `nil` for a grant without an access token.
        let token: IssuedToken?
    }

    /// From the vault; a usable token goes into the cache.
    private func currentToken(of connection: Connection, subject: String) async throws(Problem) -> Current? {
        let key = TokenCache.Key(connectionID: connection.id, subject: subject)
        let ticket = tokenCache.ticket(key)
        guard let grant = try await findGrant(of: connection, subject: subject) else { return nil }
        return try await asProblem {
            guard let token = try await issued(grant) else { return Current(grant: grant, token: nil) }
            if grant.state == .active, !Lifetime.isFromTheFuture(grant, at: clock.now()) {
                cache(token, of: grant, connectionID: connection.id, ticket: ticket)
            }
            return Current(grant: grant, token: token)
        }
    }

    func issued(_ grant: Grant) async throws -> IssuedToken? {
        guard let accessToken = try await openAccessToken(of: grant) else { return nil }
        return IssuedToken(
            grantUID: grant.uid, accessToken: accessToken, tokenType: grant.tokenType, expiresAt: grant.expiresAt, scope: grant.scope,
            generation: grant.tokenGeneration, refreshed: false, captured: grant.captured)
    }

    func cache(_ token: IssuedToken, of grant: Grant, connectionID: String, ticket: TokenCache.Ticket) {
        let key = TokenCache.Key(connectionID: connectionID, subject: grant.subject)
        let length = token.accessToken.withExposed { $0.utf8.count } + (token.scope ?? []).reduce(0) { $0 + $1.utf8.count + 16 }
        tokenCache.insert(
            .init(
                connectionUID: grant.connectionUID, token: token, freshUntil: Lifetime(of: grant).freshUntil,
                reads: meters.issued(connection: connectionID, source: "cache"), cost: length + grant.subject.utf8.count + 400),
            for: key, ticket: ticket)
    }

    // MARK: Deciding

    enum Decision: Sendable {
        case serve(IssuedToken)
        case serveAndRenew(IssuedToken)
        /// `seen`: the generation that does not serve (`nil`: there is no grant yet). `fallback`: what is given when
        /// the renewal fails. `demanded`: the caller says that the token does not serve.
        case renew(seen: Int?, fallback: IssuedToken?, demanded: Bool)
    }

    private func decide(_ connection: Connection, _ current: Current?, query: TokenQuery) throws(Problem) -> Decision {
        let alone = connection.fetchesAlone
        guard let current else {
            guard alone else { throw Self.notConnected(connection, subject: query.subject) }
            return .renew(seen: nil, fallback: nil, demanded: true)
        }
        let grant = current.grant
        let now = clock.now()
        let lifetime = Lifetime(of: grant)
        let alive = lifetime.isAlive(at: now) ? current.token : nil
        let demanded = query.forceRefresh || query.afterGeneration == grant.tokenGeneration
        switch grant.state {
        case .revoked:
            throw Self.notConnected(connection, subject: query.subject, revoked: true)
        case .reauthorizationRequired:
            if !demanded, let alive, Self.servesToItsEnd(grant) { return .serve(alive) }
            throw reauthorizationRequired(connection, grant)
        case .active: break
        }
        if demanded { return .renew(seen: grant.tokenGeneration, fallback: nil, demanded: true) }
        guard let token = alive else { return .renew(seen: grant.tokenGeneration, fallback: nil, demanded: true) }
        if grant.nextRefreshAt != nil, Lifetime.isFromTheFuture(grant, at: now) { return .serveAndRenew(token) }
        guard let expiresAt = lifetime.expiresAt else { return .serve(token) }
        if query.minTTL > 0, expiresAt.milliseconds - now.milliseconds < Int64(query.minTTL) * 1000 {
            return .renew(seen: grant.tokenGeneration, fallback: token, demanded: false)
        }
        guard let renewAt = lifetime.renewAt, let waitAt = lifetime.waitAt, now >= renewAt else { return .serve(token) }
        return now >= waitAt ? .renew(seen: grant.tokenGeneration, fallback: token, demanded: false) : .serveAndRenew(token)
    }

    /// Whether a live access token may be handed out: what the provider would not renew serves to its end, what a builder
    /// voided or somebody revoked does not.
    private static func servesToItsEnd(_ grant: Grant) -> Bool {
        switch grant.state {
        case .active: true
        case .reauthorizationRequired: ["invalid_grant", "outcome_unknown", "no_refresh_token"].contains(grant.stateReason)
        case .revoked: false
        }
    }

    static func connectFix(_ connection: Connection, subject: String) -> String {
        let whose = subject.isEmpty ? "" : " with subject \(subject)"
        let option = subject.isEmpty ? "" : " --subject \(subject)"
        return "POST /v1/connections/\(connection.id)/connect\(whose), or `grantee connect \(connection.id)\(option)`"
    }

    static func notConnected(_ connection: Connection, subject: String, revoked: Bool = false) -> Problem {
        let whose = subject.isEmpty ? "the shared grant" : "that subject"
        let detail =
            revoked ? "the grant was revoked; only connecting again revives it" : "\(connection.id) is not connected for \(whose) yet"
        return Problem(.notConnected, detail, fix: connectFix(connection, subject: subject))
    }

    func reauthorizationRequired(_ connection: Connection, _ grant: Grant, provider: Problem.Provider? = nil) -> Problem {
        let why: String
        switch grant.stateReason {
        case "no_refresh_token": why = "the access token has expired and no refresh token came with it"
        case "host_changed": why = "a URL of the connection moved to another host since access was granted"
        case "outcome_unknown":
            // Its tokens are from before the backup: what was refused may have been spent after it.
            if let restored = restored.withLock(\.self), grant.refreshedAt ?? grant.createdAt <= restored.backupAt {
                why = "the database is a backup of \(restored.backupAt.rfc3339), and the provider refuses the refresh token of that time"
            } else {
                why = "an answer to a refresh was lost, and the provider now refuses the refresh token"
            }
        case "account_mismatch": why = "a refresh answered for another account than before"
        default: why = "the provider refused the refresh token"
        }
        return Problem(
            .reauthorizationRequired, "\(why); a person has to grant access again", fix: Self.connectFix(connection, subject: grant.subject),
            provider: provider)
    }
}

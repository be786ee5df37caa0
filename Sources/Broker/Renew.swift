import Logging
import OAuth
import OAuthClient
import Vault

/// Renewing a grant: by its refresh token, or by fetching anew where no person is needed.
extension Broker {
    /// The grant with a newer generation than `seen`. Joins a renewal in flight.
    /// - Parameter demanded: the access token no longer serves, so a refresh token whose last outcome is unknown is sent
    ///   once more.
    func renewed(_ connection: Connection, key: GrantKey, seen: Int?, demanded: Bool) async throws(Problem) -> Renewals.Result {
        try await asProblem {
            while true {
                let result = try await renewals.join(key) { [self] in
                    try await renew(connectionUID: connection.uid, subject: key.subject, seen: seen, demanded: demanded)
                }
                // A renewal that was begun for an older generation may have found this one and done nothing.
                if seen.map({ result.grant.tokenGeneration > $0 }) ?? true { return result }
            }
        }
    }

    private func renew(connectionUID: UID, subject: String, seen: Int?, demanded: Bool) async throws -> Renewals.Result {
        let connection = try await requireConnection(uid: connectionUID)
        let key = GrantKey(connectionUID: connectionUID, subject: subject)
        try await settleUnwritten(key)
        let grant = try await store.grant(connection: connectionUID, subject: subject, slot: "")
        if let grant, grant.tokenGeneration != seen {
            guard grant.state == .active, let token = try issued(grant) else {
                throw grant.state == .revoked
                    ? Self.notConnected(connection, subject: subject, revoked: true) : Self.reauthorizationRequired(connection, grant)
            }
            return Renewals.Result(grant: grant, token: token)
        }
        if grant?.state == .revoked { throw Self.notConnected(connection, subject: subject, revoked: true) }
        if let grant, grant.state == .reauthorizationRequired { throw Self.reauthorizationRequired(connection, grant) }
        guard connection.health.state != .misconfigured else { throw Self.misconfigured(connection) }
        if let problem = backOff.problem(key, now: clock.now()) { throw problem }
        if let grant, !demanded { try await requireKnownOutcome(grant, connection: connection) }
        do {
            let result: Renewals.Result
            if let grant, grant.refreshToken != nil {
                do {
                    result = try await refresh(grant, of: connection)
                } catch is RefreshTokenSpent {
                    result = try await fetch(connection, existing: grant)
                }
            } else if connection.settings.fetchesAlone(hasPassword: connection.password != nil) {
                result = try await fetch(connection, existing: grant)
            } else if let grant {
                throw try await demandPerson(connection, grant, reason: "no_refresh_token")
            } else {
                throw Self.notConnected(connection, subject: subject)
            }
            backOff.succeeded(key)
            meters.refreshed(connection: connection.id, result: "ok")
            await setHealth(.ok, reason: nil, of: connection)
            return result
        } catch let problem as Problem {
            meters.refreshed(connection: connection.id, result: problem.code.rawValue)
            note("grant.refresh_failed", connection: connection, subject: subject, result: problem.code.rawValue)
            throw problem
        }
    }

    static func misconfigured(_ connection: Connection) -> Problem {
        Problem(
            .misconfigured,
            "the provider refuses this connection (\(connection.health.reason ?? "unknown")), so it is not asked again until the connection changes",
            fix: "correct the connection's settings: PATCH /v1/connections/\(connection.id)")
    }

    // MARK: By refresh token

    /// A refresh token that was sent without an answer is sent again only when the access token no longer serves, unless
    /// the provider is known to allow a grace.
    private func requireKnownOutcome(_ grant: Grant, connection: Connection) async throws {
        guard connection.settings.profile.rotationGrace == nil, let intent = try await store.intent(grant: grant.uid),
            intent.generation == grant.tokenGeneration
        else { return }
        throw Problem(.providerUnreachable, "the outcome of the last refresh is not known yet; the access token still serves", retryAfter: 5)
    }

    /// Intent, send, judge, write, serve. What is known after a crash between two of these is in the intent.
    /// - Throws: ``RefreshTokenSpent`` when the stored credentials can take its place.
    private func refresh(_ grant: Grant, of connection: Connection) async throws -> Renewals.Result {
        guard let refreshToken = try openRefreshToken(of: grant) else { throw KeyringError.damaged }
        let client = try client(of: connection)
        guard let attempts = try await store.beginRefresh(grant: grant.uid, generation: grant.tokenGeneration, at: clock.now()) else {
            throw Problem(.conflict, "the grant changed meanwhile", fix: "ask again")
        }
        let sentAt = clock.now()
        let request = AuthorizationGrant.refreshToken(refreshToken, scopes: grant.scope ?? grant.requestedScope)
        let response: TokenResponse
        do {
            response = try await ask(client, request, connection: connection, operation: "refresh", expectedSubject: grant.account)
        } catch let error as TransportError {
            if !error.mayHaveBeenSent { try await store.clearIntent(grant: grant.uid, generation: grant.tokenGeneration) }
            throw await providerFailed(
                ProviderProblem.of(error, what: "the token endpoint"), connection: connection, key: grant.key, isDown: true, retryAfter: nil)
        } catch let error as TokenError {
            throw try await refreshRefused(error, grant: grant, connection: connection, attempts: attempts)
        }
        let patterns = connection.settings.variablePatterns
        var tokens: TokenSet
        do {
            tokens = try TokenSet(response, requestedScope: grant.requestedScope, sentAt: sentAt, callbackValues: grant.captured, patterns: patterns)
        } catch {
            try await keepAsOrphan(response, connection: connection)
            throw captureProblem(error)
        }
        // Absent = as before. RFC 6749 §6.
        if tokens.scope == nil { tokens.scope = grant.scope }
        if tokens.account == nil { tokens.account = grant.account }
        if tokens.refreshToken == nil || client.profile.refreshTokenPolicy == .keepOriginal {
            tokens.refreshToken = refreshToken
            tokens.refreshExpiresAt = tokens.refreshExpiresAt ?? grant.refreshExpiresAt
        }
        var renewed = try seal(tokens, as: grant, connection: connection, subject: grant.subject, renewable: true)
        renewed.refreshedAt = clock.now()
        return try await write(renewed, replacing: grant, connection: connection, token: response.accessToken, action: "grant.refreshed")
    }

    private func refreshRefused(_ error: TokenError, grant: Grant, connection: Connection, attempts: Int) async throws -> Problem {
        let settings = connection.settings
        let problem = ProviderProblem.of(error, step: .refresh, settings: settings)
        // Known to have changed nothing at the provider; an unreadable success or a 500 may have rotated the token.
        let outcomeUnknown = { if case .malformed = error.kind { error.status < 300 } else { error.status == 500 } }()
        if case .idToken = error.kind {
            tokenCache.remove(.init(connectionID: connection.id, subject: grant.subject))
            return try await demandPerson(connection, grant, reason: "account_mismatch", provider: problem.provider)
        }
        if !outcomeUnknown && error.remedy != .reauthorize {
            try await store.clearIntent(grant: grant.uid, generation: grant.tokenGeneration)
        }
        switch error.remedy {
        case .reauthorize:
            if settings.fetchesAlone(hasPassword: connection.password != nil) {
                try await store.clearIntent(grant: grant.uid, generation: grant.tokenGeneration)
                throw RefreshTokenSpent()
            }
            return try await demandPerson(connection, grant, reason: attempts > 1 ? "outcome_unknown" : "invalid_grant", provider: problem.provider)
        case .fixClient:
            await setHealth(.misconfigured, reason: error.reason, of: connection)
            return problem
        case .tryLater, .report:
            return await providerFailed(
                problem, connection: connection, key: grant.key, isDown: error.remedy == .tryLater, retryAfter: error.retryAfter)
        }
    }

    /// Marks the grant; the caller throws what is returned.
    private func demandPerson(_ connection: Connection, _ grant: Grant, reason: String, provider: Problem.Provider? = nil) async throws -> Problem {
        let key = TokenCache.Key(connectionID: connection.id, subject: grant.subject)
        tokenCache.remove(key)
        let now = clock.now()
        _ = try await store.setState(.reauthorizationRequired, reason: reason, at: now, grant: grant.uid, expectedGeneration: grant.tokenGeneration)
        try await store.clearIntent(grant: grant.uid, generation: grant.tokenGeneration)
        tokenCache.remove(key)
        note("grant.reauthorization_required", connection: connection, subject: grant.subject, detail: reason)
        var marked = grant
        marked.state = .reauthorizationRequired
        marked.stateReason = reason
        return Self.reauthorizationRequired(connection, marked, provider: provider)
    }

    /// - Parameter isDown: it could not answer; a refusal without a known reason says nothing of its health.
    private func providerFailed(
        _ problem: Problem, connection: Connection, key: GrantKey, isDown: Bool, retryAfter: Int?
    ) async -> Problem {
        backOff.failed(key, problem: problem, retryAfter: retryAfter, now: clock.now())
        if isDown { await setHealth(.providerDown, reason: problem.code.rawValue, of: connection) }
        return problem
    }

    func captureProblem(_ error: CaptureError) -> Problem {
        Problem(
            .providerError, "the provider sent a value for \(error.name) that does not match its pattern",
            fix: "check variable_patterns of the connection", provider: .init(status: nil))
    }

    // MARK: By fetching

    /// Client credentials or the stored password: nobody needs to be asked, and asking twice harms nothing.
    func fetch(_ connection: Connection, existing: Grant?) async throws -> Renewals.Result {
        let client = try client(of: connection)
        let scopes = connection.settings.oauth.scopes
        let request: AuthorizationGrant
        let step: ProviderProblem.Step
        if connection.settings.oauth.grantType == .clientCredentials {
            request = .clientCredentials(scopes: scopes)
            step = .clientCredentials
        } else {
            try requirePasswordGrantAllowed()
            guard let username = connection.settings.oauth.username, let password = try storedPassword(of: connection) else {
                throw Self.notConnected(connection, subject: "")
            }
            request = .password(username: username, password: password, scopes: scopes)
            step = .password
        }
        let key = GrantKey(connectionUID: connection.uid, subject: "")
        let sentAt = clock.now()
        let response: TokenResponse
        do {
            response = try await ask(client, request, connection: connection, operation: "token")
        } catch let error as TransportError {
            throw await providerFailed(
                ProviderProblem.of(error, what: "the token endpoint"), connection: connection, key: key, isDown: true, retryAfter: nil)
        } catch let error as TokenError {
            let problem = ProviderProblem.of(error, step: step, settings: connection.settings)
            switch error.remedy {
            case .fixClient, .reauthorize:
                // A stored password that is refused is a setting that is wrong; asking on would lock the account.
                await setHealth(.misconfigured, reason: error.reason, of: connection)
                throw problem
            case .tryLater, .report:
                throw await providerFailed(
                    problem, connection: connection, key: key, isDown: error.remedy == .tryLater, retryAfter: error.retryAfter)
            }
        }
        var tokens: TokenSet
        do {
            tokens = try TokenSet(response, requestedScope: scopes, sentAt: sentAt, callbackValues: [:], patterns: connection.settings.variablePatterns)
        } catch {
            try await keepAsOrphan(response, connection: connection)
            throw captureProblem(error)
        }
        // RFC 6749 §4.4.3: not expected there; asking anew is as good and cannot go stale.
        if case .clientCredentials = request { tokens.refreshToken = nil }
        var grant = try seal(tokens, as: existing, connection: connection, subject: "", renewable: true)
        grant.refreshedAt = existing == nil ? nil : clock.now()
        return try await write(
            grant, replacing: existing, connection: connection, token: response.accessToken,
            action: existing == nil ? "grant.created" : "grant.refreshed")
    }

    func requirePasswordGrantAllowed() throws(Problem) {
        guard !configuration.forbidPasswordGrant else {
            throw Problem(.misconfigured, "this server forbids the password grant", fix: "change the connection's grant type to authorization_code")
        }
    }

    /// Sends one token request; the time it took is measured, nothing else is kept.
    func ask(
        _ client: Client, _ grant: AuthorizationGrant, connection: Connection, operation: String, expectedSubject: String? = nil
    ) async throws -> TokenResponse {
        let clock = self.clock
        let oauth = OAuthClient(client, transport: transport, now: { clock.now().seconds })
        let started = ContinuousClock.now
        defer { meters.provider(connection: connection.id, operation: operation, took: ContinuousClock.now - started) }
        do {
            return try await oauth.token(grant, expectedSubject: expectedSubject)
        } catch let error as RequestError {
            throw Problem(.misconfigured, "the request cannot be made: \(error.parameter) \(error.reason)", fix: "correct \(error.parameter)")
        }
    }

    // MARK: Writing

    /// On stable storage before anybody is given the token, if the generation is still the one it was made from. SEC-58.
    func write(
        _ grant: Grant, replacing old: Grant?, connection: Connection, token: AccessToken, action: String
    ) async throws -> Renewals.Result {
        let key = TokenCache.Key(connectionID: connection.id, subject: grant.subject)
        tokenCache.remove(key)
        let ticket = tokenCache.ticket(key)
        let written: Bool
        do {
            written = try await store.put(grant, expectedGeneration: old?.tokenGeneration)
        } catch StoreError.conflict {
            written = false
        } catch {
            unwritten.hold(.init(grant: grant, expectedGeneration: old?.tokenGeneration, connection: connection), for: grant.key)
            logger.critical(
                "RECEIVED TOKENS COULD NOT BE WRITTEN; they are held in memory and retried", metadata: ["connection": "\(connection.id)", "error": "\(error)"])
            throw Problem(.unavailable, "the database cannot be written; the new tokens are held and nothing was lost", retryAfter: 1)
        }
        guard written else {
            try await settleLate(grant, connection: connection)
            throw Problem(.conflict, "the grant changed meanwhile; the tokens that came too late are not used", fix: "ask again")
        }
        note(action, connection: connection, subject: grant.subject)
        let issued = IssuedToken(
            grantUID: grant.uid, accessToken: token, tokenType: grant.tokenType, expiresAt: grant.expiresAt, scope: grant.scope,
            generation: grant.tokenGeneration,
            refreshed: false)
        cache(issued, of: grant, connectionID: connection.id, ticket: ticket)
        return Renewals.Result(grant: grant, token: issued)
    }

    /// Tokens whose grant has another generation by now: they are revoked, unless the live grant holds one of them too. A
    /// provider may give the same refresh token again, and a write that was reported as failed may have been done.
    private func settleLate(_ grant: Grant, connection: Connection) async throws {
        if let winner = try await store.grant(connection: connection.uid, subject: grant.subject, slot: grant.slot), winner.state == .active {
            let sharesRefreshToken = Self.isSame(try openRefreshToken(of: winner), try openRefreshToken(of: grant))
            let sharesAccessToken = Self.isSame(try openAccessToken(of: winner), try openAccessToken(of: grant))
            if sharesRefreshToken || sharesAccessToken { return }
        }
        try await keepAsOrphan(grant, connection: connection)
    }

    private static func isSame<Kind>(_ a: Secret<Kind>?, _ b: Secret<Kind>?) -> Bool {
        guard let a, let b else { return false }
        return a.withExposed { a in b.withExposed { constantTimeEqual(a, $0) } }
    }

    /// What a failed write left behind comes first: no refresh token is sent while a newer one waits.
    private func settleUnwritten(_ key: GrantKey) async throws {
        guard unwritten.find(key) != nil else { return }
        await writeUnwritten()
        if unwritten.find(key) != nil {
            throw Problem(.unavailable, "the database cannot be written; the new tokens are held and nothing was lost", retryAfter: 1)
        }
    }

    /// One pass at a time: of two, the second would take what the first wrote for somebody else's.
    func writeUnwritten() async {
        guard !unwritten.isEmpty else { return }
        await unwrittenWrites.inTurn { [self] in await writeUnwrittenNow() }
    }

    private func writeUnwrittenNow() async {
        for (key, entry) in unwritten.all {
            do {
                let written: Bool
                do {
                    written = try await store.put(entry.grant, expectedGeneration: entry.expectedGeneration)
                } catch StoreError.conflict {
                    written = false
                }
                if !written { try await settleLate(entry.grant, connection: entry.connection) }
                unwritten.remove(key, generation: entry.grant.tokenGeneration)
                tokenCache.remove(.init(connectionID: entry.connection.id, subject: key.subject))
                logger.notice("tokens that waited are written", metadata: ["connection": "\(entry.connection.id)"])
            } catch {
                logger.error("tokens still wait to be written", metadata: ["connection": "\(entry.connection.id)", "error": "\(error)"])
            }
        }
    }
}

extension Grant {
    var key: GrantKey { GrantKey(connectionUID: connectionUID, subject: subject) }
}

/// The refresh token is refused for good, and the connection can fetch without it.
private struct RefreshTokenSpent: Error {}

import Logging
import OAuth
import OAuthClient
import Vault

/// Renewing a grant: by its refresh token, or by fetching anew where no person is needed.
extension Broker {
    /// The grant with a newer generation than `seen`. Joins a renewal in flight, and waits for it as long as a token request
    /// may take; its answer is kept even if it comes later.
    /// - Parameters:
    ///   - demanded: the access token no longer serves, so a refresh token whose last outcome is unknown is sent once more.
    ///   - hasTurn: a turn at the token endpoint was taken for it.
    func renewed(
        _ connection: Connection, key: GrantKey, seen: Int?, demanded: Bool, hasTurn: Bool = false
    ) async throws(Problem) -> Renewals.Result {
        try await asProblem {
            while true {
                let result = try await renewals.join(key, patience: configuration.patience) { [self] in
                    try await renew(key, seen: seen, demanded: demanded, hasTurn: hasTurn)
                }
                // A renewal that was begun for an older generation may have found this one and done nothing.
                if seen.map({ result.grant.tokenGeneration > $0 }) ?? true { return result }
            }
        }
    }

    /// How a grant is found by whoever saw a generation of it.
    private enum Standing {
        /// Somebody else was faster.
        case renewed(Renewals.Result)
        case due(Connection, Grant?)
    }

    private func renew(_ key: GrantKey, seen: Int?, demanded: Bool, hasTurn: Bool) async throws -> Renewals.Result {
        switch try await standing(of: key, seen: seen) {
        case .renewed(let result): return result
        // What asks nothing of the provider takes no lease.
        case .due(let connection, let grant) where shared == nil || (grant?.refreshToken == nil && !connection.fetchesAlone):
            return try await renew(grant, of: connection, key, demanded: demanded, hasTurn: hasTurn, lease: nil)
        case .due(let connection, _):
            let work: (RenewalLease?) async throws -> Renewals.Result = { [self] lease in
                // Another node may have renewed it before the lease was had here.
                var standing = try await standing(of: key, seen: seen)
                if demanded, case .due(let connection, let grant?) = standing, try await waitedForHeldAnswer(of: grant, connection: connection) {
                    standing = try await self.standing(of: key, seen: seen)
                }
                switch standing {
                case .renewed(let result): return result
                case .due(let connection, let grant):
                    return try await renew(grant, of: connection, key, demanded: demanded, hasTurn: hasTurn, lease: lease)
                }
            }
            return try await underLease(key, settled: { try await outcome(of: $0, seen: seen, connection: connection) }, work: work)
        }
    }

    private func standing(of key: GrantKey, seen: Int?) async throws -> Standing {
        let connection = try await requireConnection(uid: key.connectionUID)
        try await settleUnwritten(key)
        let grant = try await store.grant(connection: key.connectionUID, subject: key.subject, slot: "")
        if let result = try await outcome(of: grant, seen: seen, connection: connection) { return .renewed(result) }
        guard connection.health.state != .misconfigured else { throw Self.misconfigured(connection) }
        if let problem = backOff.problem(key, now: clock.now()) { throw problem }
        return .due(connection, grant)
    }

    /// - Returns: what another renewal made of the grant since `seen`; `nil` = it is still to be renewed.
    /// - Throws: why it is not to be.
    private func outcome(of grant: Grant?, seen: Int?, connection: Connection) async throws -> Renewals.Result? {
        guard let grant else { return nil }
        switch grant.state {
        case .revoked: throw Self.notConnected(connection, subject: grant.subject, revoked: true)
        case .reauthorizationRequired: throw reauthorizationRequired(connection, grant)
        case .active: break
        }
        guard grant.tokenGeneration != seen else { return nil }
        // What was imported without a token that serves is renewed like any other.
        guard Lifetime(of: grant).isAlive(at: clock.now()), let token = try await issued(grant) else { return nil }
        return Renewals.Result(grant: grant, token: token)
    }

    private func renew(
        _ grant: Grant?, of connection: Connection, _ key: GrantKey, demanded: Bool, hasTurn: Bool, lease: RenewalLease?
    ) async throws -> Renewals.Result {
        if let grant, !demanded { try await requireKnownOutcome(grant, connection: connection) }
        let fetchesAlone = connection.fetchesAlone
        // What asks nothing of the provider takes nobody's turn.
        if grant?.refreshToken != nil || fetchesAlone {
            try await admit(connection, to: connection.settings.tokenEndpointKey, isUrgent: demanded, hasTurn: hasTurn)
        }
        do {
            let result: Renewals.Result
            if let grant, grant.refreshToken != nil {
                do {
                    result = try await refresh(grant, of: connection, lease: lease)
                } catch is RefreshTokenSpent {
                    result = try await fetch(connection, existing: grant)
                }
            } else if fetchesAlone {
                result = try await fetch(connection, existing: grant)
            } else if let grant {
                throw try await demandPerson(connection, grant, reason: "no_refresh_token")
            } else {
                throw Self.notConnected(connection, subject: key.subject)
            }
            backOff.succeeded(key)
            meters.refreshed(connection: connection.id, result: "ok")
            await setHealth(.ok, reason: nil, of: connection)
            return result
        } catch let problem as Problem {
            // Somebody else was faster: callers get what that gave, or why it gave nothing.
            if problem.code == .conflict, let grant,
                let result = try await outcome(of: try await store.grant(uid: grant.uid), seen: grant.tokenGeneration, connection: connection)
            {
                return result
            }
            meters.refreshed(connection: connection.id, result: problem.code.rawValue)
            note("grant.refresh_failed", connection: connection, subject: key.subject, result: problem.code.rawValue)
            throw problem
        }
    }

    /// Past the breaker of the token endpoint. Whoever has nothing to serve meanwhile waits out a short pause.
    private func admit(_ connection: Connection, to endpoint: String, isUrgent: Bool, hasTurn: Bool) async throws {
        var waited = 0
        while let refusal = try await tokenEndpoints.admit(endpoint, hasTurn: hasTurn, at: clock.now()) {
            guard isUrgent, let wait = refusal.problem.retryAfter, waited + wait <= Self.longestUrgentWait else {
                if refusal.isDown { await setHealth(.providerDown, reason: refusal.problem.code.rawValue, of: connection) }
                throw refusal.problem
            }
            waited += wait
            try await pause(.seconds(wait))
        }
    }

    /// Seconds.
    private static let longestUrgentWait = 3

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
        guard connection.settings.profile.rotationGrace == nil, try await isInDoubt(grant) else { return }
        throw Problem(.providerUnreachable, "the outcome of the last refresh is not known yet; the access token still serves", retryAfter: 5)
    }

    /// Does what the ``RefreshMachine`` says.
    /// - Parameter lease: `nil` where the node is alone on its store: the renewal in flight is the lease itself.
    /// - Throws: ``RefreshTokenSpent`` when the stored credentials can take its place.
    private func refresh(_ grant: Grant, of connection: Connection, lease: RenewalLease?) async throws -> Renewals.Result {
        guard let refreshToken = try await openRefreshToken(of: grant) else { throw KeyringError.damaged }
        let client = try await client(of: connection)
        var machine = RefreshMachine()
        var action = machine.first
        var sentAt = clock.now()
        var response: TokenResponse?
        var problem: Problem?
        var result: Renewals.Result?
        Failpoint.pass("refresh.due")
        while true {
            switch action {
            case .takeLease:
                action = machine.next(lease?.isHeld ?? true ? .leased : .leaseLost)
                Failpoint.pass("refresh.lease")
            case .proveWritable:
                action = machine.next(unwritten.find(grant.key) == nil && activityLog.isAccepting ? .storeIsWritable : .storeIsNotWritable)
                Failpoint.pass("refresh.writable")
            case .writeIntent:
                // The write itself is the proof that the store can be written.
                let begun = configuration.lease.now()
                let attempts = try await store.beginRefresh(
                    grant: grant.uid, generation: grant.tokenGeneration, at: clock.now(), lease: lease?.claim)
                if attempts != nil { lease?.extended(since: begun) }
                action = machine.next(attempts.map { .intentWritten(attempts: $0) } ?? .generationMoved)
                Failpoint.pass("refresh.intent")
            case .send:
                // A process that was stopped since may have been taken for dead, and the token sent by another.
                guard lease?.isHeld ?? true else {
                    action = machine.next(.leaseLost)
                    continue
                }
                sentAt = clock.now()
                Failpoint.passSoon("refresh.sent")
                do {
                    let request = AuthorizationGrant.refreshToken(refreshToken, scopes: grant.scope ?? grant.requestedScope)
                    response = try await ask(
                        client, request, connection: connection, subject: grant.subject, operation: "refresh", expectedSubject: grant.account)
                    action = machine.next(.answered)
                } catch let error as TransportError {
                    problem = ProviderProblem.of(error, what: "the token endpoint")
                    machine.isLate = !(lease?.isHeld ?? true)
                    action = machine.next(.unanswered(error))
                } catch let error as TokenError {
                    problem = ProviderProblem.of(error, step: .refresh, settings: connection.settings)
                    problem?.reason = error.reason
                    machine.isLate = !(lease?.isHeld ?? true)
                    action = machine.next(.refused(error))
                }
                Failpoint.pass("refresh.answered")
            case .write:
                guard let response else { preconditionFailure("what was answered is there") }
                let renewed = try await seal(response, renewing: grant, refreshToken: refreshToken, client: client, connection: connection, sentAt: sentAt)
                switch try await write(renewed, replacing: grant, connection: connection, token: response.accessToken, kind: .grantRefreshed) {
                case .written(let written):
                    result = written
                    action = machine.next(.written)
                case .held: action = machine.next(.writeFailed)
                case .overtaken: action = machine.next(.overtaken)
                }
                Failpoint.pass("refresh.written")
            case .serve:
                guard let result else { preconditionFailure("what was written is there") }
                note("grant.refreshed", connection: connection, subject: grant.subject)
                Failpoint.pass("refresh.served")
                return result
            case .end(let ending):
                // Of a late refusal the outcome of whoever has the lease now tells more.
                if ending.demandsPerson != nil, machine.isLate, let lease, try await !lease.take() { throw Self.overtaken }
                throw try await end(ending, of: grant, connection: connection, problem: problem)
            }
        }
    }

    private static let overtaken = Problem(.conflict, "the grant changed meanwhile; what came too late is not used", fix: "ask again")

    /// The next generation of `grant`, from an answer: what the answer leaves out stays as it was. RFC 6749 §6.
    private func seal(
        _ response: TokenResponse, renewing grant: Grant, refreshToken: RefreshToken, client: Client, connection: Connection, sentAt: Timestamp
    ) async throws -> Grant {
        var tokens: TokenSet
        do {
            tokens = try TokenSet(
                response, requestedScope: grant.requestedScope, sentAt: sentAt, callbackValues: grant.captured, patterns: connection.settings.variablePatterns)
        } catch {
            // The refresh token that came is the one that serves from now on. The access token is given to nobody.
            if let rotated = response.refreshToken { try await keep(rotated, renewing: grant, connection: connection, sentAt: sentAt) }
            let problem = captureProblem(error)
            await providerFailed(problem, remedy: .report, connection: connection, key: grant.key)
            throw problem
        }
        if tokens.scope == nil { tokens.scope = grant.scope }
        if tokens.account == nil { tokens.account = grant.account }
        let isSame = Self.isSame(tokens.refreshToken, refreshToken)
        let rotates = tokens.refreshToken != nil && !isSame && client.profile.refreshTokenPolicy != .keepOriginal
        if !rotates {
            tokens.refreshToken = refreshToken
            tokens.refreshExpiresAt = tokens.refreshExpiresAt ?? grant.refreshExpiresAt
        }
        var renewed = try seal(tokens, as: grant, connection: connection, subject: grant.subject, renewable: true)
        renewed.rotates = rotates
        renewed.refreshedAt = clock.now()
        return renewed
    }

    private func keep(_ rotated: RefreshToken, renewing grant: Grant, connection: Connection, sentAt: Timestamp) async throws {
        let tokens = TokenSet(rotated, of: grant, sentAt: sentAt)
        let next = try seal(tokens, as: grant, connection: connection, subject: grant.subject, renewable: true)
        tokenCache.remove(.init(connectionID: connection.id, subject: grant.subject))
        do {
            if try await !store.put(next, expectedGeneration: grant.tokenGeneration) { try await settleLate(next, connection: connection) }
        } catch {
            hold(next, expectedGeneration: grant.tokenGeneration, connection: connection, events: [], because: error)
        }
        tokenCache.remove(.init(connectionID: connection.id, subject: grant.subject))
    }

    /// What an ending asks for; the caller throws what is returned.
    private func end(_ ending: RefreshMachine.Ending, of grant: Grant, connection: Connection, problem: Problem?) async throws -> any Error {
        switch ending.reason {
        case .notWritable, .held:
            return Problem(.unavailable, "the database cannot be written; nothing was lost", retryAfter: 1)
        case .overtaken:
            return Self.overtaken
        case .leaseLost:
            meters.lease(result: "lost")
            return Problem(.conflict, "this node was held up, and another may have renewed the grant meanwhile; nothing was sent", fix: "ask again")
        case .failed(let failure):
            guard let problem else { preconditionFailure("a failure has its problem") }
            if let reason = ending.demandsPerson {
                if failure == .reauthorize, reason != "account_mismatch", connection.fetchesAlone {
                    try await store.clearIntent(grant: grant.uid, generation: grant.tokenGeneration)
                    return RefreshTokenSpent()
                }
                return try await demandPerson(connection, grant, reason: reason, provider: problem.provider)
            }
            if !ending.keepsIntent { try await store.clearIntent(grant: grant.uid, generation: grant.tokenGeneration) }
            if failure == .fixConnection {
                await setHealth(.misconfigured, reason: problem.reason, of: connection)
            } else {
                await providerFailed(problem, remedy: ending.remedy, connection: connection, key: grant.key)
            }
            return problem
        }
    }

    /// Marks the grant; the caller throws what is returned.
    private func demandPerson(_ connection: Connection, _ grant: Grant, reason: String, provider: Problem.Provider? = nil) async throws -> Problem {
        let key = TokenCache.Key(connectionID: connection.id, subject: grant.subject)
        tokenCache.remove(key)
        let now = clock.now()
        var marked = grant
        marked.state = .reauthorizationRequired
        marked.stateReason = reason
        let isMarked = try await store.setState(
            .reauthorizationRequired, reason: reason, at: now, grant: grant.uid, expectedGeneration: grant.tokenGeneration,
            events: [event(.grantReauthorizationRequired, marked, of: connection, reason: reason, remedy: .reauthorize)])
        try await store.clearIntent(grant: grant.uid, generation: grant.tokenGeneration)
        tokenCache.remove(key)
        guard isMarked else { return Problem(.conflict, "the grant changed meanwhile; the provider's refusal says nothing about it now", fix: "ask again") }
        note("grant.reauthorization_required", connection: connection, subject: grant.subject, detail: reason)
        if reason == "invalid_grant", grant.rotates == true {
            // Sent once by us, and refused: somebody else may have used a copy. SEC-62.
            note("grant.reuse_suspected", connection: connection, subject: grant.subject)
        }
        return reauthorizationRequired(connection, marked, provider: provider)
    }

    /// A refusal without a known reason says nothing of the provider's health.
    private func providerFailed(_ problem: Problem, remedy: Remedy, connection: Connection, key: GrantKey) async {
        // Ours, where the provider did not answer, is advice to callers.
        let retryAfter = problem.provider == nil ? nil : problem.retryAfter
        backOff.failed(key, problem: problem, retryAfter: retryAfter, now: clock.now())
        guard remedy == .tryLater else { return }
        await setHealth(.providerDown, reason: problem.provider?.status == 429 ? Self.rateLimited : problem.code.rawValue, of: connection)
    }

    func captureProblem(_ error: CaptureError) -> Problem {
        Problem(
            .providerError, "the provider sent a value for \(error.name) that does not match its pattern",
            fix: "check variable_patterns of the connection", provider: .init(status: nil))
    }

    // MARK: By fetching

    /// Client credentials or the stored password: nobody needs to be asked, and asking twice harms nothing.
    func fetch(_ connection: Connection, existing: Grant?) async throws -> Renewals.Result {
        let client = try await client(of: connection)
        let scopes = connection.settings.requestedScopes
        let request: AuthorizationGrant
        let step: ProviderProblem.Step
        if connection.settings.oauth.grantType == .clientCredentials {
            request = .clientCredentials(scopes: scopes)
            step = .clientCredentials
        } else {
            try requirePasswordGrantAllowed()
            guard let username = connection.settings.oauth.username, let password = try await storedPassword(of: connection) else {
                throw Self.notConnected(connection, subject: "")
            }
            request = .password(username: username, password: password, scopes: scopes)
            step = .password
        }
        let key = GrantKey(connectionUID: connection.uid, subject: "")
        let sentAt = clock.now()
        let response: TokenResponse
        do {
            response = try await ask(client, request, connection: connection, subject: "", operation: "token")
        } catch let error as TransportError {
            let problem = ProviderProblem.of(error, what: "the token endpoint")
            await providerFailed(problem, remedy: .tryLater, connection: connection, key: key)
            throw problem
        } catch let error as TokenError {
            let problem = ProviderProblem.of(error, step: step, settings: connection.settings)
            switch error.remedy {
            case .fixClient, .reauthorize:
                // A stored password that is refused is a setting that is wrong; asking on would lock the account.
                await setHealth(.misconfigured, reason: error.reason, of: connection)
            case .tryLater, .report:
                await providerFailed(problem, remedy: error.remedy == .tryLater ? .tryLater : .report, connection: connection, key: key)
            }
            throw problem
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
        let isNew = existing == nil
        switch try await write(
            grant, replacing: existing, connection: connection, token: response.accessToken, kind: isNew ? .grantCreated : .grantRefreshed)
        {
        case .written(let result):
            note(isNew ? "grant.created" : "grant.refreshed", connection: connection, subject: grant.subject)
            return result
        case .held: throw Problem(.unavailable, "the database cannot be written; the new tokens are held and nothing was lost", retryAfter: 1)
        case .overtaken: throw Problem(.conflict, "the grant changed meanwhile; the tokens that came too late are not used", fix: "ask again")
        }
    }

    func requirePasswordGrantAllowed() throws(Problem) {
        guard !configuration.forbidPasswordGrant else {
            throw Problem(.misconfigured, "this server forbids the password grant", fix: "change the connection's grant type to authorization_code")
        }
    }

    /// Sends one token request. How it ended is noted for the endpoint; the time it took is measured; of one that failed the doctor
    /// is left what went over the wire, secrets masked.
    func ask(
        _ client: Client, _ grant: AuthorizationGrant, connection: Connection, subject: String, operation: String, expectedSubject: String? = nil
    ) async throws -> TokenResponse {
        let clock = self.clock
        // The answer to a refresh is waited for beyond the callers' patience: it may hold the only copy of a rotated token.
        let isRefresh = if case .refreshToken = grant { true } else { false }
        let witness = Witness(isRefresh ? patientTransport : transport)
        let stage = isRefresh ? Trouble.Stage.refresh : .token
        let oauth = OAuthClient(client, transport: witness, now: { clock.now().seconds })
        let started = ContinuousClock.now
        let endpoint = connection.settings.tokenEndpointKey
        defer { meters.provider(connection: connection.id, operation: operation, took: ContinuousClock.now - started) }
        do {
            let response = try await oauth.token(grant, expectedSubject: expectedSubject)
            await tokenEndpoints.ended(endpoint, .gaveTokens, at: clock.now())
            await endTrouble(isRefresh ? [.refresh] : [.authorization, .token], of: connection, subject: subject)
            return response
        } catch let error as RequestError {
            throw Problem(.misconfigured, "the request cannot be made: \(error.parameter) \(error.reason)", fix: "correct \(error.parameter)")
        } catch let error as TransportError {
            let problem = ProviderProblem.of(error, what: "the token endpoint")
            // That a policy of ours stops it says nothing about the endpoint.
            if error.reason != .blocked && error.reason != .cancelled { await tokenEndpoints.ended(endpoint, .failed(problem), at: clock.now()) }
            let capture = TroubleCapture(witness.exchange, client: client)
            if error.reason != .cancelled {
                await keep(capture.trouble(error, stage: stage, subject: subject, connection: connection, at: clock.now()), of: connection)
            }
            throw error
        } catch let error as TokenError {
            let problem = ProviderProblem.of(error, step: .refresh, settings: connection.settings)
            await tokenEndpoints.ended(endpoint, .of(error, problem), at: clock.now())
            let capture = TroubleCapture(witness.exchange, client: client)
            await keep(capture.trouble(error, stage: stage, subject: subject, connection: connection, at: clock.now()), of: connection)
            throw error
        }
    }

    // MARK: Writing

    enum WriteOutcome: Sendable {
        case written(Renewals.Result)
        /// The store failed: the tokens are held in memory and written again.
        case held
        /// The generation has moved: the tokens became orphans.
        case overtaken
    }

    /// On stable storage before anybody is given the token, if the generation is still the one it was made from. SEC-58.
    private func write(
        _ grant: Grant, replacing old: Grant?, connection: Connection, token: AccessToken, kind: WebhookEvent.Kind
    ) async throws -> WriteOutcome {
        let key = TokenCache.Key(connectionID: connection.id, subject: grant.subject)
        tokenCache.remove(key)
        let ticket = tokenCache.ticket(key)
        let events = [event(kind, grant, of: connection)]
        let written: Bool
        do {
            written = try await store.put(grant, expectedGeneration: old?.tokenGeneration, events: events)
        } catch StoreError.conflict {
            written = false
        } catch {
            hold(grant, expectedGeneration: old?.tokenGeneration, connection: connection, events: events, because: error)
            return .held
        }
        guard written else {
            do {
                try await settleLate(grant, connection: connection)
            } catch {
                hold(grant, expectedGeneration: old?.tokenGeneration, connection: connection, events: events, because: error)
                return .held
            }
            return .overtaken
        }
        let issued = IssuedToken(
            grantUID: grant.uid, accessToken: token, tokenType: grant.tokenType, expiresAt: grant.expiresAt, scope: grant.scope,
            generation: grant.tokenGeneration, refreshed: false, captured: grant.captured)
        cache(issued, of: grant, connectionID: connection.id, ticket: ticket)
        return .written(Renewals.Result(grant: grant, token: issued))
    }

    /// Never dropped: in memory until they are written.
    func hold(_ grant: Grant, expectedGeneration: Int?, connection: Connection, events: [WebhookEvent], because error: any Error) {
        unwritten.hold(.init(grant: grant, expectedGeneration: expectedGeneration, connection: connection, events: events), for: grant.key)
        logger.critical(
            "RECEIVED TOKENS COULD NOT BE WRITTEN; they are held in memory and retried", metadata: ["connection": "\(connection.id)", "error": "\(error)"])
    }

    /// Tokens whose grant has another generation by now: they are revoked, unless the live grant holds one of them too. A
    /// provider may give the same refresh token again, and a write that was reported as failed may have been done.
    ///
    /// Of a grant that was renewed meanwhile the late refresh token comes from the same consent. Whoever revokes one of those
    /// revokes all, the live ones too (RFC 7009 §2.1): it is dropped, and only the access token revoked.
    private func settleLate(_ grant: Grant, connection: Connection) async throws {
        var grant = grant
        if let winner = try await store.grant(connection: connection.uid, subject: grant.subject, slot: grant.slot), winner.state == .active {
            do {
                let sharesRefreshToken = Self.isSame(try await openRefreshToken(of: winner), try await openRefreshToken(of: grant))
                let sharesAccessToken = Self.isSame(try await openAccessToken(of: winner), try await openAccessToken(of: grant))
                if sharesRefreshToken || sharesAccessToken { return }
                if winner.isOfSameConsent(as: grant) { grant.refreshToken = nil }
            } catch let error as KeyringError where error.isMissingMasterKey {
                // Another node opens them, and they are alive: the late ones wait.
                throw error
            } catch {
                // What does not open serves nobody: nothing of it is lost with the late tokens.
                logger.error("a grant's tokens do not open", metadata: ["connection": "\(connection.id)", "error": "\(error)"])
            }
        }
        do {
            try await keepAsOrphan(grant, connection: connection)
        } catch StoreError.conflict {
            guard try await store.connection(uid: connection.uid) == nil else { throw StoreError.conflict }
            // With its connection went the keys that open them: nothing can be done with them any more.
            logger.warning("tokens came for a connection that is gone; they are dropped", metadata: ["connection": "\(connection.id)"])
        }
    }

    static func isSame<Kind>(_ a: Secret<Kind>?, _ b: Secret<Kind>?) -> Bool {
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

    /// Another node may have rotated the data keys while this one could not write.
    private func sealedAnew(_ grant: Grant) async throws -> Grant {
        guard shared != nil else { return grant }
        try await keyring.reload()
        var grant = grant
        grant.accessToken = try grant.accessToken.map { sealed throws(KeyringError) in
            try keyring.unlessRetired(sealed, at: .accessToken(grant.uid, generation: grant.tokenGeneration), scope: grant.connectionUID)
        }
        grant.refreshToken = try grant.refreshToken.map { sealed throws(KeyringError) in
            try keyring.unlessRetired(sealed, at: .refreshToken(grant.uid, generation: grant.tokenGeneration), scope: grant.connectionUID)
        }
        return grant
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
                let grant = try await sealedAnew(entry.grant)
                do {
                    written = try await store.put(grant, expectedGeneration: entry.expectedGeneration, events: entry.events)
                } catch StoreError.conflict {
                    written = false
                }
                if !written { try await settleLate(entry.grant, connection: entry.connection) }
                unwritten.remove(key, id: entry.id)
                tokenCache.remove(.init(connectionID: entry.connection.id, subject: key.subject))
                logger.notice("tokens that waited are written", metadata: ["connection": "\(entry.connection.id)"])
            } catch {
                logFailure(.error, "tokens still wait to be written", error, ["connection": "\(entry.connection.id)"])
            }
        }
    }
}

extension Grant {
    var key: GrantKey { GrantKey(connectionUID: connectionUID, subject: subject) }
}

/// The refresh token is refused for good, and the connection can fetch without it.
private struct RefreshTokenSpent: Error {}

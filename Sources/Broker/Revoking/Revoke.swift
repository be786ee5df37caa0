import Crypto
import Logging
import OAuth
import OAuthClient
import Vault

/// Ending a grant: at once here, and at the provider where it can.
extension Broker {
    package enum ProviderRevocation: String, Sendable {
        case revoked
        /// The provider could not answer now; it is asked again in the background.
        case pending
        /// It has no revocation endpoint, or revokes no such token.
        case unsupported
        case failed

        fileprivate init(_ outcome: OrphanOutcome) {
            switch outcome {
            case .revoked: self = .revoked
            case .unsupported: self = .unsupported
            case .failed: self = .failed
            }
        }
    }

    /// Unusable from the moment this begins to answer; then revoked at the provider, refresh token first. RFC 7009.
    package func revoke(connectionID: String, subject: String, by caller: Caller) async throws(Problem) -> ProviderRevocation {
        let connection = try await connection(id: connectionID, for: caller)
        try caller.require(subject: subject)
        let grant = try await requireGrant(of: connection, subject: subject)
        guard grant.state != .revoked else { return .revoked }
        let outcome = try await asProblem { try await revoke(grant, of: connection) }
        note("grant.revoked", connection: connection, subject: subject, caller: caller, detail: "at the provider: \(outcome.rawValue)")
        return outcome
    }

    /// Whatever tokens the grant has by then: a refresh that is faster is revoked with it, a slower one comes too late.
    /// - Throws: a store error; then nothing has changed.
    private func revoke(_ grant: Grant, of connection: Connection) async throws -> ProviderRevocation {
        let key = TokenCache.Key(connectionID: connection.id, subject: grant.subject)
        let now = clock.now()
        tokenCache.remove(key)
        let revoked = try await store.revoke(
            RevocationFilter(grant: grant.uid), at: now, askAt: now + Self.inHand, revocation: nil, limit: 1
        ) { [self] grant, connection in [event(.grantRevoked, grant, of: connection)] }
        tokenCache.remove(key)
        // Somebody else was first.
        guard let tombstone = revoked.first else { return .revoked }
        guard let uid = tombstone.orphan, let orphan = try await store.orphan(uid: uid) else { return .unsupported }
        let outcome = await revokeWithin(.seconds(10), orphan, of: connection)
        await forgetDropped()
        return outcome
    }

    /// For so long whoever made an orphan asks its provider; then the background does.
    private static let inHand = Duration.seconds(60)

    // MARK: Tokens that nobody may use

    /// Tokens of an answer that may not be used: sealed, so that they can be revoked even after a restart.
    func keepAsOrphan(_ response: TokenResponse, connection: Connection) async throws {
        let now = clock.now()
        let uid = UID.make(at: now)
        func seal(_ text: String, _ field: String) throws -> Sealed {
            try keyring.seal(Array(text.utf8), at: .orphan(uid, field: field), scope: connection.uid)
        }
        try await keep(
            OrphanToken(
                uid: uid, connectionUID: connection.uid, accessToken: try response.accessToken.withExposed { try seal($0, "access_token") },
                refreshToken: try response.refreshToken?.withExposed { try seal($0, "refresh_token") }, createdAt: now, nextTryAt: now + Self.inHand),
            of: connection)
    }

    /// Tokens that came too late for their grant: they keep their seals.
    func keepAsOrphan(_ grant: Grant, connection: Connection) async throws {
        guard grant.accessToken != nil || grant.refreshToken != nil else { return }
        let now = clock.now()
        // The live grant, and another late answer, may have the same generation: the ciphertext tells them apart.
        let digest = SHA256.hash(data: (grant.accessToken?.bytes ?? []) + (grant.refreshToken?.bytes ?? []))
        let uid = OrphanToken.uid(grant: grant.uid, generation: grant.tokenGeneration).text + ":" + Base64URL.encode(Array(digest.prefix(9)))
        note("grant.orphaned", connection: connection, subject: grant.subject)
        try await keep(
            OrphanToken(
                uid: UID(text: uid), connectionUID: connection.uid, accessToken: grant.accessToken, refreshToken: grant.refreshToken, createdAt: now,
                nextTryAt: now + Self.inHand, origin: .init(grantUID: grant.uid, generation: grant.tokenGeneration)),
            of: connection)
    }

    private func keep(_ orphan: OrphanToken, of connection: Connection) async throws {
        try await store.insert(orphan)
        // Unstructured: nobody waits for it, and what is not done when the process ends is done by the next one.
        _ = Task { [self] in
            _ = await revokeWithin(.seconds(30), orphan, of: connection)
            await forgetDropped()
        }
    }

    /// Tokens that were dropped are in no file afterwards. SEC-53.
    private func forgetDropped() async {
        do {
            try await store.forgetOverwritten()
        } catch {
            logger.warning("the write-ahead log was not emptied; the next revocation tries it again", metadata: ["error": "\(error)"])
        }
    }

    /// An orphan's token, opened where it was sealed.
    private func open(_ sealed: Sealed, of orphan: OrphanToken, hint: Revocation.TokenTypeHint) async throws -> String {
        let place: Keyring.Place =
            switch (orphan.origin, hint) {
            case (let origin?, .accessToken): .accessToken(origin.grantUID, generation: origin.generation)
            case (let origin?, .refreshToken): .refreshToken(origin.grantUID, generation: origin.generation)
            case (nil, _): .orphan(orphan.uid, field: hint.rawValue)
            }
        return String(decoding: try await keyring.opened(sealed, at: place), as: UTF8.self)
    }

    // MARK: At the provider

    private func revokeWithin(_ limit: Duration, _ orphan: OrphanToken, of connection: Connection) async -> ProviderRevocation {
        await withTaskGroup(of: ProviderRevocation.self) { group in
            group.addTask { await self.revokeNow(orphan, of: connection) }
            group.addTask {
                do { try await Task.sleep(for: limit) } catch { return .pending }
                return .pending
            }
            let first = await group.next() ?? .pending
            group.cancelAll()
            return first
        }
    }

    /// Refresh token first: many providers then drop the access tokens too. RFC 7009 §2.1.
    private func revokeNow(_ orphan: OrphanToken, of connection: Connection) async -> ProviderRevocation {
        do {
            let client = try await client(of: connection)
            guard client.server.revocationEndpoint != nil else { return try await end(orphan, .unsupported, of: connection) }
            var outcome = OrphanOutcome.revoked
            for (hint, sealed) in [(Revocation.TokenTypeHint.refreshToken, orphan.refreshToken), (.accessToken, orphan.accessToken)] {
                guard let sealed else { continue }
                let token: String
                do {
                    token = try await open(sealed, of: orphan, hint: hint)
                } catch {
                    // What does not open cannot be sent; the other token still can.
                    logger.error(
                        "a token that was to be revoked does not open", metadata: ["connection": "\(connection.id)", "error": "\(error)"])
                    outcome = .failed(.unreadable)
                    continue
                }
                switch try await revokeAtProvider(token, hint: hint, client: client, connection: connection) {
                case .revoked: break
                case .tryLater(let retryAfter): return await later(orphan, of: connection, retryAfter: retryAfter)
                case .unsupported where hint == .accessToken && orphan.refreshToken != nil: break
                case .unsupported: outcome = .unsupported
                case .failed(let status, _):
                    logger.warning("the provider refused to revoke a token", metadata: ["connection": "\(connection.id)", "status": "\(status)"])
                    outcome = .failed(.refused)
                }
            }
            return try await end(orphan, outcome, of: connection)
        } catch is TransportError {
            return await later(orphan, of: connection, retryAfter: nil)
        } catch {
            logger.warning("revocation at the provider failed", metadata: ["connection": "\(connection.id)", "error": "\(error)"])
            return await later(orphan, of: connection, retryAfter: nil)
        }
    }

    private func revokeAtProvider(
        _ token: String, hint: Revocation.TokenTypeHint, client: Client, connection: Connection
    ) async throws -> Revocation.Outcome {
        let clock = self.clock
        let started = ContinuousClock.now
        defer { meters.provider(connection: connection.id, operation: "revoke", took: ContinuousClock.now - started) }
        return try await OAuthClient(client, transport: transport, now: { clock.now().seconds }).revoke(token, hint: hint)
    }

    /// The tokens are dropped, whatever came of them; a failure is named in the activity log.
    private func end(_ orphan: OrphanToken, _ outcome: OrphanOutcome, of connection: Connection) async throws -> ProviderRevocation {
        // Read before: afterwards nothing leads there.
        var subject: String?
        if case .failed = outcome, let origin = orphan.origin { subject = try await store.grant(uid: origin.grantUID)?.subject }
        if try await store.endOrphan(orphan.uid, outcome: outcome), case .failed(let reason) = outcome {
            note("grant.revocation_failed", connection: connection, subject: subject, result: reason.code.rawValue, detail: reason.rawValue)
        }
        return ProviderRevocation(outcome)
    }

    /// A provider that could not answer for so long, and so often, is not asked any more.
    private static let revocationPatience = (time: Duration.seconds(86_400), tries: 5)

    /// When the provider says; else in one, two, four … minutes, at most an hour apart. What else it is to revoke waits a
    /// little, too: one outage is not tried with every token.
    private func later(_ orphan: OrphanToken, of connection: Connection, retryAfter: Int?) async -> ProviderRevocation {
        let now = clock.now()
        do {
            if now - orphan.createdAt >= Self.revocationPatience.time, orphan.tries + 1 >= Self.revocationPatience.tries {
                return try await end(orphan, .failed(.gaveUp), of: connection)
            }
            let asked = retryAfter.map { Duration.seconds(min(max($0, 1), 86_400)) }
            let wait = asked ?? .seconds(min(60 << min(orphan.tries, 6), 3600))
            try await store.updateOrphan(orphan.uid, nextTryAt: now + wait, tries: orphan.tries + 1)
            // Of several that fail at once the first moves them; there may be a hundred thousand.
            let rest = asked ?? .seconds(60)
            // Those that a node has taken are among them, if the wait is longer.
            let dueBefore = max(rest / 2, rest > OrphanToken.taken ? OrphanToken.taken : .zero)
            try await store.postponeOrphans(connection: connection.uid, dueBefore: now + dueBefore, until: now + rest)
        } catch {
            logFailure(.warning, "a revocation to repeat was not noted; its old time stands", error)
        }
        return .pending
    }

    // MARK: In the background

    /// Each second.
    func goOnRevoking() async {
        do {
            try await resumeRevocations()
        } catch {
            logFailure(.error, "revocations that were begun were not gone on with; it is tried again", error)
        }
        await revokeOrphans()
    }

    /// Asks the providers of all orphans that are due.
    func revokeOrphans() async {
        do {
            var ended = 0
            while true {
                let page = try await revokePage()
                ended += page.ended
                guard page.mayGoOn else { break }
            }
            try await store.endRevocations(at: clock.now())
            if ended > 0 { await forgetDropped() }
        } catch {
            logFailure(.warning, "orphan tokens were not read", error)
        }
    }

    /// What one node takes at once; others may take the rest.
    private static let orphanPage = 160
    /// Requests at once to one provider.
    private static let revocationsAtOnce = 8
    /// After so long the others have a turn.
    private static let revocationTurn = Duration.seconds(10)

    private struct Waiting: Sendable {
        let orphan: OrphanToken
        let connection: Connection
    }

    /// - Returns: how many have ended, and whether there may be more that it helps to ask about at once.
    private func revokePage() async throws -> (ended: Int, mayGoOn: Bool) {
        let due = try await store.orphans(due: clock.now(), limit: Self.orphanPage)
        var connections: [UID: Connection] = [:]
        var byProvider: [String: [Waiting]] = [:]
        for orphan in due {
            if connections[orphan.connectionUID] == nil { connections[orphan.connectionUID] = try await store.connection(uid: orphan.connectionUID) }
            // Gone meanwhile, and its orphans with it.
            guard let connection = connections[orphan.connectionUID] else { continue }
            byProvider[connection.settings.revocationProvider, default: []].append(Waiting(orphan: orphan, connection: connection))
        }
        let ended = await withTaskGroup(of: Int.self) { group in
            for waiting in byProvider.values { group.addTask { await self.revoke(waiting) } }
            return await group.reduce(0, +)
        }
        return (ended, ended > 0 && due.count == Self.orphanPage && !Task.isCancelled)
    }

    /// - Parameter waiting: all of one provider. A connection of which one has to wait is left alone.
    /// - Returns: how many have ended.
    private func revoke(_ waiting: [Waiting]) async -> Int {
        let begun = ContinuousClock.now
        return await withTaskGroup(of: (connection: UID, outcome: ProviderRevocation).self) { group in
            var rest = waiting[...]
            var resting: Set<UID> = []
            var (running, ended) = (0, 0)
            while true {
                if Task.isCancelled || ContinuousClock.now - begun >= Self.revocationTurn {
                    await giveBack(rest.filter { !resting.contains($0.connection.uid) }.map(\.orphan))
                    rest = []
                }
                while running < Self.revocationsAtOnce, let next = rest.popFirst() {
                    guard !resting.contains(next.connection.uid) else { continue }
                    group.addTask { (next.connection.uid, await self.revokeWithin(.seconds(30), next.orphan, of: next.connection)) }
                    running += 1
                }
                guard let (connection, outcome) = await group.next() else { return ended }
                running -= 1
                if outcome == .pending { resting.insert(connection) } else { ended += 1 }
            }
        }
    }

    /// What was not begun is for whoever comes first.
    private func giveBack(_ orphans: [OrphanToken]) async {
        guard !orphans.isEmpty else { return }
        do {
            try await store.giveBack(orphans: orphans, due: clock.now())
        } catch {
            logFailure(.warning, "orphan tokens were not given back; they are due a little later", error)
        }
    }

    /// Before a connection is removed: as many of its grants as go in the time.
    func revokeAllBestEffort(of connection: Connection, within limit: Duration) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                do {
                    var after: UID?
                    while !Task.isCancelled {
                        let page = try await self.store.grants(
                            filter: GrantFilter(connection: connection.uid, now: self.clock.now()), after: after, limit: 50)
                        for grant in page where grant.state != .revoked && !Task.isCancelled { _ = try await self.revoke(grant, of: connection) }
                        guard page.count == 50, let last = page.last else { return }
                        after = last.uid
                    }
                } catch {
                    self.logger.warning(
                        "grants of a removed connection were not all revoked", metadata: ["connection": "\(connection.id)", "error": "\(error)"])
                }
            }
            group.addTask {
                do { try await Task.sleep(for: limit) } catch { return }
            }
            _ = await group.next()
            group.cancelAll()
        }
    }
}

extension ConnectionSettings {
    /// Host and port of the revocation endpoint: what requests at once are counted for.
    fileprivate var revocationProvider: String {
        // One that cannot be used stands for itself: the request says what is wrong with it.
        (try? endpoint(oauth.revocationURL, "revocation_url")).flatMap { $0 }.map { "\($0.host):\($0.effectivePort)" } ?? oauth.revocationURL ?? ""
    }
}

extension RevocationFailure.Reason {
    /// The problem code that the activity log names it by.
    fileprivate var code: Problem.Code {
        switch self {
        case .refused: .providerError
        case .gaveUp: .providerUnreachable
        case .unreadable, .connectionRemoved: .internal
        }
    }
}

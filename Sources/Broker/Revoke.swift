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

    /// - Throws: a store error; then nothing has changed.
    private func revoke(_ first: Grant, of connection: Connection) async throws -> ProviderRevocation {
        var grant = first
        while true {
            let orphan = try orphan(
                access: try openAccessToken(of: grant), refresh: try openRefreshToken(of: grant), connection: connection)
            var tombstone = grant
            let now = clock.now()
            tombstone.tokenGeneration += 1
            tombstone.accessToken = nil
            tombstone.refreshToken = nil
            tombstone.state = .revoked
            tombstone.stateReason = nil
            tombstone.stateSince = now
            tombstone.expiresAt = nil
            tombstone.refreshExpiresAt = nil
            tombstone.nextRefreshAt = nil
            let key = TokenCache.Key(connectionID: connection.id, subject: grant.subject)
            tokenCache.remove(key)
            if let orphan { try await store.insert(orphan) }
            let written = try await store.put(tombstone, expectedGeneration: grant.tokenGeneration)
            tokenCache.remove(key)
            if written {
                guard let orphan else { return .unsupported }
                return await revokeWithin(.seconds(10), orphan, of: connection)
            }
            // A refresh was faster: its tokens are the ones to revoke.
            if let orphan { try await store.deleteOrphan(orphan.uid) }
            guard let newer = try await store.grant(uid: grant.uid) else { return .unsupported }
            if newer.state == .revoked { return .revoked }
            grant = newer
        }
    }

    /// Seals tokens that nobody may use, so that they can be revoked even after a restart; `nil` when there are none.
    private func orphan(access: AccessToken?, refresh: RefreshToken?, connection: Connection) throws -> OrphanToken? {
        guard access != nil || refresh != nil else { return nil }
        let now = clock.now()
        let uid = UID.make(at: now)
        func seal(_ text: String, _ field: String) throws -> Sealed {
            try keyring.seal(Array(text.utf8), at: .orphan(uid, field: field), scope: connection.uid)
        }
        return OrphanToken(
            uid: uid, connectionUID: connection.uid, accessToken: try access?.withExposed { try seal($0, "access_token") },
            refreshToken: try refresh?.withExposed { try seal($0, "refresh_token") }, createdAt: now, nextTryAt: now + .seconds(60))
    }

    /// Tokens of an answer that may not be used.
    func keepAsOrphan(_ response: TokenResponse, connection: Connection) async throws {
        guard let orphan = try orphan(access: response.accessToken, refresh: response.refreshToken, connection: connection) else { return }
        try await store.insert(orphan)
        _ = Task { [self] in await revokeWithin(.seconds(30), orphan, of: connection) }
    }

    /// Tokens that came too late for their grant.
    func keepAsOrphan(_ grant: Grant, connection: Connection) async throws {
        let late = try orphan(access: try openAccessToken(of: grant), refresh: try openRefreshToken(of: grant), connection: connection)
        guard let late else { return }
        try await store.insert(late)
        note("grant.orphaned", connection: connection, subject: grant.subject)
        _ = Task { [self] in await revokeWithin(.seconds(30), late, of: connection) }
    }

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
            let client = try client(of: connection)
            var outcome: ProviderRevocation = .unsupported
            if client.server.revocationEndpoint != nil {
                outcome = .revoked
                for (field, hint, sealed) in [
                    ("refresh_token", Revocation.TokenTypeHint.refreshToken, orphan.refreshToken),
                    ("access_token", .accessToken, orphan.accessToken),
                ] {
                    guard let sealed else { continue }
                    let token = String(decoding: try keyring.open(sealed, at: .orphan(orphan.uid, field: field)), as: UTF8.self)
                    switch try await revokeAtProvider(token, hint: hint, client: client, connection: connection) {
                    case .revoked: break
                    case .tryLater: return await later(orphan)
                    case .unsupported where field == "access_token" && orphan.refreshToken != nil: break
                    case .unsupported: outcome = .unsupported
                    case .failed: outcome = .failed
                    }
                }
            }
            try await store.deleteOrphan(orphan.uid)
            return outcome
        } catch is TransportError {
            return await later(orphan)
        } catch {
            logger.warning("revocation at the provider failed", metadata: ["connection": "\(connection.id)", "error": "\(error)"])
            return await later(orphan)
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

    static let revocationTries = 20

    /// Asks again in one, two, four … minutes, at most an hour apart; after ``revocationTries`` it is given up and noted.
    private func later(_ orphan: OrphanToken) async -> ProviderRevocation {
        do {
            if orphan.tries + 1 >= Self.revocationTries {
                try await store.deleteOrphan(orphan.uid)
                note("orphan.given_up", detail: orphan.uid.text)
                return .failed
            }
            let wait = Duration.seconds(min(60 << min(orphan.tries, 6), 3600))
            try await store.updateOrphan(orphan.uid, nextTryAt: clock.now() + wait, tries: orphan.tries + 1)
        } catch {
            logger.warning("a revocation to repeat was not noted; its old time stands", metadata: ["error": "\(error)"])
        }
        return .pending
    }

    func revokeOrphans() async {
        do {
            for orphan in try await store.orphans(due: clock.now(), limit: 50) {
                guard let connection = try await store.connection(uid: orphan.connectionUID) else {
                    try await store.deleteOrphan(orphan.uid)
                    continue
                }
                _ = await revokeWithin(.seconds(30), orphan, of: connection)
            }
        } catch {
            logger.warning("orphan tokens were not read", metadata: ["error": "\(error)"])
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

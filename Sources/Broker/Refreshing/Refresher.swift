import Logging
import Synchronization
import Vault

/// Keeps the grants of `keep_alive` connections fresh without anybody asking: they are due by an index, claimed in
/// batches, as fast as their token endpoint bears it, and no connection waits for another.
///
/// What is due, and what a claim holds, is in the store: a restart loses nothing, and a claim of a process that died ends
/// by itself. Nodes that share a store need no leader: each claims what no other has claimed, and takes turns at the token
/// endpoints that are for all of them together.
extension Broker {
    /// Renewals in the background at once.
    static let refresherCapacity = 64
    /// Of one connection in one pass.
    static let claimLimit = 100
    /// How long a claim holds. A renewal takes the time of one token request, and some waiting.
    static let claimLifetime: Duration = .seconds(120)

    /// One pass: begins what may begin now and returns without waiting for it.
    func refreshDue() async {
        do {
            let due = try await store.connectionsDue(now: clock.now())
            guard !due.isEmpty else { return }
            var free = Self.refresherCapacity - (await refreshing.count)
            // Another one comes first each time.
            let start = refresherTurn.withLock { turn in
                turn = (turn + 1) % due.count
                return turn
            }
            let share = max(free / due.count, 1)
            var hungry: [UID] = []
            for uid in due[start...] + due[..<start] where free > 0 {
                let limit = min(share, free)
                let begun = try await beginRenewals(of: uid, atMost: limit)
                free -= begun
                if begun == limit { hungry.append(uid) }
            }
            // What is left by those whose endpoints may not be asked now goes to the others.
            for uid in hungry where free > 0 { free -= try await beginRenewals(of: uid, atMost: free) }
        } catch {
            logFailure(.warning, "grants that are due were not read", error)
        }
    }

    /// - Returns: how many were begun.
    private func beginRenewals(of uid: UID, atMost limit: Int) async throws -> Int {
        guard let connection = try await store.connection(uid: uid) else { return 0 }
        let now = clock.now()
        let endpoint = connection.settings.tokenEndpointKey
        // Taken before the claim: of two nodes that see the same allowance each would use it.
        let turns = try await tokenEndpoints.takeTurns(endpoint, atMost: min(limit, Self.claimLimit), at: now)
        guard turns > 0 else { return 0 }
        let grants: [Grant]
        do {
            grants = try await store.claimDue(connection: uid, now: now, limit: turns, until: now + Self.claimLifetime)
        } catch {
            await tokenEndpoints.giveBack(turns, to: endpoint, at: now)
            throw error
        }
        if grants.count < turns { await tokenEndpoints.giveBack(turns - grants.count, to: endpoint, at: now) }
        for grant in grants { await refreshing.begin { [self] in await keepFresh(grant, of: connection) } }
        return grants.count
    }

    private func keepFresh(_ grant: Grant, of connection: Connection) async {
        let now = clock.now()
        let isDead = !Lifetime(of: grant).isAlive(at: now)
        let isLastChance = Lifetime.lastChance(of: grant).map { now >= $0 } ?? false
        do {
            _ = try await renewed(connection, key: grant.key, seen: grant.tokenGeneration, demanded: isDead || isLastChance, hasTurn: true)
        } catch {
            // What it means for the connection is said once, where its health changes; for the grant it is in the activity log.
            logger.debug("a renewal in the background failed", metadata: ["connection": "\(connection.id)", "code": "\(error.code.rawValue)"])
            await postpone(grant, after: error)
        }
    }

    /// A failure is not repeated at once; what marked the grant has taken it off the index already.
    private func postpone(_ grant: Grant, after problem: Problem) async {
        let wait = Double(min(max(problem.retryAfter ?? 60, 1), 3600))
        var until = clock.now() + .seconds(wait * Double.random(in: 1...1.25))
        do {
            // While its access token serves, a refresh token that may be spent is left alone, unless it dies before.
            let intent = try await store.intent(grant: grant.uid)
            if intent?.generation == grant.tokenGeneration {
                let next = [grant.expiresAt, Lifetime.lastChance(of: grant)].compactMap { $0 }.min()
                until = max(until, next ?? until)
            }
            try await store.postpone(grant: grant.uid, expectedGeneration: grant.tokenGeneration, until: until)
        } catch {
            // Its claim ends by itself.
            logFailure(.warning, "when a grant is due again was not noted", error)
        }
    }
}

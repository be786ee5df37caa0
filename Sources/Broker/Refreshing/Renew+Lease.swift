import OAuth
import Vault

/// One renewal of a grant at a time among all nodes that share the store.
extension Broker {
    /// Does `work` with the lease of a grant, and gives it back. While somebody else has it, the grant is looked at.
    /// - Parameters:
    ///   - settled: what the grant, as it is now, tells those who wait: the other's result, or why there is none. `nil` = wait on.
    ///   - work: is given no lease where the node is alone on its store.
    /// - Throws: when the lease is not to be had within the callers' patience; at once when the database does not answer.
    func underLease(
        _ key: GrantKey, settled: (Grant?) async throws -> Renewals.Result?, work: (RenewalLease?) async throws -> Renewals.Result
    ) async throws -> Renewals.Result {
        guard let shared else { return try await work(nil) }
        let times = configuration.lease
        let lease = RenewalLease(of: key, owner: leaseOwner, store: shared, times: times, logger: logger)
        let end = ContinuousClock.now + configuration.patience
        var wait = times.firstLook
        while try await !lease.take() {
            guard ContinuousClock.now < end else { throw Renewals.tooSlow }
            if wait == times.firstLook { meters.lease(result: "waited") }
            try await Task.sleep(for: wait * Double.random(in: 0.75...1.25))
            wait = min(wait * 1.5, times.longestLook)
            if let result = try await settled(try await store.grant(connection: key.connectionUID, subject: key.subject, slot: "")) { return result }
        }
        meters.lease(result: "taken")
        lease.keep()
        do {
            let result = try await work(lease)
            await lease.end()
            return result
        } catch {
            await lease.end()
            throw error
        }
    }

    /// Another node may have sent this refresh token and hold the answer, which it could not write: it is given time to do so
    /// before the token is sent again, which the provider would take for theft.
    /// - Returns: whether that was to be waited for.
    func waitedForHeldAnswer(of grant: Grant, connection: Connection) async throws -> Bool {
        guard connection.settings.profile.rotationGrace == nil, try await isInDoubt(grant) else { return false }
        let times = configuration.lease
        let end = ContinuousClock.now + times.settling
        while ContinuousClock.now < end {
            try await Task.sleep(for: min(times.longestLook, times.settling))
            guard try await store.grant(uid: grant.uid)?.tokenGeneration == grant.tokenGeneration else { break }
        }
        return true
    }

    /// Whether the refresh token of this generation was sent, and what became of it is not known.
    func isInDoubt(_ grant: Grant) async throws -> Bool {
        try await store.intent(grant: grant.uid)?.generation == grant.tokenGeneration
    }
}

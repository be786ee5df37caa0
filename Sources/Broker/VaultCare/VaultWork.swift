import OAuth
import Synchronization
import Vault

/// One rotation or verification at a time, in a task of its own: it goes on though whoever asked has gone.
final class VaultWork: Sendable {
    private struct State {
        var running: Task<Void, Never>?
        var isClosed = false
    }
    private let state = Mutex(State())

    /// - Parameter work: returns what is to be done once the next one may begin.
    /// - Returns: false when another one runs, or none may begin any more.
    func begin(_ work: @escaping @Sendable () async -> @Sendable () -> Void) -> Bool {
        state.withLock { state in
            guard state.running == nil, !state.isClosed else { return false }
            state.running = Task { [self] in
                let end = await work()
                self.state.withLock { $0.running = nil }
                end()
            }
            return true
        }
    }

    /// Has the running one stop where it can be gone on with, and waits for that. None begins afterwards.
    func close() async {
        let running = state.withLock { state in
            state.isClosed = true
            return state.running
        }
        running?.cancel()
        await running?.value
    }
}

extension Broker {
    /// - Parameter work: reports what it does; its result is the last event.
    func beginVaultWork<Event: Sendable>(
        _ work: @escaping @Sendable (_ report: @escaping @Sendable (Event) -> Void) async -> Event
    ) throws(Problem) -> AsyncStream<Event> {
        // Whoever reads slowly misses some of what went on, never the end of it.
        let (events, continuation) = AsyncStream<Event>.makeStream(bufferingPolicy: .bufferingNewest(64))
        let isBegun = vaultWork.begin {
            let last = await work { continuation.yield($0) }
            return {
                continuation.yield(last)
                continuation.finish()
            }
        }
        guard isBegun else { throw Self.vaultIsBusy }
        return events
    }

    /// - Throws: `conflict` while another node is at it.
    func aloneInVault<R: Sendable>(_ work: () async throws -> R) async throws -> R {
        let result = try await asSoleNode("vault") {
            // Another node may just have ended a rotation.
            if shared != nil { try await keyring.reload() }
            return try await work()
        }
        guard let result else { throw Self.vaultIsBusy }
        return result
    }

    private static let vaultIsBusy = Problem(
        .conflict, "a rotation or verification of the vault is under way", fix: "wait until it has ended, and ask again")

    /// What ended a rotation or verification, as a problem.
    func vaultProblem(_ error: any Error) async -> Problem {
        // A read that was under way then says so in its own words.
        if error is CancellationError || Task.isCancelled {
            return Problem(.unavailable, "the server is shutting down; what was begun is gone on with when you ask again", retryAfter: 1)
        }
        do {
            return try await asProblem { () async throws -> Problem in throw error }
        } catch {
            return error
        }
    }
}

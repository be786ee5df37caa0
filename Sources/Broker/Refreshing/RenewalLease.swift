import Logging
import Synchronization
import Vault

/// How long the right to renew a grant holds, and how others wait for it.
package struct LeaseTimes: Sendable {
    /// Without being renewed: so long a node that died holds up the others.
    package var lifetime: Duration = .seconds(5)
    package var renewal: Duration = .milliseconds(1500)
    /// For how long it is renewed. A provider that takes longer is waited for without it.
    package var longest: Duration = .seconds(30)
    /// Whoever waits looks again after this, then after ever longer, up to ``longestLook``.
    package var firstLook: Duration = .milliseconds(50)
    package var longestLook: Duration = .milliseconds(500)
    /// Before a refresh token is sent again whose last outcome is not known: another node may have the answer, and write it as
    /// soon as it reaches the database again. With ``lifetime`` it is longer than a write takes that hangs on a dead connection (10
    /// seconds) and is done anew.
    package var settling: Duration = .seconds(8)
    /// Goes on while the process is stopped.
    package var now: @Sendable () -> ContinuousClock.Instant = { .now }

    package init() {}
}

/// The right to renew one grant, which one node has at a time.
///
/// The database's clock decides. This side counts from before it asked, on a clock that goes on while the process is stopped, so
/// that whoever wakes up too late knows it. A lease that ended once is not taken up again: somebody else may have had it between.
final class RenewalLease: Sendable {
    private enum State {
        case none
        case held(until: ContinuousClock.Instant)
        case lost
    }
    private let name: String
    private let owner: String
    private let store: any SharedStore
    private let times: LeaseTimes
    private let logger: Logger
    private let state = Mutex(State.none)
    private let keeper = Mutex<Task<Void, Never>?>(nil)

    init(of key: GrantKey, owner: String, store: any SharedStore, times: LeaseTimes, logger: Logger) {
        name = "renew/\(key.connectionUID)/\(key.subject)"
        self.owner = owner
        self.store = store
        self.times = times
        self.logger = logger
    }

    /// As the store checks it in the transaction that depends on it.
    var claim: LeaseClaim { LeaseClaim(name: name, owner: owner, lifetime: times.lifetime) }

    var isHeld: Bool {
        state.withLock { state in
            guard case .held(let until) = state else { return false }
            if times.now() >= until { state = .lost }
            return times.now() < until
        }
    }

    /// - Returns: false while somebody else has it.
    func take() async throws -> Bool {
        let begun = times.now()
        guard try await store.takeLease(name, owner: owner, lifetime: times.lifetime) else { return false }
        state.withLock { $0 = .held(until: begun + times.lifetime) }
        return true
    }

    /// - Parameter begun: when the store was asked that has extended it now.
    func extended(since begun: ContinuousClock.Instant) {
        state.withLock { state in
            // What the store did after the end was no extension.
            guard case .held(let until) = state, times.now() < until else {
                state = .lost
                return
            }
            state = .held(until: begun + times.lifetime)
        }
    }

    /// Renews it in the background until ``end()``, or for as long as it may last.
    func keep() {
        let last = times.now() + times.longest
        keeper.withLock { $0 = Task { [self] in await renew(until: last) } }
    }

    private func renew(until last: ContinuousClock.Instant) async {
        while true {
            // Cancelled by the end.
            do { try await Task.sleep(for: times.renewal) } catch { return }
            let begun = times.now()
            guard begun < last, isHeld else { return }
            do {
                guard try await store.takeLease(name, owner: owner, lifetime: times.lifetime) else { return state.withLock { $0 = .lost } }
                extended(since: begun)
            } catch {
                logger.warning("the lease of a renewal was not extended; it is tried again", metadata: ["error": "\(error)"])
            }
        }
    }

    /// Gives it back. Nothing that was begun here extends it afterwards.
    func end() async {
        let task = keeper.withLock { keeper in
            defer { keeper = nil }
            return keeper
        }
        task?.cancel()
        await task?.value
        do {
            try await store.endLease(name, owner: owner)
        } catch {
            logger.warning("the lease of a renewal was not given back; it ends by itself", metadata: ["error": "\(error)"])
        }
    }
}

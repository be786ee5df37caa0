import Foundation
import Synchronization

/// A store that a copy holds, so that no server works on it meanwhile.
final class Held: Sendable {
    let store: any CopyableStore
    private let name: String
    private let owner = UUID().uuidString
    private struct State {
        var stamp: String?
        var heldAt = ContinuousClock.now
    }
    private let state = Mutex(State())

    /// - Parameter name: what it is called in an error.
    init(_ store: any CopyableStore, _ name: String) {
        self.store = store
        self.name = name
    }

    /// - Parameter patience: how long another copy's hold is waited for: one that died leaves its hold for some seconds.
    func take(patience: Duration) async throws {
        let end = ContinuousClock.now + patience
        while true {
            do {
                return try await hold()
            } catch let error as CopyError where error.isPassing && ContinuousClock.now < end {
                try await Task.sleep(for: .milliseconds(250))
            }
        }
    }

    /// Renews the hold when it is older than `age`.
    func keep(_ age: Duration) async throws {
        if state.withLock({ ContinuousClock.now - $0.heldAt >= age }) { try await hold() }
    }

    /// That nobody else has written since it was taken, nor does now.
    func requireUntouched() async throws { try await hold() }

    func letGo() async throws {
        guard state.withLock({ $0.stamp != nil }) else { return }
        try await store.letGo(owner)
    }

    private func hold() async throws {
        let begun = ContinuousClock.now
        let stamp: String
        do {
            stamp = try await store.hold(for: owner)
        } catch let error as CopyError {
            throw CopyError("\(name) \(error.message)", hint: error.hint, isPassing: error.isPassing)
        }
        let isSame = state.withLock { state in
            defer { (state.stamp, state.heldAt) = (state.stamp ?? stamp, begun) }
            return state.stamp == nil || state.stamp == stamp
        }
        guard isSame else {
            throw CopyError("\(name) was written to by another program meanwhile", hint: "stop the server that runs on it; then copy again")
        }
    }
}

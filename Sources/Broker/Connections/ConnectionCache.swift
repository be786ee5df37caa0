import Synchronization
import Vault

/// Connections by id, in memory and compiled. Whoever changes one removes it before and after the write.
final class ConnectionCache: Sendable {
    private struct State {
        var byID: [String: Destination] = [:]
        var epoch: UInt64 = 0
    }
    /// More connections than this at once start the cache anew; a deployment has hundreds.
    private static let capacity = 10_000
    private let state = Mutex(State())

    func destination(_ id: String) -> Destination? { state.withLock { $0.byID[id] } }

    var epoch: UInt64 { state.withLock { $0.epoch } }

    /// - Parameter epoch: taken before the store was read; a removal since then voids it.
    func insert(_ destination: Destination, epoch: UInt64) {
        state.withLock { state in
            guard state.epoch == epoch else { return }
            if state.byID.count >= Self.capacity { state.byID = [:] }
            state.byID[destination.connection.id] = destination
        }
    }
    func remove(_ id: String) {
        state.withLock { state in
            state.epoch &+= 1
            state.byID[id] = nil
        }
    }
}

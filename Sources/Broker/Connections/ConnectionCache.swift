import Synchronization
import Vault

/// Connections by id, in memory. Whoever changes one removes it before and after the write.
final class ConnectionCache: Sendable {
    private struct State {
        var byID: [String: Connection] = [:]
        var epoch: UInt64 = 0
    }
    /// More connections than this at once start the cache anew; a deployment has hundreds.
    private static let capacity = 10_000
    private let state = Mutex(State())

    func find(_ id: String) -> Connection? { state.withLock { $0.byID[id] } }

    var epoch: UInt64 { state.withLock { $0.epoch } }

    /// - Parameter epoch: taken before the store was read; a removal since then voids it.
    func insert(_ connection: Connection, epoch: UInt64) {
        state.withLock { state in
            guard state.epoch == epoch else { return }
            if state.byID.count >= Self.capacity { state.byID = [:] }
            state.byID[connection.id] = connection
        }
    }
    func remove(_ id: String) {
        state.withLock { state in
            state.epoch &+= 1
            state.byID[id] = nil
        }
    }
}

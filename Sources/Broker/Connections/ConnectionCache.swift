import Synchronization
import Vault

/// Connections by id, in memory and compiled. Whoever changes one removes it before and after the write.
final class ConnectionCache: Sendable {
    private struct State {
        var byID: [String: Destination] = [:]
        /// Of all that were ever read: an id stays its connection's for good.
        var idByUID: [UID: String] = [:]
        var epoch: UInt64 = 0
    }
    /// More connections than this at once start the cache anew; a deployment has hundreds.
    private static let capacity = 10_000
    private let state = Mutex(State())
    private let age: MemoryAge

    init(age: MemoryAge) { self.age = age }

    func destination(_ id: String) -> Destination? { state.withLock { $0.byID[id] } }

    var epoch: UInt64 { state.withLock { $0.epoch } }

    /// - Parameter epoch: taken before the store was read; a removal since then voids it.
    func insert(_ destination: Destination, epoch: UInt64) {
        state.withLock { state in
            guard state.epoch == epoch else { return }
            age.grow()
            if state.byID.count >= Self.capacity { state.byID = [:] }
            state.byID[destination.connection.id] = destination
        }
    }
    /// `nil` = it was never read here. To be noted before the first of its tokens may come into memory.
    func id(of uid: UID) -> String? { state.withLock { $0.idByUID[uid] } }
    func note(_ connection: Connection) { state.withLock { $0.idByUID[connection.uid] = connection.id } }

    /// What was read before this is not inserted.
    func refuseReads() { state.withLock { $0.epoch &+= 1 } }

    func removeAll() {
        state.withLock { state in
            age.grow()
            state.epoch &+= 1
            state.byID = [:]
        }
    }

    func remove(_ id: String) {
        state.withLock { state in
            age.grow()
            state.epoch &+= 1
            state.byID[id] = nil
        }
    }
}

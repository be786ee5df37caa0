import Synchronization
import Vault

@testable import SQLiteStore

/// A store that several brokers of one process have in common: records in SQLite; leases and token endpoints in memory, by clocks
/// that the test moves.
final class LeasingStore: SharedStore {
    let base: SQLiteStore
    private let time: TestClock
    private let steady: SteadyClock

    private struct State {
        var leases: [String: (owner: String, endsAt: ContinuousClock.Instant)] = [:]
        var endpoints: [String: String] = [:]
        var endpointChanges = 0
        var endpointDelay: Duration?
        var isAway = false
        var nodes: [String: (version: String, masterKeyIDs: [String])] = [:]
        /// What is told of changes; `nil` = everything may have changed, each time.
        var log: [Changes.Item]?
        var polls = 0
        var beforeIntent: (@Sendable () async throws -> Void)?
        var afterIntent: (@Sendable () async throws -> Void)?
    }
    private let state = Mutex(State())

    init(_ base: SQLiteStore, time: TestClock, steady: SteadyClock) {
        self.base = base
        self.time = time
        self.steady = steady
    }

    // MARK: What a test does

    /// Leases and token endpoints cannot be had.
    func set(isAway: Bool) { state.withLock { $0.isAway = isAway } }
    func set(endpointDelay: Duration) { state.withLock { $0.endpointDelay = endpointDelay } }
    /// Once.
    func onNextIntent(before: (@Sendable () async throws -> Void)? = nil, after: (@Sendable () async throws -> Void)? = nil) {
        state.withLock { ($0.beforeIntent, $0.afterIntent) = (before, after) }
    }
    /// From now on only what the test notes has changed.
    func beginLog() { state.withLock { $0.log = [] } }
    func endLog() { state.withLock { $0.log = nil } }
    func note(_ item: Changes.Item) { state.withLock { $0.log?.append(item) } }
    var polls: Int { state.withLock { $0.polls } }
    var endpointChanges: Int { state.withLock { $0.endpointChanges } }
    /// How long the only lease there is lasts from now on.
    var leaseLeft: Duration? { state.withLock { state in state.leases.values.first.map { $0.endsAt - steady.now } } }

    private func requireThere() throws { if state.withLock({ $0.isAway }) { throw StoreError.unavailable("away") } }

    // MARK: Leases

    func takeLease(_ name: String, owner: String, lifetime: Duration) async throws -> Bool {
        try requireThere()
        return state.withLock { state in
            if let lease = state.leases[name], lease.owner != owner, lease.endsAt >= steady.now { return false }
            state.leases[name] = (owner, steady.now + lifetime)
            return true
        }
    }

    func endLease(_ name: String, owner: String) async throws {
        try requireThere()
        state.withLock { if $0.leases[name]?.owner == owner { $0.leases[name] = nil } }
    }

    func beginRefresh(grant: UID, generation: Int, at: Timestamp, lease: LeaseClaim?) async throws -> Int? {
        try requireThere()
        let (before, after) = state.withLock { state in
            defer { (state.beforeIntent, state.afterIntent) = (nil, nil) }
            return (state.beforeIntent, state.afterIntent)
        }
        try await before?()
        if let lease {
            let isHeld = state.withLock { state in
                guard let held = state.leases[lease.name], held.owner == lease.owner, held.endsAt >= steady.now else { return false }
                state.leases[lease.name] = (lease.owner, steady.now + lease.lifetime)
                return true
            }
            guard isHeld else { return nil }
        }
        let attempts = try await base.beginRefresh(grant: grant, generation: generation, at: at, lease: nil)
        try await after?()
        return attempts
    }

    // MARK: Token endpoints

    func changeEndpoint<R: Sendable>(
        _ key: String, _ change: @escaping @Sendable (_ state: String?, _ now: Timestamp) throws -> (state: String, result: R)
    ) async throws -> R {
        try requireThere()
        if let delay = state.withLock({ $0.endpointDelay }) { try await Task.sleep(for: delay) }
        return try state.withLock { state in
            let changed = try change(state.endpoints[key], time.wall.now())
            state.endpoints[key] = changed.state
            state.endpointChanges += 1
            return changed.result
        }
    }

    // MARK: What has changed, and nodes

    func changes(since mark: ChangeMark?) async throws -> Changes {
        try requireThere()
        return state.withLock { state in
            state.polls += 1
            guard let log = state.log, let from = mark.flatMap({ Int($0.text) }) else {
                return Changes(items: [], isBroken: true, mark: ChangeMark(text: state.log.map { String($0.count) } ?? ""))
            }
            return Changes(items: Set(log[from...]), isBroken: false, mark: ChangeMark(text: String(log.count)))
        }
    }
    func forgetChanges() async throws {}
    func claimNode(_ name: String, version: String, masterKeyIDs: [String]) async throws -> Bool {
        state.withLock { state in
            guard state.nodes[name] == nil else { return false }
            state.nodes[name] = (version, masterKeyIDs)
            return true
        }
    }
    func noteNode(_ name: String, version: String, masterKeyIDs: [String]) async throws {
        state.withLock { $0.nodes[name] = (version, masterKeyIDs) }
    }
    func removeNode(_ name: String) async throws { state.withLock { $0.nodes[name] = nil } }
    func nodesAtWork() async throws -> [NodeRecord] {
        let now = time.wall.now()
        return state.withLock { state in
            state.nodes.sorted { $0.key < $1.key }.map { name, node in
                NodeRecord(name: name, version: node.version, masterKeyIDs: node.masterKeyIDs, startedAt: now, seenAt: now)
            }
        }
    }
    func takeLostNodes() async throws -> [NodeRecord] { [] }
}

/// A clock of waiting that stands until it is moved.
final class SteadyClock: Sendable {
    private let instant = Mutex(ContinuousClock.now)
    var now: ContinuousClock.Instant { instant.withLock { $0 } }
    func advance(_ duration: Duration) { instant.withLock { $0 += duration } }
}

import Logging
import Synchronization
import Vault

/// Whether what this node has in memory is as the database is. Alone on its store it always is. Among many, what others changed
/// is read twice a second, and nothing is served from memory that was not confirmed within the last second: a revocation, a
/// removed key or a changed connection is effective everywhere by then, also on a node that is cut off.
actor Coherence {
    /// How old a confirmation may be.
    static let limit: Duration = .seconds(1)
    static let interval: Duration = .milliseconds(500)
    /// Changes are kept for longer than this; whoever has read none for so long knows nothing.
    private static let memory: Duration = .seconds(300)

    nonisolated let store: (any SharedStore)?
    /// Asked with each request, without a look at what the store is.
    private nonisolated let isAlone: Bool
    private nonisolated let origin = ContinuousClock.now
    /// Nanoseconds since ``origin``, at which the last poll that succeeded was begun.
    private nonisolated let confirmedAt = Atomic<Int64>(.min)
    private var mark: (ChangeMark, at: ContinuousClock.Instant)?
    private var running: Task<Void, any Error>?

    init(_ store: (any SharedStore)?) {
        self.store = store
        isAlone = store == nil
    }

    /// The hot path: a look at the clock, which goes on while the process is stopped.
    nonisolated var isFresh: Bool { isAlone || age < Self.limit }

    /// Since the last confirmation.
    nonisolated var age: Duration { ContinuousClock.now - confirmed }

    /// Memory is as the database was at this moment, or later.
    nonisolated var confirmed: ContinuousClock.Instant {
        let at = confirmedAt.load(ordering: .acquiring)
        return at == .min ? origin - .seconds(86_400) : origin + .nanoseconds(at)
    }

    /// Reads what has changed and has it applied before anything is confirmed. Whoever comes while it is read waits for the
    /// same answer.
    func poll(apply: @escaping @Sendable (Changes) async throws -> Void) async throws {
        guard let store else { return }
        if let running { return try await running.value }
        let known = mark.flatMap { ContinuousClock.now - $0.at < Self.memory ? $0.0 : nil }
        let task = Task {
            let begun = ContinuousClock.now
            let changes = try await store.changes(since: known)
            try await apply(changes)
            mark = (changes.mark, begun)
            let (seconds, attoseconds) = (begun - origin).components
            confirmedAt.store(seconds * 1_000_000_000 + attoseconds / 1_000_000_000, ordering: .releasing)
        }
        running = task
        defer { running = nil }
        try await task.value
    }
}

extension Broker {
    /// Whether what is in memory may be served.
    package var isCoherent: Bool { coherence.isFresh }

    /// Whether other nodes have the same store.
    package var isAmongNodes: Bool { shared != nil }

    /// Since memory was last known to be as the database is; `nil` for a node that has its store to itself.
    package var changesAge: Duration? { shared == nil ? nil : coherence.age }

    /// Before anything is served from memory: asks the database where the last answer is too old.
    /// - Throws: `unavailable` when it does not answer.
    package func catchUp() async throws(Problem) {
        // What was read since the caller came is new enough for it, however long the reading took.
        let asked = ContinuousClock.now
        while !coherence.isFresh, coherence.confirmed < asked { try await readChanges() }
    }

    private func readChanges() async throws(Problem) {
        try await asProblem { try await coherence.poll { [self] in try await apply($0) } }
    }

    /// Whom `find` finds among the keys in memory; before it is nobody, the database is asked whether another node has just made
    /// the key.
    package func lookUp(_ find: () -> Caller?) async throws(Problem) -> Caller? {
        if let caller = find() { return caller }
        guard shared != nil else { return nil }
        let asked = ContinuousClock.now
        while coherence.confirmed < asked { try await readChanges() }
        return find()
    }

    /// Twice a second, for as long as the node is at work.
    func followChanges() async {
        do {
            try await coherence.poll { [self] in try await apply($0) }
            noteEndOfOutage()
            if noMasterKeyIsMissing() { logger.notice("everything in the vault opens again") }
        } catch KeyringError.wrongMasterKey(let id, _) {
            noteMissingMasterKey(id)
        } catch {
            noteOutage(error)
        }
    }

    private func apply(_ changes: Changes) async throws {
        if changes.isBroken || changes.items.contains(.keys) { callers.replaceAll(try await store.keys()) }
        if changes.isBroken || changes.items.contains(.dataKeys) { try await keyring.reload() }
        guard !changes.isBroken else {
            connectionCache.removeAll()
            tokenCache.removeAll()
            return
        }
        for item in changes.items {
            switch item {
            // Of a connection that was never read here nothing is in memory.
            case .grant(let uid, let subject):
                if let id = connectionCache.id(of: uid) { tokenCache.remove(.init(connectionID: id, subject: subject)) }
            case .connection(let uid):
                guard let id = connectionCache.id(of: uid) else {
                    // It may just have been read as it was before.
                    connectionCache.refuseReads()
                    continue
                }
                connectionCache.remove(id)
                tokenCache.removeAll(connectionID: id)
            case .keys, .dataKeys: break
            }
        }
    }
}

import Synchronization
import Vault

/// One renewal per grant at a time in this process; everybody who asks meanwhile gets its result. SEC-57.
actor Renewals {
    /// A stored grant whose token was opened.
    struct Result: Sendable {
        let grant: Grant
        let token: IssuedToken
    }

    private struct Running {
        let begun = ContinuousClock.now
        var waiters: [Int: CheckedContinuation<Result, any Error>] = [:]
    }

    private var inFlight: [GrantKey: Running] = [:]
    private var lastWaiter = 0
    private var endings: [CheckedContinuation<Void, Never>] = []
    /// After the last wait: what began now would be cut off.
    private var isClosed = false

    /// - Parameters:
    ///   - patience: how long this caller waits; the renewal goes on without it.
    ///   - renew: runs in a task of its own: a rotated refresh token must be saved even if whoever asked has gone.
    func join(_ key: GrantKey, patience: Duration, renew: @escaping @Sendable () async throws -> Result) async throws -> Result {
        if inFlight[key] == nil {
            guard !isClosed else { throw Problem(.unavailable, "the server is shutting down", retryAfter: 1) }
            inFlight[key] = Running()
            Task {
                do {
                    ended(key, .success(try await renew()))
                } catch {
                    ended(key, .failure(error))
                }
            }
        }
        lastWaiter += 1
        let id = lastWaiter
        let timer = Task {
            // Cancelled when the renewal ended first.
            do { try await Task.sleep(for: patience) } catch { return }
            giveUp(id, key)
        }
        defer { timer.cancel() }
        return try await withCheckedThrowingContinuation { inFlight[key]?.waiters[id] = $0 }
    }

    private func ended(_ key: GrantKey, _ outcome: Swift.Result<Result, any Error>) {
        for waiter in (inFlight.removeValue(forKey: key)?.waiters ?? [:]).values { waiter.resume(with: outcome) }
        if inFlight.isEmpty {
            for ending in endings { ending.resume() }
            endings = []
        }
    }

    private func giveUp(_ id: Int, _ key: GrantKey) {
        guard let waiter = inFlight[key]?.waiters.removeValue(forKey: id) else { return }
        waiter.resume(throwing: Self.tooSlow)
    }

    static let tooSlow = Problem(
        .providerUnreachable, "the token endpoint did not answer in time; an answer that comes later is kept", fix: "try again", retryAfter: 5)

    /// Waits for all of them, each as long as a token request may take; none begins afterwards.
    func close(patience: Duration) async {
        // One that takes too long does not cut off the others: the last that was begun says how long it is.
        while let youngest = inFlight.values.map(\.begun).max() {
            let rest = patience - (ContinuousClock.now - youngest)
            guard rest > .zero else { break }
            let timer = Task {
                do { try await Task.sleep(for: rest) } catch { return }
                wake()
            }
            await withCheckedContinuation { endings.append($0) }
            timer.cancel()
        }
        isClosed = true
    }

    private func wake() {
        for ending in endings { ending.resume() }
        endings = []
    }
}

/// Tokens that were received and could not be written: held and retried, never dropped.
final class UnwrittenTokens: Sendable {
    struct Entry: Sendable {
        let grant: Grant
        let expectedGeneration: Int?
        let connection: Connection
        let events: [WebhookEvent]
        /// Given by ``hold(_:for:)``.
        var id = 0
    }
    private struct State {
        /// Of one grant, in the order in which they are written: a person's consent and a renewal may come while neither can be.
        var entries: [GrantKey: [Entry]] = [:]
        var lastID = 0
    }
    private let state = Mutex(State())

    var isEmpty: Bool { state.withLock { $0.entries.isEmpty } }

    /// A person's consent is written before a renewal: of two of one generation the first wins.
    func hold(_ entry: Entry, for key: GrantKey) {
        state.withLock { state in
            state.lastID += 1
            var entry = entry
            entry.id = state.lastID
            let isConsent = entry.events.contains { $0.kind == .grantCreated }
            var held = state.entries[key] ?? []
            held.insert(entry, at: isConsent ? 0 : held.count)
            state.entries[key] = held
        }
    }
    func find(_ key: GrantKey) -> Entry? { state.withLock { $0.entries[key]?.first } }

    func remove(_ key: GrantKey, id: Int) {
        state.withLock { state in
            state.entries[key]?.removeAll { $0.id == id }
            if state.entries[key]?.isEmpty == true { state.entries[key] = nil }
        }
    }
    var all: [(GrantKey, Entry)] { state.withLock { state in state.entries.flatMap { key, entries in entries.map { (key, $0) } } } }
}

/// When a grant's provider may be asked again after it failed. Honours `Retry-After`; else the first retry is free and
/// the waits double from a second to a minute, with jitter.
final class BackOff: Sendable {
    private struct Entry {
        var failures = 0
        var notBefore: Timestamp
        var problem: Problem
    }
    private let entries = Mutex<[GrantKey: Entry]>([:])

    /// The last problem, with how long to wait; `nil` = ask.
    func problem(_ key: GrantKey, now: Timestamp) -> Problem? {
        entries.withLock { entries in
            // Further away than any wait: the clock was set back.
            guard let entry = entries[key], now < entry.notBefore, entry.notBefore <= now + .seconds(3600) else { return nil }
            var problem = entry.problem
            problem.retryAfter = Int((entry.notBefore.milliseconds - now.milliseconds + 999) / 1000)
            return problem
        }
    }

    func failed(_ key: GrantKey, problem: Problem, retryAfter: Int?, now: Timestamp) {
        entries.withLock { entries in
            var entry = entries[key] ?? Entry(notBefore: now, problem: problem)
            entry.failures += 1
            entry.problem = problem
            if let retryAfter {
                entry.notBefore = now + .seconds(min(retryAfter, 3600))
            } else if entry.failures > 1 {
                let base = Double(min(1 << min(entry.failures - 2, 6), 60))
                entry.notBefore = now + .seconds(base * Double.random(in: 0.75...1.25))
            }
            entries[key] = entry
        }
    }

    func succeeded(_ key: GrantKey) { entries.withLock { $0[key] = nil } }

    /// The clock was set: no wait gets longer for it.
    func clockWasSet(by jump: Duration) {
        entries.withLock { entries in entries = entries.mapValues { Entry(failures: $0.failures, notBefore: $0.notBefore + jump, problem: $0.problem) } }
    }

    /// Drops those that nobody asked for in the hour behind their wait: of grants that are gone, or that wait for a person.
    func forgetOld(now: Timestamp) { entries.withLock { entries in entries = entries.filter { now < $0.value.notBefore + .seconds(3600) } } }

    var count: Int { entries.withLock { $0.count } }
}

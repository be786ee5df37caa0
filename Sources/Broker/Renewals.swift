import Synchronization
import Vault

/// One renewal per grant at a time in this process; everybody who asks meanwhile gets its result. SEC-57.
actor Renewals {
    /// A stored grant whose token was opened.
    struct Result: Sendable {
        let grant: Grant
        let token: IssuedToken
    }

    private var inFlight: [GrantKey: Task<Result, any Error>] = [:]
    /// After the last wait: what began now would be cut off.
    private var isClosed = false

    /// - Parameter renew: runs in a task of its own: a rotated refresh token must be saved even if whoever asked has gone.
    func join(_ key: GrantKey, renew: @escaping @Sendable () async throws -> Result) async throws -> Result {
        if let running = inFlight[key] { return try await running.value }
        guard !isClosed else { throw Problem(.unavailable, "the server is shutting down", retryAfter: 1) }
        let task = Task { try await renew() }
        inFlight[key] = task
        defer { inFlight[key] = nil }
        return try await task.value
    }

    /// Waits for all of them; none begins afterwards.
    func close() async {
        while let task = inFlight.values.first {
            // Its result belongs to its callers; here only its end matters.
            _ = await task.result
            await Task.yield()
        }
        isClosed = true
    }
}

/// Tokens that were received and could not be written: held and retried, never dropped.
final class UnwrittenTokens: Sendable {
    struct Entry: Sendable {
        let grant: Grant
        let expectedGeneration: Int?
        let connection: Connection
    }
    private let entries = Mutex<[GrantKey: Entry]>([:])

    var isEmpty: Bool { entries.withLock { $0.isEmpty } }
    func hold(_ entry: Entry, for key: GrantKey) { entries.withLock { $0[key] = entry } }
    func find(_ key: GrantKey) -> Entry? { entries.withLock { $0[key] } }
    /// Unless a newer one is held by now.
    func remove(_ key: GrantKey, generation: Int) {
        entries.withLock { entries in
            if entries[key]?.grant.tokenGeneration == generation { entries[key] = nil }
        }
    }
    var all: [(GrantKey, Entry)] { entries.withLock { $0.map { ($0.key, $0.value) } } }
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
            guard let entry = entries[key], now < entry.notBefore else { return nil }
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
}

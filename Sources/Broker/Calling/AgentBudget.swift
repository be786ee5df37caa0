import Logging
import Synchronization
import Vault

/// What an agent key may do to APIs in a minute, retries included. What it may send here is its `requests_per_minute`. SEC-133.
package final class AgentBudget: Sendable {
    static let window: Duration = .seconds(60)
    /// Of a key that sets none.
    static let requests = 600
    static let bytes = 64 << 20
    static let subjects = 50
    static let paths = 1_000
    /// Keys at a time.
    static let keyCapacity = 10_000

    struct Refusal: Error, Sendable {
        let problem: Problem
        /// What the operator is to be told, with the first of a key's window.
        let news: String?
    }

    private enum Limit {
        case requests(Int)
        case bytes, subjects, paths

        var name: String {
            switch self {
            case .requests(let limit): "\(limit) requests to APIs"
            case .bytes: "\(AgentBudget.bytes >> 20) MiB of bodies and answers"
            case .subjects: "\(AgentBudget.subjects) different subjects"
            case .paths: "\(AgentBudget.paths) different paths"
            }
        }

        var remedy: String {
            switch self {
            case .requests: "an administrator can make a key with a higher requests_per_minute"
            case .bytes: "ask for smaller pages, or for fewer fields"
            case .subjects: "work for fewer subjects at a time"
            case .paths: "ask for lists rather than for each item"
            }
        }
    }

    private struct Window {
        let began: ContinuousClock.Instant
        private var requests = 0
        private var bytes = 0
        /// By their hashes: where two fall together, the limit is one less strict.
        private var subjects: Set<Int> = []
        private var paths: Set<Int> = []
        private var wasRefused = false

        init(began: ContinuousClock.Instant) { self.began = began }

        func isOver(at now: ContinuousClock.Instant) -> Bool { now - began >= AgentBudget.window }

        mutating func admit(requests limit: Int, subject: Int, path: Int, now: ContinuousClock.Instant) -> Refusal? {
            guard let reached = reached(requests: limit, subject: subject, path: path) else {
                requests += 1
                subjects.insert(subject)
                paths.insert(path)
                return nil
            }
            defer { wasRefused = true }
            return refusal(reached, now: now)
        }

        private func reached(requests limit: Int, subject: Int, path: Int) -> Limit? {
            if requests >= limit { return .requests(limit) }
            if bytes >= AgentBudget.bytes { return .bytes }
            if subjects.count >= AgentBudget.subjects, !subjects.contains(subject) { return .subjects }
            if paths.count >= AgentBudget.paths, !paths.contains(path) { return .paths }
            return nil
        }

        private func refusal(_ limit: Limit, now: ContinuousClock.Instant) -> Refusal {
            let rest = (AgentBudget.window - (now - began)).components
            let wait = Int(rest.seconds) + (rest.attoseconds > 0 ? 1 : 0)
            let problem = Problem(
                .rateLimited, "this key's role is agent, and it has used what that allows in a minute: \(limit.name)",
                fix: "wait \(wait) s, or \(limit.remedy)", retryAfter: wait)
            return Refusal(problem: problem, news: wasRefused ? nil : limit.name)
        }

        /// - Returns: whether more may follow.
        mutating func add(bytes count: Int) -> Bool {
            bytes += count
            return bytes < AgentBudget.bytes
        }
    }

    private struct State {
        private var windows: [String: Window] = [:]
        /// No window began before it.
        private var oldest: ContinuousClock.Instant?

        /// Changes the window of a key, or a new one. - Returns: `nil` when there are too many keys.
        mutating func update<R>(_ key: String, at now: ContinuousClock.Instant, _ body: (inout Window) -> R) -> R? {
            if windows[key].map({ $0.isOver(at: now) }) ?? true {
                guard makeRoom(at: now) || windows[key] != nil else { return nil }
                windows[key] = Window(began: now)
                oldest = min(oldest ?? now, now)
            }
            return body(&windows[key, default: Window(began: now)])
        }

        private mutating func makeRoom(at now: ContinuousClock.Instant) -> Bool {
            if windows.count < AgentBudget.keyCapacity { return true }
            // All of them are looked at only where one may be over.
            guard let oldest, now - oldest >= AgentBudget.window else { return false }
            windows = windows.filter { !$0.value.isOver(at: now) }
            self.oldest = windows.values.map(\.began).min()
            return windows.count < AgentBudget.keyCapacity
        }
    }
    private let state = Mutex(State())

    /// Counts a request that is about to be sent, a retry like any other.
    /// - Parameter path: without the query.
    func admit(key: APIKey, subject: String, path: String, now: ContinuousClock.Instant = .now) throws(Refusal) {
        let (subject, path) = (Array(subject.utf8).hashValue, Array(path.utf8).hashValue)
        let limit = key.requestsPerMinute ?? Self.requests
        let refusal = state.withLock { state -> Refusal? in
            guard let judged = state.update(key.id, at: now, { $0.admit(requests: limit, subject: subject, path: path, now: now) }) else {
                return Self.tooManyKeys
            }
            return judged
        }
        if let refusal { throw refusal }
    }

    /// Counts bytes of a body or an answer.
    /// - Returns: false once the limit is reached: what is under way may end.
    @discardableResult
    package func add(bytes: Int, key: String, now: ContinuousClock.Instant = .now) -> Bool {
        state.withLock { $0.update(key, at: now) { $0.add(bytes: bytes) } ?? false }
    }

    private static let tooManyKeys = Refusal(
        problem: Problem(.rateLimited, "more than \(keyCapacity) agent keys were used within a minute", fix: "wait a minute", retryAfter: 60), news: nil)
}

extension Broker {
    /// Counts a request of an agent that is about to be sent, a retry like any other; of other roles it counts nothing.
    /// - Parameter path: without the query.
    /// - Throws: `rate_limited`, naming the limit. The operator is told of the first of each key and minute.
    package func admit(agentCall path: String, subject: String, for caller: Caller, now: ContinuousClock.Instant = .now) throws(Problem) {
        guard caller.isAgent else { return }
        do {
            try agentBudget.admit(key: caller.key, subject: subject, path: path, now: now)
        } catch {
            if let limit = error.news { noteLimit(limit, reachedBy: caller) }
            throw error.problem
        }
    }

    /// Tells the operator that an agent is stopped until its minute is over; of other roles nothing. SEC-133.
    package func noteLimit(_ limit: String, reachedBy caller: Caller) {
        guard caller.isAgent else { return }
        logger.warning(
            "an agent reached a limit; more of its calls are refused until the minute is over", metadata: ["key": "\(caller.key.id)", "limit": "\(limit)"])
        note("agent.limited", caller: caller, result: Problem.Code.rateLimited.rawValue, detail: limit)
    }
}

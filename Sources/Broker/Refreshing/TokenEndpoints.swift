import OAuth
import Synchronization
import Vault

/// What is known of each token endpoint: whether it may be asked, and how fast. Shared by all connections that use it.
final class TokenEndpoints: Sendable {
    private struct Entry {
        var breaker = Breaker()
        var pace = Pace()
        /// What those are told who may not ask.
        var lastProblem: Problem?
    }
    private let entries = Mutex<[String: Entry]>([:])

    /// - Returns: `nil` = ask, and say afterwards how it went; else the last problem with how long to wait.
    func admit(_ endpoint: String, at now: Timestamp) -> Problem? {
        entries.withLock { entries in
            guard var entry = entries[endpoint] else { return nil }
            defer { entries[endpoint] = entry }
            guard let until = entry.pace.pause(at: now) ?? entry.breaker.admit(at: now) else { return nil }
            var problem = entry.lastProblem ?? Problem(.providerUnreachable, "the token endpoint does not answer", fix: "try again later")
            let seconds = max(Int((until.milliseconds - now.milliseconds + 999) / 1000), 1)
            // Else whoever sees the provider up again takes this for an answer of now.
            problem.detail += "; it is not asked again for \(seconds) s"
            problem.retryAfter = seconds
            return problem
        }
    }

    enum Outcome {
        case answered
        /// It answered, and the answer was a token: it bears this speed.
        case gaveTokens
        case failed(Problem)
        /// 429
        case tooFast(Problem, retryAfter: Int?)

        /// What an answer that gave no tokens tells of the endpoint.
        static func of(_ error: TokenError, _ problem: Problem) -> Outcome {
            switch error.status {
            case 429: .tooFast(problem, retryAfter: error.retryAfter)
            case 500...: .failed(problem)
            default: .answered
            }
        }
    }

    func ended(_ endpoint: String, _ outcome: Outcome, at now: Timestamp) {
        entries.withLock { entries in
            var entry = entries[endpoint] ?? Entry()
            switch outcome {
            case .answered: entry.breaker.succeeded()
            case .gaveTokens:
                entry.breaker.succeeded()
                entry.pace.succeeded()
            case .failed(let problem):
                entry.breaker.failed(at: now, jitter: .random(in: 0.75...1.25))
                entry.lastProblem = problem
            case .tooFast(let problem, let retryAfter):
                // It is up, and says what it wants.
                entry.breaker.succeeded()
                entry.pace.wasTooFast(at: now, retryAfter: retryAfter)
                entry.lastProblem = problem
            }
            entries[endpoint] = entry
        }
    }

    /// How many grants may be renewed in the background now.
    func allowance(_ endpoint: String, at now: Timestamp) -> Int {
        entries.withLock { entries in min(entries[endpoint, default: Entry()].pace.allowance(at: now), entries[endpoint]?.breaker.allowance(at: now) ?? .max) }
    }

    /// One more request: it counts for the pace.
    func spend(_ endpoint: String) {
        entries.withLock { $0[endpoint, default: Entry()].pace.spend() }
    }

    /// The clock was set: no pause and no wait gets longer for it.
    func clockWasSet(by jump: Duration) {
        entries.withLock { entries in
            for endpoint in entries.keys {
                entries[endpoint]?.breaker.clockWasSet(by: jump)
                entries[endpoint]?.pace.clockWasSet(by: jump)
            }
        }
    }

    /// As a value, to be looked at.
    func breaker(_ endpoint: String) -> Breaker { entries.withLock { $0[endpoint]?.breaker ?? Breaker() } }
}

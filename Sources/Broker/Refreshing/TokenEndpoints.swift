import Logging
import OAuth
import OAuthClient
import Synchronization
import Vault

/// What is known of each token endpoint: whether it may be asked, and how fast. Shared by all connections that use it, and by all
/// nodes: then the database's clock is the one that counts.
final class TokenEndpoints: Sendable {
    private let entries = Mutex<[String: EndpointState]>([:])
    private let shared: SharedEndpoints?
    private let logger: Logger

    init(_ store: (any SharedStore)? = nil, logger: Logger) {
        shared = store.map { SharedEndpoints($0, logger: logger) }
        self.logger = logger
    }

    /// Why it may not be asked now.
    struct Refusal: Sendable {
        /// The last problem, with how long to wait.
        let problem: Problem
        /// It fails, rather than wants to be asked more slowly.
        let isDown: Bool
    }

    enum Outcome: Sendable {
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

    /// One more request, which counts for the pace.
    /// - Parameter hasTurn: it was counted before, by ``takeTurns(_:atMost:at:)``.
    /// - Returns: `nil` = ask, and say afterwards how it went.
    /// - Throws: the store's error, where nodes share it.
    func admit(_ endpoint: String, hasTurn: Bool = false, at now: Timestamp) async throws -> Refusal? {
        if case .refused(let refusal) = try await ask(.admit(hasTurn: hasTurn), of: endpoint, at: now) { refusal } else { nil }
    }

    /// Takes turns for the background, as many as may be asked now: each is one request.
    func takeTurns(_ endpoint: String, atMost limit: Int, at now: Timestamp) async throws -> Int {
        if case .turns(let count) = try await ask(.takeTurns(limit), of: endpoint, at: now) { count } else { 0 }
    }

    /// Turns that nobody used.
    func giveBack(_ turns: Int, to endpoint: String, at now: Timestamp) async {
        await note(.giveBack(turns), of: endpoint, at: now)
    }

    func ended(_ endpoint: String, _ outcome: Outcome, at now: Timestamp) async {
        switch outcome {
        case .answered, .gaveTokens:
            // Tokens wait to be written: they do not wait for this.
            if let shared { return await shared.tell(outcome, of: endpoint) }
        case .failed, .tooFast: break
        }
        await note(.ended(outcome, isOld: false), of: endpoint, at: now)
    }

    private func note(_ request: EndpointState.Request, of endpoint: String, at now: Timestamp) async {
        do {
            _ = try await ask(request, of: endpoint, at: now)
        } catch {
            logger.warning("what a token endpoint answered was not noted for other nodes", metadata: ["error": "\(error)"])
        }
    }

    private func ask(_ request: EndpointState.Request, of endpoint: String, at now: Timestamp) async throws -> EndpointState.Answer {
        if let shared { return try await shared.ask(request, of: endpoint) }
        return entries.withLock { $0[endpoint, default: EndpointState()].answer(request, at: now, jitter: .random(in: 0.75...1.25)) }
    }

    /// The clock was set. What nodes share goes by another.
    func clockWasSet(by jump: Duration) {
        entries.withLock { entries in for endpoint in entries.keys { entries[endpoint]?.clockWasSet(by: jump) } }
    }

    /// As a value, to be looked at. Of a node that is alone on its store.
    func breaker(_ endpoint: String) -> Breaker { entries.withLock { $0[endpoint]?.breaker ?? Breaker() } }
}

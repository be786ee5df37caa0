import Foundation
import OAuth
import Vault

/// What is known of a token endpoint: whether it may be asked, and how fast. Holds no clock. As JSON it is the record that all
/// nodes share.
struct EndpointState: Sendable {
    private(set) var breaker = Breaker()
    private(set) var pace = Pace()
    /// What those are told who may not ask.
    private var lastProblem: Problem?

    /// What is asked of it, or told.
    enum Request: Sendable {
        /// - hasTurn: taken before, by ``takeTurns(_:)``: it counts for the pace already.
        case admit(hasTurn: Bool)
        /// - isOld: learned while the endpoint was well: it says nothing of a failure since.
        case ended(TokenEndpoints.Outcome, isOld: Bool)
        /// For the background, as many as may ask now.
        case takeTurns(Int)
        case giveBack(Int)
    }

    enum Answer: Sendable {
        case done
        case refused(TokenEndpoints.Refusal)
        case turns(Int)
    }

    /// A success tells nothing new then.
    var isWell: Bool { breaker.isClosed && breaker.failures == 0 }

    /// - Parameter jitter: 0.75 to 1.25.
    mutating func answer(_ request: Request, at now: Timestamp, jitter: Double) -> Answer {
        switch request {
        case .admit(let hasTurn): return admit(hasTurn: hasTurn, at: now).map { .refused($0) } ?? .done
        case .ended(let outcome, let isOld): ended(outcome, isOld: isOld, at: now, jitter: jitter)
        case .takeTurns(let count):
            let turns = min(count, pace.allowance(at: now), breaker.allowance(at: now))
            pace.spend(turns)
            return .turns(turns)
        case .giveBack(let turns): pace.giveBack(turns)
        }
        return .done
    }

    private mutating func admit(hasTurn: Bool, at now: Timestamp) -> TokenEndpoints.Refusal? {
        guard let until = pace.pause(at: now) ?? breaker.admit(at: now) else {
            if !hasTurn { pace.spend(1) }
            return nil
        }
        var problem = lastProblem ?? Problem(.providerUnreachable, "the token endpoint does not answer", fix: "try again later")
        let seconds = max(Int((until.milliseconds - now.milliseconds + 999) / 1000), 1)
        // Else whoever sees the provider up again takes this for an answer of now.
        problem.detail += "; it is not asked again for \(seconds) s"
        problem.retryAfter = seconds
        return .init(problem: problem, isDown: !breaker.isClosed)
    }

    private mutating func ended(_ outcome: TokenEndpoints.Outcome, isOld: Bool, at now: Timestamp, jitter: Double) {
        switch outcome {
        case .answered, .gaveTokens:
            if !isOld || breaker.isClosed { breaker.succeeded() }
            if case .gaveTokens = outcome { pace.succeeded() }
        case .failed(let problem):
            breaker.failed(at: now, jitter: jitter)
            lastProblem = problem
        case .tooFast(let problem, let retryAfter):
            // It is up, and says what it wants.
            breaker.succeeded()
            pace.wasTooFast(at: now, retryAfter: retryAfter)
            lastProblem = problem
        }
    }

    /// The clock was set: no pause and no wait gets longer for it.
    mutating func clockWasSet(by jump: Duration) {
        breaker.clockWasSet(by: jump)
        pace.clockWasSet(by: jump)
    }
}

extension EndpointState: Codable {
    private enum Key: String, CodingKey { case breaker, pace, problem }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        breaker = try container.decode(Breaker.self, forKey: .breaker)
        pace = try container.decode(Pace.self, forKey: .pace)
        lastProblem = try container.decodeIfPresent(LastProblem.self, forKey: .problem)?.problem
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        try container.encode(breaker, forKey: .breaker)
        try container.encode(pace, forKey: .pace)
        try container.encodeIfPresent(lastProblem.map(LastProblem.init), forKey: .problem)
    }

    /// - Parameter json: `nil` when nothing is known yet. What another version wrote and this one cannot read is learned anew,
    ///   which takes three failures or one refusal.
    init(json: String?) {
        self = json.flatMap { try? JSONDecoder().decode(Self.self, from: Data($0.utf8)) } ?? Self()
    }

    func json() throws -> String { String(decoding: try JSONEncoder().encode(self), as: UTF8.self) }
}

/// As it is stored. The provider's own sentence is left out: it may repeat what it was sent.
private struct LastProblem: Codable {
    let code: String
    let detail: String
    let fix: String?
    let status: Int?
    let error: String?
    let reason: String?

    init(_ problem: Problem) {
        code = problem.code.rawValue
        detail = problem.detail
        fix = problem.fix
        status = problem.provider?.status
        error = problem.provider?.error
        reason = problem.reason
    }

    var problem: Problem {
        let provider = status == nil && error == nil ? nil : Problem.Provider(status: status, error: error)
        var problem = Problem(Problem.Code(rawValue: code) ?? .providerUnreachable, detail, fix: fix, provider: provider)
        problem.reason = reason
        return problem
    }
}

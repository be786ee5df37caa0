import OAuth
import OAuthClient

/// One refresh as a value: which step it has reached, and what is to be done next. Holds no clock, no socket, no store;
/// `Renew.swift` does what it says and tells it how that went.
struct RefreshMachine: Sendable {
    /// In this order. Each is a failpoint of debug builds, `refresh.` and its name.
    enum Step: String, Sendable, CaseIterable {
        /// It was decided that this grant is to be refreshed.
        case due
        /// Nobody else refreshes it, on this node or another.
        case lease
        /// No received tokens wait to be written.
        case writable
        /// On stable storage: this generation's refresh token is about to be sent.
        case intent
        /// Its bytes may have left.
        case sent
        case answered
        /// On stable storage: the new tokens.
        case written
        /// Callers have the new access token.
        case served

        /// What is known when the process ends right after this step.
        var afterCrash: AfterCrash {
            switch self {
            case .due, .lease, .writable: .asBefore
            case .intent, .sent, .answered: .outcomeUnknown
            case .written, .served: .renewed
            }
        }
    }

    enum AfterCrash: Sendable, Hashable {
        /// Nothing was sent: the grant is as it was.
        case asBefore
        /// The intent tells that the refresh token may be spent. It is sent once more when the access token no longer
        /// serves; a refusal then ends in `reauthorization_required`, reason `outcome_unknown`.
        case outcomeUnknown
        case renewed
    }

    enum Input: Sendable {
        case leased
        /// The lease ended: somebody else may have refreshed the grant since, or be about to.
        case leaseLost
        case storeIsWritable
        /// Received tokens still wait.
        case storeIsNotWritable
        /// - attempts: how often this generation's refresh token was sent, this time included.
        case intentWritten(attempts: Int)
        /// Or the lease ended by the store's clock.
        case generationMoved
        case answered
        case refused(TokenError)
        case unanswered(TransportError)
        case written
        case writeFailed
        case overtaken
    }

    enum Action: Sendable {
        case takeLease
        case proveWritable
        case writeIntent
        case send
        case write
        case serve
        case end(Ending)
    }

    /// How it ends without a new token.
    struct Ending: Sendable, Hashable {
        enum Reason: Sendable, Hashable {
            case failed(RefreshFailure)
            /// The database cannot be written: nothing was sent.
            case notWritable
            /// The database could not be written: the tokens are held in memory.
            case held
            /// The grant has another generation by now: tokens that came are orphans.
            case overtaken
            /// Nothing was sent: the refresh token may have been sent by somebody else meanwhile.
            case leaseLost
        }
        var reason: Reason
        /// Whether the intent stays, for whoever comes next.
        var keepsIntent: Bool
        /// Who can mend it.
        var remedy = Remedy.tryLater
        /// The reason that the grant is marked with, when a person has to grant access again.
        var demandsPerson: String?
    }

    private(set) var step = Step.due
    private var attempts = 0
    /// The lease ended while the answer was waited for: somebody else may have sent the same refresh token.
    var isLate = false
    /// It was sent before without an answer, by somebody else meanwhile, or came from a backup: what this attempt is told does
    /// not settle that.
    private var isInDoubt: Bool { attempts > 1 || isLate }

    /// The first thing to do.
    var first: Action { .takeLease }

    mutating func next(_ input: Input) -> Action {
        switch (step, input) {
        case (.due, .leased):
            step = .lease
            return .proveWritable
        case (.due, .leaseLost), (.intent, .leaseLost):
            return .end(Ending(reason: .leaseLost, keepsIntent: true))
        case (.lease, .storeIsWritable):
            step = .writable
            return .writeIntent
        case (.lease, .storeIsNotWritable):
            return .end(Ending(reason: .notWritable, keepsIntent: true))
        case (.writable, .intentWritten(let attempts)):
            step = .intent
            self.attempts = attempts
            return .send
        case (.writable, .generationMoved):
            return .end(Ending(reason: .overtaken, keepsIntent: true))
        case (.intent, .answered):
            step = .answered
            return .write
        case (.intent, .refused(let error)):
            step = .answered
            return .end(ending(of: error))
        case (.intent, .unanswered(let error)):
            if error.mayHaveBeenSent { step = .sent }
            return .end(Ending(reason: .failed(RefreshFailure(error)), keepsIntent: error.mayHaveBeenSent || isInDoubt))
        case (.answered, .written):
            step = .written
            return .serve
        case (.answered, .writeFailed):
            return .end(Ending(reason: .held, keepsIntent: true))
        case (.answered, .overtaken):
            return .end(Ending(reason: .overtaken, keepsIntent: true))
        default:
            preconditionFailure("a refresh at \(step) is told what belongs to another step")
        }
    }

    private func ending(of error: TokenError) -> Ending {
        let failure = RefreshFailure(error)
        switch failure {
        case .reauthorize:
            let reason: String
            if case .idToken = error.kind { reason = "account_mismatch" } else { reason = isInDoubt ? "outcome_unknown" : "invalid_grant" }
            return Ending(reason: .failed(failure), keepsIntent: false, remedy: .reauthorize, demandsPerson: reason)
        case .fixConnection: return Ending(reason: .failed(failure), keepsIntent: isInDoubt, remedy: .fixConnection)
        case .tryLater: return Ending(reason: .failed(failure), keepsIntent: isInDoubt)
        case .report: return Ending(reason: .failed(failure), keepsIntent: isInDoubt, remedy: .report)
        // A page for people in the place of an answer is no outage.
        case .outcomeUnknown: return Ending(reason: .failed(failure), keepsIntent: true, remedy: error.remedy == .tryLater ? .tryLater : .report)
        }
    }
}

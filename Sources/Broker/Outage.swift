import Logging
import Synchronization
import Vault

/// A database that nodes share is away for all of a node's work at once. That is said when it begins and when it has ended, and
/// not by everything that has to do without it meanwhile.
extension Broker {
    /// A pool of connections that waits before it tries again may find out only then.
    private static let rest: Duration = .seconds(5)

    /// - Parameter error: why what `message` says was not done.
    func logFailure(_ level: Logger.Level, _ message: Logger.Message, _ error: any Error, _ metadata: Logger.Metadata = [:]) {
        var level = level
        if shared != nil, let error = error as? StoreError, case .unavailable = error {
            let isJustBack = outageEndedAt.withLock { $0.map { ContinuousClock.now - $0 < Self.rest } ?? false }
            if error.isAway, !isJustBack { noteOutage(error) }
            if isCutOff.load(ordering: .relaxed) || (error.isAway && isJustBack) { level = .debug }
        }
        logger.log(level: level, message, metadata: metadata.merging(["error": "\(error)"]) { $1 })
    }

    func noteOutage(_ error: any Error) {
        guard !isCutOff.exchange(true, ordering: .relaxed) else { return }
        guard case .unavailable? = error as? StoreError else {
            return logger.error(
                "what the database says makes no sense: nothing is served from memory until it does", metadata: ["error": "\(error)"])
        }
        logger.error("the database does not answer: nothing is served from memory until it does", metadata: ["error": "\(error)"])
    }

    func noteEndOfOutage() {
        guard isCutOff.exchange(false, ordering: .relaxed) else { return }
        outageEndedAt.withLock { $0 = .now }
        logger.notice("the database answers again")
    }
}

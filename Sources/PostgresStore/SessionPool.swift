import Foundation
import Synchronization
import Vault

/// Threads, each with a connection of its own, that take work off one queue. A thread and its connection begin when there is
/// work that nobody is free for.
///
/// While the database is away work fails at once, but for one try each back-off. A connection that was lost is made anew for
/// the next piece of work.
final class SessionPool: Sendable {
    /// Does it, and returns what tells the caller: that is for when the pool knows what the work has shown, as the caller may come
    /// again at once.
    typealias Work = @Sendable (Result<Session, StoreError>) -> @Sendable () -> Void

    private struct State {
        /// `waits` = nobody was free for it when it came.
        var queue: [(work: Work, until: ContinuousClock.Instant, waits: Bool)] = []
        var idle = 0
        var threads = 0
        var open = 0
        var isClosed = false
        /// Until then nobody tries to connect.
        var awayUntil: ContinuousClock.Instant?
        /// The server takes no more connections: until then the pool does not grow.
        var fullUntil: ContinuousClock.Instant?
        var failures = 0
        /// Connections that broke in use.
        var losses = 0
        var lastFailure = StoreError.unavailable("the database does not answer")
        var waits = 0
        var waited: Duration = .zero
        var errors: [String: Int] = [:]

        /// The server is there, whatever it said.
        mutating func noteAnswer() { (failures, awayUntil) = (0, nil) }
    }

    private let url: DatabaseURL
    private let size: Int
    private let patience: Duration
    let namedStatements: NamedStatements
    private let state = Mutex(State())
    private let signal = NSCondition()

    /// - Parameter patience: how long work waits for a connection to be free.
    init(_ url: DatabaseURL, size: Int, patience: Duration, namedStatements: NamedStatements) {
        self.url = url
        self.size = size
        self.patience = patience
        self.namedStatements = namedStatements
    }

    /// Runs `body` on a connection's thread, in turn.
    func run<R: Sendable>(_ body: @escaping @Sendable (Session) throws -> R) async throws -> R {
        try await withCheckedThrowingContinuation { continuation in
            enqueue { session in
                let result = Result { try body(session.get()) }
                return { continuation.resume(with: result) }
            }
        }
    }

    private func enqueue(_ work: @escaping Work) {
        let (isTaken, begins) = state.withLock { state -> (Bool, Bool) in
            guard !state.isClosed else { return (false, false) }
            state.queue.append((work, .now + patience, false))
            guard state.idle < state.queue.count else { return (true, false) }
            guard state.threads < size else {
                state.queue[state.queue.count - 1].waits = true
                state.waits += 1
                return (true, false)
            }
            if state.threads > 0, let fullUntil = state.fullUntil, ContinuousClock.now < fullUntil { return (true, false) }
            state.threads += 1
            return (true, true)
        }
        guard isTaken else { return work(.failure(.unavailable("the database is closed")))() }
        if begins {
            let thread = Thread { [self] in serve() }
            thread.stackSize = 1 << 20
            thread.name = "grantee-database"
            thread.start()
        } else {
            signal.lock()
            signal.signal()
            signal.unlock()
        }
    }

    /// What waits is done; then the threads end.
    func close() {
        state.withLock { $0.isClosed = true }
        signal.lock()
        signal.broadcast()
        signal.unlock()
    }

    // MARK: On a thread

    private func serve() {
        var session: Session?
        var losses = 0
        while let (work, until) = next() {
            guard ContinuousClock.now < until else {
                work(.failure(.unavailable("no connection to the database was free in time")))()
                continue
            }
            // Where one was lost the others may be, too: the server was restarted, or somebody between cut what was unused.
            let lossesNow = state.withLock { $0.losses }
            if let stale = session, losses != lossesNow {
                stale.close()
                session = nil
                state.withLock { $0.open -= 1 }
            }
            switch connect(session) {
            case .success(let open):
                if session == nil { losses = lossesNow }
                session = open
                let tell = work(.success(open))
                let isLost = open.isBroken
                // What is left in the middle of a transaction is of no use to anybody else.
                let isKept = !isLost && open.isIdle
                if !isKept {
                    open.close()
                    session = nil
                }
                state.withLock { state in
                    if !isKept { state.open -= 1 }
                    if isLost { state.losses += 1 } else { state.noteAnswer() }
                }
                tell()
            case .failure(let error):
                session = nil
                // The others go on with what the server allows.
                if error == Self.full, giveBack(work, until) { return }
                work(.failure(error))()
            }
        }
        if let session {
            session.close()
            state.withLock { $0.open -= 1 }
        }
        state.withLock { $0.threads -= 1 }
    }

    private static let full = DatabaseError(state: "53300", words: "").asStoreError

    /// - Returns: whether somebody else has a connection; this thread ends then.
    private func giveBack(_ work: @escaping Work, _ until: ContinuousClock.Instant) -> Bool {
        let hasOthers = state.withLock { state in
            guard state.open > 0 else { return false }
            state.queue.insert((work, until, false), at: 0)
            state.threads -= 1
            state.fullUntil = .now + .seconds(1)
            return true
        }
        guard hasOthers else { return false }
        signal.lock()
        signal.signal()
        signal.unlock()
        return true
    }

    private func next() -> (work: Work, until: ContinuousClock.Instant)? {
        signal.lock()
        defer { signal.unlock() }
        while true {
            let (found, isClosed) = state.withLock { state in
                let found = state.queue.isEmpty ? nil : state.queue.removeFirst()
                if let found, found.waits { state.waited += ContinuousClock.now - (found.until - patience) }
                return (found, state.isClosed)
            }
            if let found { return (found.work, found.until) }
            if isClosed { return nil }
            state.withLock { $0.idle += 1 }
            signal.wait()
            state.withLock { $0.idle -= 1 }
        }
    }

    private func connect(_ session: Session?) -> Result<Session, StoreError> {
        if let session, !session.isBroken { return .success(session) }
        let away = state.withLock { state in state.awayUntil.map { ContinuousClock.now < $0 } == true ? state.lastFailure : nil }
        if let away { return .failure(away) }
        do throws(DatabaseError) {
            let session = try Session(url, namedStatements: namedStatements)
            state.withLock { state in
                state.open += 1
                state.noteAnswer()
            }
            return .success(session)
        } catch {
            return .failure(
                state.withLock { state in
                    state.errors["connect", default: 0] += 1
                    state.lastFailure = error.asStoreError
                    // That there are enough connections says nothing about those that are there.
                    if error.hasTooManyConnections, state.open > 0 { return state.lastFailure }
                    state.failures += 1
                    let wait = min(0.1 * Double(1 << min(state.failures - 1, 5)), 2) * Double.random(in: 0.75...1.25)
                    state.awayUntil = .now + .seconds(wait)
                    return state.lastFailure
                })
        }
    }
}

extension SessionPool {
    /// A statement that failed, for whoever watches.
    func count(_ error: DatabaseError) {
        state.withLock { $0.errors[error.isLost ? "lost" : error.state ?? "lost", default: 0] += 1 }
    }

    var figures: PoolFigures {
        state.withLock { state in
            PoolFigures(
                size: size, open: state.open, busy: state.threads - state.idle, waiting: state.queue.count, waits: state.waits, waited: state.waited,
                errors: state.errors)
        }
    }
}

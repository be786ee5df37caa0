import Vault

/// Whether a token endpoint that keeps failing may be asked now. One outage is one incident, however many grants wait
/// for its end. Holds no clock.
///
/// Closed, everything passes. After ``threshold`` failures in a row it opens: nothing passes but one probe when the wait
/// is over; the waits double from a second to a minute. The first answer lets twice as many pass at once, then four times,
/// so that those who waited do not fall upon a server that has just got up.
struct Breaker: Sendable, Codable {
    enum State: Sendable, Hashable, Codable {
        case closed
        case open(until: Timestamp)
        /// At most so many at once.
        case recovering(allowed: Int)
    }

    static let threshold = 3
    static let longestWait = 60
    private static let recovered = 64

    private(set) var state = State.closed
    /// In a row.
    private(set) var failures = 0
    /// How many more may pass before one of them has to succeed.
    private var left = 0
    private var lastPass = Timestamp(milliseconds: 0)

    var isClosed: Bool { state == .closed }

    /// Lets one request pass, or says until when none does.
    mutating func admit(at now: Timestamp) -> Timestamp? {
        switch state {
        case .closed:
            return nil
        case .open(let until):
            guard Self.isOver(until, at: now) else { return until }
            state = .recovering(allowed: 1)
            lastPass = now
            return nil
        case .recovering:
            guard left > 0 || isOverdue(at: now) else { return now + .seconds(1) }
            left = max(left - 1, 0)
            lastPass = now
            return nil
        }
    }

    /// How many ``admit(at:)`` would let pass now.
    func allowance(at now: Timestamp) -> Int {
        switch state {
        case .closed: .max
        case .open(let until): Self.isOver(until, at: now) ? 1 : 0
        case .recovering: left > 0 || !isOverdue(at: now) ? left : 1
        }
    }

    /// A wait that is further away than any is over too: the clock was set back.
    private static func isOver(_ until: Timestamp, at now: Timestamp) -> Bool { now >= until || until > now + .seconds(2 * longestWait) }

    /// The last that passed never said how it ended: it does not close the way for ever.
    private func isOverdue(at now: Timestamp) -> Bool { now >= lastPass + .seconds(30) || now < lastPass }

    /// The clock was set: what is waited for comes no later for it.
    mutating func clockWasSet(by jump: Duration) {
        if case .open(let until) = state { state = .open(until: until + jump) }
        lastPass = lastPass + jump
    }

    /// Any answer that is not a failure of the server: a refusal, too, shows that it is up.
    mutating func succeeded() {
        failures = 0
        switch state {
        case .closed: break
        case .open: recover(2)
        case .recovering(let allowed): recover(allowed * 2)
        }
    }

    private mutating func recover(_ allowed: Int) {
        left = allowed
        state = allowed >= Self.recovered ? .closed : .recovering(allowed: allowed)
    }

    /// - Parameter jitter: 0.75 to 1.25.
    mutating func failed(at now: Timestamp, jitter: Double) {
        failures += 1
        if case .closed = state, failures < Self.threshold { return }
        // What was sent before it opened may fail behind it: one incident, not a longer wait for each.
        if case .open = state {
            failures -= 1
            return
        }
        left = 0
        let seconds = min(1 << min(max(failures - Self.threshold, 0), 6), Self.longestWait)
        state = .open(until: now + .seconds(Double(seconds) * jitter))
    }
}

/// How fast a token endpoint is asked in the background: a rate that grows slowly while it answers and is halved when it
/// says that it was too fast (429). Callers who wait are not held up by it, but what they ask counts. Holds no clock.
struct Pace: Sendable, Codable {
    static let initialRate = 20.0
    static let highestRate = 500.0
    private static let lowestRate = 0.5
    /// `Retry-After` beyond this is not believed.
    private static let longestPause = 3600

    /// Requests per second.
    private(set) var rate = Pace.initialRate
    private var tokens = Pace.initialRate
    private var refilledAt: Timestamp?
    private(set) var pausedUntil: Timestamp?

    /// Until when the server asked to be left alone.
    mutating func pause(at now: Timestamp) -> Timestamp? {
        guard let until = pausedUntil else { return nil }
        // Further away than any pause: the clock was set back.
        if now < until, until <= now + .seconds(Self.longestPause) { return until }
        pausedUntil = nil
        return nil
    }

    /// How many may be asked in the background now.
    mutating func allowance(at now: Timestamp) -> Int {
        guard pause(at: now) == nil else { return 0 }
        if let refilledAt, now > refilledAt {
            tokens = min(tokens + Double(now.milliseconds - refilledAt.milliseconds) / 1000 * rate, rate)
        }
        refilledAt = now
        return max(Int(tokens), 0)
    }

    /// Below zero by a second's worth at most: callers who wait come first, and the background catches up.
    mutating func spend(_ count: Int) { tokens = max(tokens - Double(count), -rate) }

    mutating func giveBack(_ count: Int) { tokens = min(tokens + Double(count), rate) }

    /// The clock was set: what is waited for comes no later for it.
    mutating func clockWasSet(by jump: Duration) {
        pausedUntil = pausedUntil.map { $0 + jump }
        refilledAt = refilledAt.map { $0 + jump }
    }

    /// One more request per second for each second at full speed.
    mutating func succeeded() { rate = min(rate + 1 / max(rate, 1), Self.highestRate) }

    /// - Parameter retryAfter: seconds; `nil` = a second.
    mutating func wasTooFast(at now: Timestamp, retryAfter: Int?) {
        let until = now + .seconds(min(max(retryAfter ?? 1, 1), Self.longestPause))
        // Of many refusals in one moment the first halves the rate.
        if pause(at: now) == nil { rate = max(rate / 2, Self.lowestRate) }
        pausedUntil = max(pausedUntil ?? until, until)
        tokens = 0
        refilledAt = until
    }
}

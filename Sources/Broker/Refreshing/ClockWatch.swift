import Logging
import Synchronization
import Vault

/// Notices when the time of day is set: it should have gone on as far as the clock that nobody sets.
struct ClockWatch: Sendable {
    private var wall: Timestamp?
    private var steady = ContinuousClock.now

    /// A jump of less is drift, or a machine that slept.
    static let tolerance: Duration = .seconds(60)

    /// - Returns: how far it was set, back being negative; `nil` = it was not.
    mutating func jump(wall now: Timestamp, steady instant: ContinuousClock.Instant) -> Duration? {
        defer { (wall, steady) = (now, instant) }
        guard let wall else { return nil }
        let jump = (now - wall) - (instant - steady)
        return jump > Self.tolerance || jump < .zero - Self.tolerance ? jump : nil
    }
}

extension Broker {
    /// When the clock was set: what was decided by the old time is decided anew.
    func watchClock() async {
        let now = clock.now()
        guard let jump = clockWatch.withLock({ $0.jump(wall: now, steady: .now) }) else { return }
        logger.warning("the clock was set", metadata: ["seconds": "\(jump.components.seconds)"])
        tokenCache.removeAll()
        guard jump < .zero else { return }
        backOff.clockWasSet(by: jump)
        tokenEndpoints.clockWasSet(by: jump)
        await hastenDue()
    }

    /// Also at the start: the clock may have been set back while nobody watched it.
    func hastenDue() async {
        do {
            try await store.hastenDue(notAfter: clock.now())
        } catch {
            logFailure(.warning, "what a clock that was ahead put off was not made due", error)
        }
    }
}

import Synchronization

/// Requests per key and minute, in windows of a minute.
final class RateLimiter: Sendable {
    private struct Window {
        var began: ContinuousClock.Instant
        var count: Int
    }
    private let windows = Mutex<[String: Window]>([:])

    /// - Returns: seconds to wait, or `nil` when the request may go on.
    func wait(_ key: String, limit: Int, now: ContinuousClock.Instant = .now) -> Int? {
        windows.withLock { windows in
            var window = windows[key] ?? Window(began: now, count: 0)
            if now - window.began >= .seconds(60) { window = Window(began: now, count: 0) }
            guard window.count < limit else { return max(Int((.seconds(60) - (now - window.began)).components.seconds), 1) }
            window.count += 1
            windows[key] = window
            return nil
        }
    }
}

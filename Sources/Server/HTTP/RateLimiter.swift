import Synchronization

/// Requests per key and minute, in windows of a minute.
final class RateLimiter: Sendable {
    struct Refusal {
        /// Seconds to wait.
        let wait: Int
        /// Of its window.
        let isFirst: Bool
    }

    private struct Window {
        var began: ContinuousClock.Instant
        var count = 0
        var wasRefused = false
    }
    private let windows = Mutex<[String: Window]>([:])

    /// - Returns: `nil` when the request may go on.
    func refusal(_ key: String, limit: Int, now: ContinuousClock.Instant = .now) -> Refusal? {
        windows.withLock { windows in
            var window = windows[key] ?? Window(began: now)
            if now - window.began >= .seconds(60) { window = Window(began: now) }
            defer { windows[key] = window }
            guard window.count < limit else {
                defer { window.wasRefused = true }
                return Refusal(wait: max(Int((.seconds(60) - (now - window.began)).components.seconds), 1), isFirst: !window.wasRefused)
            }
            window.count += 1
            return nil
        }
    }
}

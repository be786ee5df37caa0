import OAuth
import Synchronization

/// Slows down who guesses keys at the console, each source for itself: nobody can lock out somebody elsewhere. SEC-99.
///
/// Each source has fewer than ten failures in any minute. While many fail from many sources, one failure is what a source has.
/// A one-time link is not held up: its code cannot be guessed, and lets in who shares a source with a guesser.
final class SignInGuard: Sendable {
    static let failuresOfSource = 9
    /// From so many in a minute on, from wherever, somebody guesses with help.
    static let failuresOfAll = 30
    static let most = 10_000
    private static let span = Duration.seconds(60)

    private struct State {
        /// The moments of the last failures, the oldest first.
        var sources: [String: [ContinuousClock.Instant]] = [:]
        var all: [ContinuousClock.Instant] = []
    }
    private let state = Mutex(State())

    /// Lets one try in, and counts it as a failure until ``succeeded(_:)``: tries at one moment are counted as well.
    /// - Returns: the seconds to wait; `nil` = it may be tried.
    func refusal(_ client: String, now: ContinuousClock.Instant = .now) -> Int? {
        let source = Self.source(client)
        return state.withLock { state in
            state.all.removeAll { now - $0 >= Self.span }
            var failures = state.sources[source, default: []]
            failures.removeAll { now - $0 >= Self.span }
            let limit = state.all.count >= Self.failuresOfAll ? 1 : Self.failuresOfSource
            guard failures.count < limit else {
                state.sources[source] = failures
                return max(Int((Self.span - (now - failures[failures.count - limit])).components.seconds) + 1, 1)
            }
            failures.append(now)
            state.sources[source] = failures
            state.all.append(now)
            if state.all.count > Self.failuresOfAll { state.all.removeFirst() }
            if state.sources.count > Self.most { Self.forget(&state, now) }
            return nil
        }
    }

    func succeeded(_ client: String) {
        state.withLock { state in
            let source = Self.source(client)
            guard let last = state.sources[source]?.popLast() else { return }
            if state.sources[source] == [] { state.sources[source] = nil }
            if let index = state.all.lastIndex(of: last) { state.all.remove(at: index) }
        }
    }

    /// Those that are over; where that is not enough, the half that failed longest ago.
    private static func forget(_ state: inout State, _ now: ContinuousClock.Instant) {
        state.sources = state.sources.filter { $0.value.last.map { now - $0 < span } ?? false }
        guard state.sources.count > most else { return }
        let lasts = state.sources.values.compactMap(\.last).sorted()
        let middle = lasts[lasts.count / 2]
        state.sources = state.sources.filter { $0.value.last.map { $0 > middle } ?? false }
    }

    /// Whoever has one IPv6 address has the network of it: `/64`.
    private static func source(_ client: String) -> String {
        guard let address = IPLiteral(client), !address.isIPv4 else { return client }
        return address.bytes.prefix(8).map { String($0, radix: 16) }.joined(separator: ".")
    }
}

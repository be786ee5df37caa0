import Vault

/// Times as a person says them. The exact moment stands beside the words, in `<time datetime>`.
enum TimeText {
    /// `just now`, `3 hours ago`; a moment that lies ahead is said as ``ahead(_:from:)`` says it.
    static func ago(_ moment: Timestamp, from now: Timestamp) -> String {
        let seconds = now.seconds - moment.seconds
        if seconds < -soon { return ahead(moment, from: now) }
        return seconds < soon ? "just now" : span(seconds) + " ago"
    }

    /// `in a moment`, `in 3 hours`; a moment that has passed is said as ``ago(_:from:)`` says it.
    static func ahead(_ moment: Timestamp, from now: Timestamp) -> String {
        let seconds = moment.seconds - now.seconds
        if seconds < -soon { return ago(moment, from: now) }
        return seconds < soon ? "in a moment" : "in " + span(seconds)
    }

    /// `3 hours`: whole ones of the largest unit that fits.
    static func span(_ seconds: Int) -> String {
        let (unit, length) = units.first { max(seconds, 0) >= $0.length } ?? ("second", 1)
        let count = max(seconds, 0) / length
        return "\(count) \(unit)\(count == 1 ? "" : "s")"
    }

    /// For a template: `<time datetime="{{datetime}}" title="{{datetime}}">{{words}}</time>`.
    static func value(_ moment: Timestamp, from now: Timestamp) -> [String: Any] {
        ["datetime": moment.rfc3339, "words": moment > now ? ahead(moment, from: now) : ago(moment, from: now)]
    }

    /// Clocks of two machines differ by as much: nothing is said that is more exact.
    private static let soon = 10
    private static let units: [(name: String, length: Int)] = [
        ("year", 31_536_000), ("month", 2_592_000), ("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1),
    ]
}

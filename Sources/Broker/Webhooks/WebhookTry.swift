import HTTPTypes
import OAuth
import OAuthClient
import Vault

/// What became of one try to deliver, and when the next one is. Holds no clock.
enum WebhookTry: Equatable {
    case delivered(status: Int)
    /// The receiver is gone and wants nothing more. RFC 9110 §15.5.11.
    case gone
    /// - Parameter retryAfter: seconds that the receiver asked for.
    case failed(status: Int?, error: String, retryAfter: Int?)

    init(_ response: WireResponse, now: Timestamp) {
        let status = response.head.status.code
        switch status {
        case 200..<300: self = .delivered(status: status)
        case 410: self = .gone
        case 300..<400: self = .failed(status: status, error: "it answered with a redirect, which is never followed", retryAfter: nil)
        default: self = .failed(status: status, error: "it answered with status \(status)", retryAfter: response.retryAfter(now: now.seconds))
        }
    }

    init(_ error: TransportError, limit: Duration) {
        let words =
            switch error.reason {
            case .blocked: "its URL leads where outbound requests may not go"
            case .unreachable(let why): "it could not be reached: \(why)"
            case .timedOut, .cancelled: "it did not answer within \(limit.components.seconds) seconds"
            case .broken(let why): "its answer could not be used: \(why)"
            }
        self = .failed(status: nil, error: words, retryAfter: nil)
    }

    /// Between one try and the next. Together they are a little less than a day.
    static let waits: [Duration] = [
        .seconds(5), .seconds(30), .seconds(120), .seconds(600), .seconds(1800), .seconds(3600), .seconds(7200), .seconds(14_400), .seconds(28_800),
        .seconds(28_800),
    ]
    static let lifetime: Duration = .seconds(86_400)
    static let longestRetryAfter = 28_800

    /// When a delivery is tried again after its failure.
    /// - Parameters:
    ///   - tries: how often it was tried, this time included.
    ///   - begunAt: from here its day is counted.
    ///   - jitter: 0.8 to 1.2, so that a receiver that comes back is not met by all at once.
    /// - Returns: `nil` when it is given up. The last try is at the end of the day, whatever the wait.
    static func next(tries: Int, begunAt: Timestamp, now: Timestamp, retryAfter: Int?, jitter: Double) -> Timestamp? {
        let end = begunAt + lifetime
        guard now < end else { return nil }
        let wait = waits[min(max(tries, 1), waits.count) - 1] * jitter
        // What the receiver asks for is the least: one that answers `Retry-After: 0` for ever is asked no more often.
        return max(min(now + wait, end), now + .seconds(min(retryAfter ?? 0, longestRetryAfter)))
    }
}

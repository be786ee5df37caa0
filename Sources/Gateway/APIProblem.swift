import Broker
import Egress
import Vault

/// What became of a request that got no answer, in words; a class of failure, never an address or an API's text. SEC-76.
enum APIFailure: Error, Hashable {
    case blocked(String)
    case unresolved
    case refused
    case tls
    case connectTimedOut
    case firstByteTimedOut
    case idle
    /// The connection ended before an answer began.
    case closed(mayHaveBeenProcessed: Bool)
    /// The answer is no HTTP, or not one that can be passed on.
    case nonsense(String)
    case tooManyWaiting
    case proxyRefused

    func problem(_ destination: Destination) -> Problem {
        let api = "the API of \(destination.connection.id)"
        switch self {
        case .blocked(let reason):
            return Problem(
                .egressBlocked, "base_url of \(destination.connection.id) leads where outbound requests may not go: \(reason)",
                fix: "use a public https URL, or have the operator start the server with --egress-allow for that network")
        case .unresolved: return Problem(.providerUnreachable, "the host of \(api) has no address", fix: "check base_url")
        case .refused: return Problem(.providerUnreachable, "\(api) takes no connection", fix: "try again later, or check base_url")
        case .tls:
            return Problem(
                .providerUnreachable, "TLS to \(api) failed: its certificate is not trusted, or is not for that name",
                fix: "check base_url; a private CA is named with --ca-file")
        case .connectTimedOut: return Problem(.providerUnreachable, "no connection to \(api) came about in time", fix: "try again later, or check base_url")
        case .firstByteTimedOut:
            return Problem(.providerUnreachable, "\(api) did not answer in time; whether it did what was asked is not known", fix: "try again later")
        case .idle: return Problem(.providerUnreachable, "nothing moved for too long between caller and API", fix: "try again")
        case .closed(let mayHaveBeenProcessed):
            let outcome = mayHaveBeenProcessed ? "; whether it did what was asked is not known" : ""
            return Problem(.providerError, "\(api) closed the connection before it answered\(outcome)", fix: "try again")
        case .nonsense(let what): return Problem(.providerError, "\(api) answered \(what)", fix: "check base_url")
        case .tooManyWaiting: return Problem(.unavailable, "too many requests wait for \(api)", fix: "send fewer at once", retryAfter: 1)
        case .proxyRefused: return Problem(.providerUnreachable, "the outbound proxy did not open a connection to \(api)", fix: "ask the operator")
        }
    }

    static func of(_ error: EgressError) -> APIFailure {
        switch error {
        case .blocked(let reason): .blocked(reason)
        case .unresolved: .unresolved
        case .timedOut: .connectTimedOut
        }
    }
}

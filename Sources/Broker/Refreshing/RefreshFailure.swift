import OAuth
import OAuthClient

/// Why a refresh gave nothing: its class decides what is kept, who is told, and when it is tried again.
enum RefreshFailure: String, Sendable, CaseIterable {
    /// The refresh token is refused for good. RFC 6749 §5.2, `invalid_grant`.
    case reauthorize
    /// The client or its settings are refused: the connection is to blame, its grants are untouched.
    case fixConnection = "fix_connection"
    /// The provider is busy or down; known to have changed nothing.
    case tryLater = "try_later"
    /// Refused for a reason that has no known remedy.
    case report
    /// The refresh token was sent and no usable answer came: it may be spent.
    case outcomeUnknown = "outcome_unknown"

    init(_ error: TokenError) {
        switch error.kind {
        // A success that cannot be read, and a server that broke at its work, may have rotated the token.
        case .malformed where error.status < 300: self = .outcomeUnknown
        // Tokens came and were turned down here: the account is another.
        case .idToken: self = .reauthorize
        default:
            switch error.remedy {
            case .reauthorize: self = .reauthorize
            case .fixClient: self = .fixConnection
            // What stands before the server lost its answer.
            case .tryLater: self = [500, 502, 504].contains(error.status) ? .outcomeUnknown : .tryLater
            case .report: self = .report
            }
        }
    }

    init(_ error: TransportError) {
        self = error.mayHaveBeenSent ? .outcomeUnknown : .tryLater
    }
}

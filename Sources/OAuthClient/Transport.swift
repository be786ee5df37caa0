public import OAuth

/// The seam to the network: sends one request, follows no redirect, keeps no cookie.
public protocol Transport: Sendable {
    /// - Throws: ``TransportError``, only when no whole answer arrived; a 4xx or 5xx is an answer.
    func send(_ request: WireRequest) async throws(TransportError) -> WireResponse
}

/// Why no answer arrived.
public struct TransportError: Error, Sendable, Hashable {
    public enum Reason: Sendable, Hashable {
        /// Egress may not go there.
        case blocked
        /// The name did not resolve, the connection was refused or TLS failed: in words fit to show.
        case unreachable(String)
        case timedOut
        /// The answer was cut, malformed as HTTP, or larger than 1 MiB.
        case broken(String)
        case cancelled
    }
    public var reason: Reason
    /// Whether the first byte of the request's body may have left: if so, the outcome of a token request is unknown
    /// and it is not sent again blindly. SEC-31.
    public var mayHaveBeenSent: Bool
    public init(_ reason: Reason, mayHaveBeenSent: Bool) {
        self.reason = reason
        self.mayHaveBeenSent = mayHaveBeenSent
    }
}

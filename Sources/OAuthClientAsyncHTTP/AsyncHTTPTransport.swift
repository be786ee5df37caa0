public import OAuth
public import OAuthClient
public import Egress

/// The ``Transport`` over AsyncHTTPClient: judged addresses only, no redirects, 30 s in all, connect 5 s, 1 MiB,
/// a connection of its own for every request.
public final class AsyncHTTPTransport: Transport {
    /// - Parameters:
    ///   - egress: what may be reached.
    ///   - caFile: path of a PEM file with certificates trusted besides the system's.
    /// - Throws: when the file cannot be read as PEM.
    public init(egress: Egress, caFile: String? = nil) throws { fatalError("stub") }

    public func send(_ request: WireRequest) async throws(TransportError) -> WireResponse { fatalError("stub") }

    /// Ends pooled clients. Call once, at the end.
    public func shutdown() async { fatalError("stub") }
}

import OAuth
import OAuthClient
import Synchronization

/// A way out that remembers what went over it last, for as long as the outcome is judged.
final class Witness: Transport {
    struct Exchange: Sendable {
        var request: WireRequest
        /// `nil` when no whole answer came.
        var response: WireResponse?
    }

    private let transport: any Transport
    private let seen = Mutex<Exchange?>(nil)

    init(_ transport: any Transport) { self.transport = transport }

    var exchange: Exchange? { seen.withLock { $0 } }

    func send(_ request: WireRequest) async throws(TransportError) -> WireResponse {
        seen.withLock { $0 = Exchange(request: request, response: nil) }
        let response = try await transport.send(request)
        seen.withLock { $0?.response = response }
        return response
    }
}

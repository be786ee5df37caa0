import Broker
import NIOCore
import NIOHTTP1

/// One connection to an API, or one stream of an HTTP/2 connection, at the end of its pipeline: one exchange at a time.
///
/// What both have in common; how they speak, ``UpstreamConnection`` and ``UpstreamStream`` know.
class UpstreamHandler {
    let upstream: Upstream
    final var context: ChannelHandlerContext?
    final var exchange: Exchange?
    final var keepsAlive = true
    final var hasAnswered = false
    final var isReading = false
    final var isClosed = false
    private final var heldRead = false
    /// Free for the next exchange when what was read is through.
    private final var isReleased = false
    final var idleSince = NIODeadline.now()
    /// How long the API says that it keeps the connection; less a second.
    final var keepAlive: TimeAmount?

    init(_ upstream: Upstream) { self.upstream = upstream }

    final var isUsable: Bool { !isClosed && context != nil }
    var isWritable: Bool { context?.channel.isWritable ?? true }

    // MARK: For the exchange

    final func take(_ exchange: Exchange, wasReused: Bool) {
        self.exchange = exchange
        hasAnswered = false
        exchange.begin(on: self, wasReused: wasReused)
    }

    /// Not flushed.
    func send(_ request: AdmittedRequest, _ credential: Credential) {}
    func send(_ chunk: ByteBuffer) {}
    /// Flushed.
    func sendEnd() {}
    func flush() { context?.flush() }

    final func goOnReading() {
        guard heldRead, exchange?.takesAnswer ?? true else { return }
        heldRead = false
        context?.read()
    }

    /// The exchange is over.
    final func leave(keepsConnection: Bool) {
        exchange = nil
        guard keepsConnection, keepsAlive, hasAnswered, isReusable, isUsable, !hasLeftovers else {
            // A stream that was answered and asked to its end closes by itself.
            if isReusable || !hasAnswered || !keepsConnection { close() }
            return
        }
        // What follows the answer in the same read would be the next exchange's answer. SEC-77.
        if isReading { isReleased = true } else { release() }
    }

    /// Whether it can serve one exchange after the other.
    var isReusable: Bool { false }

    /// Whether something came that belongs to no answer: nothing on the connection can be believed then. SEC-77.
    var hasLeftovers: Bool { false }

    private final func release() {
        isReleased = false
        goOnReading()
        upstream.release(self)
    }

    final func close() {
        isClosed = true
        context?.close(promise: nil)
    }

    // MARK: From the channel

    final func end(_ exchange: Exchange, _ failure: APIFailure) {
        self.exchange = nil
        exchange.connectionFailed(failure)
        close()
    }

    final func readIsComplete() {
        isReading = false
        exchange?.receivedAll()
        if isReleased, isUsable { release() }
        goOnReading()
    }

    final func mayRead(_ context: ChannelHandlerContext) {
        if exchange?.takesAnswer ?? true { context.read() } else { heldRead = true }
    }

    final func isInactive() {
        isClosed = true
        guard let exchange else { return }
        self.exchange = nil
        exchange.connectionFailed(.closed(mayHaveBeenProcessed: true))
    }
}

import NIOCore
import NIOHTTP1
import NIOHTTP2

/// One connection (or HTTP/2 stream) to an API, at the end of its pipeline: one exchange at a time.
final class UpstreamHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundIn = Never
    typealias OutboundOut = HTTPClientRequestPart

    private let upstream: Upstream
    /// The connection that it is a stream of.
    private let shared: SharedConnection?
    private var context: ChannelHandlerContext?
    private var exchange: Exchange?
    private var keepsAlive = true
    private var hasAnswered = false
    private var heldRead = false
    private var isReading = false
    /// Free for the next exchange when what was read is through.
    private var isReleased = false
    private var isClosed = false
    var idleSince = NIODeadline.now()
    /// How long the API says that it keeps the connection; less a second.
    private(set) var keepAlive: TimeAmount?

    init(_ upstream: Upstream, shared: SharedConnection? = nil) {
        self.upstream = upstream
        self.shared = shared
    }

    var isUsable: Bool { !isClosed && context?.channel.isActive ?? false }
    var isWritable: Bool { context?.channel.isWritable ?? true }

    // MARK: For the exchange

    func take(_ exchange: Exchange, wasReused: Bool) {
        self.exchange = exchange
        hasAnswered = false
        exchange.begin(on: self, wasReused: wasReused)
    }

    func send(_ head: HTTPRequestHead) { context?.write(Self.wrapOutboundOut(.head(head)), promise: nil) }
    func send(_ chunk: ByteBuffer) { context?.write(Self.wrapOutboundOut(.body(.byteBuffer(chunk))), promise: nil) }
    func sendEnd() { context?.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil) }
    func flush() { context?.flush() }

    func goOnReading() {
        guard heldRead, exchange?.takesAnswer ?? true else { return }
        heldRead = false
        context?.read()
    }

    /// The exchange is over.
    func leave(keepsConnection: Bool) {
        exchange = nil
        guard keepsConnection, keepsAlive, hasAnswered, shared == nil, isUsable else {
            // A stream that was answered and asked to its end closes by itself.
            if shared == nil || !hasAnswered || !keepsConnection { close() }
            return
        }
        // What follows the answer in the same read would be the next exchange's answer. SEC-77.
        if isReading { isReleased = true } else { release() }
    }

    private func release() {
        isReleased = false
        goOnReading()
        upstream.release(self)
    }

    func close() {
        isClosed = true
        context?.close(promise: nil)
    }

    // MARK: Channel

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // Bytes that nobody asked for: nothing on this connection can be believed any more. SEC-77.
        guard let exchange else { return close() }
        isReading = true
        let part = Self.unwrapInboundIn(data)
        switch part {
        case .head(let head):
            if head.status.code < 200 {
                // Nobody asked for another protocol; and behind this the HTTP/1.1 parser reads nothing more.
                if head.status == .switchingProtocols { end(exchange, .nonsense("with another protocol, which nobody had asked for")) }
                return
            }
            // The HTTP/1.1 parser has looked; SEC-79.
            if shared != nil, head.headers.contains(where: { $0.value.utf8.contains { ($0 < 0x20 && $0 != 0x09) || $0 == 0x7F } }) {
                return end(exchange, .nonsense("a header field that holds a control character"))
            }
            keepsAlive = head.isKeepAlive
            if let field = head.headers.first(name: "Keep-Alive") { keepAlive = Self.timeout(field) }
        case .body: break
        case .end: hasAnswered = true
        }
        exchange.received(part)
    }

    private func end(_ exchange: Exchange, _ failure: APIFailure) {
        self.exchange = nil
        exchange.connectionFailed(failure)
        close()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        exchange?.receivedAll()
        if isReleased, isUsable { release() }
        goOnReading()
    }

    func read(context: ChannelHandlerContext) {
        if exchange?.takesAnswer ?? true { context.read() } else { heldRead = true }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) { exchange?.connectionBecameWritable() }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let exchange else { return close() }
        // Also where TLS was cut off: an answer that its end delimits is none then. RFC 9112 §8.
        end(exchange, error is HTTPParserError ? .nonsense("something that is not HTTP, or broke off") : .closed(mayHaveBeenProcessed: !isUntouched(error)))
    }

    /// Whether the API says that it has done nothing with the stream. RFC 9113 §8.7.
    private func isUntouched(_ error: any Error) -> Bool {
        guard let shared, let closed = error as? NIOHTTP2Errors.StreamClosed else { return false }
        return closed.errorCode == .refusedStream || shared.hasGoneAway(before: closed.streamID)
    }

    func channelInactive(context: ChannelHandlerContext) {
        isClosed = true
        if let exchange {
            self.exchange = nil
            exchange.connectionFailed(.closed(mayHaveBeenProcessed: true))
        }
        if let shared { shared.streamClosed() } else { upstream.closed(self) }
    }

    /// `timeout=5, max=1000`
    private static func timeout(_ field: String) -> TimeAmount? {
        for parameter in field.split(separator: ",") {
            let pair = parameter.trimming.split(separator: "=", maxSplits: 1)
            if pair.count == 2, pair[0].lowercased() == "timeout", let seconds = Int64(pair[1]) { return .seconds(min(max(seconds - 1, 0), 3600)) }
        }
        return nil
    }
}

import Broker
import NIOCore
import NIOHTTP1
import NIOHTTP2

/// A stream of an HTTP/2 connection to an API, in the parts that its codec makes.
final class UpstreamStream: UpstreamHandler, ChannelDuplexHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundIn = Never
    typealias OutboundOut = HTTPClientRequestPart

    private let shared: SharedConnection

    init(_ upstream: Upstream, _ shared: SharedConnection) {
        self.shared = shared
        super.init(upstream)
    }

    // MARK: Out

    override func send(_ request: AdmittedRequest, _ credential: Credential) {
        context?.write(Self.wrapOutboundOut(.head(request.head(credential))), promise: nil)
    }

    override func send(_ chunk: ByteBuffer) { context?.write(Self.wrapOutboundOut(.body(.byteBuffer(chunk))), promise: nil) }
    override func sendEnd() { context?.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil) }

    // MARK: Channel

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // Bytes that nobody asked for: nothing on this stream can be believed any more. SEC-77.
        guard let exchange else { return close() }
        isReading = true
        switch Self.unwrapInboundIn(data) {
        case .head(let head):
            if head.status.code < 200 {
                // Nobody asked for another protocol.
                if head.status == .switchingProtocols { end(exchange, .nonsense("with another protocol, which nobody had asked for")) }
                return
            }
            guard head.status.code < 1000 else { return end(exchange, .nonsense("with a status that is none")) }
            // Its codec looks for CR, LF and NUL alone; SEC-79.
            if Self.hasControl(head.headers) {
                return end(exchange, .nonsense("a header field that holds a control character"))
            }
            keepsAlive = head.isKeepAlive
            exchange.received(.head(AnswerHead(status: Int(head.status.code), headers: AnswerFields.returned(head.headers))))
        case .body(let chunk): exchange.received(.body(chunk))
        case .end(let trailers):
            if let trailers, Self.hasControl(trailers) { return end(exchange, .nonsense("a trailer field that holds a control character")) }
            hasAnswered = true
            exchange.received(.end(trailers))
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) { readIsComplete() }
    func read(context: ChannelHandlerContext) { mayRead(context) }
    func channelWritabilityChanged(context: ChannelHandlerContext) { exchange?.connectionBecameWritable() }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let exchange else { return close() }
        end(exchange, error is HTTPParserError ? .nonsense("something that is not HTTP, or broke off") : .closed(mayHaveBeenProcessed: !isUntouched(error)))
    }

    private static func hasControl(_ fields: HTTPHeaders) -> Bool { fields.contains { $0.value.utf8.contains { !FieldBytes.isValue($0) } } }

    /// Whether the API says that it has done nothing with the stream. RFC 9113 §8.7.
    private func isUntouched(_ error: any Error) -> Bool {
        guard let closed = error as? NIOHTTP2Errors.StreamClosed else { return false }
        return closed.errorCode == .refusedStream || shared.hasGoneAway(before: closed.streamID)
    }

    func channelInactive(context: ChannelHandlerContext) {
        isInactive()
        shared.streamClosed()
    }
}

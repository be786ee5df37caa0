import NIOCore
import OAuth

/// Asks the operator's proxy for a tunnel, and leaves when it stands. RFC 9110 §9.3.6.
final class ProxyConnect: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private static let longestAnswer = 8 << 10
    private let authority: String
    private let tell: (_ isOpen: Bool) -> Void
    private var answer = ByteBuffer()
    private var isOver = false

    init(to url: EndpointURL, _ tell: @escaping (_ isOpen: Bool) -> Void) {
        let host = url.host.contains(":") ? "[\(url.host)]" : url.host
        authority = "\(host):\(url.effectivePort)"
        self.tell = tell
    }

    func channelActive(context: ChannelHandlerContext) {
        let request = ByteBuffer(string: "CONNECT \(authority) HTTP/1.1\r\nHost: \(authority)\r\n\r\n")
        context.writeAndFlush(Self.wrapOutboundOut(request), promise: nil)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isOver else { return context.fireChannelRead(data) }
        answer.writeImmutableBuffer(Self.unwrapInboundIn(data))
        let bytes = answer.readableBytesView
        let end = Array("\r\n\r\n".utf8)
        guard let range = bytes.firstRange(of: end) else {
            if bytes.count > Self.longestAnswer { finish(false, context) }
            return
        }
        // A server that speaks before the client has said hello is none.
        let isOpen = range.upperBound == bytes.endIndex && (bytes.starts(with: Array("HTTP/1.1 2".utf8)) || bytes.starts(with: Array("HTTP/1.0 2".utf8)))
        finish(isOpen, context)
    }

    private func finish(_ isOpen: Bool, _ context: ChannelHandlerContext) {
        isOver = true
        tell(isOpen)
        context.pipeline.syncOperations.removeHandler(self, promise: nil)
    }
}

import NIOCore
import NIOHTTP1

/// Stands behind the decoder: lets no head through that is larger than an answer's may be, and none with a status below
/// 100, over which AsyncHTTPClient (1.37) would end the process.
final class AnswerGuard: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias InboundOut = HTTPClientResponsePart

    static let maximumBytes = 64 << 10
    static let maximumFields = 100

    private var isRefused = false

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isRefused else { return }
        if case .head(let head) = unwrapInboundIn(data), !Self.fits(head) {
            isRefused = true
            context.fireErrorCaught(UnfitHead())
            context.close(promise: nil)
            return
        }
        context.fireChannelRead(data)
    }

    private static func fits(_ head: HTTPResponseHead) -> Bool {
        guard head.status.code >= 100, head.headers.count <= maximumFields else { return false }
        return head.headers.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count } <= maximumBytes
    }
}

struct UnfitHead: Error {}

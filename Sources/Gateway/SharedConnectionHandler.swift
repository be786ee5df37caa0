import NIOCore
import NIOHTTP2

/// Hears what an HTTP/2 connection says of itself, not of one of its streams.
final class SharedConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame

    private let connection: SharedConnection

    init(_ connection: SharedConnection) { self.connection = connection }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch Self.unwrapInboundIn(data).payload {
        case .goAway(let lastStream, _, _): connection.goAway(after: lastStream)
        case .settings(.settings(let settings)):
            for setting in settings where setting.parameter == .maxConcurrentStreams { connection.allow(streams: setting.value) }
        default: break
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        // Behind it nothing can be read, so none of the streams ends by itself.
        case is NIOHTTP2Errors.UnableToParseFrame, is NIOHTTP2Errors.ExcessivelyLargeHeaderBlock: connection.close()
        default: connection.retire()
        }
    }
}

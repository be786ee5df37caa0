import Broker
import NIOCore
import NIOHTTP1

/// A connection to an API that speaks HTTP/1.1, in bytes. As in ``ShortcutHandler``, wrapping goes by the type's name.
final class UpstreamConnection: UpstreamHandler, ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = Never
    typealias OutboundOut = ByteBuffer

    private var reader = AnswerReader()
    /// What was written and not yet given to the channel: head and body of a small request leave together.
    private var unsent: ByteBuffer?
    private var isChunked = false
    /// As the channel said last.
    private var takesMore = true

    override var isReusable: Bool { true }
    override var hasLeftovers: Bool { reader.hasLeftovers }
    override var isWritable: Bool { takesMore }

    // MARK: Out

    override func send(_ request: AdmittedRequest, _ credential: Credential) {
        reader.expectAnswer(isForHead: request.isHead)
        isChunked = request.isChunked
        // In a variable of its own: Swift looks at each change of what an object holds.
        var buffer = upstream.loop.takeScratch()
        request.write(into: &buffer, credential)
        unsent = buffer
    }

    override func send(_ chunk: ByteBuffer) {
        guard chunk.readableBytes > 0 else { return }
        var buffer = unsent.take() ?? ByteBuffer()
        if isChunked { buffer.write(chunkSize: chunk.readableBytes) }
        if chunk.readableBytes <= LoopGateway.mostCopied, buffer.readableBytes > 0 {
            buffer.writeImmutableBuffer(chunk)
        } else {
            pass(&buffer)
            context?.write(UpstreamConnection.wrapOutboundOut(chunk), promise: nil)
        }
        if isChunked { buffer.writeStaticString("\r\n") }
        if buffer.readableBytes > LoopGateway.mostCopied { pass(&buffer) }
        unsent = buffer
    }

    override func sendEnd() {
        if isChunked {
            var buffer = unsent.take() ?? ByteBuffer()
            buffer.writeStaticString("0\r\n\r\n")
            unsent = buffer
        }
        flush()
    }

    override func flush() {
        guard let bytes = unsent.take(), bytes.readableBytes > 0 else {
            context?.flush()
            return
        }
        context?.writeAndFlush(UpstreamConnection.wrapOutboundOut(bytes), promise: nil)
        upstream.loop.giveScratch(bytes)
    }

    private func pass(_ buffer: inout ByteBuffer) {
        guard buffer.readableBytes > 0 else { return }
        context?.write(UpstreamConnection.wrapOutboundOut(buffer), promise: nil)
        buffer = ByteBuffer()
    }

    // MARK: Channel

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // Bytes that nobody asked for: nothing on this connection can be believed any more. SEC-77.
        guard let exchange else { return close() }
        isReading = true
        reader.feed(UpstreamConnection.unwrapInboundIn(data))
        do throws(APIFailure) {
            while self.exchange === exchange, let part = try reader.next() { pass(part, to: exchange) }
            if self.exchange == nil, reader.hasLeftovers { close() }
            reader.forget()
        } catch {
            end(exchange, error)
        }
    }

    private func pass(_ part: consuming AnswerPart, to exchange: Exchange) {
        switch part {
        case .head:
            keepsAlive = reader.keepsAlive
            keepAlive = reader.keepAlive
        case .body: break
        case .end: hasAnswered = true
        }
        exchange.received(part)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        readIsComplete()
        // The channel would ask for it by way of every handler.
        if isUsable { mayRead(context) }
    }
    func read(context: ChannelHandlerContext) { mayRead(context) }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        takesMore = context.channel.isWritable
        exchange?.connectionBecameWritable()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let exchange else { return close() }
        // Also where TLS was cut off: an answer that its end delimits is none then. RFC 9112 §8.
        end(exchange, .closed(mayHaveBeenProcessed: true))
    }

    func channelInactive(context: ChannelHandlerContext) {
        isClosed = true
        if let exchange {
            do throws(APIFailure) {
                if let part = try reader.close() {
                    pass(part, to: exchange)
                    self.exchange?.receivedAll()
                }
            } catch {
                self.exchange = nil
                exchange.connectionFailed(error)
            }
        }
        isInactive()
        upstream.closed(self)
    }
}

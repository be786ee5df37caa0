import Broker
import NIOCore
import NIOHTTP1
import OAuth
import Vault

/// Stands before the HTTP codec of a caller's connection and takes the requests that can be judged from memory and passed on as the
/// bytes that they came as: nothing is made of them but the bytes that the API gets.
///
/// Everything else it hands on before anything was counted, so that the long way, through the codec and ``GatewayHandler``, is the
/// only judge of whatever is unusual, and refuses it. It leaves for good behind bytes that are not exactly one request, as the codec may
/// then hold a part of the next.
///
/// What NIO wraps and unwraps it is asked for by this type's name: for `Self`, Swift would look at the type each time.
final class ShortcutHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let loop: LoopGateway
    private let door: any Door
    /// The long way.
    private let handler: GatewayHandler
    private var context: ChannelHandlerContext?
    private var exchange: Exchange?
    /// What came during a call: its turn is behind the answer.
    private var waiting = ByteBuffer()
    private var heldRead = false
    private var handsOn = false
    private var hasLeft = false
    private var closesAfterAnswer = false
    /// Of the last request, and what was found for it; `nil` = not all of it was in memory.
    private var fields = ShortFields()
    private var known: KnownCall?

    // The answer under way.
    /// As the channel said last.
    private(set) var isWritable = true
    private var isHead = false
    private var isChunked = false
    /// Written and not yet given to the channel.
    private var unsent: ByteBuffer?

    init(_ loop: LoopGateway, door: any Door, before handler: GatewayHandler) {
        self.loop = loop
        self.door = door
        self.handler = handler
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        callerHasGone()
        self.context = nil
    }

    // MARK: In

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // The connection ends as soon as the last answer is written.
        guard exchange != nil || !closesAfterAnswer else { return }
        let bytes = ShortcutHandler.unwrapInboundIn(data)
        if exchange == nil, waiting.readableBytes == 0 { take(bytes, context) } else { waiting.writeImmutableBuffer(bytes) }
    }

    private func take(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        let broker = loop.broker
        let now = broker.now
        let mayRepeat = if let known { broker.isCurrent(known, at: now) } else { false }
        guard let request = ShortRequest(bytes, fields: &fields, mayRepeat: mayRepeat, find: { broker.knownDestination($0) }) else {
            known = nil
            hasLeft = true
            context.fireChannelRead(ShortcutHandler.wrapInboundOut(bytes))
            context.pipeline.syncOperations.removeHandler(self, promise: nil)
            return
        }
        if !fields.isRepeat { known = nil }
        if handler.isAtRest, begin(request, at: now) { return }
        handsOn = true
        context.fireChannelRead(ShortcutHandler.wrapInboundOut(bytes))
    }

    /// - Returns: false when it is for the long way. Nothing was counted then.
    @inline(__always)
    private func begin(_ request: consuming ShortRequest, at now: Timestamp) -> Bool {
        let broker = loop.broker
        guard request.body?.readableBytes ?? 0 <= loop.gateway.limits.replay, broker.isRecording, let call = known ?? find(at: now),
            let admitted = try? AdmittedRequest(
                request, length: fields.length, fields.lines, subject: fields.subject, of: call, id: loop.makeID(), broker: broker)
        else { return false }
        known = call
        broker.countUse(of: call)
        isHead = admitted.isHead
        let exchange = Exchange(admitted, on: loop, for: self)
        self.exchange = exchange
        handler.shortcutBegins()
        exchange.start(call.credential)
        return true
    }

    private func find(at now: Timestamp) -> KnownCall? {
        guard let destination = fields.destination else { return nil }
        return loop.broker.knownCall(destination, subject: fields.subject, at: now) {
            fields.caller { door.uncounted(authorization: $0) }.flatMap { $0.isAgent ? nil : $0 }
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if handsOn {
            handsOn = false
            context.fireChannelReadComplete()
        } else if waiting.readableBytes == 0 {
            // The channel would ask for it by way of every handler.
            context.read()
        }
    }

    func read(context: ChannelHandlerContext) {
        if waiting.readableBytes == 0 { context.read() } else { heldRead = true }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        isWritable = context.channel.isWritable
        if let exchange, isWritable { exchange.sinkBecameWritable() }
        context.fireChannelWritabilityChanged()
    }

    // MARK: End

    private func ended() {
        exchange = nil
        handler.shortcutEnds()
        if closesAfterAnswer {
            closeWhenWritten()
        } else if waiting.readableBytes > 0 {
            // A long row of requests must make no deep stack.
            context?.eventLoop.assumeIsolated().execute { [self] in takeWaiting() }
        }
    }

    /// What a slow caller has not taken yet would be lost with the connection.
    private func closeWhenWritten() {
        guard let context else { return }
        let promise = context.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { [self] _ in self.context?.close(promise: nil) }
        context.writeAndFlush(ShortcutHandler.wrapOutboundOut(ByteBuffer()), promise: promise)
    }

    private func takeWaiting() {
        guard let context, exchange == nil, waiting.readableBytes > 0 else { return }
        let (bytes, pipeline) = (waiting, context.pipeline.syncOperations)
        waiting = ByteBuffer()
        take(bytes, context)
        if handsOn || hasLeft { pipeline.fireChannelReadComplete() }
        if heldRead {
            heldRead = false
            pipeline.read()
        }
    }

    private func callerHasGone() {
        guard let exchange else { return }
        self.exchange = nil
        exchange.cancel()
        handler.shortcutEnds()
    }

    func channelInactive(context: ChannelHandlerContext) {
        callerHasGone()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Behind the last request: that one is answered.
        if exchange != nil { closesAfterAnswer = true } else { context.fireErrorCaught(error) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed as ChannelEvent where exchange != nil:
            callerHasGone()
            context.close(promise: nil)
        case is ChannelShouldQuiesceEvent where exchange != nil: closesAfterAnswer = true
        default: context.fireUserInboundEventTriggered(event)
        }
    }
}

extension ShortcutHandler: AnswerSink {
    func goOn() {}
    func bodyDemandChanged() {}

    func answer(_ head: AnswerHead) {
        if loop.gateway.isEnding { closesAfterAnswer = true }
        // In a variable of its own: Swift looks at each change of what an object holds.
        var buffer = loop.takeScratch()
        isChunked = head.write(into: &buffer, closes: closesAfterAnswer) && !isHead
        unsent = buffer
    }

    func answer(_ body: ByteBuffer) {
        guard !isHead, body.readableBytes > 0 else { return }
        var buffer = unsent.take() ?? ByteBuffer()
        if isChunked { buffer.write(chunkSize: body.readableBytes) }
        if body.readableBytes <= LoopGateway.mostCopied, buffer.readableBytes > 0 {
            buffer.writeImmutableBuffer(body)
        } else {
            pass(&buffer)
            context?.write(ShortcutHandler.wrapOutboundOut(body), promise: nil)
        }
        if isChunked { buffer.writeStaticString("\r\n") }
        if buffer.readableBytes > LoopGateway.mostCopied { pass(&buffer) }
        unsent = buffer
    }

    private func pass(_ buffer: inout ByteBuffer) {
        guard buffer.readableBytes > 0 else { return }
        context?.write(ShortcutHandler.wrapOutboundOut(buffer), promise: nil)
        buffer = ByteBuffer()
    }

    func flushAnswer() {
        guard let bytes = unsent.take(), bytes.readableBytes > 0 else {
            context?.flush()
            return
        }
        context?.writeAndFlush(ShortcutHandler.wrapOutboundOut(bytes), promise: nil)
        loop.giveScratch(bytes)
    }

    func endAnswer(_ trailers: HTTPHeaders?) {
        if isChunked {
            var buffer = unsent.take() ?? ByteBuffer()
            buffer.writeStaticString("0\r\n")
            if let trailers { buffer.write(lines: trailers) }
            buffer.writeStaticString("\r\n")
            unsent = buffer
        }
        flushAnswer()
        ended()
    }

    func refuse(_ problem: Problem, id: String) {
        let (head, body) = door.answer(to: problem, id: id)
        answer(head)
        answer(body)
        endAnswer(nil)
    }

    func abort() {
        flushAnswer()
        exchange = nil
        handler.shortcutEnds()
        context?.close(promise: nil)
    }
}

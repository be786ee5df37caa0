import Broker
import Gateway
import HTTPTypes
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import Vault

/// What the gateway asks of the HTTP face.
extension Faces: Door {
    func uncounted(authorization: Span<UInt8>) -> Caller? {
        let scheme = "bearer ".utf8.span
        guard authorization.count > scheme.count else { return nil }
        for index in scheme.indices where authorization[index] | 0x20 != scheme[index] { return nil }
        guard broker.isCoherent, let caller = broker.authenticate(authorization.extracting(scheme.count...)), caller.key.requestsPerMinute == nil else {
            return nil
        }
        return caller
    }

    func render(_ problem: Problem, id: String) -> (status: Int, fields: [(name: String, value: String)], body: ByteBuffer) {
        let outbound = problem.outbound.identified(problem.requestID ?? id)
        return (outbound.status.code, outbound.fields.map { ($0.name.rawName, $0.value) }, outbound.body)
    }

    func refused(_ problem: Problem, caller: Caller?, client: String, forwarded: String?, id: String) {
        guard Self.isTurnedAway(problem) else { return }
        let client = ClientContext.client(peer: client, forwarded: forwarded, behind: trustedProxies)
        noteRefusal(problem, route: "/gateway/{id}/{path}", caller: caller, client: client, id: id)
    }
}

/// A caller's connection: HTTP/1.1, the gateway's handler, then Hummingbird's own.
struct FrontChannel: ServerChildChannel {
    private let http1: HTTP1Channel
    private let gate: Gate

    init(responder: @escaping HTTPChannelHandler.Responder, gate: Gate) {
        http1 = HTTP1Channel(responder: responder)
        self.gate = gate
    }

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<HTTP1Channel.Value> {
        // Nothing is read before the channel is set up.
        gate.opening(on: channel.eventLoop).flatMap { setUp(channel, logger) }
    }

    private func setUp(_ channel: any Channel, _ logger: Logger) -> EventLoopFuture<HTTP1Channel.Value> {
        http1.setup(channel: channel, logger: logger).flatMapThrowing { value in
            let pipeline = channel.pipeline.syncOperations
            let decoder = try pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self)
            if let faces = gate.faces {
                try faces.gateway.join(pipeline, after: decoder, on: channel.eventLoop, door: faces)
            } else {
                try pipeline.addHandler(EarlyCaller(gate), position: .after(decoder))
            }
            return value
        }
    }

    /// Keeps the gateway's place in a connection that came before the server was ready, until its first request.
    private final class EarlyCaller: ChannelInboundHandler, RemovableChannelHandler {
        typealias InboundIn = HTTPServerRequestPart
        private let gate: Gate

        init(_ gate: Gate) { self.gate = gate }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            // Too early still: that is said, and ends the connection.
            guard let faces = gate.faces else { return context.fireChannelRead(data) }
            do {
                let pipeline = context.pipeline.syncOperations
                try pipeline.addHandler(faces.gateway.handler(on: context.eventLoop, door: faces), position: .after(self))
                context.fireChannelRead(data)
                pipeline.removeHandler(self, promise: nil)
            } catch {
                context.fireErrorCaught(error)
            }
        }
    }

    func handle(value: HTTP1Channel.Value, logger: Logger) async { await http1.handle(value: value, logger: logger) }
}

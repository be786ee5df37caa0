import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix

/// The least that a proxy on NIO's HTTP/1.1 codecs does: what the gateway is measured against.
///
/// One event loop. Every request goes to one upstream with a header that stays the same; nobody is asked for a key, no field is judged, no
/// deadline is kept, no error is handled.
final class Caller: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart
    private let pool: Pool
    private var upstream: Upstream?
    private var waiting: [HTTPClientRequestPart] = []
    private var context: ChannelHandlerContext?

    init(_ pool: Pool) { self.pool = pool }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch Self.unwrapInboundIn(data) {
        case .head(let head):
            var fields = HTTPHeaders()
            fields.reserveCapacity(head.headers.count + 2)
            fields.add(name: "Host", value: pool.authority)
            for (name, value) in head.headers where !Self.isDropped(name) { fields.add(name: name, value: value) }
            fields.add(name: "Authorization", value: "Bearer static-token-0123456789abcdef0123456789abcdef")
            send(.head(HTTPRequestHead(version: .http1_1, method: head.method, uri: head.uri, headers: fields)))
        case .body(let chunk): send(.body(.byteBuffer(chunk)))
        case .end:
            send(.end(nil))
            upstream?.flush()
        }
    }

    private static func isDropped(_ name: String) -> Bool {
        switch name.utf8.count {
        case 4: name.lowercased() == "host"
        case 10: name.lowercased() == "connection"
        case 13: name.lowercased() == "authorization"
        default: false
        }
    }

    private func send(_ part: HTTPClientRequestPart) {
        if let upstream { return upstream.send(part) }
        if case .head = part, let idle = pool.idle.popLast() {
            upstream = idle
            idle.caller = self
            return idle.send(part)
        }
        if case .head = part { pool.open(for: self) }
        waiting.append(part)
    }

    func opened(_ upstream: Upstream) {
        self.upstream = upstream
        for part in waiting { upstream.send(part) }
        waiting = []
        upstream.flush()
    }

    func received(_ part: HTTPClientResponsePart) {
        guard let context else { return }
        switch part {
        case .head(let head):
            context.write(Self.wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: head.status, headers: head.headers))), promise: nil)
        case .body(let chunk): context.write(Self.wrapOutboundOut(.body(.byteBuffer(chunk))), promise: nil)
        case .end:
            if let upstream { pool.idle.append(upstream) }
            upstream?.caller = nil
            upstream = nil
            context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
        }
    }
}

final class Upstream: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart
    var caller: Caller?
    private var context: ChannelHandlerContext?

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }
    func channelRead(context: ChannelHandlerContext, data: NIOAny) { caller?.received(Self.unwrapInboundIn(data)) }
    func send(_ part: HTTPClientRequestPart) { context?.write(Self.wrapOutboundOut(part), promise: nil) }
    func flush() { context?.flush() }
}

final class Pool {
    let authority: String
    private let address: SocketAddress
    private let eventLoop: any EventLoop
    var idle: [Upstream] = []

    init(_ host: String, _ port: Int, on eventLoop: any EventLoop) throws {
        authority = "\(host):\(port)"
        address = try SocketAddress(ipAddress: host, port: port)
        self.eventLoop = eventLoop
    }

    func open(for caller: Caller) {
        let upstream = Upstream()
        let box = NIOLoopBound((upstream, caller), eventLoop: eventLoop)
        upstream.caller = caller
        ClientBootstrap(group: eventLoop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers(HTTPRequestEncoder(), ByteToMessageHandler(HTTPResponseDecoder()), box.value.0)
                }
            }
            .connect(to: address)
            .whenSuccess { _ in box.value.1.opened(box.value.0) }
    }
}

let arguments = CommandLine.arguments
guard arguments.count == 4, let port = Int(arguments[1]), let upstreamPort = Int(arguments[3]) else {
    FileHandle.standardError.write(Data("usage: BareProxy PORT UPSTREAM_IP UPSTREAM_PORT\n".utf8))
    exit(2)
}
let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
let eventLoop = group.next()
let pool = try eventLoop.submit { NIOLoopBound(try Pool(arguments[2], upstreamPort, on: eventLoop), eventLoop: eventLoop) }.wait()
let channel = try ServerBootstrap(group: group)
    .serverChannelOption(.backlog, value: 4096)
    .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
    .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandlers(HTTPResponseEncoder(), ByteToMessageHandler(HTTPRequestDecoder()), Caller(pool.value))
        }
    }
    .bind(host: "127.0.0.1", port: port).wait()
FileHandle.standardOutput.write(Data("Listening on http://127.0.0.1:\(channel.localAddress?.port ?? port)\n".utf8))
try channel.closeFuture.wait()

import Broker
import Egress
import NIOCore
import NIOHTTP1
import NIOHTTP2
import NIOPosix
import NIOSSL
import NIOTLS
import OAuth

/// Opens one connection to an API: looks the host up, judges its addresses, connects to a judged one, speaks TLS, and
/// agrees on HTTP/1.1 or HTTP/2. SEC-69, SEC-73.
final class Dial {
    private let upstream: Upstream
    private let loop: LoopGateway
    private var isOver = false
    private var channel: (any Channel)?
    private var deadline: Scheduled<Void>?

    init(_ upstream: Upstream) {
        self.upstream = upstream
        loop = upstream.loop
    }

    private var eventLoop: any EventLoop { loop.eventLoop }

    func start() {
        let box = NIOLoopBound(self, eventLoop: eventLoop)
        let (egress, url, eventLoop) = (loop.gateway.egress, upstream.url, eventLoop)
        deadline = eventLoop.scheduleTask(in: TimeAmount(loop.gateway.limits.connect)) { box.value.fail(.connectTimedOut) }
        // Unstructured: the loop goes on while the name is looked up.
        Task {
            let result: Result<Egress.Target, EgressError>
            do throws(EgressError) {
                result = .success(try await egress.target(for: url))
            } catch {
                result = .failure(error)
            }
            eventLoop.execute { box.value.found(result) }
        }
    }

    private func found(_ result: Result<Egress.Target, EgressError>) {
        guard !isOver else { return }
        do {
            let target = try result.get()
            if let address = target.address {
                connect(try SocketAddress(ipAddress: address, port: upstream.url.effectivePort), through: nil)
            } else if let proxy = loop.gateway.egress.policy.proxy {
                connect(nil, through: proxy)
            } else {
                fail(.unresolved)
            }
        } catch let error as EgressError {
            fail(.of(error))
        } catch {
            fail(.unresolved)
        }
    }

    private func connect(_ address: SocketAddress?, through proxy: EndpointURL?) {
        let box = NIOLoopBound(self, eventLoop: eventLoop)
        let bootstrap = ClientBootstrap(group: eventLoop).connectTimeout(TimeAmount(loop.gateway.limits.connect))
            // What one connection may hold of an answer that nobody takes: half of the default.
            .channelOption(ChannelOptions.recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 1 << 10, initial: 4 << 10, maximum: 32 << 10))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try box.value.prepare(channel, through: proxy) }
            }
        let connected =
            if let proxy { bootstrap.connect(host: proxy.host, port: proxy.effectivePort) } else { address.map { bootstrap.connect(to: $0) } }
        connected?.assumeIsolated().whenFailure { [self] error in fail(error is ChannelError ? .connectTimedOut : .refused) }
    }

    private func prepare(_ channel: any Channel, through proxy: EndpointURL?) throws {
        self.channel = channel
        if isOver { return channel.close(promise: nil) }
        let pipeline = channel.pipeline.syncOperations
        let box = NIOLoopBound(self, eventLoop: eventLoop)
        if proxy != nil {
            try pipeline.addHandler(
                ProxyConnect(to: upstream.url) { isOpen in
                    if isOpen { box.value.beginTLS(channel) } else { box.value.fail(.proxyRefused) }
                })
        } else if upstream.url.scheme == .http {
            try pipeline.addHandler(WhenActive { box.value.speak(on: channel) })
        } else {
            try prepareTLS(channel)
        }
        try pipeline.addHandler(
            WhenClosed { error in box.value.fail(error is NIOSSLError || error is NIOSSLExtraError || error is BoringSSLError ? .tls : .refused) },
            name: Self.guardName)
    }

    private static let guardName = "dial"

    private func prepareTLS(_ channel: any Channel) throws {
        let box = NIOLoopBound(self, eventLoop: eventLoop)
        let name = IPLiteral(upstream.url.host) == nil ? upstream.url.host : nil
        try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: loop.gateway.tls, serverHostname: name), position: .first)
        try channel.pipeline.syncOperations.addHandler(
            ApplicationProtocolNegotiationHandler { result, channel in
                box.value.negotiated(result, channel, name: name)
                return channel.eventLoop.makeSucceededVoidFuture()
            }, position: .last)
    }

    private func negotiated(_ result: ALPNResult, _ channel: any Channel, name: String?) {
        if let name {
            guard let certificate = try? channel.pipeline.syncOperations.nioSSL_peerCertificate(), certificate.isFor(name: name) else { return fail(.tls) }
        }
        if case .negotiated("h2") = result { share(channel) } else { speak(on: channel) }
    }

    /// Through a tunnel. Plain http never takes one: Egress does not let it.
    private func beginTLS(_ channel: any Channel) {
        do { try prepareTLS(channel) } catch { fail(.tls) }
    }

    // MARK: Done

    private func speak(on channel: any Channel) {
        guard !isOver else { return }
        let handler = UpstreamConnection(upstream)
        do {
            try channel.pipeline.syncOperations.addHandler(handler)
            finish(channel)
            upstream.opened(handler)
        } catch {
            fail(.refused)
        }
    }

    private func share(_ channel: any Channel) {
        guard !isOver else { return }
        do {
            var settings = NIOHTTP2Handler.ConnectionConfiguration()
            settings.initialSettings = [
                HTTP2Setting(parameter: .enablePush, value: 0), HTTP2Setting(parameter: .maxHeaderListSize, value: 64 << 10),
            ]
            let pipeline = channel.pipeline.syncOperations
            let multiplexer = try pipeline.configureHTTP2Pipeline(mode: .client, connectionConfiguration: settings, streamConfiguration: .init()) { stream in
                // Nobody was asked for anything.
                stream.close()
            }
            let connection = try SharedConnection(upstream, channel, multiplexer)
            finish(channel)
            upstream.opened(connection)
        } catch {
            fail(.refused)
        }
    }

    private func finish(_ channel: any Channel) {
        isOver = true
        deadline?.cancel()
        channel.pipeline.syncOperations.removeHandler(name: Self.guardName).assumeIsolated().whenFailure { _ in channel.close(promise: nil) }
    }

    private func fail(_ failure: APIFailure) {
        guard !isOver else { return }
        isOver = true
        deadline?.cancel()
        channel?.close(promise: nil)
        upstream.notOpened(failure)
    }
}

/// Tells once that the channel is connected.
private final class WhenActive: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    private let tell: () -> Void

    init(_ tell: @escaping () -> Void) { self.tell = tell }

    func channelActive(context: ChannelHandlerContext) {
        tell()
        context.fireChannelActive()
        context.pipeline.syncOperations.removeHandler(self, promise: nil)
    }
}

/// Tells of an error or a close before the connection could be used.
private final class WhenClosed: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = Never
    private let tell: ((any Error)?) -> Void

    init(_ tell: @escaping ((any Error)?) -> Void) { self.tell = tell }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { tell(error) }

    func channelInactive(context: ChannelHandlerContext) {
        tell(nil)
        context.fireChannelInactive()
    }
}

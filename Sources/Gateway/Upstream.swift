import Broker
import NIOCore
import NIOHTTP2
import OAuth

/// One API, as one connection of ours reaches it from one event loop: idle connections, those being opened, and who waits.
final class Upstream {
    enum Speech {
        case unknown, http1, http2
    }
    let url: EndpointURL
    let loop: LoopGateway
    private var speech: Speech
    /// The one used last is used next.
    private var idle: [UpstreamHandler] = []
    private var shared: [SharedConnection] = []
    private var waiting = CircularBuffer<Exchange>()
    private var opening = 0
    private var open = 0
    /// That ran into the connect deadline, in a row.
    private var timeOuts = 0
    private var darkUntil: NIODeadline?

    init(_ url: EndpointURL, on loop: LoopGateway) {
        self.url = url
        self.loop = loop
        speech = url.scheme == .http ? .http1 : .unknown
    }

    var isUnused: Bool { idle.isEmpty && shared.isEmpty && waiting.isEmpty && opening == 0 && open == 0 && !isDark }

    private var isDark: Bool { darkUntil.map { loop.now < $0 } ?? false }

    // MARK: Giving

    func give(to exchange: Exchange) {
        if !exchange.needsFresh {
            while let handler = idle.popLast() {
                guard handler.isUsable else { continue }
                return handler.take(exchange, wasReused: true)
            }
            if let connection = shared.last(where: \.hasRoom) { return connection.openStream(for: exchange) }
        }
        guard !isDark else { return exchange.noConnection(.connectTimedOut) }
        guard waiting.count < loop.gateway.limits.waiting else { return exchange.noConnection(.tooManyWaiting) }
        waiting.append(exchange)
        openAsNeeded()
    }

    private func openAsNeeded() {
        dropWhoHasGone()
        // Whether one connection serves all is known when the first is open.
        let wanted = speech == .http1 ? waiting.count : min(waiting.count, 1)
        while opening < wanted, open + opening < loop.gateway.limits.connections {
            opening += 1
            Dial(self).start()
        }
    }

    private func dropWhoHasGone() { while waiting.first.map({ !$0.isWaiting }) ?? false { waiting.removeFirst() } }

    private func serveWaiting(with handler: UpstreamHandler, wasReused: Bool) -> Bool {
        dropWhoHasGone()
        let inTurn = waiting.firstIndex { $0.isWaiting && !(wasReused && $0.needsFresh) }
        // Whoever needs an unused one gets it first: its own place was given up for it.
        guard let index = wasReused ? inTurn : waiting.firstIndex(where: { $0.isWaiting && $0.needsFresh }) ?? inTurn else { return false }
        handler.take(waiting.remove(at: index), wasReused: wasReused)
        return true
    }

    // MARK: Connections

    func opened(_ handler: UpstreamConnection) {
        answered()
        speech = .http1
        open += 1
        if !serveWaiting(with: handler, wasReused: false) { keep(handler) }
        openAsNeeded()
    }

    func opened(_ connection: SharedConnection) {
        answered()
        speech = .http2
        open += 1
        shared.append(connection)
        serveWaiting(with: connection)
        openAsNeeded()
    }

    private func answered() {
        opening -= 1
        timeOuts = 0
        darkUntil = nil
    }

    private func serveWaiting(with connection: SharedConnection) {
        while connection.hasRoom, let exchange = waiting.popFirst() {
            if exchange.isWaiting { connection.openStream(for: exchange) }
        }
    }

    func notOpened(_ failure: APIFailure) {
        opening -= 1
        if failure == .connectTimedOut {
            timeOuts += 1
            // A host that lets callers wait is asked by one at a time, and others are told at once.
            if timeOuts >= 3 { darkUntil = .now() + .seconds(5) }
        }
        // All wait for the same; only where each has a connection of its own, one fails alone.
        let isAlone = speech == .http1 && !isDark
        while let exchange = waiting.popFirst() {
            let waited = exchange.isWaiting
            exchange.noConnection(failure)
            if isAlone, waited { break }
        }
        openAsNeeded()
    }

    /// A connection whose exchange is over.
    func release(_ handler: UpstreamHandler) {
        guard !waiting.isEmpty else { return keep(handler) }
        if serveWaiting(with: handler, wasReused: true) { return }
        // Whoever waits for an unused one has no room for it otherwise.
        let isFull = open + opening >= loop.gateway.limits.connections
        if isFull, opening < waiting.count(where: \.isWaiting) { handler.close() } else { keep(handler) }
    }

    private func keep(_ handler: UpstreamHandler) {
        handler.idleSince = loop.now
        idle.append(handler)
    }

    func closed(_ handler: UpstreamHandler) {
        open -= 1
        if let index = idle.lastIndex(where: { $0 === handler }) { idle.remove(at: index) }
        openAsNeeded()
    }

    func closed(_ connection: SharedConnection) {
        open -= 1
        shared.removeAll { $0 === connection }
        openAsNeeded()
    }

    func hasRoom(_ connection: SharedConnection) { serveWaiting(with: connection) }

    func close() {
        for handler in idle { handler.close() }
        for connection in shared { connection.close() }
    }

    func dropIdle() {
        let limit = TimeAmount(loop.gateway.limits.upstreamKeepAlive)
        for handler in idle where loop.now - handler.idleSince > min(limit, handler.keepAlive ?? limit) { handler.close() }
        for connection in shared where connection.isIdle(longerThan: limit) { connection.close() }
    }
}

/// An HTTP/2 connection, on which many exchanges have a stream each.
final class SharedConnection {
    private static let mostStreams = 100
    /// Identifiers of streams are used up one day. RFC 9113 §5.1.1.
    private static let lifetime = 1 << 29
    private let upstream: Upstream
    private let channel: any Channel
    private let multiplexer: NIOHTTP2Handler.StreamMultiplexer
    private var open = 0
    private var opened = 0
    private var streams = SharedConnection.mostStreams
    private var idleSince: NIODeadline
    private var isRetired = false
    /// The last stream that the API cares for, when it goes away.
    private var lastStream: HTTP2StreamID?

    /// - Throws: when the channel is closed.
    init(_ upstream: Upstream, _ channel: any Channel, _ multiplexer: NIOHTTP2Handler.StreamMultiplexer) throws {
        self.upstream = upstream
        self.channel = channel
        self.multiplexer = multiplexer
        idleSince = upstream.loop.now
        try channel.pipeline.syncOperations.addHandler(SharedConnectionHandler(self))
        channel.closeFuture.assumeIsolated().whenComplete { [self] _ in
            isRetired = true
            upstream.closed(self)
        }
    }

    private var isUsable: Bool { !isRetired && channel.isActive }

    var hasRoom: Bool { isUsable && open < streams && opened < Self.lifetime }

    func isIdle(longerThan limit: TimeAmount) -> Bool { open == 0 && upstream.loop.now - idleSince > limit }

    func close() {
        isRetired = true
        channel.close(promise: nil)
    }

    /// No stream is opened any more; those that are open end as they would.
    func retire() {
        isRetired = true
        if open == 0 { close() }
    }

    func goAway(after stream: HTTP2StreamID) {
        lastStream = stream
        retire()
    }

    func hasGoneAway(before stream: HTTP2StreamID) -> Bool { lastStream.map { $0 < stream } ?? false }

    /// More would wait in the connection, where they can be neither taken back nor sent elsewhere.
    func allow(streams: Int) {
        self.streams = min(streams, Self.mostStreams)
        if hasRoom { upstream.hasRoom(self) }
    }

    func openStream(for exchange: Exchange) {
        open += 1
        opened += 1
        let (upstream, eventLoop) = (upstream, channel.eventLoop)
        let made = NIOLoopBound(UpstreamStream(upstream, self), eventLoop: eventLoop)
        let promise = eventLoop.makePromise(of: (any Channel).self)
        multiplexer.createStreamChannel(promise: promise) { stream in
            stream.eventLoop.makeCompletedFuture {
                try stream.pipeline.syncOperations.addHandlers(HTTP2FramePayloadToHTTP1ClientCodec(httpProtocol: .https), made.value)
            }
        }
        promise.futureResult.assumeIsolated().whenComplete { [self] result in
            switch result {
            case .success where exchange.isWaiting && isUsable: made.value.take(exchange, wasReused: true)
            case .success:
                made.value.close()
                giveBack(exchange)
            case .failure:
                isRetired = true
                streamClosed()
                giveBack(exchange)
            }
        }
    }

    private func giveBack(_ exchange: Exchange) {
        if exchange.isWaiting { upstream.give(to: exchange) }
    }

    func streamClosed() {
        open -= 1
        idleSince = upstream.loop.now
        if hasRoom { upstream.hasRoom(self) } else if isRetired { retire() }
    }
}

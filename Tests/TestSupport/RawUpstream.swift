import Foundation
import NIOCore
import NIOPosix
import Synchronization

/// A server that remembers every byte it heard and says exactly the bytes it was told to say.
package final class RawUpstream: Sendable {
    package enum Step: Sendable {
        case send([UInt8])
        /// So many bytes of the pattern, as fast as they are taken.
        case pattern(Int)
        /// The same bytes so many times, as fast as they are taken.
        case again([UInt8], Int)
        /// One byte after the other.
        case drip([UInt8], every: Duration)
        /// Goes on when the test says so.
        case wait(Signal)
        case pauseReading
        case resumeReading
        case close
        /// Ends the connection as a machine does that is switched off.
        case reset

        package static func send(_ text: String) -> Step { .send(Array(text.utf8)) }
    }

    /// A request as it came.
    package struct Request: Sendable {
        /// Head, body and its framing; of a body that is longer, the first MiB.
        package fileprivate(set) var bytes: [UInt8]
        /// From 0, in the order in which they were opened.
        package let connection: Int
        /// The body without its framing; of a longer one, the first MiB.
        package fileprivate(set) var body: [UInt8] = []
        package fileprivate(set) var pattern = PatternBytes.Check()
        package fileprivate(set) var trailers: [String] = []
        /// Request line and field lines.
        package let lines: [String]

        fileprivate init(head: [UInt8], connection: Int) {
            bytes = head
            self.connection = connection
            lines = String(decoding: head, as: UTF8.self).split(separator: "\r\n", omittingEmptySubsequences: true).map(String.init)
        }

        package var requestLine: String { lines.first ?? "" }
        package var method: String { String(requestLine.prefix { $0 != " " }) }
        package var target: String {
            let words = requestLine.split(separator: " ", omittingEmptySubsequences: false)
            return words.count > 1 ? String(words[1]) : ""
        }
        package var text: String { String(decoding: bytes, as: UTF8.self) }
        /// The names in lower case, sorted.
        package var names: [String] { lines.dropFirst().map { $0.prefix { $0 != ":" }.lowercased() }.sorted() }
        /// In whatever case the name is written.
        package func values(_ name: String) -> [String] {
            lines.dropFirst().filter { $0.prefix { $0 != ":" }.lowercased() == name.lowercased() }
                .map { $0.drop { $0 != ":" }.dropFirst().trimmingPrefix { $0 == " " }.description }
        }
        package subscript(_ name: String) -> String? {
            let values = values(name)
            return values.count == 1 ? values[0] : nil
        }
    }

    /// What it does.
    package struct Script: Sendable {
        /// On each connection, before anything came.
        package var onConnect: [Step] = []
        /// When a request's head is there, its body perhaps not.
        package var onHead: @Sendable (Request) -> [Step] = { _ in [] }
        /// When a request is whole.
        package var answer: @Sendable (Request) -> [Step] = { _ in [] }

        package init() {}

        package static func answering(_ steps: Step...) -> Script { answering { _ in steps } }
        package static func answering(_ answer: @escaping @Sendable (Request) -> [Step]) -> Script {
            var script = Script()
            script.answer = answer
            return script
        }
        package static let success = answering { request in
            // An answer to HEAD has no body, whatever length it speaks of.
            let answer = RawUpstream.answer()
            return [.send(request.method == "HEAD" ? Array(answer.dropLast(2)) : answer)]
        }
        package static let silence = Script()
    }

    package let port: Int
    private let listener: any Channel
    private let record: Record
    /// Where nobody listens: another test may get the port of a server that was stopped.
    package static let nobody = "http://127.0.0.1:1"

    package var url: String { "http://127.0.0.1:\(port)" }
    package var authority: String { "127.0.0.1:\(port)" }

    private init(port: Int, listener: any Channel, record: Record) {
        self.port = port
        self.listener = listener
        self.record = record
    }

    package static func start(_ script: Script) async throws -> RawUpstream {
        let record = Record()
        let listener: any Channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(ChannelOptions.backlog, value: 1024)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Peer(record: record, script: script)) }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return RawUpstream(port: listener.localAddress?.port ?? 0, listener: listener, record: record)
    }

    package func stop() async {
        listener.close(mode: .all, promise: nil)
        for channel in record.channels { channel.close(mode: .all, promise: nil) }
        try? await listener.closeFuture.get()
    }

    /// One as long as `body` runs.
    package static func with<R: Sendable>(_ script: Script, _ body: (RawUpstream) async throws -> R) async throws -> R {
        let upstream = try await start(script)
        let outcome: Result<R, any Error>
        do { outcome = .success(try await body(upstream)) } catch { outcome = .failure(error) }
        await upstream.stop()
        return try outcome.get()
    }

    // MARK: What it saw

    /// Those that are whole.
    package var requests: [Request] { record.requests }
    package var connectionCount: Int { record.channels.count }
    /// Everything that came on each connection; the first MiB of it.
    package var received: [String] { record.received.map { String(decoding: $0, as: UTF8.self) } }
    /// Whether something came on a connection that is no whole request, or has not become one.
    package var hasLeftovers: Bool { record.hasLeftovers }
    /// Bytes that the network has taken from it.
    package var sentCount: Int { record.sent.withLock { $0 } }

    /// The next head that was not waited for before.
    package func nextHead() async -> Request? {
        for await request in record.heads { return request }
        return nil
    }

    /// The next whole request that was not waited for before.
    package func nextRequest() async -> Request? {
        for await request in record.wholes { return request }
        return nil
    }

    /// Waits until the connection has been closed, by either side.
    package func closed(_ connection: Int) async throws { try await record.channels[connection].closeFuture.get() }

    // MARK: What it says

    /// A whole answer.
    package static func answer(_ status: String = "200 OK", _ fields: [String] = [], body: String = "{}") -> [UInt8] {
        Array((["HTTP/1.1 \(status)"] + fields + ["Content-Length: \(body.utf8.count)", "", ""]).joined(separator: "\r\n").utf8) + Array(body.utf8)
    }

    /// A whole answer in chunks.
    package static func chunked(_ status: String = "200 OK", _ fields: [String] = [], chunks: [[UInt8]], trailers: [String] = []) -> [UInt8] {
        var bytes = Array((["HTTP/1.1 \(status)"] + fields + ["Transfer-Encoding: chunked", "", ""]).joined(separator: "\r\n").utf8)
        for chunk in chunks { bytes += Array((String(chunk.count, radix: 16) + "\r\n").utf8) + chunk + [13, 10] }
        return bytes + Array((["0"] + trailers + ["", ""]).joined(separator: "\r\n").utf8)
    }
}

extension Channel {
    /// Ends the connection with a reset, as a machine does that is switched off.
    func reset() {
        let set = (self as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0)) ?? eventLoop.makeSucceededVoidFuture()
        set.whenComplete { _ in self.close(mode: .all, promise: nil) }
    }
}

private final class Record: Sendable {
    static let limit = 1 << 20

    private struct Connection {
        let channel: any Channel
        var received: [UInt8] = []
        var isInRequest = false
    }
    private let connections = Mutex<[Connection]>([])
    private let finished = Mutex<[RawUpstream.Request]>([])
    let sent = Mutex(0)
    let heads: AsyncStream<RawUpstream.Request>
    let wholes: AsyncStream<RawUpstream.Request>
    private let headsIn: AsyncStream<RawUpstream.Request>.Continuation
    private let wholesIn: AsyncStream<RawUpstream.Request>.Continuation

    init() {
        (heads, headsIn) = AsyncStream.makeStream()
        (wholes, wholesIn) = AsyncStream.makeStream()
    }

    func opened(_ channel: any Channel) -> Int {
        connections.withLock { connections in
            connections.append(Connection(channel: channel))
            return connections.count - 1
        }
    }

    func heard(_ buffer: ByteBuffer, at index: Int) {
        connections.withLock { connections in
            connections[index].isInRequest = true
            let room = Self.limit - connections[index].received.count
            if room > 0 { connections[index].received += buffer.readableBytesView.prefix(room) }
        }
    }

    func heardHead(_ request: RawUpstream.Request) { headsIn.yield(request) }

    func heardWhole(_ request: RawUpstream.Request) {
        finished.withLock { $0.append(request) }
        wholesIn.yield(request)
    }

    func isBetweenRequests(at index: Int) { connections.withLock { $0[index].isInRequest = false } }

    var requests: [RawUpstream.Request] { finished.withLock { $0 } }
    var channels: [any Channel] { connections.withLock { $0.map(\.channel) } }
    var received: [[UInt8]] { connections.withLock { $0.map(\.received) } }
    var hasLeftovers: Bool { connections.withLock { $0.contains(where: \.isInRequest) } }
}

/// Takes requests apart as a strict server does; what it cannot read stays a leftover.
private final class Peer: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private enum State {
        case head
        case body(left: Int)
        case chunkSize
        case chunk(left: Int)
        case trailers
        case unreadable
    }

    private let record: Record
    private let script: RawUpstream.Script
    private var player: Player?
    private var index = 0
    private var pending = ByteBuffer()
    private var state = State.head
    private var request: RawUpstream.Request?

    init(record: Record, script: RawUpstream.Script) {
        self.record = record
        self.script = script
    }

    func channelActive(context: ChannelHandlerContext) {
        index = record.opened(context.channel)
        let player = Player(context.channel, record)
        self.player = player
        player.add(script.onConnect)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = unwrapInboundIn(data)
        record.heard(buffer, at: index)
        if pending.readableBytes == 0 { pending = buffer } else { pending.writeBuffer(&buffer) }
        while step() {}
        if case .head = state, pending.readableBytes == 0 { record.isBetweenRequests(at: index) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    /// - Returns: whether there may be more to do.
    private func step() -> Bool {
        switch state {
        case .unreadable:
            pending.clear()
            return false
        case .head:
            guard let end = pending.readableBytesView.firstRange(of: [13, 10, 13, 10]) else { return false }
            guard let head = pending.readBytes(length: end.upperBound - pending.readerIndex) else { return false }
            let request = RawUpstream.Request(head: head, connection: index)
            self.request = request
            record.heardHead(request)
            player?.add(script.onHead(request))
            if request.values("transfer-encoding").last?.lowercased() == "chunked" {
                state = .chunkSize
            } else if let length = request.values("content-length").last.flatMap({ Int($0) }), length > 0 {
                state = .body(left: length)
            } else {
                finish()
            }
            return true
        case .body(let left):
            guard let piece = pending.readSlice(length: min(left, pending.readableBytes)), piece.readableBytes > 0 else { return false }
            take(piece, isBody: true)
            state = .body(left: left - piece.readableBytes)
            if left == piece.readableBytes { finish() }
            return true
        case .chunkSize:
            guard let line = readLine() else { return false }
            guard let size = Int(line, radix: 16) else {
                state = .unreadable
                return true
            }
            state = size == 0 ? .trailers : .chunk(left: size)
            return true
        case .chunk(let left):
            if left > 0 {
                guard let piece = pending.readSlice(length: min(left, pending.readableBytes)), piece.readableBytes > 0 else { return false }
                take(piece, isBody: true)
                state = .chunk(left: left - piece.readableBytes)
                return true
            }
            guard let line = readLine() else { return false }
            state = line.isEmpty ? .chunkSize : .unreadable
            return true
        case .trailers:
            guard let line = readLine() else { return false }
            if line.isEmpty { finish() } else { request?.trailers.append(line) }
            return true
        }
    }

    private func readLine() -> String? {
        guard let end = pending.readableBytesView.firstRange(of: [13, 10]) else { return nil }
        guard let piece = pending.readSlice(length: end.upperBound - pending.readerIndex) else { return nil }
        take(piece, isBody: false)
        return String(decoding: piece.readableBytesView.dropLast(2), as: UTF8.self)
    }

    private func take(_ piece: ByteBuffer, isBody: Bool) {
        guard var request else { return }
        self.request = nil
        if request.bytes.count < Record.limit { request.bytes += piece.readableBytesView.prefix(Record.limit - request.bytes.count) }
        if isBody {
            if request.body.count < Record.limit { request.body += piece.readableBytesView.prefix(Record.limit - request.body.count) }
            request.pattern.next(piece)
        }
        self.request = request
    }

    private func finish() {
        state = .head
        guard let request else { return }
        self.request = nil
        record.heardWhole(request)
        player?.add(script.answer(request))
    }
}

/// Plays a connection's steps one after the other.
private final class Player: Sendable {
    private struct State {
        var steps: [RawUpstream.Step] = []
        var isPlaying = false
    }
    private let channel: any Channel
    private let record: Record
    private let state = Mutex(State())

    init(_ channel: any Channel, _ record: Record) {
        self.channel = channel
        self.record = record
    }

    func add(_ steps: [RawUpstream.Step]) {
        let isFirst = state.withLock { state in
            state.steps += steps
            guard !state.isPlaying, !state.steps.isEmpty else { return false }
            state.isPlaying = true
            return true
        }
        if isFirst { next() }
    }

    private func next() {
        let step = state.withLock { state -> RawUpstream.Step? in
            guard state.steps.isEmpty else { return state.steps.removeFirst() }
            state.isPlaying = false
            return nil
        }
        switch step {
        case nil: return
        case .send(let bytes): write(bytes) { self.next() }
        case .pattern(let count): pattern(from: 0, to: count)
        case .again(let bytes, let times): again(bytes, times)
        case .drip(let bytes, let pause): drip(bytes[...], .init(pause))
        case .wait(let signal): signal.whenGiven { self.next() }
        case .pauseReading: read(false)
        case .resumeReading: read(true)
        case .close: channel.close(mode: .all, promise: nil)
        case .reset:
            channel.reset()
        }
    }

    /// Goes on when the network has taken them; not at all when the connection is gone.
    private func write(_ bytes: [UInt8], then: @escaping @Sendable () -> Void) {
        channel.writeAndFlush(ByteBuffer(bytes: bytes)).whenSuccess { [self] _ in
            record.sent.withLock { $0 += bytes.count }
            // Later, so that a long row of them makes no deep stack.
            channel.eventLoop.execute(then)
        }
    }

    private func pattern(from done: Int, to count: Int) {
        guard done < count else { return next() }
        let piece = PatternBytes.piece(at: done, count: min(60_000, count - done))
        write(piece) { self.pattern(from: done + piece.count, to: count) }
    }

    private func again(_ bytes: [UInt8], _ times: Int) {
        guard times > 0 else { return next() }
        write(bytes) { self.again(bytes, times - 1) }
    }

    private func drip(_ bytes: ArraySlice<UInt8>, _ pause: TimeAmount) {
        guard let byte = bytes.first else { return next() }
        write([byte]) { [self] in
            _ = channel.eventLoop.scheduleTask(in: pause) { self.drip(bytes.dropFirst(), pause) }
        }
    }

    private func read(_ isReading: Bool) {
        channel.setOption(ChannelOptions.autoRead, value: isReading).whenSuccess { self.next() }
    }
}

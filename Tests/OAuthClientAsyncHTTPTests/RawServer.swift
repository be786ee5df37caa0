import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

/// A server that says exactly the bytes it was told to say, and remembers every byte it heard.
final class RawServer: Sendable {
    enum Step: Sendable {
        case send([UInt8])
        /// Over and over, every millisecond that they are taken in.
        case flood([UInt8])
        /// One byte, again and again.
        case drip(UInt8, every: TimeAmount)
        case close
    }

    /// What is done on each connection, in order.
    struct Script: Sendable {
        fileprivate var onConnect: [Step] = []
        /// Asked once per connection, when its first request is whole.
        fileprivate var answer: @Sendable (_ request: String) -> [Step] = { _ in [] }

        static let silence = Script()
        static let success = answering([.send(RawServer.answer())])
        static func greeting(_ steps: [Step]) -> Script { Script(onConnect: steps) }
        static func answering(_ steps: [Step]) -> Script { Script(answer: { _ in steps }) }
        static func answering(by answer: @escaping @Sendable (_ request: String) -> [Step]) -> Script { Script(answer: answer) }
    }

    let host: String
    let port: Int
    private let listener: any Channel
    private let record: Record

    private init(host: String, port: Int, listener: any Channel, record: Record) {
        self.host = host
        self.port = port
        self.listener = listener
        self.record = record
    }

    static func start(_ script: Script, host: String = "127.0.0.1", port: Int = 0, tls: NIOSSLContext? = nil) async throws -> RawServer {
        let record = Record()
        let listener: any Channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(ChannelOptions.backlog, value: 256)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls { try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls)) }
                    try channel.pipeline.syncOperations.addHandler(Peer(record: record, script: script))
                }
            }
            .bind(host: host, port: port).get()
        return RawServer(host: host, port: listener.localAddress?.port ?? 0, listener: listener, record: record)
    }

    /// A server as long as `body` runs.
    static func with(
        _ script: Script, host: String = "127.0.0.1", port: Int = 0, tls: NIOSSLContext? = nil, body: (RawServer) async throws -> Void
    ) async throws {
        let server = try await start(script, host: host, port: port, tls: tls)
        let outcome: Result<Void, any Error>
        do {
            try await body(server)
            outcome = .success(())
        } catch {
            outcome = .failure(error)
        }
        try await server.stop()
        try outcome.get()
    }

    func stop() async throws {
        listener.close(mode: .all, promise: nil)
        for channel in record.channels { channel.close(mode: .all, promise: nil) }
        try await listener.closeFuture.get()
    }

    /// `http://127.0.0.1:PORT` and `path`.
    func url(_ path: String = "/token", scheme: String = "http", host: String? = nil) -> String { "\(scheme)://\(host ?? self.host):\(port)\(path)" }

    var connectionCount: Int { record.channels.count }
    /// What each connection said, decrypted.
    var received: [String] { record.received }

    /// Waits until a request is whole that was not waited for before.
    func nextRequest() async -> String? {
        for await request in record.requests { return request }
        return nil
    }

    /// Waits until every connection so far has been closed, by either side.
    func allClosed() async throws {
        for channel in record.channels { try await channel.closeFuture.get() }
    }

    static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    /// A whole answer.
    static func answer(_ status: String = "200 OK", fields: [String] = [], body: String = "{}") -> [UInt8] {
        let head = ["HTTP/1.1 \(status)"] + fields + ["Content-Length: \(body.utf8.count)", "", ""]
        return bytes(head.joined(separator: "\r\n") + body)
    }
}

private final class Record: Sendable {
    private struct Connection {
        let channel: any Channel
        var received: [UInt8] = []
    }
    private let connections = Mutex<[Connection]>([])
    let requests: AsyncStream<String>
    private let continuation: AsyncStream<String>.Continuation

    init() {
        let (stream, continuation) = AsyncStream.makeStream(of: String.self)
        self.requests = stream
        self.continuation = continuation
    }

    func opened(_ channel: any Channel) -> Int {
        connections.withLock { connections in
            connections.append(Connection(channel: channel))
            return connections.count - 1
        }
    }
    func heard(_ bytes: [UInt8], at index: Int) { connections.withLock { $0[index].received = bytes } }
    func heardRequest(_ text: String) { continuation.yield(text) }

    var channels: [any Channel] { connections.withLock { $0.map(\.channel) } }
    var received: [String] { connections.withLock { $0.map { String(decoding: $0.received, as: UTF8.self) } } }
}

private final class Peer: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let record: Record
    private let script: RawServer.Script
    private var index: Int?
    private var received: [UInt8] = []
    private var hasAnswered = false

    init(record: Record, script: RawServer.Script) {
        self.record = record
        self.script = script
    }

    func channelActive(context: ChannelHandlerContext) {
        index = record.opened(context.channel)
        Self.play(script.onConnect[...], on: context.channel)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let buffer = unwrapInboundIn(data)
        received.append(contentsOf: buffer.readableBytesView)
        if let index { record.heard(received, at: index) }
        guard !hasAnswered, Self.isWhole(received) else { return }
        hasAnswered = true
        let request = String(decoding: received, as: UTF8.self)
        record.heardRequest(request)
        Self.play(script.answer(request)[...], on: context.channel)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private static func play(_ steps: ArraySlice<RawServer.Step>, on channel: any Channel) {
        guard let step = steps.first else { return }
        switch step {
        case .send(let bytes):
            channel.writeAndFlush(ByteBuffer(bytes: bytes)).whenSuccess { _ in play(steps.dropFirst(), on: channel) }
        case .flood(let bytes):
            channel.writeAndFlush(ByteBuffer(bytes: bytes)).whenSuccess { _ in
                // A moment between two, or the loop that this runs on would do nothing else.
                _ = channel.eventLoop.scheduleTask(in: .milliseconds(1)) { play(steps, on: channel) }
            }
        case .drip(let byte, let pause):
            _ = channel.eventLoop.scheduleRepeatedTask(initialDelay: pause, delay: pause) { task in
                if channel.isActive {
                    channel.writeAndFlush(ByteBuffer(bytes: [byte]), promise: nil)
                } else {
                    task.cancel()
                }
            }
        case .close:
            channel.close(mode: .all, promise: nil)
        }
    }

    /// Whether `bytes` are a head with as much body as it announces.
    private static func isWhole(_ bytes: [UInt8]) -> Bool {
        guard let end = bytes.firstRange(of: [13, 10, 13, 10]) else { return false }
        let head = String(decoding: bytes[..<end.lowerBound], as: UTF8.self).lowercased()
        let length = head.split(separator: "\r\n").first { $0.hasPrefix("content-length:") }?.split(separator: " ").last.flatMap { Int($0) }
        return bytes.count - end.upperBound >= length ?? 0
    }
}

import NIOCore
import NIOPosix
import OAuth
import TestSupport

/// One HTTP/1.1 request byte by byte: what a client library would mend or refuse, and crowds that ask at one moment.
struct RawConnection: Sendable {
    private let channel: any Channel
    private let answer: EventLoopFuture<[UInt8]>

    static func open(_ url: String) async throws -> RawConnection {
        let port = try EndpointURL(url).effectivePort
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let promise = loop.makePromise(of: [UInt8].self)
        do {
            let channel: any Channel = try await ClientBootstrap(group: loop)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Collector(promise)) }
                }
                .connect(host: "127.0.0.1", port: port).get()
            return RawConnection(channel: channel, answer: promise.futureResult)
        } catch {
            promise.fail(error)
            throw error
        }
    }

    /// Everything that came until the server closed the connection, or half a minute had passed.
    func send(_ bytes: [UInt8]) async throws -> RawAnswer {
        let channel = self.channel
        let deadline = channel.eventLoop.scheduleTask(in: .seconds(30)) { channel.close(mode: .all, promise: nil) }
        defer { deadline.cancel() }
        // A server that has heard enough may close before the last byte: what it said counts.
        channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
        return RawAnswer(try await answer.get())
    }

    private final class Collector: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let promise: EventLoopPromise<[UInt8]>
        private var bytes: [UInt8] = []

        init(_ promise: EventLoopPromise<[UInt8]>) { self.promise = promise }
        func channelRead(context: ChannelHandlerContext, data: NIOAny) { bytes += unwrapInboundIn(data).readableBytesView }
        func channelInactive(context: ChannelHandlerContext) { promise.succeed(bytes) }
        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}

struct RawAnswer: Sendable {
    /// 0 when nothing came.
    let status: Int
    let head: String
    let body: String

    init(_ bytes: [UInt8]) {
        let text = String(decoding: bytes, as: UTF8.self)
        let words = text.split(separator: " ", maxSplits: 2)
        status = words.count > 1 ? Int(words[1]) ?? 0 : 0
        if let gap = text.firstRange(of: "\r\n\r\n") {
            head = String(text[..<gap.lowerBound])
            body = String(text[gap.upperBound...])
        } else {
            head = text
            body = ""
        }
    }

    func field(_ name: String) -> String? {
        let start = name.lowercased() + ":"
        guard let line = head.split(separator: "\r\n").first(where: { $0.lowercased().hasPrefix(start) }) else { return nil }
        return String(line.dropFirst(start.count).drop { $0 == " " })
    }

    var json: JSONValue { (try? JSONValue(parsing: Array(body.utf8))) ?? .null }
}

extension RunningServer {
    private func request(_ method: String, _ target: String, host: String?, fields: [String], body: String) throws -> [UInt8] {
        let own = try EndpointURL(url).authority
        var lines = ["\(method) \(target) HTTP/1.1", "Host: \(host ?? own)", "Connection: close"] + fields
        if !body.isEmpty { lines.append("Content-Length: \(body.utf8.count)") }
        return Array((lines.joined(separator: "\r\n") + "\r\n\r\n" + body).utf8)
    }

    /// The target, the host and the fields go out as they are written.
    func raw(_ method: String, _ target: String, host: String? = nil, fields: [String] = [], body: String = "") async throws -> RawAnswer {
        let bytes = try request(method, target, host: host, fields: fields, body: body)
        return try await RawConnection.open(url).send(bytes)
    }

    /// One connection for each caller; all of them stand before the first one asks.
    func crowd(of callers: Int, _ target: String) async throws -> [RawAnswer] {
        let bytes = try request("GET", target, host: nil, fields: ["Authorization: Bearer \(adminKey)"], body: "")
        var connections: [RawConnection] = []
        while connections.count < callers {
            let size = min(100, callers - connections.count)
            connections += try await withThrowingTaskGroup(of: RawConnection.self) { group in
                for _ in 0..<size { group.addTask { try await RawConnection.open(self.url) } }
                return try await group.reduce(into: [RawConnection]()) { $0.append($1) }
            }
        }
        return try await withThrowingTaskGroup(of: RawAnswer.self) { group in
            for connection in connections { group.addTask { try await connection.send(bytes) } }
            return try await group.reduce(into: [RawAnswer]()) { $0.append($1) }
        }
    }
}

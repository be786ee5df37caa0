import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOPosix
import NIOSSL
import Server
import Synchronization
import TestSupport
import Testing

/// An API over HTTP/2 that says exactly the frames it was told to say.
final class HTTP2Upstream: Sendable {
    enum Step: Sendable {
        case head(Int, isEnd: Bool = false)
        case body(String, isEnd: Bool = false)
        case reset(HTTP2ErrorCode)
        /// Of the connection: it cares for no stream behind that one.
        case goAway(after: HTTP2StreamID)
        /// Goes on when the test says so.
        case wait(Signal)
    }
    /// What it says to a whole request: its method and path, and how many there were, this one among them.
    typealias Script = @Sendable (_ request: String, _ count: Int) -> [Step]

    let url: String
    private let listener: any Channel
    private let heard: Heard

    /// Method and path of each request that was whole.
    var requests: [String] { heard.requests.withLock { $0 } }

    private init(_ script: @escaping Script, certificates: Nginx) async throws {
        let folder = certificates.caFile.replacing("ca.pem", with: "")
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: try NIOSSLCertificate.fromPEMFile(folder + "leaf.pem").map { .certificate($0) },
            privateKey: .privateKey(try NIOSSLPrivateKey(file: folder + "leaf.key", format: .pem)))
        configuration.applicationProtocols = ["h2"]
        let tls = try NIOSSLContext(configuration: configuration)
        let heard = Heard()
        let listener: any Channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(NIOSSLServerHandler(context: tls))
                    _ = try pipeline.configureHTTP2Pipeline(mode: .server, connectionConfiguration: .init(), streamConfiguration: .init()) { stream in
                        stream.eventLoop.makeCompletedFuture { try stream.pipeline.syncOperations.addHandler(Peer(heard, script)) }
                    }
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        url = "https://127.0.0.1:\(listener.localAddress?.port ?? 0)"
        self.heard = heard
        self.listener = listener
    }

    /// One as long as `body` runs, and the connection `api` to it.
    static func with(_ script: @escaping Script, _ body: (Stage, HTTP2Upstream) async throws -> Void) async throws {
        try await Nginx.with { nginx in
            let upstream = try await HTTP2Upstream(script, certificates: nginx)
            let outcome: Result<Void, any Error>
            do {
                try await Stage.with({ $0.caFile = nginx.caFile }) { stage async throws in
                    try await stage.add("api", at: upstream.url)
                    try await body(stage, upstream)
                }
                outcome = .success(())
            } catch {
                outcome = .failure(error)
            }
            try? await upstream.listener.close().get()
            try outcome.get()
        }
    }
}

private final class Heard: Sendable {
    let requests = Mutex<[String]>([])

    func add(_ request: String) -> Int {
        requests.withLock { requests in
            requests.append(request)
            return requests.count
        }
    }
}

private final class Peer: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias OutboundOut = HTTP2Frame.FramePayload

    private let heard: Heard
    private let script: HTTP2Upstream.Script
    private var request = ""
    private var steps: ArraySlice<HTTP2Upstream.Step> = []

    init(_ heard: Heard, _ script: @escaping HTTP2Upstream.Script) {
        self.heard = heard
        self.script = script
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var isEnd = false
        switch Self.unwrapInboundIn(data) {
        case .headers(let head):
            request = "\(head.headers.first(name: ":method") ?? "") \(head.headers.first(name: ":path") ?? "")"
            isEnd = head.endStream
        case .data(let data): isEnd = data.endStream
        default: break
        }
        guard isEnd else { return }
        steps = script(request, heard.add(request))[...]
        play(context)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func play(_ context: ChannelHandlerContext) {
        while let step = steps.popFirst() {
            switch step {
            case .head(let status, let isEnd): say(.headers(.init(headers: [":status": String(status)], endStream: isEnd)), context)
            case .body(let text, let isEnd): say(.data(.init(data: .byteBuffer(ByteBuffer(string: text)), endStream: isEnd)), context)
            case .reset(let code): say(.rstStream(code), context)
            case .goAway(let last):
                let frame = HTTP2Frame(streamID: .rootStream, payload: .goAway(lastStreamID: last, errorCode: .noError, opaqueData: nil))
                context.channel.parent?.writeAndFlush(frame, promise: nil)
            case .wait(let signal):
                let box = NIOLoopBound((self, context), eventLoop: context.eventLoop)
                let eventLoop = context.eventLoop
                Task {
                    await signal.wait()
                    eventLoop.execute { box.value.0.play(box.value.1) }
                }
                return
            }
        }
    }

    private func say(_ frame: HTTP2Frame.FramePayload, _ context: ChannelHandlerContext) {
        context.writeAndFlush(Self.wrapOutboundOut(frame), promise: nil)
    }
}

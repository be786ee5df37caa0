import AsyncHTTPClient
public import Egress
import HTTPTypes
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
public import OAuth
public import OAuthClient
import Synchronization

/// The ``Transport`` over AsyncHTTPClient: judged addresses only, no redirects, no cookies, nothing from the
/// environment; TLS 1.2 or later with full verification.
///
/// Every request has a client and a connection of its own: a reused idle connection that dies in mid-request would be
/// exactly the lost answer that OAuth cannot bear, and nothing is ever shared between two servers.
public final class AsyncHTTPTransport: Transport {
    /// The limits of one request. Times in whole; a test may shorten them.
    struct Limits: Sendable {
        var connect: Duration = .seconds(5)
        /// From the first look-up to the last byte of the answer.
        var whole: Duration = .seconds(30)
        /// Bytes of an answer's body.
        var body = 1 << 20
    }

    private let egress: Egress
    private let trust: Trust
    private let limits: Limits

    /// - Parameters:
    ///   - egress: what may be reached.
    ///   - caFile: path of a PEM file with certificates trusted besides the system's.
    /// - Throws: when the file cannot be read as PEM.
    public convenience init(egress: Egress, caFile: String? = nil) throws { try self.init(egress: egress, caFile: caFile, limits: Limits()) }

    convenience init(egress: Egress, caFile: String?, limits: Limits) throws {
        self.init(egress: egress, trust: try Trust(caFile: caFile), limits: limits)
    }

    package convenience init(egress: Egress, trust: Trust) { self.init(egress: egress, trust: trust, limits: Limits()) }

    private init(egress: Egress, trust: Trust, limits: Limits) {
        self.egress = egress
        self.trust = trust
        self.limits = limits
    }

    /// The same, but that an answer may take so long in whole.
    package func waiting(_ whole: Duration) -> AsyncHTTPTransport {
        var limits = limits
        limits.whole = whole
        return AsyncHTTPTransport(egress: egress, trust: trust, limits: limits)
    }

    /// At most 30 s, 5 s of them for the connection, and 1 MiB of answer.
    public func send(_ request: WireRequest) async throws(TransportError) -> WireResponse {
        let sent = SentFlag()
        let outcome = await withTaskGroup(of: Result<WireResponse, TransportError>.self) { group in
            group.addTask { await self.attempt(request, sent: sent) }
            group.addTask {
                do { try await Task.sleep(for: self.limits.whole) } catch { return .failure(TransportError(.cancelled, mayHaveBeenSent: false)) }
                return .failure(TransportError(.timedOut, mayHaveBeenSent: false))
            }
            let first = await group.next() ?? .failure(TransportError(.cancelled, mayHaveBeenSent: false))
            group.cancelAll()
            // An answer that comes in the moment of giving up is kept: it may hold the only copy of a rotated token.
            if case .failure = first, let second = await group.next(), case .success = second { return second }
            return first
        }
        switch outcome {
        case .success(let response): return response
        case .failure(var error):
            // Read when the attempt has ended and not before: the body may leave between the end of the time and its own.
            if error.reason == .timedOut || error.reason == .cancelled { error.mayHaveBeenSent = sent.isSet }
            throw error
        }
    }

    private func attempt(_ request: WireRequest, sent: SentFlag) async -> Result<WireResponse, TransportError> {
        do {
            let target = try await target(of: request)
            // Without a body nothing tells when the request has left, only that it is about to.
            let configuration = configuration(for: target) { if request.body.isEmpty { sent.set() } }
            let client = HTTPClient(eventLoopGroup: MultiThreadedEventLoopGroup.singleton, configuration: configuration)
            do {
                let response = try await exchange(request, target: target, client: client, sent: sent)
                close(client)
                return .success(response)
            } catch {
                close(client)
                return .failure(TransportError(failure: error, mayHaveBeenSent: sent.isSet))
            }
        } catch let error as TransportError {
            return .failure(error)
        } catch {
            return .failure(TransportError(failure: error, mayHaveBeenSent: sent.isSet))
        }
    }

    private func target(of request: WireRequest) async throws -> Egress.Target {
        let text = "\(request.head.scheme ?? "https")://\(request.head.authority ?? "")\(request.head.path ?? "/")"
        guard let url = try? EndpointURL(text) else { throw TransportError(.unreachable("the URL is not one"), mayHaveBeenSent: false) }
        do {
            return try await egress.target(for: url)
        } catch {
            switch error {
            case .blocked: throw TransportError(.blocked, mayHaveBeenSent: false)
            case .unresolved: throw TransportError(.unreachable("its name does not resolve"), mayHaveBeenSent: false)
            case .timedOut where Task.isCancelled: throw TransportError(.cancelled, mayHaveBeenSent: false)
            case .timedOut: throw TransportError(.unreachable("its name was not resolved in time"), mayHaveBeenSent: false)
            }
        }
    }

    /// - Parameter onConnection: called when the connection stands and the request is about to leave.
    private func configuration(for target: Egress.Target, onConnection: @escaping @Sendable () -> Void) -> HTTPClient.Configuration {
        var configuration = HTTPClient.Configuration(
            tlsConfiguration: target.url.scheme == .https ? trust.configuration : nil, redirectConfiguration: .disallow,
            timeout: .init(connect: .nanoseconds(limits.connect.nanoseconds)), decompression: .disabled)
        configuration.httpVersion = .http1Only
        configuration.maximumUsesPerConnection = 1
        configuration.connectionPool.retryConnectionEstablishment = false
        // Authority and SNI stay the name's; the connection goes to the address that was judged.
        if let address = target.address, address != target.url.host { configuration.dnsOverride = [target.url.host: address] }
        if let proxy = egress.policy.proxy { configuration.proxy = .server(host: proxy.host, port: proxy.effectivePort) }
        configuration.http1_1ConnectionDebugInitializer = { channel in
            channel.eventLoop.makeCompletedFuture {
                let pipeline = channel.pipeline.syncOperations
                let decoder = try pipeline.handler(type: ByteToMessageHandler<HTTPResponseDecoder>.self)
                try pipeline.addHandler(AnswerGuard(), position: .after(decoder))
                onConnection()
            }
        }
        return configuration
    }

    private func exchange(_ request: WireRequest, target: Egress.Target, client: HTTPClient, sent: SentFlag) async throws -> WireResponse {
        var outgoing = HTTPClientRequest(url: target.url.description)
        outgoing.method = HTTPMethod(rawValue: request.head.method.rawValue)
        for field in request.head.headerFields { outgoing.headers.add(name: field.name.rawName, value: field.value) }
        outgoing.headers.replaceOrAdd(name: "Connection", value: "close")
        if !request.body.isEmpty {
            outgoing.body = .stream(WatchedBody(bytes: request.body, sent: sent), length: .known(Int64(request.body.count)))
        }
        let response = try await client.execute(outgoing, timeout: .nanoseconds(limits.whole.nanoseconds))
        if let length = response.headers.first(name: "Content-Length").flatMap(Int.init), length > limits.body { throw TooLarge() }
        var body: [UInt8] = []
        for try await chunk in response.body {
            guard body.count + chunk.readableBytes <= limits.body else { throw TooLarge() }
            body.append(contentsOf: chunk.readableBytesView)
        }
        var head = HTTPResponse(status: .init(code: Int(response.status.code)))
        for (name, value) in response.headers {
            if let name = HTTPField.Name(name), HTTPField.isValidValue(value) { head.headerFields.append(HTTPField(name: name, value: value)) }
        }
        return WireResponse(head: head, body: body)
    }

    /// In a task of its own: closing may wait for the other side, and the answer should not.
    private func close(_ client: HTTPClient) {
        Task {
            do { try await client.shutdown() } catch { preconditionFailure("a client is shut down once") }
        }
    }
}

/// Set when the first byte of a body is about to leave; of a request without one, when its head is.
final class SentFlag: Sendable {
    private let flag = Mutex(false)
    var isSet: Bool { flag.withLock { $0 } }
    func set() { flag.withLock { $0 = true } }
}

/// A body whose first read is noticed: the connection stood then, so the request may have gone.
private struct WatchedBody: AsyncSequence, Sendable {
    let bytes: [UInt8]
    let sent: SentFlag

    struct AsyncIterator: AsyncIteratorProtocol {
        var rest: [UInt8]?
        let sent: SentFlag
        mutating func next() async throws -> ByteBuffer? {
            guard let bytes = rest else { return nil }
            sent.set()
            rest = nil
            return ByteBuffer(bytes: bytes)
        }
    }
    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(rest: bytes, sent: sent) }
}

struct TooLarge: Error {}

extension Duration {
    var nanoseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds * 1_000_000_000 + attoseconds / 1_000_000_000
    }
}

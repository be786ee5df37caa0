import Broker
import NIOCore
import NIOHTTP1

/// Gathers an answer as far as its limit goes.
final class Collector: AnswerSink {
    private let loop: LoopGateway
    private let limit: Int
    private let isAgent: Bool
    private let tell: (Result<Call.Answer, Problem>) -> Void
    private var exchange: Exchange?
    private var answer = Call.Answer(status: 0, headers: [], body: [], isCut: false, request: "")
    private var isOver = false

    init(_ loop: LoopGateway, limit: Int, isAgent: Bool, _ tell: @escaping (Result<Call.Answer, Problem>) -> Void) {
        self.loop = loop
        self.limit = limit
        self.isAgent = isAgent
        self.tell = tell
    }

    func start(_ call: Call, _ destination: Destination, _ caller: Caller) {
        let id = loop.makeID()
        do throws(Problem) {
            let length = call.body.map { AskedRequest.Framing.length(String($0.count)) } ?? .none
            // The parts of a request line that no parser has read yet.
            guard call.path.utf8.first == UInt8(ascii: "/") else { throw Problem(.invalidRequest, "path must begin with / and is relative to the base URL") }
            guard let method = Self.method(call.method) else { throw Problem(.invalidRequest, "method must be an HTTP method in upper case, such as GET") }
            let asked = AskedRequest(
                method: method, path: call.path[...], query: call.query.map { $0[...] }, fields: HTTPHeaders(call.headers.map { ($0.name, $0.value) }),
                framing: length, subject: call.subject, arguments: call.body)
            let request = try AdmittedRequest(
                asked, to: destination, for: caller, isAgent: isAgent, isScanned: true, id: id, broker: loop.gateway.broker)
            let exchange = Exchange(request, on: loop, for: self)
            self.exchange = exchange
            exchange.start()
            if let body = call.body { exchange.send(ByteBuffer(bytes: body)) }
            exchange.sendEnd()
        } catch {
            let broker = loop.gateway.broker
            let arguments = isAgent ? broker.fingerprint(call.method, call.path[...], query: call.query.map { $0[...] }, body: call.body) : nil
            broker.record(
                refused: error, call.method, path: call.path[...], arguments: arguments, of: destination, subject: call.subject, by: caller, id: id)
            finish(.failure(error))
        }
    }

    private static func method(_ text: String) -> HTTPMethod? {
        let method = HTTPMethod(rawValue: text)
        // One that the library knows by name: others are text from outside.
        if case .RAW = method { return nil }
        return method
    }

    func cancel() {
        exchange?.cancel()
        finish(.failure(Problem(.unavailable, "the call was given up")))
    }

    private func finish(_ result: Result<Call.Answer, Problem>) {
        guard !isOver else { return }
        isOver = true
        exchange = nil
        tell(result)
    }

    // MARK: AnswerSink

    var isWritable: Bool { !isOver }
    func goOn() {}
    func bodyDemandChanged() {}
    func flushAnswer() {}

    func answer(_ head: AnswerHead) {
        answer.status = head.status
        answer.headers = head.headers.map { ($0.name, $0.value) }
        answer.request = exchange?.shownRequest ?? ""
    }

    func answer(_ body: ByteBuffer) {
        guard !isOver else { return }
        let room = limit - answer.body.count
        answer.body.append(contentsOf: body.readableBytesView.prefix(room))
        guard body.readableBytes > room else { return }
        answer.isCut = true
        exchange?.cancel(result: "ok")
        finish(.success(answer))
    }

    func endAnswer(_ trailers: HTTPHeaders?) { finish(.success(answer)) }
    func refuse(_ problem: Problem, id: String) { finish(.failure(problem)) }
    func abort() { finish(.failure(Problem(.providerError, "the API's answer broke off", fix: "try again"))) }
}

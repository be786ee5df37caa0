import Broker
import NIOCore
import NIOHTTP1
import OAuth
import Vault

/// Who asked, and waits for the answer. On the exchange's event loop.
protocol AnswerSink: AnyObject {
    /// Whether more of the answer can be taken now.
    var isWritable: Bool { get }
    /// The exchange is ready for the request's body.
    func goOn()
    func answer(_ head: AnswerHead)
    func answer(_ body: ByteBuffer)
    func flushAnswer()
    func endAnswer(_ trailers: HTTPHeaders?)
    /// No answer comes; nothing of one was given.
    func refuse(_ problem: Problem, id: String)
    /// The answer that was begun cannot be ended.
    func abort()
    /// Whether ``Exchange/takesBody`` changed.
    func bodyDemandChanged()
}

/// One request to an API and its answer, on one event loop: token, connection, request, answer; another try where that
/// harms nothing, and one with a new token after a 401.
final class Exchange: Placed {
    private enum Phase {
        case fetching
        case connecting
        /// The request is on its way; no answer has begun.
        case asked
        /// A 401 is held back while the token is renewed.
        case refused
        case answering
        case done
    }

    private let loop: LoopGateway
    private let request: AdmittedRequest
    /// Held until the exchange is over: so whoever asked is there to be told.
    private let sink: any AnswerSink
    private var phase = Phase.fetching
    private var credential: Credential?
    private var connection: UpstreamHandler?

    // The request's body: kept while it may have to be sent (again).
    private var kept: [ByteBuffer] = []
    private var keptBytes = 0
    private var keepsAll = true
    private(set) var requestEnded = false
    private var tries = 0
    private var wasReused = false
    private var isRenewed = false

    // The answer.
    private var filter: AnswerFilter?
    private var status: Int?
    private var held: [AnswerPart] = []
    private var pendingEnd: (isSet: Bool, trailers: HTTPHeaders?) = (false, nil)

    private var isSent = false
    private var isRecorded = false
    private let began = NIODeadline.now()
    private var lastProgress: NIODeadline
    /// Its place among the loop's exchanges.
    var place = -1

    init(_ request: AdmittedRequest, on loop: LoopGateway, for sink: any AnswerSink) {
        self.request = request
        self.loop = loop
        self.sink = sink
        lastProgress = loop.now
        requestEnded = request.isWhole
    }

    private var broker: Broker { loop.broker }

    // MARK: From the caller

    func start() {
        loop.add(self)
        guard broker.isRecording else {
            return fail(Problem(.unavailable, "uses cannot be recorded now, so no request is sent; nothing was lost", retryAfter: 1))
        }
        if let credential = broker.knownCredential(request.destination, subject: request.subject, at: broker.now) {
            connect(credential)
        } else {
            fetch(refused: nil)
        }
    }

    /// With what the caller of this has seen to: calls are recorded, and the credential is fresh.
    func start(_ credential: Credential) {
        loop.add(self)
        connect(credential)
    }

    /// Whether the request's body may come.
    var takesBody: Bool {
        switch phase {
        case .asked, .answering: connection?.isWritable ?? true
        case .fetching, .connecting, .refused: false
        case .done: true
        }
    }

    func send(_ chunk: ByteBuffer) {
        guard phase != .done else { return }
        lastProgress = loop.now
        guard count(chunk.readableBytes) else { return }
        if keepsAll { keep(chunk) }
        guard phase == .asked || phase == .answering else { return }
        dropWhatIsTooMuch()
        connection?.send(chunk)
    }

    private func keep(_ chunk: ByteBuffer) {
        keptBytes += chunk.readableBytes
        // Each holds all of the memory that it was read into: of small ones, one is made.
        if kept.isEmpty || chunk.readableBytes >= 4096 { kept.append(chunk) } else { kept[kept.count - 1].writeImmutableBuffer(chunk) }
    }

    func sendEnd() {
        guard phase != .done, !requestEnded else { return }
        requestEnded = true
        lastProgress = loop.now
        if phase == .asked || phase == .answering { connection?.sendEnd() }
    }

    func flush() {
        if phase == .asked || phase == .answering { connection?.flush() }
    }

    /// Nothing more is wanted: the caller has gone, or has enough. Nothing is said to the sink.
    func cancel(result: String = "cancelled") {
        guard phase != .done else { return }
        end(result: result, keepsConnection: false)
    }

    func sinkBecameWritable() {
        guard phase == .answering else { return }
        lastProgress = loop.now
        pump()
        connection?.goOnReading()
    }

    // MARK: Token and connection

    private func fetch(refused generation: Int?) {
        let (broker, request) = (broker, request)
        let (destination, subject, caller) = (request.destination, request.subject, request.caller)
        let box = NIOLoopBound(self, eventLoop: loop.eventLoop)
        let eventLoop = loop.eventLoop
        // Unstructured: the loop goes on meanwhile. What is fetched is kept by the broker, whoever has gone.
        Task {
            let result: Result<Credential, Problem>
            do throws(Problem) {
                result = .success(try await broker.credential(destination, subject: subject, refused: generation, for: caller))
            } catch {
                result = .failure(error)
            }
            eventLoop.execute { box.value.fetched(result) }
        }
    }

    private func fetched(_ result: Result<Credential, Problem>) {
        switch (phase, result) {
        case (.fetching, .success(let credential)): connect(credential)
        case (.fetching, .failure(let problem)): fail(problem)
        case (.refused, .success(let credential)) where credential.generation != self.credential?.generation:
            isRenewed = true
            held = []
            leave(keepsConnection: false)
            tries = 0
            connect(credential)
        case (.refused, .failure(let problem)) where problem.code == .reauthorizationRequired || problem.code == .notConnected:
            fail(problem)
        case (.refused, _): passHeld()
        case (.done, _), (.connecting, _), (.asked, _), (.answering, _): break
        }
    }

    private func connect(_ credential: Credential) {
        self.credential = credential
        phase = .connecting
        lastProgress = loop.now
        if tries > 0 || isRenewed {
            do throws(Problem) {
                try broker.admit(agentCall: request.path.text, subject: request.subject, for: request.caller)
            } catch {
                return fail(error)
            }
        }
        tries += 1
        loop.upstream(for: credential).give(to: self)
    }

    var isWaiting: Bool { phase == .connecting }
    /// Over HTTP/1.1: a connection that others have used may be about to close, as the one before did.
    var needsFresh: Bool { tries > 1 }

    /// What was sent, for people; `nil` before there is a token.
    var shownRequest: String? { credential.map(request.shown) }

    /// - Parameter wasReused: whether others have used the connection before, so that the API may be about to close it.
    func begin(on connection: UpstreamHandler, wasReused: Bool) {
        guard let credential else { return }
        self.connection = connection
        self.wasReused = wasReused
        phase = .asked
        lastProgress = loop.now
        isSent = true
        connection.send(request, credential)
        if let body = request.body, body.readableBytes > 0 { connection.send(body) }
        for chunk in kept { connection.send(chunk) }
        dropWhatIsTooMuch()
        if requestEnded { connection.sendEnd() } else { connection.flush() }
        // What is written may fail at once; then the sink may be with its next request.
        if phase == .asked { sink.goOn() }
    }

    private func dropWhatIsTooMuch() {
        guard keepsAll, keptBytes > loop.gateway.limits.replay else { return }
        keepsAll = false
        kept = []
    }

    // MARK: From the API

    var takesAnswer: Bool {
        switch phase {
        case .answering: sink.isWritable && !(filter?.isBusy ?? false)
        case .refused: false
        default: true
        }
    }

    func received(_ part: consuming AnswerPart) {
        lastProgress = loop.now
        switch phase {
        case .asked:
            guard case .head(let head) = part else { return }
            if head.status == 401, mayRenew {
                phase = .refused
                held = [.head(head)]
                fetch(refused: credential?.generation)
            } else {
                begin(head)
            }
        case .refused: held.append(part)
        case .answering: go(on: part)
        case .fetching, .connecting, .done: break
        }
    }

    func receivedAll() {
        if phase == .answering { sink.flushAnswer() }
    }

    func connectionBecameWritable() { sink.bodyDemandChanged() }

    /// Before its answer was whole.
    func connectionFailed(_ failure: APIFailure) {
        connection = nil
        switch phase {
        case .asked where maySendAgain(after: failure): if let credential { connect(credential) }
        // The 401 was said: the renewal goes on.
        case .refused: break
        // All of the answer is here, if not yet with the caller.
        case .answering where pendingEnd.isSet: break
        default: fail(failure.problem(request.destination))
        }
    }

    private func maySendAgain(after failure: APIFailure) -> Bool {
        guard keepsAll, tries < 3, case .closed(let mayHaveBeenProcessed) = failure else { return false }
        return !mayHaveBeenProcessed || (wasReused && request.isIdempotent)
    }

    /// No connection came about.
    func noConnection(_ failure: APIFailure) {
        guard phase == .connecting else { return }
        if case .blocked = failure { broker.noteBlocked(host: credential?.authority ?? "", of: request.destination, by: request.caller) }
        fail(failure.problem(request.destination))
    }

    func checkDeadline() {
        let limits = loop.gateway.limits
        let waited = loop.now - lastProgress
        switch phase {
        case .asked where requestEnded:
            if waited > TimeAmount(limits.firstByte) { fail(APIFailure.firstByteTimedOut.problem(request.destination)) }
        case .asked, .answering: if waited > TimeAmount(limits.idle) { fail(APIFailure.idle.problem(request.destination)) }
        // Each look-up and connect has its own deadline: this is a wait for one of the others to end.
        case .connecting: if waited > TimeAmount(limits.connect) + TimeAmount(limits.connect) { noConnection(.tooManyWaiting) }
        case .fetching, .refused, .done: break
        }
    }

    // MARK: 401

    private var mayRenew: Bool {
        guard let credential, !isRenewed, requestEnded, keepsAll else { return false }
        return loop.gateway.renewals.mayRenew(credential, at: loop.now)
    }

    private var heldIsWhole: Bool { if case .end = held.last { true } else { false } }

    private func passHeld() {
        guard connection != nil || heldIsWhole else { return fail(APIFailure.closed(mayHaveBeenProcessed: true).problem(request.destination)) }
        let parts = held
        held = []
        phase = .asked
        if case .head(let head)? = parts.first { begin(head) }
        for part in parts.dropFirst() where phase == .answering { go(on: part) }
        guard phase == .answering else { return }
        sink.flushAnswer()
        connection?.goOnReading()
    }

    // MARK: Answer

    private func begin(_ head: consuming AnswerHead) {
        if head.status == 401, isRenewed, let credential { loop.gateway.renewals.note(refusedAnew: credential, at: loop.now) }
        do {
            if request.isScanned, let credential {
                var fields = head.headers
                filter = try AnswerFilter(loop.scan(for: credential), fields: &fields, hasBody: !request.isHead && head.mayHaveBody)
                head = AnswerHead(status: head.status, headers: fields)
            }
            head.requestID = request.id
            status = head.status
            record(result: "ok")
            phase = .answering
            sink.answer(head)
        } catch {
            fail(error.problem(request.destination))
        }
    }

    private func go(on part: consuming AnswerPart) {
        switch part {
        case .head: break
        case .body(let chunk):
            guard count(chunk.readableBytes) else { return }
            if let filter {
                filter.feed(chunk)
                pump()
            } else {
                sink.answer(chunk)
            }
        case .end(let trailers):
            pendingEnd = (true, trailers)
            pump()
        }
    }

    /// What the filter has ready, as far as the caller takes it; then the end.
    private func pump() {
        do {
            if let filter {
                while sink.isWritable, phase == .answering, let chunk = try filter.next() { sink.answer(chunk) }
                guard phase == .answering, !filter.isBusy else { return sink.flushAnswer() }
                if pendingEnd.isSet, let rest = try filter.finish() { sink.answer(rest) }
            }
        } catch {
            return fail(error.problem(request.destination))
        }
        guard pendingEnd.isSet, phase == .answering else { return }
        let trailers = request.isScanned ? nil : pendingEnd.trailers.map(AnswerFields.returnedTrailers)
        end(result: "ok", keepsConnection: true)
        sink.endAnswer(trailers)
    }

    /// - Returns: false when an agent has had its share: the exchange is over then. SEC-133.
    private func count(_ bytes: Int) -> Bool {
        guard request.caller.isAgent, !broker.agentBudget.add(bytes: bytes, key: request.caller.key.id) else { return true }
        fail(Problem(.rateLimited, "this key's role is agent, and it has moved what that allows in a minute", fix: "ask for less at a time", retryAfter: 60))
        return false
    }

    // MARK: End

    private func fail(_ problem: Problem) {
        guard phase != .done else { return }
        let wasAnswering = phase == .answering
        end(result: problem.code.rawValue, keepsConnection: false, status: wasAnswering ? nil : problem.code.status)
        if wasAnswering { sink.abort() } else { sink.refuse(problem, id: request.id) }
    }

    private func leave(keepsConnection: Bool) {
        connection?.leave(keepsConnection: keepsConnection && requestEnded)
        connection = nil
    }

    /// - Parameter status: of a problem, for the meter.
    private func end(result: String, keepsConnection: Bool, status problemStatus: Int? = nil) {
        phase = .done
        (kept, held) = ([], [])
        leave(keepsConnection: keepsConnection)
        loop.remove(self)
        if let found = filter?.found, found > 0 { request.destination.meter.countMasked(found) }
        request.destination.meter.count(status: problemStatus ?? status ?? 499, nanoseconds: (NIODeadline.now() - began).nanoseconds)
        record(result: result)
    }

    /// Once: when the answer begins, so that an answer without an end is in the log too; else at the end.
    private func record(result: String) {
        guard !isRecorded else { return }
        isRecorded = true
        broker.record(request.record(credential, isSent: isSent, status: status, result: result), at: broker.now)
    }
}

import Broker
package import NIOCore
package import NIOHTTP1
import OAuth
import Vault

/// Stands in a caller's connection between the HTTP codec and the server of everything else: takes the requests below
/// `/gateway/` and hands the others on, each in its turn.
///
/// It also ends connections on which nothing comes, as only it sees all that does.
package final class GatewayHandler: ChannelDuplexHandler, RemovableChannelHandler, Placed {
    package typealias InboundIn = HTTPServerRequestPart
    package typealias InboundOut = HTTPServerRequestPart
    package typealias OutboundIn = HTTPServerResponsePart
    package typealias OutboundOut = HTTPServerResponsePart

    private enum State {
        case ready
        /// The server's: until it has answered as often as it was asked.
        case elsewhere
        /// Its connection is being read from the store.
        /// - caller: `nil` while the key is looked for, too.
        case finding(HTTPRequestHead, SteeringFields, Caller?)
        case calling(Exchange)
        /// Answered before its body had come: that is thrown away.
        case draining
        /// The shortcut's, which stands before it.
        case shortcut
    }
    static let prefix = "/gateway/"

    private let loop: LoopGateway
    private let door: any Door
    private var context: ChannelHandlerContext?
    private var state = State.ready
    /// Answers that the server owes.
    private var owed = 0
    /// What came before its turn: no more than one read brings.
    private var queue = CircularBuffer<HTTPServerRequestPart>()
    private var isTakingQueue = false
    private var requestEnded = true
    private var heldRead = false
    private var closesAfterAnswer = false
    /// And does not wait for the rest of the request.
    private var closesAtOnce = false
    /// The server's answer was said to be the last.
    private var closesAfterServer = false
    private var isClosed = false
    /// The last time that something came, or an answer ended.
    private var quietSince: NIODeadline
    /// Its place among the loop's callers.
    var place = -1

    // The request under way.
    private var isHead = false
    private var hasBegunAnswer = false
    private var expectsContinue = false
    private var version = HTTPVersion.http1_1

    init(_ loop: LoopGateway, door: any Door) {
        self.loop = loop
        self.door = door
        quietSince = loop.now
    }

    package func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        loop.add(self)
    }

    package func handlerRemoved(context: ChannelHandlerContext) {
        callerHasGone()
        loop.remove(self)
        self.context = nil
    }

    // MARK: In

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // The codec may have more of a read at hand than was wanted.
        guard !isClosed else { return }
        quietSince = loop.now
        let part = Self.unwrapInboundIn(data)
        if queue.isEmpty, isNext(part) { take(part, data, context) } else { queue.append(part) }
    }

    /// Whether a part's turn has come.
    private func isNext(_ part: HTTPServerRequestPart) -> Bool {
        switch (state, part) {
        case (.finding, _), (.shortcut, _): false
        case (.calling, .head), (.draining, .head): false
        case (.elsewhere, .head(let head)): !Self.isOurs(head)
        default: true
        }
    }

    private func take(_ part: HTTPServerRequestPart, _ data: NIOAny?, _ context: ChannelHandlerContext) {
        if case .end = part { requestEnded = true } else { requestEnded = false }
        switch (state, part) {
        case (.ready, .head(let head)) where Self.isOurs(head): begin(head, context)
        case (.ready, _), (.elsewhere, _):
            if case .head = part {
                state = .elsewhere
                owed += 1
            }
            context.fireChannelRead(data ?? Self.wrapInboundOut(part))
        case (.calling(let exchange), .body(let chunk)): exchange.send(chunk)
        case (.calling(let exchange), .end): exchange.sendEnd()
        case (.draining, .end): answered()
        case (.draining, _), (.calling, .head), (.finding, _), (.shortcut, _): break
        }
    }

    private func takeQueue() {
        // A request that is answered at once comes back here: a long row of them must make no deep stack.
        guard !isTakingQueue else { return }
        guard !queue.isEmpty else { return goOnReading() }
        isTakingQueue = true
        while let context, let part = queue.first, isNext(part) {
            queue.removeFirst()
            take(part, nil, context)
        }
        isTakingQueue = false
        // The server takes what it gets when a read is complete.
        if case .elsewhere = state { context?.fireChannelReadComplete() }
        goOnReading()
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        if case .calling(let exchange) = state { exchange.flush() }
        context.fireChannelReadComplete()
    }

    private static func isOld(_ version: HTTPVersion) -> Bool { version.major < 1 || (version.major == 1 && version.minor < 1) }

    private static func isOurs(_ head: HTTPRequestHead) -> Bool { head.uri.utf8.starts(with: prefix.utf8) }

    // MARK: Back-pressure

    private var takesMore: Bool {
        guard queue.isEmpty else { return false }
        switch state {
        case .finding: return false
        case .calling(let exchange): return requestEnded || exchange.takesBody
        case .ready, .elsewhere, .draining, .shortcut: return true
        }
    }

    package func read(context: ChannelHandlerContext) {
        if takesMore { context.read() } else { heldRead = true }
    }

    private func goOnReading() {
        guard heldRead, takesMore else { return }
        heldRead = false
        context?.read()
    }

    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        if case .calling(let exchange) = state, context.channel.isWritable { exchange.sinkBecameWritable() }
        context.fireChannelWritabilityChanged()
    }

    // MARK: Out

    package func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch Self.unwrapOutboundIn(data) {
        case .head(var head) where loop.gateway.isEnding && isLastOwed:
            closesAfterServer = true
            head.headers.replaceOrAdd(name: "Connection", value: "close")
            return context.write(Self.wrapOutboundOut(.head(head)), promise: promise)
        case .head, .body: return context.write(data, promise: promise)
        case .end: context.write(data, promise: promise)
        }
        owed = max(owed - 1, 0)
        guard owed == 0, case .elsewhere = state else { return }
        state = .ready
        quietSince = loop.now
        // A caller that still sends its body reads the answer first, and closes then.
        if closesAfterServer, requestEnded { return closeWhenWritten() }
        if !queue.isEmpty {
            // What the server still writes of this answer goes out before the next.
            context.eventLoop.assumeIsolated().execute { [self] in takeQueue() }
        }
    }

    /// Whether no request waits behind the one that is answered.
    private var isLastOwed: Bool {
        guard case .elsewhere = state else { return false }
        return owed == 1 && queue.isEmpty
    }

    // MARK: A request of ours

    private func begin(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        isHead = head.method == .HEAD
        hasBegunAnswer = false
        version = head.version
        let steering = SteeringFields(head.headers)
        expectsContinue = !Self.isOld(head.version) && steering.expectsContinue
        closesAfterAnswer = !head.isKeepAlive
        let caller: Caller
        do throws(Problem) {
            // One of two would be believed by us, and perhaps the other by who reads our log.
            guard steering.authorization.count <= 1 else { throw Problem(.invalidRequest, "Authorization must be sent once") }
            caller = try door.admit(authorization: steering.authorization.value, fetchSite: steering.fetchSite.value)
        } catch {
            guard error.code == .unauthenticated, steering.authorization.count == 1, loop.gateway.broker.isAmongNodes else {
                return refuse(error, caller: nil, steering)
            }
            state = .finding(head, steering, nil)
            return find(String(Self.connectionID(of: head.uri)), steering, for: nil)
        }
        let id = Self.connectionID(of: head.uri)
        if let destination = loop.gateway.broker.knownDestination(String(id)) { return call(head, steering, destination, caller) }
        state = .finding(head, steering, caller)
        find(String(id), steering, for: caller)
    }

    /// - Parameter known: by a memory that may be too old; `nil` = the key is not known here.
    private func find(_ id: String, _ steering: SteeringFields, for known: Caller?) {
        let box = NIOLoopBound(self, eventLoop: loop.eventLoop)
        let (broker, door, eventLoop) = (loop.gateway.broker, door, loop.eventLoop)
        let (authorization, fetchSite) = (steering.authorization.value, steering.fetchSite.value)
        // Unstructured: the loop goes on meanwhile.
        Task {
            let result: Result<(Destination, Caller), Problem>
            do throws(Problem) {
                var caller = known
                if caller == nil { caller = try await door.admitLearned(authorization: authorization, fetchSite: fetchSite) }
                let destination = try await broker.destination(id)
                guard let caller else { throw Broker.unknownKey }
                // Where memory was too old for a destination it was so for the key.
                try broker.requireKnown(caller)
                result = .success((destination, caller))
            } catch {
                result = .failure(error)
            }
            eventLoop.execute { box.value.found(result) }
        }
    }

    private func found(_ result: Result<(Destination, Caller), Problem>) {
        guard case .finding(let head, let steering, let caller) = state, !isClosed else { return }
        switch result {
        case .success(let (destination, caller)): call(head, steering, destination, caller)
        case .failure(let problem): refuse(problem, caller: caller, steering)
        }
        takeQueue()
    }

    private func call(_ head: HTTPRequestHead, _ steering: SteeringFields, _ destination: Destination, _ caller: Caller) {
        let id = loop.makeID()
        var subject = ""
        do {
            let asked = try asked(head, steering)
            subject = asked.subject
            let request = try AdmittedRequest(
                asked, to: destination, for: caller, isAgent: caller.isAgent, id: id, broker: loop.gateway.broker)
            let exchange = Exchange(request, on: loop, for: self)
            state = .calling(exchange)
            exchange.start()
        } catch {
            let (broker, method, target) = (loop.gateway.broker, head.method.rawValue, Self.target(of: head.uri))
            let arguments = caller.isAgent ? broker.fingerprint(method, target.path, query: target.query, body: nil) : nil
            broker.record(refused: error, method, path: target.path, arguments: arguments, of: destination, subject: subject, by: caller, id: id)
            say(error, id: id)
        }
    }

    private func asked(_ head: HTTPRequestHead, _ steering: SteeringFields) throws(Problem) -> AskedRequest {
        // Who reads the same bytes in another way would see other requests behind it. SEC-85.
        guard steering.namesOneHost else { throw ambiguous("the request needs one Host") }
        guard let framing = steering.framing else {
            throw ambiguous("the body's length must be said in one way: one Content-Length, or Transfer-Encoding: chunked")
        }
        if steering.upgrade.count > 0 {
            guard steering.upgradesToHTTP2Only else {
                throw Problem(.invalidRequest, "the gateway speaks HTTP only: it does not upgrade a connection", fix: "leave Upgrade out")
            }
            closesAfterAnswer = true
        }
        let subject = steering.subject.value ?? ""
        guard steering.subject.count == 0 || (steering.subject.count == 1 && !subject.isEmpty) else {
            throw Problem(.invalidRequest, "Grantee-Subject must name one subject")
        }
        let target = Self.target(of: head.uri)
        return AskedRequest(method: head.method, path: target.path, query: target.query, fields: head.headers, framing: framing, subject: subject)
    }

    /// After it nothing on the connection is believed.
    private func ambiguous(_ detail: String) -> Problem {
        closesAfterAnswer = true
        closesAtOnce = true
        return Problem(.invalidRequest, detail)
    }

    /// Between `/gateway/` and what follows.
    private static func connectionID(of uri: String) -> Substring {
        let rest = uri.utf8.dropFirst(prefix.utf8.count)
        return Substring(rest.prefix { $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "?") })
    }

    /// Behind the connection's id.
    private static func target(of uri: String) -> (path: Substring, query: Substring?) {
        let rest = uri.utf8.dropFirst(prefix.utf8.count).drop { $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "?") }
        let path = rest.prefix { $0 != UInt8(ascii: "?") }
        return (Substring(path), path.endIndex < rest.endIndex ? Substring(rest[path.endIndex...].dropFirst()) : nil)
    }

    /// Before the connection is known: no entry of a call tells of it.
    private func refuse(_ problem: Problem, caller: Caller?, _ steering: SteeringFields) {
        let id = loop.makeID()
        door.refused(problem, caller: caller, client: context?.remoteAddress?.ipAddress ?? "unknown", forwarded: steering.forwarded, id: id)
        say(problem, id: id)
    }

    private func say(_ problem: Problem, id: String) {
        // A caller that was told to wait with its body may send it or not: only another connection is unambiguous.
        if expectsContinue, !requestEnded { closesAtOnce = true }
        expectsContinue = false
        let (head, body) = door.answer(to: problem, id: id)
        answer(head)
        answer(body)
        endAnswer(nil)
    }

    // MARK: The shortcut

    /// Whether nothing of a request, and no answer, is under way.
    var isAtRest: Bool {
        guard case .ready = state else { return false }
        return queue.isEmpty && owed == 0 && requestEnded && !isClosed
    }

    func shortcutBegins() { state = .shortcut }

    func shortcutEnds() {
        if case .shortcut = state { state = .ready }
        quietSince = loop.now
    }

    // MARK: End

    private func answered() {
        state = .ready
        quietSince = loop.now
        if closesAfterAnswer { return closeWhenWritten() }
        takeQueue()
    }

    /// What a slow caller has not taken yet would be lost with the connection.
    private func closeWhenWritten() {
        isClosed = true
        queue.removeAll()
        guard let context else { return }
        let promise = context.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { [self] _ in close() }
        context.writeAndFlush(Self.wrapOutboundOut(.body(.byteBuffer(ByteBuffer()))), promise: promise)
    }

    private func close() {
        isClosed = true
        queue.removeAll()
        context?.close(promise: nil)
    }

    private func callerHasGone() {
        isClosed = true
        if case .calling(let exchange) = state { exchange.cancel() }
        state = .draining
        queue.removeAll()
    }

    package func channelInactive(context: ChannelHandlerContext) {
        callerHasGone()
        context.fireChannelInactive()
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch state {
        case .ready, .elsewhere: context.fireErrorCaught(error)
        // Behind the last request, or what was to be: that one is answered.
        case .finding where queue.contains(where: { if case .end = $0 { true } else { false } }): closesAfterAnswer = true
        case .calling where requestEnded: closesAfterAnswer = true
        case .finding, .calling, .draining, .shortcut:
            // The body broke its framing: nothing behind it can be told from it.
            let saysSo = error is HTTPParserError && !hasBegunAnswer
            callerHasGone()
            if saysSo { say(ambiguous("the body breaks the framing that the request announces"), id: loop.makeID()) }
            context.close(promise: nil)
        }
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch (event, state) {
        case (ChannelEvent.inputClosed as ChannelEvent, .calling), (ChannelEvent.inputClosed as ChannelEvent, .finding):
            callerHasGone()
            context.close(promise: nil)
        case (is ChannelShouldQuiesceEvent, .calling), (is ChannelShouldQuiesceEvent, .finding), (is ChannelShouldQuiesceEvent, .draining):
            closesAfterAnswer = true
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    /// Between requests, and while one is being read.
    func checkIdle() {
        var limit = TimeAmount(loop.gateway.limits.keepAlive)
        switch state {
        case .calling, .finding, .shortcut: return
        case .elsewhere where requestEnded: return
        case .draining: limit = min(limit, TimeAmount(loop.gateway.limits.idle))
        case .ready, .elsewhere: break
        }
        if loop.now - quietSince > limit { close() }
    }
}

extension GatewayHandler: AnswerSink {
    var isWritable: Bool { context?.channel.isWritable ?? false }

    func goOn() {
        if expectsContinue, !requestEnded {
            context?.writeAndFlush(Self.wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .continue))), promise: nil)
        }
        expectsContinue = false
        goOnReading()
    }

    func bodyDemandChanged() { goOnReading() }

    func answer(_ head: AnswerHead) {
        var head = HTTPResponseHead(version: version, status: .init(statusCode: head.status), headers: head.headers)
        hasBegunAnswer = true
        if loop.gateway.isEnding { closesAfterAnswer = true }
        // Its end is then the connection's.
        if Self.isOld(version), !head.headers.contains(name: "content-length") { closesAfterAnswer = true }
        if closesAfterAnswer || closesAtOnce {
            head.headers.replaceOrAdd(name: "Connection", value: "close")
        } else if Self.isOld(version) {
            head.headers.replaceOrAdd(name: "Connection", value: "keep-alive")
        }
        context?.write(Self.wrapOutboundOut(.head(head)), promise: nil)
    }

    func answer(_ body: ByteBuffer) {
        if !isHead { context?.write(Self.wrapOutboundOut(.body(.byteBuffer(body))), promise: nil) }
    }

    func flushAnswer() { context?.flush() }

    func endAnswer(_ trailers: HTTPHeaders?) {
        // The codec would end a chunked body that a HEAD's answer does not have.
        if isHead { context?.flush() } else { context?.writeAndFlush(Self.wrapOutboundOut(.end(trailers)), promise: nil) }
        if requestEnded {
            answered()
        } else {
            state = .draining
            goOnReading()
            if closesAtOnce { closeWhenWritten() }
        }
    }

    func refuse(_ problem: Problem, id: String) { say(problem, id: id) }

    func abort() {
        context?.flush()
        close()
    }
}

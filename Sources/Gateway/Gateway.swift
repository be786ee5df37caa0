package import Broker
package import Egress
import Logging
package import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization
import Vault

/// Sends requests to connections' APIs with the grant's token put in. SEC-80 … SEC-94.
///
/// What a request costs it costs on the caller's own event loop: authentication, policy and token are judged there from
/// memory, and the API's connection belongs to the same loop.
package final class Gateway: Sendable {
    package let broker: Broker
    let egress: Egress
    let tls: NIOSSLContext
    let limits: GatewayLimits
    let renewals = APIRenewals()
    private let group: any EventLoopGroup
    private let loops = Mutex<[ObjectIdentifier: NIOLoopBound<LoopGateway>]>([:])
    private let ending = Atomic(false)

    /// - Throws: when TLS cannot be set up.
    package init(
        broker: Broker, egress: Egress, trust: Trust, limits: GatewayLimits = GatewayLimits(),
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    ) throws {
        self.broker = broker
        self.egress = egress
        self.limits = limits
        self.group = group
        var configuration = trust.configuration
        configuration.applicationProtocols = ["h2", "http/1.1"]
        tls = try NIOSSLContext(configuration: configuration)
    }

    /// Joins the pipeline of a caller's connection, whose first handlers are the HTTP codec's; called on its event loop.
    /// - Parameter decoder: of requests.
    package func join(_ pipeline: ChannelPipeline.SynchronousOperations, after decoder: any ChannelHandler, on eventLoop: any EventLoop, door: any Door) throws
    {
        let loop = loop(on: eventLoop)
        let handler = GatewayHandler(loop, door: door)
        try pipeline.addHandler(handler, position: .after(decoder))
        try pipeline.addHandler(ShortcutHandler(loop, door: door, before: handler), position: .first)
    }

    /// The same without the shortcut, for a connection on which something may have come already.
    package func handler(on eventLoop: any EventLoop, door: any Door) -> GatewayHandler { GatewayHandler(loop(on: eventLoop), door: door) }

    /// Called on the loop.
    private func loop(on eventLoop: any EventLoop) -> LoopGateway {
        loops.withLock { loops in
            if let loop = loops[ObjectIdentifier(eventLoop)] { return loop.value }
            let loop = LoopGateway(self, on: eventLoop)
            loops[ObjectIdentifier(eventLoop)] = NIOLoopBound(loop, eventLoop: eventLoop)
            return loop
        }
    }

    /// The server is about to end: each answer from now on, also those that are not the gateway's, is the last of its caller's
    /// connection and says so. The next request comes over another one, and goes to a node that stays.
    package func end() { ending.store(true, ordering: .releasing) }
    package var isEnding: Bool { ending.load(ordering: .acquiring) }

    /// After the last request: closes what is kept open to APIs.
    package func close() {
        let loops = loops.withLock { loops in
            defer { loops = [:] }
            return Array(loops.values)
        }
        for loop in loops { loop.eventLoop.execute { loop.value.close() } }
    }

    /// One call with the answer scanned for the token.
    /// - Parameters:
    ///   - limit: bytes of the answer's body that are kept.
    ///   - isAgent: under the connection's `agent_access`, whatever the caller's role; else by the caller's own rights.
    /// - Throws: what kept the request from the API: `forbidden` naming the rule, `not_connected`, `misconfigured`, …
    package func call(_ call: Call, for caller: Caller, limit: Int, isAgent: Bool = true) async throws(Problem) -> Call.Answer {
        // An agent's key is an agent, whoever asks in its name.
        let isAgent = isAgent || caller.isAgent
        let destination = try await broker.destination(call.connection)
        let eventLoop = group.next()
        let promise = eventLoop.makePromise(of: Result<Call.Answer, Problem>.self)
        let cancelling = Mutex<(isCancelled: Bool, body: (@Sendable () -> Void)?)>((false, nil))
        eventLoop.execute { [self] in
            let loop = loop(on: eventLoop)
            let collector = Collector(loop, limit: limit, isAgent: isAgent) { promise.succeed($0) }
            let box = NIOLoopBound(collector, eventLoop: eventLoop)
            let isCancelled = cancelling.withLock { state in
                state.body = { eventLoop.execute { box.value.cancel() } }
                return state.isCancelled
            }
            if isCancelled { collector.cancel() } else { collector.start(call, destination, caller) }
        }
        do {
            return try await withTaskCancellationHandler {
                try await promise.futureResult.get().get()
            } onCancel: {
                let body = cancelling.withLock { state in
                    state.isCancelled = true
                    return state.body
                }
                body?()
            }
        } catch let problem as Problem {
            throw problem
        } catch {
            throw Problem(.internal, "the call was not carried out")
        }
    }
}

import Broker
import Gateway
import HTTPTypes
import Hummingbird
import NIOCore
import Synchronization

/// Faces that are known once the port is. A connection that comes before waits for them; a request that waited in vain is told
/// to come again.
final class Gate: HTTPResponder, Sendable {
    typealias Context = ClientContext
    private struct State {
        var faces: Faces?
        var waiting: [EventLoopPromise<Void>] = []
        var listener: (any Channel)?
    }
    private let state = Mutex(State())
    /// Longer than a start takes.
    private static let patience: TimeAmount = .seconds(10)

    func open(_ faces: Faces) {
        let waiting = state.withLock { state in
            state.faces = faces
            defer { state.waiting = [] }
            return state.waiting
        }
        for promise in waiting { promise.succeed() }
    }
    var faces: Faces? { state.withLock { $0.faces } }

    /// Ends when the server is open, or after a while without that. A balancer that learned that somebody listens again sends
    /// requests at once, and passes on what it is answered.
    func opening(on eventLoop: any EventLoop) -> EventLoopFuture<Void> {
        guard faces == nil else { return eventLoop.makeSucceededVoidFuture() }
        let promise = eventLoop.makePromise(of: Void.self)
        let waits = state.withLock { state in
            guard state.faces == nil else { return false }
            state.waiting.append(promise)
            return true
        }
        // Whichever comes first counts.
        if waits { eventLoop.scheduleTask(in: Self.patience) { promise.succeed() } } else { promise.succeed() }
        return promise.futureResult
    }

    func listens(on channel: any Channel) { state.withLock { $0.listener = channel } }

    /// Before the listener is closed: accepts what waits for it, and nothing that comes.
    func end(within time: Duration) async {
        guard let listener = state.withLock({ $0.listener }) else { return }
        await listener.takeNoMoreConnections()
        // A cancelled sleep is a shutdown that is cut off.
        do { try await Task.sleep(for: time) } catch {}
    }
    var broker: Broker? { faces?.broker }

    /// A shutdown has begun: readiness is off, and connections end with their next answer.
    func end() { faces?.gateway.end() }
    var isEnding: Bool { faces?.gateway.isEnding ?? false }

    func respond(to request: Request, context: ClientContext) async throws -> Response {
        guard let faces else {
            var outbound = Problem(.unavailable, "the server is starting", retryAfter: 1).outbound.identified()
            // The gateway has no place in a connection from before the start, so nobody is to go on with it. RFC 9112 §9.6.
            outbound.fields[.connection] = "close"
            return outbound.response
        }
        return try await faces.respond(to: request, context: context)
    }
}

/// `/metrics` on a port of its own, without a key.
struct MetricsFace: HTTPResponder {
    typealias Context = ClientContext
    let broker: Broker
    let gate: Gate

    func respond(to request: Request, context: ClientContext) async throws -> Response {
        guard request.method == .get, request.uri.path == "/metrics" else {
            return Problem(.notFound, "only GET /metrics is here").outbound.identified().response
        }
        return await ServerAPI.metrics(broker, isEnding: gate.isEnding).identified().response
    }
}

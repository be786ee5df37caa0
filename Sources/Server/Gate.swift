import Broker
import HTTPTypes
import Hummingbird
import Synchronization

/// Faces that are known once the port is; a request before that is told to come again.
final class Gate: HTTPResponder, Sendable {
    typealias Context = ClientContext
    private let opened = Mutex<Faces?>(nil)

    func open(_ faces: Faces) { opened.withLock { $0 = faces } }
    var faces: Faces? { opened.withLock { $0 } }
    var broker: Broker? { faces?.broker }

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

    func respond(to request: Request, context: ClientContext) async throws -> Response {
        guard request.method == .get, request.uri.path == "/metrics" else {
            return Problem(.notFound, "only GET /metrics is here").outbound.identified().response
        }
        do {
            return try await ServerAPI.metrics(broker).identified().response
        } catch let problem as Problem {
            return problem.outbound.identified().response
        }
    }
}

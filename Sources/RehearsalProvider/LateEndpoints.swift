import HTTPTypes
import Hummingbird
import Synchronization

/// Endpoints that are known once the port is: requests before that are told to come again.
final class LateEndpoints: HTTPResponder, Sendable {
    typealias Context = BasicRequestContext
    private let endpoints = Mutex<Endpoints?>(nil)

    func set(_ endpoints: Endpoints) { self.endpoints.withLock { $0 = endpoints } }

    func respond(to request: Request, context: BasicRequestContext) async throws -> Response {
        guard let endpoints = endpoints.withLock({ $0 }) else { return Response(status: .serviceUnavailable) }
        return try await endpoints.respond(to: request, context: context)
    }
}

import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import OAuth
import ServiceLifecycle
import Synchronization

/// A listener on 127.0.0.1 that exists for one authorization response. RFC 8252 §7.3.
struct LoopbackRedirect {
    /// 0 = a free one.
    let port: Int
    let patience: Duration

    /// Listens, hands the redirect URI to `begin`, and waits for the response that fits what it returned. A response of
    /// another request is refused and the wait goes on.
    /// - Throws: ``Failure`` when the provider refused, or nobody came in time.
    func wait(begin: @escaping @Sendable (_ redirectURI: String) throws -> PendingAuthorization) async throws -> CheckedCode {
        let (outcomes, outcome) = AsyncStream<Result<CheckedCode, Failure>>.makeStream()
        let responder = Responder(outcome: outcome)
        let application = Application(
            responder: responder, configuration: .init(address: .hostname("127.0.0.1", port: port), serverName: nil),
            onServerRunning: { channel in
                do {
                    responder.expect(try begin("http://127.0.0.1:\(channel.localAddress?.port ?? port)/callback"))
                } catch {
                    outcome.yield(.failure(Failure(any: error)))
                }
            }, logger: Logger(label: "redirect") { _ in SwiftLogNoOpLogHandler() })
        let patience = self.patience
        return try await withThrowingTaskGroup(of: CheckedCode?.self) { group in
            group.addTask {
                do {
                    try await application.run()
                } catch is IOError {
                    throw Failure("cannot listen on 127.0.0.1 port \(port)", hint: "choose another with --port")
                }
                return nil
            }
            group.addTask {
                for await result in outcomes {
                    // The page that says so is still on its way.
                    try await Task.sleep(for: .milliseconds(200))
                    return try result.get()
                }
                return nil
            }
            group.addTask {
                try await Task.sleep(for: patience)
                throw Failure("nobody came back from the provider in \(patience.components.seconds / 60) minutes", hint: "run the command again")
            }
            defer { group.cancelAll() }
            while let finished = try await group.next() {
                if let code = finished { return code }
            }
            throw CancellationError()
        }
    }

    private final class Responder: HTTPResponder, Sendable {
        typealias Context = BasicRequestContext
        private let pending = Mutex<PendingAuthorization?>(nil)
        private let outcome: AsyncStream<Result<CheckedCode, Failure>>.Continuation

        init(outcome: AsyncStream<Result<CheckedCode, Failure>>.Continuation) { self.outcome = outcome }

        func expect(_ pending: PendingAuthorization) { self.pending.withLock { $0 = pending } }

        func respond(to request: Request, context: BasicRequestContext) async throws -> Response {
            guard request.method == .get, request.uri.path == "/callback", let expected = pending.withLock({ $0 }) else {
                return page("There is nothing here.", status: .notFound)
            }
            do throws(CallbackError) {
                let code = try expected.accept(try AuthorizationResponse(query: (request.uri.query ?? "").utf8))
                pending.withLock { $0 = nil }
                outcome.yield(.success(code))
                return page("Done. You can close this page and go back to the terminal.")
            } catch .stateMismatch {
                return page("This answer belongs to another request.", status: .badRequest)
            } catch {
                pending.withLock { $0 = nil }
                outcome.yield(.failure(Failure("the provider's answer cannot be used: \(error.words)")))
                return page("It did not work. The terminal says why.", status: .badRequest)
            }
        }

        private func page(_ text: String, status: HTTPResponse.Status = .ok) -> Response {
            var headers: HTTPFields = [
                .contentType: "text/html; charset=utf-8", .cacheControl: "no-store", .contentSecurityPolicy: "default-src 'none'", .connection: "close",
            ]
            if let name = HTTPField.Name("Referrer-Policy") { headers[name] = "no-referrer" }
            return Response(
                status: status, headers: headers,
                body: .init(byteBuffer: ByteBuffer(string: "<!doctype html><meta charset=\"utf-8\"><title>grantee</title><p>\(text)</p>")))
        }
    }
}

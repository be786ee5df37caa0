import AsyncHTTPClient
import Egress
import Foundation
import HTTPTypes
import NIOCore
import NIOHTTP1
import OAuth
import OAuthClient
import OAuthClientAsyncHTTP

/// The REST API as the commands use it.
struct APIClient {
    let base: String
    private let key: String
    private static let longestAnswer = 32 << 20
    private static let userAgent = "grantee-cli/0.1"
    /// Follows no redirect: one could carry the key to another host.
    private static let client: Result<HTTPClient, any Error> = Result {
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        // Where nobody listens, that is said at once.
        configuration.connectionPool.retryConnectionEstablishment = false
        do {
            if let file = Setting.value(nil, "GRANTEE_CA_FILE") { configuration.tlsConfiguration = try Trust(caFile: file).configuration }
        } catch let error as TrustError {
            throw Failure("GRANTEE_CA_FILE: \(error.description)", exitCode: Failure.usage)
        }
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    init(base: String, key: String) {
        self.base = base
        self.key = key
    }

    /// A path below `/v1`, each part encoded as one segment.
    static func path(_ parts: String...) -> String { "/v1/" + parts.map(Form.percentEncode).joined(separator: "/") }

    /// - Returns: the answer's JSON; null when there is none.
    /// - Throws: ``Failure``, from the problem that the server answered.
    func send(
        _ method: HTTPRequest.Method, _ path: String, query: [(String, String?)] = [], body: JSONValue? = nil, ifMatch: String? = nil
    ) async throws -> JSONValue {
        try await exchange(method, path, query: query, body: body, ifMatch: ifMatch).value
    }

    func exchange(
        _ method: HTTPRequest.Method, _ path: String, query: [(String, String?)] = [], body: JSONValue? = nil, ifMatch: String? = nil
    ) async throws -> (value: JSONValue, eTag: String?) {
        let request = self.request(method, path, query: query, body: body, ifMatch: ifMatch)
        let response: HTTPClientResponse
        let bytes: ByteBuffer
        let client = try Self.client.get()
        do {
            response = try await client.execute(request, timeout: .seconds(60))
            bytes = try await response.body.collect(upTo: Self.longestAnswer)
        } catch {
            throw noServer(error)
        }
        let value = try self.value(of: bytes, status: response.status)
        guard (200..<300).contains(response.status.code) else { throw Self.failure(value, status: Int(response.status.code), base: base) }
        return (value, response.headers.first(name: "ETag"))
    }

    /// An answer that takes as long as the work that it tells of: JSON lines, each handed on when it comes.
    /// - Returns: the last line.
    /// - Throws: ``Failure``: from the problem that was answered, or that the last line tells of; when the answer broke off.
    func lines(_ method: HTTPRequest.Method, _ path: String, body: JSONValue? = nil, onLine: (JSONValue) throws -> Void) async throws -> JSONValue {
        let response: HTTPClientResponse
        let client = try Self.client.get()
        do {
            // The deadline is that of the answer's beginning.
            response = try await client.execute(request(method, path, body: body), timeout: .seconds(60))
            guard (200..<300).contains(response.status.code) else {
                let bytes = try await response.body.collect(upTo: Self.longestAnswer)
                throw Self.failure(try value(of: bytes, status: response.status), status: Int(response.status.code), base: base)
            }
        } catch let failure as Failure {
            throw failure
        } catch {
            throw noServer(error)
        }
        let brokeOff = Failure("the server at \(base) stopped in the middle of it", hint: "what was begun is gone on with when you run this again")
        var rest = ByteBuffer()
        var last: JSONValue = .null
        var parts = response.body.makeAsyncIterator()
        while true {
            var part: ByteBuffer?
            do {
                part = try await parts.next()
            } catch {
                throw brokeOff
            }
            guard var part else { break }
            rest.writeBuffer(&part)
            guard rest.readableBytes <= Self.longestAnswer else { throw brokeOff }
            while let end = rest.readableBytesView.firstIndex(of: 0x0A) {
                let line = rest.readSlice(length: end - rest.readerIndex) ?? ByteBuffer()
                rest.moveReaderIndex(forwardBy: 1)
                last = try value(of: line, status: response.status)
                try onLine(last)
            }
            rest.discardReadBytes()
        }
        if last["phase"]?.string == "failed", let problem = last["problem"] {
            throw Self.failure(problem, status: problem["status"]?.integer ?? 500, base: base)
        }
        guard last["phase"]?.string == "done" else { throw brokeOff }
        return last
    }

    /// A request through the gateway. Its body and the answer's are streams; their deadlines are the gateway's.
    /// - Returns: what the API answered, whatever its status.
    /// - Throws: ``Failure``, from a problem of Grantee itself.
    func call(_ connection: String, _ call: CallRequest) async throws -> HTTPClientResponse {
        var request = HTTPClientRequest(url: base + "/gateway/" + Form.percentEncode(connection) + call.target)
        request.method = .init(rawValue: call.method)
        request.headers.add(name: "Authorization", value: "Bearer \(key)")
        if !call.headers.contains(where: { $0.name.lowercased() == "user-agent" }) { request.headers.add(name: "User-Agent", value: Self.userAgent) }
        for field in call.headers { request.headers.add(name: field.name, value: field.value) }
        request.body = call.body
        let response: HTTPClientResponse
        let client = try Self.client.get()
        do {
            response = try await client.execute(request, deadline: .distantFuture)
        } catch let error as FileChunks.ReadError {
            throw Failure("the body could not be read to its end: \(error.words)")
        } catch let error as HTTPClientError where error == .remoteConnectionClosed || error == .bodyLengthMismatch {
            throw Failure("the request broke off before an answer came")
        } catch {
            throw noServer(error)
        }
        guard let code = response.headers.first(name: "Grantee-Problem") else { return response }
        let bytes = try? await response.body.collect(upTo: Self.longestAnswer)
        let problem = bytes.flatMap { try? JSONValue(parsing: $0.readableBytesView) }
        // The answer to HEAD has no body to tell more.
        throw Self.failure(
            problem ?? ["code": .string(code), "detail": .string("Grantee did not pass the request on")], status: Int(response.status.code), base: base)
    }

    private func request(
        _ method: HTTPRequest.Method, _ path: String, query: [(String, String?)] = [], body: JSONValue?, ifMatch: String? = nil
    ) -> HTTPClientRequest {
        let pairs = query.compactMap { name, value in value.map { (name, $0) } }
        var request = HTTPClientRequest(url: base + path + (pairs.isEmpty ? "" : "?" + Form.serialize(pairs)))
        request.method = .init(rawValue: method.rawValue)
        request.headers.add(name: "Authorization", value: "Bearer \(key)")
        request.headers.add(name: "User-Agent", value: Self.userAgent)
        if let ifMatch { request.headers.add(name: "If-Match", value: ifMatch) }
        if let body {
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(body.serialized())
        }
        return request
    }

    private func noServer(_ error: any Error) -> Failure {
        let lead = "TLS failed: "
        if case .unreachable(let reason) = TransportError(failure: error, mayHaveBeenSent: false).reason, reason.hasPrefix(lead) {
            return Failure(
                "no secure connection to \(base): \(reason.dropFirst(lead.count))",
                hint: reason.contains("certificate")
                    ? "name the authority that signed it with GRANTEE_CA_FILE; GRANTEE_URL has to name a host that it is for" : "check GRANTEE_URL")
        }
        return Failure("no server answers at \(base)", hint: "start one with `grantee serve`, or set GRANTEE_URL")
    }

    private func value(of bytes: ByteBuffer, status: HTTPResponseStatus) throws -> JSONValue {
        if bytes.readableBytes == 0 { return .null }
        guard let value = try? JSONValue(parsing: bytes.readableBytesView) else {
            if let failure = Self.proxyFailure(Int(status.code), base: base) { throw failure }
            throw Failure("what answers at \(base) is not a Grantee server (status \(status.code))", hint: "check GRANTEE_URL")
        }
        return value
    }

    /// All pages, or as many items as were asked for.
    func list(_ path: String, query: [(String, String?)] = [], limit: Int? = nil) async throws -> [JSONValue] {
        var items: [JSONValue] = []
        var after: String?
        repeat {
            let size = min(200, (limit ?? .max) - items.count)
            let page = try await send(.get, path, query: query + [("limit", String(size)), ("after", after)])
            guard let found = page["items"]?.array else { throw Failure("the server's answer has no items", hint: "check GRANTEE_URL") }
            items += found
            after = page["next"]?.string
        } while after != nil && items.count < limit ?? .max
        return items
    }

    private static func failure(_ problem: JSONValue, status: Int, base: String) -> Failure {
        guard let code = problem["code"]?.string, let detail = problem["detail"]?.string else {
            return proxyFailure(status, base: base) ?? Failure("the server at \(base) answered with status \(status)")
        }
        var details = (problem["errors"]?.array ?? []).compactMap { error in
            error["pointer"]?.string.flatMap { pointer in error["detail"]?.string.map { "\(pointer.isEmpty ? "body" : pointer) \($0)" } }
        }
        if let provider = problem["provider"], let said = provider["error_description"]?.string { details.append("the provider says: \(said)") }
        // One fault alone is often all that the detail says.
        if details.count == 1, let only = problem["errors"]?.array?.first?["detail"]?.string ?? details.first, detail.contains(only) { details = [] }
        let exitCode: Int32
        switch code {
        case "not_found": exitCode = Failure.notFound
        case "not_connected", "reauthorization_required": exitCode = Failure.notConnected
        default: exitCode = Failure.failed
        }
        return Failure(
            "\(asCommands(detail)) (\(code))", details: details.map(asCommands),
            hint: hint(code, problem["fix"]?.string).map(asCommands) ?? secretHint(details),
            exitCode: exitCode)
    }

    /// A status of a proxy, or a balancer, that no server of ours stands behind.
    private static func proxyFailure(_ status: Int, base: String) -> Failure? {
        guard [502, 503, 504].contains(status) else { return nil }
        return Failure("the proxy at \(base) reaches no server (status \(status))", hint: "check that the server runs, and where the proxy looks for it")
    }

    /// Requests of the API as the commands that make them.
    private static func asCommands(_ text: String) -> String {
        text.replacing(/POST \/v1\/connections\/([a-z0-9-]+)\/connect/) { "`grantee connect \($0.output.1)`" }
            .replacing(/PATCH \/v1\/connections\/([a-z0-9-]+) \(agent_access\.(method|path|header)s\)/) {
                "`grantee connections edit \($0.output.1) --agent-\($0.output.2) …`"
            }
            .replacing(/PATCH \/v1\/connections\/([a-z0-9-]+) \(\{"agent_access".*\}\)/) {
                "`grantee connections edit \($0.output.1) --agents on --agent-method GET --agent-path /…`"
            }
            .replacing(/set base_url: PATCH \/v1\/connections\/([a-z0-9-]+)/) { "`grantee connections edit \($0.output.1) --base-url URL`" }
            .replacing(/add one to authentication_instructions, such as (.+): PATCH \/v1\/connections\/([a-z0-9-]+)/) {
                "add one: `grantee connections edit \($0.output.2) --instructions '\($0.output.1)'`"
            }
            .replacing(/PATCH \/v1\/connections\/([a-z0-9-]+)/) { "`grantee connections edit \($0.output.1)`" }
            .replacing("GET /v1/connections", with: "`grantee connections list`").replacing("GET /v1/presets", with: "`grantee presets`")
            .replacing(/GET \/v1\/webhooks\/([A-Za-z0-9_-]+)\/deliveries/) { "`grantee webhooks deliveries \($0.output.1)`" }
            .replacing("GET /v1/webhooks", with: "`grantee webhooks list`")
            .replacing("in the same PATCH", with: "along with the change")
    }

    /// The server's fix; where it names a request of the API, a person at a terminal is told the command.
    private static func hint(_ code: String, _ fix: String?) -> String? {
        switch code {
        case "unauthenticated": return "set GRANTEE_API_KEY to a valid key of this server"
        case "not_connected", "reauthorization_required":
            return fix.flatMap { $0.firstMatch(of: /`(?<command>grantee connect [^`]+)`/).map { "connect with `\($0.command)`" } } ?? fix
        default: return fix
        }
    }

    /// How a secret is given here, where the server misses one.
    private static func secretHint(_ details: [String]) -> String? {
        let missing = details.joined(separator: " ")
        if missing.contains("/oauth/client_secret") { return "put it into a file and name it with --client-secret-file, or into GRANTEE_CLIENT_SECRET" }
        if missing.contains("/oauth/password") { return "put it into a file and name it with --password-file, or into GRANTEE_PASSWORD" }
        return nil
    }
}

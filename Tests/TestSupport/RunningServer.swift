import AsyncHTTPClient
package import Broker
import Egress
import Foundation
package import HTTPTypes
import Logging
import NIOCore
import NIOHTTP1
package import OAuth
import RehearsalProvider
package import Server
import ServiceLifecycle
import Synchronization

/// A server in this process on a port and a data directory of its own.
package struct RunningServer: Sendable {
    package let url: String
    package let adminKey: String
    package let broker: Broker
    package let directory: String
    /// Every line that was logged, at every level.
    package let log: CapturedLog

    /// Runs one while `body` works; loopback may be reached.
    /// - Parameter directory: `nil` = a throw-away one.
    package static func with<R: Sendable>(
        directory: String? = nil, _ change: (inout ServerConfiguration) -> Void = { _ in }, _ body: (RunningServer) async throws -> R
    ) async throws -> R {
        let folder = directory ?? FileManager.default.temporaryDirectory.appending(path: "server-\(UUID().uuidString)").path
        defer { if directory == nil { try? FileManager.default.removeItem(atPath: folder) } }
        var configuration = ServerConfiguration(dataDirectory: folder, port: 0)
        configuration.egressAllow = ["127.0.0.0/8", "::1/128"].compactMap { Egress.CIDR($0) }
        change(&configuration)
        let log = CapturedLog()
        let server = GranteeServer(configuration: configuration, logger: log.logger)
        let (started, continuation) = AsyncStream<GranteeServer.Listening>.makeStream()
        let group = ServiceGroup(services: [Running { try await server.run { continuation.yield($0) } }], logger: log.logger)
        let task = Task {
            defer { continuation.finish() }
            try await group.run()
        }
        guard let listening = await started.first(where: { _ in true }) else {
            try await task.value
            throw CancellationError()
        }
        let result: Result<R, any Error>
        do {
            result = .success(
                try await body(RunningServer(url: listening.url, adminKey: listening.adminKey ?? "", broker: listening.broker, directory: folder, log: log)))
        } catch {
            result = .failure(error)
        }
        await group.triggerGracefulShutdown()
        try await task.value
        return try result.get()
    }

    private struct Running: Service {
        let body: @Sendable () async throws -> Void
        func run() async throws { try await body() }
    }

    // MARK: Asking

    package struct Answer: Sendable {
        package let status: Int
        package let headers: HTTPFields
        package let bytes: [UInt8]

        package var text: String { String(decoding: bytes, as: UTF8.self) }
        /// `null` when the body is no JSON.
        package var json: JSONValue { (try? JSONValue(parsing: bytes)) ?? .null }
        package subscript(_ name: String) -> JSONValue? { json[name] }
        /// The problem's code, `nil` when it is none.
        package var code: String? { json["code"]?.string }
        /// The pointers of the wrong fields that a problem names.
        package var pointers: [String] { (json["errors"]?.array ?? []).compactMap { $0["pointer"]?.string } }
    }

    /// - Parameters:
    ///   - key: `nil` = none.
    ///   - raw: sent instead of `body`, as it is.
    package func send(
        _ method: HTTPRequest.Method, _ path: String, body: JSONValue? = nil, raw: [UInt8]? = nil, type: String? = "application/json",
        key: Key = .admin, headers: HTTPFields = [:]
    ) async throws -> Answer {
        let keyText: String? =
            switch key {
            case .admin: adminKey
            case .other(let text): text
            case .none: nil
            }
        return try await Self.send(method, to: url + path, body: body, raw: raw, type: type, key: keyText, headers: headers)
    }

    /// To any server, in whatever process it runs.
    package static func send(
        _ method: HTTPRequest.Method, to url: String, body: JSONValue? = nil, raw: [UInt8]? = nil, type: String? = "application/json",
        key: String?, headers: HTTPFields = [:]
    ) async throws -> Answer {
        var request = HTTPClientRequest(url: url)
        request.method = .init(rawValue: method.rawValue)
        if let key { request.headers.add(name: "Authorization", value: "Bearer \(key)") }
        for field in headers { request.headers.replaceOrAdd(name: field.name.rawName, value: field.value) }
        if let bytes = raw ?? body?.serialized() {
            if let type { request.headers.add(name: "Content-Type", value: type) }
            request.body = .bytes(bytes)
        }
        let response = try await HTTPClient.patient.execute(request, timeout: .seconds(60))
        var fields = HTTPFields()
        for (name, value) in response.headers { if let name = HTTPField.Name(name) { fields.append(HTTPField(name: name, value: value)) } }
        let bytes = try await response.body.collect(upTo: 32 << 20)
        return Answer(status: Int(response.status.code), headers: fields, bytes: Array(bytes.readableBytesView))
    }

    package enum Key: Sendable {
        case admin
        case other(String)
        case none
    }

    /// A new API key's text.
    package func makeKey(_ document: JSONValue) async throws -> String {
        try await send(.post, "/v1/keys", body: document)["key"]?.string ?? ""
    }
}

/// A rehearsal provider in this process, on a port of its own.
package struct RunningProvider: Sendable {
    /// `http://localhost:PORT`
    package let url: String

    package static func with<R: Sendable>(_ body: (RunningProvider) async throws -> R) async throws -> R {
        let provider = RehearsalProvider(logger: Logger(label: "rehearsal") { _ in SwiftLogNoOpLogHandler() })
        let (started, continuation) = AsyncStream<String>.makeStream()
        let task = Task {
            defer { continuation.finish() }
            try await provider.run { continuation.yield($0) }
        }
        guard let url = await started.first(where: { _ in true }) else {
            try await task.value
            throw CancellationError()
        }
        let result: Result<R, any Error>
        do {
            result = .success(try await body(RunningProvider(url: url)))
        } catch {
            result = .failure(error)
        }
        task.cancel()
        do { try await task.value } catch is CancellationError {}
        return try result.get()
    }

    /// Makes a client, or changes one: as `POST /_rehearsal/clients` takes it.
    package func client(_ document: JSONValue) async throws {
        let answer = try await control("/_rehearsal/clients", document)
        guard answer["id"] != nil else { throw RehearsalError("the client was not taken: \(answer)") }
    }

    /// Requests that its token endpoint saw, by client and grant type.
    package func tokenRequests(_ client: String, _ grantType: String? = nil) async throws -> [JSONValue] {
        let log = try await control("/_rehearsal/log", nil)
        return (log["items"]?.array ?? []).filter {
            $0["path"]?.string == "/token" && $0["client"]?.string == client && (grantType == nil || $0["grant_type"]?.string == grantType)
        }
    }

    /// A client's token requests: all, those that were too many, and those that nothing is decided for yet.
    package func requestCounts(_ client: String) async throws -> (all: Int, rateLimited: Int, underWay: Int) {
        let counts = try await control("/_rehearsal/clients/" + client, nil)["token_requests"]
        guard let all = counts?["count"]?.integer, let rateLimited = counts?["rate_limited"]?.integer, let underWay = counts?["under_way"]?.integer else {
            throw RehearsalError("there is no client \(client)")
        }
        return (all, rateLimited, underWay)
    }

    /// Tokens of the user alice, as the API imports them.
    package func tokens(_ client: String, secret: String, expiresIn: Int? = nil) async throws -> JSONValue {
        let form = [
            ("grant_type", "password"), ("username", "alice"), ("password", "password"), ("scope", "read"), ("client_id", client), ("client_secret", secret),
        ]
        var request = HTTPClientRequest(url: url + "/token")
        request.method = .POST
        request.body = .bytes(Array(Form.serialize(form).utf8))
        let response = try await HTTPClient.patient.execute(request, timeout: .seconds(60))
        let answer = try JSONValue(parsing: try await response.body.collect(upTo: 1 << 20).readableBytesView)
        guard let access = answer["access_token"], let refresh = answer["refresh_token"], let lifetime = answer["expires_in"] else {
            throw RehearsalError("no tokens were given: \(answer["error"]?.string ?? "")")
        }
        return [
            "access_token": access, "refresh_token": refresh, "expires_in": expiresIn.map { .number(JSONNumber($0)) } ?? lifetime, "scope": ["read"],
        ]
    }

    /// Whom its API takes the token of an answer for; `nil` when it does not take it.
    package func user(of answer: RunningServer.Answer) async throws -> String? {
        var request = HTTPClientRequest(url: url + "/api/me")
        request.headers.add(name: "Authorization", value: "Bearer \(answer["access_token"]?.string ?? "")")
        let response = try await HTTPClient.patient.execute(request, timeout: .seconds(60))
        return try JSONValue(parsing: try await response.body.collect(upTo: 1 << 20).readableBytesView)["sub"]?.string
    }

    private func control(_ path: String, _ body: JSONValue?) async throws -> JSONValue {
        var request = HTTPClientRequest(url: url + path)
        if let body {
            request.method = .POST
            request.body = .bytes(body.serialized())
        }
        let response = try await HTTPClient.patient.execute(request, timeout: .seconds(60))
        return try JSONValue(parsing: try await response.body.collect(upTo: 8 << 20).readableBytesView)
    }

    /// A connection to this provider, as the API takes it.
    package func connection(
        _ id: String, _ grantType: String, client: String = "conf", secret: String? = "conf-secret", oauth extra: JSONObject = [:]
    ) -> JSONValue {
        var oauth: JSONObject = [
            "grant_type": .string(grantType), "token_url": .string(url + "/token"), "revocation_url": .string(url + "/revoke"), "client_id": .string(client),
            "scopes": ["read"],
        ]
        if grantType == "authorization_code" { oauth["authorization_url"] = .string(url + "/authorize") }
        if let secret { oauth["client_secret"] = .string(secret) }
        for member in extra.members { oauth[member.name] = member.value }
        return ["id": .string(id), "name": .string(id), "base_url": .string(url + "/api"), "oauth": .object(oauth)]
    }
}

/// Everything a logger was told, at every level.
package final class CapturedLog: Sendable {
    private let lines = Mutex<[String]>([])
    package var text: String { lines.withLock { $0.joined(separator: "\n") } }

    var logger: Logger {
        var logger = Logger(label: "test") { _ in Handler(log: self) }
        logger.logLevel = .trace
        return logger
    }

    private struct Handler: LogHandler {
        let log: CapturedLog
        var logLevel = Logger.Level.trace
        var metadata: Logger.Metadata = [:]
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }
        func log(event: LogEvent) {
            let pairs = metadata.merging(event.metadata ?? [:]) { $1 }.map { "\($0.key)=\($0.value)" }
            log.lines.withLock { $0.append((["\(event.level)", "\(event.message)"] + pairs).joined(separator: " ")) }
        }
    }
}

extension HTTPClient {
    /// Follows no redirect, and waits as long for a connection as for an answer: on a busy machine many tests ask at once.
    static let patient: HTTPClient = {
        var configuration = Configuration(redirectConfiguration: .disallow)
        configuration.timeout.connect = .seconds(60)
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }()
}

import HTTPTypes
import OAuth
import RehearsalProvider
import Server
import TestSupport
import Testing

/// A server with a gateway, a rehearsal provider that gives it tokens, and the steps that most tests take.
struct Stage: Sendable {
    let server: RunningServer
    let provider: RunningProvider

    static func with<R: Sendable>(
        _ change: (inout ServerConfiguration) -> Void = { _ in }, _ body: (Stage) async throws -> R
    ) async throws -> R {
        try await RunningProvider.with { provider in
            try await RunningServer.with(change) { server in try await body(Stage(server: server, provider: provider)) }
        }
    }

    /// With the connection `api` to `/base` of a raw upstream.
    static func with<R: Sendable>(
        upstream script: RawUpstream.Script, _ connection: JSONObject = [:], _ change: (inout ServerConfiguration) -> Void = { _ in },
        _ body: (Stage, RawUpstream) async throws -> R
    ) async throws -> R {
        try await RawUpstream.with(script) { upstream in
            try await with(change) { stage in
                try await stage.add("api", at: upstream.url + "/base", connection)
                return try await body(stage, upstream)
            }
        }
    }

    /// With the connection `api` to an nginx.
    static func withNginx<R: Sendable>(
        _ face: NginxFace = .plain, _ change: (inout ServerConfiguration) -> Void = { _ in }, _ body: (Stage, Nginx) async throws -> R
    ) async throws -> R {
        try await Nginx.with { nginx in
            func trusting(_ configuration: inout ServerConfiguration) {
                configuration.caFile = nginx.caFile
                change(&configuration)
            }
            return try await with(trusting) { stage in
                try await stage.add("api", at: face.url(of: nginx))
                return try await body(stage, nginx)
            }
        }
    }

    enum NginxFace: String, Sendable, CaseIterable {
        case plain = "HTTP/1.1"
        case http1OverTLS = "HTTP/1.1 over TLS"
        case http2 = "HTTP/2"

        func url(of nginx: Nginx) -> String {
            switch self {
            case .plain: nginx.url
            case .http1OverTLS: nginx.secureHTTP1URL
            case .http2: nginx.secureURL
            }
        }
        /// As nginx names it.
        var version: String { self == .http2 ? "HTTP/2.0" : "HTTP/1.1" }
    }

    // MARK: Connections, keys, tokens

    /// A connection that fetches its token by itself.
    func add(_ id: String, at baseURL: String, _ more: JSONObject = [:], sourceLocation: SourceLocation = #_sourceLocation) async throws {
        try await add(
            provider.connection(id, "client_credentials", client: "machine", secret: "machine-secret"), at: baseURL, more, sourceLocation: sourceLocation)
    }

    /// A connection whose grant for `user-1` holds the access token `stale-token`, which is to live for an hour, and a refresh
    /// token that the provider takes.
    func addStale(_ id: String, at baseURL: String, _ more: JSONObject = [:], sourceLocation: SourceLocation = #_sourceLocation) async throws {
        try await add(provider.connection(id, "authorization_code"), at: baseURL, more, sourceLocation: sourceLocation)
        let tokens = try await provider.tokens("conf", secret: "conf-secret", expiresIn: 3600)
        try await grant(id, ["access_token": "stale-token", "refresh_token": tokens["refresh_token"] ?? .null, "expires_in": 3600])
    }

    /// Of `user-1`.
    func grant(_ id: String, _ tokens: JSONValue, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let answer = try await server.send(.put, "/v1/connections/\(id)/grants/user-1", body: tokens)
        #expect(answer.status == 200, "\(answer.text)", sourceLocation: sourceLocation)
    }

    func add(_ document: JSONValue, at baseURL: String?, _ more: JSONObject, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        var object = document.object ?? JSONObject()
        object["base_url"] = baseURL.map(JSONValue.string) ?? .null
        for member in more.members { object[member.name] = member.value }
        let answer = try await server.send(.post, "/v1/connections", body: .object(object))
        #expect(answer.status == 201, "\(answer.text)", sourceLocation: sourceLocation)
    }

    /// A new key's text.
    func key(_ role: String, _ more: JSONObject = [:]) async throws -> String {
        var object: JSONObject = ["name": "test", "role": .string(role)]
        for member in more.members { object[member.name] = member.value }
        return try #require(try await server.send(.post, "/v1/keys", body: .object(object))["key"]?.string)
    }

    /// The access token that the connection's shared grant has now.
    func token(_ id: String = "api") async throws -> String {
        try #require(try await server.send(.get, "/v1/connections/\(id)/token")["access_token"]?.string)
    }

    // MARK: Asking

    var authority: String { String(server.url.dropFirst("http://".count)) }

    /// A request's head, and its body with it.
    /// - Parameters:
    ///   - target: below `/gateway/`, unless it begins with `/`.
    ///   - key: `nil` = the admin's, `""` = none.
    func head(
        _ method: String = "GET", _ target: String, _ fields: [String] = [], key: String? = nil, version: String = "HTTP/1.1", body: String? = nil
    ) -> String {
        var lines = ["\(method) \(target.hasPrefix("/") ? target : "/gateway/" + target) \(version)", "Host: \(authority)"]
        if key != "" { lines.append("Authorization: Bearer \(key ?? server.adminKey)") }
        lines += fields
        if let body { lines.append("Content-Length: \(body.utf8.count)") }
        return lines.joined(separator: "\r\n") + "\r\n\r\n" + (body ?? "")
    }

    /// One request on a connection of its own.
    func ask(
        _ method: String = "GET", _ target: String, _ fields: [String] = [], key: String? = nil, body: String? = nil
    ) async throws -> RawAnswer {
        let request = head(method, target, fields, key: key, body: body)
        return try await client { client in
            await client.send(request)
            return try await client.answer(to: method)
        }
    }

    func client<R: Sendable>(_ body: (RawClient) async throws -> R) async throws -> R { try await RawClient.with(server.url, body) }
}

/// Waits until a figure stands still: what flows has met something that does not take it.
func settled(_ figure: @Sendable () -> Int) async throws -> Int {
    var (last, times) = (-1, 0)
    while times < 4 {
        let now = figure()
        times = now == last && now > 0 ? times + 1 : 0
        last = now
        try await Task.sleep(for: .milliseconds(50))
    }
    return last
}

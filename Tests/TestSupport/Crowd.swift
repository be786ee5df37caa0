import AsyncHTTPClient
import Foundation
package import HTTPTypes
import NIOCore
import NIOHTTP1
package import OAuth

/// Many who ask at the same moment: each over a connection of its own, as other clients share a few.
package enum Crowd {
    private static let client: HTTPClient = {
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        configuration.timeout.connect = .seconds(60)
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 2000
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }()

    package static func send(
        _ method: HTTPRequest.Method, to url: String, body: JSONValue? = nil, key: String?, headers: HTTPFields = [:], within limit: Duration = .seconds(60)
    ) async throws -> RunningServer.Answer {
        var request = HTTPClientRequest(url: url)
        request.method = .init(rawValue: method.rawValue)
        if let key { request.headers.add(name: "Authorization", value: "Bearer \(key)") }
        for field in headers { request.headers.replaceOrAdd(name: field.name.rawName, value: field.value) }
        if let body {
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(body.serialized())
        }
        let response = try await client.execute(request, timeout: TimeAmount(limit))
        var fields = HTTPFields()
        for (name, value) in response.headers { if let name = HTTPField.Name(name) { fields.append(HTTPField(name: name, value: value)) } }
        let bytes = try await response.body.collect(upTo: 32 << 20)
        return RunningServer.Answer(status: Int(response.status.code), headers: fields, bytes: Array(bytes.readableBytesView))
    }

    /// All begin before the first is answered.
    package static func get(_ urls: [String], key: String) async throws -> [RunningServer.Answer] {
        try await withThrowingTaskGroup(of: RunningServer.Answer.self) { group in
            for url in urls { group.addTask { try await send(.get, to: url, key: key) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
    }
}

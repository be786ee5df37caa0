import HTTPTypes
import OAuth
import Synchronization
import TestSupport
import Testing

/// What a node still serves, asked again and again: each way in that looks into memory.
final class Watch: Sendable {
    enum Face: String, Sendable, CaseIterable {
        case token
        /// As plain as a request can be: the gateway answers it from its shortcut.
        case gatewayShortcut = "gateway by the shortcut"
        /// A chunked body goes the long way.
        case gatewayLongWay = "gateway the long way"
        case mcp
        case console
    }

    /// What is asked for, and with what.
    struct Subject: Sendable {
        let connection: String
        let key: String
        /// What agents are told of the connection while it is as it was.
        let baseURL: String
        /// Of a session at the console.
        let cookie: String
    }

    struct Sighting: Sendable {
        let begun: ContinuousClock.Instant
        let isServed: Bool
        /// For the report.
        let words: String
    }

    let face: Face
    let node: ServerProcess
    private let subject: Subject
    private let seen = Mutex<[Sighting]>([])
    private let task = Mutex<Task<Void, any Error>?>(nil)

    /// Begins to ask, each 20 milliseconds.
    init(_ face: Face, at node: ServerProcess, _ subject: Subject) {
        (self.face, self.node, self.subject) = (face, node, subject)
        task.withLock {
            $0 = Task { [self] in
                while !Task.isCancelled {
                    let begun = ContinuousClock.now
                    // A request that was begun is answered, whoever wants to end.
                    let (isServed, words) = try await Task { try await Self.ask(face, node, subject) }.value
                    seen.withLock { $0.append(Sighting(begun: begun, isServed: isServed, words: words)) }
                    do { try await Task.sleep(for: .milliseconds(20)) } catch { return }
                }
            }
        }
    }

    var sightings: [Sighting] { seen.withLock { $0 } }

    /// Whether a request that began later than a second after `moment` is answered.
    func hasSeen(since moment: ContinuousClock.Instant) -> Bool { sightings.contains { $0.begun > moment + .seconds(1) } }

    func end() async throws {
        let task = task.withLock { $0 }
        task?.cancel()
        try await task?.value
    }

    /// It was served before, is not any more, and never by a request that began later than a second after `moment`.
    func expectRefusal(since moment: ContinuousClock.Instant, _ what: String, sourceLocation: SourceLocation = #_sourceLocation) {
        let all = sightings
        let late = all.filter { $0.begun > moment + .seconds(1) }
        #expect(all.contains { $0.isServed && $0.begun < moment }, "\(what): \(face.rawValue) was never served", sourceLocation: sourceLocation)
        #expect(!late.isEmpty, "\(what): \(face.rawValue) was not asked afterwards", sourceLocation: sourceLocation)
        let wrong = late.first(where: \.isServed)
        #expect(
            wrong == nil, "\(what): \(face.rawValue) served \(wrong.map { "\($0.begun - moment)" } ?? "") later: \(wrong?.words ?? "")",
            sourceLocation: sourceLocation)
    }

    // MARK: Asking

    /// - Returns: whether it was served as before, and what was said.
    static func ask(_ face: Face, _ node: ServerProcess, _ subject: Subject) async throws -> (isServed: Bool, words: String) {
        switch face {
        case .token:
            let answer = try await Crowd.send(.get, to: node.url + "/v1/connections/\(subject.connection)/token", key: subject.key)
            return (answer.status == 200, "\(answer.status) \(answer.code ?? "")")
        case .gatewayShortcut:
            return try await raw(node, "GET", "GET /gateway/\(subject.connection)/me HTTP/1.1\r\n\(fields(subject))\r\n")
        case .gatewayLongWay:
            let head = "POST /gateway/\(subject.connection)/echo HTTP/1.1\r\n\(fields(subject))Transfer-Encoding: chunked\r\n\r\n"
            return try await raw(node, "POST", head + "2\r\n{}\r\n0\r\n\r\n")
        case .mcp:
            let body: JSONValue = ["jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": ["name": "list_connections", "arguments": [:]]]
            var headers = Cluster.host
            headers[HTTPField.Name("MCP-Protocol-Version")!] = "2025-11-25"
            headers[.accept] = "application/json, text/event-stream"
            let answer = try await Crowd.send(.post, to: node.url + "/mcp", body: body, key: subject.key, headers: headers)
            let listed = answer["result"]?["structuredContent"]?["connections"]?.array ?? []
            let isListed = listed.contains { $0["id"]?.string == subject.connection && $0["base_url"]?.string == subject.baseURL }
            return (answer.status == 200 && isListed, "\(answer.status) \(answer.code ?? "")")
        case .console:
            var headers = Cluster.host
            headers[.cookie] = subject.cookie
            let page = try await Crowd.send(.get, to: node.url + "/console/settings", key: nil, headers: headers)
            return (page.status == 200 && page.text.contains("name=\"csrf\""), "\(page.status)")
        }
    }

    private static func fields(_ subject: Subject) -> String { "Host: localhost:4711\r\nAuthorization: Bearer \(subject.key)\r\n" }

    private static func raw(_ node: ServerProcess, _ method: String, _ text: String) async throws -> (isServed: Bool, words: String) {
        try await RawClient.with(node.url) { client in
            await client.send(text)
            let answer = try await client.answer(to: method)
            return (answer.status == 200, "\(answer.status) \(answer.problem ?? "")")
        }
    }
}

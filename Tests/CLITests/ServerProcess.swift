import Foundation
import HTTPTypes
import OAuth
import Synchronization
import TestSupport
import Testing

/// `grantee serve` in a process of its own, which can be killed; loopback may be reached.
struct ServerProcess: Sendable {
    let program: Program
    let url: String
    let adminKey: String

    /// As `kill -9` does.
    @discardableResult
    func kill() async -> Program.Outcome {
        program.signal(SIGKILL)
        return await program.outcome()
    }

    /// As a service manager does.
    @discardableResult
    func stop(sourceLocation: SourceLocation = #_sourceLocation) async -> Program.Outcome {
        program.signal(SIGTERM)
        let outcome = await program.outcome()
        #expect(outcome.status == 0, "\(outcome.errors)", sourceLocation: sourceLocation)
        return outcome
    }

    // MARK: Asking

    func send(_ method: HTTPRequest.Method, _ path: String, body: JSONValue? = nil) async throws -> RunningServer.Answer {
        try await RunningServer.send(method, to: url + path, body: body, key: adminKey)
    }

    func token(_ id: String, _ query: String = "") async throws -> RunningServer.Answer {
        try await send(.get, "/v1/connections/\(id)/token" + (query.isEmpty ? "" : "?" + query))
    }

    func refresh(_ id: String) async throws -> RunningServer.Answer {
        try await send(.post, "/v1/connections/\(id)/grants/-/refresh")
    }

    func grant(_ id: String) async throws -> RunningServer.Answer {
        try await send(.get, "/v1/connections/\(id)/grants/-")
    }

    func put(_ id: String, subject: String = "-", _ tokens: JSONValue, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let answer = try await send(.put, "/v1/connections/\(id)/grants/\(subject)", body: tokens)
        #expect(answer.status == 200, "\(answer.text)", sourceLocation: sourceLocation)
    }

    func add(_ connection: JSONValue, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let answer = try await send(.post, "/v1/connections", body: connection)
        #expect(answer.status == 201, "\(answer.text)", sourceLocation: sourceLocation)
    }
}

/// A throw-away data directory, and the servers that run on it one after the other.
final class ServerHome: Sendable {
    let directory = FileManager.default.temporaryDirectory.appending(path: "home-\(UUID().uuidString)").path
    private let started = Mutex<[Program]>([])

    /// What still runs in the end is killed.
    static func with<R: Sendable>(_ body: (ServerHome) async throws -> R) async throws -> R {
        let home = ServerHome()
        defer {
            for program in home.started.withLock({ $0 }) { program.signal(SIGKILL) }
            do { try FileManager.default.removeItem(atPath: home.directory) } catch { Issue.record("\(error)") }
        }
        return try await body(home)
    }

    /// Returns when it listens.
    func start(_ environment: [String: String] = [:]) async throws -> ServerProcess {
        let program = try CommandLineTool(environment: environment).start([
            "serve", "--data-dir", directory, "--port", "0", "--egress-allow", "127.0.0.0/8,::1/128",
        ])
        started.withLock { $0 = [program] }
        let lead = "Listening on "
        guard let line = await program.line(where: { $0.hasPrefix(lead) }) else { throw NotStarted(errors: await program.outcome().errors) }
        let key = try String(contentsOfFile: directory + "/admin.key", encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
        return ServerProcess(program: program, url: String(line.dropFirst(lead.count)), adminKey: key)
    }

    struct NotStarted: Error {
        let errors: String
    }
}

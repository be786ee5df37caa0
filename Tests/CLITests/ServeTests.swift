import Foundation
import HTTPTypes
import OAuth
import RehearsalProvider
import TestSupport
import Testing

/// The program as a server: how it starts, stops and survives.
struct ServeTests {
    private func temporary() -> String { FileManager.default.temporaryDirectory.appending(path: "serve-\(UUID().uuidString)").path }

    private func serve(_ directory: String, _ more: String...) throws -> Program {
        try CommandLineTool().start(["serve", "--data-dir", directory, "--port", "0", "--egress-allow", "127.0.0.0/8,::1/128"] + more)
    }

    private func url(of server: Program) async throws -> String {
        let line = await server.line { $0.hasPrefix("Listening on ") }
        return String(try #require(line).dropFirst("Listening on ".count))
    }

    @Test func itListensIsFoundAndStops() async throws {
        let directory = temporary()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let server = try serve(directory)
        let url = try await url(of: server)
        let found = try JSONValue(parsing: try #require(FileManager.default.contents(atPath: directory + "/server.json")))
        #expect(found["url"]?.string == url)
        let tool = CommandLineTool(environment: ["GRANTEE_DATA_DIR": directory])
        #expect(try await tool.run(["connections", "list"]).status == 0)
        server.signal(SIGTERM)
        let outcome = await server.outcome()
        #expect(outcome.status == 0)
        #expect(outcome.output == "Listening on \(url)\n")
        #expect(!FileManager.default.fileExists(atPath: directory + "/server.json"))
    }

    @Test func aSecondServerOnTheDataDirectoryIsRefusedInWords() async throws {
        let directory = temporary()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let server = try serve(directory)
        _ = try await url(of: server)
        let second = await (try serve(directory)).outcome()
        #expect(second.status == 1)
        #expect(
            second.errors == "error: another server uses the data directory \(directory)\nhint:  stop it first, or start this one with another --data-dir\n")
        server.signal(SIGTERM)
        #expect(await server.outcome().status == 0)
    }

    @Test func aPortInUseIsNamed() async throws {
        let (one, other) = (temporary(), temporary())
        defer { for directory in [one, other] { try? FileManager.default.removeItem(atPath: directory) } }
        let server = try serve(one)
        let port = try EndpointURL(try await url(of: server)).effectivePort
        let second = try await CommandLineTool().run(["serve", "--data-dir", other, "--port", "\(port)"])
        #expect(second.status == 1)
        #expect(second.errors.contains("error: port \(port) on 127.0.0.1 is in use\n"), "\(second.errors)")
        let provider = try await CommandLineTool().run(["provider", "--port", "\(port)"])
        #expect(provider.status == 1)
        #expect(provider.errors.contains("error: port \(port) on 127.0.0.1 is in use\n"), "\(provider.errors)")
        server.signal(SIGTERM)
        _ = await server.outcome()
    }

    @Test func grantsSurviveAKillAndSecretsAreInNoProcessList() async throws {
        let directory = temporary()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try await RunningProvider.with { provider in
            let tool = CommandLineTool(environment: ["GRANTEE_DATA_DIR": directory, "GRANTEE_CLIENT_SECRET": "machine-secret"])
            let server = try serve(directory)
            _ = try await url(of: server)
            let added = try await tool.run([
                "connections", "add", "Machine", "--grant-type", "client_credentials", "--token-url", provider.url + "/token", "--client-id", "machine",
            ])
            #expect(added.status == 0, "\(added.errors)")
            let first = try await tool.run(["token", "machine"])
            #expect(first.status == 0, "\(first.errors)")
            #if os(Linux)
                let arguments = try String(contentsOfFile: "/proc/\(server.pid)/cmdline", encoding: .utf8)
                #expect(!arguments.contains("secret"))
            #endif
            server.signal(SIGKILL)
            _ = await server.outcome()
            let again = try serve(directory)
            _ = try await url(of: again)
            let second = try await tool.run(["token", "machine"])
            #expect(second.output == first.output)
            again.signal(SIGTERM)
            let outcome = await again.outcome()
            #expect(outcome.status == 0)
            #expect(!outcome.errors.contains("machine-secret"))
            #expect(!outcome.errors.contains(first.output.trimmingCharacters(in: .newlines)))
        }
    }

    /// A token request that was sent runs to its answer though the server was told to stop.
    @Test func aRequestInFlightIsAnsweredAndItsTokenKept() async throws {
        let directory = temporary()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try await RunningProvider.with { provider in
            try await provider.client(["id": "machine", "faults": [["fault": "slow", "value": 2, "times": 1]]])
            let tool = CommandLineTool(environment: ["GRANTEE_DATA_DIR": directory, "GRANTEE_CLIENT_SECRET": "machine-secret"])
            let server = try serve(directory)
            _ = try await url(of: server)
            _ = try await tool.run([
                "connections", "add", "Machine", "--grant-type", "client_credentials", "--token-url", provider.url + "/token", "--client-id", "machine",
            ])
            async let token = tool.run(["token", "machine"])
            while try await provider.tokenRequests("machine").isEmpty { try await Task.sleep(for: .milliseconds(20)) }
            server.signal(SIGTERM)
            #expect(await server.outcome().status == 0)
            #expect(try await token.status == 0)
            let again = try serve(directory)
            _ = try await url(of: again)
            #expect(try await tool.run(["token", "machine"]).output == token.output)
            #expect(try await provider.tokenRequests("machine").count == 1)
            again.signal(SIGTERM)
            _ = await again.outcome()
        }
    }
}

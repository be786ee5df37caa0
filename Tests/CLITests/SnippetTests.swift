import Foundation
import HTTPTypes
import OAuth
import TestSupport
import Testing

/// The programs that `GET /v1/connections/{id}/instructions` shows, run as they are pasted.
@Suite(.serialized) struct SnippetTests {
    enum Use: String, CaseIterable, Sendable { case token, gateway }

    /// What shells and languages read as more than text.
    private static let note = #"it's "5$" `now`, \n 100%!"#

    /// A connection that puts its token into a header and the query.
    /// - Parameter body: gets the snippets, and what they find in their environment.
    private func withSnippets(_ use: Use, _ body: (_ snippets: JSONValue, _ environment: [String: String]) async throws -> Void) async throws {
        try await RawUpstream.with(.answering(.send(RawUpstream.answer(body: #"{"hello":"snippet"}"#)))) { upstream in
            try await RunningProvider.with { provider in
                try await RunningServer.with { server in
                    var connection = provider.connection("machine", "client_credentials", client: "machine", secret: "machine-secret").object ?? [:]
                    connection["base_url"] = .string(upstream.url + "/v2")
                    connection["authentication_instructions"] = "Authorization: <token_type> <token>\nX-Client: <client_id>\n?key=<token>\nBe polite."
                    connection["allow_token_in_query"] = true
                    connection["headers"] = ["X-Note": .string(Self.note)]
                    let made = try await server.send(.post, "/v1/connections", body: .object(connection))
                    #expect(made.status == 201, "\(made.text)")
                    let token = try #require(try await server.send(.get, "/v1/connections/machine/token")["access_token"]?.string)
                    let key = try await server.makeKey(["name": "Snippets", "role": "use"])
                    let instructions = try await server.send(.get, "/v1/connections/machine/instructions", key: .other(key))
                    let snippets = try #require(instructions["snippets"]?[use.rawValue], "\(instructions.text)")
                    try await body(snippets, ["GRANTEE_API_KEY": key, "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"])
                    let request = try #require(await upstream.nextRequest())
                    #expect(request.requestLine == "GET /v2/?key=\(token) HTTP/1.1")
                    #expect(request["authorization"] == "Bearer \(token)")
                    #expect(request["x-client"] == "machine")
                    #expect(request["x-note"] == Self.note)
                    #expect(!request.text.contains(key))
                    #expect(upstream.requests.count == 1)
                }
            }
        }
    }

    @Test(arguments: Use.allCases) func curlRunsAsPasted(_ use: Use) async throws {
        try await withSnippets(use) { snippets, environment in
            try await expectAnswer(of: "/bin/sh", ["-c", try text(snippets, "curl")], environment)
        }
    }

    @Test(arguments: Use.allCases) func pythonRunsAsPasted(_ use: Use) async throws {
        let python = try #require(Self.program("python3"))
        try await withSnippets(use) { snippets, environment in
            try await withFile("snippet.py", try text(snippets, "python")) { try await expectAnswer(of: python, [$0], environment) }
        }
    }

    @Test(.enabled(if: program("node") != nil, "Node.js is not installed"), arguments: Use.allCases)
    func javascriptRunsAsPasted(_ use: Use) async throws {
        let node = try #require(Self.program("node"))
        try await withSnippets(use) { snippets, environment in
            try await withFile("snippet.mjs", try text(snippets, "javascript")) { try await expectAnswer(of: node, [$0], environment) }
        }
    }

    @Test(arguments: Use.allCases) func swiftRunsAsPasted(_ use: Use) async throws {
        let compiler = try #require(Self.program("swiftc"))
        try await withSnippets(use) { snippets, environment in
            try await withFile("main.swift", try text(snippets, "swift")) { file in
                let built = URL(filePath: file).deletingLastPathComponent().appending(path: "snippet").path
                let compiled = await (try Program(compiler, [file, "-o", built], environment: environment)).outcome()
                #expect(compiled.status == 0, "\(compiled.errors)")
                try await expectAnswer(of: built, [], environment)
            }
        }
    }

    // MARK: Running

    private func text(_ snippets: JSONValue, _ language: String) throws -> String { try #require(snippets[language]?.string, "\(snippets)") }

    /// Status and body of the API's answer are on standard output.
    private func expectAnswer(
        of program: String, _ arguments: [String], _ environment: [String: String], sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let outcome = await (try Program(program, arguments, environment: environment)).outcome()
        #expect(outcome.status == 0, "\(outcome.output)\(outcome.errors)", sourceLocation: sourceLocation)
        #expect(outcome.output.contains("200"), "\(outcome.output)\(outcome.errors)", sourceLocation: sourceLocation)
        #expect(outcome.output.contains(#"{"hello":"snippet"}"#), "\(outcome.output)\(outcome.errors)", sourceLocation: sourceLocation)
    }

    private func withFile(_ name: String, _ text: String, _ body: (String) async throws -> Void) async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "snippet-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appending(path: name)
        try text.write(to: file, atomically: true, encoding: .utf8)
        try await body(file.path)
    }

    /// Where a program is, by PATH.
    private static func program(_ name: String) -> String? {
        (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin").split(separator: ":").map { "\($0)/\(name)" }
            .first { FileManager.default.isExecutableFile(atPath: $0) }
    }
}

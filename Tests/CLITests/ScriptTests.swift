import Foundation
import Server
import TestSupport
import Testing

/// Help, errors and output are contracts: compared whole. GRANTEE_UPDATE_SCRIPTS=1 writes them anew.
struct ScriptTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Scripts")
    static let names: [String] =
        (try? FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".script") }.sorted()) ?? []

    @Test func thereAreScripts() { #expect(Self.names.count >= 8) }

    @Test(arguments: names) func goesAsWritten(_ name: String) async throws {
        let file = Self.folder.appending(path: name)
        let written = try String(contentsOf: file, encoding: .utf8)
        try await RunningProvider.with { provider in
            try await RunningServer.with { server in
                let tool = CommandLineTool(environment: ["GRANTEE_URL": server.url, "GRANTEE_API_KEY": server.adminKey])
                let actual = try await Script(written).transcript(
                    tool: tool,
                    naming: [
                        (provider.url, "PROVIDER"), (provider.url.replacing("http://", with: ""), "PROVIDER_HOST"), (server.url, "SERVER"),
                        (server.directory, "DATA_DIR"),
                    ])
                if ProcessInfo.processInfo.environment["GRANTEE_UPDATE_SCRIPTS"] == "1" {
                    try actual.write(to: file, atomically: true, encoding: .utf8)
                } else {
                    #expect(actual == written)
                }
            }
        }
    }
}

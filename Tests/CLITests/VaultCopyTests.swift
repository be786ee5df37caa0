import Foundation
import HTTPTypes
import OAuth
import TestSupport
import Testing

/// `grantee vault copy` from a data directory to PostgreSQL and back, as a person does it, and killed where it may be.
@Suite(.enabled(if: PostgresServer.isExpected)) struct VaultCopyTests {
    private static let subjects = (0..<20).map { "u\($0)" }

    private func fill(_ server: ServerProcess) async throws {
        try await server.add([
            "id": "app", "name": "App",
            "oauth": [
                "grant_type": "authorization_code", "authorization_url": "https://as.example/authorize", "token_url": "https://as.example/token",
                "client_id": "client", "client_secret": "secret",
            ],
        ])
        for subject in Self.subjects {
            try await server.put("app", subject: subject, ["access_token": .string("at-\(subject)"), "refresh_token": "rt", "expires_in": 86_400])
        }
    }

    private func expectWhole(_ server: ServerProcess, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        for subject in Self.subjects {
            let token = try await server.token("app", "subject=\(subject)")
            #expect(token["access_token"]?.string == "at-\(subject)", "\(token.text)", sourceLocation: sourceLocation)
        }
    }

    /// A data directory with a vault, whose server has ended; an empty database; a tool that moves the one into the other.
    private func withPlaces(_ body: (_ home: ServerHome, _ database: String, _ tool: CommandLineTool) async throws -> Void) async throws {
        let postgres = try await PostgresServer.shared
        let database = try await postgres.makeDatabase()
        try await ServerHome.with { home in
            let server = try await home.start()
            try await fill(server)
            await server.stop()
            try await body(home, database, CommandLineTool(environment: ["GRANTEE_COPY_FROM": home.directory, "GRANTEE_COPY_TO": database]))
        }
        try await postgres.dropDatabase(database)
    }

    /// A server on the database, with the keys of the data directory.
    private func withServer(on database: String, keysOf home: ServerHome, _ body: (ServerProcess) async throws -> Void) async throws {
        let program = try CommandLineTool(environment: [
            "GRANTEE_DATABASE_URL": database, "GRANTEE_MASTER_KEYS_FILE": home.directory + "/master.key",
            "GRANTEE_ADMIN_KEY_FILE": home.directory + "/admin.key",
        ]).start(["serve", "--port", "0"])
        defer { program.signal(SIGKILL) }
        let lead = "Listening on "
        guard let line = await program.line(where: { $0.hasPrefix(lead) }) else { throw ServerHome.NotStarted(errors: await program.outcome().errors) }
        let key = try String(contentsOfFile: home.directory + "/admin.key", encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
        let server = ServerProcess(program: program, url: String(line.dropFirst(lead.count)), adminKey: key)
        try await body(server)
        await server.stop()
    }

    @Test(
        "kill -9 during a copy: no server starts on what is there, and a rerun ends it", .serialized,
        arguments: [
            "copy.begun:kill", "copy.page:kill@1", "copy.page:kill@4", "copy.table:kill@2", "copy.table:kill@9", "copy.checked:kill", "copy.moved:kill",
        ])
    func killed(at point: String) async throws {
        try await withPlaces { home, database, tool in
            var dying = tool
            dying.environment["GRANTEE_FAILPOINT"] = point
            #expect(try await dying.run(["vault", "copy"]).status == -SIGKILL)
            await #expect(throws: ServerHome.NotStarted.self) { try await withServer(on: database, keysOf: home) { _ in } }
            let rerun = try await tool.run(["vault", "copy"])
            #expect(rerun.status == 0, "\(rerun.errors)")
            #expect(rerun.output.contains("Both hold the same."), "\(rerun.output)")
            let verified = try await tool.run(["vault", "copy", "--verify"])
            #expect(verified.status == 0, "\(verified.output)\(verified.errors)")
            try await withServer(on: database, keysOf: home) { server in
                try await expectWhole(server)
                let caller = CommandLineTool(environment: ["GRANTEE_URL": server.url, "GRANTEE_API_KEY": server.adminKey])
                let audit = try await caller.run(["vault", "verify"])
                #expect(audit.status == 0, "\(audit.output)\(audit.errors)")
            }
        }
    }

    @Test func aMovedVaultIsServedInItsNewPlaceAlone() async throws {
        try await withPlaces { home, database, tool in
            let moved = try await tool.run(["vault", "copy"])
            #expect(moved.status == 0, "\(moved.errors)")
            // No password, wherever it was given.
            let password = try #require(URLComponents(string: database)?.password)
            #expect(!(moved.output + moved.errors).contains(password))
            let refused = await #expect(throws: ServerHome.NotStarted.self) { _ = try await home.start() }
            #expect(refused?.errors.contains("the vault in this database was moved to postgres://127.0.0.1:") == true, "\(refused?.errors ?? "")")
            try await withServer(on: database, keysOf: home) { server in
                try await expectWhole(server)
                // In use: neither copied nor compared.
                let busy = try await tool.run(["vault", "copy", "--verify"])
                #expect(busy.status == 1)
                #expect(busy.errors.contains("error: the target is in use by "), "\(busy.errors)")
            }
            let differs = try await tool.run(["vault", "copy", "--verify"])
            #expect(differs.status == 1)
            #expect(differs.errors.contains("error: the two differ in "), "\(differs.errors)")

            // Back again, into another data directory with the same keys.
            try await ServerHome.with { other in
                let back = try await tool.run(["vault", "copy", "--from", database, "--to", other.directory])
                #expect(back.status == 0, "\(back.errors)")
                for key in ["master.key", "admin.key"] {
                    try FileManager.default.copyItem(atPath: "\(home.directory)/\(key)", toPath: "\(other.directory)/\(key)")
                }
                let server = try await other.start()
                try await expectWhole(server)
                await server.stop()
            }
            await #expect(throws: ServerHome.NotStarted.self) { try await withServer(on: database, keysOf: home) { _ in } }
        }
    }

    @Test func aReopenedVaultIsABackup() async throws {
        try await withPlaces { home, _, tool in
            #expect(try await tool.run(["vault", "copy"]).status == 0)
            let reopened = try await tool.run(["vault", "reopen", home.directory])
            #expect(reopened.status == 0, "\(reopened.errors)")
            let server = try await home.start()
            let verified = try await CommandLineTool(environment: ["GRANTEE_DATA_DIR": home.directory]).run(["vault", "verify"])
            #expect(verified.status == 0, "\(verified.errors)")
            #expect(verified.output.contains("This database came from a backup. 20 grants may hold a refresh token"), "\(verified.output)")
            try await expectWhole(server)
            await server.stop()
        }
    }

    @Test func aServerThatRunsIsNotCopied() async throws {
        try await ServerHome.with { home in
            let server = try await home.start()
            let copied = try await CommandLineTool().run(["vault", "copy", "--from", home.directory, "--to", home.directory + "-other"])
            #expect(copied.status == 1)
            #expect(
                copied.errors == """
                    error: another program has the database \(home.directory)/grantee.sqlite open
                    hint:  stop the server that runs on it first

                    """)
            #expect(!FileManager.default.fileExists(atPath: home.directory + "-other"))
            await server.stop()
        }
    }
}

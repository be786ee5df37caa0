import Foundation
import HTTPTypes
import OAuth
import TestSupport
import Testing
import Vault

@testable import Broker

/// `kill -9` in the middle of a rotation: the next start opens everything, and a rerun goes on with what was begun. SEC-122
@Suite struct VaultCrashTests {
    /// Where the server dies, and the master key that a rerun ends with: a new one only after the first had its own.
    struct Point: Sendable, CustomTestStringConvertible {
        let failpoint: String
        var masterKeyAfterwards = "k2"
        var testDescription: String { failpoint }
    }

    private static let points = [
        Point(failpoint: "rotate.begun:kill"), Point(failpoint: "rotate.key_added:kill"), Point(failpoint: "rotate.rewrapping:kill"),
        Point(failpoint: "rotate.rewrapped:kill"), Point(failpoint: "rotate.marked:kill"), Point(failpoint: "rotate.key_removed:kill"),
        Point(failpoint: "rotate.data_key:kill@1"), Point(failpoint: "rotate.data_key:kill@2"), Point(failpoint: "rotate.data_key:kill@3"),
        Point(failpoint: "rotate.resealing:kill@1"), Point(failpoint: "rotate.resealing:kill@2"), Point(failpoint: "rotate.resealing:kill@4"),
        Point(failpoint: "rotate.resealed:kill"), Point(failpoint: "rotate.deleted:kill"), Point(failpoint: "rotate.ended:kill", masterKeyAfterwards: "k3"),
    ]
    private static let subjects = (0..<20).map { "u\($0)" }

    /// Two connections with grants.
    private func fill(_ server: ServerProcess, subjects: [String] = subjects) async throws {
        for id in ["a", "b"] {
            try await server.add([
                "id": .string(id), "name": .string(id),
                "oauth": [
                    "grant_type": "authorization_code", "authorization_url": "https://as.example/authorize", "token_url": "https://as.example/token",
                    "client_id": "client", "client_secret": .string("secret of \(id)"),
                ],
            ])
            for subject in subjects {
                try await server.put(
                    id, subject: subject,
                    ["access_token": .string("at-\(id)-\(subject)"), "refresh_token": .string("rt-\(id)-\(subject)"), "expires_in": 86_400])
            }
        }
    }

    private func expectWhole(_ server: ServerProcess, subjects: [String] = subjects, _ comment: Comment? = nil) async throws {
        for id in ["a", "b"] {
            for subject in subjects {
                let token = try await server.token(id, "subject=\(subject)")
                #expect(token["access_token"]?.string == "at-\(id)-\(subject)", comment ?? "\(token.text)")
            }
        }
    }

    private func masterKeyIDs(_ home: ServerHome) throws -> [String] {
        try String(contentsOfFile: home.directory + "/master.key", encoding: .utf8).split(separator: ",").map { String($0.prefix { $0 != ":" }) }
    }

    @Test("kill -9 at each step of a rotation", .serialized, arguments: points)
    func atEachStep(point: Point) async throws {
        try await ServerHome.with { home in
            let tool = CommandLineTool(environment: ["GRANTEE_DATA_DIR": home.directory])
            let dying = try await home.start(["GRANTEE_FAILPOINT": point.failpoint])
            try await fill(dying)
            let broken = try await tool.run(["vault", "rotate", "--data-keys"])
            #expect(broken.status == 1)
            // Before its answer has begun the server is simply not there.
            #expect(broken.errors.contains("hint:  "), "\(broken.errors)")
            #expect(await dying.program.outcome().status == -SIGKILL)

            let server = try await home.start()
            try await expectWhole(server)
            // What was begun with data keys ends with them.
            let rerun = try await tool.run(["vault", "rotate"])
            #expect(rerun.status == 0, "\(rerun.errors)")
            #expect(rerun.output.hasPrefix("The master key is \(point.masterKeyAfterwards); "), "\(rerun.output)")
            let verified = try await tool.run(["vault", "verify"])
            #expect(verified.status == 0, "\(verified.output)\(verified.errors)")
            #expect(try masterKeyIDs(home) == [point.masterKeyAfterwards])
            let vault = try await server.send(.get, "/v1/vault")
            #expect(vault["retired_data_keys"]?.integer == 0)
            #expect(vault["rotating"]?.bool == false)
            #expect(vault["data_keys"]?.integer == 3)
            await server.stop()
            // With the new master key alone.
            let last = try await home.start()
            try await expectWhole(last)
            await last.stop()
        }
    }

    @Test("kill -9 at any moment, again and again")
    func atAnyMoment() async throws {
        try await ServerHome.with { home in
            let subjects = (0..<100).map { "u\($0)" }
            var server = try await home.start()
            try await fill(server, subjects: subjects)
            for round in 0..<(isLongRun ? 100 : 8) {
                let victim = server
                let traffic = Task {
                    var count = 0
                    // Until the server dies.
                    while let answer = try? await victim.token("a", "subject=u\(count % 100)"), answer.status == 200 { count += 1 }
                    return count
                }
                let rotation = Task { try? await victim.send(.post, "/v1/vault/rotate", body: ["data_keys": true]) }
                try await Task.sleep(for: .milliseconds(Int.random(in: 0...400)))
                await server.kill()
                _ = await rotation.value
                _ = await traffic.value
                server = try await home.start()
                try await expectWhole(server, subjects: subjects, "round \(round)")
            }
            let tool = CommandLineTool(environment: ["GRANTEE_DATA_DIR": home.directory])
            let rerun = try await tool.run(["vault", "rotate", "--data-keys"])
            #expect(rerun.status == 0, "\(rerun.errors)")
            let verified = try await tool.run(["vault", "verify"])
            #expect(verified.status == 0, "\(verified.output)\(verified.errors)")
            #expect(try masterKeyIDs(home).count == 1)
            await server.stop()
            let last = try await home.start()
            try await expectWhole(last, subjects: subjects)
            await last.stop()
        }
    }

    // MARK: Backup and restore, as a person does it

    @Test func aBackupIsMadeBesideTheServerAndRestored() async throws {
        try await RunningProvider.with { provider in
            try await ServerHome.with { home in
                let tool = CommandLineTool(environment: ["GRANTEE_DATA_DIR": home.directory])
                let file = home.directory + "-backup.sqlite"
                defer { try? FileManager.default.removeItem(atPath: file) }
                let server = try await home.start()
                try await server.add(provider.connection("app", "authorization_code", client: "rotating", secret: "rotating-secret"))
                try await server.put("app", try await provider.tokens("rotating", secret: "rotating-secret"))
                let backup = try await tool.run(["vault", "backup", file])
                #expect(backup.status == 0, "\(backup.errors)")
                #expect(try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? Int == 0o600)
                // Spends the refresh token that is in the backup.
                #expect(try await server.refresh("app").status == 200)
                await server.stop()

                // In place, without what SQLite keeps beside it.
                let database = home.directory + "/grantee.sqlite"
                for suffix in ["", "-wal", "-shm"] where FileManager.default.fileExists(atPath: database + suffix) {
                    try FileManager.default.removeItem(atPath: database + suffix)
                }
                try FileManager.default.copyItem(atPath: file, toPath: database)
                let restored = try await home.start()
                let verified = try await tool.run(["vault", "verify"])
                #expect(verified.status == 0, "\(verified.errors)")
                #expect(
                    verified.output.contains("\nThis database came from a backup. 1 grant may hold a refresh token that was spent since:\n"),
                    "\(verified.output)")
                #expect(verified.output.contains("\napp         (shared)"), "\(verified.output)")
                #expect(try await restored.refresh("app").code == "reauthorization_required")
                #expect(try await restored.grant("app")["state_reason"]?.string == "outcome_unknown")
                let outcome = await restored.stop()
                #expect(outcome.errors.contains("this database came from a backup"))
            }
        }
    }

    @Test func aFaultIsNamedAndIsTheExitCode() async throws {
        try await RunningServer.with { server async throws in
            for id in ["a", "b"] {
                let made = try await server.send(
                    .post, "/v1/connections",
                    body: [
                        "id": .string(id), "name": .string(id),
                        "oauth": ["grant_type": "client_credentials", "token_url": "https://as.example/token", "client_id": "c", "client_secret": "s"],
                    ])
                #expect(made.status == 201, "\(made.text)")
            }
            // One connection's secret in the other's place.
            let column = try #require(SealedColumn.all.first { $0.column == "client_secret" })
            let values = try await server.broker.store.sealedValues(in: column, scope: nil, after: nil, limit: 2)
            #expect(try await server.broker.store.replace([SealedReplacement(values[0], with: values[1].sealed)], in: column) == 1)
            let owner = try await server.send(.get, "/v1/connections/a")["uid"]?.string == values[0].key.text ? "a" : "b"
            let tool = CommandLineTool(environment: ["GRANTEE_URL": server.url, "GRANTEE_API_KEY": server.adminKey])
            let verified = try await tool.run(["vault", "verify"])
            #expect(verified.status == 1)
            #expect(
                verified.errors == """
                    error: the vault has 1 fault
                    hint:  keep a copy of the database as it is; a restored backup has what was whole when it was made

                    """)
            let lines = verified.output.split(separator: "\n").map { $0.split(separator: " ", omittingEmptySubsequences: true).map(String.init) }
            #expect(lines.first == ["RECORD", "CONNECTION", "UID", "FIELD", "FAULT"])
            #expect(lines.count == 2 && lines[1].starts(with: ["connection", owner, values[0].key.text, "client_secret"]), "\(verified.output)")
            let asJSON = try await tool.run(["vault", "verify", "--json"])
            #expect(asJSON.status == 1 && asJSON.output.contains(#""phase":"done","ok":false"#), "\(asJSON.output)")
        }
    }
}

import Foundation
import HTTPTypes
import OAuth
import TestSupport
import Testing

@testable import Server

/// Rotation and verification as callers see them: lines, and a last one that tells how it ended.
@Suite struct VaultAPITests {
    private func lines(_ answer: RunningServer.Answer) throws -> [JSONValue] {
        #expect(answer.status == 200, "\(answer.text)")
        #expect(answer.headers[.contentType] == "application/jsonl")
        #expect(answer.headers[.cacheControl] == "no-store")
        #expect(answer.text.hasSuffix("\n"))
        return try answer.text.split(separator: "\n").map { try JSONValue(parsing: Array($0.utf8)) }
    }

    /// Each line against the schema that says what lines there are.
    private func expectDescribed(_ lines: [JSONValue], _ schema: String) throws {
        let api = try JSONValue(parsing: Array(PackageResources.openapi_json))
        let kinds = try #require(api["components"]?["schemas"]?[schema]?["oneOf"]?.array)
        for line in lines {
            let kind = kinds.first { kind in
                let phase = kind["properties"]?["phase"]
                return phase?["const"] == line["phase"] || phase?["enum"]?.array?.contains(line["phase"] ?? .null) == true
            }
            #expect(kind != nil, "\(line)")
            #expect(Set(line.object?.names ?? []) == Set((kind?["required"]?.array ?? []).compactMap(\.string)), "\(line)")
        }
    }

    @Test func aRotationTellsWhatItDoes() async throws {
        try await RunningServer.with { server in
            let made = try await server.send(
                .post, "/v1/connections",
                body: [
                    "id": "app", "name": "App",
                    "oauth": ["grant_type": "client_credentials", "token_url": "https://as.example/token", "client_id": "c", "client_secret": "s"],
                ])
            #expect(made.status == 201)
            _ = try await server.send(.put, "/v1/connections/app/grants/-", body: ["access_token": "kept-token"])
            let rotated = try lines(try await server.send(.post, "/v1/vault/rotate", body: ["data_keys": true]))
            try expectDescribed(rotated, "RotationLine")
            let last = try #require(rotated.last)
            #expect(last["phase"]?.string == "done")
            #expect(last["master_key_id"]?.string == "k2")
            // The common data key and the connection's; its secret, its token, and the secret of the activity chain.
            #expect(last["rewrapped"]?.integer == 2)
            #expect(last["resealed"]?.integer == 3)
            #expect(rotated.contains { $0["phase"]?.string == "data_keys" && $0["connection"]?.string == "app" })
            // Without a body, too.
            #expect(try lines(try await server.send(.post, "/v1/vault/rotate")).last?["master_key_id"]?.string == "k3")

            let verified = try lines(try await server.send(.post, "/v1/vault/verify"))
            try expectDescribed(verified, "VerificationLine")
            #expect(verified.last?["ok"]?.bool == true)
            #expect(verified.last?["faults"]?.array?.isEmpty == true)

            let vault = try await server.send(.get, "/v1/vault")
            #expect(vault.status == 200)
            #expect(vault["master_key_id"]?.string == "k3")
            #expect(vault["data_keys"]?.integer == 2)
            #expect(vault["retired_data_keys"]?.integer == 0)
            #expect(vault["restored"]?.isNull == true)
            #expect(try await server.send(.get, "/v1/connections/app/token")["access_token"]?.string == "kept-token")
            // No key is in the log or in an answer.
            let key = try String(contentsOfFile: server.directory + "/master.key", encoding: .utf8).split(separator: ":").last ?? ""
            #expect(key.count >= 43)
            #expect(!server.log.text.contains(key.prefix(43)))
            let actions = try await server.send(.get, "/v1/activity").items("action")
            #expect(Set(actions).isSuperset(of: ["vault.rotated", "vault.verified"]))
        }
    }
}

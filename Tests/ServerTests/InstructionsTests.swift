import Foundation
import HTTPTypes
import OAuth
import TestSupport
import Testing

@testable import Server

/// `GET /v1/connections/{id}/instructions`, and the programs that it hands out.
@Suite struct InstructionsTests {
    @Test func theTextIsShownBesideWhatBecomesOfIt() async throws {
        try await Stage.with { stage in
            var document = stage.provider.connection("shop", "authorization_code").object ?? [:]
            document["authentication_instructions"] = "Authorization: Bearer <token>\n?k=<client_id>\nDates are UTC."
            document["allow_token_in_query"] = true
            document["headers"] = ["X-Version": "7"]
            try await stage.add(.object(document))
            let answer = try await stage.server.send(.get, "/v1/connections/shop/instructions")
            #expect(answer.status == 200, "\(answer.text)")
            #expect(answer["text"] == document["authentication_instructions"])
            let rules: JSONValue = [
                ["in": "header", "name": "Authorization", "template": "Bearer <token>"], ["in": "query", "name": "k", "template": "<client_id>"],
            ]
            #expect(answer["rules"] == rules)
            #expect(answer["guidance"]?.string == "Dates are UTC.")
            let host = stage.provider.url.replacing("http://", with: "")
            #expect(
                answer["request"]?.string == """
                    GET \(stage.provider.url)/api/…?k=conf HTTP/1.1
                    Host: \(host)
                    X-Version: 7
                    Authorization: Bearer ***
                    """)
            #expect(answer.string("prompt").contains("\(stage.server.url)/gateway/shop/PATH"))
            for kind in ["token", "gateway"] {
                let snippets = answer["snippets"]?[kind]
                #expect(snippets?.object?.names == ["curl", "javascript", "python", "swift"])
                for (name, text) in snippets?.object?.members ?? [] { #expect(text.string?.contains("GRANTEE_API_KEY") == true, "\(kind) \(name)") }
            }
            // SEC-127
            #expect(!answer.text.contains("conf-secret"))

            let of = try await stage.server.send(.get, "/v1/connections/shop/instructions?subject=user-42")
            #expect(of.string("prompt").contains("Grantee-Subject: user-42"))
            #expect(of["snippets"]?["gateway"]?["curl"]?.string?.contains("'Grantee-Subject: user-42'") == true)
            #expect(of["snippets"]?["token"]?["python"]?.string?.contains("/v1/connections/shop/token?subject=user-42\"") == true)
            #expect(try await stage.server.send(.get, "/v1/connections/nothing/instructions").isProblem("not_found", 404))
        }
    }

    @Test func aConnectionThatHasOnlyTheSharedGrantTakesNoSubject() async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("machine", "client_credentials", client: "machine", secret: "machine-secret"))
            #expect(try await stage.server.send(.get, "/v1/connections/machine/instructions").status == 200)
            let refused = try await stage.server.send(.get, "/v1/connections/machine/instructions?subject=user-1")
            #expect(refused.isProblem("invalid_request", 400))
        }
    }

    @Test func whatCannotWorkIsRefusedWhenSaved() async throws {  // SEC-91, SEC-92
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            func patch(_ body: JSONValue) async throws -> RunningServer.Answer { try await stage.server.send(.patch, "/v1/connections/app", body: body) }
            let refused = try await patch(["authentication_instructions": "Read this.\nCookie: <token>\nX-Key: <key>"])
            #expect(refused.isProblem("invalid_request", 400))
            #expect(refused.pointers == ["/authentication_instructions", "/authentication_instructions"])
            #expect(refused.text.contains("line 2: Cookie cannot be set"))
            #expect(refused.text.contains("line 3: <key> is no placeholder"))
            let query = try await patch(["authentication_instructions": "?access_token=<token>"])
            #expect(query.pointers == ["/authentication_instructions"])
            #expect(query.text.contains("allow_token_in_query"))
            #expect(try await patch(["authentication_instructions": "?access_token=<token>", "allow_token_in_query": true]).status == 200)
            #expect(try await patch(["allow_token_in_query": false]).pointers == ["/authentication_instructions"])
            #expect(try await patch(["agent_access": ["enabled": true], "base_url": .null]).pointers == ["/base_url"])
            let encoded = try await patch(["allow_encoded_slash": true])
            #expect(encoded["allow_encoded_slash"]?.bool == true)
            #expect(try await patch(["allow_encoded_slash": .null])["allow_encoded_slash"]?.bool == false)
        }
    }

    // MARK: Snippets

    /// What runs a snippet, where it is there.
    static let runners: [(language: String, program: String, option: String)] = [
        ("curl", "/bin/sh", "-c"), ("javascript", "/usr/bin/node", "-e"), ("python", "/usr/bin/python3", "-c"),
    ].filter { FileManager.default.isExecutableFile(atPath: $0.program) && FileManager.default.isExecutableFile(atPath: "/usr/bin/curl") }

    @Test(arguments: runners)
    func aSnippetRunsAsPasted(language: String, program: String, option: String) async throws {
        try await Stage.with { stage in
            var document = stage.provider.connection("machine", "client_credentials", client: "machine", secret: "machine-secret").object ?? [:]
            // What the snippet adds to the base URL goes into a query that the sample API does not read.
            document["base_url"] = .string(stage.provider.url + "/api/me?path=")
            try await stage.add(.object(document))
            let key = try await stage.server.makeKey(["name": "app", "role": "use"])
            let text = try await stage.server.send(.get, "/v1/connections/machine/instructions")["snippets"]?["token"]?[language]?.string
            func run(_ key: String) async throws -> Program.Outcome {
                try await Program(program, [option, text ?? ""], environment: ["GRANTEE_API_KEY": key]).outcome()
            }
            let called = try await run(key)
            #expect(called.status == 0, "\(called.errors)")
            #expect(called.output.contains("200"), "\(called.output)")
            #expect(called.output.contains(#""sub""#), "\(called.output)")
            let refused = try await run("gk_wrong")
            #expect((refused.output + refused.errors).contains("unauthenticated"), "\(refused.output) \(refused.errors)")
        }
    }
}

import Foundation
import HTTPTypes
import OAuth
import TestSupport
import Testing

/// A server that was told to end, and goes on for a while so that a balancer turns away.
@Suite struct DrainTests {
    private static let seconds = 3

    @Test func itGoesOnAndSaysSoAndEndsConnectionsWithTheirNextAnswer() async throws {
        try await ServerHome.with { home in
            let server = try await home.start(["GRANTEE_DRAIN": "\(Self.seconds)"])
            try await server.add([
                "id": "app", "name": "App",
                "oauth": ["grant_type": "client_credentials", "token_url": "https://as.example/token", "client_id": "c", "client_secret": "s"],
            ])
            try await server.put("app", ["access_token": "kept-token"])
            let request = "GET /v1/connections/app/token HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \(server.adminKey)\r\n\r\n"
            let began = try await RawClient.with(server.url) { kept in
                await kept.send(request)
                let before = try await kept.answer()
                #expect(before.head.status == 200 && before.head["Connection"] == nil)

                let began = ContinuousClock.now
                server.program.signal(SIGTERM)
                try await eventually("readiness is off") { try await server.send(.get, "/health/ready").status == 503 }
                let ready = try await server.send(.get, "/health/ready")
                #expect(ready.json["not_ready"]?.array?.compactMap(\.string) == ["ending"], "\(ready.text)")
                #expect(try await server.send(.get, "/health/live").status == 200)
                let metrics = try await server.send(.get, "/metrics").text
                #expect(metrics.contains("\ngrantee_ready 0"), "\(metrics)")

                // New connections are taken, and each ends with its answer; so does the one that was kept.
                for client in 0..<2 {
                    try await RawClient.with(server.url) { other in
                        await other.send(request)
                        try await expectLast(other, "new \(client)")
                    }
                }
                await kept.send(request)
                try await expectLast(kept, "kept")
                return began
            }
            let outcome = await server.program.outcome()
            let took = ContinuousClock.now - began
            #expect(outcome.status == 0, "\(outcome.errors)")
            #expect(took >= .seconds(Self.seconds), "\(took)")
        }
    }

    /// A whole token, said to be the last answer of its connection, and then the connection's end.
    private func expectLast(_ client: RawClient, _ what: Comment) async throws {
        let answer = try await client.answer()
        #expect(answer.head.status == 200 && answer.isWhole, what)
        #expect(answer.head["Connection"]?.lowercased() == "close", what)
        #expect(String(decoding: answer.body, as: UTF8.self).contains("kept-token"), what)
        await #expect(throws: (any Error).self, what) { _ = try await client.answer() }
    }

    @Test func withoutADrainItEndsAtOnce() async throws {
        try await ServerHome.with { home in
            let server = try await home.start()
            let began = ContinuousClock.now
            await server.stop()
            #expect(ContinuousClock.now - began < .seconds(Self.seconds))
        }
    }

    @Test(arguments: ["-1", "3601", "soon"]) func aDrainThatIsNoTimeIsRefused(text: String) async throws {
        let outcome = try await CommandLineTool(environment: ["GRANTEE_DRAIN": text]).run(["serve", "--data-dir", "/nowhere"])
        #expect(outcome.status == 2)
        #expect(outcome.errors.contains("0 to 3600"), "\(outcome.errors)")
    }
}

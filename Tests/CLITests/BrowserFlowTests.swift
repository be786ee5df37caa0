import Foundation
import HTTPTypes
import OAuth
import RehearsalProvider
import TestSupport
import Testing

/// The commands that send a person to a browser.
struct BrowserFlowTests {
    private func visit(_ authorizationURL: String, approve: Bool = true) async throws -> String {
        let visitor = Visitor()
        let consent = try await visitor.open(authorizationURL)
        return try #require(try await visitor.answerConsent(consent, approve: approve).headers[.location])
    }

    private func authorize(_ provider: RunningProvider, _ more: String...) async throws -> (run: Program, link: String) {
        let run = try CommandLineTool().start(["authorize", "--issuer", provider.url, "--client-id", "pub", "--scope", "read", "--no-browser"] + more)
        let link = await run.line(ofErrors: true) { $0.hasPrefix("http") }
        return (run, try #require(link))
    }

    @Test("authorize: system browser, loopback redirect, PKCE (SEC-19)") func authorizeGivesOneToken() async throws {
        try await RunningProvider.with { provider in
            let (run, link) = try await authorize(provider)
            #expect(link.contains("code_challenge_method=S256"))
            #expect(link.contains("redirect_uri=http%3A%2F%2F127.0.0.1%3A"))
            // An answer to somebody else's request is refused, and the wait goes on.
            let callback = try await visit(link)
            let strange = callback.replacing(/state=[^&]+/, with: "state=another")
            #expect(try await Visitor().request(.get, strange).status == 400)
            #expect(try await Visitor().request(.get, callback).status == 200)
            let outcome = await run.outcome()
            #expect(outcome.status == 0)
            #expect(outcome.output.hasPrefix("at_"))
            // The listener existed for this flow only.
            await #expect(throws: (any Error).self) { try await Visitor().request(.get, callback) }
        }
    }

    @Test func aPersonWhoSaysNoEndsIt() async throws {
        try await RunningProvider.with { provider in
            let (run, link) = try await authorize(provider, "--pkce", "plain")
            _ = try await Visitor().request(.get, try await visit(link, approve: false))
            let outcome = await run.outcome()
            #expect(outcome.status == 1)
            #expect(outcome.output.isEmpty)
            #expect(outcome.errors.contains("error: the provider's answer cannot be used: access_denied: the person said no"))
        }
    }

    @Test func connectWaitsForThePerson() async throws {
        try await RunningProvider.with { provider in
            try await RunningServer.with { server in
                _ = try await server.send(.post, "/v1/connections", body: provider.connection("code", "authorization_code"))
                let tool = CommandLineTool(environment: ["GRANTEE_URL": server.url, "GRANTEE_API_KEY": server.adminKey])
                let run = try tool.start(["connect", "code", "--subject", "user-1", "--json"])
                let link = try #require(await run.line(ofErrors: true) { $0.hasPrefix("http") })
                #expect(try await Visitor().connect(link).body.contains("Connected"))
                let outcome = await run.outcome()
                #expect(outcome.status == 0)
                #expect(try JSONValue(parsing: outcome.output.utf8)["state"] == "active")
                #expect(try await tool.run(["token", "code", "--subject", "user-1"]).output.hasPrefix("at_"))
            }
        }
    }

    @Test(arguments: ["bash", "zsh", "fish"]) func completionsNameTheCommands(_ shell: String) async throws {
        let outcome = try await CommandLineTool().run(["--generate-completion-script", shell])
        #expect(outcome.status == 0)
        for command in ["serve", "connections", "authorize", "--force-refresh"] {
            #expect(outcome.output.contains(command.replacing("--", with: shell == "fish" ? "" : "--")))
        }
    }

    @Test func theDemoChecksEveryConnection() async throws {
        let outcome = try await CommandLineTool().run(["demo", "--check"])
        #expect(outcome.status == 0, "\(outcome.output)\(outcome.errors)")
        for text in [
            "grant_type=password", "grant_type=client_credentials", "pkce=none", "pkce=S256", "pkce=plain", "client_secret_basic", "client_secret_post",
            "client_authentication=none",
        ] {
            #expect(outcome.output.contains(text))
        }
        #expect(!outcome.output.contains("FAILED"))
    }
}

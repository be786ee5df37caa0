import HTTPTypes
import OAuth
import OAuthClient
import Synchronization
import Testing

final class Recorder: Transport {
    private let state: Mutex<(answers: [String: WireResponse], paths: [String])>
    init(_ answers: [String: (Int, String)]) {
        state = Mutex((answers.mapValues { WireResponse(head: .init(status: .init(code: $0.0)), body: Array($0.1.utf8)) }, []))
    }
    var paths: [String] { state.withLock { $0.paths } }
    func send(_ request: WireRequest) async throws(TransportError) -> WireResponse {
        state.withLock { state in
            state.paths.append(request.head.path ?? "")
            return state.answers[request.head.path ?? ""] ?? WireResponse(head: .init(status: .notFound), body: [])
        }
    }
}

/// Sends, and never hears an answer.
final class Silent: Transport {
    private let count = Mutex(0)
    var sent: Int { count.withLock { $0 } }
    func send(_ request: WireRequest) async throws(TransportError) -> WireResponse {
        count.withLock { $0 += 1 }
        throw TransportError(.timedOut, mayHaveBeenSent: true)
    }
}

@Suite struct OAuthClientTests {
    func client(_ method: ClientAuthenticationMethod = .clientSecretBasic) throws -> Client {
        let server = AuthorizationServer(
            tokenEndpoint: try EndpointURL("https://as.example/token"), revocationEndpoint: try EndpointURL("https://as.example/revoke"))
        return Client(server: server, registration: .init(clientID: "c", clientSecret: ClientSecret("s"), authentication: method))
    }

    static let grants: [AuthorizationGrant] = [
        .clientCredentials(scopes: []), .password(username: "u", password: Password("p"), scopes: []), .refreshToken(RefreshToken("r"), scopes: []),
    ]

    @Test(
        "A refusal ends it: no other client authentication is tried, nothing is sent again (SEC-33)",
        arguments: [
            (401, #"{"error":"invalid_client"}"#), (400, #"{"error":"invalid_client"}"#), (400, #"{"error":"invalid_grant"}"#), (401, ""), (429, ""), (503, ""),
            (200, "<html>"),
        ])
    func aRefusalEndsIt(status: Int, text: String) async throws {
        for grant in Self.grants {
            let transport = Recorder(["/token": (status, text)])
            let oauth = OAuthClient(try client(), transport: transport)
            let error = await #expect(throws: TokenError.self) { try await oauth.token(grant) }
            #expect(error?.status == status)
            #expect(transport.paths == ["/token"])
        }
    }

    @Test("A redirect of the token endpoint is not followed", arguments: [301, 302, 303, 307, 308])
    func aRedirectEndsIt(status: Int) async throws {
        let transport = Recorder(["/token": (status, #"{"access_token":"t"}"#)])
        let oauth = OAuthClient(try client(), transport: transport)
        let error = await #expect(throws: TokenError.self) { try await oauth.token(.clientCredentials(scopes: [])) }
        #expect(error?.remedy == .fixClient)
        #expect(transport.paths == ["/token"])
    }

    @Test("An answer that is lost is not asked for again")
    func silenceEndsIt() async throws {
        for grant in Self.grants {
            let transport = Silent()
            let oauth = OAuthClient(try client(), transport: transport)
            await #expect(throws: TransportError(.timedOut, mayHaveBeenSent: true)) { try await oauth.token(grant) }
            #expect(transport.sent == 1)
        }
    }

    @Test("What cannot be asked is not sent")
    func nothingIsSent() async throws {
        let transport = Silent()
        let server = AuthorizationServer(tokenEndpoint: try EndpointURL("https://as.example/token"))
        let oauth = OAuthClient(Client(server: server, registration: .init(clientID: "c", authentication: .clientSecretPost)), transport: transport)
        await #expect(throws: RequestError.self) { try await oauth.token(.clientCredentials(scopes: [])) }
        await #expect(throws: RequestError.self) { try await oauth.revoke("t", hint: .accessToken) }
        #expect(transport.sent == 0)
    }

    @Test func aMomentIsCountedFromTheClockThatWasGiven() async throws {
        let transport = Recorder(["/token": (200, #"{"access_token":"t","expires_at":1700000060}"#)])
        let oauth = OAuthClient(try client(), transport: transport, now: { 1_700_000_000 })
        #expect(try await oauth.token(.clientCredentials(scopes: [])).expiresIn == .seconds(60))
    }

    @Test func revocationGoesToItsOwnEndpoint() async throws {
        let transport = Recorder(["/revoke": (200, "")])
        #expect(try await OAuthClient(try client(), transport: transport).revoke("t", hint: .refreshToken) == .revoked)
        #expect(transport.paths == ["/revoke"])
    }

    @Test("A document without an issuer is one, and an error; the next place is not asked (SEC-48)")
    func aDocumentWithoutAnIssuer() async {
        let transport = Recorder([
            "/.well-known/oauth-authorization-server": (200, "{}"), "/.well-known/openid-configuration": (200, #"{"issuer":"https://as.example"}"#),
        ])
        await #expect(throws: MetadataError.missing(member: "issuer")) { try await OAuthClient.discover(issuer: "https://as.example", transport: transport) }
        #expect(transport.paths.count == 1)
    }

    @Test(
        "What is no document is passed over (SEC-48)",
        arguments: [(404, ""), (200, ""), (200, "[]"), (200, "<html>"), (200, "{"), (500, #"{"issuer":"https://as.example"}"#), (201, "{}")])
    func whatIsNoDocument(status: Int, text: String) async throws {
        let transport = Recorder([
            "/.well-known/oauth-authorization-server": (status, text), "/.well-known/openid-configuration": (200, #"{"issuer":"https://as.example"}"#),
        ])
        #expect(try await OAuthClient.discover(issuer: "https://as.example", transport: transport).issuer == "https://as.example")
        #expect(transport.paths == ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"])
    }

    @Test func aTokenInOneCall() async throws {
        let transport = Recorder(["/token": (200, #"{"access_token":"t","expires_in":60}"#)])
        let client = Client(
            server: .init(tokenEndpoint: try EndpointURL("https://as.example/token")),
            registration: .init(clientID: "c", clientSecret: ClientSecret("s"), authentication: .clientSecretBasic))
        let response = try await OAuthClient(client, transport: transport).token(.clientCredentials(scopes: []))
        #expect(response.accessToken.withExposed { $0 } == "t")
    }

    @Test func discoveryStopsAtTheFirstDocument() async throws {
        let document = #"{"issuer":"https://as.example/t","token_endpoint":"https://as.example/t/token"}"#
        let transport = Recorder(["/.well-known/openid-configuration/t": (200, document), "/.well-known/oauth-authorization-server/t": (200, "<html>")])
        let metadata = try await OAuthClient.discover(issuer: "https://as.example/t", transport: transport)
        #expect(metadata.tokenEndpoint?.path == "/t/token")
        #expect(transport.paths == ["/.well-known/oauth-authorization-server/t", "/.well-known/openid-configuration/t"])
    }

    @Test func anotherIssuersDocumentIsAnErrorAndNothingMoreIsAsked() async {
        let transport = Recorder(["/.well-known/oauth-authorization-server": (200, #"{"issuer":"https://evil.example"}"#)])
        await #expect(throws: MetadataError.issuerMismatch(found: "https://evil.example")) {
            try await OAuthClient.discover(issuer: "https://as.example", transport: transport)
        }
        #expect(transport.paths.count == 1)
    }

    @Test(arguments: [301, 302, 303, 307, 308])
    func aRedirectIsNoDocument(status: Int) async {  // SEC-48
        let transport = Recorder(["/.well-known/oauth-authorization-server": (status, ""), "/.well-known/openid-configuration": (status, "")])
        await #expect(throws: MetadataError.notJSON) { try await OAuthClient.discover(issuer: "https://as.example", transport: transport) }
    }
}

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

@Suite struct OAuthClientTests {
    @Test func aTokenInOneCall() async throws {
        let transport = Recorder(["/token": (200, #"{"access_token":"t","expires_in":60}"#)])
        let client = Client(
            server: .init(tokenEndpoint: try EndpointURL("https://as.example/token")), registration: .init(clientID: "c", clientSecret: ClientSecret("s"), authentication: .clientSecretBasic))
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
        await #expect(throws: MetadataError.issuerMismatch(found: "https://evil.example")) { try await OAuthClient.discover(issuer: "https://as.example", transport: transport) }
        #expect(transport.paths.count == 1)
    }

    @Test(arguments: [301, 302, 303, 307, 308])
    func aRedirectIsNoDocument(status: Int) async {  // SEC-48
        let transport = Recorder(["/.well-known/oauth-authorization-server": (status, ""), "/.well-known/openid-configuration": (status, "")])
        await #expect(throws: MetadataError.notJSON) { try await OAuthClient.discover(issuer: "https://as.example", transport: transport) }
    }
}

import Egress
import Foundation
import HTTPTypes
import OAuth
import OAuthClient
import OAuthClientAsyncHTTP
import RehearsalProvider
import TestSupport
import Testing

/// What README.md and docs/library.md show in Swift is what Examples.swift compiles, byte for byte; and it works.
@Suite struct LibraryDocumentTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent()
    private static let root = folder.deletingLastPathComponent().deletingLastPathComponent()
    private static let documents = ["README.md", "docs/library.md"]
    private static let loopback = ["127.0.0.0/8", "::1/128"].compactMap { Egress.CIDR($0) }

    // MARK: The text

    private static func lines(_ url: URL) throws -> [Substring] {
        try String(contentsOf: url, encoding: .utf8).split(separator: "\n", omittingEmptySubsequences: false)
    }

    /// The lines between a line that `begins` and the next that is `end`, for each such pair.
    private static func blocks(_ lines: [Substring], from begins: (Substring) -> Bool, to end: String) -> [String] {
        var blocks: [String] = []
        var open: [Substring]?
        for line in lines {
            if let block = open {
                if line == end {
                    blocks.append(block.joined(separator: "\n"))
                    open = nil
                } else {
                    open = block + [line]
                }
            } else if begins(line) {
                open = []
            }
        }
        return blocks
    }

    private static func shown(in document: String) throws -> [String] {
        blocks(try lines(root.appending(path: document)), from: { $0 == "```swift" }, to: "```")
    }

    private static func compiled() throws -> [String] {
        blocks(try lines(folder.appending(path: "Examples.swift")), from: { $0.hasPrefix("// example: ") }, to: "// end")
    }

    @Test("Each block of Swift in a document is compiled", arguments: documents)
    func whatIsShownIsCompiled(document: String) throws {
        let shown = try Self.shown(in: document)
        let compiled = try Self.compiled()
        #expect(!shown.isEmpty)
        for block in shown { #expect(compiled.contains(block), "not in Examples.swift:\n\(block)") }
    }

    @Test("Each example is in the document, in its order") func whatIsCompiledIsShown() throws {
        let compiled = try Self.compiled()
        #expect(!compiled.isEmpty)
        #expect(try Self.shown(in: "docs/library.md") == compiled)
    }

    // MARK: The deed

    @Test("Client credentials: from nothing to a token that the API takes") func clientCredentials() async throws {
        try await RunningProvider.with { provider async throws in
            let token = try await machineToken(at: provider.url + "/token", allowing: Self.loopback)
            #expect(try await Self.status(of: provider.url + "/api/me", with: token) == 200)
            #expect(try await provider.tokenRequests("machine", "client_credentials").count == 1)
        }
    }

    @Test("Without the network allowed nothing is sent") func loopbackIsBlocked() async throws {
        try await RunningProvider.with { provider async throws in
            let tokenURL = provider.url + "/token"
            await #expect(throws: TransportError(.blocked, mayHaveBeenSent: false)) { try await machineToken(at: tokenURL) }
            #expect(try await provider.tokenRequests("machine").isEmpty)
        }
    }

    @Test("Discovery, authorization code with PKCE, refresh and revocation") func authorizationCode() async throws {
        try await RunningProvider.with { provider async throws in
            let transport = try AsyncHTTPTransport(egress: Egress(policy: .init(allowed: Self.loopback)))
            let client = try await discoveredClient(of: provider.url, transport: transport)
            let signIns = SignIns(client: client, redirectURI: "http://127.0.0.1:1/callback")
            let visitor = Visitor()
            let page = try await visitor.open(try await signIns.begin(session: "browser-1"))
            let back = try await visitor.answerConsent(page)
            let query = try #require(back.headers[.location]?.split(separator: "?", maxSplits: 1).last.map(String.init))

            await #expect(throws: CallbackError.stateMismatch) { try await signIns.finish(session: "browser-2", query: query) }
            let code = try await signIns.finish(session: "browser-1", query: query)
            await #expect(throws: CallbackError.stateMismatch) { try await signIns.finish(session: "browser-1", query: query) }

            let oauth = OAuthClient(client, transport: transport)
            let first = try await tokens(for: code, from: oauth)
            #expect(first.scope == ["read"])
            #expect(try await Self.status(of: provider.url + "/api/me", with: first.accessToken) == 200)
            let request = try await provider.tokenRequests("pub", "authorization_code").first
            #expect(request?["parameters"]?.array?.contains("code_verifier") == true)

            let old = try #require(first.refreshToken)
            let (access, refresh) = try await refreshed(old, scopes: ["read"], by: oauth)
            #expect(try await Self.status(of: provider.url + "/api/me", with: access) == 200)

            #expect(try await revoke(refresh, by: oauth) == .revoked)
            #expect(try await Self.status(of: provider.url + "/api/me", with: access) == 401)
        }
    }

    private static func status(of url: String, with token: AccessToken) async throws -> Int {
        let field = token.withExposed { "Bearer " + $0 }
        return try await Visitor().request(.get, url, headers: [.authorization: field]).status
    }

    private static let errors: [(status: Int, body: String, words: String)] = [
        (400, #"{"error":"invalid_grant"}"#, "A person has to grant access again."),
        (401, #"{"error":"invalid_client"}"#, "The client's settings are wrong: refused: invalid_client (status 401)"),
        (503, "", "The provider is busy. Try again in 5 seconds."),
        (200, "<p>Sign in", "The provider answered something else: not a token response: it is neither a JSON object nor a form (status 200)"),
    ]

    @Test("Each answer of a provider names what to do", arguments: errors)
    func errorsNameTheirRemedy(status: Int, body: String, words: String) async throws {
        let oauth = OAuthClient(try Self.client(), transport: CannedTransport(status: status, body: body))
        let error = await #expect(throws: TokenError.self) { try await oauth.token(.refreshToken(RefreshToken("old"), scopes: [])) }
        #expect(error.map { whatToDo(about: $0) } == words)
    }

    @Test("Whether it may have been sent makes the difference") func transportErrorsNameTheirRemedy() {
        #expect(whatToDo(about: TransportError(.timedOut, mayHaveBeenSent: true)).hasPrefix("No answer came"))
        #expect(whatToDo(about: TransportError(.blocked, mayHaveBeenSent: false)) == "Nothing was sent. Try again.")
        #expect(whatToDo(about: RequestError(parameter: "client_secret", reason: "is required")) == "Nothing was sent. Correct client_secret: it is required.")
    }

    @Test("A profile finds the token where this provider puts it") func profile() async throws {
        let plain = try Self.client()
        let client = clientOfAnUnusualProvider(server: plain.server, registration: plain.registration)
        let request = try client.authorizationRequest(redirectURI: "https://app.example/callback", scopes: ["a", "b"])
        #expect(request.url.contains("scope=a%2Cb&"))
        #expect(request.url.contains("access_type=offline"))
        let answer = CannedTransport(status: 200, body: #"{"authed_user":{"access_token":"t"}}"#)
        let response = try await OAuthClient(client, transport: answer).token(.refreshToken(RefreshToken("old"), scopes: []))
        #expect(response.accessToken.withExposed { $0 } == "t")
    }

    private static func client() throws -> Client {
        let server = AuthorizationServer(
            authorizationEndpoint: try EndpointURL("https://as.example/authorize"), tokenEndpoint: try EndpointURL("https://as.example/token"))
        return Client(server: server, registration: ClientRegistration(clientID: "c", authentication: .none))
    }
}

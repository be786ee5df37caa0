import Foundation
import HTTPTypes
import Testing

@testable import OAuth

/// What the requirements of the security checklist ask of the library alone, beside the tables of answers and callbacks.
@Suite struct SecurityTests {
    static let redirectURI = "https://app.example/cb"

    func query(_ request: AuthorizationRequest) throws -> [(name: String, value: String)] {
        try Form.parse(try EndpointURL(request.url).query.map { Array($0.utf8) } ?? [])
    }

    // MARK: Authorization request

    @Test("What is kept of a request holds its state as a hash only (SEC-01)")
    func stateIsKeptAsAHash() throws {
        let request = try makeClient().authorizationRequest(redirectURI: Self.redirectURI, scopes: ["openid"])
        let state = request.state.withExposed { $0 }
        #expect(!String(decoding: request.pending.archive(), as: UTF8.self).contains(state))
        #expect(request.pending.stateHash.count == 32)
        #expect(request.url.contains("state=\(state)"))
    }

    @Test("S256 is sent unless another mode was named, and after a refusal as before (SEC-04, SEC-05, SEC-06)")
    func neverLessThanS256() throws {
        var challenges: Set<String> = []
        for _ in 0..<3 {
            let request = try makeClient().authorizationRequest(redirectURI: Self.redirectURI, scopes: [])
            let pairs = try query(request)
            #expect(pairs.first { $0.name == "code_challenge_method" }?.value == "S256")
            let challenge = try #require(pairs.first { $0.name == "code_challenge" }?.value)
            #expect(challenges.insert(challenge).inserted)
            let refusal = "error=invalid_request&error_description=no+PKCE+here&state=\(request.state.withExposed { $0 })"
            #expect(throws: CallbackError.self) { try request.pending.accept(AuthorizationResponse(query: refusal.utf8)) }
        }
    }

    @Test("state is in every request, PKCE or not (SEC-06)", arguments: PKCE.Mode.allCases)
    func stateIsAlwaysSent(mode: PKCE.Mode) throws {
        let pairs = try query(try makeClient().authorizationRequest(redirectURI: Self.redirectURI, scopes: [], pkce: mode))
        #expect(pairs.first { $0.name == "state" }?.value.utf8.count == 43)
        #expect(pairs.contains { $0.name == "code_challenge" } == (mode != .none))
    }

    @Test("The verifier is in no URL (SEC-07)")
    func verifierStaysHome() throws {
        let request = try makeClient().authorizationRequest(redirectURI: Self.redirectURI, scopes: ["openid"])
        let verifier = try #require(request.pending.verifier?.withExposed { $0 })
        #expect(!request.url.contains(verifier))
    }

    @Test(
        "A nonce goes with openid, and with nothing else (SEC-08)",
        arguments: [(["openid"], true), (["profile", "openid"], true), (["profile"], false), (["openid2"], false), ([], false)] as [([String], Bool)])
    func nonceGoesWithOpenID(scopes: [String], isSent: Bool) throws {
        let request = try makeClient().authorizationRequest(redirectURI: Self.redirectURI, scopes: scopes)
        let nonce = try query(request).first { $0.name == "nonce" }?.value
        #expect((nonce != nil) == isSent)
        #expect((nonce ?? "").utf8.count <= 64)
        #expect(request.pending.nonce?.withExposed { $0 } == nonce)
    }

    @Test("A response is judged by what was kept, not by settings of a later day (SEC-09)")
    func contextIsKept() throws {
        var client = makeClient()
        let request = try client.authorizationRequest(redirectURI: Self.redirectURI, scopes: ["read"])
        let state = request.state.withExposed { $0 }
        client.server.issuer = "https://other.example"
        client.server.promisesIssuer = true
        let code = try request.pending.accept(AuthorizationResponse(query: "code=c&state=\(state)&iss=https%3A%2F%2Fas.example".utf8))
        #expect(code.issuer == "https://as.example")
        #expect(code.requestedScopes == ["read"])
        #expect(throws: CallbackError.issuerMismatch) {
            try request.pending.accept(AuthorizationResponse(query: "code=c&state=\(state)&iss=https%3A%2F%2Fother.example".utf8))
        }
        let body = String(decoding: try client.tokenRequest(.authorizationCode(code)).body, as: UTF8.self)
        #expect(body.contains("&redirect_uri=https%3A%2F%2Fapp.example%2Fcb&"))
    }

    @Test("A response to one request is none to another (SEC-10)")
    func responsesAreNotSwapped() throws {
        let requests = try (0..<2).map { _ in try makeClient().authorizationRequest(redirectURI: Self.redirectURI, scopes: []) }
        let responses = try requests.map { try AuthorizationResponse(query: "code=c&state=\($0.state.withExposed { $0 })".utf8) }
        #expect(throws: CallbackError.stateMismatch) { try requests[0].pending.accept(responses[1]) }
        #expect(throws: CallbackError.stateMismatch) { try requests[1].pending.accept(responses[0]) }
    }

    @Test(
        "The redirect URI is absolute https, or http on a loopback address, and goes out twice as the same bytes (SEC-11)",
        arguments: [
            "https://app.example/cb", "https://app.example/cb/", "https://app.example:8443/cb?tenant=1", "https://app.example/%63b",
            "http://127.0.0.1:8999/callback",
            "http://[::1]:8999/callback",
        ])
    func redirectURIs(uri: String) throws {
        let client = makeClient()
        let request = try client.authorizationRequest(redirectURI: uri, scopes: [])
        #expect(try query(request).first { $0.name == "redirect_uri" }.map { sameBytes($0.value, uri) } == true)
        let code = try request.pending.accept(AuthorizationResponse(query: "code=c&state=\(request.state.withExposed { $0 })".utf8))
        let sent = try Form.parse(try client.tokenRequest(.authorizationCode(code)).body)
        #expect(sent.first { $0.name == "redirect_uri" }.map { sameBytes($0.value, uri) } == true)
    }

    @Test(
        "No other redirect URI goes out (SEC-11)",
        arguments: [
            "", "x", "/cb", "//app.example/cb", "http://app.example/cb", "http://127.0.0.1.evil.example/cb", "https://app.example/cb#",
            "https://app.example/cb#f", "https://u@app.example/cb",
            "https:///cb", "https://app.example/ cb", "https://app.example/cb\r\n", "javascript:alert(1)", "data:text/html,x", "file:///etc/passwd",
        ])
    func badRedirectURIs(uri: String) {
        let error = #expect(throws: RequestError.self) { try makeClient().authorizationRequest(redirectURI: uri, scopes: []) }
        #expect(error?.parameter == "redirect_uri")
    }

    @Test(
        "No setting asks for a token through the browser (SEC-12)",
        arguments: [
            "token", "TOKEN", "Token", "id_token", "id_token token", "token id_token", "code token", "code id_token token", " token", "token ", "code\ttoken",
            "code+token",
        ])
    func responseTypes(type: String) {
        #expect(throws: RequestError.self) { try makeClient { $0.responseType = type }.authorizationRequest(redirectURI: Self.redirectURI, scopes: []) }
        #expect(throws: RequestError.self) {
            try makeClient { $0.authorizationParams = ["response_type": type] }.authorizationRequest(redirectURI: Self.redirectURI, scopes: [])
        }
    }

    @Test("Words of single providers for code are theirs to set", arguments: ["code", "Assertion", "auth_code"])
    func otherResponseTypes(type: String) throws {
        let request = try makeClient { $0.responseType = type }.authorizationRequest(redirectURI: Self.redirectURI, scopes: [])
        #expect(try query(request).first { $0.name == "response_type" }?.value == type)
    }

    @Test(
        "The authorization URL begins as its endpoint does, and each parameter stands in it once (SEC-13)",
        arguments: [
            "https://as.example/authorize", "https://as.example/authorize?", "https://as.example/authorize?tenant=1", "https://as.example/authorize?a=1&b=%20&",
            "https://as.example",
            "https://as.example:8443/a/b;c/%2e?p=B2C_1", "https://as.example/$(touch%20x)", "https://as.example/a'b", "http://127.0.0.1:8080/authorize",
            "https://[2001:db8::1]/authorize",
        ])
    func authorizationURLs(endpoint: String) throws {
        var client = makeClient()
        client.server.authorizationEndpoint = try EndpointURL(endpoint)
        let url = try client.authorizationRequest(redirectURI: Self.redirectURI, scopes: ["openid"], loginHint: "a&b=c#d").url
        #expect(url.hasPrefix(endpoint))
        #expect(!url.contains("?&") && !url.contains("&&") && !url.contains("#") && !url.contains(" "))
        let names = try Form.parse((try EndpointURL(url).query ?? "").utf8).map(\.name)
        #expect(Set(names).count == names.count)
    }

    @Test(
        "No other authorization endpoint is one (SEC-13)",
        arguments: [
            "javascript:alert(1)", "data:text/html,x", "file:///bin/sh", "vbscript:x", "ftp://as.example/", "//as.example/authorize", "as.example/authorize",
            "https:as.example", "https:/as.example/a",
            "https://u:p@as.example/authorize", "https://as.example/authorize#x", "https://as.example/#/oauth/authorize", "https://as.example/$(touch x)",
            "https://as.example/`x`",
            "https://as.example/a\nb", "https://as.example\\@evil.example/", " https://as.example/authorize",
        ])
    func badAuthorizationEndpoints(endpoint: String) { #expect(throws: EndpointURLError.self) { try EndpointURL(endpoint) } }

    @Test(
        "Settings may not name what the protocol sets itself, in no case of its letters (SEC-14)",
        arguments: [
            "client_id", "client_secret", "redirect_uri", "response_type", "response_mode", "state", "nonce", "code", "code_challenge", "code_challenge_method",
            "code_verifier", "grant_type",
            "request", "request_uri", "client_assertion", "client_assertion_type", "refresh_token", "dpop_jkt",
        ])
    func reservedNames(name: String) {
        for spelling in [name, name.uppercased(), name.capitalized] { #expect(Client.isReservedParameter(spelling)) }
    }

    @Test(
        "What binds a request to its response cannot be replaced by a setting (SEC-14)",
        arguments: [
            "state", "State", "client_id", "redirect_uri", "nonce", "code_challenge", "CODE_CHALLENGE_METHOD", "request_uri",
        ])
    func boundParameters(name: String) {
        #expect(throws: RequestError.self) {
            try makeClient { $0.authorizationParams = [name: "x"] }.authorizationRequest(redirectURI: Self.redirectURI, scopes: ["openid"])
        }
    }

    @Test("No request holds a name twice (SEC-14)")
    func namesStandOnce() {
        let renamed = makeClient {
            $0.authorizationParameterNames = ["scope": "user_scope"]
            $0.authorizationParams = ["user_scope": "x"]
            $0.tokenParameterNames = ["scope": "user_scope"]
            $0.tokenParams = ["user_scope": "x"]
        }
        #expect(throws: RequestError.self) { try renamed.authorizationRequest(redirectURI: Self.redirectURI, scopes: ["a"]) }
        #expect(throws: RequestError.self) { try renamed.tokenRequest(.clientCredentials(scopes: ["a"])) }
    }

    // MARK: Token request

    static let grants: [AuthorizationGrant] = [
        .clientCredentials(scopes: ["a"]), .password(username: "u+ % & = £ €", password: Password("p+ % & = £ €"), scopes: []),
        .refreshToken(RefreshToken("r+/="), scopes: []),
    ]

    @Test("A POST with a form, and nothing added to the URL (SEC-32)", arguments: Self.grants)
    func posts(grant: AuthorizationGrant) throws {
        for method in [ClientAuthenticationMethod.clientSecretBasic, .clientSecretPost, .none] {
            let request = try makeClient(method).tokenRequest(grant)
            #expect(request.head.method == .post)
            #expect(request.head.path == "/token")
            #expect(request.head.authority == "as.example")
            #expect(request.head.headerFields[.contentType] == "application/x-www-form-urlencoded")
            #expect(request.head.headerFields[.accept] == "application/json")
            let pairs = try Form.parse(request.body)
            #expect(Set(pairs.map(\.name)).count == pairs.count)
            if case .password = grant {
                #expect(pairs.first { $0.name == "username" }?.value == "u+ % & = £ €")
                #expect(pairs.first { $0.name == "password" }?.value == "p+ % & = £ €")
            }
        }
    }

    @Test("One client authentication and no part of another (SEC-33)", arguments: ClientAuthenticationMethod.allCases)
    func oneAuthentication(method: ClientAuthenticationMethod) throws {
        for grant in Self.grants {
            let request = try makeClient(method).tokenRequest(grant)
            let names = try Form.parse(request.body).map(\.name)
            let isHeader = method == .clientSecretBasic || method == .clientSecretBasicRaw
            #expect((request.head.headerFields[.authorization] != nil) == isHeader)
            #expect(names.contains("client_secret") == (method == .clientSecretPost))
            #expect(names.contains("client_id") == !isHeader)
        }
    }

    @Test("A scope separator is what a request can carry", arguments: ["", "\r\n", "\n", "é", "\u{0}", "\u{7F}"])
    func separators(separator: String) {
        let client = makeClient { ($0.scopeSeparator, $0.rawScope) = (separator, true) }
        #expect(throws: RequestError.self) { try client.authorizationRequest(redirectURI: Self.redirectURI, scopes: ["a", "b"]) }
        #expect(throws: RequestError.self) { try client.tokenRequest(.clientCredentials(scopes: ["a", "b"])) }
    }

    @Test func aSettingsGrantTypeDoesNotReplaceARefresh() throws {
        let client = makeClient { $0.tokenParams = ["grant_type": "account_credentials", "account_id": "7"] }
        #expect(String(decoding: try client.tokenRequest(.clientCredentials(scopes: [])).body, as: UTF8.self) == "account_id=7&grant_type=account_credentials")
        #expect(
            String(decoding: try client.tokenRequest(.refreshToken(RefreshToken("r"), scopes: [])).body, as: UTF8.self)
                == "grant_type=refresh_token&refresh_token=r&account_id=7")
    }

    // MARK: Errors as text

    @Test(
        "Provider text is one short line, whatever was sent (SEC-25)",
        arguments: [
            "<script>alert(1)</script>", "a\u{202E}b\u{2066}c", "\u{1B}]0;x\u{7}\u{1B}[31m", "a\r\nSet-Cookie: x\r\n\r\n", "\u{2028}\u{2029}\u{85}\u{0}",
            String(repeating: "é", count: 50_000),
            String(repeating: "\u{301}", count: 100_000), String(repeating: "👨‍👩‍👧‍👦", count: 1000), "\u{E000}\u{FFFF}",
        ])
    func providerText(text: String) throws {
        let body = JSONValue.object(["error": "invalid_grant", "error_description": .string(text), "error_uri": .string(text)]).serialized()
        let error = #expect(throws: TokenError.self) { try judge(body, status: 400).get() }
        let part = String(String.UnicodeScalarView(text.unicodeScalars.prefix(200)))
        let response = try AuthorizationResponse(query: Form.serialize([("error", "access_denied"), ("error_description", part)]).utf8)
        for description in [error?.errorDescription, response.error?.description] {
            let shown = try #require(description)
            #expect(shown.utf8.count <= 1024)
            #expect(
                !shown.unicodeScalars.contains {
                    $0.value < 0x20 || (0x7F...0x9F).contains($0.value) || (0x2028...0x202E).contains($0.value) || (0x2066...0x2069).contains($0.value)
                })
        }
    }

    // MARK: Secrets

    func printed(_ value: Any) -> String {
        var dumped = ""
        dump(value, to: &dumped)
        return "\(value)\n\(String(reflecting: value))\n\(dumped)\n\([value])\n\(Optional(value) as Any)"
    }

    @Test("Nothing that holds a secret prints it (SEC-07, SEC-111)")
    func nothingPrintsASecret() throws {
        let marker = "marker-4711"
        let client = makeClient(secret: marker)
        let request = try client.authorizationRequest(redirectURI: Self.redirectURI, scopes: ["openid"])
        let state = request.state.withExposed { $0 }
        let response = try AuthorizationResponse(query: "code=\(marker)&state=\(state)".utf8)
        let code = try request.pending.accept(response)
        let body = #"{"access_token":"\#(marker)","refresh_token":"\#(marker)-r","x":"\#(marker)"}"#
        let answer = try judge(Array(body.utf8)).get()
        let wire = WireResponse(head: .init(status: .ok), body: Array(body.utf8))
        var values: [Any] = [client, client.registration, request, request.pending, response, code, answer, wire, AuthorizationGrant.authorizationCode(code)]
        values +=
            [
                AuthorizationGrant.refreshToken(RefreshToken(marker), scopes: []),
                AuthorizationGrant.password(username: "u", password: Password(marker), scopes: []),
            ] as [Any]
        values.append(try makeClient(.clientSecretPost, secret: marker).tokenRequest(.refreshToken(RefreshToken(marker), scopes: [])))
        var secrets = [marker, state]
        secrets.append(try #require(request.pending.verifier?.withExposed { $0 }))
        secrets.append(try #require(request.pending.nonce?.withExposed { $0 }))
        for value in values {
            let text = printed(value)
            for secret in secrets { #expect(!text.contains(secret), "\(type(of: value))") }
        }
    }

    @Test("An error in a log line holds nothing of the provider's description")
    func errorsAreFitToShow() throws {
        let error = #expect(throws: TokenError.self) {
            try judge(Array(#"{"error":"invalid_grant","error_description":"the code marker-4711 was used"}"#.utf8), status: 400).get()
        }
        let text = "\(try #require(error))"
        #expect(!text.contains("4711"))
        #expect(text.contains("invalid_grant") && text.contains("400"))
    }

    @Test("Comparing looks at every byte and at nothing but bytes (SEC-123)")
    func comparison() {
        let secret = Array("CzBVep_E6Q4zWH2ix-wRNluApcrvFDleg6jN8hc8YYY".utf8)
        #expect(constantTimeEqual(secret, secret))
        for index in secret.indices {
            for bit in 0..<8 {
                var other = secret
                other[index] ^= 1 << UInt8(bit)
                #expect(!constantTimeEqual(secret, other))
            }
            #expect(!constantTimeEqual(secret, secret[..<index]))
        }
        #expect(constantTimeEqual("", ""))
        #expect(!constantTimeEqual("a", "A"))
        #expect(!constantTimeEqual("\u{E9}", "e\u{301}"))
    }

    @Test("Random values come from the system's generator, in one file (SEC-124)")
    func oneSourceOfRandomness() throws {
        let sources = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Sources/OAuth")
        let names = try FileManager.default.subpathsOfDirectory(atPath: sources.path).filter { $0.hasSuffix(".swift") }
        #expect(names.contains("Wire/Entropy.swift"))
        for name in names where name != "Wire/Entropy.swift" {
            let text = try String(contentsOf: sources.appendingPathComponent(name), encoding: .utf8)
            for word in ["RandomNumberGenerator", ".random(", "UUID(", "arc4random", "shuffled(", "randomElement("] { #expect(!text.contains(word), "\(name)") }
        }
        var seen: Set<String> = []
        for _ in 0..<10_000 { #expect(seen.insert(Entropy.system.token()).inserted) }
        #expect(seen.allSatisfy { $0.utf8.count == 43 })
    }

    @Test("The scopes asked for are the listed ones, in order, and no more (SEC-15)", arguments: [[], ["read"], ["write", "read"]])
    func scopesAreTheListedOnes(scopes: [String]) throws {
        let sent = try query(try makeClient().authorizationRequest(redirectURI: Self.redirectURI, scopes: scopes)).filter { $0.0 == "scope" }.map(\.1)
        #expect(sent == (scopes.isEmpty ? [] : [scopes.joined(separator: " ")]))
    }
}

import Testing

@testable import OAuth

let as1 = AuthorizationServer(
    issuer: "https://as.example", authorizationEndpoint: try? EndpointURL("https://as.example/authorize"),
    tokenEndpoint: try! EndpointURL("https://as.example/token"),
    revocationEndpoint: try? EndpointURL("https://as.example/revoke"))

func makeClient(
    _ method: ClientAuthenticationMethod = .clientSecretBasic, id: String = "s6BhdRkqt3", secret: String? = "gX1fBat3bV", promisesIssuer: Bool = false,
    _ change: (inout ProviderProfile) -> Void = { _ in }
) -> Client {
    var profile = ProviderProfile()
    change(&profile)
    var server = as1
    server.promisesIssuer = promisesIssuer
    return Client(server: server, registration: .init(clientID: id, clientSecret: secret.map { ClientSecret($0) }, authentication: method), profile: profile)
}

@Suite struct PKCETests {
    @Test(
        "RFC 7636 Appendix B, and the pair of OAuth 2.1",
        arguments: [
            ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
            ("3641a2d12d66101249cdf7a79c000c1f8c05d2aafcf14bf146497bed", "6fdkQaPm51l13DSukcAH3Mdx7_ntecHYd1vi3n0hMZY"),
        ])
    func vectors(verifier: String, challenge: String) throws {
        #expect(try PKCE.challenge(for: CodeVerifier(verifier), mode: .s256) == challenge)
        #expect(try PKCE.challenge(for: CodeVerifier(verifier), mode: .plain) == verifier)
    }

    @Test(arguments: [
        String(repeating: "a", count: 42), String(repeating: "a", count: 129), String(repeating: "a", count: 43) + "+", "é" + String(repeating: "a", count: 43),
        String(repeating: "a", count: 50) + "=", String(repeating: "a", count: 50) + " ",
    ])
    func refuses(verifier: String) { #expect(throws: PKCEError.self) { try PKCE.challenge(for: CodeVerifier(verifier), mode: .s256) } }

    @Test("A thousand attempts share no verifier, state or nonce (SEC-01, SEC-04)")
    func allDiffer() throws {
        var seen: Set<String> = []
        for _ in 0..<1000 {
            let request = try makeClient().authorizationRequest(redirectURI: "https://app.example/cb", scopes: ["openid"])
            let verifier = try #require(request.pending.verifier?.withExposed { $0 })
            #expect(verifier.utf8.count == 43)
            for value in [verifier, request.state.withExposed { $0 }, try #require(request.pending.nonce?.withExposed { $0 })] {
                #expect(seen.insert(value).inserted)
                #expect(try #require(Base64URL.decode(value)).count >= 16)
            }
        }
    }
}

@Suite struct AuthorizationRequestTests {
    static let entropy = Entropy { [UInt8](repeating: 0, count: $0) }
    static let zeros = String(repeating: "A", count: 43)

    @Test func exactBytes() throws {
        let url = try makeClient().authorizationRequest(
            redirectURI: "https://client.example.com/cb", scopes: ["read", "a/b"], pkce: .plain, entropy: Self.entropy
        ).url
        #expect(
            url == "https://as.example/authorize?response_type=code&client_id=s6BhdRkqt3&redirect_uri=https%3A%2F%2Fclient.example.com%2Fcb&scope=read+a%2Fb"
                + "&state=\(Self.zeros)&code_challenge=\(Self.zeros)&code_challenge_method=plain")
    }

    @Test func profileSwitchesChangeTheRequest() throws {
        let client = makeClient {
            $0.scopeSeparator = ","
            $0.responseType = nil
            $0.authorizationParams = ["access_type": "offline", "empty": ""]
            $0.authorizationParameterNames = ["client_id": "client_key"]
        }
        let url = try client.authorizationRequest(redirectURI: "https://c.example/", scopes: ["a", "b"], pkce: .none, loginHint: "x@y", entropy: Self.entropy)
            .url
        #expect(
            url
                == "https://as.example/authorize?client_key=s6BhdRkqt3&redirect_uri=https%3A%2F%2Fc.example%2F&scope=a%2Cb&state=\(Self.zeros)&login_hint=x%40y&access_type=offline"
        )
    }

    @Test func rawScopeGoesOutAsItIsWritten() throws {
        let client = makeClient { ($0.scopeSeparator, $0.rawScope) = ("+", true) }
        #expect(try client.authorizationRequest(redirectURI: "https://c.example/", scopes: ["a:b", "c"], entropy: Self.entropy).url.contains("&scope=a:b+c&"))
    }

    @Test func refusesWhatCannotBeAsked() {
        #expect(throws: RequestError.self) { try makeClient().authorizationRequest(redirectURI: "https://c.example/", scopes: ["a b"]) }
        #expect(throws: RequestError.self) { try makeClient(id: "").authorizationRequest(redirectURI: "https://c.example/", scopes: []) }
        var client = makeClient()
        client.server.authorizationEndpoint = try? EndpointURL("https://as.example/authorize?state=fixed")
        #expect(throws: RequestError.self) { try client.authorizationRequest(redirectURI: "https://c.example/", scopes: []) }
        client.server.authorizationEndpoint = nil
        #expect(throws: RequestError.self) { try client.authorizationRequest(redirectURI: "https://c.example/", scopes: []) }
    }

    @Test(arguments: [
        "client_id", "Client_Secret", "STATE", "code", "code_challenge", "request", "request_uri", "client_assertion_type", "grant_type", "response_type",
        "redirect_uri", "refresh_token", "nonce", "dpop_jkt", "response_mode",
    ])
    func protocolParametersAreReserved(name: String) { #expect(Client.isReservedParameter(name)) }  // SEC-14
    @Test(arguments: ["audience", "resource", "prompt", "access_type", "codec", "requester", "tenant"])
    func othersAreNot(name: String) { #expect(!Client.isReservedParameter(name)) }
}

@Suite struct AuthorizationResponseTests {
    func pending(issuer: String? = "https://as.example", promises: Bool = false) throws -> (PendingAuthorization, String) {
        var client = makeClient(promisesIssuer: promises)
        client.server.issuer = issuer
        let request = try client.authorizationRequest(redirectURI: "https://app.example/cb", scopes: ["read"])
        return (request.pending, request.state.withExposed { $0 })
    }

    func outcome(_ query: String, issuer: String? = "https://as.example", promises: Bool = false, profile: ProviderProfile = .init()) throws -> String {
        let (pending, state) = try pending(issuer: issuer, promises: promises)
        do {
            return try pending.accept(AuthorizationResponse(query: query.replacing("STATE", with: state).utf8, profile: profile)).code.withExposed { $0 }
        } catch {
            return "\(error)"
        }
    }

    @Test(
        "Promise, presence and equality of iss, with near misses (SEC-24)",
        arguments: [
            (true, "&iss=https%3A%2F%2Fas.example", true), (true, "", false), (true, "&iss=", false), (true, "&iss=https%3A%2F%2Fevil.example", false),
            (false, "&iss=https://as.example", true), (false, "", true), (false, "&iss=https%3A%2F%2Fevil.example", false),
            (false, "&iss=https%3A%2F%2Fas.example%2F", false), (false, "&iss=https%3A%2F%2FAS.example", false),
            (false, "&iss=https%3A%2F%2Fas.example%3A443", false),
            (false, "&iss=https%253A%252F%252Fas.example", false), (false, "&iss=https%3A%2F%2Fas%2Eexample", true),
        ])
    func issuer(promised: Bool, iss: String, accepted: Bool) throws {
        #expect(try outcome("code=c&state=STATE" + iss, promises: promised) == (accepted ? "c" : "issuerMismatch"))
        let denied = try outcome("error=access_denied&state=STATE" + iss, promises: promised)
        #expect(denied.contains("access_denied") == accepted)
    }

    @Test func withoutAnIssuerItIsNotJudged() throws { #expect(try outcome("code=c&state=STATE&iss=x", issuer: nil) == "c") }

    @Test(arguments: [
        ("code=4%2F0AX%2B%3D%7C&state=STATE&foo=1&foo2=%C3%A9", "4/0AX+=|"), ("state=STATE", "missingCode"), ("code=&state=STATE", "missingCode"),
        ("code=c", "stateMismatch"), ("code=c&state=", "stateMismatch"), ("code=c&state=STATEx", "stateMismatch"), ("code=c&state=STATE%20", "stateMismatch"),
        ("code=c&error=&state=STATE", "c"), ("code=" + String(repeating: "x", count: 8192) + "&state=STATE", String(repeating: "x", count: 8192)),
    ])
    func judged(query: String, expected: String) throws { #expect(try outcome(query) == expected) }

    @Test(
        "Refused as malformed (SEC-26)",
        arguments: [
            "state=STATE&state=STATE&code=c", "code=c&code=c&state=STATE", "code=c&%63ode=d&state=STATE", "code=c&error=x&state=STATE", "code=%ff&state=STATE",
            "code=%&state=STATE", "iss=a&iss=a&code=c&state=STATE", "code=a+b&state=STATE", "code=a%0Ab&state=STATE", "code=%C3%A9&state=STATE",
            "code=a%00&state=STATE",
            "code=" + String(repeating: "x", count: 8193) + "&state=STATE", "code=c&state=STATE&x=" + String(repeating: "x", count: 17_000),
        ])
    func malformed(query: String) throws { #expect(try outcome(query).hasPrefix("malformed")) }

    @Test("Provider text is bounded and on one line (SEC-25)")
    func hostileText() throws {
        let (pending, state) = try pending()
        let text = "<script>\u{202E}\u{1B}[31m\r\n" + String(repeating: "é", count: 1500)
        let response = try AuthorizationResponse(query: Form.serialize([("error", "bad\"code"), ("error_description", text), ("state", state)]).utf8)
        let error = #expect(throws: CallbackError.self) { try pending.accept(response) }
        guard case .denied(let code, let description?) = error else {
            Issue.record("it is no denial with a description")
            return
        }
        #expect(code == "")
        #expect(description.utf8.count <= 1024)
        #expect(!description.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x202E })
    }

    @Test func renamedParametersAndAliases() throws {
        var profile = ProviderProfile()
        (profile.codeParameter, profile.stateParameter) = ("auth_code", "payload")
        profile.errorAliases = ["user_cancelled_login": "access_denied"]
        #expect(try outcome("auth_code=c&payload=STATE", profile: profile) == "c")
        #expect(try outcome("error=user_cancelled_login&payload=STATE", profile: profile).contains("access_denied"))
    }

    @Test func archivesComeBackWhole() throws {
        let (pending, state) = try pending()
        let restored = try #require(PendingAuthorization(archive: pending.archive()))
        let code = try restored.accept(AuthorizationResponse(query: "code=c&state=\(state)".utf8))
        let again = try #require(CheckedCode(archive: code.archive()))
        #expect(again.code.withExposed { $0 } == "c")
        #expect(again.verifier?.withExposed { $0 } == pending.verifier?.withExposed { $0 })
        #expect(again.requestedScopes == ["read"])
        for broken in ["", "{}", "[]", "{\"state_hash\":1}"] {
            #expect(PendingAuthorization(archive: Array(broken.utf8)) == nil)
            #expect(CheckedCode(archive: Array(broken.utf8)) == nil)
        }
    }
}

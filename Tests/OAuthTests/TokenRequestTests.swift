import HTTPTypes
import Testing

@testable import OAuth

@Suite struct TokenRequestTests {
    func body(_ request: WireRequest) -> String { String(decoding: request.body, as: UTF8.self) }

    func code(_ client: Client) throws -> CheckedCode {
        let request = try client.authorizationRequest(redirectURI: "https://client.example.com/cb", scopes: [], entropy: AuthorizationRequestTests.entropy)
        return try request.pending.accept(AuthorizationResponse(query: "code=SplxlOBeZQQYbYS6WxSbIA&state=\(request.state.withExposed { $0 })".utf8))
    }

    @Test(
        "Worked vectors of client authentication (SEC-34)",
        arguments: [
            (ClientAuthenticationMethod.clientSecretBasic, "s6BhdRkqt3", "gX1fBat3bV", "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW"),
            (.clientSecretBasic, "s6BhdRkqt3", "7Fjfp0ZBr1KtDRbnfVdmIw", "Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3"),
            (.clientSecretBasic, "rs08", "long-secure-random-secret", "Basic cnMwODpsb25nLXNlY3VyZS1yYW5kb20tc2VjcmV0"),
            (.clientSecretBasic, "client:id@example", "p+s%/ é", "Basic Y2xpZW50JTNBaWQlNDBleGFtcGxlOnAlMkJzJTI1JTJGKyVDMyVBOQ=="),
            (.clientSecretBasic, "client-7", "p+s%/ é", "Basic Y2xpZW50LTc6cCUyQnMlMjUlMkYrJUMzJUE5"),
            (.clientSecretBasicRaw, "client-7", "p+s%/ é", "Basic Y2xpZW50LTc6cCtzJS8gw6k="),
        ])
    func basic(method: ClientAuthenticationMethod, id: String, secret: String, header: String) throws {
        let request = try makeClient(method, id: id, secret: secret).tokenRequest(.clientCredentials(scopes: []))
        #expect(request.head.headerFields[.authorization] == header)
        #expect(body(request) == "grant_type=client_credentials")
    }

    @Test("Exactly one client authentication (SEC-33)")
    func oneMethod() throws {
        let post = try makeClient(.clientSecretPost).tokenRequest(.clientCredentials(scopes: ["a", "b"]))
        #expect(post.head.headerFields[.authorization] == nil)
        #expect(body(post) == "grant_type=client_credentials&scope=a+b&client_id=s6BhdRkqt3&client_secret=gX1fBat3bV")
        let none = try makeClient(.none).tokenRequest(.refreshToken(RefreshToken("r"), scopes: ["a"]))
        #expect(none.head.headerFields[.authorization] == nil)
        #expect(body(none) == "grant_type=refresh_token&refresh_token=r&client_id=s6BhdRkqt3")
        let anonymous = try makeClient(.none, id: "").tokenRequest(.password(username: "u", password: Password("p"), scopes: []))
        #expect(body(anonymous) == "grant_type=password&username=u&password=p")
        #expect(throws: RequestError.self) { try makeClient(.clientSecretBasicRaw, id: "client:id@example").tokenRequest(.clientCredentials(scopes: [])) }
        for method in [ClientAuthenticationMethod.clientSecretBasic, .clientSecretPost, .clientSecretBasicRaw] {
            #expect(throws: RequestError.self) { try makeClient(method, secret: nil).tokenRequest(.clientCredentials(scopes: [])) }
        }
    }

    @Test("RFC 6749 §4.1.3, §4.3.2, §6 as bytes (SEC-32)")
    func grants() throws {
        let client = makeClient()
        let exchange = try client.tokenRequest(.authorizationCode(code(client)))
        #expect(exchange.head.method == .post)
        #expect(exchange.head.path == "/token")
        #expect(exchange.head.headerFields[.accept] == "application/json")
        #expect(exchange.head.headerFields[.contentType] == "application/x-www-form-urlencoded")
        #expect(
            body(exchange)
                == "grant_type=authorization_code&code=SplxlOBeZQQYbYS6WxSbIA&redirect_uri=https%3A%2F%2Fclient.example.com%2Fcb&code_verifier=\(AuthorizationRequestTests.zeros)"
        )
        #expect(
            body(try client.tokenRequest(.password(username: "johndoe", password: Password("A3ddj3w"), scopes: [])))
                == "grant_type=password&username=johndoe&password=A3ddj3w")
        #expect(
            body(try client.tokenRequest(.password(username: "+ % &", password: Password("= £ €"), scopes: [])))
                == "grant_type=password&username=%2B+%25+%26&password=%3D+%C2%A3+%E2%82%AC")
        #expect(
            body(try client.tokenRequest(.refreshToken(RefreshToken("tGzv3JOkF0XG5Qx2TlKWIA"), scopes: ["x"])))
                == "grant_type=refresh_token&refresh_token=tGzv3JOkF0XG5Qx2TlKWIA")
    }

    @Test func profileSwitches() throws {
        let json = try makeClient(.clientSecretPost) { $0.tokenRequestFormat = .json }.tokenRequest(.clientCredentials(scopes: ["a"]))
        #expect(json.head.headerFields[.contentType] == "application/json")
        #expect(body(json) == #"{"grant_type":"client_credentials","scope":"a","client_id":"s6BhdRkqt3","client_secret":"gX1fBat3bV"}"#)
        let query = try makeClient { $0.tokenRequestMethod = "GET" }.tokenRequest(.clientCredentials(scopes: []))
        #expect(query.head.path == "/token?grant_type=client_credentials")
        #expect(query.body.isEmpty)
        let named = makeClient {
            $0.grantTypeValues = ["client_credentials": "account_credentials"]
            $0.tokenParams = ["account_id": "7", "scope": "ignored"]
            $0.refreshParams = ["resource": "r"]
            $0.tokenHeaders = ["X-Api-Version": "2"]
            $0.clientIDInBody = true
            $0.scopeInRefresh = true
            $0.clientAuthenticationForRefresh = ClientAuthenticationMethod.none
        }
        let fetched = try named.tokenRequest(.clientCredentials(scopes: ["a"]))
        #expect(body(fetched) == "grant_type=account_credentials&scope=a&client_id=s6BhdRkqt3&account_id=7")
        #expect(fetched.head.headerFields[HTTPField.Name("X-Api-Version")!] == "2")
        #expect(
            body(try named.tokenRequest(.refreshToken(RefreshToken("r"), scopes: ["a"])))
                == "grant_type=refresh_token&refresh_token=r&scope=a&client_id=s6BhdRkqt3&account_id=7&resource=r")
        let secretUser = try makeClient { $0.basicUser = .secret }.tokenRequest(.clientCredentials(scopes: []))
        #expect(secretUser.head.headerFields[.authorization] == "Basic Z1gxZkJhdDNiVjo=")
        #expect(throws: RequestError.self) { try makeClient { $0.tokenHeaders = ["X": "a\r\nb"] }.tokenRequest(.clientCredentials(scopes: [])) }
    }

    @Test func revocation() throws {
        let client = makeClient { $0.tokenRequestFormat = .json }
        let request = try client.revocationRequest("45ghiukldjahdnhzdauz", hint: .refreshToken)
        #expect(body(request) == "token=45ghiukldjahdnhzdauz&token_type_hint=refresh_token")
        #expect(request.head.path == "/revoke")
        #expect(request.head.headerFields[.authorization] != nil)
    }

    @Test(arguments: [
        (200, "", Revocation.Outcome.revoked), (200, "<html>", .revoked), (400, #"{"error":"unsupported_token_type"}"#, .unsupported),
        (400, #"{"error":"invalid_token"}"#, .revoked), (404, "", .revoked), (503, "", .tryLater(retryAfter: nil)), (429, "", .tryLater(retryAfter: nil)),
        (401, #"{"error":"invalid_client"}"#, .failed(status: 401, code: "invalid_client")), (302, "", .failed(status: 302, code: nil)),
    ])
    func revocationOutcomes(status: Int, text: String, outcome: Revocation.Outcome) {  // SEC-64
        let response = WireResponse(head: .init(status: .init(code: status)), body: Array(text.utf8))
        #expect(makeClient().revocationOutcome(response, now: 0) == outcome)
    }
}

import HTTPTypes
import Testing

@testable import OAuth

/// Published values and messages, by their source. Line breaks in the RFCs' messages are typography.
@Suite struct VectorTests {
    // MARK: PKCE, RFC 7636 Appendix B

    static let octets: [UInt8] = [
        116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186, 22, 212, 37, 77, 105, 214, 191, 240, 91, 88, 5, 88, 83, 132, 141, 121,
    ]
    static let digest: [UInt8] = [
        19, 211, 30, 150, 26, 26, 216, 236, 47, 22, 177, 12, 76, 152, 46, 8, 118, 168, 120, 173, 109, 241, 68, 86, 110, 225, 137, 74, 203, 112, 249, 195,
    ]

    @Test("From octets to the challenge in the request (RFC 7636 Appendix B)")
    func fromOctetsToTheRequest() throws {
        let entropy = Entropy { _ in Self.octets }
        let verifier = PKCE.verifier(from: entropy)
        #expect(verifier.withExposed { $0 } == "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
        #expect(Base64URL.decode(try PKCE.challenge(for: verifier, mode: .s256)) == Self.digest)
        let url = try makeClient().authorizationRequest(redirectURI: "https://app.example/cb", scopes: [], entropy: entropy).url
        #expect(url.contains("&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256"))
    }

    @Test("A verifier is 43 to 128 unreserved characters (RFC 7636 §4.1)", arguments: [(42, false), (43, true), (128, true), (129, false)])
    func verifierLengths(count: Int, isOne: Bool) {
        let verifier = CodeVerifier(String(repeating: "~", count: count))
        #expect((try? PKCE.challenge(for: verifier, mode: .plain)) == (isOne ? String(repeating: "~", count: count) : nil))
    }

    // MARK: Form and Basic, RFC 6749 Appendix B, §2.3.1

    @Test(arguments: [
        (" %&+£€", "+%25%26%2B%C2%A3%E2%82%AC"), ("client:id@example", "client%3Aid%40example"), ("p+s%/ é", "p%2Bs%25%2F+%C3%A9"),
        ("AZaz09-._~", "AZaz09-._~"), ("", ""),
        ("*'()!", "%2A%27%28%29%21"), ("\u{0}\u{7F}\r\n", "%00%7F%0D%0A"), ("😀", "%F0%9F%98%80"),
    ])
    func encodes(text: String, encoded: String) throws {
        #expect(Form.encode(text) == encoded)
        #expect(try Form.parse("\(encoded)=\(encoded)".utf8).map { [$0.name, $0.value] } == [[text, text]])
    }

    @Test(
        "Decoders take these as equal", arguments: [("a+b", "a%20b"), ("~", "%7E"), ("*", "%2A"), ("%2f", "%2F"), ("-._", "%2D%2E%5F"), ("%C3%a9", "\u{E9}")])
    func decodesAlike(one: String, other: String) throws {
        let values = try [one, other].map { try Form.parse("x=\($0)".utf8)[0].value }
        #expect(sameBytes(values[0], values[1]))
    }

    @Test(
        "Basic is standard Base64 with padding (RFC 7617 §2)",
        arguments: [
            ("a", "b", "Basic YTpi"), ("ab", "c", "Basic YWI6Yw=="), ("ab", "cd", "Basic YWI6Y2Q="),
            ("Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ("~~~", "???", "Basic fn5+Oj8/Pw=="), ("test", "123£", "Basic dGVzdDoxMjPCow=="),
        ])
    func basicRaw(id: String, secret: String, header: String) throws {
        let request = try makeClient(.clientSecretBasicRaw, id: id, secret: secret).tokenRequest(.clientCredentials(scopes: []))
        #expect(request.head.headerFields[.authorization] == header)
    }

    // MARK: Published messages

    func pairs(_ text: some StringProtocol) throws -> [[String]] { try Form.parse(text.utf8).map { [$0.name, $0.value] }.sorted { $0[0] < $1[0] } }

    /// What was kept of a request whose `state` has this SHA-256 in base64url.
    func pending(stateHash: String, issuer: String? = nil, promises: Bool = false) throws -> PendingAuthorization {
        var object: JSONObject = [
            "state_hash": .string(stateHash), "promises_issuer": .bool(promises), "redirect_uri": "https://client.example.com/cb", "scopes": [],
        ]
        if let issuer { object["issuer"] = .string(issuer) }
        return try #require(PendingAuthorization(archive: JSONValue.object(object).serialized()))
    }

    /// SHA-256 of `xyz`.
    static let xyz = "Ngi8oeROpsTSaOttsCJgJpiSwLQrhrvx53pvoWw8koI"

    @Test("RFC 6749 §4.1.1, the authorization request")
    func authorizationRequest() throws {
        let request = try makeClient().authorizationRequest(redirectURI: "https://client.example.com/cb", scopes: [], pkce: .none)
        let query = String(try #require(request.url.split(separator: "?", maxSplits: 1).last))
        let state = request.state.withExposed { $0 }
        #expect(
            try pairs(query.replacing(state, with: "xyz"))
                == pairs("response_type=code&client_id=s6BhdRkqt3&state=xyz&redirect_uri=https%3A%2F%2Fclient%2Eexample%2Ecom%2Fcb"))
    }

    @Test("RFC 6749 §4.1.2, §4.1.2.1, §4.1.3: the callback and what it is traded with")
    func callbackAndExchange() throws {
        let pending = try pending(stateHash: Self.xyz)
        let code = try pending.accept(AuthorizationResponse(query: "code=SplxlOBeZQQYbYS6WxSbIA&state=xyz".utf8))
        let request = try makeClient().tokenRequest(.authorizationCode(code))
        #expect(
            try pairs(String(decoding: request.body, as: UTF8.self))
                == pairs("grant_type=authorization_code&code=SplxlOBeZQQYbYS6WxSbIA&redirect_uri=https%3A%2F%2Fclient%2Eexample%2Ecom%2Fcb"))
        #expect(request.head.headerFields[.authorization] == "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW")
        #expect(throws: CallbackError.denied(code: "access_denied", description: nil)) {
            try pending.accept(AuthorizationResponse(query: "error=access_denied&state=xyz".utf8))
        }
    }

    @Test("RFC 6749 §4.4.2, §6: as bytes")
    func requests() throws {
        let client = makeClient()
        #expect(try client.tokenRequest(.clientCredentials(scopes: [])).body == Array("grant_type=client_credentials".utf8))
        #expect(
            try client.tokenRequest(.refreshToken(RefreshToken("tGzv3JOkF0XG5Qx2TlKWIA"), scopes: [])).body
                == Array("grant_type=refresh_token&refresh_token=tGzv3JOkF0XG5Qx2TlKWIA".utf8))
    }

    @Test("RFC 6749 §5.1: well formed, and refused for its type; with a known type it is read")
    func tokenResponse() throws {
        let text =
            #"{"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"example","expires_in":3600,"refresh_token":"tGzv3JOkF0XG5Qx2TlKWIA","example_parameter":"example_value"}"#
        AnswerCase("as published", text, .malformed).check()
        AnswerCase(
            "as Bearer", text.replacing(#""example","#, with: #""Bearer","#), .token("2YotnFZFEjr1zCsicMWpAA", expires: 3600, refresh: "tGzv3JOkF0XG5Qx2TlKWIA")
        ).check()
        #expect(try judge(Array(text.replacing(#""example","#, with: #""Bearer","#).utf8)).get().members["example_parameter"] == "example_value")
    }

    @Test("RFC 6749 §5.2") func errorResponse() { AnswerCase("error", status: 400, #"{"error":"invalid_request"}"#, .refused("invalid_request")).check() }

    @Test(
        "RFC 9207 §2.1",
        arguments: [("https%3A%2F%2Fhonest.as.example", true), ("https%3A%2F%2Fattacker.example", false), ("https%3A%2F%2Fhonest.as.example%2F", false)])
    func issuerInTheResponse(iss: String, isTaken: Bool) throws {
        let pending = try pending(stateHash: "UyQPl2-TFix7ckVSJE4OQITBo5tPY2eFkxDOxHYcbRI", issuer: "https://honest.as.example", promises: true)
        let query = "code=x1848ZT64p4IirMPT0R-X3141MFPTuBX-VFL_cvaplMH58&state=ZWVlNDBlYzA1NjdkMDNhYjg3ZjUxZjAyNGQzMTM2NzI&iss=\(iss)"
        let code = try? pending.accept(AuthorizationResponse(query: query.utf8)).code.withExposed { $0 }
        #expect(code == (isTaken ? "x1848ZT64p4IirMPT0R-X3141MFPTuBX-VFL_cvaplMH58" : nil))
    }

    // MARK: Discovery, RFC 8414 §3.1, OpenID Connect Discovery §4.1

    @Test(
        "One slash at the end of the issuer makes no difference to where its document lies (SEC-48)",
        arguments: [
            ("https://as.example", ["https://as.example/.well-known/oauth-authorization-server", "https://as.example/.well-known/openid-configuration"]),
            (
                "https://as.example/t1",
                [
                    "https://as.example/.well-known/oauth-authorization-server/t1", "https://as.example/.well-known/openid-configuration/t1",
                    "https://as.example/t1/.well-known/openid-configuration",
                ]
            ),
            (
                "https://as.example:8443/a/b",
                [
                    "https://as.example:8443/.well-known/oauth-authorization-server/a/b", "https://as.example:8443/.well-known/openid-configuration/a/b",
                    "https://as.example:8443/a/b/.well-known/openid-configuration",
                ]
            ),
        ])
    func wellKnown(issuer: String, urls: [String]) throws {
        #expect(try AuthorizationServerMetadata.wellKnownURLs(issuer: issuer).map(\.description) == urls)
        #expect(try AuthorizationServerMetadata.wellKnownURLs(issuer: issuer + "/").map(\.description) == urls)
    }

    @Test(
        "A document counts for its own issuer only, byte for byte (SEC-48)",
        arguments: [
            "https://as.example", "https://as.example/", "https://AS.example/t1", "https://as.example/T1", "https://as.example/t1/", "https://as.example/t2",
            "https://as.example:443/t1",
            "http://as.example/t1", "https://evil.example/t1", "https://as.example/t1 ", "https://as.example/%741", "https://as.example/t1?x",
        ])
    func otherIssuers(found: String) {
        let document = JSONValue.object(["issuer": .string(found), "token_endpoint": "https://as.example/t1/token"]).serialized()
        #expect(throws: MetadataError.issuerMismatch(found: found)) { try AuthorizationServerMetadata(parsing: document, issuer: "https://as.example/t1") }
        #expect((try? AuthorizationServerMetadata(parsing: document, issuer: found))?.issuer == found)
    }

    // MARK: ID tokens, OpenID Connect Core Appendix A

    func judged(
        _ idToken: String, now: Int = 1_311_280_990, nonce: String = "n-0S6_WzA2Mj", issuer: String = "https://server.example.com",
        clientID: String = "s6BhdRkqt3",
        accessToken: String = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"
    ) throws -> Result<TokenResponse, TokenError> {
        let archive: JSONObject = ["code": "c", "redirect_uri": "https://client.example.com/cb", "scopes": ["openid"], "nonce": .string(nonce)]
        let code = try #require(CheckedCode(archive: JSONValue.object(archive).serialized()))
        var client = makeClient(id: clientID)
        client.server.issuer = issuer
        let body = JSONValue.object(["access_token": .string(accessToken), "token_type": "Bearer", "id_token": .string(idToken)]).serialized()
        do throws(TokenError) {
            return .success(try client.tokenResponse(WireResponse(head: .init(status: .ok), body: body), to: .authorizationCode(code), now: now))
        } catch {
            return .failure(error)
        }
    }

    @Test("The published ID tokens (SEC-45)", arguments: [Self.a2, Self.a3])
    func publishedIDTokens(token: String) throws {
        let claims = try #require(try judged(token).get().idTokenClaims)
        #expect(
            claims
                == IDTokenClaims(
                    issuer: "https://server.example.com", subject: "248289761001", audience: ["s6BhdRkqt3"], expiresAt: 1_311_281_970, issuedAt: 1_311_280_970))
        // The clocks may differ by a minute.
        #expect((try? judged(token, now: 1_311_280_910).get()) != nil)
        #expect((try? judged(token, now: 1_311_282_029).get()) != nil)
        let parts = token.split(separator: ".").map(String.init)
        let none = "eyJhbGciOiJub25lIn0"
        let refused: [Result<TokenResponse, TokenError>] = [
            try judged(token, now: 1_311_280_909), try judged(token, now: 1_311_282_030), try judged(token, nonce: "n-0S6_WzA2MJ"),
            try judged(token, issuer: "https://server.example.com/"),
            try judged(token, clientID: "s6BhdRkqt4"), try judged("\(none).\(parts[1])."), try judged("\(none).\(parts[1]).\(parts[2])"),
            try judged("\(parts[0]).\(parts[1])."),
            try judged("\(token)."), try judged("\(token)="), try judged(" \(token)"), try judged(""),
        ]
        for result in refused {
            let error = #expect(throws: TokenError.self) { try result.get() }
            guard case .idToken? = error?.kind else {
                Issue.record("it is not refused as an ID token")
                continue
            }
        }
    }

    @Test("at_hash binds the access token (OpenID Connect Core §3.1.3.6, SEC-45)")
    func atHash() throws {
        #expect((try? judged(Self.a3, accessToken: "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Z").get()) == nil)
        #expect((try? judged(Self.a2, accessToken: "another").get()) != nil)
    }

    /// A.2, with claims of a profile.
    static let a2 = """
        eyJraWQiOiIxZTlnZGs3IiwiYWxnIjoiUlMyNTYifQ.ewogImlzcyI6ICJodHRwczovL3NlcnZlci5leGFtcGxlLmNvbSIsCiAic3ViIjogIjI0ODI4OTc2MTAwMSIsCiAiYXVkIjogInM2QmhkUmt\
        xdDMiLAogIm5vbmNlIjogIm4tMFM2X1d6QTJNaiIsCiAiZXhwIjogMTMxMTI4MTk3MCwKICJpYXQiOiAxMzExMjgwOTcwLAogIm5hbWUiOiAiSmFuZSBEb2UiLAogImdpdmVuX25hbWUiOiAiSmFuZ\
        SIsCiAiZmFtaWx5X25hbWUiOiAiRG9lIiwKICJnZW5kZXIiOiAiZmVtYWxlIiwKICJiaXJ0aGRhdGUiOiAiMDAwMC0xMC0zMSIsCiAiZW1haWwiOiAiamFuZWRvZUBleGFtcGxlLmNvbSIsCiAicGl\
        jdHVyZSI6ICJodHRwOi8vZXhhbXBsZS5jb20vamFuZWRvZS9tZS5qcGciCn0.NTibBYW_ZoNHGm4ZrWCqYA9oJaxr1AVrJCze6FEcac4t_EOQiJFbD2nVEPkUXPuMshKjjTn7ESLIFUnfHq8UKTGib\
        IC8uqrBgQAcUQFMeWeg-PkLvDTHk43Dn4_aNrxhmWwMNQfkjqx3wd2Fvta9j8yG2Qn790Gwb5psGcmBhqMJUUnFrGpyxQDhFIzzodmPokM7tnUxBNj-JuES_4CE-BvZICH4jKLp0TMu-WQsVst0ss-\
        vY2RPdU1MzL59mq_eKk8Rv9XhxIr3WteA2ZlrgVyT0cwH3hlCnRUsLfHtIEb8k1Y_WaqKUu3DaKPxqRi6u0rN7RO2uZYPzC454xe-mg
        """
    /// A.3, with `at_hash`.
    static let a3 = """
        eyJraWQiOiIxZTlnZGs3IiwiYWxnIjoiUlMyNTYifQ.ewogImlzcyI6ICJodHRwczovL3NlcnZlci5leGFtcGxlLmNvbSIsCiAic3ViIjogIjI0ODI4OTc2MTAwMSIsCiAiYXVkIjogInM2QmhkUmt\
        xdDMiLAogIm5vbmNlIjogIm4tMFM2X1d6QTJNaiIsCiAiZXhwIjogMTMxMTI4MTk3MCwKICJpYXQiOiAxMzExMjgwOTcwLAogImF0X2hhc2giOiAiNzdRbVVQdGpQZnpXdEYyQW5wSzlSUSIKfQ.kd\
        qTmftlaXg5WBYBr1wkxhkqCGZPc0k8vTiV5g2jj67jQ7XkrDamYx2bOkZLdZrpMPIzkdYB1nZI_G8vQGQuamRhJcEIt21kblGPZ-yhEhdkAiZIZLu38rChalDS2Mh0glE_rke5XXRhmqqoEFFdziFd\
        nO3p61-7y51co84OEAZvARSINQaOWIzvioRfs4zwIFOaT33Vpxfqr8HDyh31zo9eBW2dSQuCa071z0ENWChWoPliK1JCo_Bk9eDg2uwo2ZwhsvHzj6TMQ0lYOTzufSlSmXIKfjlOsb3nftQeR697_h\
        A-nMZyAdL8_NRfaC37XnAbW8WB9wCfECp7cuNuOg
        """
}

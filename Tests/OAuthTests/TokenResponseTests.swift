import HTTPTypes
import Testing

@testable import OAuth

@Suite struct TokenResponseTests {
    func answer(
        _ text: String, status: Int = 200, type: String? = "application/json", fields: [String: String] = [:], profile: ProviderProfile = .init(),
        grant: AuthorizationGrant = .clientCredentials(scopes: ["read"]), now: Int = 1_700_000_000
    ) -> Result<TokenResponse, TokenError> {
        judge(Array(text.utf8), status: status, type: type, fields: fields, profile: profile, grant: grant, now: now)
    }

    func token(_ result: Result<TokenResponse, TokenError>) -> String? { try? result.get().accessToken.withExposed { $0 } }
    func error(_ result: Result<TokenResponse, TokenError>) -> TokenError? { if case .failure(let error) = result { error } else { nil } }

    @Test(
        "Each of these is a token",
        arguments: [
            (#"{"access_token":"t","token_type":"Bearer"}"#, 200, "application/json"), (#"{"access_token":"t"}"#, 201, "application/json;charset=UTF-8"),
            ("\u{FEFF}{\"access_token\":\"t\"}", 200, "APPLICATION/JSON; charset=\"utf-8\""), (#"{"access_token":"t","error":null}"#, 200, "text/html"),
            (#" {"access_token":"t","token_type":null}"#, 200, "text/plain"), (#"{"access_token":"t","token_type":""}"#, 200, "application/octet-stream"),
            (#"{"access_token":"t","token_type":"bEARER"}"#, 200, nil), (#"{"access_token":"t"}"#, 200, "application/x-www-form-urlencoded"),
            ("access_token=t&token_type=bearer&expires_in=3600", 200, "application/x-www-form-urlencoded; charset=utf-8"),
            ("access_token=t\n", 200, "text/plain"),
            (#"{"access_token":"t"}"#, 200, "application/vnd.x+json"), (#"{"access_token":"t","id_token":17}"#, 200, "application/json"),
            (#"{"access_token":"t","x":{"access_token":1,"access_token":2}}"#, 200, "application/json"),
        ] as [(String, Int, String?)])
    func reads(text: String, status: Int, type: String?) { #expect(token(answer(text, status: status, type: type)) == "t") }

    @Test(
        "None of these is a token (SEC-41, SEC-42, SEC-43)",
        arguments: [
            ("", 200, "application/json"), ("[]", 200, "application/json"), ("null", 200, "application/json"), ("\"t\"", 200, "application/json"),
            ("<html>login</html>", 200, "text/html"), ("access_token=t", 200, "text/html"), ("access_token=t", 200, "application/json"),
            ("access_token=t", 200, nil),
            ("access_token=t&access_token=u", 200, "application/x-www-form-urlencoded"), ("access_token=%ff", 200, "application/x-www-form-urlencoded"),
            ("<x><access_token>t</access_token></x>", 200, "application/xml"), ("callback({\"access_token\":\"t\"});", 200, "application/javascript"),
            (#"{"access_token":"t"}"#, 202, "application/json"), (#"{"access_token":"t"}"#, 204, "application/json"),
            (#"{"access_token":"t"}"#, 206, "application/json"),
            (#"{"access_token":"t"}"#, 302, "application/json"), (#"{"access_token":"t"}"#, 400, "application/json"),
            (#"{"access_token":"t"}"#, 500, "application/json"),
            (#"{"access_token":"t","error":"invalid_grant"}"#, 200, "application/json"), (#"{"access_token":"t","error":{"a":1}}"#, 200, "application/json"),
            (#"{"access_token":"t","error":true}"#, 200, "application/json"), (#"{"access_token":"t","access_token":"u"}"#, 200, "application/json"),
            (#"{"access_token":"t","acc\u0065ss_token":"u"}"#, 200, "application/json"), (#"{"access_token":""}"#, 200, "application/json"),
            (#"{"access_token":null}"#, 200, "application/json"), (#"{"access_token":1}"#, 200, "application/json"),
            (#"{"access_token":["t"]}"#, 200, "application/json"),
            (#"{"Access_Token":"t"}"#, 200, "application/json"), (#"{"accessToken":"t"}"#, 200, "application/json"),
            (#"{"access_token":"a b"}"#, 200, "application/json"),
            (#"{"access_token":"a\r\nX-Evil: 1"}"#, 200, "application/json"), (#"{"access_token":"a\u0000"}"#, 200, "application/json"),
            (#"{"access_token":"é"}"#, 200, "application/json"), (#"{"access_token":"😀"}"#, 200, "application/json"),
            (#"{"access_token":"t","token_type":"mac"}"#, 200, "application/json"),
            (#"{"access_token":"t","token_type":"N_A"}"#, 200, "application/json"), (#"{"access_token":"t","token_type":"DPoP"}"#, 200, "application/json"),
            (#"{"access_token":"t","token_type":["Bearer"]}"#, 200, "application/json"),
            (#"{"access_token":"t","token_type":"example"}"#, 200, "application/json"),
            (#"{"access_token":"t","refresh_token":7}"#, 200, "application/json"), (#"{"access_token":"t","refresh_token":"a b"}"#, 200, "application/json"),
            (#"{"access_token":"t"} x"#, 200, "application/json"), (#"{"access_token":"t",}"#, 200, "application/json"),
            (#"{"access_token":"t""#, 200, "application/json"),
            (#"{"data":{"access_token":"t"}}"#, 200, "application/json"),
        ] as [(String, Int, String?)])
    func refuses(text: String, status: Int, type: String?) {
        let result = answer(text, status: status, type: type)
        #expect(token(result) == nil)
        // Nothing of the body in what may be shown.
        if let error = error(result), case .malformed(let reason) = error.kind { #expect(!reason.contains("login") && !reason.contains("X-Evil")) }
    }

    @Test func tokensAreBoundedAt64KiB() {
        #expect(token(answer(#"{"access_token":"\#(String(repeating: "x", count: 65_536))"}"#)) != nil)
        #expect(token(answer(#"{"access_token":"\#(String(repeating: "x", count: 65_537))"}"#)) == nil)
    }

    @Test(
        "expires_in, bounded and never for ever (SEC-44)",
        arguments: [
            ("3600", 3600), (#""3600""#, 3600), (#"" 3600 ""#, 3600), ("3600.9", 3600), ("3.6e3", 3600), (#""3600.5""#, 3600), ("0", 0), ("-1", 0),
            ("1e400", 315_360_000),
            ("9223372036854775808", 315_360_000), ("null", nil), ("true", nil), ("false", nil), (#""""#, nil), (#""soon""#, nil), (#""1h""#, nil),
            ("[3600]", nil), ("{}", nil),
            (#""0x10""#, nil), (#""+5""#, nil),
        ] as [(String, Int?)])
    func expiresIn(value: String, seconds: Int?) throws {
        let response = try answer(#"{"access_token":"t","expires_in":\#(value)}"#).get()
        #expect(response.expiresIn == seconds.map { .seconds($0) })
    }

    @Test(
        arguments: [
            (#""expires":3600"#, 3600), (#""expires":"3600""#, 3600), (#""expires":1700000100"#, 100), (#""expires_at":1700000100"#, 100),
            (#""expires_at":"1700000100""#, 100),
            (#""expires_at":"2023-11-14T22:15:00Z""#, 100), (#""expires_at":"2023-11-14T23:15:00.5+01:00""#, 100), (#""expires_at":"soon""#, nil),
            (#""expires_at":1"#, 0),
            (#""expires_in":7,"expires_at":1700000100"#, 7), (#""x":1"#, nil),
        ] as [(String, Int?)])
    func otherLifetimes(member: String, seconds: Int?) throws {
        #expect(try answer(#"{"access_token":"t",\#(member)}"#).get().expiresIn == seconds.map { .seconds($0) })
    }

    @Test(
        arguments: [
            (#""read write""#, ["read", "write"]), (#"["read","write"]"#, ["read", "write"]), (#""read  read""#, ["read"]), ("null", nil), (#""""#, nil),
            ("7", nil), (#"["a",1]"#, nil),
        ] as [(String, [String]?)])
    func scope(value: String, expected: [String]?) throws {
        #expect(try answer(#"{"access_token":"t","scope":\#(value)}"#).get().scope == expected)
    }

    @Test func profilesReadOtherShapes() throws {
        var slack = ProviderProfile()
        slack.responsePath = "authed_user"
        slack.tokenTypeAliases = ["user"]
        slack.scopeSeparator = ","
        slack.errorPath = "error"
        let response = try answer(#"{"ok":true,"authed_user":{"access_token":"xoxp","token_type":"user","scope":"a,b"}}"#, profile: slack).get()
        #expect(response.accessToken.withExposed { $0 } == "xoxp")
        #expect(response.scope == ["a", "b"])
        #expect(error(answer(#"{"ok":false,"error":"invalid_code"}"#, profile: slack))?.code?.rawValue == "invalid_code")
        var camel = ProviderProfile()
        camel.tokenResponseMembers = ["access_token": "data.accessToken", "refresh_token": "data.refreshToken", "expires_in": "data.expireIn"]
        camel.expiresInUnit = .milliseconds
        let nested = try answer(#"{"data":{"accessToken":"t","refreshToken":"r","expireIn":7200000}}"#, profile: camel).get()
        #expect(nested.expiresIn == .seconds(7200))
        #expect(nested.refreshToken?.withExposed { $0 } == "r")
        var odd = ProviderProfile()
        odd.zeroMeansNever = true
        #expect(try answer(#"{"access_token":"t","expires_in":0}"#, profile: odd).get().expiresIn == nil)
        odd.defaultExpiresIn = 60
        #expect(try answer(#"{"access_token":"t"}"#, profile: odd).get().expiresIn == .seconds(60))
        odd.errorAliases = ["bad_refresh_token": "invalid_grant"]
        let aliased = try #require(error(answer(#"{"error":"bad_refresh_token"}"#, profile: odd)))
        #expect(aliased.code == .invalidGrant)
        #expect(aliased.originalCode == "bad_refresh_token")
        #expect(aliased.remedy == .reauthorize)
    }

    @Test(
        "What to do about each refusal (SEC-60)",
        arguments: [
            (400, #"{"error":"invalid_grant"}"#, TokenError.Remedy.reauthorize), (200, #"{"error":"invalid_grant"}"#, .reauthorize),
            (401, #"{"error":"invalid_client"}"#, .fixClient),
            (400, #"{"error":"invalid_client"}"#, .fixClient), (400, #"{"error":"unauthorized_client"}"#, .fixClient),
            (400, #"{"error":"invalid_scope"}"#, .fixClient),
            (401, "", .fixClient), (403, "", .fixClient), (302, "", .fixClient), (404, "<html>", .fixClient), (429, "", .tryLater), (503, "<html>", .tryLater),
            (500, "", .tryLater),
            (400, #"{"error":"temporarily_unavailable"}"#, .tryLater), (200, #"{"error":"server_error"}"#, .tryLater),
            (400, #"{"error":"brand_new"}"#, .report), (503, #"{"error":"brand_new"}"#, .tryLater),
            (400, "", .report), (400, #"{"error":"interaction_required"}"#, .reauthorize), (200, "<html>", .report),
        ])
    func remedies(status: Int, text: String, remedy: TokenError.Remedy) {
        #expect(error(answer(text, status: status))?.remedy == remedy)
    }

    @Test func errorTextIsHostile() throws {
        let text = #"{"error":"invalid_grant","error_description":"a\r\n\u001b[31m\u202e\#(String(repeating: "x", count: 5000))"}"#
        let description = try #require(error(answer(text, status: 400))?.errorDescription)
        #expect(description.utf8.count <= 1024)
        #expect(!description.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x202E })
        #expect(error(answer(#"{"error":"invalid_grant","error_description":{"a":1}}"#, status: 400))?.errorDescription == nil)
        #expect(error(answer("{\"error\":\"\u{E9}vil\"}", status: 400))?.code == nil)
    }

    @Test(
        arguments: [("120", 120), ("Sun, 06 Nov 1994 08:50:37 GMT", 60), ("soon", nil), ("-5", nil), ("999999999999999999999", 86_400), ("", nil)]
            as [(String, Int?)])
    func retryAfter(value: String, seconds: Int?) {
        #expect(error(answer("", status: 429, fields: ["Retry-After": value, "Date": "Sun, 06 Nov 1994 08:49:37 GMT"]))?.retryAfter == seconds)
    }

    @Test("Mutated answers never trap, and give a token only where one is")
    func mutations() {
        var seed: UInt64 = 7
        func random(_ bound: Int) -> Int {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(seed >> 33) % bound
        }
        let original = Array(#"{"access_token":"tok","token_type":"bearer","expires_in":"3600","refresh_token":"r","scope":"a b","error":null}"#.utf8)
        for _ in 0..<10_000 {
            var bytes = original
            for _ in 0...random(2) { bytes[random(bytes.count)] = UInt8(random(256)) }
            let text = String(decoding: bytes, as: UTF8.self)
            if let token = token(answer(text)) { #expect(text.contains(token) || text.contains("\\")) }
        }
    }
}

@Suite struct IDTokenTests {
    let now = 1_700_000_000

    func response(
        _ change: (inout JSONObject) -> Void, header: String = #"{"alg":"RS256"}"#, tamper: (String) -> String = { $0 }
    ) throws -> Result<TokenResponse, TokenError> {
        let client = makeClient()
        let request = try client.authorizationRequest(redirectURI: "https://app.example/cb", scopes: ["openid"])
        let code = try request.pending.accept(AuthorizationResponse(query: "code=c&state=\(request.state.withExposed { $0 })".utf8))
        var claims: JSONObject = [
            "iss": "https://as.example", "aud": "s6BhdRkqt3", "sub": "248289761001", "exp": .number(JSONNumber(now + 300)), "iat": .number(JSONNumber(now)),
            "nonce": .string(request.pending.nonce?.withExposed { $0 } ?? ""),
        ]
        change(&claims)
        let token = tamper([Array(header.utf8), JSONValue.object(claims).serialized(), [1, 2, 3]].map { Base64URL.encode($0) }.joined(separator: "."))
        let body = JSONValue.object(["access_token": "t", "id_token": .string(token)]).serialized()
        do throws(TokenError) {
            return .success(try client.tokenResponse(WireResponse(head: .init(status: .ok), body: body), to: .authorizationCode(code), now: now))
        } catch {
            return .failure(error)
        }
    }

    @Test func aGoodOneGivesItsClaims() throws {
        #expect(try response { _ in }.get().idTokenClaims?.subject == "248289761001")
        #expect(try response { $0["aud"] = ["s6BhdRkqt3"] }.get().idTokenClaims?.audience == ["s6BhdRkqt3"])
        #expect(try response { ($0["aud"], $0["azp"]) = (["s6BhdRkqt3", "other"], "s6BhdRkqt3") }.get().idTokenClaims != nil)
        #expect(try response { $0["exp"] = .number(JSONNumber(now - 59)) }.get().idTokenClaims != nil)
    }

    struct Change: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let apply: @Sendable (inout JSONObject) -> Void
        init(_ text: String, _ apply: @escaping @Sendable (inout JSONObject) -> Void) { (testDescription, self.apply) = (text, apply) }
    }

    @Test(
        "Each is refused, and the tokens with it (SEC-08, SEC-45)",
        arguments: [
            Change("iss wrong") { $0["iss"] = "https://as.example/" }, Change("iss missing") { $0["iss"] = nil }, Change("aud wrong") { $0["aud"] = "other" },
            Change("aud missing") { $0["aud"] = nil }, Change("aud untrusted second") { $0["aud"] = ["s6BhdRkqt3", "other"] },
            Change("azp wrong") { $0["azp"] = "other" },
            Change("exp passed") { $0["exp"] = 1_699_999_939 }, Change("exp missing") { $0["exp"] = nil }, Change("exp text") { $0["exp"] = "1800000000" },
            Change("iat missing") { $0["iat"] = nil }, Change("iat future") { $0["iat"] = 1_700_000_061 }, Change("iat old") { $0["iat"] = 1_699_900_000 },
            Change("nbf future") { $0["nbf"] = 1_700_000_100 }, Change("nonce wrong") { $0["nonce"] = "x" }, Change("nonce missing") { $0["nonce"] = nil },
            Change("sub missing") { $0["sub"] = nil }, Change("sub empty") { $0["sub"] = "" },
            Change("sub long") { $0["sub"] = .string(String(repeating: "x", count: 256)) },
        ])
    func refused(change: Change) throws {
        guard case .failure(let error) = try response(change.apply), case .idToken = error.kind else {
            Issue.record("it was accepted")
            return
        }
    }

    @Test(arguments: [#"{"alg":"none"}"#, #"{"alg":"nOnE"}"#, "{}", #"{"alg":"RS256","crit":["x"]}"#, "[]", "x"])
    func headersAreChecked(header: String) throws { #expect(throws: TokenError.self) { try response({ _ in }, header: header).get() } }

    @Test func partsAreChecked() throws {
        for tamper in [{ (t: String) in t + ".a.b" }, { String($0.dropLast(4)) }, { $0 + "=" }, { _ in "" }, { _ in "a.b" }, { t in "x" + t }] {
            #expect(throws: TokenError.self) { try response({ _ in }, tamper: tamper).get() }
        }
    }
}

@Suite struct MetadataTests {
    @Test(
        "RFC 8414 §3.1 and OIDC Discovery §4 (SEC-48)",
        arguments: [
            ("https://as.example", ["https://as.example/.well-known/oauth-authorization-server", "https://as.example/.well-known/openid-configuration"]),
            ("https://as.example/", ["https://as.example/.well-known/oauth-authorization-server", "https://as.example/.well-known/openid-configuration"]),
            (
                "https://as.example/t1/",
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
    func wellKnown(issuer: String, urls: [String]) throws { #expect(try AuthorizationServerMetadata.wellKnownURLs(issuer: issuer).map(\.description) == urls) }

    @Test(arguments: ["", "as.example", "https://as.example?x=1", "https://as.example/#f", "ftp://as.example"])
    func badIssuers(issuer: String) { #expect(throws: MetadataError.self) { try AuthorizationServerMetadata.wellKnownURLs(issuer: issuer) } }

    func read(_ text: String, issuer: String = "https://as.example") throws -> AuthorizationServerMetadata {
        try AuthorizationServerMetadata(parsing: Array(text.utf8), issuer: issuer)
    }

    @Test func aDocumentIsRead() throws {
        let metadata = try read(
            #"{"issuer":"https://as.example","token_endpoint":"https://as.example/t","authorization_response_iss_parameter_supported":true,"code_challenge_methods_supported":["S256"],"x":1}"#
        )
        #expect(metadata.tokenEndpoint?.description == "https://as.example/t")
        #expect(metadata.authorizationResponseIssParameterSupported)
        #expect(metadata.codeChallengeMethodsSupported == ["S256"])
    }

    @Test(arguments: [
        (#"{"issuer":"https://as.example/"}"#, MetadataError.issuerMismatch(found: "https://as.example/")),
        (#"{"issuer":"https://AS.example"}"#, .issuerMismatch(found: "https://AS.example")),
        ("{}", .missing(member: "issuer")), ("<html>", .notJSON), (#"{"issuer":1}"#, .badMember(member: "issuer", reason: "is not a text")),
        (#"{"issuer":"https://as.example","token_endpoint":1}"#, .badMember(member: "token_endpoint", reason: "is not a text")),
    ])
    func refused(text: String, expected: MetadataError) { #expect(throws: expected) { try read(text) } }

    @Test(arguments: ["https://u@as.example/", "https://as.example/#f", "javascript:x", "https://good\\\\evil/"])  // SEC-49
    func endpointsAreParsedLikeTypedOnes(url: String) {
        #expect(throws: MetadataError.self) { try read(#"{"issuer":"https://as.example","token_endpoint":"\#(url)"}"#) }
    }
}

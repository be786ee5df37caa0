import HTTPTypes
import OAuth
import RehearsalProvider
import TestSupport
import Testing

/// The provider by itself, as other people's tests see it.
struct RehearsalProviderTests {
    private let visitor = Visitor()

    private func post(_ url: String, _ form: [(String, String)]) async throws -> (status: Int, json: JSONValue) {
        let page = try await visitor.request(.post, url, form: form)
        return (page.status, (try? JSONValue(parsing: page.body.utf8)) ?? .null)
    }

    private func code(_ provider: RunningProvider, client: String, extra: [(String, String)] = []) async throws -> [String: String] {
        let query = [("response_type", "code"), ("client_id", client), ("redirect_uri", "http://127.0.0.1:1/cb"), ("scope", "read"), ("state", "s")] + extra
        let consent = try await visitor.open(provider.url + "/authorize?" + Form.serialize(query))
        let back = try await visitor.answerConsent(consent).headers[.location] ?? ""
        let pairs = try Form.parse(back.drop { $0 != "?" }.dropFirst().utf8)
        return Dictionary(pairs.map { ($0.name, $0.value) }) { first, _ in first }
    }

    private func redeem(
        _ provider: RunningProvider, _ code: String, client: String, secret: String?, verifier: String? = nil
    ) async throws -> (status: Int, json: JSONValue) {
        var form = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", "http://127.0.0.1:1/cb"), ("client_id", client)]
        if let secret { form.append(("client_secret", secret)) }
        if let verifier { form.append(("code_verifier", verifier)) }
        return try await post(provider.url + "/token", form)
    }

    @Test func itDescribesItself() async throws {
        try await RunningProvider.with { provider in
            for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
                let document = try JSONValue(parsing: try await visitor.request(.get, provider.url + path).body.utf8)
                #expect(document["issuer"]?.string == provider.url)
                #expect(document["authorization_response_iss_parameter_supported"] == true)
            }
        }
    }

    @Test("PKCE is enforced", arguments: [("S256", true), ("plain", true), ("S256", false), ("plain", false)])
    func verifiersAreChecked(mode: String, isRight: Bool) async throws {
        try await RunningProvider.with { provider in
            let verifier = String(repeating: "v", count: 43)
            let challenge = try PKCE.challenge(for: CodeVerifier(verifier), mode: mode == "S256" ? .s256 : .plain)
            let back = try await code(provider, client: "pub", extra: [("code_challenge", challenge), ("code_challenge_method", mode)])
            #expect(back["iss"] == provider.url)
            let answer = try await redeem(
                provider, back["code"] ?? "", client: "pub", secret: nil, verifier: isRight ? verifier : String(repeating: "w", count: 43))
            #expect(answer.status == (isRight ? 200 : 400))
            #expect(answer.json["error"]?.string == (isRight ? nil : "invalid_grant"))
        }
    }

    @Test func aCodeCountsOnceAndItsSecondUseEndsWhatItGave() async throws {
        try await RunningProvider.with { provider in
            let back = try await code(provider, client: "conf")
            let first = try await redeem(provider, back["code"] ?? "", client: "conf", secret: "conf-secret")
            #expect(first.status == 200)
            #expect(try await redeem(provider, back["code"] ?? "", client: "conf", secret: "conf-secret").json["error"] == "invalid_grant")
            let refresh = try await post(
                provider.url + "/token",
                [
                    ("grant_type", "refresh_token"), ("refresh_token", first.json["refresh_token"]?.string ?? ""), ("client_id", "conf"),
                    ("client_secret", "conf-secret"),
                ])
            #expect(refresh.json["error"] == "invalid_grant")
        }
    }

    @Test("A rotated refresh token counts once, but for a grace that was asked for", arguments: [0, 30])
    func reuseIsDetected(grace: Int) async throws {
        try await RunningProvider.with { provider in
            try await provider.client(["id": "rotating", "grace": .number(JSONNumber(grace))])
            func ask(_ form: [(String, String)]) async throws -> JSONValue {
                try await post(provider.url + "/token", form + [("client_id", "rotating"), ("client_secret", "rotating-secret")]).json
            }
            let first = try await ask([("grant_type", "password"), ("username", "alice"), ("password", "password")])
            let old = first["refresh_token"]?.string ?? ""
            let second = try await ask([("grant_type", "refresh_token"), ("refresh_token", old)])
            #expect(second["refresh_token"]?.string != old)
            let again = try await ask([("grant_type", "refresh_token"), ("refresh_token", old)])
            let newest = try await ask([("grant_type", "refresh_token"), ("refresh_token", second["refresh_token"]?.string ?? "")])
            #expect(again["error"]?.string == (grace > 0 ? nil : "invalid_grant"))
            #expect(newest["error"]?.string == (grace > 0 ? nil : "invalid_grant"), "reuse ends the family")
        }
    }

    @Test func introspectionFollowsRevocation() async throws {
        try await RunningProvider.with { provider in
            let client = [("client_id", "machine"), ("client_secret", "machine-secret")]
            let token = try await post(provider.url + "/token", [("grant_type", "client_credentials")] + client).json["access_token"]?.string ?? ""
            #expect(try await post(provider.url + "/introspect", [("token", token)] + client).json["active"] == true)
            #expect(try await post(provider.url + "/revoke", [("token", token)] + client).status == 200)
            #expect(try await post(provider.url + "/introspect", [("token", token)] + client).json["active"] == false)
        }
    }

    @Test func aFaultLastsAsLongAsItWasToldTo() async throws {
        try await RunningProvider.with { provider in
            try await provider.client(["id": "machine", "faults": [["fault": "status_503", "times": 2]]])
            let form = [("grant_type", "client_credentials"), ("client_id", "machine"), ("client_secret", "machine-secret")]
            var statuses: [Int] = []
            for _ in 0..<3 { statuses.append(try await post(provider.url + "/token", form).status) }
            #expect(statuses == [503, 503, 200])
        }
    }

    @Test func whatExceedsARateGets429AndIsCounted() async throws {
        try await RunningProvider.with { provider in
            try await provider.client(["id": "machine", "rate_limit": 3])
            let form = [("grant_type", "client_credentials"), ("client_id", "machine"), ("client_secret", "machine-secret")]
            let pages = try await withThrowingTaskGroup(of: Visitor.Page.self) { group in
                for _ in 0..<8 { group.addTask { try await Visitor().request(.post, provider.url + "/token", form: form) } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            let refused = pages.filter { $0.status == 429 }
            // Should they take more than a second, a few more pass.
            #expect((1...5).contains(refused.count))
            #expect(refused.allSatisfy { $0.headers[.retryAfter] == "1" && $0.body.contains("temporarily_unavailable") })
            #expect(pages.count { $0.status == 200 } == 8 - refused.count)
            let counts = try await provider.requestCounts("machine")
            #expect(counts == (8, refused.count, 0))
            #expect(try await provider.tokenRequests("machine").count { $0["rate_limited"]?.bool == true } == refused.count)
            try await provider.client(["id": "machine", "rate_limit": .null])
            #expect(try await post(provider.url + "/token", form).status == 200)
        }
    }

    /// As at a real provider, whose answer nobody may be there to take: the refresh token is spent all the same.
    @Test func aSlowAnswerIsWorkedOutThoughItsClientHasGone() async throws {
        try await RunningProvider.with { provider in
            let client = [("client_id", "rotating"), ("client_secret", "rotating-secret")]
            let first = try await provider.tokens("rotating", secret: "rotating-secret")
            let refreshToken = first["refresh_token"]?.string ?? ""
            func isActive() async throws -> Bool? { try await post(provider.url + "/introspect", [("token", refreshToken)] + client).json["active"]?.bool }
            try await provider.client(["id": "rotating", "faults": [["fault": "slow", "value": 1, "times": 1]]])
            let form = [("grant_type", "refresh_token"), ("refresh_token", refreshToken)] + client
            let leaving = Task { try await Visitor().request(.post, provider.url + "/token", form: form) }
            while try await provider.requestCounts("rotating").underWay == 0 { try await Task.sleep(for: .milliseconds(10)) }
            leaving.cancel()
            await #expect(throws: (any Error).self) { try await leaving.value }
            while try await provider.requestCounts("rotating").underWay > 0 { try await Task.sleep(for: .milliseconds(10)) }
            #expect(try await isActive() == false)
        }
    }

    @Test func unknownSettingsAreNamed() async throws {
        try await RunningProvider.with { provider in
            let page = try await Visitor().request(.post, provider.url + "/_rehearsal/clients", form: [("id", "x")])
            #expect(page.status == 400)
            await #expect(throws: RehearsalError.self) { try await provider.client(["id": "x", "nonsense": true]) }
            await #expect(throws: RehearsalError.self) { try await provider.client(["id": "x", "faults": ["nonsense"]]) }
            await #expect(throws: RehearsalError.self) { try await provider.client(["id": "x", "rate_limit": 0]) }
        }
    }
}

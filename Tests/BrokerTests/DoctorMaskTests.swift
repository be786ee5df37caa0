import HTTPTypes
import OAuth
import OAuthClient
import Testing
import Vault

@testable import Broker

/// What is kept for the doctor holds no secret, however it is repeated.
@Suite struct DoctorMaskTests {
    static let secret = "S3cret/with+signs&more=\"x\""

    @Test func aSecretIsFoundInEveryFormThatItIsRepeatedIn() {
        let mask = Mask(secrets: [Self.secret])
        var quoted: [UInt8] = []
        JSONValue.write(Self.secret, to: &quoted)
        let forms = [
            Self.secret, Form.encode(Self.secret), Form.percentEncode(Self.secret),
            Form.encode(Self.secret).replacing("%2F", with: "%2f").replacing("%2B", with: "%2b")
                .replacing("%3D", with: "%3d"), String(decoding: quoted, as: UTF8.self),
            Self.secret.replacing("&", with: "&amp;").replacing("\"", with: "&quot;"),
            Base64URL.encode(Self.secret.utf8), Base64URL.encode(Self.secret.utf8).replacing("-", with: "+").replacing("_", with: "/") + "==",
        ]
        for form in forms {
            let masked = mask.masked("it says <\(form)> twice \(form)")
            #expect(!masked.contains(form), "\(form)")
            #expect(!masked.contains("S3cret"), "\(form)")
            #expect(masked.hasPrefix("it says <"))
        }
    }

    /// Swift's strings would take a letter with an accent behind it for another letter.
    @Test func bytesAreComparedAsBytes() {
        #expect(Mask(secrets: ["abcdef"]).masked("abcdef\u{301}x") == Mask.dots + "\u{301}x")
    }

    @Test func aSecretThatBeginsBeforeTheCutIsMaskedWhole() {
        let secret = String(repeating: "k", count: 3000)
        let text = String(repeating: "x ", count: 8000) + secret
        #expect(!Mask(secrets: [secret]).shown(text, limit: 1 << 20).contains("k"))
    }

    @Test func aSecretTooShortToBeFoundHidesTheText() {
        let mask = Mask(secrets: ["ab"])
        #expect(mask.isBlind)
        #expect(mask.shown("about ab") == "")
        let response = WireResponse(head: .init(status: .badRequest), body: Array(#"{"error":"ab"}"#.utf8))
        #expect(!BodyExcerpt(response, mask: mask).text.contains("\"ab\""))
    }

    @Test func whatLooksLikeATokenIsMaskedThoughNobodyKnowsIt() {
        let mask = Mask(secrets: [], publicValues: ["1234567890-abcdefghijklmnop.apps.googleusercontent.com"])
        #expect(mask.shown("token ya29A0AfB_byD1234567890abcdef ends") == "token \(Mask.dots) ends")
        // Ids that a provider's support asks for, words, and the public id of the client stay.
        let trace = "Trace ID: 0f5c2d3e-1111-2222-3333-444455556666 the_redirect_uri_is_not_registered"
        #expect(mask.shown(trace) == trace)
        let client = "client 1234567890-abcdefghijklmnop.apps.googleusercontent.com"
        #expect(mask.shown(client) == client)
    }

    @Test func controlCharactersDoNotPass() {
        #expect(Mask(secrets: []).shown("a\r\nb\u{1B}[31mc\u{202E}d") == "a  b [31mcd")
    }

    // MARK: Bodies

    private func excerpt(_ body: String, type: String = "application/json", secrets: [String] = []) -> BodyExcerpt {
        BodyExcerpt(WireResponse(head: .init(status: .ok, headerFields: [.contentType: type]), body: Array(body.utf8)), mask: Mask(secrets: secrets))
    }

    @Test func ofJSONOnlyWhatSpeaksOfErrorsIsShown() {
        let shown = excerpt(
            #"{"error":"invalid_grant","access_token":"at-live","nested":{"refresh_token":"rt-live","message":"no"},"code":"abc123","otp":12345678}"#)
        #expect(
            shown.text
                == #"{"error":"invalid_grant","access_token":"••••••","nested":{"refresh_token":"••••••","message":"no"},"code":"••••••","otp":"••••••"}"#)
    }

    @Test func ofAFormOnlyWhatSpeaksOfErrorsIsShown() {
        let shown = excerpt("access_token=at-live&scope=read&error_description=no+such+code", type: "application/x-www-form-urlencoded")
        #expect(shown.text == "access_token=••••••&scope=read&error_description=no such code")
    }

    @Test(arguments: [
        ("access_token=at-live&token_type=mac", "text/plain"), (#"{"access_token":"at-live","a":1,"a":2}"#, "application/json"),
        (#"{"access_token":"at-live""#, "application/json"), ("<token><access_token>at-live</access_token></token>", "text/xml"), ("at-live", "text/plain"),
        ("at-live", "application/x-www-form-urlencoded"),
    ])
    func ofASuccessThatCannotBeTakenApartNothingIsShown(body: String, type: String) {  // SEC-52
        #expect(!excerpt(body, type: type).text.contains("at-live"))
    }

    @Test func ofAPageTitleAndWordsAreShown() {
        let page = excerpt(
            "<!doctype html><HEAD><TITLE>Sign in &amp; go</TITLE><style>p{}</style></HEAD><script>var t='at-live'</script><p>Please <b>sign</b> in</p>",
            type: "text/html")
        #expect(page.pageTitle == "Sign in & go")
        #expect(page.text == "Please sign in")
    }

    @Test(arguments: ["<title>a", "<script>", "<", "<script><b", "</", "<title>", ">", "<title></title><p", ""]) func brokenPagesEnd(_ html: String) {
        #expect(PageText(html).words.count <= html.count)
    }

    // MARK: Exchanges

    private func client(_ method: ClientAuthenticationMethod, change: (inout ProviderProfile) -> Void = { _ in }) throws -> Client {
        var profile = ProviderProfile()
        change(&profile)
        return Client(
            server: AuthorizationServer(tokenEndpoint: try EndpointURL("https://as.example/token?tenant=1")),
            registration: ClientRegistration(clientID: "client", clientSecret: ClientSecret("s3cret-value"), authentication: method), profile: profile)
    }

    private static let connection = DoctorTests.facts().connection

    private func kept(_ client: Client, _ grant: AuthorizationGrant, body: String, type: String = "application/json") throws -> Trouble {
        let request = try client.tokenRequest(grant)
        let response = WireResponse(head: .init(status: .badRequest, headerFields: [.contentType: type]), body: Array(body.utf8))
        do {
            _ = try client.tokenResponse(response, to: grant, now: 0)
            throw CancellationError()
        } catch let error as TokenError {
            return TroubleCapture(.init(request: request, response: response), client: client)
                .trouble(error, stage: .refresh, subject: "user-1", connection: Self.connection, at: DoctorTests.now)
        }
    }

    @Test(arguments: ClientAuthenticationMethod.allCases) func nothingSecretIsKept(_ method: ClientAuthenticationMethod) throws {
        let echo = #"{"error":"invalid_grant","error_description":"token rt-0-live of client with s3cret-value is gone","message":"czNjcmV0LXZhbHVl"}"#
        for format in [ProviderProfile.BodyFormat.form, .json, .query] {
            let client = try client(method) {
                $0.tokenRequestFormat = format
                $0.tokenHeaders = ["X-Api-Key": "header-key-value"]
                $0.tokenParams = ["audience": "api", "api_secret": "param-secret-value"]
                $0.tokenParameterNames = ["refresh_token": "renew_with"]
            }
            let trouble = try kept(client, .refreshToken(RefreshToken("rt-0-live"), scopes: []), body: echo)
            let text = "\(trouble)" + Doctor.evidence(trouble).sent + Doctor.evidence(trouble).received
            for marker in ["rt-0-live", "s3cret-value", "header-key-value", "param-secret-value", "czNjcmV0LXZhbHVl", "Y2xpZW50OnMzY3JldC12YWx1ZQ"] {
                #expect(!text.contains(marker), "\(marker) \(format) \(text)")
            }
            #expect(trouble.errorDescription?.contains("is gone") == true)
            #expect(trouble.request?.url == "https://as.example/token")
            #expect(trouble.request?.fields.contains(.init("audience", "api")) == true)
            #expect(trouble.request?.fields.contains(.init("renew_with", Mask.dots)) == true)
            #expect(trouble.subject == "user-1")
        }
    }

    @Test func aPasswordAndAUserNameAreNotKept() throws {
        let trouble = try kept(
            client(.clientSecretPost), .password(username: "alice@corp.example", password: Password("hunter2-x"), scopes: ["read"]),
            body: #"{"error":"invalid_grant","error_description":"alice@corp.example / hunter2-x is wrong"}"#)
        #expect(trouble.errorDescription == "\(Mask.dots) / \(Mask.dots) is wrong")
        #expect(trouble.request?.fields.contains(.init("grant_type", "password")) == true)
        #expect(!"\(trouble)".contains("alice") && !"\(trouble)".contains("hunter2"))
    }

    @Test func aTokenInAnAnswerThatIsTurnedDownIsNotKept() throws {
        let body = #"{"access_token":"at-live-1","token_type":"mac","refresh_token":"rt-live-1"}"#
        let trouble = try kept(client(.clientSecretBasic), .clientCredentials(scopes: []), body: body)
        #expect(!"\(trouble)".contains("at-live-1") && !"\(trouble)".contains("rt-live-1"))
    }
}

import OAuth
import Testing
import Vault

@testable import Broker

/// Authentication Instructions as values: what is a rule, what is refused, what goes into the request.
@Suite struct InstructionsTests {
    /// Rules as they would stand in a text.
    private static func lines(_ instructions: Instructions) -> [String] {
        instructions.rules.map { $0.place == .header ? "\($0.name): \($0.template)" : "?\($0.name)=\($0.template)" }
    }

    // MARK: Real texts

    /// What providers' instructions say: the lines that are rules, and the one that is none.
    static let providers: [(rules: [String], guidance: String)] = [
        (["Authorization: Bearer <token>"], ""), (["Authorization: OAuth <token>"], ""), (["Authorization: OAuth2 <token>"], ""),
        (["Authorization: Zoho-oauthtoken <token>"], ""), (["Authentication: bearer <token>"], ""), (["X-Auth-Token: <token>"], ""),
        (["Access-Token: <token>"], ""), (["OAuth-Token: <token>"], ""), (["access_token: <token>"], ""), (["X-Shopify-Access-Token: <token>"], ""),
        (["x-acs-dingtalk-access-token: <token>"], ""), (["?access_token=<token>"], ""),
        (["Authorization: Bearer <token>", "x-api-key: <client_id>"], ""), (["Authorization: Bearer <token>", "X-DIGIKEY-Client-Id: <client_id>"], ""),
        (["Authorization: OAuth <token>", "Client-ID: <client_id>"], ""),
        (
            ["Authorization: Bearer <token>", "Amazon-Advertising-API-ClientId: <client_id>"],
            "Also send Amazon-Advertising-API-Scope with the profile id."
        ),
        (["Authorization: Bearer <token>"], "Also send a User-Agent that names the app and a contact."),
        (["Authorization: Bearer <token>"], "Also send X-API-Key with the app's API key."),
        (["Authorization: Bearer <token>"], "Also send developer-token and, for manager accounts, login-customer-id."),
        (["Authorization: Bearer <token>"], "Also send apikey (the client id) as a query parameter."),
        (["Authorization: Bearer <token>"], "Also send LinkedIn-Version as YYYYMM."),
        (["Authorization: Bearer <token>"], "Also send xero-tenant-id with the tenant id (from the connections endpoint)."),
        (["?oauth_token=<token>"], "Also send v=YYYYMMDD as a query parameter."), (["?access_token=<token>"], "Also send v=5.199 as a parameter."),
        (["?access_token=<token>"], "Also send oauth_consumer_key (the client id) and openid as query parameters."),
        ([], "No API: use the id_token; the access token opens nothing"),
        (
            [],
            "Use the platform's secret key as the bearer token, with Stripe-Account naming the connected account (token response member stripe_user_id)."
        ),
    ]

    @Test(arguments: providers)
    func whatProvidersSayCompilesToWhatAReaderWouldDo(rules: [String], guidance: String) throws {
        let instructions = try Instructions((rules + (guidance.isEmpty ? [] : [guidance])).joined(separator: "\n"))
        #expect(Self.lines(instructions) == rules)
        #expect(instructions.guidance == guidance)
    }

    @Test func everyPresetCompiles() throws {
        for preset in Preset.all {
            let instructions = try Instructions(preset.document["authentication_instructions"]?.string ?? "")
            // These two have no API that takes the token.
            #expect(instructions.rules.isEmpty == ["apple", "stripe"].contains(preset.id), "\(preset.id)")
            #expect(preset.putsTokenInQuery == instructions.rules.contains { $0.place == .query }, "\(preset.id)")
        }
        func preset(_ text: JSONValue) -> Preset { Preset(id: "p", name: "P", document: ["authentication_instructions": text]) }
        #expect(preset("?access_token=<token>").putsTokenInQuery)
        #expect(!preset("?access_token").putsTokenInQuery)
        #expect(!preset(.null).putsTokenInQuery)
    }

    @Test(arguments: [
        ("", ["Authorization: Bearer <token>"], ""), (" \n\t\r\n", ["Authorization: Bearer <token>"], ""),
        ("- `Authorization: Bearer <token>`.", ["Authorization: Bearer <token>"], ""), ("* X-Key: <token>", ["X-Key: <token>"], ""),
        ("1. `X-Api-Key: <client_id>`\r\n2) ?access_token=<token>\r\n", ["X-Api-Key: <client_id>", "?access_token=<token>"], ""),
        (#""Authorization": "Bearer <token>","#, ["Authorization: Bearer <token>"], ""), (#"'X-Key: <token>'"#, ["X-Key: <token>"], ""),
        ("**Authorization**: `Bearer <token>`", ["Authorization: Bearer <token>"], ""), ("\u{201C}X-Key: <token>\u{201D}", ["X-Key: <token>"], ""),
        ("```\nX-Key: <token>\n```", ["X-Key: <token>"], "```\n```"), ("\tX-Key:<token>  ", ["X-Key: <token>"], ""),
        ("First.\n\nX-Key: <token>\n  Indented.\n\n", ["X-Key: <token>"], "First.\n\n  Indented."),
        (
            #"Authorization: OAuth oauth_token="<token>", client="<client_id>""#,
            [#"Authorization: OAuth oauth_token="<token>", client="<client_id>""#], ""
        ),
        ("X-Base: <token_response.instance_url>/v1", ["X-Base: <token_response.instance_url>/v1"], ""), ("?k=Bearer%20<token>", ["?k=Bearer%20<token>"], ""),
        ("Authorization: <token_type> <token>", ["Authorization: <token_type> <token>"], ""),
    ])
    func whatATextPutsAroundALineDoesNotCount(text: String, rules: [String], guidance: String) throws {
        let instructions = try Instructions(text)
        #expect(Self.lines(instructions) == rules)
        #expect(instructions.guidance == guidance)
    }

    @Test(arguments: [
        "Also send X-Foo: <something in words>", "Accept: application/json", "Send Authorization: Bearer <token> with each request.",
        "Note: <token> is the one of the user", "Header: X-Key <token>", "Example: <token>", "Token: put the <token> into the header, please",
        "https://api.example/?access_token=<token>", "Docs: <https://docs.example/auth>", "X-Docs: <https://docs.example/auth>", "<token>: the access token",
        "access_token=<token>", "&access_token=<token>", "? what is <token>", "Rate: 100%", "Limit: < 5 and > 3", "Für Anfragen: <token>",
        "備考: <token>", "X-Key:", ":", "?", "?=", "-", "`", "curl -H 'Authorization: Bearer <token>'",
    ])
    func everythingElseIsGuidance(text: String) throws {
        let instructions = try Instructions(text)
        #expect(instructions.rules.isEmpty)
        #expect(instructions.guidance == text)
    }

    // MARK: What cannot work

    /// A text, the line that is named, and a part of the reason.
    static let refused: [(text: String, line: Int, reason: String)] = [
        // SEC-92
        ("Authorization: Bearer <token:1>", 1, "cannot be cut"), ("Authorization: Bearer <token[0:4]>", 1, "cannot be cut"),
        ("Authorization: Bearer <token|upper>", 1, "cannot be cut"), ("Authorization: Bearer %.1s", 1, "angle brackets"),
        ("Authorization: %.1s<token>", 1, "holds a %"), ("?a=%.1s<token>", 1, "unencoded"), ("Authorization: <token><token>", 1, "twice"),
        ("X-Key: <token>,<client_id>,<token>", 1, "twice"), ("Host: <token>", 1, "Host cannot be set"), ("content-length: <token>", 1, "cannot be set"),
        ("Content_Length: <client_id>", 1, "cannot be set"), ("Transfer-Encoding: <token>", 1, "cannot be set"), ("Connection: <token>", 1, "cannot be set"),
        ("TE: <token>", 1, "cannot be set"), ("Trailer: <token>", 1, "cannot be set"), ("Upgrade: <token>", 1, "cannot be set"),
        ("Keep-Alive: <token>", 1, "cannot be set"), ("Proxy-Authorization: <token>", 1, "cannot be set"), ("Expect: <token>", 1, "cannot be set"),
        ("Cookie: session=<token>", 1, "cannot be set"), ("Set-Cookie: <token>", 1, "cannot be set"), ("Grantee-Subject: <token>", 1, "cannot be set"),
        ("grantee_subject: <token>", 1, "cannot be set"), ("X-Forwarded-Host: <callback.shop>", 1, "cannot be set"),
        ("X-HTTP-Method-Override: <callback.method>", 1, "cannot be set"), (":path: /<token>", 1, "request line"), (":authority: <token>", 1, "request line"),
        ("X-<token>: 1", 1, "in the name"), ("<token>: x", 1, "in the name"), ("?<token>=1", 1, "in the name"), ("?a<client_id>=<token>", 1, "in the name"),
        // SEC-79
        ("X-Key: a\r<token>", 1, "control character"), ("X-Key: a\u{0}<token>", 1, "control character"), ("X-Key: <token>\u{1B}[0m", 1, "control character"),
        ("Some guidance.\u{7}", 1, "control character"), ("X-K\u{E9}y: <token>", 1, "ASCII"), ("Authorization: B\u{E4}rer <token>", 1, "ASCII"),
        ("X-Key: <token\u{301}>", 1, "ASCII"),
        // Placeholders
        ("X-Key: <something in words>", 1, "<something in words> is no placeholder; there are <token>, <token_type>"),
        ("Authorization: Bearer <access_token>", 1, "write <token>"), ("Authorization: Bearer <TOKEN>", 1, "write <token>"),
        ("Authorization: Bearer < token >", 1, "write <token>"), ("Authorization: Bearer {token}", 1, "<token>"), ("X-Key: ${TOKEN}", 1, "<token>"),
        ("X-App: <app id>", 1, "write <client_id>"), ("X-Key: <token_response.>", 1, "no placeholder"), ("X-Key: <callback>", 1, "no placeholder"),
        ("X-Key: <callback.a/b>", 1, "cannot be cut"), ("X-Key: <token_response.refresh_token>", 1, "no other one is sent"),
        ("X-Key: <token_response.data.access_token>", 1, "the access token is <token>"), ("X-Key: <token>>", 1, "belongs to no placeholder"),
        ("X-Key: <<token>>", 1, "belongs to no placeholder"), ("X-Key: <token", 1, "<token>"),
        // Queries, and rules beside each other
        ("?a=<token>&b=1", 1, "one parameter a line"), ("?a=<token> (x)", 1, "write a space as %20"), ("?a=<token>#b", 1, "unencoded"),
        ("?a[0]=<token>", 1, "letters, digits"), ("?a&b=<token>", 1, "letters, digits"),
        ("Guidance.\nX-Key: <token>\nx_key: <client_id>", 3, "line 2 sets already"), ("?a=<token>\n?a=<client_id>", 2, "line 1 sets already"),
        (String(repeating: "a", count: 4097), 0, "longer than 4096 bytes"), ((1...21).map { "X-\($0): <token>" }.joined(separator: "\n"), 21, "more than 20"),
    ]

    @Test(arguments: refused)
    func whatCannotWorkIsRefusedWithLineAndReason(text: String, line: Int, reason: String) {
        let error = #expect(throws: InstructionsError.self) { try Instructions(text) }
        #expect(error?.lines.map(\.number) == [line] as [Int])
        #expect(error?.lines.first?.reason.contains(reason) == true, "\(error?.lines.first?.reason ?? "")")
    }

    @Test func everyWrongLineIsNamedAndNoSecretIsRepeated() {
        let pasted = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl"
        let error = #expect(throws: InstructionsError.self) { try Instructions("Host: <token>\nX-Key: <token>\nAuthorization: Bearer <\(pasted)>") }
        #expect(error?.lines.map(\.number) == [1, 3] as [Int])
        #expect(error?.lines.contains { $0.reason.contains("eyJ") } == false)
    }

    // MARK: Filling

    private func fill(
        _ text: String, token: String = "t", type: String = "Bearer", clientID: String? = "client", captured: [String: String] = [:]
    ) throws -> [String] {
        try Instructions(text).filled(token: token, tokenType: type, clientID: clientID, captured: captured)
            .map { "\($0.place.rawValue) \($0.name)=\($0.value)" }
    }

    @Test func valuesStandWhereTheTemplateHasThem() throws {
        #expect(try fill("", token: "a+b/c=") == ["header Authorization=Bearer a+b/c="])
        #expect(
            try fill("?k=x%20<token>\nX-Client: <client_id>", token: "a+b/c=\u{E9}", clientID: "c d") == [
                "query k=x%20a%2Bb%2Fc%3D%C3%A9", "header X-Client=c d",
            ])
        #expect(try fill("X-A: <token_response.a>-<callback.b>", captured: ["token_response.a": "1", "callback.b": "2"]) == ["header X-A=1-2"])
        #expect(try fill("?k=<token>", token: "Az09-._~") == ["query k=Az09-._~"])
        // What is in a value is no placeholder.
        #expect(try fill("X-A: <client_id> <token>", token: "<client_id>", clientID: "<token>") == ["header X-A=<token> <client_id>"])
    }

    @Test(arguments: [("bearer", "Bearer"), ("BEARER", "Bearer"), ("Bearer", "Bearer"), ("", "Bearer"), ("MAC", "MAC"), ("user", "user")])
    func bearerIsSpelledSo(sent: String, written: String) throws {
        #expect(try fill("X-A: <token_type>", type: sent) == ["header X-A=" + written])
    }

    @Test(arguments: ["", " t", "t\t", "a\r\nX-Evil: 1", "a\nb", "a\rb", "a\u{0}b", "a\u{7F}b", "a\u{1B}b", "tök", "a\u{2028}b"])
    func aValueThatNoHeaderCanCarryIsRefused(value: String) throws {  // SEC-79
        let text = "Guidance.\nX-A: <token>\nX-B: <client_id>\nX-C: <token_response.a>\nX-D: <token_type>x"
        func lines(token: String = "t", type: String = "Bearer", clientID: String = "c", captured: String = "v") throws -> [Int]? {
            let instructions = try Instructions(text)
            let error = #expect(throws: InstructionsError.self) {
                try instructions.filled(token: token, tokenType: type, clientID: clientID, captured: ["token_response.a": captured])
            }
            for line in error?.lines ?? [] where !value.isEmpty { #expect(!line.reason.contains(value)) }
            return error?.lines.map(\.number)
        }
        #expect(try lines(token: value) == [2] as [Int])
        #expect(try lines(clientID: value) == [3] as [Int])
        #expect(try lines(captured: value) == [4] as [Int])
        if !value.isEmpty { #expect(try lines(type: value) == [5] as [Int]) }
    }

    @Test func aControlCharacterIsRefusedInAQueryToo() throws {
        for value in ["", "a\u{0}", "a\r\n", "a\tb"] { #expect(throws: InstructionsError.self) { try fill("?a=<token>", token: value) } }
    }

    @Test func aMissingValueIsNamed() throws {
        func reason(_ text: String) -> String? {
            #expect(throws: InstructionsError.self) { try fill(text, clientID: nil) }?.lines.first?.reason
        }
        #expect(reason("X-A: <token_response.instance_url>")?.hasPrefix("<token_response.instance_url> has no value") == true)
        #expect(reason("X-A: <client_id>")?.hasPrefix("<client_id> has no value") == true)
    }

    // MARK: Preview, prompt, snippets

    private func connection(_ change: (inout ConnectionSettings) -> Void = { _ in }) -> Connection {
        var settings = ConnectionSettings(name: "Shop API", oauth: OAuthSettings(grantType: .authorizationCode))
        settings.baseURL = "https://api.example/v1/"
        settings.oauth.clientID = "client-1"
        change(&settings)
        let now = Timestamp(milliseconds: 0)
        return Connection(
            uid: UID(text: "019a0000-0000-7000-8000-000000000000"), id: "shop", settings: settings, clientSecret: Sealed(bytes: Array("c1ient-s3cret".utf8)),
            health: .init(state: .ok, since: now), createdAt: now, updatedAt: now)
    }

    private func preview(_ change: (inout ConnectionSettings) -> Void) throws -> String {
        let settings = connection(change).settings
        return RequestPreview.text(settings, try Instructions(settings.authenticationInstructions))
    }

    @Test func thePreviewIsTheRequestWithTheTokenMasked() throws {
        #expect(
            try preview { $0.headers = ["X-Version": "7", "Accept": "a/b"] } == """
                GET https://api.example/v1/… HTTP/1.1
                Host: api.example
                Accept: a/b
                X-Version: 7
                Authorization: Bearer ***
                """)
        #expect(
            try preview {
                $0.baseURL = "https://{tenant}.{callback.shop}.example:8443"
                $0.variables = ["tenant": "one"]
                $0.oauth.clientID = "a b"
                $0.authenticationInstructions = "?access_token=x-<token>\n?c=<client_id>\nX-C: <client_id> <token_response.u>\nX-T: <token_type>"
            } == """
                GET https://one.{callback.shop}.example:8443/…?access_token=x-***&c=a%20b HTTP/1.1
                Host: one.{callback.shop}.example:8443
                X-C: a b {token_response.u}
                X-T: Bearer
                """)
        #expect(try preview { $0.baseURL = nil } == "GET {base_url}/… HTTP/1.1\nAuthorization: Bearer ***")
        #expect(
            try preview { $0.baseURL = "{token_response.instance_url}/services" } == """
                GET {token_response.instance_url}/services/… HTTP/1.1
                Host: {token_response.instance_url}
                Authorization: Bearer ***
                """)
    }

    private func prompt(subject: String = "", _ change: (inout ConnectionSettings) -> Void = { _ in }) throws -> String {
        let connection = connection(change)
        let instructions = try Instructions(connection.settings.authenticationInstructions)
        return AgentPrompt(connection, instructions, publicURL: "https://grantee.example", subject: subject).text
    }

    @Test func thePromptSaysHowToCallTheAPI() throws {
        let closed = try prompt {
            $0.authenticationInstructions = "Authorization: Bearer <token>\nX-Api-Key: <client_id>\nDates are UTC."
            $0.headers = ["X-Version": "header-value"]
        }
        for part in [
            "# How to call Shop API", "https://api.example/v1\n", "GET https://grantee.example/gateway/shop/PATH", "Authorization: Bearer GRANTEE_API_KEY",
            "Grantee-Subject: SUBJECT", "https://grantee.example/mcp",
            #"call_api {"connection": "shop", "method": "GET", "path": "/PATH", "subject": "SUBJECT"}"#,
            "https://grantee.example/v1/connections/shop/token?subject=SUBJECT", "    Authorization: Bearer <token>\n    X-Api-Key: <client_id>\n",
            "<client_id> is client-1.", "Dates are UTC.", "X-Version", "not admitted to this connection yet", "- not_connected: ",
            "- reauthorization_required: ", "- forbidden: ", "- rate_limited: ", "Retry-After",
        ] {
            #expect(closed.contains(part), "\(part)")
        }
        // SEC-127
        for secret in ["header-value", "s3cret"] { #expect(!closed.contains(secret)) }

        let open = try prompt(subject: "user-42&x") {
            $0.agentAccess.enabled = true
            $0.agentAccess.methods = ["GET", "POST"]
            $0.agentAccess.paths = ["/repos/**", "/user"]
        }
        for part in [
            "- Methods: GET, POST", "/repos/**, /user", "such as Accept and Content-Type: none", "Grantee-Subject: user-42&x", "token?subject=user-42%26x",
        ] {
            #expect(open.contains(part), "\(part)")
        }
        #expect(!open.contains("not admitted"))

        let machine = try prompt { $0.oauth.grantType = .clientCredentials }
        #expect(machine.contains("do not send Grantee-Subject"))
        #expect(!machine.contains("SUBJECT"))
        #expect(try prompt { $0.authenticationInstructions = "Ask somebody." }.contains("have no line that says how a request carries the token"))
    }

    @Test func snippetsForTheGatewayHoldNoToken() {
        let snippets = Snippets.gateway(connection(), publicURL: "https://grantee.example", subject: "it's")
        #expect(
            snippets.curl == #"""
                curl --silent --show-error --include \
                  --header "Authorization: Bearer ${GRANTEE_API_KEY}" \
                  --header 'Grantee-Subject: it'\''s' \
                  'https://grantee.example/gateway/shop/'

                """#)
        #expect(
            snippets.javascript == #"""
                async function main() {
                  const response = await fetch("https://grantee.example/gateway/shop/", {
                    headers: {
                      "Authorization": "Bearer " + process.env.GRANTEE_API_KEY,
                      "Grantee-Subject": "it's",
                    },
                    redirect: "manual",
                  });
                  console.log(response.status, await response.text());
                }

                main().catch((error) => {
                  console.error(error);
                  process.exitCode = 1;
                });

                """#)
        #expect(
            snippets.python.hasSuffix(
                #"""
                status, body = call(
                    "https://grantee.example/gateway/shop/",
                    {
                        "Authorization": "Bearer " + os.environ["GRANTEE_API_KEY"],
                        "Grantee-Subject": "it's",
                    },
                )
                print(status, body)

                """#))
        #expect(
            snippets.swift.hasSuffix(
                #"""
                let answer = try await call(
                    "https://grantee.example/gateway/shop/",
                    [
                        "Authorization": "Bearer " + variable("GRANTEE_API_KEY"),
                        "Grantee-Subject": "it's",
                    ])
                print(answer.status, answer.body)

                """#))
    }

    @Test func snippetsForATokenApplyTheRules() throws {
        let connection = connection {
            $0.baseURL = "https://{callback.shop}.example/v1"
            $0.oauth.clientID = #"a$b"\"#
            $0.authenticationInstructions = "Authorization: <token_type> <token>\n?k=a%20<token>\nX-C: <client_id>"
        }
        let instructions = try Instructions(connection.settings.authenticationInstructions)
        let snippets = Snippets.token(connection, instructions, publicURL: "https://grantee.example", subject: "a&b")
        let url = "https://grantee.example/v1/connections/shop/token?subject=a%26b"
        for text in [snippets.curl, snippets.javascript, snippets.python, snippets.swift] { #expect(text.contains(url)) }
        for part in [
            #"--header "Authorization: ${token_type} ${token}""#, #"--header 'X-C: a$b"\'"#, #"--data-urlencode "k=a ${token}""#,
            #""https://${CALLBACK_SHOP:?is not set; it is a value of the grant}.example/v1/""#,
        ] {
            #expect(snippets.curl.contains(part), "\(part)")
        }
        for part in [
            #"fetch("https://" + process.env.CALLBACK_SHOP + ".example/v1/?k=a%20" + encodeURIComponent(token), {"#,
            #""Authorization": tokenType + " " + token,"#,
            #""X-C": "a$b\"\\","#,
        ] {
            #expect(snippets.javascript.contains(part), "\(part)")
        }
        for part in [
            #""https://" + os.environ["CALLBACK_SHOP"] + ".example/v1/?k=a%20" + urllib.parse.quote(token, safe=""),"#,
            #""Authorization": token_type + " " + token,"#,
        ] {
            #expect(snippets.python.contains(part), "\(part)")
        }
        for part in [#""https://" + variable("CALLBACK_SHOP") + ".example/v1/?k=a%20" + encoded(token),"#, #""Authorization": tokenType + " " + token,"#] {
            #expect(snippets.swift.contains(part), "\(part)")
        }
    }
}

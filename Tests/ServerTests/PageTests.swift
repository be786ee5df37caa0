import HTTPTypes
import OAuth
import RehearsalProvider
import TestSupport
import Testing

@testable import Server

/// What people's browsers are shown, and what other pages cannot make of it.
@Suite struct PageTests {
    // MARK: Headers

    /// The directives of a policy by name.
    private func directives(_ policy: String?) -> [String: String] {
        var found: [String: String] = [:]
        for directive in (policy ?? "").split(separator: ";") {
            let words = directive.split(separator: " ")
            if let name = words.first { found[String(name)] = words.dropFirst().joined(separator: " ") }
        }
        return found
    }

    private func expectPage(
        _ what: String, _ page: Visitor.Page, _ status: Int, referrer: String = "no-referrer", sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(page.status == status, "\(what): \(page.status)", sourceLocation: sourceLocation)
        let policy = directives(page.headers[.contentSecurityPolicy])
        for name in ["default-src", "frame-ancestors", "base-uri"] {
            #expect(policy[name] == "'none'", "\(what): \(name)", sourceLocation: sourceLocation)
        }
        #expect(policy["style-src"] == "'self'" && policy["form-action"] == "'self'", "\(what)", sourceLocation: sourceLocation)
        #expect(policy["script-src"] == nil, "\(what)", sourceLocation: sourceLocation)
        let expected: [(HTTPField.Name, String)] = [
            (.contentType, "text/html; charset=utf-8"), (.cacheControl, "no-store"), (.xContentTypeOptions, "nosniff"), (.named("Referrer-Policy"), referrer),
            (.named("Cross-Origin-Opener-Policy"), "unsafe-none"),
        ]
        for (name, value) in expected { #expect(page.headers[name] == value, "\(what): \(name)", sourceLocation: sourceLocation) }
        // One document with one style sheet of ours: nothing else is fetched or run.
        let body = page.body.lowercased()
        for forbidden in ["<script", "<style", "<img", "<iframe", "\"javascript:", " style=", " onerror=", " onload=", " onclick="] {
            #expect(!body.contains(forbidden), "\(what): \(forbidden)", sourceLocation: sourceLocation)
        }
        #expect(body.hasPrefix("<!doctype html>") && body.contains("href=\"/assets/grantee.css\""), "\(what)", sourceLocation: sourceLocation)
    }

    @Test func everyPageHasAStrictPolicyAndIsKeptNowhere() async throws {  // SEC-28, SEC-102, SEC-103
        try await Stage.with { stage in
            let url = stage.server.url
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            try await stage.add(stage.provider.connection("typed", "password"))
            let visitor = Visitor()
            let home = try await visitor.request(.get, url + "/")
            #expect(home.status == 303 && home.headers[.location] == url + "/console")
            let link = try await stage.begin("app", ["subject": "user-1"])
            expectPage("connect page", try await visitor.open(link.url), 200)
            expectPage("open result", try await visitor.open(url + "/connect/result/" + link.session), 200)
            expectPage("denied", try await visitor.connect(link.url, approve: false), 400)
            expectPage("result", try await visitor.connect(link.url), 200)
            expectPage("used link", try await visitor.open(link.url), 410)
            expectPage("used continue", try await visitor.open(link.url + "/continue"), 409)
            expectPage("unknown link", try await visitor.open(url + "/connect/unknown"), 404)
            expectPage("unknown result", try await visitor.open(url + "/connect/result/cs_unknown"), 404)
            expectPage("callback of nobody", try await visitor.open(url + "/oauth/callback/app?code=a&state=b"), 400)
            expectPage("callback nowhere", try await visitor.open(url + "/oauth/callback/nowhere?code=a&state=b"), 400)
            let form = try await stage.begin("typed", ["subject": "user-1"])
            // A form tells its own page where it comes from, and nobody else.
            expectPage("form", try await visitor.open(form.url), 200, referrer: "same-origin")
            expectPage("form again", try await visitor.connect(form.url, password: "wrong"), 422, referrer: "same-origin")
            expectPage("form from elsewhere", try await visitor.request(.post, form.url, form: [("a", "b")], headers: [.origin: "https://evil.example"]), 403)
            let foreign = try await visitor.request(.get, link.url, headers: [.named("Host"): "evil.example"])
            expectPage("another host", foreign, 421)

            let style = try await visitor.open(url + "/assets/grantee.css")
            #expect(style.status == 200)
            #expect(style.headers[.contentType] == "text/css; charset=utf-8")
            #expect(!style.body.contains("url(") && !style.body.contains("@import"))
        }
    }

    @Test func everyAnswerSaysWhatItIsAndForWhom() async throws {  // SEC-103
        func https(_ configuration: inout ServerConfiguration) { configuration.publicURL = "https://grantee.example" }
        try await RunningServer.with(https) { server in
            let known = Routes.all.map { ($0.method.rawValue, filled($0.pattern)) }
            let others = [("GET", "/nowhere"), ("PUT", "/v1/keys"), ("GET", "/v1/keys?x=1"), ("DELETE", "/v1/keys/key_none")]
            for (method, path) in known + others {
                for key in ["", server.adminKey] {
                    let fields = ["Content-Type: application/json"] + (key.isEmpty ? [] : ["Authorization: Bearer \(key)"])
                    let answer = try await server.raw(method, path, host: "grantee.example", fields: fields)
                    #expect(answer.field("X-Content-Type-Options") == "nosniff", "\(answer.status) \(method) \(path)")
                    #expect(answer.field("Cross-Origin-Resource-Policy") == "same-origin", "\(answer.status) \(method) \(path)")
                    #expect(answer.field("Strict-Transport-Security")?.hasPrefix("max-age=31536000") == true, "\(answer.status) \(method) \(path)")
                    if path.hasPrefix("/v1/") { #expect(answer.field("Cache-Control") == "no-store", "\(answer.status) \(method) \(path)") }
                }
            }
        }
    }

    // MARK: Hostile text

    private static let hostile = #"<script>alert(1)</script>"'><img src=x onerror=alert(2)>&{{7*7}}"#

    /// Whether the hostile text is on the page, and only as text.
    private func expectInert(_ what: String, _ page: Visitor.Page, sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(page.body.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;"), "\(what): \(page.body)", sourceLocation: sourceLocation)
        #expect(!page.body.contains("<script") && !page.body.contains("<img") && !page.body.contains("\"'>"), "\(what)", sourceLocation: sourceLocation)
        #expect(page.body.contains("{{7*7}}"), "\(what)", sourceLocation: sourceLocation)
    }

    @Test func namesAreShownAsText() async throws {  // SEC-104
        try await Stage.with { stage in
            for (id, grantType) in [("app", "authorization_code"), ("typed", "password")] {
                var document = stage.provider.connection(id, grantType).object ?? [:]
                document["name"] = .string(Self.hostile)
                try await stage.add(.object(document))
            }
            let key = try await stage.server.makeKey(["name": .string(Self.hostile), "role": "use"])
            let subject = #"<svg/onload=alert(3)>"'&"#
            let visitor = Visitor()
            for id in ["app", "typed"] {
                let link = try await stage.begin(id, ["subject": .string(subject)], key: .other(key))
                let page = try await visitor.open(link.url)
                expectInert(id, page)
                #expect(page.body.contains("&lt;svg/onload=alert(3)&gt;"))
                #expect(!page.body.contains("<svg"))
                expectInert("result of \(id)", try await visitor.open(stage.server.url + "/connect/result/" + link.session))
                guard id == "typed" else { continue }
                let again = try await visitor.open(link.url, form: [("username", Self.hostile), ("password", "wrong")])
                #expect(again.status == 422)
                expectInert("form", again)
                // With a combining mark behind it a quote is another Character, and to a browser a quote all the same.
                let marked = try await visitor.open(link.url, form: [("username", "x\"\u{301} onfocus=alert(4)"), ("password", "wrong")])
                let bytes = Array(marked.body.utf8)
                #expect(bytes.firstRange(of: Array("x&quot;\u{301} onfocus".utf8)) != nil)
                #expect(bytes.firstRange(of: Array("\"\u{301}".utf8)) == nil)
            }
        }
    }

    @Test(
        "What the provider says is shown as one line of text (SEC-25)",
        arguments: [
            hostile, "a\r\nSet-Cookie: x=y\r\n\r\n<script>", "\u{1B}[31mred\u{1B}[0m <script>", "\u{202E}evil\u{2066} <script>",
            "<a href=\"javascript:x\">click</a>", String(repeating: "long ", count: 1000) + "<script>",
        ])
    func providerText(text: String) async throws {
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            let query = "error=access_denied&state={state}&error_uri=https%3A%2F%2Fevil.example%2F&error_description=" + Form.encode(text)
            try await stage.faults("conf", ["fault": "redirect_query", "value": .string(query), "times": 1])
            let link = try await stage.begin("app", ["subject": "user-1"])
            let page = try await Visitor().connect(link.url)
            #expect(page.status == 400)
            #expect(!page.body.contains("evil.example"))
            for tag in ["<script", "<img", "<a href=\"javascript"] { #expect(!page.body.contains(tag)) }
            #expect(!page.body.unicodeScalars.contains { $0.value == 0x1B || $0.value == 0x202E || $0.value == 0x2066 || $0.value == 0x0D })
            #expect(page.body.utf8.count < 4000)
            #expect(page.headers[.setCookie] == nil)
            // In the log there is neither.
            #expect(!stage.server.log.text.contains("<script>") && !stage.server.log.text.contains("alert(1)"))
        }
    }

    @Test func aTokenEndpointsWordsAreOneLineInAProblem() async throws {  // SEC-25
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "client_credentials", client: "machine", secret: "machine-secret"))
            let said = "<script>\u{202E}\r\n\u{1B}[0m" + String(repeating: "long ", count: 1000)
            let body: JSONValue = ["error": "invalid_scope", "error_description": .string(said), "error_uri": "https://evil.example/"]
            let text = String(decoding: body.serialized(), as: UTF8.self)
            try await stage.faults("machine", ["fault": "answer", "value": ["status": 400, "body": .string(text)]])
            let answer = try await stage.token("app")
            #expect(answer.isProblem("provider_error", 502))
            let shown = try #require(answer["provider"]?["error_description"]?.string)
            #expect((1...200).contains(shown.unicodeScalars.count))
            #expect(shown.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value < 0x7F })
            #expect(!answer.text.contains("evil.example"))
            #expect(!stage.server.log.text.contains("<script>"))
        }
    }

    // MARK: Links

    @Test func thePageNamesConnectionApplicationAndSubject() async throws {  // SEC-03
        try await Stage.with { stage in
            var document = stage.provider.connection("app", "authorization_code").object ?? [:]
            document["name"] = "Rehearsal API"
            try await stage.add(.object(document))
            let key = try await stage.server.makeKey(["name": "Calendar of Example", "role": "use"])
            let page = try await Visitor().open(try await stage.begin("app", ["subject": "user-42"], key: .other(key)).url)
            for words in ["Rehearsal API", "Calendar of Example", "user-42"] { #expect(page.body.contains(words)) }
            let shared = try await Visitor().open(try await stage.begin("app", key: .other(key)).url)
            #expect(shared.body.contains("shared by the whole app"))
        }
    }

    @Test func lookingConsumesNothing() async throws {  // SEC-17, SEC-26
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            let link = try await stage.begin("app", ["subject": "user-1"])
            // A mail scanner opens everything that it finds.
            for _ in 0..<3 {
                let scanner = Visitor()
                let head = try await scanner.request(.head, link.url)
                #expect(head.status == 200)
                #expect(head.body.isEmpty)
                #expect(try await scanner.open(link.url).status == 200)
                let ahead = try await scanner.request(.head, link.url + "/continue")
                #expect(ahead.status == 200)
                #expect(ahead.headers[.location] == nil && ahead.headers[.setCookie] == nil)
                #expect(try await scanner.request(.get, link.url + "/continue").status == 303)
            }
            let visitor = Visitor()
            let back = try await stage.consent(to: try await stage.leave(link, by: visitor), by: visitor)
            for _ in 0..<2 {
                let head = try await visitor.request(.head, back)
                #expect(head.status == 200)
                #expect(head.headers[.location] == nil)
            }
            #expect(try await stage.provider.tokenRequests("conf").isEmpty)
            #expect(try await visitor.open(back).status == 200)
            #expect(try await stage.session(link)["state"]?.string == "connected")
        }
    }

    @Test func aTicketIsATicketAndNothingElse() async throws {  // SEC-17
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            let link = try await stage.begin("app", ["subject": "user-1"])
            let other = try await stage.begin("app", ["subject": "user-2"])
            #expect(link.ticket != other.ticket)
            #expect(Base64URL.decode(link.ticket)?.count ?? 0 >= 16)
            #expect(try await stage.server.send(.get, "/v1/connections", key: .other(link.ticket)).status == 401)
            #expect(try await stage.server.send(.get, "/v1/connect-sessions/" + link.ticket).status == 404)
            #expect(try await Visitor().open(stage.server.url + "/connect/" + link.session).status == 404)
            #expect(try await Visitor().open(stage.server.url + "/connect/result/" + link.ticket).status == 404)
            let visitor = Visitor()
            _ = try await visitor.connect(link.url)
            #expect(try await stage.grant("app", "user-1").status == 200)
            #expect(try await stage.grant("app", "user-2").status == 404)
            // Used, it begins nothing.
            let before = try await visitor.request(.get, link.url + "/continue")
            #expect(before.status == 409)
            #expect(before.headers[.location] == nil)
            // The other one is as it was.
            _ = try await visitor.connect(other.url)
            #expect(try await stage.grant("app", "user-2").status == 200)
        }
    }

    @Test func everyTripHasAStateAndAVerifierOfItsOwn() async throws {  // SEC-01, SEC-04
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            let link = try await stage.begin("app", ["subject": "user-1"])
            let visitor = Visitor()
            var seen: Set<String> = []
            for _ in 0..<20 {
                let sent = try parameters(of: try await stage.leave(link, by: visitor))
                #expect(sent["code_challenge_method"] == "S256")
                #expect(sent["response_type"] == "code")
                #expect(Base64URL.decode(sent["state"] ?? "")?.count ?? 0 >= 16)
                seen.formUnion([sent["state"] ?? "", sent["code_challenge"] ?? ""])
            }
            #expect(seen.count == 40)
        }
    }

    // MARK: The binding cookie

    private func attributes(_ cookie: String?) -> (name: String, value: String, attributes: Set<String>) {
        let parts = (cookie ?? "").split(separator: ";").map { $0.drop { $0 == " " } }
        let pair = (parts.first ?? "").split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        return (pair.first ?? "", pair.count > 1 ? pair[1] : "", Set(parts.dropFirst().map(String.init)))
    }

    @Test func theBindingCookieIsForThisServerAlone() async throws {  // SEC-02
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            let link = try await stage.begin("app", ["subject": "user-1"])
            let port = try EndpointURL(stage.server.url).effectivePort
            let first = attributes(try await Visitor().open(link.url).headers[.setCookie])
            #expect(first.name == "grantee-binding-\(port)")
            #expect(first.attributes == ["Path=/", "Max-Age=1800", "HttpOnly", "SameSite=Lax"])
            #expect(Base64URL.decode(first.value)?.count == 32)
            let second = attributes(try await Visitor().open(link.url).headers[.setCookie])
            #expect(second.value != first.value)
            #expect(first.value != link.ticket)
            // One that is there is kept, one that is none is replaced.
            let path = "/connect/" + link.ticket
            let kept = try await stage.server.raw("GET", path, fields: ["Cookie: \(first.name)=\(first.value)"])
            #expect(attributes(kept.field("Set-Cookie")).value == first.value)
            for bad in ["", "short", String(repeating: "A", count: 44), String(repeating: "!", count: 43), String(repeating: "B", count: 43)] {
                let answer = try await stage.server.raw("GET", path, fields: ["Cookie: \(first.name)=\(bad)"])
                let made = attributes(answer.field("Set-Cookie")).value
                #expect(made != bad && Base64URL.decode(made)?.count == 32, "\(bad)")
            }
        }
    }

    @Test func onHTTPSTheBindingCookieIsAHostCookie() async throws {  // SEC-02
        func https(_ configuration: inout ServerConfiguration) { configuration.publicURL = "https://grantee.example" }
        try await RunningServer.with(https) { server in
            let document: JSONValue = [
                "id": "app", "name": "App",
                "oauth": [
                    "grant_type": "authorization_code", "authorization_url": "https://as.example/authorize?tenant=1", "token_url": "https://as.example/token",
                    "client_id": "client",
                ],
            ]
            let made = try await server.send(.post, "/v1/connections", body: document)
            #expect(made["callback_url"]?.string == "https://grantee.example/oauth/callback/app")
            let link = try await server.send(.post, "/v1/connections/app/connect", body: ["subject": "user-1"]).string("connect_url")
            #expect(link.hasPrefix("https://grantee.example/connect/"))
            let path = link.replacing("https://grantee.example", with: "")
            let page = try await server.raw("GET", path, host: "grantee.example")
            let cookie = attributes(page.field("Set-Cookie"))
            #expect(cookie.name == "__Host-grantee-binding")
            #expect(cookie.attributes == ["Path=/", "Max-Age=1800", "HttpOnly", "SameSite=Lax", "Secure"])
            let left = try await server.raw("GET", path + "/continue", host: "grantee.example", fields: ["Cookie: \(cookie.name)=\(cookie.value)"])
            let location = try #require(left.field("Location"))
            #expect(location.hasPrefix("https://as.example/authorize?tenant=1&"))  // SEC-13
            #expect(try parameters(of: location)["redirect_uri"] == "https://grantee.example/oauth/callback/app")
            let port = try EndpointURL(server.url).effectivePort
            #expect(try await server.raw("GET", path, host: "127.0.0.1:\(port)").status == 421)
        }
    }

    @Test func anotherBrowserCannotFinish() async throws {  // SEC-02
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            let link = try await stage.begin("app", ["subject": "user-1"])
            let visitor = Visitor()
            let back = try await stage.consent(to: try await stage.leave(link, by: visitor), by: visitor)
            let page = try await Visitor().open(back)
            #expect(page.status == 400)
            #expect(page.body.contains("<code>browser_mismatch</code>"))
            #expect(try await stage.session(link)["error"]?.string == "browser_mismatch")
            // The attempt is spent, for the right browser too.
            #expect(try await visitor.open(back).body.contains("<code>invalid_state</code>"))
            #expect(try await stage.provider.tokenRequests("conf").isEmpty)
        }
    }

    // MARK: The callback

    @Test func theBrowserLeavesTheCallbackWithoutCodeAndState() async throws {  // SEC-28
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            let link = try await stage.begin("app", ["subject": "user-1"])
            let visitor = Visitor()
            let back = try await stage.consent(to: try await stage.leave(link, by: visitor), by: visitor)
            let sent = try parameters(of: back)
            let answer = try await visitor.request(.get, back)
            #expect(answer.status == 303)
            #expect(answer.headers[.location] == stage.server.url + "/connect/result/" + link.session)
            #expect(answer.headers[.cacheControl] == "no-store")
            #expect(answer.headers[.named("Referrer-Policy")] == "no-referrer")
            #expect(answer.body.isEmpty)
            let result = try await visitor.open(stage.server.url + "/connect/result/" + link.session)
            for secret in [sent["code"] ?? "?", sent["state"] ?? "?"] { #expect(!result.body.contains(secret)) }

            // A reload tells how it ended, and does nothing.
            let reloaded = try await visitor.request(.get, back)
            #expect(reloaded.status == 400)
            #expect(reloaded.body.contains("<code>invalid_state</code>"))
            let outcome = try #require(reloaded.link(to: "/connect/result/"))
            #expect(try await visitor.open(stage.server.url + outcome).body.contains("Connected"))
            for secret in [sent["code"] ?? "?", sent["state"] ?? "?"] { #expect(!reloaded.body.contains(secret)) }
            #expect(try await stage.provider.tokenRequests("conf", "authorization_code").count == 1)
            #expect(try await stage.session(link)["state"]?.string == "connected")
        }
    }

    @Test func callbacksThatAreNone() async throws {  // SEC-10, SEC-23, SEC-26
        try await Stage.with { stage in
            for id in ["app", "other"] { try await stage.add(stage.provider.connection(id, "authorization_code")) }
            let link = try await stage.begin("app", ["subject": "user-1"])
            let visitor = Visitor()
            let state = try #require(try parameters(of: try await stage.leave(link, by: visitor))["state"])
            let url = stage.server.url + "/oauth/callback/app"
            let long = "?code=a&state=\(state)&x=" + String(repeating: "y", count: 17 * 1024)
            let refused: [(String, String)] = [
                ("", "invalid_state"), ("?", "invalid_state"), ("?code=a", "invalid_state"), ("?code=a&state=", "invalid_state"),
                ("?code=a&state=unknown", "invalid_state"), ("?access_token=a&state=unknown", "invalid_state"),
                ("?code=a&state=\(state)&state=\(state)", "invalid_request"), ("?code=a&code=b&state=\(state)", "invalid_request"),
                ("?code=a&error=b&state=\(state)", "invalid_request"), (long, "invalid_request"),
            ]
            for (query, code) in refused {
                let page = try await stage.server.send(.get, "/oauth/callback/app" + query, key: .none)
                #expect(page.status == 400, "\(query.prefix(60))")
                #expect(page.text.contains("<code>\(code)</code>"), "\(query.prefix(60))")
            }
            let methods: [HTTPRequest.Method] = [.post, .put, .delete, .patch]
            for method in methods { #expect(try await visitor.request(method, url + "?code=a&state=\(state)").status == 405) }
            #expect(try await stage.provider.tokenRequests("conf").isEmpty)
            // All that left the attempt as it was: a long code and an unknown parameter are nobody's fault.
            let taken = try await visitor.open(url + "?code=" + String(repeating: "c", count: 4096) + "&foo=1&state=\(state)")
            #expect(taken.body.contains("<code>exchange_failed</code>"))
            #expect(try await stage.provider.tokenRequests("conf").count == 1)

            // At another connection's address a code is not taken, and the attempt is spent.
            let second = try #require(try parameters(of: try await stage.leave(link, by: visitor))["state"])
            let elsewhere = try await visitor.open(stage.server.url + "/oauth/callback/other?code=a&state=\(second)")
            #expect(elsewhere.body.contains("<code>invalid_state</code>"))
            #expect(try await visitor.open(url + "?code=a&state=\(second)").body.contains("<code>invalid_state</code>"))
            #expect(try await stage.provider.tokenRequests("conf").count == 1)
        }
    }

    @Test func ofManyCopiesOfACallbackOneCounts() async throws {  // SEC-23
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            let link = try await stage.begin("app", ["subject": "user-1"])
            let visitor = Visitor()
            let page = try await visitor.open(link.url)
            let cookie = try #require(page.headers[.setCookie]?.split(separator: ";").first)
            let back = try await stage.consent(to: try await stage.leave(link, by: visitor), by: visitor)
            let path = back.replacing(stage.server.url, with: "")
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<50 { group.addTask { try await stage.server.raw("GET", path, fields: ["Cookie: \(cookie)"]).status } }
                return try await group.reduce(into: [Int: Int]()) { $0[$1, default: 0] += 1 }
            }
            #expect(statuses == [303: 1, 400: 49])
            #expect(try await stage.provider.tokenRequests("conf", "authorization_code").count == 1)
        }
    }

    // MARK: Other sites

    @Test func anotherSiteCannotStartATrip() async throws {  // SEC-16
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "authorization_code"))
            let link = try await stage.begin("app", ["subject": "user-1"])
            let path = "/connect/" + link.ticket
            let answer = try await stage.server.raw("GET", path + "/continue", fields: ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"])
            #expect(answer.status == 303)
            // To the page that asks for a click.
            #expect(answer.field("Location") == link.url)
            for site in ["same-origin", "none"] {
                let own = try await stage.server.raw("GET", path + "/continue", fields: ["Sec-Fetch-Site: \(site)"])
                #expect(own.field("Location")?.hasPrefix(stage.provider.url + "/authorize") == true, "\(site)")
            }
            #expect(try await stage.server.raw("POST", path + "/continue").status == 405)
            #expect(try await stage.server.raw("POST", path, body: "x=y").status == 403)
        }
    }

    @Test func theFormIsTakenFromItsOwnPageOnly() async throws {  // SEC-101
        try await Stage.with { stage in
            try await stage.add(stage.provider.connection("app", "password"))
            let link = try await stage.begin("app", ["subject": "user-1"])
            let path = "/connect/" + link.ticket
            let cookie = "Cookie: " + String(try #require(try await Visitor().open(link.url).headers[.setCookie]?.split(separator: ";").first))
            let good = "username=alice&password=password"
            let type = "Content-Type: application/x-www-form-urlencoded"
            let foreign: [[String]] = [
                [type], [type, "Cookie: other=1"], [cookie, type, "Origin: https://evil.example"], [cookie, type, "Origin: null"],
                [cookie, type, "Origin: \(stage.server.url).evil.example"], [cookie, type, "Sec-Fetch-Site: cross-site"],
                [cookie, type, "Sec-Fetch-Site: same-site"], [cookie, type, "Sec-Fetch-Site: none"],
            ]
            for fields in foreign {
                let answer = try await stage.server.raw("POST", path, fields: fields, body: good)
                #expect(answer.status == 403, "\(fields): \(answer.status)")
            }
            let incomplete = [
                "", "username=alice", "password=password", "username=&password=", "username=a%0Ab&password=c", #"{"username":"alice","password":"password"}"#,
            ]
            for body in incomplete {
                let answer = try await stage.server.raw("POST", path, fields: [cookie, type], body: body)
                #expect(answer.status == 422, "\(body): \(answer.status)")
            }
            #expect(try await stage.server.raw("POST", path, fields: [cookie, type], body: "username=%ZZ").status == 400)
            #expect(try await stage.provider.tokenRequests("conf").isEmpty)
            #expect(try await stage.session(link)["state"]?.string == "open")
            let own = try await stage.server.raw(
                "POST", path, fields: [cookie, type, "Origin: \(stage.server.url)", "Sec-Fetch-Site: same-origin"], body: good)
            #expect(own.status == 303)
            #expect(own.field("Location") == stage.server.url + "/connect/result/" + link.session)
            // Used, it takes nothing more.
            #expect(try await stage.server.raw("POST", path, fields: [cookie, type], body: good).status == 410)
            #expect(try await stage.provider.tokenRequests("conf", "password").count == 1)
        }
    }

    @Test func theResultOfAFormLeadsBackToTheApplication() async throws {
        try await Stage.with { stage in
            var document = stage.provider.connection("app", "password").object ?? [:]
            document["return_origins"] = ["https://app.example"]
            try await stage.add(.object(document))
            let link = try await stage.begin("app", ["subject": "user-1", "return_url": "https://app.example/done?x=1&y=2"])
            let page = try await Visitor().connect(link.url)
            #expect(page.url == stage.server.url + "/connect/result/" + link.session)
            #expect(page.body.contains("href=\"https://app.example/done?x=1&amp;y=2\""))
        }
    }
}

import Broker
import Egress
import Foundation
import HTTPTypes
import OAuth
import RehearsalProvider
import TestSupport
import Testing

@testable import Server

/// Signing in at the console, and what ends it. SEC-95, SEC-96, SEC-98, SEC-99.
@Suite struct ConsoleSignInTests {
    private static let consoleRoutes = Routes.all.filter { $0.access == .console }

    private func cookieName(_ server: RunningServer) throws -> String { "grantee-console-\(try EndpointURL(server.url).effectivePort)" }

    /// A form as a browser sends it, byte by byte.
    private func fields(_ server: RunningServer, origin: String? = nil, cookie: String? = nil) -> [String] {
        ["Origin: \(origin ?? server.url)", "Content-Type: application/x-www-form-urlencoded"] + (cookie.map { ["Cookie: \($0)"] } ?? [])
    }

    private func activity(_ server: RunningServer, _ action: String) async throws -> [JSONValue] {
        try await server.send(.get, "/v1/activity?limit=200&action=\(action)")["items"]?.array ?? []
    }

    // MARK: The cookie

    @Test func theSessionIsInACookieThatNoScriptReads() async throws {  // SEC-95
        try await RunningServer.with { server in
            let page = try await ConsoleBrowser(server).post("/console/sign-in", [("key", server.adminKey)])
            #expect(page.status == 303)
            #expect(ConsoleBrowser.path(page, at: server) == "/console")
            #expect(page.headers[.cacheControl] == "no-store")
            let token = try #require(page.headers[.setCookie].flatMap { $0.firstMatch(of: /=([A-Za-z0-9_-]{43});/) }.map { String($0.output.1) })
            #expect(page.headers[.setCookie] == "\(try cookieName(server))=\(token); Path=/; HttpOnly; SameSite=Lax")
            let inside = try await server.raw("GET", "/console", fields: ["Cookie: \(try cookieName(server))=\(token)"])
            #expect(inside.status != 401)
            // Neither the token nor the key is in the log, nor in a file that others back up.
            for secret in [token, server.adminKey] { #expect(!server.log.text.contains(secret)) }
            for file in try FileManager.default.subpathsOfDirectory(atPath: server.directory) where file != "admin.key" {
                let bytes = try Data(contentsOf: URL(filePath: server.directory + "/" + file))
                #expect(bytes.range(of: Data(token.utf8)) == nil, "\(file)")
                #expect(Base64URL.decode(token).flatMap { bytes.range(of: Data($0)) } == nil, "\(file)")
            }
        }
    }

    @Test func onHTTPSTheCookieIsOfThisHostAlone() async throws {  // SEC-95
        func https(_ configuration: inout ServerConfiguration) { configuration.publicURL = "https://grantee.example" }
        try await RunningServer.with(https) { server in
            let body = Form.serialize([("key", server.adminKey)])
            let answer = try await server.raw(
                "POST", "/console/sign-in", host: "grantee.example", fields: fields(server, origin: "https://grantee.example"), body: body)
            #expect(answer.status == 303)
            #expect(answer.field("Location") == "https://grantee.example/console")
            let cookie = try #require(answer.field("Set-Cookie"))
            #expect(cookie.wholeMatch(of: /__Host-grantee-console=[A-Za-z0-9_-]{43}; Path=\/; HttpOnly; SameSite=Lax; Secure/) != nil, "\(cookie)")
            let pair = String(cookie.prefix { $0 != ";" })
            #expect(try await server.raw("GET", "/console", host: "grantee.example", fields: ["Cookie: \(pair)"]).status != 401)
            // Under another name it is nothing.
            let renamed = pair.replacing("__Host-grantee-console", with: "grantee-console-443")
            #expect(try await server.raw("GET", "/console", host: "grantee.example", fields: ["Cookie: \(renamed)"]).status == 401)
        }
    }

    @Test func aTokenFromBeforeIsWorthlessAfterwards() async throws {  // SEC-95
        try await RunningServer.with { server in
            let name = try cookieName(server)
            func signIn(bringing cookie: String) async throws -> String {
                let answer = try await server.raw(
                    "POST", "/console/sign-in", fields: fields(server, cookie: cookie), body: Form.serialize([("key", server.adminKey)]))
                #expect(answer.status == 303)
                return String(try #require(answer.field("Set-Cookie")).prefix { $0 != ";" })
            }
            func isIn(_ cookie: String) async throws -> Bool { try await server.raw("GET", "/console", fields: ["Cookie: \(cookie)"]).status != 401 }
            let planted = "\(name)=" + String(repeating: "A", count: 43)
            let first = try await signIn(bringing: planted)
            #expect(first != planted)
            #expect(try await isIn(planted) == false)
            #expect(try await isIn(first))
            let second = try await signIn(bringing: first)
            #expect(try await isIn(first) == false)
            #expect(try await isIn(second))
            #expect(try await activity(server, "console.signed_in").count == 2)
            #expect(try await activity(server, "console.signed_out").count == 1)
        }
    }

    @Test func nobodySignsInOverPlainHTTPFromAfar() throws {  // SEC-95
        for url in ["http://grantee.example", "http://192.0.2.1:8080"] {
            let far = try EndpointURL(url)
            #expect { try Faces.requirePrivateWay(far) } throws: { ($0 as? Problem)?.code == .forbidden }
        }
        for url in ["https://grantee.example", "http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080"] {
            let near = try EndpointURL(url)
            #expect(throws: Never.self) { try Faces.requirePrivateWay(near) }
        }
    }

    // MARK: By key

    @Test func onlyAnAdminKeyOpensTheConsole() async throws {
        try await RunningServer.with { server in
            let browser = ConsoleBrowser(server)
            for role in ["use", "agent"] {
                let key = try await server.makeKey(["name": "k", "role": .string(role)])
                let page = try await browser.post("/console/sign-in", [("key", key)])
                #expect(page.status == 403)
                #expect(page.body.contains("role is \(role)") && page.body.contains("needs admin"), "\(page.body)")
                #expect(page.headers[.setCookie] == nil)
                #expect(!page.body.contains(key))
            }
            let empty = try await browser.post("/console/sign-in", [("key", "  "), ("next", "/console/keys")])
            #expect(empty.status == 422)
            #expect(empty.field("next") == "/console/keys")
            // What is pasted brings white space.
            #expect(try await browser.post("/console/sign-in", [("key", " \(server.adminKey)\r\n"), ("next", "/console/keys")]).status == 303)
            #expect(!server.log.text.contains(server.adminKey))
        }
    }

    @Test func unknownAndEndedKeysGetTheSameAnswer() async throws {  // SEC-99
        try await RunningServer.with { server in
            let removed = try await server.send(.post, "/v1/keys", body: ["name": "removed", "role": "admin"])
            #expect(try await server.send(.delete, "/v1/keys/" + removed.string("id")).status == 204)
            var pages: Set<String> = []
            for key in ["gk_" + String(repeating: "A", count: 43), removed.string("key"), server.adminKey.uppercased() + "x", "'; --"] {
                let page = try await ConsoleBrowser(server).post("/console/sign-in", [("key", key)])
                #expect(page.status == 401)
                #expect(page.headers[.setCookie] == nil)
                #expect(!page.body.contains(key))
                pages.insert(page.body)
            }
            #expect(pages.count == 1)
            let refused = try await activity(server, "console.refused")
            #expect(refused.reduce(0) { $0 + ($1["count"]?.integer ?? 0) } == 4)
            #expect(refused.allSatisfy { $0["result"]?.string == "unauthenticated" })
        }
    }

    @Test func guessingIsSlowAndLocksNobodyOut() async throws {  // SEC-99
        func behindProxy(_ configuration: inout ServerConfiguration) { configuration.trustedProxies = [Egress.CIDR("127.0.0.0/8")].compactMap { $0 } }
        try await RunningServer.with(behindProxy) { server in
            func attempt(_ key: String, from address: String) async throws -> Visitor.Page {
                try await ConsoleBrowser(server).post("/console/sign-in", [("key", key), ("next", "/console/keys")], [.named("X-Forwarded-For"): address])
            }
            for _ in 0..<9 { #expect(try await attempt("gk_guess", from: "192.0.2.1").status == 401) }
            for key in ["gk_guess", server.adminKey] {
                let page = try await attempt(key, from: "192.0.2.1")
                #expect(page.status == 429)
                #expect((1...61).contains(Int(page.headers[.retryAfter] ?? "") ?? 0))
                #expect(page.headers[.setCookie] == nil)
                #expect(page.field("next") == "/console/keys")
            }
            #expect(try await attempt(server.adminKey, from: "192.0.2.2").status == 303)
            // Who shares the source of a guesser has a way in all the same.
            let link = try await server.send(.post, "/v1/console-links").string("url")
            let path = String(link.dropFirst(server.url.count))
            #expect(try await ConsoleBrowser(server).get(path, [.named("X-Forwarded-For"): "192.0.2.1"]).status == 303)
            let refused = try await activity(server, "console.refused").filter { $0["result"]?.string == "rate_limited" }
            #expect(refused.reduce(0) { $0 + ($1["count"]?.integer ?? 0) } == 2)
        }
    }

    @Test func theFormMustComeFromItsOwnPage() async throws {  // SEC-101
        try await RunningServer.with { server in
            let body = Form.serialize([("key", server.adminKey)])
            let type = "Content-Type: application/x-www-form-urlencoded"
            let wrong: [[String]] = [
                [type], ["Origin: null", type], ["Origin: https://evil.example", type], ["Origin: \(server.url).evil.example", type],
                ["Origin: \(server.url)", "Sec-Fetch-Site: cross-site", type], ["Origin: \(server.url)", "Sec-Fetch-Site: same-site", type],
                ["Origin: \(server.url)", "Content-Type: text/plain"], ["Origin: \(server.url)", "Content-Type: multipart/form-data; boundary=x"],
                ["Origin: \(server.url)"],
            ]
            for fields in wrong {
                let answer = try await server.raw("POST", "/console/sign-in", fields: fields, body: body)
                #expect(answer.status == 403, "\(fields)")
                #expect(answer.field("Set-Cookie") == nil, "\(fields)")
            }
            #expect(try await server.raw("POST", "/console/sign-in", fields: fields(server), body: body).status == 303)
        }
    }

    // MARK: By link

    /// A fresh link's path.
    private func link(_ server: RunningServer) async throws -> String {
        let made = try await server.send(.post, "/v1/console-links")
        #expect(made.status == 201, "\(made.text)")
        #expect(made.json.object?.members.map(\.name) == ["url", "expires_at"])
        let path = made.string("url").dropFirst(server.url.count)
        #expect(made.string("url").hasPrefix(server.url) && path.wholeMatch(of: /\/console\/sign-in\/[A-Za-z0-9_-]{43}/) != nil)
        return String(path)
    }

    @Test func aLinkSignsInOnceAndIsGone() async throws {  // SEC-98
        try await RunningServer.with { server in
            let path = try await link(server)
            let browser = ConsoleBrowser(server)
            let page = try await browser.get(path)
            #expect(page.status == 303)
            #expect(ConsoleBrowser.path(page, at: server) == "/console")
            #expect(page.headers[.setCookie] != nil && page.headers[.cacheControl] == "no-store")
            #expect(try await browser.get("/console").status != 401)
            // A reload by who is in leads in; somebody else is told how to get another.
            #expect(try await browser.get(path).status == 303)
            for spent in [path, "/console/sign-in/" + String(repeating: "A", count: 43), "/console/sign-in/x"] {
                let over = try await ConsoleBrowser(server).get(spent)
                #expect(over.status == 410, "\(spent)")
                #expect(over.headers[.setCookie] == nil)
                #expect(over.body.contains("grantee console"))
            }
            let code = try #require(path.split(separator: "/").last)
            #expect(!server.log.text.contains(code))
            #expect(try await server.send(.get, "/v1/activity?limit=200").text.contains("console.link_made"))
            #expect(!(try await server.send(.get, "/v1/activity?limit=200").text.contains(code)))
            for file in try FileManager.default.subpathsOfDirectory(atPath: server.directory) {
                #expect(try Data(contentsOf: URL(filePath: server.directory + "/" + file)).range(of: Data(code.utf8)) == nil, "\(file)")
            }
        }
    }

    @Test func whatOnlyLooksConsumesNothing() async throws {  // SEC-98
        try await RunningServer.with { server in
            let path = try await link(server)
            #expect(try await server.raw("HEAD", path).status == 200)
            for fields in [["Sec-Purpose: prefetch"], ["Sec-Purpose: prefetch;prerender"], ["Purpose: prefetch"]] {
                let answer = try await server.raw("GET", path, fields: fields)
                #expect(answer.status == 403, "\(fields)")
                #expect(answer.field("Set-Cookie") == nil)
            }
            // From a page of another site, or of another port: a click on a page of ours is asked for.
            for site in ["cross-site", "same-site"] {
                let answer = try await server.raw("GET", path, fields: ["Sec-Fetch-Site: \(site)"])
                #expect(answer.status == 200, "\(site)")
                #expect(answer.field("Set-Cookie") == nil)
                #expect(answer.body.contains("href=\"\(path)\""))
                #expect(answer.field("Referrer-Policy") == "no-referrer")
            }
            let port = try EndpointURL(server.url).effectivePort
            #expect(try await server.raw("GET", path, host: "evil.example:\(port)").status == 421)
            #expect(try await server.raw("GET", path, host: "localhost:\(port)").status == 302)
            let clicked = try await server.raw("GET", path, fields: ["Sec-Fetch-Site: same-origin"])
            #expect(clicked.status == 303)
        }
    }

    @Test func aLinkThatManyOpenAtOnceLetsOneIn() async throws {  // SEC-98
        try await RunningServer.with { server in
            let answers = try await server.crowd(of: 30, try await link(server))
            #expect(answers.filter { $0.status == 303 }.count == 1)
            #expect(answers.filter { $0.field("Set-Cookie") != nil }.count == 1)
            #expect(answers.filter { $0.status == 410 }.count == 29)
        }
    }

    @Test func aLinkLastsFiveMinutes() async throws {  // SEC-98
        try await RunningServer.with { server in
            let path = try await link(server)
            let made = try await server.send(.post, "/v1/console-links")
            let end = try #require(try? Date.ISO8601FormatStyle().parse(made.string("expires_at")))
            #expect((290...301).contains(end.timeIntervalSinceNow))
            try await server.tamper("UPDATE sign_in_link SET expires_at = \(Int(Date().timeIntervalSince1970 * 1000))")
            #expect(try await ConsoleBrowser(server).get(path).status == 410)
        }
    }

    @Test func aLinkOfABoundKeyHasItsBounds() async throws {
        try await RunningServer.with { server in
            let document: JSONValue = [
                "id": "app", "name": "App",
                "oauth": ["grant_type": "client_credentials", "token_url": "https://as.example/token", "client_id": "c", "client_secret": "s"],
            ]
            #expect(try await server.send(.post, "/v1/connections", body: document).status == 201)
            let key = try await server.makeKey(["name": "bound", "role": "admin", "connections": ["app"]])
            let made = try await server.send(.post, "/v1/console-links", key: .other(key))
            #expect(made.status == 201)
            let browser = ConsoleBrowser(server)
            #expect(try await browser.get(String(made.string("url").dropFirst(server.url.count))).status == 303)
            // API keys concern everybody: the use case says no, as it does to the key itself.
            #expect(try await browser.get("/console/keys").status == 403)
        }
    }

    // MARK: Where to

    @Test(arguments: [
        ("/console/keys", "/console/keys"), ("/console", "/console"), ("/console/new/form?preset=google&id=a%20b", "/console/new/form?preset=google&id=a%20b"),
        ("//evil.example", "/console"), ("https://evil.example", "/console"), ("/\\evil.example", "/console"), ("/console\\@evil.example", "/console"),
        ("/consolex", "/console"), ("/console//evil.example", "/console"), ("/console/../v1/keys", "/console"), ("/console/%2e%2e/v1/keys", "/console"),
        ("/console/./keys", "/console"), ("/console/keys#x", "/console"), ("/console/a\r\nSet-Cookie: a=b", "/console"), ("/console/ä", "/console"),
        ("/v1/keys", "/console"), ("console", "/console"), ("", "/console"), ("/console/sign-out", "/console"), ("/console/sign-in", "/console"),
        ("/console/sign-in/code", "/console"), ("javascript:alert(1)", "/console"), ("/console/", "/console"), (" /console", "/console"),
    ])
    func nextIsAPageOfThisConsole(next: String, expected: String) async throws {
        #expect((ConsolePath(next) ?? .home).text == expected)
    }

    @Test func whoSignsInIsWhereTheyWere() async throws {
        try await RunningServer.with { server in
            for (next, expected) in [("/console/keys?done=saved", "/console/keys?done=saved"), ("//evil.example/console", "/console")] {
                let query = "?next=" + Form.encode(next)
                let byKey = ConsoleBrowser(server)
                #expect(try await byKey.get("/console/sign-in" + query).field("next") == expected)
                let signedIn = try await byKey.post("/console/sign-in", [("key", server.adminKey), ("next", next)])
                #expect(ConsoleBrowser.path(signedIn, at: server) == expected)
                // Who is in needs no form.
                #expect(ConsoleBrowser.path(try await byKey.get("/console/sign-in" + query), at: server) == expected)
                #expect(ConsoleBrowser.path(try await ConsoleBrowser(server).get(try await link(server) + query), at: server) == expected)
            }
            let stranger = try await ConsoleBrowser(server).get("/console/activity?action=token.read")
            #expect(stranger.status == 401)
            #expect(stranger.field("next") == "/console/activity?action=token.read")
        }
    }

    // MARK: Ending

    /// Whether every page says no to this browser.
    private func expectOut(_ server: RunningServer, _ cookie: String, _ what: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        for route in Self.consoleRoutes {
            let answer = try await server.raw(
                route.method.rawValue, filled(route.pattern), fields: fields(server, cookie: cookie), body: route.method == .post ? "a=b" : "")
            #expect(answer.status == 401, "\(what): \(route.method) \(route.pattern) \(answer.status)", sourceLocation: sourceLocation)
        }
    }

    private func signedIn(_ server: RunningServer, key: String? = nil) async throws -> String {
        try #require(ConsoleBrowser.cookie(try await ConsoleBrowser(server).post("/console/sign-in", [("key", key ?? server.adminKey)])))
    }

    @Test func signingOutEndsTheSessionOnTheServer() async throws {  // SEC-96
        try await RunningServer.with { server in
            let browser = ConsoleBrowser(server)
            let cookie = try #require(ConsoleBrowser.cookie(try await browser.post("/console/sign-in", [("key", server.adminKey)])))
            let page = try await browser.submit("/console/sign-out")
            #expect(page.status == 303)
            #expect(ConsoleBrowser.path(page, at: server) == "/console/sign-in?done=signed-out")
            // Not the cookies: those of other ports are not ours to clear.
            #expect(page.headers[.named("Clear-Site-Data")] == #""cache", "storage""#)
            #expect(page.headers[.setCookie] == "\(try cookieName(server))=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax")
            try await expectOut(server, cookie, "signed out")
            #expect(try await browser.get("/console/sign-in?done=signed-out").body.contains("signed out"))
            #expect(try await activity(server, "console.signed_out").count == 1)
        }
    }

    @Test func aSessionEndsWithItsKeyAndItsTime() async throws {  // SEC-96
        try await RunningServer.with { server in
            let removed = try await server.send(.post, "/v1/keys", body: ["name": "removed", "role": "admin"])
            let first = try await signedIn(server, key: removed.string("key"))
            #expect(try await server.raw("GET", "/console", fields: ["Cookie: \(first)"]).status != 401)
            #expect(try await server.send(.delete, "/v1/keys/" + removed.string("id")).status == 204)
            try await expectOut(server, first, "removed key")

            let now = Int(Date().timeIntervalSince1970 * 1000)
            let idle = try await signedIn(server)
            try await server.tamper("UPDATE console_session SET last_seen_at = \(now - 1_800_000)")
            try await expectOut(server, idle, "idle")
            let old = try await signedIn(server)
            try await server.tamper("UPDATE console_session SET expires_at = \(now)")
            try await expectOut(server, old, "old")
        }
    }

    @Test func anotherAdminKeyEndsTheSessionsOfTheOneBefore() async throws {  // SEC-96
        let folder = FileManager.default.temporaryDirectory.appending(path: "console-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let key = "an-admin-key-of-more-than-32-characters"
        func run(_ key: String, _ body: (RunningServer) async throws -> Void) async throws {
            try await RunningServer.with(
                directory: folder,
                {
                    $0.adminKey = key
                    $0.publicURL = "https://grantee.example"
                }, body)
        }
        func isIn(_ server: RunningServer, _ cookie: String) async throws -> Bool {
            try await server.raw("GET", "/console", host: "grantee.example", fields: ["Cookie: \(cookie)"]).status != 401
        }
        var cookie = ""
        try await run(key) { server in
            let answer = try await server.raw(
                "POST", "/console/sign-in", host: "grantee.example", fields: fields(server, origin: "https://grantee.example"),
                body: Form.serialize([("key", key)]))
            cookie = String(try #require(answer.field("Set-Cookie")).prefix { $0 != ";" })
            #expect(try await isIn(server, cookie))
        }
        // A restart alone signs nobody out.
        try await run(key) { server async throws in #expect(try await isIn(server, cookie)) }
        try await run(String(key.reversed())) { server async throws in #expect(try await isIn(server, cookie) == false) }
        // With the first key back, its sessions are not.
        try await run(key) { server async throws in #expect(try await isIn(server, cookie) == false) }
    }

    // MARK: Forms of other pages

    @Test func aFormThatIsNotThisSessionsChangesNothing() async throws {  // SEC-101
        try await RunningServer.with { server in
            let document: JSONValue = [
                "id": "zz9", "name": "App",
                "oauth": ["grant_type": "client_credentials", "token_url": "https://as.example/token", "client_id": "c", "client_secret": "s"],
            ]
            #expect(try await server.send(.post, "/v1/connections", body: document).status == 201)
            #expect(try await server.send(.put, "/v1/connections/zz9/grants/-", body: ["access_token": "a"]).status == 200)
            func lists() async throws -> [String] {
                var texts: [String] = []
                for path in ["/v1/connections", "/v1/keys", "/v1/grants", "/v1/webhooks", "/v1/revocations"] {
                    // When a key was used last is no change that a form made.
                    texts.append(try await server.send(.get, path).text.replacing(/"last_used_at":(null|"[^"]*")/, with: ""))
                }
                return texts
            }
            let before = try await lists()
            let browser = ConsoleBrowser(server)
            let cookie = try #require(ConsoleBrowser.cookie(try await browser.post("/console/sign-in", [("key", server.adminKey)])))
            let csrf = try await browser.csrf()
            let other = try await ConsoleBrowser.signedIn(server).csrf()
            #expect(csrf != other && csrf.utf8.count == 43)
            let own = ["Origin: \(server.url)", "Content-Type: application/x-www-form-urlencoded"]
            let type = own[1]
            let attacks: [(name: String, fields: [String], csrf: String?)] = [
                ("another origin", ["Origin: https://evil.example", type], csrf), ("another port", ["Origin: http://127.0.0.1:1", type], csrf),
                ("the null origin", ["Origin: null", type], csrf), ("no origin", [type], csrf),
                ("another site", own + ["Sec-Fetch-Site: cross-site"], csrf), ("text/plain", [own[0], "Content-Type: text/plain"], csrf),
                ("JSON", [own[0], "Content-Type: application/json"], csrf), ("no type", [own[0]], csrf), ("no token", own, nil), ("an empty token", own, ""),
                ("another session's token", own, other), ("half a token", own, String(csrf.dropLast())),
            ]
            for route in Self.consoleRoutes where route.method == .post {
                for attack in attacks {
                    let body = Form.serialize(attack.csrf.map { [("csrf", $0), ("name", "Planted"), ("confirm", "yes")] } ?? [("name", "Planted")])
                    let answer = try await server.raw("POST", filled(route.pattern), fields: attack.fields + ["Cookie: \(cookie)"], body: body)
                    #expect(answer.status == 403, "\(attack.name) \(route.pattern): \(answer.status)")
                }
                // By a link, nothing is done.
                let target = filled(route.pattern) + "?csrf=\(csrf)&name=Planted"
                let answer = try await server.raw("GET", target, fields: ["Cookie: \(cookie)", "Sec-Fetch-Site: cross-site"])
                #expect(answer.status < 500, "\(route.pattern): \(answer.status)")
            }
            #expect(try await lists() == before)
            #expect(try await browser.get("/console").status != 401)
            #expect(try await activity(server, "console.signed_out").isEmpty)
            // No answer is for another origin to read.
            let read = try await browser.get("/console/keys", [.origin: "https://evil.example"])
            #expect(!read.headers.contains { $0.name.canonicalName.hasPrefix("access-control-") })
        }
    }

    // MARK: What was typed

    @Test func whatWasTypedIsThereAfterSigningInAgain() async throws {
        try await RunningServer.with { server in
            let hostile = #""><script>alert(1)</script>"#
            let typed = [
                ("csrf", "dead"), ("form", "dead"), ("name", hostile), ("scopes", "a\r\nb"), ("box", "1"), ("box", "2"), ("client_secret", "s3cret-typed"),
                ("password", "pass-typed"), ("key", "key-typed"), ("access_token", "at-typed"), ("refresh_token", "rt-typed"),
            ]
            let browser = ConsoleBrowser(server)
            let path = "/console/new/form?preset=custom"
            let page = try await browser.post(path, typed)
            #expect(page.status == 401)
            #expect(page.field("next") == path)
            #expect(page.field("resume.name") == "&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;")
            for secret in ["s3cret-typed", "pass-typed", "key-typed", "at-typed", "rt-typed", "dead"] { #expect(!page.body.contains(secret), "\(secret)") }

            // A wrong key loses nothing.
            let kept = [("next", path), ("resume.name", hostile), ("resume.scopes", "a\r\nb"), ("resume.box", "1"), ("resume.box", "2")]
            let again = try await browser.post("/console/sign-in", kept + [("key", "gk_wrong")])
            #expect(again.status == 401)
            #expect(again.field("resume.name") == page.field("resume.name") && again.field("next") == path)

            let resumed = try await browser.post("/console/sign-in", kept + [("key", server.adminKey)])
            #expect(resumed.status == 200)
            #expect(resumed.headers[.setCookie] != nil)
            #expect(resumed.body.contains("action=\"\(path)\""))
            #expect(resumed.field("csrf") == (try await browser.csrf()))
            #expect(resumed.field("form").map { !$0.isEmpty && $0 != "dead" } == true)
            #expect(resumed.field("name") == page.field("resume.name"))
            #expect(resumed.body.components(separatedBy: "name=\"box\"").count == 3)
            #expect(!resumed.body.contains("<script>alert"))
        }
    }

    @Test func whatAnotherSiteTypedIsNotKept() async throws {  // SEC-101
        try await RunningServer.with { server in
            // Its form comes without the cookie, as SameSite has it.
            for headers in [[.origin: "https://evil.example"], [.origin: "null"], [.named("Sec-Fetch-Site"): "cross-site"]] as [HTTPFields] {
                let page = try await ConsoleBrowser(server).post("/console/keys", [("name", "Planted"), ("role", "admin")], headers)
                #expect(page.status == 401)
                #expect(!page.body.contains("Planted") && !page.body.contains("resume."))
                #expect(page.field("next") == "/console")
            }
        }
    }

    @Test func aFormWithoutAPageOfItsOwnLeadsToTheOneAbove() async throws {
        try await RunningServer.with { server in
            // Nothing was typed: nothing is sent again.
            let browser = ConsoleBrowser(server)
            let page = try await browser.post("/console/connections/app/grants/user-1/refresh", [("csrf", "dead"), ("form", "dead")])
            #expect(page.status == 401)
            let next = try #require(page.field("next"))
            let answer = try await browser.post("/console/sign-in", [("key", server.adminKey), ("next", next)])
            #expect(answer.status == 303)
            #expect(ConsoleBrowser.path(answer, at: server) == "/console/connections/app/grants/user-1")
        }
        let routes = RouteTable(routes: Routes.all)
        for (path, page) in [
            ("/console/sign-out", "/console"), ("/console/preview", "/console"), ("/console/connections/a/connect", "/console/connections/a"),
            ("/console/settings/sessions", "/console/settings"), ("/console/keys", "/console/keys"), ("/console/nowhere/at/all", "/console"),
        ] {
            #expect((ConsolePath(path) ?? .home).page(in: routes).text == page, "\(path)")
        }
    }

    @Test func whatIsTooLongIsNotKeptAndThatIsSaid() async throws {
        try await RunningServer.with { server in
            let browser = ConsoleBrowser(server)
            let long = String(repeating: "x", count: SignInPrompt.limit)
            let page = try await browser.post("/console/new/form", [("name", long)])
            #expect(page.status == 401)
            #expect(page.body.utf8.count < 20_000)
            #expect(page.body.contains("too long to be kept"))
            let short = try await browser.post("/console/new/form", [("name", String(long.dropLast(4)))])
            #expect(short.field("resume.name")?.utf8.count == SignInPrompt.limit - 4)
            let huge = try await browser.post("/console/new/form", [("name", String(repeating: "x", count: 2 << 20))])
            #expect(huge.status == 401)
            #expect(huge.body.contains("too long to be kept"))
        }
    }

    @Test func whoSignedInByALinkGoesOnWithTheForm() async throws {
        try await RunningServer.with { server in
            let browser = ConsoleBrowser(server)
            let kept = [("next", "/console/new/form"), ("resume.name", "Typed"), ("button", "again")]
            let early = try await browser.post("/console/sign-in", kept)
            #expect(early.status == 401)
            #expect(early.field("resume.name") == "Typed")
            #expect(try await browser.get(try await link(server)).status == 303)
            let page = try await browser.post("/console/sign-in", kept)
            #expect(page.status == 200)
            #expect(page.field("name") == "Typed" && page.body.contains("action=\"/console/new/form\""))
        }
    }
}

/// Guesses, counted. SEC-99.
@Suite struct SignInGuardTests {
    private let start = ContinuousClock.now

    @Test func aSourceHasFewerThanTenFailuresInAnyMinute() {
        let door = SignInGuard()
        var allowed: [Int] = []
        for second in 0..<600 where door.refusal("192.0.2.1", now: start + .seconds(second)) == nil { allowed.append(second) }
        for second in 0..<540 { #expect(allowed.filter { (second..<second + 60).contains($0) }.count < 10) }
        #expect(allowed.count == 90)
    }

    @Test func tenThousandGuessesFromAHundredAddressesAreFewTries() {
        let door = SignInGuard()
        var tries: [String: Int] = [:]
        for guess in 0..<10_000 {
            let address = "192.0.2.\(guess % 100)"
            // All within a minute.
            if door.refusal(address, now: start + .milliseconds(guess * 5)) == nil { tries[address, default: 0] += 1 }
        }
        #expect(tries.values.allSatisfy { $0 < 10 })
        #expect(tries.values.reduce(0, +) <= SignInGuard.failuresOfAll + 100)
        // The owner, who comes from elsewhere, tries once, and is in.
        #expect(door.refusal("198.51.100.1", now: start + .seconds(50)) == nil)
        door.succeeded("198.51.100.1")
        #expect(door.refusal("198.51.100.1", now: start + .seconds(51)) == nil)
    }

    @Test func aSuccessCountsForNothing() {
        let door = SignInGuard()
        for second in 0..<100 {
            #expect(door.refusal("192.0.2.1", now: start + .milliseconds(second)) == nil)
            door.succeeded("192.0.2.1")
        }
        door.succeeded("192.0.2.9")
    }

    @Test func oneNetworkIsOneSource() {
        let door = SignInGuard()
        for number in 0..<9 { #expect(door.refusal("2001:db8:1:2::\(number + 1)", now: start) == nil) }
        #expect(door.refusal("2001:db8:1:2:ffff::1", now: start) != nil)
        #expect(door.refusal("2001:db8:1:3::1", now: start) == nil)
    }

    @Test func manySourcesTakeNoMoreRoomThanThereIs() {
        let door = SignInGuard()
        for number in 0..<25_000 {
            let refusal = door.refusal("10.\(number >> 16).\(number >> 8 & 255).\(number & 255)", now: start + .microseconds(number))
            #expect(refusal == nil)
        }
        // The one that came last is still known.
        #expect(door.refusal("10.0.97.167", now: start + .seconds(1)) != nil)
    }

    @Test func theWaitIsToldAndIsEnough() throws {
        let door = SignInGuard()
        for second in 0..<9 { #expect(door.refusal("192.0.2.1", now: start + .seconds(second)) == nil) }
        let wait = try #require(door.refusal("192.0.2.1", now: start + .seconds(10)))
        #expect((50...51).contains(wait))
        #expect(door.refusal("192.0.2.1", now: start + .seconds(10 + wait)) == nil)
    }
}

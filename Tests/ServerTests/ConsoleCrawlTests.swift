import HTTPTypes
import OAuth
import RehearsalProvider
import TestSupport
import Testing

@testable import Server

/// Every answer that a browser gets below the console and beside it: what it says about itself, and what it does not hold.
@Suite struct ConsoleCrawlTests {
    private static let consolePolicy =
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    private static let endUserPolicy =
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    private static let filePolicy = "default-src 'none'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"

    /// A server behind https, with something to be seen on every page.
    private struct Scene {
        static let host = "grantee.example"
        static let origin = "https://" + host
        let stage: Stage
        let cookie: String
        let csrf: String
        /// What nobody is to read on any page.
        let secrets: [String: String]
        var server: RunningServer { stage.server }

        static func with(_ body: (Scene) async throws -> Void) async throws {
            func https(_ configuration: inout ServerConfiguration) { configuration.publicURL = origin }
            try await Stage.with(https) { stage in
                let server = stage.server
                try await stage.add(stage.provider.connection("app", "authorization_code"))
                try await stage.add(stage.provider.connection("machine", "client_credentials", client: "machine", secret: "machine-secret"))
                let tokens: JSONValue = ["access_token": "marked-access-token", "refresh_token": "marked-refresh-token", "scope": ["read"]]
                try await stage.put("app", "user-1", tokens)
                #expect(try await stage.token("machine").status == 200)
                let token = try await stage.token("machine").string("access_token")
                let key = try await server.makeKey(["name": "app", "role": "use"])
                let webhook = try await server.send(.post, "/v1/webhooks", body: ["url": "https://app.example/hook", "events": ["grant.expiring"]])
                #expect(try await server.send(.post, "/v1/revocations", body: ["connection": "app", "subject": "nobody"]).status < 300)
                let answer = try await server.raw(
                    "POST", "/console/sign-in", host: host, fields: form(), body: Form.serialize([("key", server.adminKey)]))
                let cookie = String(try #require(answer.field("Set-Cookie"), "\(answer.head)").prefix { $0 != ";" })
                let page = try await server.raw("GET", "/console/settings", host: host, fields: ["Cookie: \(cookie)"])
                let field = page.body.firstRange(of: "name=\"csrf\" value=\"").map { page.body[$0.upperBound...].prefix { $0 != "\"" } }
                let secrets = [
                    "admin key": server.adminKey, "API key": key, "webhook secret": webhook.string("secret"), "client secret": "machine-secret",
                    "another client secret": "conf-secret", "access token": "marked-access-token", "refresh token": "marked-refresh-token",
                    "fetched token": token, "session": String(cookie.drop { $0 != "=" }.dropFirst()),
                ]
                for (name, secret) in secrets { #expect(secret.utf8.count > 8, "\(name)") }
                try await body(Scene(stage: stage, cookie: cookie, csrf: String(try #require(field, "\(page.body)")), secrets: secrets))
            }
        }

        static func form(_ origin: String = origin) -> [String] { ["Origin: \(origin)", "Content-Type: application/x-www-form-urlencoded"] }

        func get(_ path: String, isSignedIn: Bool = true, method: String = "GET") async throws -> RawAnswer {
            try await server.raw(method, path, host: Self.host, fields: isSignedIn ? ["Cookie: \(cookie)"] : [])
        }

        func post(_ path: String, _ form: [(String, String)] = [], fields: [String] = form()) async throws -> RawAnswer {
            try await server.raw("POST", path, host: Self.host, fields: fields + ["Cookie: \(cookie)"], body: Form.serialize(form))
        }

        func submit(_ path: String, _ form: [(String, String)] = []) async throws -> RawAnswer { try await post(path, form + [("csrf", csrf)]) }
    }

    /// SEC-52, SEC-102, SEC-103
    private func expectGuarded(
        _ what: String, _ answer: RawAnswer, _ scene: Scene, referrer: String? = "same-origin", sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let path = what.split(separator: " ").last ?? ""
        let isOfConsole = path.hasPrefix("/console")
        let isOfEndUsers = path.hasPrefix("/connect/") || path.hasPrefix("/oauth/callback/")
        let isPage = answer.field("Content-Type")?.hasPrefix("text/html") == true
        var expected: [String: String?] = [
            "Content-Security-Policy": isPage ? (isOfConsole ? Self.consolePolicy : Self.endUserPolicy) : Self.filePolicy,
            "Content-Security-Policy-Report-Only": nil, "X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": isOfEndUsers ? "unsafe-none" : "same-origin", "Strict-Transport-Security": "max-age=31536000",
            "Access-Control-Allow-Origin": nil,
        ]
        if let referrer { expected["Referrer-Policy"] = referrer }
        if isOfConsole || isOfEndUsers { expected["Cache-Control"] = "no-store" }
        let names = answer.head.split(separator: "\r\n").dropFirst().map { $0.prefix { $0 != ":" }.lowercased() }
        for (name, value) in expected {
            #expect(answer.field(name) == value, "\(what) \(answer.status): \(name)", sourceLocation: sourceLocation)
            #expect(names.count { $0 == name.lowercased() } == (value == nil ? 0 : 1), "\(what): \(name)", sourceLocation: sourceLocation)
        }
        #expect((200..<500).contains(answer.status), "\(what): \(answer.status)", sourceLocation: sourceLocation)
        for (name, secret) in scene.secrets {
            #expect(!(answer.head + answer.body).contains(secret), "\(what) holds the \(name)", sourceLocation: sourceLocation)
        }
        guard isPage else { return }
        let links = Set(ConsoleInjectionTests.presetLinks)
        let found = PageMarkup(answer.body).violations(at: Scene.origin, links: links)
        #expect(found.isEmpty, "\(what): \(found)", sourceLocation: sourceLocation)
    }

    // MARK: The crawl

    @Test func everyPageThatALinkLeadsToIsGuardedAndHoldsNoSecret() async throws {  // SEC-52, SEC-102, SEC-103
        try await Scene.with { scene in
            let table = RouteTable(routes: Routes.all)
            var visited: Set<String> = []
            var queued: [String: Int] = [:]
            var known: Set = ["/console"]
            var queue = ["/console"]
            while !queue.isEmpty {
                let path = queue.removeFirst()
                let answer = try await scene.get(path)
                expectGuarded("GET \(path)", answer, scene)
                if let location = answer.field("Location") { #expect(location.hasPrefix(Scene.origin + "/console"), "\(path) leads to \(location)") }
                if answer.field("Content-Type")?.hasPrefix("text/html") == true, case .found(let route, _) = table.match(.get, path.prefix { $0 != "?" }) {
                    visited.insert(route.pattern)
                }
                for element in PageMarkup(answer.body).elements where answer.field("Content-Type")?.hasPrefix("text/html") == true {
                    for name in ["href", "src", "action"] {
                        guard let address = element[name], address.hasPrefix("/") else { continue }
                        let target = String(address.prefix { $0 != "#" })
                        // Of many presets and activity filters, a few.
                        guard case .found(let route, _) = table.match(.get, target.prefix { $0 != "?" }), queued[route.pattern, default: 0] < 8,
                            known.insert(target).inserted
                        else { continue }
                        queued[route.pattern, default: 0] += 1
                        queue.append(target)
                    }
                }
            }
            // Each page is reached by links; these by what somebody else sends.
            let apart: Set = ["/console/confirm/{ticket}", "/console/sign-in", "/console/sign-in/{code}"]
            let pages = Routes.all.filter { $0.method == .get && $0.pattern.hasPrefix("/console") && !apart.contains($0.pattern) }
            for page in pages { #expect(visited.contains(page.pattern), "no link leads to \(page.pattern)") }
            #expect(known.isSuperset(of: ["/assets/console.css", "/assets/console.js", "/assets/icon.svg"]))
        }
    }

    @Test func everyOtherAnswerIsGuardedToo() async throws {  // SEC-102, SEC-103
        try await Scene.with { scene in
            for path in [
                "/", "/assets/grantee.css", "/assets/console.css", "/assets/console.js", "/assets/icon.svg", "/health/live", "/health/ready", "/openapi.json",
                "/metrics", "/favicon.ico", "/nowhere", "/assets/nowhere", "/assets/../console",
            ] {
                for isSignedIn in [true, false] { expectGuarded("GET \(path)", try await scene.get(path, isSignedIn: isSignedIn), scene) }
                expectGuarded("DELETE \(path)", try await scene.get(path, method: "DELETE"), scene)
            }
            for route in Routes.all where route.access == .console {
                let path = filled(route.pattern)
                expectGuarded("stranger's \(route.method) \(path)", try await scene.get(path, isSignedIn: false, method: route.method.rawValue), scene)
                expectGuarded("unknown \(route.method) \(path)", try await scene.get(path, method: route.method.rawValue), scene)
                for method in ["HEAD", "PUT", "OPTIONS"] { expectGuarded("\(method) \(path)", try await scene.get(path, method: method), scene) }
            }
            for path in ["/console/nowhere", "/console/connections/app/nowhere", "/console/connections/%00", "/console/connections/%ZZ", "/console/"] {
                for isSignedIn in [true, false] { expectGuarded("GET \(path)", try await scene.get(path, isSignedIn: isSignedIn), scene) }
            }
            expectGuarded("wrong key at /console/sign-in", try await scene.post("/console/sign-in", [("key", "gk_wrong")]), scene)
            expectGuarded("foreign form at /console/sign-in", try await scene.post("/console/sign-in", fields: Scene.form("https://evil.example")), scene)
            expectGuarded("no code at /console/sign-in/x", try await scene.get("/console/sign-in/x", isSignedIn: false), scene)
            for path in ["/console", "/console/nowhere", "/console/sign-in"] {
                let answer = try await scene.server.raw("GET", path, host: "evil.example", fields: ["Cookie: \(scene.cookie)"])
                #expect(answer.status == 421)
                expectGuarded("another host at \(path)", answer, scene)
            }
            let link = try await scene.stage.begin("app", ["subject": "user-2"])
            for path in [
                "/connect/\(link.ticket)", "/connect/result/\(link.session)", "/connect/unknown", "/connect/result/unknown", "/oauth/callback/app?state=x",
                "/oauth/callback/no",
            ] {
                expectGuarded("GET \(path)", try await scene.get(path, isSignedIn: false), scene, referrer: "no-referrer")
                expectGuarded("PUT \(path)", try await scene.get(path, isSignedIn: false, method: "PUT"), scene)
            }
        }
    }

    @Test func onPlainHTTPNothingIsSaidAboutHTTPS() async throws {  // SEC-103
        try await RunningServer.with { server in
            for path in ["/console", "/assets/console.css", "/nowhere"] {
                #expect(try await server.raw("GET", path).field("Strict-Transport-Security") == nil, "\(path)")
            }
            // Another name of this machine, on the way to the public URL.
            let alias = try await server.raw("GET", "/console/nowhere", host: "localhost:\(try EndpointURL(server.url).effectivePort)")
            #expect(alias.status == 302 && alias.field("Location") == server.url + "/console/nowhere")
            #expect(alias.field("Content-Security-Policy") == Self.filePolicy && alias.field("Cache-Control") == "no-store")
        }
    }

    // MARK: Nowhere

    @Test func whatIsNotThereIsAPageOfTheConsole() async throws {
        try await Scene.with { scene in
            for path in ["/console/nowhere", "/console/connections/app/nowhere", "/console/connections/app/grants", "/console/"] {
                let page = try await scene.get(path)
                #expect(page.status == 404, "\(path)")
                #expect(page.body.contains("<h1>Not found</h1>") && page.body.contains("action=\"/console/sign-out\""), "\(path)")
                let stranger = try await scene.get(path, isSignedIn: false)
                #expect(stranger.status == 401, "\(path)")
                #expect(stranger.body.contains("action=\"/console/sign-in\"") && !stranger.body.contains("sign-out"), "\(path)")
            }
            let form = try await scene.get("/console/connections/app/connect")
            #expect(form.status == 405 && form.field("Allow") == "POST")
            #expect(form.body.contains("<h1>Method not allowed</h1>") && form.body.contains("a form is sent here"), "\(form.body)")
            #expect(try await scene.get("/console/connections/app/connect", isSignedIn: false).status == 401)
            // Programs are told as ever.
            for path in ["/nowhere", "/consolex", "/v1/nowhere"] {
                let answer = try await scene.get(path)
                #expect(answer.status == 404 && answer.field("Content-Type") == "application/problem+json", "\(path)")
            }
        }
    }

    // MARK: Nothing happens

    @Test func lookingAndForeignFormsStartNothing() async throws {  // SEC-16, SEC-101
        try await Scene.with { scene in
            let connect = "/console/connections/app/connect"
            func state() async throws -> [String] {
                var texts: [String] = []
                for path in ["/v1/connections", "/v1/grants", "/v1/keys", "/v1/webhooks", "/v1/activity?action=connect.begun"] {
                    // Uses are noted every now and then, by themselves.
                    texts.append(try await scene.server.send(.get, path).text.replacing(/"last_used_at":[^,}]*/, with: ""))
                }
                texts += try await scene.server.send(.get, "/v1/revocations").items("id")
                return texts
            }
            let requests = try await scene.stage.provider.tokenRequests("machine").count
            let before = try await state()
            for route in Routes.all where route.method == .post && route.access == .console {
                for connection in ["app", "machine"] {
                    let path = route.pattern.replacing("{id}", with: connection).replacing("{subject}", with: "user-1").replacing("{ticket}", with: "x")
                    for method in ["GET", "HEAD"] {
                        let answer = try await scene.get(path + "?csrf=\(scene.csrf)&confirm=yes&button=all&id=\(connection)", method: method)
                        #expect([200, 404, 405].contains(answer.status), "\(method) \(path): \(answer.status)")
                    }
                }
            }
            for path in [connect, "/console/connections/machine/connect"] {
                for fields in [
                    Scene.form("https://evil.example"), Scene.form("null"), Scene.form() + ["Sec-Fetch-Site: cross-site"], [Scene.form()[1]], [Scene.form()[0]],
                    [Scene.form()[0], "Content-Type: text/plain"],
                ] {
                    let answer = try await scene.post(path, [("csrf", scene.csrf), ("subject", "user-2")], fields: fields)
                    #expect(answer.status == 403, "\(fields)")
                }
                #expect(try await scene.post(path, [("subject", "user-2")]).status == 403)
            }
            #expect(try await state() == before)
            #expect(try await scene.stage.provider.tokenRequests("machine").count == requests)

            // A form of its own page does start one; a link of ours leads to the provider, and not the form's answer.
            let answer = try await scene.submit(connect, [("subject", "user-2")])
            #expect(answer.status == 303 && answer.field("Location")?.hasPrefix(Scene.origin + "/connect/") == true, "\(answer.head)")
            let begun = try await scene.server.send(.get, "/v1/activity?action=connect.begun")
            #expect(begun.items("subject") == ["user-2"])
        }
    }
}

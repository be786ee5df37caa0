import HTTPTypes
import OAuth
import RehearsalProvider
import Server
import TestSupport
import Testing

/// A text to be planted, cut to what each place takes. Each place has a mark of its own before it, to be found on the pages by.
struct Plant: Sendable, CustomTestStringConvertible {
    let name: String
    let payload: String
    static let harmless = Plant(name: "harmless", payload: "harmless")
    var testDescription: String { name }

    static func mark(_ place: String) -> String { "zq" + place }

    /// As it is.
    func text(_ place: String) -> String { Self.mark(place) + payload }

    /// What is typed into a field, or stands in a query.
    func typed(_ place: String) -> String { cut(place, 300) { _ in true } }

    /// A name: one line, nothing invisible.
    func line(_ place: String) -> String {
        cut(place, 150) { ![.control, .format, .lineSeparator, .paragraphSeparator].contains($0.properties.generalCategory) }
    }

    /// Visible ASCII without spaces.
    func word(_ place: String) -> String { cut(place, 120) { (0x21...0x7E).contains($0.value) } }

    /// What a scope may hold.
    func scope(_ place: String) -> String { cut(place, 120) { (0x21...0x7E).contains($0.value) && $0 != "\"" && $0 != "\\" } }

    private func cut(_ place: String, _ limit: Int, _ isKept: (Unicode.Scalar) -> Bool) -> String {
        var kept = String.UnicodeScalarView()
        var length = 0
        for scalar in payload.unicodeScalars where isKept(scalar) {
            length += UTF8.width(scalar)
            if length > limit { break }
            kept.append(scalar)
        }
        return Self.mark(place) + String(kept)
    }
}

/// A server, a provider and an API with a text planted wherever somebody else has a say, and a walk over every page that shows it.
struct PlantedConsole {
    struct Seen: Sendable {
        let what: String
        let page: Visitor.Page
        /// Marks of the places whose text is to be found here.
        let marks: [String]
        /// Made of the same elements each time, whatever the text: neither the time nor what is wrong with the text adds one.
        let isSteady: Bool
    }
    struct Walk: Sendable {
        let origin: String
        let csrf: String
        let seen: [Seen]
    }

    let plant: Plant
    let stage: Stage
    let upstream: RawUpstream
    let browser: ConsoleBrowser
    private var seen: [Seen] = []

    static let returnURL = "https://app.example/back"

    static func walk(_ plant: Plant) async throws -> Walk {
        try await RawUpstream.with(.answering { [.send(Self.answer(to: $0, plant))] }) { upstream in
            try await Stage.with { stage in
                var console = PlantedConsole(
                    plant: plant, stage: stage, upstream: upstream, browser: try await ConsoleBrowser.signedIn(stage.server))
                try await console.set()
                try await console.visitEndUserPages()
                try await console.makeTrouble()
                try await console.visitConnectionPages()
                try await console.visitOtherPages()
                try await console.ask()
                try await console.typeIntoConnectionForms()
                try await console.typeIntoOtherForms()
                try await console.signInAgain()
                return Walk(origin: stage.server.url, csrf: try await console.browser.csrf(), seen: console.seen)
            }
        }
    }

    private var server: RunningServer { stage.server }
    private static func encoded(_ text: String) -> String { Form.percentEncode(text) }

    private mutating func note(_ what: String, _ page: Visitor.Page, _ marks: [String] = [], isSteady: Bool = false) {
        seen.append(Seen(what: what, page: page, marks: marks, isSteady: isSteady))
    }

    private mutating func get(_ path: String, as what: String? = nil, _ marks: [String] = [], isSteady: Bool = false) async throws {
        note(what ?? path, try await browser.get(path), marks, isSteady: isSteady)
    }

    private mutating func submit(_ path: String, as what: String, _ form: [(String, String)] = [], _ marks: [String] = []) async throws {
        note(what, try await browser.submit(path, form), marks)
    }

    // MARK: Those who answer

    private static func answer(to request: RawUpstream.Request, _ plant: Plant) -> [UInt8] {
        let origin = "http://" + (request["host"] ?? "")
        func json(_ value: JSONValue) -> [UInt8] {
            RawUpstream.answer("200 OK", ["Content-Type: application/json"], body: String(decoding: value.serialized(), as: UTF8.self))
        }
        let page = "<!doctype html><title>\(plant.text("title"))</title><p>\(plant.text("words"))</p>"
        if request.target.contains("/.well-known/") {
            let isOther = request.target.contains("other")
            return json([
                "issuer": .string(isOther ? plant.text("issuer") : origin), "authorization_endpoint": .string(origin + "/authorize"),
                "token_endpoint": .string(origin + "/token"), "scopes_supported": [.string(plant.text("supported"))],
                "grant_types_supported": [.string(plant.text("grants"))], "token_endpoint_auth_methods_supported": [.string(plant.text("methods"))],
                "code_challenge_methods_supported": [.string(plant.text("challenges"))],
            ])
        }
        switch request.target.prefix(while: { $0 != "?" }) {
        case "/token-page": return RawUpstream.answer("400 Bad Request", ["Content-Type: text/html"], body: page)
        case "/token-type": return json(["access_token": "a-token", "token_type": .string(plant.text("type"))])
        case "/hook": return RawUpstream.answer("500 Failed", ["Content-Type: text/html"], body: page)
        default:
            let fields = ["Content-Type: text/html; charset=utf-8", "X-'onload'-Name: \(plant.word("field"))", "X-Named-\(Plant.mark("name")): 1"]
            return RawUpstream.answer("200 OK", fields, body: "<p>\(plant.text("body"))</p>")
        }
    }

    // MARK: Planting

    private func set() async throws {
        let refusal: JSONValue = ["error": "invalid_grant", "error_description": .string(plant.text("said")), "error_uri": "javascript:alert(1)"]
        let refusing: JSONValue = [
            "status": 400, "content_type": "application/json", "body": .string(String(decoding: refusal.serialized(), as: UTF8.self)),
        ]
        try await stage.provider.client([
            "id": "planted", "secret": "planted-secret", "scopes": ["read", "openid", .string(plant.scope("scope"))],
            "faults": [
                ["fault": "id_token", "value": ["sub": .string(plant.word("account"))]], ["fault": "answer", "value": refusing, "on": "refresh_token"],
            ],
        ])
        try await stage.provider.client(["id": "refusing", "secret": "refusing-secret", "faults": [["fault": "answer", "value": refusing]]])
        let line = JSONValue.string(plant.line("line"))
        var app =
            MCPTests.open(
                stage.provider.connection(
                    "app", "authorization_code", client: "planted", secret: "planted-secret",
                    oauth: [
                        "issuer": .string(stage.provider.url), "scopes": ["read", "openid", .string(plant.scope("scope"))],
                        "token_params": ["planted": line], "authorization_params": ["planted": line],
                        "token_headers": ["X-Planted": .string(plant.word("word"))],
                    ])
            ).object ?? [:]
        app["name"] = .string(plant.line("name"))
        app["base_url"] = .string(upstream.url + "/v1")
        app["headers"] = ["X-Planted": .string(plant.word("header"))]
        app["authentication_instructions"] = .string("Authorization: Bearer <token>\nRead this: " + plant.line("guidance"))
        try await stage.add(.object(app))
        func add(_ id: String, _ grantType: String, client: String, secret: String, tokenPath: String? = nil) async throws {
            var document = stage.provider.connection(id, grantType, client: client, secret: secret).object ?? [:]
            document["name"] = .string(plant.line("name"))
            if let tokenPath, var oauth = document["oauth"]?.object {
                oauth["token_url"] = .string(upstream.url + tokenPath)
                document["oauth"] = .object(oauth)
            }
            try await stage.add(.object(document))
        }
        try await add("typed", "password", client: "refusing", secret: "refusing-secret")
        try await add("machine", "client_credentials", client: "refusing", secret: "refusing-secret")
        try await add("html", "client_credentials", client: plant.line("client"), secret: "s", tokenPath: "/token-page")
        try await add("type", "client_credentials", client: plant.line("client"), secret: "s", tokenPath: "/token-type")
        let hook = upstream.url + "/hook?planted=" + Self.encoded(plant.line("hook"))
        #expect(
            try await server.send(.post, "/v1/webhooks", body: ["url": .string(hook), "events": ["grant.created", "connection.misconfigured"]]).status == 201)
        let bound = try await server.send(
            .post, "/v1/keys", body: ["name": .string(plant.line("bound")), "role": "use", "subjects": [.string(plant.word("bounds"))]])
        #expect(bound.status == 201, "\(bound.text)")
    }

    // MARK: Walking

    private mutating func visitEndUserPages() async throws {
        let subject = plant.word("subject")
        let key = try await server.makeKey(["name": .string(plant.line("app")), "role": "use"])
        let link = try await stage.begin(
            "app", ["subject": .string(subject), "return_url": .string(Self.returnURL)], key: .other(key))
        let visitor = Visitor()
        note("connect page", try await visitor.open(link.url), ["name", "app", "subject"], isSteady: true)
        note("result before", try await visitor.open(server.url + "/connect/result/" + link.session), ["name"], isSteady: true)
        let back = try await stage.consent(to: try await stage.leave(link, by: visitor), by: visitor)
        #expect(try await visitor.request(.get, back).headers[.location]?.hasPrefix(Self.returnURL) == true)
        #expect(try await stage.session(link)["state"]?.string == "connected")
        note("used link", try await visitor.open(link.url), isSteady: true)
        note("result", try await visitor.open(server.url + "/connect/result/" + link.session), ["name", "app", "subject"], isSteady: true)

        let refused = try await stage.begin("app", ["subject": .string(subject)], key: .other(key))
        let state = try parameters(of: try await stage.leave(refused, by: visitor))["state"] ?? ""
        let query = Form.serialize([
            ("state", state), ("error", plant.typed("error")), ("error_description", plant.typed("described")), ("error_uri", "javascript:alert(1)"),
            ("iss", stage.provider.url),
        ])
        note("refused", try await visitor.open(server.url + "/oauth/callback/app?" + query), ["name", "described"], isSteady: true)
        try await get("/console/connections/app?grantee_session=\(refused.session)", as: "console after a refusal", ["name", "described"])
        note("nobody's answer", try await visitor.open(server.url + "/oauth/callback/app?" + query), isSteady: true)

        let typed = try await stage.begin("typed", ["subject": .string(subject)], key: .other(key))
        note("password page", try await visitor.open(typed.url), ["name", "app", "subject"], isSteady: true)
        let form = [("username", plant.typed("user").replacing("\0", with: "")), ("password", "wrong")]
        note("password refused", try await visitor.request(.post, typed.url, form: form), ["name", "user"], isSteady: true)
        note("password missing", try await visitor.request(.post, typed.url, form: [form[0]]), ["name", "user"])

        let agent = try await server.makeKey(["name": .string(plant.line("agent")), "role": "agent"])
        let made = try await MCPTests.Client(server: server, key: .other(agent)).call("connect", ["connection": "app"])
        let path = String(try #require(made["connect_url"]?.string, "\(made.text)").dropFirst(server.url.count))
        note("agent's link", try await visitor.open(server.url + path), ["name", "agent"], isSteady: true)
        let confirm = path.replacing("/connect/", with: "/console/confirm/")
        try await get(confirm, as: "question about an agent's link", ["name", "agent", "scope"], isSteady: true)
    }

    private mutating func makeTrouble() async throws {
        try await stage.put("app", "late", ["access_token": "an-old-token", "refresh_token": "a-refresh-token", "expires_in": 0, "scope": ["read"]])
        try await submit("/console/connections/app/grants/late/refresh", as: "refresh refused", [], ["name", "said"])
        for id in ["machine", "html", "type"] {
            try await submit("/console/connections/\(id)/connect", as: "\(id): no token", [], ["name"])
            try await submit("/console/connections/\(id)/doctor", as: "\(id): check", [("button", "check")])
            try await submit("/console/connections/\(id)/doctor", as: "\(id): probe", [("button", "probe")])
            try await submit(
                "/console/connections/\(id)/doctor", as: "\(id): apply", [("button", "apply"), ("check", plant.typed("check")), ("revision", "1")])
            try await get("/console/connections/\(id)", ["name"])
            try await get("/console/connections/\(id)/doctor", id == "machine" ? ["name", "said"] : ["name"])
            try await get("/console/connections/\(id)/edit", id == "machine" ? ["name"] : ["name", "client"], isSteady: true)
        }
    }

    private mutating func visitConnectionPages() async throws {
        let app = "/console/connections/app"
        try await get(app, as: "connection", ["name", "subject", "account", "scope"], isSteady: true)
        try await get(app + "/edit", as: "edit", ["name", "scope", "guidance", "line", "header", "word"], isSteady: true)
        try await get(app + "/try", as: "try", ["name", "subject"], isSteady: true)
        try await get(app + "/use", as: "use", ["name", "guidance", "subject"], isSteady: true)
        try await get(app + "/agents", as: "agents", ["name"], isSteady: true)
        try await get(app + "/activity", as: "activity of a connection", ["name", "subject"])
        try await get(app + "/doctor", as: "doctor", ["name"])
        try await get(app + "/remove", as: "remove", ["name"], isSteady: true)
        let grant = app + "/grants/" + Self.encoded(plant.word("subject"))
        try await get(grant, as: "grant", ["name", "subject", "account", "scope"])
        try await get(grant + "/disconnect", as: "disconnect", ["name", "subject"], isSteady: true)
        try await get(app + "/grants/late", as: "late grant", ["name"])
        let call = [
            ("method", "POST"), ("path", "/x"), ("query", "q=" + Self.encoded(plant.typed("query"))),
            ("subject", plant.word("subject")), ("headers", "X-Typed: " + plant.word("typed")), ("body", plant.text("sent").replacing("\0", with: "")),
        ]
        try await submit(app + "/try", as: "answer of the API", call, ["name", "typed", "body", "field", "sent"])
    }

    private mutating func visitOtherPages() async throws {
        _ = try await ConsoleBrowser(server).post("/console/sign-in", [("key", server.adminKey)], [.userAgent: plant.word("agent")])
        try await get("/console", as: "overview", ["name"])
        try await get("/console/grants", ["name", "subject", "account", "scope"], isSteady: true)
        try await get("/console/keys", ["app", "bound", "bounds", "agent"])
        try await get("/console/webhooks", ["hook"], isSteady: true)
        try await get("/console/activity", ["subject"])
        try await get("/console/settings", ["agent"], isSteady: true)
        try await get("/console/settings/revocations", ["app", "agent"], isSteady: true)
        for webhook in try await server.send(.get, "/v1/webhooks").items("id") {
            try await get("/console/webhooks/\(webhook)", as: "webhook", ["hook"])
            try await get("/console/webhooks/\(webhook)/remove", as: "remove a webhook", ["hook"], isSteady: true)
        }
        for key in try await server.send(.get, "/v1/keys").items("id") where key != "key_admin" {
            try await get("/console/keys/\(key)/remove", as: "remove a key", isSteady: true)
        }
    }

    /// In queries and paths.
    private mutating func ask() async throws {
        let text = Self.encoded(plant.typed("asked"))
        for (path, isShown) in [
            ("/console?q=", true), ("/console?done=", false), ("/console?after=", false), ("/console?show=", false), ("/console/new?q=", true),
            ("/console/new/form?name=", true), ("/console/new/form?preset=", true), ("/console/grants?subject=", true), ("/console/grants?connection=", true),
            ("/console/grants?state=", false), ("/console/activity?subject=", true), ("/console/activity?connection=", true),
            ("/console/activity?action=", false),
            ("/console/connections/app/activity?subject=", true), ("/console/connections/app/use?subject=", true),
            ("/console/connections/app/try?subject=", true),
            ("/console/connections/app?grantee_session=", false), ("/console/connections/app?after=", false), ("/console/sign-in?next=", false),
            ("/console/settings/revocations?step=confirm&subject=", true), ("/console/settings/revocations?step=confirm&connection=", true),
            ("/console/settings/revocations?subject=", true), ("/console/", false), ("/console/connections/", false), ("/console/keys?done=", false),
            ("/console/webhooks/", false), ("/console/settings/revocations/", false), ("/console/confirm/", false), ("/connect/", false),
            ("/connect/result/", false), ("/oauth/callback/", false), ("/oauth/callback/app?state=", false),
        ] {
            try await get(path + text, as: path, isShown ? ["asked"] : [])
        }
        for path in ["/console/connections/app/grants/", "/console/keys/", "/console/sign-in/"] {
            try await get(path + text + (path == "/console/keys/" ? "/remove" : ""), as: path)
        }
        for path in ["/console/keys?name=", "/console/sign-in?next=/console/", "/console/sign-in/"] {
            note("stranger at " + path, try await ConsoleBrowser(server).get(path + text))
        }
    }

    // MARK: Typing

    private mutating func typeIntoConnectionForms() async throws {
        for (path, buttons) in [
            ("/console/new/form", ["preview", "save", "discover"]), ("/console/connections/app/edit", ["preview", "save", "discover"]),
        ] {
            let page = try await browser.get(path)
            var form = try #require(FormReader(page.body, action: path), "\(page.status) \(path)")
            for name in Set(form.pairs.map(\.0)) where !["csrf", "form", "etag", "grant_type", "keep_grants"].contains(name) { form[name] = plant.typed(name) }
            for button in buttons {
                form["button"] = button
                let marks = ["name", "client_id", "scopes", "base_url", "authentication_instructions", "token_url", "headers", "return_origins"]
                note("\(path): \(button)", try await browser.post(path, form.pairs), marks)
            }
            note("\(path): fragment", try await browser.post("/console/preview", form.pairs))
        }
        let edit = "/console/connections/app/edit"
        var form = try #require(FormReader(try await browser.get(edit).body, action: edit))
        form["name"] = plant.line("mine")
        form["etag"] = "0"
        note("conflict", try await browser.post(edit, form.pairs), ["name", "mine"], isSteady: true)
        try await submit("/console/new/form", as: "metadata", [("issuer", upstream.url), ("button", "discover")], ["supported"])
        try await submit("/console/new/form", as: "metadata of another", [("issuer", upstream.url + "/other"), ("button", "discover")], ["issuer"])
    }

    private mutating func typeIntoOtherForms() async throws {
        let app = "/console/connections/app"
        func typed(_ names: String...) -> [(String, String)] { names.map { ($0, plant.typed($0)) } }
        // What no subject holds, and so is refused each time.
        let subject = [("subject", plant.typed("subject") + " é"), ("login_hint", plant.typed("login_hint"))]
        try await submit(app + "/connect", as: "connect", subject, ["subject", "login_hint"])
        try await submit(app + "/try", as: "try refused", typed("method", "path", "query", "headers", "subject", "body"), ["path", "query", "headers", "body"])
        let etag = try await browser.get(app + "/agents").field("etag") ?? ""
        try await submit(app + "/agents", as: "agents refused", typed("methods", "paths", "headers") + [("etag", etag)], ["paths", "headers"])
        try await submit(app + "/remove", as: "removal refused", typed("id"), ["name"])
        let key = typed("name", "role", "subjects", "requests_per_minute", "expires_at")
        try await submit("/console/keys", as: "key refused", key, ["name", "subjects", "requests_per_minute", "expires_at"])
        try await submit("/console/keys", as: "key made", [("name", plant.line("made")), ("role", "use")], ["made"])
        try await submit("/console/webhooks", as: "webhook refused", typed("url"), ["url"])
        let hook = upstream.url + "/hook?planted=" + Self.encoded(plant.line("second"))
        try await submit("/console/webhooks", as: "webhook made", [("url", hook)], ["second"])
        let revocation = typed("connection", "subject", "confirm")
        try await submit("/console/settings/revocations", as: "revocation refused", revocation, ["connection", "subject"])
        try await submit("/console/settings/sessions", as: "no session", typed("button"))
    }

    private mutating func signInAgain() async throws {
        let stranger = ConsoleBrowser(server)
        let typed = [("name", plant.typed("kept")), (plant.typed("field"), "value")]
        note("form of nobody", try await stranger.post("/console/keys", typed), ["kept", "field"])
        let kept = [("next", plant.typed("next")), ("resume.name", plant.typed("kept")), ("resume." + plant.typed("field"), "value")]
        note("wrong key", try await stranger.post("/console/sign-in", kept + [("key", plant.typed("key"))]), ["kept", "field"])
        let back = [("next", "/console/keys?" + Self.encoded(plant.typed("next")))] + kept.dropFirst()
        note("signed in again", try await stranger.post("/console/sign-in", back + [("key", server.adminKey)]), ["kept", "field", "next"])
    }
}

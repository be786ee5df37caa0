import HTTPTypes
import OAuth
import TestSupport
import Testing

@testable import Server

/// What nobody should send: each is refused with a problem that names the place, and changes nothing.
@Suite struct BadInputTests {
    // MARK: Fields

    enum Kind: Sendable {
        case text, lines, url, choice, flag, integer, texts, map, object, time, character, scopes

        /// Each refused wherever such a field stands. Built from JSON text: some of it no literal can say.
        var wrong: [String] {
            let notText = ["7", "true", "[]", "{}"]
            let badText = [#""""#, #""a\u0000b""#, #""a\u001bb""#, #""a\u0085b""#]
            switch self {
            case .text: return notText + badText + [#""a\nb""#, #""a\r\nb""#]
            case .lines: return notText + badText
            case .url, .choice, .time: return notText + badText + [#""unheard of""#]
            case .flag: return ["7", "0", #""true""#, "[]", "{}"]
            case .integer: return ["-1", "1.5", "1e400", "9223372036854775808", "99999999999", "true", #""7""#, "[]", "{}"]
            case .texts: return ["7", "true", #""read""#, "{}", "[7]", "[null]", #"[""]"#, #"["a\nb"]"#, #"[["a"]]"#]
            case .scopes: return ["7", "true", "{}", "[7]", "[null]", #"[""]"#, #"["a b"]"#, #"["a\u0000"]"#, #""a\u0000""#]
            case .map: return ["7", "true", #""a""#, "[]", #"{"a":7}"#, #"{"a":[]}"#, #"{"a":"b\nc"}"#, #"{"":"x"}"#]
            case .object: return ["7", "true", #""a""#, "[]"]
            case .character: return ["7", "true", "[]", "{}", #""""#, #""ab""#, #""x""#, #""\u0000""#]
            }
        }

        /// Longer than any field may be.
        func tooLong(_ length: Int) -> JSONValue? {
            let long = JSONValue.string(String(repeating: "a", count: length))
            switch self {
            case .text, .lines, .url, .choice, .time, .character: return long
            case .texts, .scopes: return [long]
            case .map: return ["a": long]
            case .flag, .integer, .object: return nil
            }
        }
    }

    struct Field: Sendable {
        let pointer: String
        let kind: Kind
        var isRequired = false

        init(_ pointer: String, _ kind: Kind, required: Bool = false) {
            self.pointer = pointer
            self.kind = kind
            isRequired = required
        }

        var path: [String] { pointer.split(separator: "/").map(String.init) }
        /// Whether a problem names this field, or a part of it.
        func isNamed(by answer: RunningServer.Answer) -> Bool { answer.pointers.contains { $0 == pointer || $0.hasPrefix(pointer + "/") } }
    }

    static let connection: [Field] = [
        Field("/id", .text), Field("/name", .text, required: true), Field("/preset", .choice), Field("/base_url", .url),
        Field("/oauth", .object, required: true), Field("/authentication_instructions", .lines), Field("/headers", .map), Field("/variables", .map),
        Field("/variable_patterns", .object), Field("/return_origins", .texts), Field("/keep_alive", .flag), Field("/allow_token_in_query", .flag),
        Field("/allow_encoded_slash", .flag), Field("/agent_access", .object), Field("/agent_access/enabled", .flag), Field("/agent_access/methods", .texts),
        Field("/agent_access/paths", .texts), Field("/agent_access/headers", .texts),
        Field("/oauth/grant_type", .choice, required: true), Field("/oauth/pkce", .choice), Field("/oauth/issuer", .url),
        Field("/oauth/authorization_url", .url, required: true), Field("/oauth/token_url", .url, required: true), Field("/oauth/refresh_url", .url),
        Field("/oauth/revocation_url", .url), Field("/oauth/client_id", .text, required: true), Field("/oauth/client_secret", .text),
        Field("/oauth/client_authentication", .choice), Field("/oauth/scopes", .texts), Field("/oauth/scope_separator", .character),
        Field("/oauth/redirect_uri", .url), Field("/oauth/username", .text), Field("/oauth/password", .text), Field("/oauth/authorization_params", .map),
        Field("/oauth/token_params", .map), Field("/oauth/refresh_params", .map), Field("/oauth/token_headers", .map),
        Field("/oauth/token_request_format", .choice), Field("/oauth/token_request_method", .choice), Field("/oauth/token_response_members", .map),
        Field("/oauth/default_expires_in", .integer), Field("/oauth/refresh_token_idle_days", .integer), Field("/oauth/client_secret_expires_at", .time),
        Field("/oauth/parameter_names", .map), Field("/oauth/raw_scope", .flag), Field("/oauth/response_mode", .choice),
        Field("/oauth/code_parameter", .text), Field("/oauth/state_parameter", .text), Field("/oauth/redirect_uri_in_exchange", .flag),
        Field("/oauth/state_in_exchange", .flag), Field("/oauth/client_id_in_body", .flag), Field("/oauth/basic_user", .choice),
        Field("/oauth/client_auth_for_refresh", .choice), Field("/oauth/response_path", .text), Field("/oauth/error_path", .text),
        Field("/oauth/error_aliases", .map), Field("/oauth/token_type_aliases", .texts), Field("/oauth/expires_in_unit", .choice),
        Field("/oauth/zero_means_never", .flag), Field("/oauth/refresh_token_policy", .choice), Field("/oauth/scope_in_refresh", .flag),
        Field("/oauth/rotation_grace", .integer), Field("/oauth/refresh_margin", .integer),
    ]
    static let connect: [Field] = [
        Field("/subject", .text), Field("/return_url", .url), Field("/username", .text), Field("/password", .text), Field("/scopes", .texts),
        Field("/login_hint", .text), Field("/completion", .choice), Field("/expected_account", .text), Field("/allow_account_change", .flag),
    ]
    static let diagnosis: [Field] = [Field("/probe", .flag), Field("/apply", .texts)]
    static let completion: [Field] = [Field("/subject", .text, required: true)]
    static let key: [Field] = [
        Field("/name", .text, required: true), Field("/role", .choice, required: true), Field("/connections", .texts), Field("/subjects", .texts),
        Field("/requests_per_minute", .integer), Field("/expires_at", .time),
    ]
    static let grant: [Field] = [
        Field("/access_token", .text), Field("/refresh_token", .text), Field("/expires_in", .integer), Field("/scope", .scopes),
    ]
    static let discovery: [Field] = [Field("/issuer", .url, required: true)]
    static let revocation: [Field] = [Field("/connection", .text), Field("/subject", .text), Field("/key", .text)]
    static let webhook: [Field] = [Field("/url", .url, required: true), Field("/events", .texts, required: true)]
    static let replay: [Field] = [Field("/since", .time), Field("/delivery", .text)]

    /// One body that is taken, the request it belongs to, and its fields.
    struct Body: Sendable, CustomTestStringConvertible {
        let method: HTTPRequest.Method
        let path: String
        let base: JSONObject
        let fields: [Field]
        /// The schema of the API's description that lists the fields, and what it holds besides.
        var schema: String?
        var testDescription: String { "\(method) \(path)" }
        var isPatch: Bool { method == .patch }
    }

    private static let oauth: JSONObject = [
        "grant_type": "authorization_code", "authorization_url": "https://as.example/authorize", "token_url": "https://as.example/token", "client_id": "client",
    ]

    static let bodies: [Body] = [
        Body(method: .post, path: "/v1/connections", base: ["name": "New", "oauth": .object(oauth)], fields: connection, schema: "ConnectionInput"),
        Body(method: .patch, path: "/v1/connections/app", base: [:], fields: connection),
        Body(method: .post, path: "/v1/connections/app/connect", base: ["subject": "user-1"], fields: connect, schema: "ConnectOptions"),
        Body(method: .post, path: "/v1/connect-sessions/SESSION/complete", base: ["subject": "user-1"], fields: completion, schema: "Completion"),
        Body(method: .post, path: "/v1/keys", base: ["name": "New", "role": "use"], fields: key, schema: "KeyInput"),
        Body(method: .put, path: "/v1/connections/app/grants/user-1", base: ["access_token": "a"], fields: grant, schema: "ImportedTokens"),
        Body(method: .post, path: "/v1/connections/discover", base: ["issuer": "https://as.example"], fields: discovery),
        Body(
            method: .post, path: "/v1/webhooks", base: ["url": "https://app.example/hook", "events": ["*"]], fields: webhook, schema: "WebhookInput"),
        // What is wrong with a body is said before the webhook is looked for.
        Body(method: .post, path: "/v1/webhooks/wh_none/replay", base: [:], fields: replay, schema: "ReplayInput"),
        Body(method: .post, path: "/v1/revocations", base: ["subject": "nobody"], fields: revocation, schema: "RevocationInput"),
        Body(method: .post, path: "/v1/vault/rotate", base: [:], fields: [Field("/data_keys", .flag)], schema: "RotateOptions"),
        Body(method: .post, path: "/v1/console-links", base: [:], fields: []),
        Body(method: .post, path: "/v1/connections/app/diagnose", base: [:], fields: diagnosis, schema: "DiagnoseInput"),
    ]

    /// A server with one connection, one grant and one open session, and what its lists say.
    struct Site: Sendable {
        let server: RunningServer
        let session: String

        static func with(_ body: (Site) async throws -> Void) async throws {
            try await RunningServer.with { server in
                let made = try await server.send(
                    .post, "/v1/connections",
                    body: ["id": "app", "name": "App", "return_origins": ["https://app.example"], "oauth": .object(BadInputTests.oauth)])
                #expect(made.status == 201, "\(made.text)")
                _ = try await server.send(.put, "/v1/connections/app/grants/user-9", body: ["access_token": "there-before"])
                let link = try await server.send(.post, "/v1/connections/app/connect", body: ["subject": "user-1"])
                let site = Site(server: server, session: link.string("session"))
                let before = try await site.lists()
                try await body(site)
                #expect(try await site.lists() == before, "something was stored")
                #expect(try await server.send(.get, "/health/live", key: .none).status == 200)
            }
        }

        private func lists() async throws -> [String] {
            var texts: [String] = []
            for path in ["/v1/connections", "/v1/keys", "/v1/grants", "/v1/webhooks"] {
                // When a key was used last is no change that a request made.
                texts.append(try await server.send(.get, path).text.replacing(/"last_used_at":(null|"[^"]*")/, with: ""))
            }
            return texts
        }

        func send(_ body: Body, _ document: JSONValue?, raw: [UInt8]? = nil) async throws -> RunningServer.Answer {
            try await server.send(body.method, body.path.replacing("SESSION", with: session), body: document, raw: raw)
        }

        func expectRefusal(_ answer: RunningServer.Answer, of field: Field, _ what: String, sourceLocation: SourceLocation = #_sourceLocation) {
            #expect(
                answer.isProblem("invalid_request", 400) && field.isNamed(by: answer), "\(field.pointer) \(what): \(answer.status) \(answer.text)",
                sourceLocation: sourceLocation)
        }
    }

    /// `base` with a value at a path; `nil` takes it out. A copy of what is on the way is made.
    static func document(_ base: JSONObject, _ path: ArraySlice<String>, _ value: JSONValue?) -> JSONObject {
        var object = base
        guard let name = path.first else { return object }
        if path.count == 1 {
            object[name] = value
        } else {
            object[name] = .object(document(base[name]?.object ?? [:], path.dropFirst(), value))
        }
        return object
    }

    @Test("Each field, with each value that it may not have", arguments: bodies)
    func wrongValues(body: Body) async throws {
        try await Site.with { site in
            for field in body.fields {
                for text in field.kind.wrong {
                    let value = try JSONValue(parsing: Array(text.utf8))
                    let answer = try await site.send(body, .object(Self.document(body.base, field.path[...], value)))
                    site.expectRefusal(answer, of: field, text)
                }
                guard field.isRequired else { continue }
                // A merge patch keeps what is absent; null takes it away there too.
                let missing: [JSONValue?] = body.isPatch ? [.null] : [nil, .null]
                for value in missing {
                    let answer = try await site.send(body, .object(Self.document(body.base, field.path[...], value)))
                    site.expectRefusal(answer, of: field, value == nil ? "absent" : "null")
                }
            }
        }
    }

    @Test("Names that are not known, at every level", arguments: bodies)
    func unknownMembers(body: Body) async throws {
        try await Site.with { site in
            var places: [[String]] = [["bogus"], ["Name"], ["created"], ["a/b~c"], ["__proto__"]]
            if body.path.hasPrefix("/v1/connections") && body.fields.count > 20 {
                places += [["oauth", "bogus"], ["agent_access", "bogus"], ["variable_patterns", "callback.x", "bogus"]]
            }
            for place in places {
                let answer = try await site.send(body, .object(Self.document(body.base, place[...], "x")))
                let pointer = "/" + place.map { $0.replacing("~", with: "~0").replacing("/", with: "~1") }.joined(separator: "/")
                #expect(answer.isProblem("invalid_request", 400) && answer.pointers.contains(pointer), "\(pointer): \(answer.text)")
            }
        }
    }

    @Test("Every text at once, each too long: each is named", arguments: bodies.filter { $0.fields.contains { $0.kind.tooLong(1) != nil } })
    func tooLong(body: Body) async throws {
        try await Site.with { site in
            var document = body.base
            // In a patch these are judged before all others.
            let first = body.isPatch ? ["/id", "/oauth/client_secret", "/oauth/password"] : []
            let long = body.fields.filter { $0.kind.tooLong(1) != nil && !first.contains($0.pointer) }
            guard !long.isEmpty else { return }
            for field in long { document = Self.document(document, field.path[...], field.kind.tooLong(900_000 / max(long.count, 13))) }
            let answer = try await site.send(body, .object(document))
            #expect(answer.isProblem("invalid_request", 400))
            for field in long { #expect(field.isNamed(by: answer), "\(field.pointer)") }
            #expect(answer.bytes.count < 100_000)
        }
    }

    @Test func aTextOfNearlyAMebibyteIsRefusedAndNotRepeated() async throws {
        try await Site.with { site in
            let places: [(Int, String)] = [(0, "name"), (2, "login_hint"), (4, "name"), (5, "access_token"), (6, "issuer")]
            for (index, name) in places {
                let body = Self.bodies[index]
                // Written by hand: serializing a megabyte takes longer than sending it.
                var bytes = JSONValue.object(Self.document(body.base, [name], "@")).serialized()
                let place = try #require(bytes.firstIndex(of: UInt8(ascii: "@")))
                bytes.replaceSubrange(place...place, with: [UInt8](repeating: UInt8(ascii: "a"), count: 900_000))
                let answer = try await site.send(body, nil, raw: bytes)
                site.expectRefusal(answer, of: Field("/" + name, .text), "900 kB")
                #expect(answer.bytes.count < 2000)
            }
        }
    }

    @Test func everyFieldThatIsDescribedHasALineHere() throws {
        let api = try JSONValue(parsing: Array(PackageResources.openapi_json))
        let schemas = try #require(api["components"]?["schemas"])
        func names(_ schema: String) -> [String] { schemas[schema]?["properties"]?.object?.names.sorted() ?? [] }
        func fields(_ fields: [Field], under prefix: String) -> [String] {
            fields.map(\.pointer).filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }.filter { !$0.contains("/") }.sorted()
        }
        for body in Self.bodies {
            guard let schema = body.schema else { continue }
            // Read-only members of a connection are taken and not looked at.
            let described = names(schema).filter { !ConnectionDocument.readOnly.contains($0) }
            #expect(fields(body.fields, under: "/") == described, "\(schema)")
        }
        #expect(fields(Self.connection, under: "/oauth/") == names("OAuthInput"))
        #expect(fields(Self.connection, under: "/agent_access/") == names("AgentAccessInput"))
    }

    @Test func optionalMembersMayBeNull() async throws {
        try await RunningServer.with { server in
            var document: JSONObject = ["name": "New", "oauth": .object(Self.oauth)]
            for field in Self.connection where !field.isRequired && field.pointer != "/oauth" && !field.pointer.hasPrefix("/agent_access/") {
                document = Self.document(document, field.path[...], .null)
            }
            let answer = try await server.send(.post, "/v1/connections", body: .object(document))
            #expect(answer.status == 201, "\(answer.text)")
            #expect(answer["id"]?.string == "new")
            let key = try await server.send(
                .post, "/v1/keys",
                body: ["name": "k", "role": "use", "connections": .null, "subjects": .null, "requests_per_minute": .null, "expires_at": .null])
            #expect(key.status == 201, "\(key.text)")
        }
    }

    /// A body by its index, a field and its value.
    static let senseless: [(Int, String, String)] = [
        (0, "/id", #""-a""#), (0, "/id", #""A""#), (0, "/id", #""a_b""#), (0, "/id", #""a/b""#), (0, "/id", #""..""#), (0, "/id", #""discover""#),
        (0, "/preset", #""nowhere""#),
        (0, "/headers", #"{"Host":"x"}"#), (0, "/headers", #"{"X A":"x"}"#), (0, "/headers", #"{"X-A":"a\u0001"}"#),
        (0, "/authentication_instructions", #""Host: <token>""#), (0, "/authentication_instructions", #""?a=<token>""#),
        (0, "/variables", #"{"tenant":"a/b"}"#), (0, "/variables", #"{"tenant":"a.b@c"}"#), (0, "/variable_patterns", #"{"shop":{"kind":"label"}}"#),
        (0, "/variable_patterns", #"{"callback.shop":{"kind":"magic"}}"#),
        (0, "/variable_patterns", #"{"callback.shop":{"kind":"regex","pattern":"("}}"#),
        (0, "/variable_patterns", #"{"callback.shop":{"kind":"origin"}}"#), (0, "/variable_patterns", #"{"callback.shop":7}"#),
        (0, "/variable_patterns", #"{"callback.shop":{}}"#), (0, "/return_origins", #"["https://app.example/path"]"#),
        (0, "/return_origins", #"["http://app.example"]"#), (0, "/return_origins", #"["*"]"#), (0, "/return_origins", #"["null"]"#),
        (0, "/base_url", #""https://{callback.shop}.example""#), (0, "/base_url", #""https://{x.example""#), (0, "/oauth/scopes", #"["a b"]"#),
        (0, "/oauth/scopes", #"["\"a\""]"#), (0, "/oauth/username", #""alice""#), (0, "/oauth/password", #""p""#),
        (0, "/oauth/redirect_uri", #""http://app.example/cb""#), (0, "/oauth/redirect_uri", #""https://app.example/cb#x""#),
        (0, "/oauth/issuer", #""https://as.example/?tenant=1""#), (0, "/oauth/authorization_params", #"{"state":"x"}"#),
        (0, "/oauth/authorization_params", #"{"CLIENT_ID":"x"}"#), (0, "/oauth/token_params", #"{"grant_type":"x"}"#),
        (0, "/oauth/token_params", #"{"client_assertion":"x"}"#), (0, "/oauth/refresh_params", #"{"refresh_token":"x"}"#),
        (0, "/oauth/token_headers", #"{"Authorization":"x"}"#), (0, "/oauth/token_headers", #"{"content-length":"1"}"#),
        (0, "/oauth/default_expires_in", "0"), (0, "/oauth/rotation_grace", "86401"),
        (0, "/oauth/refresh_margin", "0"), (0, "/oauth/refresh_margin", "301"), (0, "/preset", #""alipay""#), (0, "/preset", #""Google""#),
        (0, "/oauth/client_secret_expires_at", #""2027-02-30T00:00:00Z""#), (0, "/oauth/client_secret_expires_at", #""2027-01-31""#),
        (0, "/oauth/client_secret_expires_at", #""2027-01-31T00:00:00Zzz""#), (2, "/subject", #""-""#), (2, "/subject", #""a b""#),
        (2, "/subject", #""ä""#), (2, "/return_url", #""https://evil.example/""#), (2, "/return_url", #""//app.example/""#),
        (2, "/return_url", #""https://app.example@evil.example/""#), (2, "/return_url", #""https://app.example.evil.example/""#),
        (2, "/return_url", #""http://app.example/""#), (2, "/return_url", #""javascript:alert(1)""#), (2, "/username", #""alice""#),
        (2, "/password", #""p""#), (2, "/scopes", #"["a b"]"#), (4, "/name", "null"), (4, "/role", #""root""#), (4, "/connections", #"["nowhere"]"#),
        (4, "/subjects", #"["-"]"#), (4, "/subjects", #"["a b"]"#), (4, "/requests_per_minute", "0"), (4, "/expires_at", #""2001-01-01T00:00:00Z""#),
        (4, "/expires_at", #""2027-01-31T25:00:00Z""#), (5, "/access_token", #""a b""#), (5, "/access_token", #""ä""#),
        (9, "/connection", "null"), (9, "/subject", "null"), (9, "/key", "null"), (9, "/subject", #""a b""#), (9, "/subject", #""ä""#),
        (5, "/refresh_token", #""a\"b c""#), (5, "/access_token", "null"), (5, "/expires_in", "315360001"), (7, "/events", "[]"),
        (7, "/events", #"["grant.created","grant.lost"]"#), (7, "/events", #"["GRANT.CREATED"]"#), (7, "/url", #""app.example/hook""#),
        (8, "/since", #""yesterday""#), (8, "/delivery", #""0""#), (8, "/delivery", #""1.5""#), (8, "/delivery", #""-1""#),
        (8, "/delivery", #""9999999999999999999""#),
    ]

    @Test func valuesOfTheRightTypeThatMakeNoSense() async throws {
        try await Site.with { site in
            for (index, pointer, text) in Self.senseless {
                let body = Self.bodies[index]
                let field = Field(pointer, .text)
                let value = try JSONValue(parsing: Array(text.utf8))
                let answer = try await site.send(body, .object(Self.document(body.base, field.path[...], value)))
                site.expectRefusal(answer, of: field, text)
            }
        }
    }

    // MARK: URLs

    /// What each URL of a connection, and an issuer, may not be. SEC-13, SEC-68
    static let malformedURLs = [
        "as.example/token", "//as.example/token", "/token", "https:", "https://", "https:///token", "https:as.example", "https:\\\\as.example\\token",
        "javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "ftp://as.example/", "gopher://as.example/", "unix:/tmp/s",
        "ws://as.example/", "https://user@as.example/", "https://user:pass@as.example/", "https://good.example\\@evil.example/",
        "https://as.example/#fragment", "https://as.example/a b", "https://as.example/\u{7F}", "https://as.exämple/", "https://аs.example/",
        "https://good%2eevil.example/", "https://good.example%00.evil.example/", "https://as.example:99999/", "https://as.example:0/",
        "https://as.example:-1/", "https://as.example:8a/", "https://[::1%25lo]/", "https://[::1/", "https://[1.2.3.4]/", "https://::1/",
        "https://a..b/", "https://-a.example/", "https://a_.b-/", "http://2130706433/", "http://0x7f.1/", "http://0x7f000001/", "http://127.1/",
        "http://0177.0.0.1/", "http://127.0.0.1.1/", "http://1.2.3.256/", "https://as.example/%zz", "https://as.example/%4",
        "https://as.example/<script>", "https://as.example/\"", "https://as.example/{x}", "https://{/",
    ]
    /// Where no outbound request may go, though it is a URL. SEC-67, SEC-70
    static let blockedURLs = [
        "http://169.254.169.254/latest/meta-data", "https://169.254.169.254/", "https://10.0.0.1/", "https://172.16.0.1/", "https://192.168.1.1/",
        "https://0.0.0.0/", "https://100.64.0.1/", "https://224.0.0.1/", "https://240.0.0.1/", "https://255.255.255.255/", "https://198.18.0.1/",
        "https://192.0.2.1/", "https://[fd00::1]/", "https://[fe80::1]/", "https://[::]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:a00:1]/",
        "https://[64:ff9b::a00:1]/", "https://[2002:a00:1::]/", "https://[ff02::1]/", "http://8.8.8.8/",
    ]

    @Test("Hostile URLs", arguments: connection.filter { $0.kind == .url }.map(\.pointer) + ["/issuer", "/url"])
    func hostileURLs(pointer: String) async throws {
        let field = Field(pointer, .url)
        let body = Self.bodies[["/issuer": 6, "/url": 7][pointer] ?? 0]
        try await Site.with { site in
            for url in Self.malformedURLs {
                let answer = try await site.send(body, .object(Self.document(body.base, field.path[...], .string(url))))
                site.expectRefusal(answer, of: field, url)
            }
            // A redirect URI is the browser's to open.
            guard pointer != "/oauth/redirect_uri" else { return }
            for url in Self.blockedURLs + [site.server.url + "/", site.server.url.replacing("127.0.0.1", with: "localhost")] {
                let answer = try await site.send(body, .object(Self.document(body.base, field.path[...], .string(url))))
                #expect(answer.isProblem("egress_blocked", 422), "\(pointer) \(url): \(answer.text)")
                #expect(pointer == "/issuer" || answer.pointers == [pointer], "\(pointer) \(url): \(answer.text)")
            }
        }
    }

    // MARK: Bodies that are none

    static let noObjects: [[UInt8]] = {
        let texts: [String] = [
            "", " ", "{", "}", "[]", "null", "7", #""x""#, "true", #"{"name":}"#, #"{"name" "x"}"#, #"{"name":"x",}"#, #"{name:"x"}"#,
            #"{'name':'x'}"#, #"{"name":"x"}{"#, #"{"name":NaN}"#, #"{"name":+1}"#, #"{"name":01}"#, #"{"name":.5}"#, #"{"name":"\x"}"#,
            #"{"name":"\ud800"}"#, "{\"name\":\"a\nb\"}", #"{"name":"a","name":"b"}"#, #"{"name":"x"} // comment"#, "name=x", "<name>x</name>",
        ]
        let deep = [
            String(repeating: "[", count: 100_000), String(repeating: #"{"a":"#, count: 50_000),
            #"{"oauth":"# + String(repeating: "[", count: 64) + String(repeating: "]", count: 64) + "}",
        ]
        return (texts + deep).map { Array($0.utf8) } + [[0x7B, 0x22, 0xFF, 0x22, 0x3A, 0x31, 0x7D], [0xFF, 0xFE, 0x7B, 0x00, 0x7D, 0x00], [0x00]]
    }()

    @Test("What is no JSON object", arguments: bodies)
    func noObject(body: Body) async throws {
        try await Site.with { site in
            for bytes in Self.noObjects {
                // Connecting, diagnosing, replaying and rotating take an empty body for an empty object.
                if bytes.isEmpty, ["/connect", "/console-links", "/diagnose", "/replay", "/rotate"].contains(where: body.path.hasSuffix) { continue }
                let answer = try await site.send(body, nil, raw: bytes)
                #expect(answer.isProblem("invalid_request", 400), "\(String(decoding: bytes.prefix(60), as: UTF8.self)): \(answer.text)")
                #expect(!answer.pointers.isEmpty)
            }
        }
    }

    @Test("A body of another type, or too large", arguments: bodies)
    func otherTypes(body: Body) async throws {
        try await Site.with { site in
            let path = body.path.replacing("SESSION", with: site.session)
            let types: [String?] = [
                nil, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp", "json", "*/*",
            ]
            for type in types {
                let answer = try await site.server.send(body.method, path, body: .object(body.base), type: type)
                #expect(answer.isProblem("unsupported_media_type", 415), "\(type ?? "none"): \(answer.text)")
            }
            let large = [UInt8](repeating: UInt8(ascii: " "), count: 2 << 20)
            #expect(try await site.server.send(body.method, path, raw: large).isProblem("too_large", 413))
        }
    }

    @Test func aChunkedBodyIsMeasuredToo() async throws {
        try await Site.with { site in
            let host = try EndpointURL(site.server.url).authority
            let head = [
                "POST /v1/keys HTTP/1.1", "Host: \(host)", "Authorization: Bearer \(site.server.adminKey)", "Content-Type: application/json",
                "Transfer-Encoding: chunked",
            ]
            let chunk = "10000\r\n" + String(repeating: " ", count: 0x10000) + "\r\n"
            let body = String(repeating: chunk, count: 20) + "0\r\n\r\n"
            // The request behind it is understood, so the large body was read to its end and no further.
            let next = "GET /health/live HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\r\n"
            let text = head.joined(separator: "\r\n") + "\r\n\r\n" + body + next
            let answer = try await RawConnection.open(site.server.url).send(Array(text.utf8))
            #expect(answer.status == 413, "\(answer.head)")
            #expect(answer.body.contains("HTTP/1.1 200"))
        }
    }

    @Test func mediaTypesThatAreTaken() async throws {
        try await RunningServer.with { server in
            for (index, type) in ["application/json; charset=utf-8", "Application/JSON", "application/json ;charset=UTF-8"].enumerated() {
                let answer = try await server.send(.post, "/v1/keys", body: ["name": .string("k\(index)"), "role": "use"], type: type)
                #expect(answer.status == 201, "\(type): \(answer.text)")
            }
            // One byte order mark is skipped.
            let marked = [0xEF, 0xBB, 0xBF] + Array(#"{"name":"k","role":"use"}"#.utf8)
            #expect(try await server.send(.post, "/v1/keys", raw: marked).status == 201)
        }
    }

    // MARK: Queries

    /// Path, query, and the place that is named.
    static let queries: [(String, String, String)] = [
        ("/v1/connections", "x=1", "/query/x"), ("/v1/connections", "limit=1&limit=2", "/query/limit"),
        ("/v1/connections", "limit=0", "/query/limit"), ("/v1/connections", "limit=201", "/query/limit"),
        ("/v1/connections", "limit=-1", "/query/limit"), ("/v1/connections", "limit=1.5", "/query/limit"),
        ("/v1/connections", "limit=1e1", "/query/limit"), ("/v1/connections", "limit=%2B1", "/query/limit"),
        ("/v1/connections", "limit=", "/query/limit"), ("/v1/connections", "limit=9223372036854775808", "/query/limit"),
        ("/v1/connections", "limit=%D9%A1", "/query/limit"), ("/v1/connections", "limit", "/query/limit"),
        ("/v1/connections", "after=", "/query/after"), ("/v1/connections", "after=%00", "/query/after"),
        ("/v1/connections", "LIMIT=1", "/query/LIMIT"), ("/v1/connections", "=1", "/query/"), ("/v1/connections", "limit=%ZZ", "/query"),
        ("/v1/connections", "limit=%FF", "/query"), ("/v1/connections/app", "fields=id", "/query/fields"), ("/v1/presets", "q=", "/query/q"),
        ("/v1/presets", "name=x", "/query/name"), ("/v1/presets/google", "x=1", "/query/x"), ("/v1/grants", "state=unheard", "/query/state"),
        ("/v1/grants", "after=no-cursor", "/query/after"), ("/v1/connections/app/grants", "connection=app", "/query/connection"),
        ("/v1/activity", "after=no-cursor", "/query/after"), ("/v1/activity", "result=x", "/query/result"),
        ("/v1/webhooks", "after=no-cursor", "/query/after"), ("/v1/webhooks", "url=x", "/query/url"),
        ("/v1/webhooks/wh_none/deliveries", "state=unheard", "/query/state"), ("/v1/webhooks/wh_none/deliveries", "after=0", "/query/after"),
        ("/v1/webhooks/wh_none/deliveries", "after=1.5", "/query/after"), ("/v1/webhooks/wh_none/deliveries", "limit=0", "/query/limit"),
        ("/v1/keys", "after=no-cursor", "/query/after"), ("/v1/keys", "role=use", "/query/role"),
        ("/v1/connections/app/token", "subject=", "/query/subject"), ("/v1/connections/app/token", "min_ttl=-1", "/query/min_ttl"),
        ("/v1/connections/app/token", "min_ttl=abc", "/query/min_ttl"), ("/v1/connections/app/token", "force_refresh=yes", "/query/force_refresh"),
        ("/v1/connections/app/token", "after_generation=x", "/query/after_generation"),
        ("/v1/connections/app/token", "subject=a&subject=b", "/query/subject"), ("/v1/connections/app/token", "scope=x", "/query/scope"),
        ("/v1/connections/app/token", "subject=a%20b", "/subject"), ("/v1/connections/app/instructions", "subject=", "/query/subject"),
        ("/v1/connections/app/instructions", "subject=a%20b", "/subject"), ("/v1/connections/app/instructions", "language=curl", "/query/language"),
    ]

    @Test func queriesAreReadStrictly() async throws {
        try await Site.with { site in
            for (path, query, pointer) in Self.queries {
                let answer = try await site.server.raw("GET", path + "?" + query, fields: ["Authorization: Bearer \(site.server.adminKey)"])
                #expect(answer.status == 400, "\(path)?\(query): \(answer.body)")
                #expect(answer.field("Content-Type") == "application/problem+json")
                #expect(answer.json["errors"]?.array?.first?["pointer"]?.string == pointer, "\(path)?\(query): \(answer.body)")
            }
        }
    }

    // MARK: Paths and methods

    @Test func hostilePathsNameNothing() async throws {
        try await Site.with { site in
            let paths = [
                "/v1", "/v1/", "/v1/nowhere", "/v1/connections/", "//v1/connections", "/v1//connections", "/V1/connections", "/v1/connections/app/",
                "/v1/./connections", "/v1/connections/../keys", "/v1/connections/%2e%2e/keys", "/v1/connections/..%2fkeys",
                "/v1/connections/app%2Ftoken", "/v1/connections/app/token/", "/v1/connections;x=1", "/v1/connections/app;x", "/%76%31/connections",
                "/v1%2Fconnections", "/v1/connections%00", "/v1/connections/app%00", "/v1/connections/%", "/v1/connections/%zz",
                "/v1/connections/%ff", "/v1/connections/%C0%AE", "/v1/connections/app%20", "/health/live/", "/health/live/../../v1/keys",
                "/health/live%2f..", "/health//live", "/health/live;/v1/keys", "/assets/", "/assets/../v1/keys", "/assets/%2e%2e/openapi.json",
                "/.env", "/.git/config", "/debug/vars", "/connect", "/connect/", "/oauth/callback", "/oauth/callback/",
                "/v1/connections/" + String(repeating: "a", count: 9000),
            ]
            for path in paths {
                let answer = try await site.server.raw("GET", path, fields: ["Authorization: Bearer \(site.server.adminKey)"])
                #expect(answer.status == 404, "\(path.prefix(60)): \(answer.status) \(answer.body.prefix(200))")
                #expect(answer.json["code"]?.string == "not_found", "\(path.prefix(60))")
            }
            for target in ["*", "v1/keys", "?x"] {
                let answer = try await site.server.raw("GET", target, fields: ["Authorization: Bearer \(site.server.adminKey)"])
                #expect(answer.status == 400, "\(target): \(answer.status)")
            }
        }
    }

    @Test func aMethodThatAPathDoesNotTakeIsRefusedWithThoseItTakes() async throws {
        let all: [HTTPRequest.Method] = [.get, .head, .post, .put, .patch, .delete, .options, .trace]
        var taken: [String: Set<String>] = [:]
        for route in Routes.all { taken[route.pattern, default: []].insert(route.method.rawValue) }
        try await Site.with { site in
            for (pattern, methods) in taken {
                let path = filled(pattern)
                for method in all where !methods.contains(method.rawValue) {
                    let answer = try await site.server.raw(method.rawValue, path, fields: ["Authorization: Bearer \(site.server.adminKey)"])
                    if pattern.hasPrefix("/console") {
                        // Whoever is not signed in is told nothing else.
                        #expect(answer.status == 401, "\(method) \(path): \(answer.status)")
                        continue
                    }
                    #expect(answer.status == 405, "\(method) \(path): \(answer.status)")
                    let allowed = (answer.field("Allow") ?? "").split(separator: ",").map { String($0.filter { $0 != " " }) }
                    #expect(Set(allowed) == methods, "\(method) \(path): \(allowed)")
                    #expect(answer.field("Access-Control-Allow-Origin") == nil)
                }
            }
        }
    }

    @Test func anAnswerToHEADHasNoBody() async throws {
        try await Site.with { site in
            // A body would be taken for the next answer on the connection. RFC 9110 §9.3.2
            let paths = [
                "/health/live", "/v1/connections", "/v1/connections/app", "/nowhere", "/connect/unknown", "/connect/unknown/continue", "/oauth/callback/app",
            ]
            for path in paths {
                let answer = try await site.server.raw("HEAD", path, fields: ["Authorization: Bearer \(site.server.adminKey)"])
                #expect(answer.status >= 200)
                #expect(answer.body.isEmpty, "\(path): \(answer.status) \(answer.body)")
            }
        }
    }

    @Test func aRequestWithoutOneHostIsRefused() async throws {  // RFC 9112 §3.2
        try await Site.with { site in
            let heads = [
                "GET /health/live HTTP/1.1\r\n", "GET /health/live HTTP/1.1\r\nHost:\r\n",
                "GET /health/live HTTP/1.1\r\nHost: a\r\nHost: b\r\n", "nonsense\r\n",
            ]
            for head in heads {
                let answer = try await RawConnection.open(site.server.url).send(Array((head + "Connection: close\r\n\r\n").utf8))
                #expect(answer.status == 400, "\(head.debugDescription): \(answer.status)")
            }
        }
    }
}

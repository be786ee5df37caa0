import Broker
import OAuth
import Testing
import Vault

@testable import Server

/// The form of a connection as values: texts, document, settings, and back.
@Suite struct ConsoleFormTests {
    /// Every member that a builder can set with the authorization code.
    private static let whole: JSONObject = [
        "name": "Orders API", "base_url": "https://{token_response.host}/v2",
        "authentication_instructions": "Authorization: Bearer <token>\n?k=<client_id>\nUTC.",
        "headers": ["X-Version": "7", "Accept": "a/b; q=1"], "variables": ["region": "eu"],
        "variable_patterns": [
            "token_response.host": ["kind": "origin", "hosts": ["*.orders.example"]], "callback.n": ["kind": "regex", "pattern": "^[0-9]+$"],
        ],
        "return_origins": ["https://app.example", "http://127.0.0.1:9"], "keep_alive": true, "allow_token_in_query": true,
        "allow_encoded_slash": true,
        "agent_access": ["enabled": true, "methods": ["GET", "POST"], "paths": ["/v2/**"], "headers": ["x-page"]],
        "oauth": [
            "grant_type": "authorization_code", "pkce": "S256", "issuer": "https://login.{region}.example",
            "authorization_url": "https://login.example/a?x=1",
            "token_url": "https://login.example/t", "refresh_url": "https://login.example/r", "revocation_url": "https://login.example/v",
            "client_id": "app:1", "client_authentication": "client_secret_post", "scopes": ["read", "write:all"], "scope_separator": ",",
            "redirect_uri": "https://app.example/back", "authorization_params": ["prompt": "a=b", "empty": ""],
            "token_params": ["audience": "https://x.example"],
            "refresh_params": ["r": "1"], "token_headers": ["X-Key": "a: b"], "token_request_format": "json",
            "token_response_members": ["access_token": "data.token"],
            "default_expires_in": 3600, "refresh_token_idle_days": 90, "client_secret_expires_at": "2027-01-31T12:30:00Z",
            "token_request_method": "PUT",
            "parameter_names": ["client_id": "appid"], "raw_scope": true, "response_path": "data", "token_type_aliases": ["JWT"],
            "rotation_grace": 30,
            "client_auth_for_refresh": "client_secret_basic", "zero_means_never": false,
        ],
    ]

    private func settings(_ document: JSONObject, oauth changes: JSONObject = [:]) throws -> ConnectionSettings {
        var document = document
        var oauth = document["oauth"]?.object ?? [:]
        for (name, value) in changes.members { oauth[name] = value.isNull ? nil : value }
        document["oauth"] = .object(oauth)
        return try ConnectionDocument.read(document, filledByPreset: false).settings
    }

    /// As a browser sends it, with what a form has at least.
    private func form(_ fields: [String: String]) -> ConnectionForm {
        let least = ["name": "Orders", "grant_type": "authorization_code"]
        return ConnectionForm(sent: ConsoleForm(least.merging(fields) { $1 }.map { (name: $0.key, value: $0.value) }))
    }

    private func refusal(_ form: ConnectionForm) -> FormErrors? {
        do throws(Problem) {
            _ = try form.draft()
            return nil
        } catch {
            return FormErrors(error, in: form)
        }
    }

    // MARK: There and back

    @Test(arguments: ["S256", "plain", "none"]) func whatTheAPISetsPassesThroughTheFormUnchanged(pkce: String) throws {
        let settings = try settings(Self.whole, oauth: ["pkce": .string(pkce)])
        let form = ConnectionForm(settings)
        #expect(form.choice == (pkce == "none" ? .authorizationCode : .authorizationCodePKCE))
        #expect(try form.draft(agentAccess: settings.agentAccess).settings == settings)
    }

    @Test(arguments: [("client_credentials", JSONValue.null), ("password", "bob")])
    func otherGrantTypesToo(name: String, username: JSONValue) throws {
        var document = Self.whole
        if name == "client_credentials" { document["return_origins"] = [] }
        let none: JSONValue = .null
        let settings = try settings(
            document,
            oauth: [
                "grant_type": .string(name), "pkce": none, "authorization_url": none, "authorization_params": none, "redirect_uri": none,
                "username": username,
            ])
        #expect(try ConnectionForm(settings).draft(agentAccess: settings.agentAccess).settings == settings)
    }

    @Test func aPresetFillsTheFormAsItFillsTheAPI() throws {
        var count = 0
        for preset in Preset.all where !preset.grantTypes.isEmpty && preset.unsupported == nil {
            var form = ConnectionForm(preset: preset, name: preset.name)
            for variable in preset.variables where variable.defaultValue == nil {
                form[ConnectionForm.variableField(variable.name)] = variable.example
            }
            var settings = try form.draft().settings
            settings.variables = [:]
            let expected = preset.defaults(for: form.choice.grantType)
            // A preset may write two scopes as one, with its own separator between: they are sent as the same.
            let separator = preset.document["scope_separator"]?.string ?? " "
            #expect(settings.oauth.scopes.joined(separator: separator) == expected.oauth.scopes.joined(separator: separator), "\(preset.id)")
            settings.oauth.scopes = expected.oauth.scopes
            #expect(settings == expected, "\(preset.id)")
            count += 1
        }
        #expect(count > 0)
    }

    @Test func theTwoAuthorizationCodesDifferInPKCE() throws {
        func pkce(_ fields: [String: String]) throws -> String? { try form(fields).draft().settings.oauth.pkce }
        #expect(try pkce([:]) == "S256")
        #expect(try pkce(["pkce_mode": "plain"]) == "S256")
        #expect(try pkce(["pkce_none": "true"]) == "none")
        #expect(try pkce(["grant_type": "authorization_code_pkce"]) == "S256")
        #expect(try pkce(["grant_type": "authorization_code_pkce", "pkce_mode": "plain", "pkce_none": "true"]) == "plain")
        #expect(try pkce(["grant_type": "client_credentials", "pkce_mode": "plain"]) == nil)
        if let preset = Preset.all.first(where: { $0.document["pkce"]?.string == "none" }) { #expect(try pkce(["preset": preset.id]) == "none") }
    }

    @Test func whatTheGrantTypeDoesNotShowIsNotRead() throws {
        let filled = [
            "authorization_url": "nonsense", "username": "bob", "password": "typed", "redirect_uri": "nonsense", "return_origins": "nonsense",
            "authorization_params": "nonsense", "pkce_mode": "nonsense",
        ]
        let (document, errors) = form(filled.merging(["grant_type": "client_credentials"]) { $1 }).document()
        #expect(errors.isEmpty)
        #expect(document == ["name": "Orders", "oauth": ["grant_type": "client_credentials"]])
        let typed = form(filled.merging(["grant_type": "password"]) { $1 }).document().document
        #expect(typed["oauth"]?.object?.names == ["grant_type", "username", "password"])
    }

    @Test func pastedTextsAreTakenAsTheyAreMeant() throws {
        let settings = try form([
            "name": "  Orders \n", "token_url": " https://a.example/t ", "scopes": "read\r\nwrite  admin", "headers": "\nX-A:1\n  X-B :  two words ",
            "client_secret_expires_at": "2027-01-31", "return_origins": "https://a.example\nhttps://b.example",
        ]).draft().settings
        #expect(settings.name == "Orders" && settings.oauth.tokenURL == "https://a.example/t")
        #expect(settings.oauth.scopes == ["read", "write", "admin"] && settings.headers == ["X-A": "1", "X-B": "two words"])
        #expect(settings.oauth.clientSecretExpiresAt?.rfc3339 == "2027-01-31T00:00:00Z")
        #expect(settings.returnOrigins == ["https://a.example", "https://b.example"])
        #expect(try form(["scopes": "a,b c", "scope_separator": ","]).draft().settings.oauth.scopes == ["a", "b", "c"])
        #expect(try form(["scopes": "a,b c"]).draft().settings.oauth.scopes == ["a,b", "c"])
    }

    // MARK: Errors

    @Test(arguments: [
        ("name", "", "name"), ("id", "Not an id", "id"), ("preset", "nowhere", "preset"), ("default_expires_in", "soon", "default_expires_in"),
        ("refresh_token_idle_days", "0", "refresh_token_idle_days"), ("client_secret_expires_at", "tomorrow", "client_secret_expires_at"),
        ("variable_patterns", "{", "variable_patterns"), ("variable_patterns", #"{"a": {"kind": "x"}}"#, "variable_patterns"),
        ("other", "[1]", "other"),
        ("other", #"{"nonsense": 1}"#, "other"), ("other", #"{"oauth": {"raw_scope": 1}}"#, "other"),
        ("other", #"{"oauth": {"token_url": "x"}}"#, "other"),
        ("other", #"{"name": "x"}"#, "other"), ("other", #"{"oauth": 1}"#, "other"), ("token_params", "no value", "token_params"),
        ("headers", "X: 1\nX: 2", "headers"), ("scope_separator", "ab", "scope_separator"),
        ("client_authentication", "magic", "client_authentication"),
    ]) func anErrorStandsAtItsField(field: String, text: String, place: String) throws {
        let form = form([field: text])
        let errors = try #require(refusal(form))
        #expect(errors.fields.map(\.name) == [place], "\(errors)")
        #expect(errors.general.isEmpty)
        // What was typed is there still.
        #expect(form[field] == text)
    }

    @Test func allErrorsAreSaidAtOnceInTheOrderOfTheForm() throws {
        let errors = try #require(refusal(form(["name": "", "other": "{", "default_expires_in": "x", "token_params": "a\nb"])))
        #expect(errors.fields.map(\.name) == ["name", "token_params", "default_expires_in", "other"])
        #expect(errors.detail("token_params") == "line 1: write name=value; line 2: write name=value")
    }

    @Test(arguments: [
        ("/oauth/scopes/1", "is not one scope", "scopes", "write: is not one scope"),
        ("/oauth/token_params/a~1b", "is reserved", "token_params", "a/b: is reserved"),
        (
            "/oauth/client_secret", "must be given again: /oauth/token_url moved to another host", "client_secret",
            "must be given again: Access Token URL moved to another host"
        ),
        ("/variables/tenant", "is wrong", "variables", "tenant: is wrong"),
        ("/agent_access/paths/0", "is wrong", "other", "agent_access › paths › 0: is wrong"),
        ("/oauth/client_id", "is required by authorization_code", "client_id", "is required by Authorization Code"),
        ("/oauth/pkce", "is wrong", "grant_type", "is wrong"),
    ]) func aPointerLeadsToTheField(pointer: String, detail: String, field: String, expected: String) throws {
        let errors = FormErrors(Problem(.invalidRequest, "no", errors: [.init(pointer: pointer, detail: detail)]), in: form(["scopes": "read write"]))
        #expect(errors.fields.map(\.name) == [field])
        #expect(errors.detail(field) == expected)
    }

    @Test func whatIsWrongWithAHiddenFieldIsSaidAllTheSame() {
        let problem = Problem(.invalidRequest, "no", errors: [.init(pointer: "/oauth/username", detail: "is odd")])
        let errors = FormErrors(problem, in: form([:]))
        #expect(errors.fields.isEmpty && errors.general == ["Username: is odd"])
    }

    @Test(arguments: [
        ("set allow_token_in_query to true.", "set Token in the query to true."), ("correct oauth.client_id, please", "correct Client ID, please"),
        ("a name and a preset stay", "a name and a preset stay"), ("https://a.example/token_url stays", "https://a.example/token_url stays"),
        ("{token_response.host} needs an entry in variable_patterns", "{token_response.host} needs an entry in Patterns for what the provider sends"),
    ]) func explanationsSpeakAsTheFormDoes(text: String, expected: String) {
        #expect(PlainWords.text(text) == expected)
    }

    @Test func aVariableThatAURLNeedsIsAskedForOnce() throws {
        let preset = try #require(Preset.all.first { $0.variables.contains { $0.defaultValue == nil } && $0.unsupported == nil })
        let variable = try #require(preset.variables.first { $0.defaultValue == nil })
        let form = ConnectionForm(preset: preset, name: "x")
        let errors = try #require(refusal(form))
        #expect(errors.fields.first?.name == ConnectionForm.variableField(variable.name))
        #expect(errors.fields.allSatisfy { $0.name.hasPrefix("variable.") })
        var literal = form
        for name in ConnectionForm.urlFields { literal[name] = literal[name].isEmpty ? "" : "https://a.example" }
        #expect(refusal(literal) == nil)
    }

    // MARK: Beside the form

    @Test func discoveryFillsWhatDiffersAndSaysSo() throws {
        let document = #"""
            {"issuer": "https://a.example", "authorization_endpoint": "https://a.example/authorize", "token_endpoint": "https://a.example/token",
             "token_endpoint_auth_methods_supported": ["client_secret_post"], "code_challenge_methods_supported": ["plain"],
             "grant_types_supported": ["client_credentials"], "scopes_supported": ["a", "b\u202e"]}
            """#
        let metadata = try AuthorizationServerMetadata(parsing: Array(document.utf8), issuer: "https://a.example")
        var form = form([
            "grant_type": "authorization_code_pkce", "pkce_mode": "S256", "token_url": "https://a.example/token",
            "revocation_url": "https://kept.example",
            "client_authentication": "client_secret_basic",
        ])
        let discovery = FormDiscovery(metadata, into: &form)
        #expect(discovery.filled == ["Authorization URL", "Client Authentication (Send client credentials in body)", "PKCE Mode (Plain)"])
        #expect(form["authorization_url"] == "https://a.example/authorize" && form["revocation_url"] == "https://kept.example")
        #expect(form["client_authentication"] == "client_secret_post" && form["pkce_mode"] == "plain")
        #expect(discovery.notes.count == 2)
        #expect(discovery.notes.last == "Scopes it names: a, b.")
        #expect(FormDiscovery(metadata, into: &form).filled.isEmpty)
        #expect(FormDiscovery.issuer("https://a.example/t/.well-known/openid-configuration") == "https://a.example/t")
    }

    @Test func thePreviewIsTheRequestWithTheTokenMasked() {
        let right = FormPreview.values(
            form([
                "base_url": "https://{region}.example/v1", "variables": "region=eu", "client_id": "app",
                "authentication_instructions": "X-Key: <client_id> <token>\nUTC.",
            ]))
        #expect(right["request"] as? String == "GET https://eu.example/v1/… HTTP/1.1\nHost: eu.example\nX-Key: app ***")
        #expect(right["guidance"] as? String == "UTC.")
        #expect(right["no_rule"] as? Bool == false)
        let wrong = FormPreview.values(form(["authentication_instructions": "Host: <token>"]))
        #expect((wrong["faults"] as? [String])?.first?.hasPrefix("line 1: ") == true)
        #expect(FormPreview.values(form(["authentication_instructions": "?t=<token>"]))["in_query"] as? Bool == true)
        #expect(FormPreview.values(form(["authentication_instructions": "only words"]))["no_rule"] as? Bool == true)
    }

    @Test func twoEditorsAreComparedFieldByField() throws {
        let settings = try settings(Self.whole)
        var mine = ConnectionForm(settings)
        #expect(FormDifference(theirs: ConnectionForm(settings), mine: mine).rows.isEmpty)
        mine["scopes"] = "read"
        mine["keep_alive"] = ""
        mine["client_authentication"] = "client_secret_basic"
        mine.secrets["client_secret"] = "typed-secret"
        let rows = FormDifference(theirs: ConnectionForm(settings), mine: mine).rows
        #expect(rows.map(\.label) == ["Client Authentication", "Scopes", "Keep grants alive"])
        #expect(rows.map(\.theirs) == ["Send client credentials in body", "read write:all", "on"])
        #expect(rows.map(\.mine) == ["Send as Basic Auth Header", "read", "off"])
    }

    @Test func theLabelsAreThoseOfTheReferencePage() {
        let labels = FormField.all.map(\.label) + GrantChoice.allCases.map(\.label) + FormField.pkceModes.map(\.label)
        for label in [
            "Grant Type", "Password Credentials", "Client Credentials", "Authorization Code", "Authorization Code with PKCE", "Authorization URL",
            "Access Token URL", "Client ID", "Client Secret", "Scopes", "Username", "Password", "Client Authentication", "PKCE Mode",
            "SHA-256 (Recommended)",
            "Plain", "Authentication Instructions",
        ] { #expect(labels.contains(label), "\(label)") }
        guard case .choice(let ways)? = FormField.find("client_authentication")?.shape else {
            Issue.record("there is no Client Authentication")
            return
        }
        #expect(ways.prefix(2).map(\.label) == ["Send as Basic Auth Header", "Send client credentials in body"])
    }
}

import Egress
import Foundation
import HTTPTypes
import OAuthClient
import Testing
import Vault

@testable import Broker
@testable import OAuth

@Suite struct PresetTests {
    // MARK: The file

    @Test func theFileFitsItsSchema() throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let schema = JSONSchema(try JSONValue(parsing: Data(contentsOf: folder.appending(path: "docs/presets.schema.json"))))
        #expect(schema.errors(in: .array(Preset.all.map { .object($0.document) })) == [])
        // And the validator finds what is wrong.
        var broken = try #require(Preset.find("google")).document
        broken["token_url"] = "http://oauth2.googleapis.com/token"
        broken["pkce"] = "s256"
        broken["tokn_params"] = [:]
        broken["name"] = nil
        #expect(schema.errors(in: [.object(broken)]).count == 4)
    }

    @Test func idsAreInOrderAndEachOnce() {
        let ids = Preset.all.map(\.id)
        #expect(ids == Set(ids).sorted())
        #expect(ids.count > 500)
        for preset in Preset.all {
            #expect(Preset.find(preset.id) == preset)
            // Two sources can still disagree.
            let sources = preset.document["sources"]?.integer ?? 0
            if preset.isVerified { #expect(sources >= 2 || preset.document["token_url"] == nil, "\(preset.id)") }
        }
        #expect(Preset.find("nowhere") == nil)
    }

    @Test func eachGrantTypeHasItsEndpoint() {
        for preset in Preset.all where preset.document["token_url"] != nil {
            let known = preset.allGrantTypes
            #expect((preset.document["authorization_url"] != nil) == known.contains("authorization_code"), "\(preset.id)")
            #expect(
                (preset.document["device_authorization_url"] != nil) == known.contains("urn:ietf:params:oauth:grant-type:device_code"), "\(preset.id)")
            if known.contains("refresh_token") { #expect(preset.document["refresh"]?["supported"]?.bool == true, "\(preset.id)") }
        }
    }

    private static let urls = ["authorization_url", "token_url", "revocation_url", "introspection_url", "device_authorization_url", "issuer", "base_url"]

    @Test func placeholdersAreVariablesAndVariablesStandSomewhere() throws {
        for preset in Preset.all {
            var names: Set<String> = []
            for text in Self.urls.compactMap({ preset.document[$0]?.string }) + preset.texts("scopes") {
                names.formUnion(try #require(URLTemplate(text).names, "\(preset.id): \(text)"))
            }
            for member in ["authorization_params", "token_params", "refresh_params", "token_headers"] {
                for text in (preset.strings(member) ?? [:]).values { names.formUnion(URLTemplate(text).names ?? []) }
            }
            let captured = names.filter { $0.contains(".") }
            #expect(captured == Set(preset.defaults(for: .authorizationCode).variablePatterns.keys), "\(preset.id)")
            #expect(names.subtracting(captured).subtracting(["client_id"]) == Set(preset.variables.map(\.name)), "\(preset.id)")
            for variable in preset.variables {
                let pattern = try #require(variable.pattern)
                for value in [variable.example, variable.defaultValue].compactMap({ $0 }) {
                    #expect(wholeMatch(value, pattern) == true, "\(preset.id) \(value)")
                }
                for value in ["", "a b", "a@b", "a\\b", "a?b", "a#b", "{a}"] {
                    #expect(wholeMatch(value, pattern) == false, "\(preset.id) \(variable.name) takes \(value)")
                }
            }
        }
    }

    /// Members that are no switch: what is filled in, and what is told.
    private static let facts: Set<String> = [
        "id", "name", "website", "authorization_url", "token_url", "revocation_url", "introspection_url", "device_authorization_url", "issuer", "base_url",
        "grant_types", "pkce", "pkce_support", "client_authentication", "client_authentication_either", "scopes", "refresh", "refresh_token_idle_days",
        "variables", "variable_patterns", "headers", "authentication_instructions", "setup_notes", "caution", "unsupported", "deprecated", "verified",
        "sources",
    ]
    private static let defaults: JSONObject = ["scope_separator": " "]

    @Test func everySwitchTakesEffect() {
        var seen: Set<String> = []
        for preset in Preset.all {
            for (name, value) in preset.document.members where !Self.facts.contains(name) && Self.defaults[name] != value {
                seen.insert(name)
                var profile = ProviderProfile()
                ProfileSettings(preset: Preset(id: "p", name: "P", document: JSONObject([(name: name, value: value)]))).apply(to: &profile)
                #expect(profile != ProviderProfile(), "\(preset.id) \(name)")
            }
        }
        #expect(seen.isSuperset(of: ["refresh_margin", "error_aliases", "client_auth_for_refresh", "token_response_members", "raw_scope"]))
    }

    // MARK: Connections

    /// As a builder would save it: client id and secret typed, each variable without a default given its example.
    static func settings(_ preset: Preset, _ grantType: GrantType) -> ConnectionSettings {
        var settings = preset.defaults(for: grantType)
        settings.oauth.clientID = "my-client"
        for variable in preset.variables where variable.defaultValue == nil { settings.variables[variable.name] = variable.example }
        if settings.oauth.tokenURL == nil {
            settings.oauth.tokenURL = "https://as.example/token"
            settings.oauth.authorizationURL = grantType == .authorizationCode ? "https://as.example/authorize" : nil
        }
        return settings
    }

    static func client(_ settings: ConnectionSettings) throws -> Client {
        Client(
            server: try settings.server(),
            registration: ClientRegistration(
                clientID: settings.oauth.clientID ?? "", clientSecret: ClientSecret("s3cret"), authentication: settings.authenticationMethod(hasSecret: true)),
            profile: settings.profile)
    }

    static func client(_ id: String, _ grantType: GrantType = .authorizationCode, _ variables: [String: String] = [:]) throws -> Client {
        var settings = settings(try #require(Preset.find(id)), grantType)
        settings.variables.merge(variables) { _, new in new }
        return try client(settings)
    }

    static let entropy = Entropy { [UInt8](repeating: 0, count: $0) }
    static let zeros = String(repeating: "A", count: 43)

    static func authorization(_ client: Client, scopes: [String] = [], pkce: PKCE.Mode = .none) throws -> AuthorizationRequest {
        try client.authorizationRequest(redirectURI: "https://app.example/cb", scopes: scopes, pkce: pkce, entropy: entropy)
    }

    static func exchange(_ client: Client) throws -> WireRequest {
        let request = try authorization(client)
        let state = request.state.withExposed { $0 }
        let response = try AuthorizationResponse(
            query: "\(client.profile.codeParameter)=c0de&\(client.profile.stateParameter)=\(state)".utf8, profile: client.profile)
        return try client.tokenRequest(.authorizationCode(request.pending.accept(response)))
    }

    static func body(_ request: WireRequest) -> String { String(decoding: request.body, as: UTF8.self) }

    @Test func everyPresetMakesAConnectionOfEachOfItsGrantTypes() throws {
        let egress = Egress(policy: .init(allowed: []))
        for preset in Preset.all {
            #expect(!preset.grantTypes.isEmpty, "\(preset.id)")
            for grantType in preset.grantTypes {
                let settings = Self.settings(preset, grantType)
                var errors: [Problem.FieldError] = []
                do throws(Problem) {
                    try ConnectionRules.check(settings, hasClientSecret: true, hasPassword: false, egress: egress, forbidPasswordGrant: false)
                } catch {
                    errors = error.errors
                }
                #expect(errors.map(\.pointer) == (preset.unsupported == nil ? [] : ["/preset"]), "\(preset.id) \(grantType): \(errors)")
            }
        }
    }

    @Test func everyPresetsRequestsCanBeMade() throws {
        for preset in Preset.all {
            for grantType in preset.grantTypes {
                let settings = Self.settings(preset, grantType)
                let client = try Self.client(settings)
                var requests: [WireRequest] = []
                switch grantType {
                case .authorizationCode:
                    let url = try Self.authorization(client, scopes: settings.requestedScopes, pkce: settings.pkceMode).url
                    _ = try EndpointURL(url)
                    #expect(!url.contains("%7B"), "\(preset.id) has an unfilled placeholder: \(url)")
                    requests.append(try Self.exchange(client))
                case .clientCredentials: requests.append(try client.tokenRequest(.clientCredentials(scopes: settings.requestedScopes)))
                case .password:
                    requests.append(try client.tokenRequest(.password(username: "u", password: Password("p"), scopes: settings.requestedScopes)))
                }
                if preset.allGrantTypes.contains("refresh_token") {
                    requests.append(try client.tokenRequest(.refreshToken(RefreshToken("r"), scopes: settings.requestedScopes)))
                }
                for request in requests {
                    let fields = request.head.headerFields.map(\.value).joined()
                    let sent = (request.head.path ?? "") + fields + (client.profile.tokenRequestFormat == .json ? "" : Self.body(request))
                    #expect(!sent.contains("{") && !sent.contains("%7B"), "\(preset.id) has an unfilled placeholder: \(sent)")
                    #expect(request.head.scheme == "https")
                }
            }
        }
    }

    @Test func aVariableThatDoesNotFitIsNamedWithAnExample() throws {
        var settings = Self.settings(try #require(Preset.find("shopify")), .authorizationCode)
        settings.variables["shop"] = "evil.example/x"
        do throws(Problem) {
            try ConnectionRules.check(
                settings, hasClientSecret: true, hasPassword: false, egress: Egress(policy: .init(allowed: [])), forbidPasswordGrant: false)
            Issue.record("it was taken")
        } catch {
            #expect(error.errors.contains { $0.pointer == "/variables/shop" && $0.detail.hasSuffix("such as acme-store") })
        }
    }

    @Test func aScopeOfAPresetNeedsItsVariablesAndNoSeparator() throws {
        func pointers(_ settings: ConnectionSettings) -> [String] {
            var errors: [Problem.FieldError] = []
            do throws(Problem) {
                try ConnectionRules.check(
                    settings, hasClientSecret: true, hasPassword: false, egress: Egress(policy: .init(allowed: [])), forbidPasswordGrant: false)
            } catch {
                errors = error.errors
            }
            return errors.map(\.pointer)
        }
        var dynamics = Self.settings(try #require(Preset.find("dynamics-365")), .authorizationCode)
        dynamics.baseURL = nil
        dynamics.variables["organization"] = nil
        #expect(pointers(dynamics) == ["/oauth/scopes/0"])
        var facebook = Self.settings(try #require(Preset.find("facebook")), .authorizationCode)
        facebook.oauth.scopes = ["email,public_profile"]
        #expect(pointers(facebook) == ["/oauth/scopes/0"])
    }

    @Test func whatABuilderSeesOfAPreset() throws {
        let salesforce = try #require(Preset.find("salesforce"))
        #expect(salesforce.website == "https://salesforce.com")
        #expect(salesforce.grantTypes == [.authorizationCode, .clientCredentials, .password])
        #expect(salesforce.variables.map(\.name) == ["domain"])
        #expect(salesforce.variables.first?.defaultValue == "login.salesforce.com")
        #expect(salesforce.setupNotes.count == 3)
        #expect(salesforce.isVerified && salesforce.deprecation == nil && salesforce.unsupported == nil)
        let settings = salesforce.defaults(for: .authorizationCode)
        #expect(settings.baseURL == "{token_response.instance_url}")
        #expect(settings.variablePatterns == ["token_response.instance_url": .init(kind: .origin, hosts: ["*.salesforce.com"])])
        #expect(settings.oauth.scopes == ["api", "refresh_token"] && settings.oauth.pkce == "S256")
        let machine = salesforce.defaults(for: .clientCredentials)
        #expect(machine.oauth.authorizationURL == nil && machine.oauth.pkce == nil && machine.oauth.scopes.isEmpty)
        #expect(try #require(Preset.find("vk")).deprecation?.contains("vk-id") == true)
        #expect(try #require(Preset.find("zoom-server-to-server")).grantTypes == [.clientCredentials])
        #expect(try #require(Preset.find("familysearch")).grantTypes == [.authorizationCode, .password])
        #expect(try #require(Preset.find("notion")).defaults(for: .authorizationCode).headers == ["Notion-Version": "2022-06-28"])
        #expect(try #require(Preset.find("deezer")).defaults(for: .authorizationCode).allowTokenInQuery)
        #expect(try #require(Preset.find("xero")).defaults(for: .authorizationCode).oauth.refreshTokenIdleDays == 60)
    }

    // MARK: What goes out

    private static let base = "response_type=code&client_id=my-client&redirect_uri=https%3A%2F%2Fapp.example%2Fcb"

    @Test func namesOfParametersAndScopesOnTheWire() throws {
        let tiktok = try Self.client("tiktok")
        #expect(
            try Self.authorization(tiktok, scopes: ["a", "b"]).url
                == "https://www.tiktok.com/v2/auth/authorize/?response_type=code&client_key=my-client&redirect_uri=https%3A%2F%2Fapp.example%2Fcb&scope=a%2Cb&state=\(Self.zeros)"
        )
        #expect(Self.body(try tiktok.tokenRequest(.clientCredentials(scopes: []))) == "grant_type=client_credentials&client_key=my-client&client_secret=s3cret")
        let trovo = try Self.client("trovo")
        #expect(try Self.authorization(trovo, scopes: ["a", "b"]).url == "https://open.trovo.live/page/login.html?\(Self.base)&scope=a+b&state=\(Self.zeros)")
        let exchange = try Self.exchange(trovo)
        #expect(exchange.head.headerFields[try #require(HTTPField.Name("Client-ID"))] == "my-client")
        #expect(exchange.head.headerFields[.contentType] == "application/json")
        let slack = try Self.client("slack-user")
        #expect(
            try Self.authorization(slack, scopes: ["a", "b"]).url == "https://slack.com/oauth/v2/authorize?\(Self.base)&user_scope=a%2Cb&state=\(Self.zeros)")
        let google = try Self.client("google")
        #expect(
            try Self.authorization(google, scopes: ["a"]).url
                == "https://accounts.google.com/o/oauth2/v2/auth?\(Self.base)&scope=a&state=\(Self.zeros)&access_type=offline&prompt=consent")
    }

    @Test func variablesFillWhatIsSent() throws {
        let zoom = try Self.client("zoom-server-to-server", .clientCredentials, ["account_id": "AbC-1_2"])
        #expect(Self.body(try zoom.tokenRequest(.clientCredentials(scopes: []))) == "account_id=AbC-1_2&grant_type=account_credentials")
        let epic = try Self.client("epic")
        #expect(
            try Self.authorization(epic).url
                == "https://fhir.epic.com/interconnect-fhir-oauth/oauth2/authorize?\(Self.base)&state=\(Self.zeros)&aud=https%3A%2F%2Ffhir.epic.com%2Finterconnect-fhir-oauth%2Fapi%2FFHIR%2FR4"
        )
        #expect(try Self.authorization(Self.client("uphold")).url.hasPrefix("https://uphold.com/authorize/my-client?"))
        var dynamics = Self.settings(try #require(Preset.find("dynamics-365")), .authorizationCode)
        dynamics.variables = ["organization": "acme", "region": "crm4"]
        #expect(dynamics.requestedScopes == ["https://acme.crm4.dynamics.com/user_impersonation", "offline_access"])
        // A builder's own values are taken as they are, and a client id that no URL can hold fills none.
        dynamics.oauth.profile.authorizationParams = ["claims": "{organization}"]
        #expect(dynamics.profile.authorizationParams["claims"] == "{organization}")
        dynamics.oauth.clientID = "a/b"
        #expect(dynamics.effectiveVariables["client_id"] == nil)
    }

    @Test func tokenRequestsOnTheWire() throws {
        let basecamp = try Self.client("basecamp")
        let credentials = "client_id=my-client&client_secret=s3cret"
        #expect(
            Self.body(try Self.exchange(basecamp))
                == "grant_type=authorization_code&code=c0de&redirect_uri=https%3A%2F%2Fapp.example%2Fcb&\(credentials)&type=web_server")
        #expect(
            Self.body(try basecamp.tokenRequest(.refreshToken(RefreshToken("r"), scopes: [])))
                == "grant_type=refresh_token&refresh_token=r&\(credentials)&type=refresh")
        let clover = try Self.client("clover")
        #expect(
            Self.body(try Self.exchange(clover))
                == #"{"grant_type":"authorization_code","code":"c0de","client_id":"my-client","client_secret":"s3cret"}"#)
        let refresh = try clover.tokenRequest(.refreshToken(RefreshToken("r"), scopes: []))
        #expect(refresh.head.path == "/oauth/v2/refresh")
        #expect(Self.body(refresh) == #"{"grant_type":"refresh_token","refresh_token":"r","client_id":"my-client"}"#)
        let untappd = try Self.exchange(Self.client("untappd"))
        #expect(untappd.head.method == .get)
        #expect(
            untappd.head.path
                == "/oauth/authorize/?grant_type=authorization_code&code=c0de&redirect_url=https%3A%2F%2Fapp.example%2Fcb&\(credentials)&response_type=code"
        )
        let legacy = try Self.client("azure-devops-legacy")
        #expect(
            Self.body(try Self.exchange(legacy))
                == "assertion=c0de&redirect_uri=https%3A%2F%2Fapp.example%2Fcb&client_id=my-client&client_assertion=s3cret&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"
        )
    }

    // MARK: What comes back

    private func answer(_ client: Client, _ text: String, to grant: AuthorizationGrant) throws -> TokenResponse {
        try client.tokenResponse(WireResponse(head: .init(status: .ok), body: Array(text.utf8)), to: grant, now: 1_700_000_000)
    }

    @Test func answersOnTheWire() throws {
        let refresh = AuthorizationGrant.refreshToken(RefreshToken("r"), scopes: [])
        let first = AuthorizationGrant.clientCredentials(scopes: [])
        let slack = try Self.client("slack-user")
        let user = try answer(slack, #"{"ok":true,"authed_user":{"access_token":"xoxp","token_type":"user","scope":"a,b"}}"#, to: first)
        #expect(user.accessToken.withExposed { $0 } == "xoxp")
        #expect(user.scope == ["a", "b"])
        // A refresh is answered at the top level, a first answer never is: that would be the bot's token.
        let again = #"{"ok":true,"access_token":"xoxp-2","refresh_token":"xoxe","token_type":"user","expires_in":43200}"#
        let renewed = try answer(slack, again, to: refresh)
        #expect(renewed.accessToken.withExposed { $0 } == "xoxp-2")
        #expect(renewed.refreshToken?.withExposed { $0 } == "xoxe")
        #expect(throws: TokenError.self) { try answer(slack, again, to: first) }
        let expired = #expect(throws: TokenError.self) { try answer(slack, #"{"ok":false,"error":"invalid_refresh_token"}"#, to: refresh) }
        #expect(expired?.code == .invalidGrant)
        #expect(try answer(Self.client("slack"), #"{"access_token":"xoxb","token_type":"bot"}"#, to: first).tokenType == "bot")
        let clover = try answer(
            Self.client("clover"), #"{"access_token":"t","access_token_expiration":1700000060,"refresh_token":"r","refresh_token_expiration":1700000600}"#,
            to: refresh)
        #expect(clover.expiresIn == .seconds(60) && clover.refreshExpiresIn == .seconds(600))
        #expect(try answer(Self.client("mailchimp"), #"{"access_token":"t","expires_in":0,"scope":null}"#, to: first).expiresIn == nil)
        #expect(try answer(Self.client("deezer"), #"{"access_token":"t","expires":0}"#, to: first).expiresIn == nil)
        let withings = try Self.client("withings")
        let body = #"{"status":0,"body":{"access_token":"t","refresh_token":"r","expires_in":10800,"scope":"user.info,user.metrics"}}"#
        #expect(try answer(withings, body, to: first).scope == ["user.info", "user.metrics"])
        #expect(throws: TokenError.self) { try answer(withings, #"{"status":503,"body":{},"error":"Invalid Params"}"#, to: first) }
        let bad = #expect(throws: TokenError.self) { try answer(Self.client("github"), #"{"error":"bad_refresh_token"}"#, to: refresh) }
        #expect(bad?.code == .invalidGrant)
    }

    // MARK: Renewal

    @Test func aMarginMovesTheRenewalTowardsTheEnd() {
        let start = Timestamp(milliseconds: 0)
        func renewal(_ lifetime: Int, _ margin: Int?) -> Int64? {
            Lifetime.renewAt(issuedAt: start, expiresAt: start + .seconds(lifetime), margin: margin).map { $0.milliseconds / 1000 }
        }
        #expect(renewal(600, nil) == 480)
        #expect(renewal(600, 25) == 575)
        #expect(renewal(100, 25) == 80)
        #expect(renewal(7200, 3600) == 6900)
    }

    @Test func aProviderThatRefusesEarlyRefreshesIsNotAskedEarly() async throws {
        let bench = try await Bench()
        try await bench.connection("c", .authorizationCode) { $0.preset = "exact-online" }
        bench.provider.script(.json(200, #"{"access_token":"at-x","refresh_token":"rt-0","expires_in":600}"#))
        try await bench.importGrant("c", expiresIn: 0)
        #expect(try await bench.token("c").text == "at-x")
        let asked = bench.provider.seen.count
        bench.time.advance(.seconds(570))
        #expect(try await bench.token("c").text == "at-x")
        #expect(bench.provider.seen.count == asked)
        bench.time.advance(.seconds(20))
        #expect(try await bench.token("c").text != "at-x")
        #expect(bench.provider.seen.count == asked + 1)
    }

    // MARK: Search

    @Test(
        "The best match first",
        arguments: [
            ("slack", "slack"), ("SLACK", "slack"), ("Google", "google"), ("microsoft", "microsoft-entra"), ("github", "github"), ("entra", "microsoft-entra"),
            ("sales", "salesforce"), ("twitter", "x"), ("accounts.google.com", "google"), ("https://api.github.com/user", "github"),
            ("acme-store.myshopify.com", "shopify"), ("claveunica", "clave-unica"), ("CLAVEÚNICA", "clave-unica"), ("  zendesk ", "zendesk"),
            ("vk", "vk"), ("hubspot", "hubspot"), ("own server", "own-server"),
        ])
    func finds(text: String, id: String) { #expect(Preset.search(text).first?.id == id, "\(Preset.search(text).prefix(5).map(\.id))") }

    @Test func theOrderOfASearch() throws {
        let all = Preset.search("")
        #expect(all == Preset.all)
        #expect(Preset.search("   ") == all)
        #expect(Preset.search("there is no such provider").isEmpty)
        // What can be used comes before what cannot; within a kind of match, verified before unverified.
        let found = Preset.search("a")
        let firstPast = try #require(found.firstIndex { $0.deprecation != nil || $0.unsupported != nil })
        #expect(found[firstPast...].allSatisfy { $0.deprecation != nil || $0.unsupported != nil })
        let named = found.prefix { $0.id.hasPrefix("a") }
        let firstUnverified = try #require(named.firstIndex { !$0.isVerified })
        #expect(named[firstUnverified...].allSatisfy { !$0.isVerified })
        #expect(Preset.search("wechat").map(\.id).contains("wechat-official-account"))
    }
}

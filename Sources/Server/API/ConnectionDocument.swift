import Broker
import OAuth
import Vault

/// A connection as the API shows and takes it.
enum ConnectionDocument {
    /// What a body asked for, secrets apart.
    struct Draft {
        var id: String?
        var settings: ConnectionSettings
        var clientSecret: ClientSecret?
        var password: Password?
    }

    static let secretLimit = 8192

    // MARK: Showing

    static func json(_ connection: Connection, callbackURL: String) -> JSONObject {
        let settings = connection.settings
        var object: JSONObject = ["id": .string(connection.id)]
        for (name, value) in editable(settings).members { object[name] = value }
        object["callback_url"] = .string(callbackURL)
        object["uid"] = .string(connection.uid.text)
        object["has_client_secret"] = .bool(connection.clientSecret != nil)
        object["has_password"] = .bool(connection.password != nil)
        object["health"] = [
            "state": .string(connection.health.state.rawValue), "reason": text(connection.health.reason), "since": .string(connection.health.since.rfc3339),
        ]
        object["created_at"] = .string(connection.createdAt.rfc3339)
        object["updated_at"] = .string(connection.updatedAt.rfc3339)
        let warnings = warnings(settings)
        if !warnings.isEmpty { object["warnings"] = texts(warnings) }
        return object
    }

    /// What works, and is better done otherwise.
    private static func warnings(_ settings: ConnectionSettings) -> [String] {
        var warnings: [String] = []
        if settings.oauth.grantType == .password {
            warnings.append(
                "The password grant hands the user's password to this server and is withdrawn from OAuth 2.1: use authorization_code where the provider offers it."
            )
        }
        if let preset = settings.preset.flatMap(Preset.find) {
            if let reason = preset.deprecation { warnings.append("\(preset.name) is withdrawing what this preset describes. \(reason)") }
            if let caution = preset.caution { warnings.append(caution) }
        }
        return warnings
    }

    /// Read-only members: taken back unchanged, so that GET, edit, PATCH works.
    static let readOnly = ["callback_url", "uid", "has_client_secret", "has_password", "health", "created_at", "updated_at", "warnings"]

    private static func text(_ value: String?) -> JSONValue { value.map(JSONValue.string) ?? .null }
    private static func number(_ value: Int?) -> JSONValue { value.map { .number(JSONNumber($0)) } ?? .null }
    private static func map(_ value: [String: String]?) -> JSONValue {
        .object(JSONObject((value ?? [:]).sorted { $0.key < $1.key }.map { (name: $0.key, value: .string($0.value)) }))
    }
    private static func texts(_ values: [String]) -> JSONValue { .array(values.map(JSONValue.string)) }

    /// Everything that a builder can set.
    static func editable(_ settings: ConnectionSettings) -> JSONObject {
        let oauth = settings.oauth
        let profile = oauth.profile
        var oauthObject: JSONObject = [
            "grant_type": .string(oauth.grantType.rawValue), "pkce": text(oauth.pkce), "issuer": text(oauth.issuer),
            "authorization_url": text(oauth.authorizationURL), "token_url": text(oauth.tokenURL), "refresh_url": text(oauth.refreshURL),
            "revocation_url": text(oauth.revocationURL), "client_id": text(oauth.clientID), "client_authentication": .string(oauth.clientAuthentication),
            "scopes": texts(oauth.scopes), "scope_separator": .string(profile.scopeSeparator ?? " "), "redirect_uri": text(oauth.redirectURI),
            "username": text(oauth.username), "authorization_params": map(profile.authorizationParams), "token_params": map(profile.tokenParams),
            "refresh_params": map(profile.refreshParams), "token_headers": map(profile.tokenHeaders),
            "token_request_format": .string(profile.tokenRequestFormat ?? "form"), "token_response_members": map(profile.tokenResponseMembers),
            "default_expires_in": number(profile.defaultExpiresIn), "refresh_token_idle_days": number(oauth.refreshTokenIdleDays),
            "client_secret_expires_at": text(oauth.clientSecretExpiresAt?.rfc3339),
        ]
        for (name, value) in switches(profile).members { oauthObject[name] = value }
        var patterns = JSONObject()
        for (name, pattern) in settings.variablePatterns.sorted(by: { $0.key < $1.key }) {
            var object: JSONObject = ["kind": .string(pattern.kind.rawValue)]
            if let hosts = pattern.hosts { object["hosts"] = texts(hosts) }
            if let pattern = pattern.pattern { object["pattern"] = .string(pattern) }
            patterns[name] = .object(object)
        }
        let access = settings.agentAccess
        return [
            "name": .string(settings.name), "preset": text(settings.preset), "base_url": text(settings.baseURL), "oauth": .object(oauthObject),
            "authentication_instructions": .string(settings.authenticationInstructions), "headers": map(settings.headers), "variables": map(settings.variables),
            "variable_patterns": .object(patterns), "return_origins": texts(settings.returnOrigins), "keep_alive": .bool(settings.keepAlive),
            "allow_token_in_query": .bool(settings.allowTokenInQuery), "allow_encoded_slash": .bool(settings.allowEncodedSlash),
            "agent_access": [
                "enabled": .bool(access.enabled), "methods": texts(access.methods), "paths": texts(access.paths), "headers": texts(access.headers),
            ],
        ]
    }

    /// The rarer switches: shown where they are set.
    private static func switches(_ profile: ProfileSettings) -> JSONObject {
        var object = JSONObject()
        func set(_ name: String, _ value: String?) { if let value { object[name] = .string(value) } }
        func set(_ name: String, _ value: Bool?) { if let value { object[name] = .bool(value) } }
        set("token_request_method", profile.tokenRequestMethod)
        if let names = profile.parameterNames { object["parameter_names"] = map(names) }
        set("raw_scope", profile.rawScope)
        set("response_mode", profile.responseMode)
        set("code_parameter", profile.codeParameter)
        set("state_parameter", profile.stateParameter)
        set("redirect_uri_in_exchange", profile.redirectURIInExchange)
        set("state_in_exchange", profile.stateInExchange)
        set("client_id_in_body", profile.clientIDInBody)
        set("basic_user", profile.basicUser)
        set("client_auth_for_refresh", profile.clientAuthenticationForRefresh)
        set("response_path", profile.responsePath)
        set("error_path", profile.errorPath)
        if let aliases = profile.errorAliases { object["error_aliases"] = map(aliases) }
        if let aliases = profile.tokenTypeAliases { object["token_type_aliases"] = texts(aliases) }
        set("expires_in_unit", profile.expiresInUnit)
        set("zero_means_never", profile.zeroMeansNever)
        set("refresh_token_policy", profile.refreshTokenPolicy)
        set("scope_in_refresh", profile.scopeInRefresh)
        if let grace = profile.rotationGrace { object["rotation_grace"] = number(grace) }
        if let margin = profile.refreshMargin { object["refresh_margin"] = number(margin) }
        return object
    }

    // MARK: Taking

    /// - Parameter filledByPreset: what is absent takes the preset's value.
    /// - Throws: `invalid_request` naming every field that is wrong.
    static func read(_ body: JSONObject, filledByPreset: Bool = true) throws(Problem) -> Draft {
        let errors = FieldErrors()
        var reader = ObjectReader(body, errors: errors)
        let id = reader.text("id", longest: 64)
        if let id, !isID(id) { reader.wrong("id", "must be 1 to 64 of a-z, 0-9 and inner hyphens") }
        if let id, reserved.contains(id) { reader.wrong("id", "is a word of this API; choose another") }
        let name = reader.name("name", required: true) ?? ""
        let presetID = reader.text("preset", longest: 64)
        let preset = presetID.flatMap(Preset.find)
        if let presetID, preset == nil { reader.wrong("preset", "there is no preset \(presetID); GET /v1/presets lists them") }
        let filling = filledByPreset ? preset : nil
        let oauthObject = reader.object("oauth", required: true)
        let (oauth, clientSecret, password) = readOAuth(oauthObject ?? JSONObject(), preset: filling, isThere: oauthObject != nil, errors: errors)
        var settings = ConnectionSettings(name: name, oauth: oauth)
        settings.preset = presetID
        let defaults = filling?.defaults(for: oauth.grantType)
        let baseURL = reader.text("base_url")
        settings.baseURL = baseURL ?? defaults?.baseURL
        let instructions = reader.text("authentication_instructions", longest: Instructions.longest, lines: true)
        if let text = instructions ?? defaults?.authenticationInstructions { settings.authenticationInstructions = text }
        let headers = reader.map("headers") ?? [:]
        let named = Set(headers.keys.map { $0.lowercased() })
        settings.headers = (defaults?.headers ?? [:]).filter { !named.contains($0.key.lowercased()) }.merging(headers) { _, own in own }
        settings.variables = reader.map("variables", longest: 253) ?? [:]
        settings.variablePatterns = readPatterns(&reader, errors: errors)
        // They judge what fills the preset's base_url, and nothing else.
        if baseURL == nil { settings.variablePatterns.merge(defaults?.variablePatterns ?? [:]) { own, _ in own } }
        settings.returnOrigins = reader.texts("return_origins") ?? []
        settings.keepAlive = reader.flag("keep_alive") ?? false
        settings.allowTokenInQuery = reader.flag("allow_token_in_query") ?? (instructions == nil && defaults?.allowTokenInQuery == true)
        settings.allowEncodedSlash = reader.flag("allow_encoded_slash") ?? false
        if let object = reader.object("agent_access") { settings.agentAccess = readAgentAccess(object, errors: errors) }
        reader.finish()
        try errors.check()
        return Draft(id: id, settings: settings, clientSecret: clientSecret, password: password)
    }

    /// What stands in the place of an id in a path of this API.
    private static let reserved: Set<String> = ["discover"]

    static func isID(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        let hyphen = UInt8(ascii: "-")
        return (1...64).contains(bytes.count) && bytes.first != hyphen && bytes.last != hyphen
            && bytes.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == hyphen }
    }

    private static func readOAuth(
        _ object: JSONObject, preset: Preset?, isThere: Bool, errors: FieldErrors
    ) -> (OAuthSettings, ClientSecret?, Password?) {
        var reader = ObjectReader(object, at: "/oauth", errors: errors)
        let grantName = reader.choice("grant_type", GrantType.allCases.map(\.rawValue), required: isThere)
        var oauth = OAuthSettings(grantType: grantName.flatMap(GrantType.init(rawValue:)) ?? .authorizationCode)
        let defaults = preset?.defaults(for: oauth.grantType).oauth
        // S256 is sent unless the preset says that the provider breaks on it; none is an explicit choice.
        let pkce = defaults?.pkce ?? (oauth.grantType == .authorizationCode ? "S256" : nil)
        oauth.pkce = reader.choice("pkce", PKCE.Mode.allCases.map(\.rawValue)) ?? pkce
        oauth.issuer = reader.text("issuer") ?? defaults?.issuer
        oauth.authorizationURL = reader.text("authorization_url") ?? defaults?.authorizationURL
        oauth.tokenURL = reader.text("token_url") ?? defaults?.tokenURL
        oauth.refreshURL = reader.text("refresh_url") ?? defaults?.refreshURL
        oauth.revocationURL = reader.text("revocation_url") ?? defaults?.revocationURL
        oauth.clientID = reader.text("client_id", longest: 1024)
        let clientSecret = reader.text("client_secret", longest: secretLimit).map { ClientSecret($0) }
        oauth.clientAuthentication =
            reader.choice("client_authentication", ClientAuthenticationMethod.allCases.map(\.rawValue))
            ?? defaults?.clientAuthentication ?? ClientAuthenticationMethod.clientSecretBasic.rawValue
        oauth.scopes = reader.texts("scopes") ?? defaults?.scopes ?? []
        oauth.redirectURI = reader.text("redirect_uri")
        oauth.username = reader.text("username", longest: 1024)
        let password = reader.text("password", longest: secretLimit).map { Password($0) }
        oauth.refreshTokenIdleDays = reader.integer("refresh_token_idle_days", in: 1...3650) ?? defaults?.refreshTokenIdleDays
        if let text = reader.text("client_secret_expires_at", longest: 64) {
            oauth.clientSecretExpiresAt = Timestamp(rfc3339: text)
            if oauth.clientSecretExpiresAt == nil { reader.wrong("client_secret_expires_at", "must be an RFC 3339 time, such as 2027-01-31T00:00:00Z") }
        }
        oauth.profile = readSwitches(&reader)
        reader.finish()
        return (oauth, clientSecret, password)
    }

    private static func readSwitches(_ reader: inout ObjectReader) -> ProfileSettings {
        var profile = ProfileSettings()
        func nonEmpty(_ map: [String: String]?) -> [String: String]? { map.flatMap { $0.isEmpty ? nil : $0 } }
        if let separator = reader.take("scope_separator") {
            if let text = separator.string, text.count == 1 {
                profile.scopeSeparator = text == " " ? nil : text
            } else {
                reader.wrong("scope_separator", "must be one character")
            }
        }
        profile.authorizationParams = nonEmpty(reader.map("authorization_params"))
        profile.tokenParams = nonEmpty(reader.map("token_params"))
        profile.refreshParams = nonEmpty(reader.map("refresh_params"))
        profile.tokenHeaders = nonEmpty(reader.map("token_headers"))
        profile.tokenRequestFormat = reader.choice("token_request_format", ["form", "json", "query"]).flatMap { $0 == "form" ? nil : $0 }
        profile.tokenRequestMethod = reader.choice("token_request_method", ["POST", "GET", "PUT"])
        profile.tokenResponseMembers = nonEmpty(reader.map("token_response_members", longest: 200))
        profile.defaultExpiresIn = reader.integer("default_expires_in", in: 1...315_360_000)
        profile.parameterNames = nonEmpty(reader.map("parameter_names", longest: 100))
        profile.rawScope = reader.flag("raw_scope")
        profile.responseMode = reader.choice("response_mode", ["query"])
        profile.codeParameter = reader.text("code_parameter", longest: 100)
        profile.stateParameter = reader.text("state_parameter", longest: 100)
        profile.redirectURIInExchange = reader.flag("redirect_uri_in_exchange")
        profile.stateInExchange = reader.flag("state_in_exchange")
        profile.clientIDInBody = reader.flag("client_id_in_body")
        profile.basicUser = reader.choice("basic_user", ["client_id", "secret"])
        profile.clientAuthenticationForRefresh = reader.choice("client_auth_for_refresh", ClientAuthenticationMethod.allCases.map(\.rawValue))
        profile.responsePath = reader.text("response_path", longest: 200)
        profile.errorPath = reader.text("error_path", longest: 200)
        profile.errorAliases = nonEmpty(reader.map("error_aliases", longest: 100))
        profile.tokenTypeAliases = reader.texts("token_type_aliases", atMost: 10, longest: 60).flatMap { $0.isEmpty ? nil : $0 }
        profile.expiresInUnit = reader.choice("expires_in_unit", ["seconds", "milliseconds"])
        profile.zeroMeansNever = reader.flag("zero_means_never")
        profile.refreshTokenPolicy = reader.choice("refresh_token_policy", ["standard", "keep_original"])
        profile.scopeInRefresh = reader.flag("scope_in_refresh")
        profile.rotationGrace = reader.integer("rotation_grace", in: 0...86_400)
        profile.refreshMargin = reader.integer("refresh_margin", in: 1...300)
        return profile
    }

    private static func readPatterns(_ reader: inout ObjectReader, errors: FieldErrors) -> [String: VariablePattern] {
        var patterns: [String: VariablePattern] = [:]
        for (name, value) in reader.object("variable_patterns")?.members ?? [] {
            let pointer = "/variable_patterns/" + pointerToken(name)
            guard let object = value.object else {
                errors.add(pointer, "must be an object")
                continue
            }
            var inner = ObjectReader(object, at: pointer, errors: errors)
            let kind = inner.choice("kind", ["origin", "label", "regex"], required: true).flatMap(VariablePattern.Kind.init(rawValue:))
            let hosts = inner.texts("hosts", atMost: 20, longest: 253)
            let pattern = inner.text("pattern", longest: 500)
            inner.finish()
            if let kind { patterns[name] = VariablePattern(kind: kind, hosts: hosts, pattern: pattern) }
        }
        return patterns
    }

    private static func readAgentAccess(_ object: JSONObject, errors: FieldErrors) -> AgentAccess {
        var reader = ObjectReader(object, at: "/agent_access", errors: errors)
        var access = AgentAccess()
        access.enabled = reader.flag("enabled") ?? access.enabled
        access.methods = reader.texts("methods", atMost: 20, longest: 20) ?? access.methods
        access.paths = reader.texts("paths") ?? access.paths
        access.headers = reader.texts("headers", longest: 100) ?? access.headers
        reader.finish()
        return access
    }

    /// An id made from a name: letters and digits in lower case, hyphens between.
    static func id(from name: String) -> String {
        let words = name.lowercased().split { character in
            !character.isASCII || !(character.isLetter || character.isNumber)
        }
        let id = String(words.joined(separator: "-").prefix(48))
        let trimmed = id.hasSuffix("-") ? String(id.dropLast()) : id
        return trimmed.isEmpty || reserved.contains(trimmed) ? "connection" : trimmed
    }
}

import Egress
import OAuth
import Vault

/// What settings must hold to be saved. Judges all fields and names each that is wrong.
struct ConnectionRules {
    let settings: ConnectionSettings
    let hasClientSecret: Bool
    let hasPassword: Bool
    let egress: Egress
    let forbidPasswordGrant: Bool

    private(set) var errors: [Problem.FieldError] = []
    private(set) var blocked: [Problem.FieldError] = []
    /// The hosts that the blocked URLs name.
    private(set) var blockedHosts: [String] = []

    init(_ settings: ConnectionSettings, hasClientSecret: Bool, hasPassword: Bool, egress: Egress, forbidPasswordGrant: Bool) {
        self.settings = settings
        self.hasClientSecret = hasClientSecret
        self.hasPassword = hasPassword
        self.egress = egress
        self.forbidPasswordGrant = forbidPasswordGrant
    }

    /// - Parameter isBlocked: told of each host that outbound requests may not go to.
    /// - Throws: `invalid_request` with every field that is wrong; `egress_blocked` when only a URL's target is.
    static func check(
        _ settings: ConnectionSettings, hasClientSecret: Bool, hasPassword: Bool, egress: Egress, forbidPasswordGrant: Bool,
        isBlocked: (String) -> Void = { _ in }
    ) throws(Problem) {
        var rules = ConnectionRules(
            settings, hasClientSecret: hasClientSecret, hasPassword: hasPassword, egress: egress, forbidPasswordGrant: forbidPasswordGrant)
        rules.judge()
        for host in Set(rules.blockedHosts).sorted() { isBlocked(host) }
        if !rules.errors.isEmpty {
            throw Problem(.invalidRequest, "the connection cannot be saved as it is", errors: rules.errors)
        }
        if let first = rules.blocked.first {
            throw Problem(
                .egressBlocked, "\(first.pointer) points where outbound requests may not go: \(first.detail)",
                fix: "use a public https URL, or have the operator start the server with --egress-allow for that network",
                errors: rules.blocked)
        }
    }

    private mutating func wrong(_ pointer: String, _ detail: String) { errors.append(.init(pointer: pointer, detail: detail)) }

    private mutating func judge() {
        if let preset = settings.presetEntry, let why = preset.unsupported { wrong("/preset", "\(preset.id) cannot be used. \(why)") }
        judgeVariables()
        judgeURLs()
        judgeGrantType()
        judgeParameters()
        judgeHeaders()
        judgeInstructions()
        judgeAgentAccess()
        judgeReturnOrigins()
        judgeSwitches()
        judgePatterns()
    }

    // MARK: URLs

    private mutating func judgeVariables() {
        let declared = Dictionary((settings.presetEntry?.variables ?? []).map { ($0.name, $0) }) { first, _ in first }
        for (name, value) in settings.variables.sorted(by: { $0.key < $1.key }) {
            let pointer = "/variables/" + pointerToken(name)
            if let variable = declared[name], let pattern = variable.pattern {
                if wholeMatch(value, pattern) != true { wrong(pointer, "must match \(pattern), such as \(variable.example)") }
            } else if !isHostLabel(value) {
                wrong(pointer, "must be one host label: letters, digits and inner hyphens, at most 63")
            }
        }
    }

    private mutating func judgeURLs() {
        let oauth = settings.oauth
        judgeURL(settings.baseURL, "/base_url", mayCapture: true)
        judgeURL(oauth.tokenURL, "/oauth/token_url")
        judgeURL(oauth.authorizationURL, "/oauth/authorization_url")
        judgeURL(oauth.refreshURL, "/oauth/refresh_url")
        judgeURL(oauth.revocationURL, "/oauth/revocation_url")
        judgeURL(oauth.issuer, "/oauth/issuer")
        if let issuer = try? settings.issuer(), issuer.contains("?") {
            wrong("/oauth/issuer", "an issuer has no query")
        }
        if let redirectURI = oauth.redirectURI {
            do {
                let url = try EndpointURL(redirectURI)
                if url.scheme == .http && !url.isLoopback { wrong("/oauth/redirect_uri", "must be https, or http on a loopback address") }
            } catch {
                wrong("/oauth/redirect_uri", error.description)
            }
        }
    }

    private mutating func judgeURL(_ text: String?, _ pointer: String, mayCapture: Bool = false) {
        guard let text else { return }
        guard let names = URLTemplate(text).names else { return wrong(pointer, "holds a brace that belongs to no {name}") }
        var values = settings.effectiveVariables
        var captures = false
        for name in names {
            if name.hasPrefix("token_response.") || name.hasPrefix("callback.") {
                if !mayCapture {
                    wrong(pointer, "only base_url may hold a value that the provider sends")
                } else if settings.variablePatterns[name] == nil {
                    wrong(pointer, "{\(name)} needs an entry in variable_patterns")
                }
                captures = true
                values[name] = "captured"
            } else if values[name] == nil {
                wrong(pointer, "{\(name)} needs a value in variables")
                return
            }
        }
        guard !captures, let filled = URLTemplate(text).filled(with: values) else { return }
        let url: EndpointURL
        do {
            url = try EndpointURL(filled)
        } catch {
            return wrong(pointer, error.description)
        }
        let dots: Set = [".", ".."]
        if pointer == "/base_url", url.path.lowercased().replacing("%2e", with: ".").split(separator: "/").contains(where: { dots.contains(String($0)) }) {
            wrong(pointer, "must not hold . or .. as a segment of its path: write where they lead")
        }
        do {
            try egress.check(url)
        } catch {
            let reason = if case .blocked(let reason) = error { reason } else { "\(error)" }
            blocked.append(.init(pointer: pointer, detail: reason))
            blockedHosts.append(url.host)
        }
    }

    // MARK: What the grant type needs

    private mutating func judgeGrantType() {
        let oauth = settings.oauth
        let name = oauth.grantType.rawValue
        if oauth.tokenURL == nil { wrong("/oauth/token_url", "is required: the Access Token URL") }
        switch oauth.grantType {
        case .authorizationCode:
            if oauth.authorizationURL == nil { wrong("/oauth/authorization_url", "is required by \(name): the Authorization URL") }
            if oauth.clientID == nil { wrong("/oauth/client_id", "is required by \(name)") }
        case .clientCredentials:
            if oauth.clientID == nil { wrong("/oauth/client_id", "is required by \(name)") }
            if !hasClientSecret { wrong("/oauth/client_secret", "is required by \(name)") }
            if oauth.clientAuthentication == ClientAuthenticationMethod.none.rawValue {
                wrong("/oauth/client_authentication", "none cannot prove the client, and \(name) needs that")
            }
        case .password:
            if forbidPasswordGrant {
                wrong("/oauth/grant_type", "this server forbids the password grant; use authorization_code")
            }
            if hasPassword && oauth.username == nil { wrong("/oauth/username", "is required beside a stored password") }
            if !hasPassword && oauth.username != nil {
                wrong("/oauth/password", "is required beside a stored username; leave both out to ask the end user")
            }
            if hasClientSecret && oauth.clientID == nil { wrong("/oauth/client_id", "is required beside a client secret") }
        }
        if oauth.grantType != .password {
            if oauth.username != nil { wrong("/oauth/username", "only the password grant takes one") }
            if hasPassword { wrong("/oauth/password", "only the password grant takes one") }
        }
        if let pkce = oauth.pkce {
            if PKCE.Mode(rawValue: pkce) == nil { wrong("/oauth/pkce", "must be none, S256 or plain") }
            if oauth.grantType != .authorizationCode && pkce != "none" { wrong("/oauth/pkce", "only authorization_code takes one") }
        }
        if ClientAuthenticationMethod(rawValue: oauth.clientAuthentication) == nil {
            let known = ClientAuthenticationMethod.allCases.map(\.rawValue).joined(separator: ", ")
            wrong("/oauth/client_authentication", "must be one of \(known)")
        }
        if oauth.clientAuthentication == ClientAuthenticationMethod.clientSecretBasicRaw.rawValue, oauth.clientID?.utf8.contains(UInt8(ascii: ":")) == true {
            wrong("/oauth/client_id", "client_secret_basic_raw cannot carry a client id with a colon")
        }
        judgeScopes()
    }

    private mutating func judgeScopes() {
        let separator = settings.profile.scopeSeparator
        let values = settings.effectiveVariables
        let declared = (settings.presetEntry?.variables ?? []).map(\.name)
        for (index, scope) in settings.oauth.scopes.enumerated() {
            let pointer = "/oauth/scopes/\(index)"
            if !Client.isScopeToken(scope) {
                wrong(pointer, "is not one scope: visible ASCII without space, quote and backslash")
            } else if separator != " ", scope.contains(separator) {
                wrong(pointer, "is not one scope: \(separator) stands between two of them")
            }
            for name in declared where values[name] == nil && scope.contains("{\(name)}") { wrong(pointer, "{\(name)} needs a value in variables") }
        }
    }

    // MARK: Parameters and headers

    private mutating func judgeParameters() {
        let profile = settings.oauth.profile
        for (name, params) in [
            ("authorization_params", profile.authorizationParams), ("token_params", profile.tokenParams), ("refresh_params", profile.refreshParams),
        ] {
            for (key, value) in (params ?? [:]).sorted(by: { $0.key < $1.key }) {
                let pointer = "/oauth/\(name)/" + pointerToken(key)
                if key.isEmpty { wrong(pointer, "a parameter needs a name") }
                if Client.isReservedParameter(key) { wrong(pointer, "the protocol sets \(key) itself; it cannot be named here") }
                if value.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) { wrong(pointer, "holds a control character") }
            }
        }
    }

    private mutating func judgeHeaders() {
        for (name, headers) in [("/oauth/token_headers", settings.oauth.profile.tokenHeaders ?? [:]), ("/headers", settings.headers)] {
            for (key, value) in headers.sorted(by: { $0.key < $1.key }) {
                let pointer = name + "/" + pointerToken(key)
                if !FieldName(key).isToken { wrong(pointer, "is not a header field name") }
                if Client.isReservedHeader(key) {
                    wrong(pointer, "\(key) is set by Grantee itself; it cannot be named here")
                } else if name == "/headers", FieldRules.request(FieldName(key)).isDropped {
                    // As in the instructions, and in any spelling that an API may read alike. SEC-81, SEC-92.
                    wrong(pointer, "\(key) frames or steers the request, or is Grantee's own; it cannot be named here")
                }
                if value.utf8.contains(where: { ($0 < 0x20 && $0 != 0x09) || $0 == 0x7F }) { wrong(pointer, "holds a control character") }
            }
        }
    }

    // MARK: Calling the API

    private mutating func judgeInstructions() {
        let pointer = "/authentication_instructions"
        let instructions: Instructions
        do {
            instructions = try Instructions(settings.authenticationInstructions)
        } catch {
            for line in error.lines { wrong(pointer, line.text) }
            return
        }
        for (index, rule) in instructions.rules.enumerated() {
            let line = "line \(instructions.lines[index])"
            switch rule.place {
            case .query:
                if !settings.allowTokenInQuery {
                    // SEC-91
                    let fix = "set allow_token_in_query to true if the API takes it nowhere else"
                    wrong(pointer, "\(line): puts ?\(rule.name) into the URL, which logs and histories keep; use a header, or \(fix)")
                }
            case .header:
                for name in settings.headers.keys.sorted() where FieldName.matches(name, normal: FieldName.normal(rule.name)) {
                    wrong("/headers/" + pointerToken(name), "\(line) of authentication_instructions sets it; leave one of them out")
                }
            }
            if instructions.templates[index].parts.contains(.value(.clientID)), settings.oauth.clientID == nil {
                wrong(pointer, "\(line): <client_id> has no value; set oauth.client_id")
            }
            for name in instructions.templates[index].capturedNames where settings.variablePatterns[name] == nil {
                wrong(pointer, "\(line): <\(name)> needs an entry in variable_patterns")
            }
        }
        if instructions.rules.isEmpty && settings.agentAccess.enabled {
            wrong(
                pointer,
                "no line is a rule, so no call of an agent could carry the token; add one, such as \(Instructions.standard), or set "
                    + "agent_access.enabled to false")
        }
    }

    private mutating func judgeAgentAccess() {
        errors += AgentPolicy.errors(in: settings.agentAccess)
        if settings.agentAccess.enabled && settings.baseURL == nil {
            wrong("/base_url", "is required while agent_access.enabled is true: it says where the API is")
        }
    }

    private mutating func judgeReturnOrigins() {
        for (index, origin) in settings.returnOrigins.enumerated() {
            let pointer = "/return_origins/\(index)"
            do {
                let url = try EndpointURL(origin)
                if url.path != "/" || url.query != nil || origin.hasSuffix("/") {
                    wrong(pointer, "an origin is scheme://host[:port] and nothing more")
                } else if url.scheme == .http && !url.isLoopback {
                    wrong(pointer, "must be https, or http on a loopback address")
                }
            } catch {
                wrong(pointer, error.description)
            }
        }
    }

    private mutating func judgeSwitches() {
        let profile = settings.oauth.profile
        func oneOf(_ value: String?, _ allowed: [String], _ name: String) {
            guard let value, !allowed.contains(value) else { return }
            errors.append(.init(pointer: "/oauth/" + name, detail: "must be one of " + allowed.joined(separator: ", ")))
        }
        oneOf(profile.tokenRequestFormat, ["form", "json", "query"], "token_request_format")
        oneOf(profile.tokenRequestMethod, ["POST", "GET", "PUT"], "token_request_method")
        oneOf(profile.basicUser, ["client_id", "secret"], "basic_user")
        oneOf(profile.expiresInUnit, ["seconds", "milliseconds"], "expires_in_unit")
        oneOf(profile.refreshTokenPolicy, ["standard", "keep_original"], "refresh_token_policy")
        oneOf(profile.clientAuthenticationForRefresh, ClientAuthenticationMethod.allCases.map(\.rawValue), "client_auth_for_refresh")
        oneOf(profile.responseMode, ["query"], "response_mode")
        oneOf(profile.scopeSeparator, [" ", ",", ";", "|", ":", "+"], "scope_separator")
    }

    private mutating func judgePatterns() {
        for (name, pattern) in settings.variablePatterns.sorted(by: { $0.key < $1.key }) {
            let pointer = "/variable_patterns/" + pointerToken(name)
            let parts = name.split(separator: ".", omittingEmptySubsequences: false)
            if parts.count < 2 || !["token_response", "callback"].contains(parts[0]) || parts.contains("") {
                wrong(pointer, "must be named token_response.NAME or callback.NAME")
            }
            switch pattern.kind {
            case .origin:
                let hosts = pattern.hosts ?? []
                if hosts.isEmpty { wrong(pointer + "/hosts", "kind origin needs hosts, such as *.example.com") }
                for (index, host) in hosts.enumerated() where !Capture.isHostPattern(host) {
                    wrong(pointer + "/hosts/\(index)", "must be a host name, or *. before one with two labels or more")
                }
            case .regex:
                if let text = pattern.pattern, !text.isEmpty {
                    if wholeMatch("", text) == nil { wrong(pointer + "/pattern", "is not a regular expression") }
                } else {
                    wrong(pointer + "/pattern", "kind regex needs a pattern")
                }
            case .label: break
            }
        }
    }
}

/// One reference token of an RFC 6901 pointer.
package func pointerToken(_ text: String) -> String {
    text.replacing("~", with: "~0").replacing("/", with: "~1")
}

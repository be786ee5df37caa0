import OAuth
import Vault

/// A connection's settings as the protocol library takes them: URLs filled and parsed, switches merged over the preset's.
extension ConnectionSettings {
    var presetEntry: Preset? { preset.flatMap(Preset.find) }

    /// The builder's variables over the preset's defaults. `client_id` is the connection's own, as far as a URL can hold it.
    var effectiveVariables: [String: String] {
        var values: [String: String] = [:]
        if let id = oauth.clientID, id.utf8.allSatisfy(Self.isUnreserved) { values["client_id"] = id }
        for variable in presetEntry?.variables ?? [] { values[variable.name] = variable.defaultValue }
        return values.merging(variables) { _, own in own }
    }

    /// RFC 3986 §2.3.
    private static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
            true
        default: false
        }
    }

    /// What is asked for: a preset's scope may hold a `{name}`, as its URLs do.
    var requestedScopes: [String] {
        guard oauth.scopes.contains(where: { $0.contains("{") }) else { return oauth.scopes }
        let values = effectiveVariables
        return oauth.scopes.map { URLTemplate($0).filled(with: values) ?? $0 }
    }

    /// - Throws: `RequestError` naming the setting: a placeholder without a value, or not a usable URL.
    func endpoint(_ text: String?, _ name: String) throws(RequestError) -> EndpointURL? {
        guard let text else { return nil }
        guard let filled = URLTemplate(text).filled(with: effectiveVariables) else {
            throw RequestError(parameter: name, reason: "a variable it names has no value")
        }
        do {
            return try EndpointURL(filled)
        } catch {
            throw RequestError(parameter: name, reason: error.description)
        }
    }

    /// What its token endpoint is known by: whoever shares one shares its breaker and its pace.
    var tokenEndpointKey: String {
        let text = oauth.refreshURL ?? oauth.tokenURL ?? ""
        // One that cannot be used stands for itself: the request says what is wrong with it.
        return (try? endpoint(text, "token_url"))?.description ?? text
    }

    func issuer() throws(RequestError) -> String? {
        guard let issuer = oauth.issuer else { return nil }
        guard let filled = URLTemplate(issuer).filled(with: effectiveVariables) else {
            throw RequestError(parameter: "issuer", reason: "a variable it names has no value")
        }
        return filled
    }

    /// - Throws: `RequestError` naming the first setting that does not serve.
    func server(promisesIssuer: Bool = false) throws(RequestError) -> AuthorizationServer {
        guard let tokenEndpoint = try endpoint(oauth.tokenURL, "token_url") else {
            throw RequestError(parameter: "token_url", reason: "is required")
        }
        return AuthorizationServer(
            issuer: try issuer(), authorizationEndpoint: try endpoint(oauth.authorizationURL, "authorization_url"),
            tokenEndpoint: tokenEndpoint, refreshEndpoint: try endpoint(oauth.refreshURL, "refresh_url"),
            revocationEndpoint: try endpoint(oauth.revocationURL, "revocation_url"), promisesIssuer: promisesIssuer)
    }

    /// The preset's switches below, the builder's above.
    var profile: ProviderProfile {
        var profile = ProviderProfile()
        if let preset = presetEntry { ProfileSettings(preset: preset, variables: effectiveVariables, clientID: oauth.clientID).apply(to: &profile) }
        oauth.profile.apply(to: &profile)
        profile.refreshTokenIdleDays = oauth.refreshTokenIdleDays
        return profile
    }

    /// A client without a secret sends its id alone, whatever way of sending both is set.
    func authenticationMethod(hasSecret: Bool) -> ClientAuthenticationMethod {
        guard hasSecret else { return .none }
        return ClientAuthenticationMethod(rawValue: oauth.clientAuthentication) ?? .clientSecretBasic
    }

    var pkceMode: PKCE.Mode { oauth.pkce.flatMap(PKCE.Mode.init(rawValue:)) ?? .s256 }
}

extension Connection {
    /// Fetches tokens without a person: client credentials, or a password that is stored. Its only grant is the shared one.
    package var fetchesAlone: Bool {
        switch settings.oauth.grantType {
        case .clientCredentials: true
        case .password: settings.oauth.username != nil && password != nil
        case .authorizationCode: false
        }
    }
}

extension ProfileSettings {
    func apply(to profile: inout ProviderProfile) {
        func merge(_ values: [String: String]?, into target: inout [String: String]) {
            if let values { target.merge(values) { _, own in own } }
        }
        if let scopeSeparator { profile.scopeSeparator = scopeSeparator }
        merge(authorizationParams, into: &profile.authorizationParams)
        merge(tokenParams, into: &profile.tokenParams)
        merge(refreshParams, into: &profile.refreshParams)
        merge(tokenHeaders, into: &profile.tokenHeaders)
        merge(tokenResponseMembers, into: &profile.tokenResponseMembers)
        merge(errorAliases, into: &profile.errorAliases)
        merge(parameterNames, into: &profile.authorizationParameterNames)
        merge(parameterNames, into: &profile.tokenParameterNames)
        if let format = tokenRequestFormat.flatMap(ProviderProfile.BodyFormat.init(rawValue:)) { profile.tokenRequestFormat = format }
        if let tokenRequestMethod { profile.tokenRequestMethod = tokenRequestMethod }
        if let defaultExpiresIn { profile.defaultExpiresIn = defaultExpiresIn }
        if let rawScope { profile.rawScope = rawScope }
        if let responseMode { profile.responseMode = responseMode }
        if let codeParameter { profile.codeParameter = codeParameter }
        if let stateParameter { profile.stateParameter = stateParameter }
        if let redirectURIInExchange { profile.redirectURIInExchange = redirectURIInExchange }
        if let stateInExchange { profile.stateInExchange = stateInExchange }
        if let clientIDInBody { profile.clientIDInBody = clientIDInBody }
        if let user = basicUser.flatMap(ProviderProfile.BasicUser.init(rawValue:)) { profile.basicUser = user }
        if let method = clientAuthenticationForRefresh.flatMap(ClientAuthenticationMethod.init(rawValue:)) {
            profile.clientAuthenticationForRefresh = method
        }
        if let responsePath { profile.responsePath = responsePath }
        if let errorPath { profile.errorPath = errorPath }
        if let tokenTypeAliases { profile.tokenTypeAliases = tokenTypeAliases }
        if let unit = expiresInUnit.flatMap(ProviderProfile.ExpiresInUnit.init(rawValue:)) { profile.expiresInUnit = unit }
        if let zeroMeansNever { profile.zeroMeansNever = zeroMeansNever }
        if let policy = refreshTokenPolicy.flatMap(ProviderProfile.RefreshTokenPolicy.init(rawValue:)) { profile.refreshTokenPolicy = policy }
        if let scopeInRefresh { profile.scopeInRefresh = scopeInRefresh }
        if let rotationGrace { profile.rotationGrace = rotationGrace }
        if let refreshMargin { profile.refreshMargin = refreshMargin }
    }
}

extension Broker {
    /// The protocol client of a connection, its secret opened.
    func client(of connection: Connection, promisesIssuer: Bool = false) async throws(Problem) -> Client {
        let settings = connection.settings
        var secret: ClientSecret?
        if let sealed = connection.clientSecret {
            secret = try await asProblem {
                ClientSecret(String(decoding: try await keyring.opened(sealed, at: .clientSecret(of: connection.uid)), as: UTF8.self))
            }
        }
        do throws(RequestError) {
            return Client(
                server: try settings.server(promisesIssuer: promisesIssuer),
                registration: ClientRegistration(
                    clientID: settings.oauth.clientID ?? "", clientSecret: secret,
                    authentication: settings.authenticationMethod(hasSecret: secret != nil)),
                profile: settings.profile)
        } catch {
            throw Problem(.misconfigured, "the connection's \(error.parameter) does not serve: \(error.reason)", fix: "correct \(error.parameter)")
        }
    }

    func storedPassword(of connection: Connection) async throws(Problem) -> Password? {
        guard let sealed = connection.password else { return nil }
        return try await asProblem { Password(String(decoding: try await keyring.opened(sealed, at: .password(of: connection.uid)), as: UTF8.self)) }
    }
}

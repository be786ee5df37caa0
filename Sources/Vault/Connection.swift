/// An External API connection: configuration, made by a builder. Keyed by `uid`; `id` is its name in URLs.
package struct Connection: Sendable {
    package var uid: UID
    package var id: String
    package var settings: ConnectionSettings
    package var clientSecret: Sealed?
    package var password: Sealed?
    package var health: Health
    package var createdAt: Timestamp
    package var updatedAt: Timestamp
    /// Grows with every change; the API's ETag.
    package var revision: Int

    package struct Health: Sendable, Hashable, Codable {
        package enum State: String, Sendable, Codable {
            case ok, misconfigured
            case providerDown = "provider_down"
        }
        package var state: State
        package var reason: String?
        package var since: Timestamp
        package init(state: State, reason: String? = nil, since: Timestamp) {
            self.state = state
            self.reason = reason
            self.since = since
        }
    }

    package init(
        uid: UID, id: String, settings: ConnectionSettings, clientSecret: Sealed? = nil, password: Sealed? = nil,
        health: Health, createdAt: Timestamp, updatedAt: Timestamp, revision: Int = 1
    ) {
        self.uid = uid
        self.id = id
        self.settings = settings
        self.clientSecret = clientSecret
        self.password = password
        self.health = health
        self.createdAt = createdAt
        self.updatedAt = updatedAt
        self.revision = revision
    }
}

/// What a builder set, secrets apart. Stored as JSON; new members need a default.
package struct ConnectionSettings: Sendable, Hashable, Codable {
    package var name: String
    package var preset: String?
    package var baseURL: String?
    package var oauth: OAuthSettings
    package var authenticationInstructions: String
    package var headers: [String: String] = [:]
    package var variables: [String: String] = [:]
    package var variablePatterns: [String: VariablePattern] = [:]
    package var returnOrigins: [String] = []
    package var keepAlive: Bool = false
    package var allowTokenInQuery: Bool = false
    /// Whether `%2F` may stand in the path of a gateway call.
    package var allowEncodedSlash: Bool = false
    package var agentAccess: AgentAccess = AgentAccess()

    package init(name: String, oauth: OAuthSettings) {
        self.name = name
        self.oauth = oauth
        self.authenticationInstructions = "Authorization: Bearer <token>"
    }

    /// What an older version stored lacks the members that came later.
    package init(from decoder: any Decoder) throws {
        let members = try decoder.container(keyedBy: CodingKeys.self)
        self.init(name: try members.decode(String.self, forKey: .name), oauth: try members.decode(OAuthSettings.self, forKey: .oauth))
        preset = try members.decodeIfPresent(String.self, forKey: .preset)
        baseURL = try members.decodeIfPresent(String.self, forKey: .baseURL)
        authenticationInstructions = try members.decode(String.self, forKey: .authenticationInstructions)
        headers = try members.decode([String: String].self, forKey: .headers)
        variables = try members.decode([String: String].self, forKey: .variables)
        variablePatterns = try members.decode([String: VariablePattern].self, forKey: .variablePatterns)
        returnOrigins = try members.decode([String].self, forKey: .returnOrigins)
        keepAlive = try members.decode(Bool.self, forKey: .keepAlive)
        allowTokenInQuery = try members.decode(Bool.self, forKey: .allowTokenInQuery)
        allowEncodedSlash = try members.decodeIfPresent(Bool.self, forKey: .allowEncodedSlash) ?? false
        agentAccess = try members.decode(AgentAccess.self, forKey: .agentAccess)
    }
}

package enum GrantType: String, Sendable, Hashable, Codable, CaseIterable {
    case password
    case clientCredentials = "client_credentials"
    case authorizationCode = "authorization_code"
}

package struct OAuthSettings: Sendable, Hashable, Codable {
    package var grantType: GrantType
    /// `PKCE.Mode`'s raw value; `nil` for grant types without an authorization request.
    package var pkce: String?
    package var issuer: String?
    package var authorizationURL: String?
    package var tokenURL: String?
    package var refreshURL: String?
    package var revocationURL: String?
    package var clientID: String?
    /// `ClientAuthenticationMethod`'s raw value.
    package var clientAuthentication: String = "client_secret_basic"
    package var scopes: [String] = []
    package var redirectURI: String?
    package var username: String?
    package var refreshTokenIdleDays: Int?
    package var clientSecretExpiresAt: Timestamp?
    /// The builder's switches, by their contract names (`scope_separator`, `token_params`, …): only those that are set.
    package var profile: ProfileSettings = ProfileSettings()

    package init(grantType: GrantType) { self.grantType = grantType }
}

/// The switches of a `ProviderProfile` that a builder (or preset) set. `nil` = the default.
package struct ProfileSettings: Sendable, Hashable, Codable {
    package var scopeSeparator: String?
    package var authorizationParams: [String: String]?
    package var tokenParams: [String: String]?
    package var refreshParams: [String: String]?
    package var tokenHeaders: [String: String]?
    package var tokenRequestFormat: String?
    package var tokenRequestMethod: String?
    package var tokenResponseMembers: [String: String]?
    package var defaultExpiresIn: Int?
    package var parameterNames: [String: String]?
    // Names of quirks.md section 9
    package var rawScope: Bool?
    package var responseMode: String?
    package var codeParameter: String?
    package var stateParameter: String?
    package var redirectURIInExchange: Bool?
    package var stateInExchange: Bool?
    package var clientIDInBody: Bool?
    package var basicUser: String?
    package var clientAuthenticationForRefresh: String?
    package var responsePath: String?
    package var errorPath: String?
    package var errorAliases: [String: String]?
    package var tokenTypeAliases: [String]?
    package var expiresInUnit: String?
    package var zeroMeansNever: Bool?
    package var refreshTokenPolicy: String?
    package var scopeInRefresh: Bool?
    package var rotationGrace: Int?
    package var refreshMargin: Int?
    package init() {}
}

package struct VariablePattern: Sendable, Hashable, Codable {
    package enum Kind: String, Sendable, Codable { case origin, label, regex }
    package var kind: Kind
    package var hosts: [String]?
    package var pattern: String?
    package init(kind: Kind, hosts: [String]? = nil, pattern: String? = nil) {
        self.kind = kind
        self.hosts = hosts
        self.pattern = pattern
    }
}

package struct AgentAccess: Sendable, Hashable, Codable {
    package var enabled = false
    package var methods = ["GET"]
    package var paths: [String] = []
    package var headers: [String] = []
    package init() {}
}

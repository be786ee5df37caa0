package import Vault
package import OAuth
package import OAuthClient
package import Egress
package import Logging

/// What Grantee does: connect, callback, issue, refresh, revoke. Every face calls this and nothing below it.
///
/// Methods throw ``Problem``.
package final class Broker: Sendable {
    let store: any Store
    let keyring: Keyring
    let transport: any Transport
    let egress: Egress
    let clock: WallClock
    let logger: Logger
    let configuration: Configuration

    package struct Configuration: Sendable {
        /// `http://127.0.0.1:8080`, without a final slash: what Callback URLs are made from.
        package var publicURL: String
        package var forbidPasswordGrant: Bool
        package init(publicURL: String, forbidPasswordGrant: Bool = false) {
            self.publicURL = publicURL; self.forbidPasswordGrant = forbidPasswordGrant
        }
    }

    package init(store: any Store, keyring: Keyring, transport: any Transport, egress: Egress, clock: WallClock = .system, logger: Logger, configuration: Configuration) {
        self.store = store; self.keyring = keyring; self.transport = transport; self.egress = egress
        self.clock = clock; self.logger = logger; self.configuration = configuration
    }

    // MARK: Callers
    /// Reads keys into memory; makes or replaces the admin key. Call once at start.
    package func start(adminKey: String?) async throws { fatalError("stub") }
    /// Synchronous: a SHA-256 and a look-up in memory. `nil` = unknown or expired key.
    package func authenticate(_ key: String) -> Caller? { fatalError("stub") }
    package func keys() async throws -> [APIKey] { fatalError("stub") }
    package struct NewKey: Sendable {
        package var name: String
        package var role: APIKey.Role
        /// Connection ids (slugs); each must exist.
        package var connections: [String]?
        package var subjects: [String]?
        package var requestsPerMinute: Int?
        package var expiresAt: Timestamp?
        package init(name: String, role: APIKey.Role, connections: [String]? = nil, subjects: [String]? = nil, requestsPerMinute: Int? = nil, expiresAt: Timestamp? = nil) {
            self.name = name; self.role = role; self.connections = connections; self.subjects = subjects; self.requestsPerMinute = requestsPerMinute; self.expiresAt = expiresAt
        }
    }
    /// - Returns: the record and the key itself, which is never seen again.
    package func addKey(_ new: NewKey, by caller: Caller) async throws -> (APIKey, String) { fatalError("stub") }
    package func removeKey(id: String, by caller: Caller) async throws { fatalError("stub") }

    // MARK: Connections
    package func connections(after: String?, limit: Int, for caller: Caller) async throws -> [Connection] { fatalError("stub") }
    /// - Throws: `not_found` / `forbidden`
    package func connection(id: String, for caller: Caller) async throws -> Connection { fatalError("stub") }
    /// Secrets arrive apart from the settings, which were checked for shape; URLs, hosts, reserved parameters and what
    /// the grant type needs are checked here (`invalid_request` with pointers, `egress_blocked`).
    package func addConnection(id: String?, settings: ConnectionSettings, clientSecret: ClientSecret?, password: Password?, by caller: Caller) async throws -> Connection { fatalError("stub") }
    package enum SecretChange<S: Sendable>: Sendable { case keep, clear, set(S) }
    /// - Parameters:
    ///   - expectedRevision: from `If-Match`; `precondition_failed` when it moved.
    ///   - keepGrants: a moved `base_url` keeps its grants.
    package func updateConnection(id: String, settings: ConnectionSettings, clientSecret: SecretChange<ClientSecret>, password: SecretChange<Password>, keepGrants: Bool, expectedRevision: Int?, by caller: Caller) async throws -> Connection { fatalError("stub") }
    package func deleteConnection(id: String, by caller: Caller) async throws { fatalError("stub") }
    package func discover(issuer: String) async throws -> AuthorizationServerMetadata { fatalError("stub") }
    package func callbackURL(connectionID: String) -> String { configuration.publicURL + "/oauth/callback/" + connectionID }

    // MARK: Connecting
    package struct ConnectOptions: Sendable {
        /// `""` = shared.
        package var subject: String
        package var returnURL: String?
        package var username: String?
        package var password: Password?
        package var scopes: [String]?
        package var loginHint: String?
        package var completion: ConnectSession.Options.Completion
        package var expectedAccount: String?
        package var allowAccountChange: Bool
        package init(subject: String = "", returnURL: String? = nil, username: String? = nil, password: Password? = nil, scopes: [String]? = nil, loginHint: String? = nil,
                     completion: ConnectSession.Options.Completion = .browser, expectedAccount: String? = nil, allowAccountChange: Bool = false) {
            self.subject = subject; self.returnURL = returnURL; self.username = username; self.password = password; self.scopes = scopes; self.loginHint = loginHint
            self.completion = completion; self.expectedAccount = expectedAccount; self.allowAccountChange = allowAccountChange
        }
    }
    package enum ConnectOutcome: Sendable {
        case connected(GrantView)
        case link(session: ConnectSession, connectURL: String)
    }
    package func connect(connectionID: String, options: ConnectOptions, by caller: Caller) async throws -> ConnectOutcome { fatalError("stub") }
    package func session(id: String, for caller: Caller) async throws -> SessionView { fatalError("stub") }
    package func completeSession(id: String, subject: String, by caller: Caller) async throws -> GrantView { fatalError("stub") }

    // The browser's side: no caller, the ticket or the binding is the proof.
    /// What the connect page shows; consumes nothing. - Throws: `not_found` for an unknown ticket.
    package func connectPage(ticket: String) async throws -> ConnectPage { fatalError("stub") }
    package struct ConnectPage: Sendable {
        package var session: ConnectSession
        package var connection: Connection
        /// `nil` while it can go on; else it is over: `expired`, `connected` …
        package var ended: ConnectSession.State?
        /// Username and password form instead of a link to the provider.
        package var asksForPassword: Bool
        /// `completion: application`: redirect at once.
        package var redirectsAtOnce: Bool
        package init(session: ConnectSession, connection: Connection, ended: ConnectSession.State?, asksForPassword: Bool, redirectsAtOnce: Bool) {
            self.session = session; self.connection = connection; self.ended = ended; self.asksForPassword = asksForPassword; self.redirectsAtOnce = redirectsAtOnce
        }
    }
    /// A new attempt with its own state. - Parameter binding: the binding cookie's value.
    /// - Returns: the provider's URL to redirect to (holds `state`: never log it).
    package func beginAttempt(ticket: String, binding: String) async throws -> String { fatalError("stub") }
    /// The username and password form. - Returns: the session afterwards (connected or still open with an error).
    package func submitPassword(ticket: String, username: String, password: Password) async throws -> ConnectSession { fatalError("stub") }
    /// - Parameters:
    ///   - query: the raw query bytes of the callback.
    ///   - binding: the binding cookie's value, `nil` when absent.
    /// - Returns: where the browser goes next. Never throws for what the browser sent: failures are in the outcome.
    package func callback(connectionID: String, query: String, binding: String?) async -> CallbackOutcome { fatalError("stub") }
    package struct CallbackOutcome: Sendable {
        /// 303 here: the `return_url` with its parameters, or `/connect/result/{session}`; `nil` = no session could be
        /// found, show `error` on a page.
        package var location: String?
        package var error: String?
        package init(location: String?, error: String?) { self.location = location; self.error = error }
    }
    /// For `/connect/result/{session}`; needs no caller, holds no secret.
    package func result(sessionID: String) async throws -> (ConnectSession, Connection?) { fatalError("stub") }

    // MARK: Tokens and grants
    package struct TokenQuery: Sendable {
        package var subject: String
        package var minTTL: Int
        package var forceRefresh: Bool
        package var afterGeneration: Int?
        package init(subject: String = "", minTTL: Int = 0, forceRefresh: Bool = false, afterGeneration: Int? = nil) {
            self.subject = subject; self.minTTL = minTTL; self.forceRefresh = forceRefresh; self.afterGeneration = afterGeneration
        }
    }
    /// The hot path: a fresh token from the cache, or `nil`; no await, no database, no decryption.
    package func cachedToken(connectionID: String, query: TokenQuery, for caller: Caller) -> IssuedToken? { fatalError("stub") }
    package func token(connectionID: String, query: TokenQuery, for caller: Caller) async throws -> IssuedToken { fatalError("stub") }
    package func grants(connectionID: String?, subject: String?, state: String?, after: UID?, limit: Int, for caller: Caller) async throws -> [GrantView] { fatalError("stub") }
    package func grant(connectionID: String, subject: String, for caller: Caller) async throws -> GrantView { fatalError("stub") }
    package func refresh(connectionID: String, subject: String, for caller: Caller) async throws -> GrantView { fatalError("stub") }
    package enum ProviderRevocation: String, Sendable { case revoked, pending, unsupported, failed }
    package func revoke(connectionID: String, subject: String, by caller: Caller) async throws -> ProviderRevocation { fatalError("stub") }
    package struct ImportedTokens: Sendable {
        package var accessToken: AccessToken?
        package var refreshToken: RefreshToken?
        package var expiresIn: Int?
        package var scope: [String]?
        package init(accessToken: AccessToken?, refreshToken: RefreshToken?, expiresIn: Int?, scope: [String]?) {
            self.accessToken = accessToken; self.refreshToken = refreshToken; self.expiresIn = expiresIn; self.scope = scope
        }
    }
    package func importGrant(connectionID: String, subject: String, tokens: ImportedTokens, by caller: Caller) async throws -> GrantView { fatalError("stub") }

    // MARK: Activity
    package func activity(connection: String?, subject: String?, before: UID?, limit: Int, for caller: Caller) async throws -> [Activity] { fatalError("stub") }
    /// Ready = the store answers, no received token waits to be written.
    package func isReady() async -> Bool { fatalError("stub") }
    /// Background work: activity flush, refresh-ahead, sweeps, orphans. Runs until graceful shutdown, then writes what waits.
    package func run() async throws { fatalError("stub") }
}

/// Who calls, after ``Broker/authenticate(_:)``.
package struct Caller: Sendable {
    package let key: APIKey
    package var isAdmin: Bool { key.role == .admin }
    package func covers(connection: UID) -> Bool { key.connections.map { $0.contains(connection) } ?? true }
    package func covers(subject: String) -> Bool { key.subjects.map { $0.contains(subject) } ?? true }
    package init(key: APIKey) { self.key = key }
}

package struct IssuedToken: Sendable {
    package var accessToken: AccessToken
    package var tokenType: String
    package var expiresAt: Timestamp?
    package var scope: [String]?
    package var generation: Int
    package var refreshed: Bool
    package init(accessToken: AccessToken, tokenType: String, expiresAt: Timestamp?, scope: [String]?, generation: Int, refreshed: Bool) {
        self.accessToken = accessToken; self.tokenType = tokenType; self.expiresAt = expiresAt; self.scope = scope; self.generation = generation; self.refreshed = refreshed
    }
}

/// A grant with the connection's id, as faces show it: never a token.
package struct GrantView: Sendable {
    package var grant: Grant
    package var connectionID: String
    /// `active`, `expired`, `reauthorization_required`, `revoked`.
    package var state: String
    /// Requested and not granted.
    package var missingScope: [String]
    package init(grant: Grant, connectionID: String, state: String, missingScope: [String]) {
        self.grant = grant; self.connectionID = connectionID; self.state = state; self.missingScope = missingScope
    }
}

package struct SessionView: Sendable {
    package var session: ConnectSession
    package var grant: GrantView?
    package init(session: ConnectSession, grant: GrantView?) { self.session = session; self.grant = grant }
}

import Crypto
package import OAuth
import OAuthClient
package import Vault

/// Beginning, or doing, what gives a grant.
extension Broker {
    package struct ConnectOptions: Sendable {
        /// `""` = the shared grant.
        package var subject: String
        /// Must lie in one of the connection's `return_origins`, or be a page of the console if ``returnsToConsole``.
        package var returnURL: String?
        /// Said by the console alone, never by a caller: the person comes back to one of its pages.
        package var returnsToConsole = false
        package var username: String?
        package var password: Password?
        /// Instead of the connection's.
        package var scopes: [String]?
        package var loginHint: String?
        package var completion: ConnectSession.Options.Completion
        package var expectedAccount: String?
        package var allowAccountChange: Bool
        /// Somebody signed in at the console has to confirm the link before it leads to the provider.
        var needsConfirmation = false

        package init(
            subject: String = "", returnURL: String? = nil, username: String? = nil, password: Password? = nil, scopes: [String]? = nil,
            loginHint: String? = nil, completion: ConnectSession.Options.Completion = .browser, expectedAccount: String? = nil,
            allowAccountChange: Bool = false
        ) {
            self.subject = subject
            self.returnURL = returnURL
            self.username = username
            self.password = password
            self.scopes = scopes
            self.loginHint = loginHint
            self.completion = completion
            self.expectedAccount = expectedAccount
            self.allowAccountChange = allowAccountChange
        }
    }

    package enum ConnectOutcome: Sendable {
        case connected(GrantView)
        case link(session: ConnectSession, connectURL: String)
    }

    static let ticketLifetime: Duration = .seconds(1800)
    static let attemptLifetime: Duration = .seconds(600)
    static let completionLifetime: Duration = .seconds(600)

    package func connect(connectionID: String, options: ConnectOptions, by caller: Caller) async throws(Problem) -> ConnectOutcome {
        let connection = try await connection(id: connectionID, for: caller)
        try require(options.subject, for: caller, of: connection)
        try check(options, connection)
        let alone = connection.fetchesAlone
        func atOnce(_ connect: () async throws(Problem) -> GrantView) async throws(Problem) -> ConnectOutcome {
            do {
                return .connected(try await connect())
            } catch {
                note("connect.failed", connection: connection, subject: options.subject, caller: caller, result: error.code.rawValue)
                throw error
            }
        }
        switch connection.settings.oauth.grantType {
        case .clientCredentials:
            return try await atOnce { () async throws(Problem) in try await connectAlone(connection) }
        case .password:
            try requirePasswordGrantAllowed()
            if alone { return try await atOnce { () async throws(Problem) in try await connectAlone(connection) } }
            guard let username = options.username, let password = options.password else { fallthrough }
            let grant = AuthorizationGrant.password(
                username: username, password: password, scopes: options.scopes ?? connection.settings.requestedScopes)
            return try await atOnce { () async throws(Problem) in
                try await exchange(grant, step: .password, connection: connection, subject: options.subject, guardedBy: .init(options), callbackValues: [:])
            }
        case .authorizationCode:
            let (session, url) = try await begin(connection, options: options, by: caller)
            return .link(session: session, connectURL: url)
        }
    }

    func begin(_ connection: Connection, options: ConnectOptions, by caller: Caller) async throws(Problem) -> (session: ConnectSession, connectURL: String) {
        let (session, url) = try await makeLink(connection, options: options, appName: caller.key.name, keyID: caller.key.id)
        note("connect.begun", connection: connection, subject: options.subject, caller: caller, detail: session.id)
        return (session, url)
    }

    private func connectAlone(_ connection: Connection) async throws(Problem) -> GrantView {
        try await asProblem {
            let key = GrantKey(connectionUID: connection.uid, subject: "")
            backOff.succeeded(key)
            let result = try await renewals.join(key, patience: configuration.patience) { [self] in
                // It is wanted anew, whatever another node got meanwhile.
                try await underLease(key, settled: { _ in nil }) { _ in
                    try await fetch(connection, existing: try await store.grant(connection: connection.uid, subject: "", slot: ""))
                }
            }
            await setHealth(.ok, reason: nil, of: connection)
            return GrantView(result.grant, connectionID: connection.id, now: clock.now())
        }
    }

    func check(_ options: ConnectOptions, _ connection: Connection) throws(Problem) {
        var errors: [Problem.FieldError] = []
        let settings = connection.settings
        func wrong(_ pointer: String, _ detail: String) { errors.append(.init(pointer: pointer, detail: detail)) }
        if let returnURL = options.returnURL {
            if let url = try? EndpointURL(returnURL) {
                let isConsolePage = options.returnsToConsole && returnURL.hasPrefix(configuration.publicURL + "/console/")
                if !isConsolePage, !settings.returnOrigins.contains(where: { (try? EndpointURL($0))?.origin == url.origin }) {
                    wrong("/return_url", "its origin is not among the connection's return_origins")
                }
            } else {
                wrong("/return_url", "must be an absolute URL in one of the connection's return_origins")
            }
        }
        for (index, scope) in (options.scopes ?? []).enumerated() where !Client.isScopeToken(scope) {
            wrong("/scopes/\(index)", "is not one scope: visible ASCII without space, quote and backslash")
        }
        if connection.fetchesAlone {
            // Nobody is asked, so nothing can be chosen: what would be left out silently is refused.
            if options.scopes != nil { wrong("/scopes", "\(connection.id) asks for the scopes of its settings") }
            if options.expectedAccount != nil { wrong("/expected_account", "\(connection.id) has no person's account") }
        }
        let given = options.username != nil || options.password != nil
        if settings.oauth.grantType != .password, given {
            wrong(options.username != nil ? "/username" : "/password", "only a connection with the password grant takes one")
        } else if given, options.username == nil || options.password == nil {
            wrong(options.username == nil ? "/username" : "/password", "username and password come together")
        } else if given, connection.fetchesAlone {
            wrong("/username", "the connection keeps its own username and password")
        }
        if options.completion == .application {
            if settings.oauth.grantType != .authorizationCode { wrong("/completion", "only authorization_code is completed by the application") }
            if options.subject.isEmpty { wrong("/subject", "is required with completion application") }
            if options.returnURL == nil { wrong("/return_url", "is required with completion application") }
        }
        guard errors.isEmpty else { throw Problem(.invalidRequest, "connecting cannot begin as asked", errors: errors) }
    }

    /// - Parameters:
    ///   - appName: who asks, as the page says it.
    ///   - keyID: the API key, or the webhook, for which it is made.
    /// - Returns: the session and its link, which nobody can read again.
    func makeLink(
        _ connection: Connection, options: ConnectOptions, appName: String, keyID: String
    ) async throws(Problem) -> (ConnectSession, String) {
        let now = clock.now()
        let ticket = entropy.token(bytes: 32)
        let session = ConnectSession(
            id: "cs_" + entropy.token(bytes: 16), ticketHash: Self.hash(ticket), connectionUID: connection.uid, subject: options.subject,
            options: .init(
                returnURL: options.returnURL, scopes: options.scopes, loginHint: options.loginHint, completion: options.completion,
                expectedAccount: options.expectedAccount, allowAccountChange: options.allowAccountChange,
                confirmation: options.needsConfirmation ? .needed : nil),
            appName: appName, keyID: keyID, createdAt: now, expiresAt: now + Self.ticketLifetime)
        try await asProblem { try await store.insert(session) }
        return (session, configuration.publicURL + "/connect/" + ticket)
    }

    static func hash(_ text: String) -> [UInt8] { Array(SHA256.hash(data: Array(text.utf8))) }

    // MARK: The browser's side

    /// What the connect page shows. Consumes nothing.
    package struct ConnectPage: Sendable {
        package var session: ConnectSession
        package var connection: Connection
        /// `nil` while it can go on; else how it is over.
        package var ended: ConnectSession.State?
        /// A username and password form instead of a link to the provider.
        package var asksForPassword: Bool
        /// `completion: application`: redirect at once.
        package var redirectsAtOnce: Bool
        /// For this browser, somebody signed in at the console has yet to confirm it.
        package var needsConfirmation: Bool
    }

    /// - Parameter binding: the value of the browser's binding cookie, where it has one.
    /// - Throws: `not_found` for an unknown ticket.
    package func connectPage(ticket: String, binding: String? = nil) async throws(Problem) -> ConnectPage {
        let (session, connection) = try await open(ticket)
        let ended: ConnectSession.State?
        switch session.state {
        case .open, .failed: ended = session.expiresAt <= clock.now() ? .expired : nil
        case .pending, .connected, .expired: ended = session.state
        }
        return ConnectPage(
            session: session, connection: connection, ended: ended, asksForPassword: connection.settings.oauth.grantType == .password,
            redirectsAtOnce: session.options.completion == .application, needsConfirmation: !Self.isConfirmed(session, binding: binding))
    }

    private func open(_ ticket: String) async throws(Problem) -> (ConnectSession, Connection) {
        let found = try await asProblem { try await store.session(ticketHash: Self.hash(ticket)) }
        guard let session = found else { throw Problem(.notFound, "this link is not known, or was made long ago") }
        return (session, try await requireConnection(uid: session.connectionUID))
    }

    /// The session of a ticket that can still go on. A failed try leaves it open: the first success closes it.
    func openLive(_ ticket: String) async throws(Problem) -> (ConnectSession, Connection) {
        let (session, connection) = try await open(ticket)
        guard session.state == .open || session.state == .failed, session.expiresAt > clock.now() else {
            throw Problem(.invalidState, "this link was used, or its time has passed", fix: "ask the application for a new link")
        }
        return (session, connection)
    }

    /// A new attempt with its own state, verifier and nonce.
    /// - Parameter binding: the value of the browser's binding cookie.
    /// - Returns: where to redirect. Holds `state`: not for logs.
    package func beginAttempt(ticket: String, binding: String) async throws(Problem) -> String {
        let (session, connection) = try await openLive(ticket)
        try requireConfirmed(session, binding: binding)
        let settings = connection.settings
        guard settings.oauth.grantType == .authorizationCode else {
            throw Problem(.invalidState, "this connection asks for username and password here")
        }
        var promisesIssuer = false
        do {
            if let issuer = try settings.issuer() { promisesIssuer = try await issuerPromise(issuer) }
        } catch let error as RequestError {
            throw Problem(.misconfigured, "the connection's \(error.parameter) does not serve: \(error.reason)", fix: "correct \(error.parameter)")
        } catch let problem as Problem {
            throw problem
        } catch {
            throw internalProblem(error)
        }
        let client = try await client(of: connection, promisesIssuer: promisesIssuer)
        let request: AuthorizationRequest
        do {
            request = try client.authorizationRequest(
                redirectURI: settings.oauth.redirectURI ?? callbackURL(connectionID: connection.id),
                scopes: session.options.scopes ?? settings.requestedScopes, pkce: settings.pkceMode, loginHint: session.options.loginHint,
                entropy: entropy)
        } catch {
            throw Problem(.misconfigured, "the authorization request cannot be made: \(error)", fix: "correct \(error.parameter)")
        }
        let now = clock.now()
        let stateHash = request.pending.stateHash
        try await asProblem {
            let pending = try keyring.seal(request.pending.archive(), at: .pending(stateHash: stateHash), scope: connection.uid)
            try await store.insert(
                AuthorizationAttempt(
                    stateHash: stateHash, sessionID: session.id, connectionUID: connection.uid, connectionRevision: connection.revision,
                    bindingHash: Self.hash(binding), pending: pending, createdAt: now, expiresAt: now + Self.attemptLifetime))
            _ = try await store.moveSession(session.id, from: [.failed], to: .open, error: nil, errorDetail: nil, grant: nil)
        }
        note("connect.continued", connection: connection, subject: session.subject, detail: session.id)
        return request.url
    }

    /// Whether the issuer's metadata promises `iss` in responses. An issuer without a document promises nothing.
    private func issuerPromise(_ issuer: String) async throws -> Bool {
        if let known = metadataCache.find(issuer, now: clock.now()) { return known.authorizationResponseIssParameterSupported }
        do {
            let metadata = try await OAuthClient.discover(issuer: issuer, transport: transport)
            metadataCache.insert(metadata, issuer: issuer, now: clock.now())
            return metadata.authorizationResponseIssParameterSupported
        } catch MetadataError.notJSON {
            return false
        } catch let error as MetadataError {
            throw ProviderProblem.of(error)
        } catch let error as TransportError {
            throw ProviderProblem.of(error, what: "the issuer's metadata")
        }
    }

    /// What the username and password form sent.
    /// - Returns: the session afterwards: connected, or failed with an error and open for another try.
    package func submitPassword(ticket: String, username: String, password: Password) async throws(Problem) -> ConnectSession {
        let (session, connection) = try await openLive(ticket)
        // What is confirmed at the console is a trip to the provider, never a password.
        guard connection.settings.oauth.grantType == .password, session.options.confirmation == nil else {
            throw Problem(.invalidState, "this connection does not take a username and password")
        }
        try requirePasswordGrantAllowed()
        let grant = AuthorizationGrant.password(
            username: username, password: password, scopes: session.options.scopes ?? connection.settings.requestedScopes)
        do {
            let view = try await exchange(
                grant, step: .password, connection: connection, subject: session.subject, guardedBy: .init(session.options), callbackValues: [:])
            try await end(session, as: .connected, grant: view.grant.uid)
            note("connect.connected", connection: connection, subject: session.subject, detail: session.id)
        } catch {
            let code = error.code == .accountMismatch ? "account_mismatch" : "exchange_failed"
            note("connect.failed", connection: connection, subject: session.subject, result: code, detail: session.id)
            try await end(session, as: .failed, error: code, detail: error.shown)
        }
        return try await asProblem { try await store.session(id: session.id) } ?? session
    }

    // MARK: Sessions

    func end(
        _ session: ConnectSession, as state: ConnectSession.State, error: String? = nil, detail: String? = nil, grant: UID? = nil
    ) async throws(Problem) {
        _ = try await asProblem {
            try await store.moveSession(
                session.id, from: [.open, .failed, .pending], to: state, error: error, errorDetail: detail, grant: grant)
        }
    }

    package struct SessionView: Sendable {
        package var session: ConnectSession
        package var grant: GrantView?
    }

    package func session(id: String, for caller: Caller) async throws(Problem) -> SessionView {
        try caller.requireUse()
        guard var session = try await asProblem({ try await store.session(id: id) }) else {
            throw Problem(.notFound, "there is no connect session \(id.prefix(80))")
        }
        let connection = try await requireConnection(uid: session.connectionUID)
        guard caller.covers(connection: connection.uid), caller.covers(subject: session.subject) else {
            throw Problem(.forbidden, "this key does not cover the session's connection or subject")
        }
        session.state = try await stateNow(of: session)
        var grant: Grant?
        if let uid = session.grantUID { grant = try await asProblem { try await store.grant(uid: uid) } }
        return SessionView(session: session, grant: grant.map { GrantView($0, connectionID: connection.id, now: clock.now()) })
    }

    /// Time ends a session without a write.
    private func stateNow(of session: ConnectSession) async throws(Problem) -> ConnectSession.State {
        let now = clock.now()
        switch session.state {
        case .open where session.expiresAt <= now: return .expired
        case .pending:
            let completion = try await asProblem { try await store.completion(sessionID: session.id) }
            return completion.map { $0.expiresAt > now } ?? false ? .pending : .expired
        default: return session.state
        }
    }

    /// For the result page; holds no secret, needs no caller.
    package func result(sessionID: String) async throws(Problem) -> (session: ConnectSession, connection: Connection?) {
        guard var session = try await asProblem({ try await store.session(id: sessionID) }) else {
            throw Problem(.notFound, "this page is not known, or was made long ago")
        }
        session.state = try await stateNow(of: session)
        let uid = session.connectionUID
        return (session, try await asProblem { try await store.connection(uid: uid) })
    }
}

extension Problem {
    /// For a person on a page: what happened and what to do, in sentences.
    var shown: String {
        [detail, fix].compactMap(\.self).map { $0.prefix(1).uppercased() + $0.dropFirst() + "." }.joined(separator: " ")
    }
}

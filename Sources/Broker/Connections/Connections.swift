import Logging
package import OAuth
import OAuthClient
package import Vault

/// Connections: made, read, changed, removed.
extension Broker {
    /// In the order of ids; a limited key sees its own.
    package func connections(after: String?, limit: Int, for caller: Caller) async throws(Problem) -> [Connection] {
        try caller.requireUse()
        return try await asProblem {
            var found: [Connection] = []
            var cursor = after
            while found.count < limit {
                let page = try await store.connections(after: cursor, limit: limit)
                found += page.filter { caller.covers(connection: $0.uid) }
                guard page.count == limit, let last = page.last else { break }
                cursor = last.id
            }
            return Array(found.prefix(limit))
        }
    }

    /// - Throws: `not_found`, or `forbidden` when the key does not cover it.
    package func connection(id: String, for caller: Caller) async throws(Problem) -> Connection {
        try caller.requireUse()
        guard let connection = try await findConnection(id) else { throw Self.noConnection(id) }
        guard caller.covers(connection: connection.uid) else { throw Self.notCovered(id) }
        return connection
    }

    static func notCovered(_ id: String) -> Problem {
        Problem(.forbidden, "this key does not cover the connection \(id)", fix: "use a key that covers it")
    }

    static func noConnection(_ id: String) -> Problem {
        Problem(.notFound, "there is no connection \(id.prefix(80))", fix: "GET /v1/connections lists them")
    }

    /// Through the cache.
    func findConnection(_ id: String) async throws(Problem) -> Connection? { try await findDestination(id)?.connection }

    /// Through the cache.
    func findDestination(_ id: String) async throws(Problem) -> Destination? {
        if !isCoherent { try await catchUp() }
        if let destination = connectionCache.destination(id) { return destination }
        let epoch = connectionCache.epoch
        guard let connection = try await asProblem({ try await readConnection { try await store.connection(id: id) } }) else { return nil }
        let destination = Destination(connection)
        connectionCache.insert(destination, epoch: epoch)
        return destination
    }

    /// Notes what is read, so that others' changes of it are understood, and that its data key is there to seal with.
    private func readConnection(_ read: () async throws -> Connection?) async throws -> Connection? {
        guard let connection = try await read() else { return nil }
        connectionCache.note(connection)
        try await keyring.learn(scope: connection.uid)
        return connection
    }

    func requireConnection(uid: UID) async throws(Problem) -> Connection {
        guard let connection = try await asProblem({ try await readConnection { try await store.connection(uid: uid) } }) else {
            throw Problem(.notFound, "the connection was removed meanwhile")
        }
        return connection
    }

    /// Secrets arrive apart from the settings. URLs, hosts, reserved parameters and what the grant type needs are
    /// checked here: `invalid_request` names every wrong field, `egress_blocked` a URL that may not be reached.
    /// - Parameter id: a-z, 0-9 and `-`; `conflict` when taken.
    package func addConnection(
        id: String, settings: ConnectionSettings, clientSecret: ClientSecret?, password: Password?, by caller: Caller
    ) async throws(Problem) -> Connection {
        try caller.requireUnboundAdmin()
        try ConnectionRules.check(
            settings, hasClientSecret: clientSecret != nil, hasPassword: password != nil, egress: egress,
            forbidPasswordGrant: configuration.forbidPasswordGrant, isBlocked: { noteBlocked(host: $0, by: caller) })
        let now = clock.now()
        var connection = Connection(
            uid: .make(at: now), id: id, settings: settings, health: .init(state: .ok, since: now), createdAt: now, updatedAt: now)
        try await asProblem {
            guard try await store.connection(id: id) == nil else { throw Self.idTaken(id) }
            try await keyring.prepare(scope: connection.uid)
            connection.clientSecret = try seal(clientSecret, at: .clientSecret(of: connection.uid), scope: connection.uid)
            connection.password = try seal(password, at: .password(of: connection.uid), scope: connection.uid)
            do {
                try await store.insert(connection)
            } catch StoreError.conflict {
                try await keyring.destroy(scope: connection.uid)
                throw Self.idTaken(id)
            }
        }
        connectionCache.remove(id)
        note("connection.created", connection: connection, caller: caller)
        return connection
    }

    private func noteBlocked(host: String, by caller: Caller) {
        note("egress.blocked", caller: caller, result: Problem.Code.egressBlocked.rawValue, detail: host)
    }

    private static func idTaken(_ id: String) -> Problem {
        Problem(
            .conflict, "there is a connection \(id) already", fix: "choose another id, or PATCH /v1/connections/\(id)",
            errors: [.init(pointer: "/id", detail: "is taken")])
    }

    private func seal<Kind>(_ secret: Secret<Kind>?, at place: Keyring.Place, scope: UID) throws -> Sealed? {
        try secret.map { try $0.withExposed { try keyring.seal(Array($0.utf8), at: place, scope: scope) } }
    }

    package enum SecretChange<Kind>: Sendable {
        case keep
        case clear
        case set(Secret<Kind>)
    }

    /// - Parameters:
    ///   - keepGrants: grants stay usable though a URL moved to another host.
    ///   - expectedRevision: what the change was made from (`nil` = whatever is there); `precondition_failed` when somebody else was first.
    package func updateConnection(
        id: String, settings: ConnectionSettings, clientSecret: SecretChange<SecretKind.ClientSecret>,
        password: SecretChange<SecretKind.Password>, keepGrants: Bool, expectedRevision: Int?, by caller: Caller
    ) async throws(Problem) -> Connection {
        try caller.requireAdmin()
        guard let old = try await asProblem({ try await store.connection(id: id) }) else { throw Self.noConnection(id) }
        guard caller.covers(connection: old.uid) else { throw Self.notCovered(id) }
        guard expectedRevision == nil || expectedRevision == old.revision else {
            connectionCache.remove(id)
            throw Self.changedMeanwhile
        }
        var new = old
        new.settings = settings
        try await asProblem {
            try await keyring.prepare(scope: old.uid)
            new.clientSecret = try apply(clientSecret, to: old.clientSecret, at: .clientSecret(of: old.uid), scope: old.uid)
            new.password = try apply(password, to: old.password, at: .password(of: old.uid), scope: old.uid)
        }
        try ConnectionRules.check(
            settings, hasClientSecret: new.clientSecret != nil, hasPassword: new.password != nil, egress: egress,
            forbidPasswordGrant: configuration.forbidPasswordGrant, isBlocked: { noteBlocked(host: $0, by: caller) })
        let move = HostMove(from: old.settings, to: settings)
        try move.requireSecretsAnew(
            clientSecret: old.clientSecret != nil && !clientSecret.isChange, password: old.password != nil && !password.isChange)
        new.updatedAt = clock.now()
        if new.health.state != .ok { new.health = .init(state: .ok, since: new.updatedAt) }
        connectionCache.remove(id)
        let change = grantsChange(from: old, to: new, voids: move.movesTokens && !keepGrants)
        guard try await asProblem({ try await store.update(new, expectedRevision: old.revision, grants: change) }) else {
            throw Self.changedMeanwhile
        }
        connectionCache.remove(id)
        tokenCache.removeAll(connectionID: id)
        note("connection.changed", connection: new, caller: caller, detail: move.movesTokens ? "host changed" : nil)
        new.revision = old.revision + 1
        return new
    }

    private func grantsChange(from old: Connection, to new: Connection, voids: Bool) -> GrantsChange {
        let idleDays = new.settings.oauth.refreshTokenIdleDays
        if voids {
            return .void { [self] grant in
                var voided = grant
                voided.state = .reauthorizationRequired
                return [event(.grantReauthorizationRequired, voided, of: new, reason: "host_changed", remedy: .reauthorize)]
            }
        }
        guard idleDays != old.settings.oauth.refreshTokenIdleDays else { return .none }
        return .endings { $0.setEndings(idleDays: idleDays) }
    }

    private static let changedMeanwhile = Problem(
        .preconditionFailed, "the connection was changed by somebody else meanwhile", fix: "GET it again and repeat the change on its new ETag")

    private func apply<Kind>(_ change: SecretChange<Kind>, to old: Sealed?, at place: Keyring.Place, scope: UID) throws -> Sealed? {
        switch change {
        case .keep: try old.map { try keyring.anew($0, at: place, scope: scope) }
        case .clear: nil
        case .set(let secret): try seal(secret, at: place, scope: scope)
        }
    }

    /// Revokes its grants at the provider as far as that goes in a few seconds, then forgets everything of it: records
    /// and data key. What is made anew under the same id inherits nothing.
    package func deleteConnection(id: String, by caller: Caller) async throws(Problem) {
        try caller.requireAdmin()
        guard let connection = try await asProblem({ try await store.connection(id: id) }) else { throw Self.noConnection(id) }
        guard caller.covers(connection: connection.uid) else { throw Self.notCovered(id) }
        connectionCache.remove(id)
        tokenCache.removeAll(connectionID: id)
        await revokeAllBestEffort(of: connection, within: .seconds(10))
        try await asProblem {
            try await store.deleteConnection(connection.uid)
            try await keyring.destroy(scope: connection.uid)
        }
        connectionCache.remove(id)
        tokenCache.removeAll(connectionID: id)
        note("connection.removed", connection: connection, caller: caller)
    }

    /// Endpoints and features from RFC 8414 or OIDC metadata.
    package func discover(issuer: String, for caller: Caller) async throws(Problem) -> AuthorizationServerMetadata {
        try caller.requireAdmin()
        return try await metadata(issuer: issuer)
    }

    func metadata(issuer: String) async throws(Problem) -> AuthorizationServerMetadata {
        do {
            return try await OAuthClient.discover(issuer: issuer, transport: transport)
        } catch let error as MetadataError {
            throw ProviderProblem.of(error)
        } catch let error as TransportError {
            throw ProviderProblem.of(error, what: "the metadata document")
        } catch {
            throw internalProblem(error)
        }
    }

    /// The reason of a connection whose provider answers 429.
    static let rateLimited = "rate_limited"

    /// Only on a change, so that a healthy connection costs no write.
    func setHealth(_ state: Connection.Health.State, reason: String?, of connection: Connection) async {
        guard connection.health.state != state || connection.health.reason != reason else { return }
        do {
            connectionCache.remove(connection.id)
            let announced: [WebhookEvent] =
                switch state {
                // A provider that wants to be asked more slowly is up: nobody is told.
                case .providerDown where reason == Self.rateLimited: []
                case .ok where connection.health.reason == Self.rateLimited: []
                case .ok: [event(.connectionRecovered, of: connection)]
                case .misconfigured: [event(.connectionMisconfigured, of: connection, reason: reason, remedy: .fixConnection)]
                case .providerDown: [event(.connectionProviderDown, of: connection, reason: reason, remedy: .tryLater)]
                }
            try await store.setHealth(
                .init(state: state, reason: reason, since: clock.now()), connection: connection.uid, expectedRevision: connection.revision,
                events: announced)
            connectionCache.remove(connection.id)
            logger.log(
                level: state == .ok ? .notice : .warning, "a connection's health changed",
                metadata: ["connection": "\(connection.id)", "state": "\(state.rawValue)", "reason": "\(reason ?? "-")"])
        } catch {
            logFailure(.warning, "connection health was not recorded", error, ["connection": "\(connection.id)"])
        }
    }
}

extension Broker.SecretChange {
    var isChange: Bool { if case .keep = self { false } else { true } }
}

/// Whether a change of settings would carry what is stored to another host. SEC-37.
struct HostMove {
    /// The fields that moved, by pointer.
    let secretTargets: [String]
    let movesTokens: Bool

    init(from old: ConnectionSettings, to new: ConnectionSettings) {
        func host(_ settings: ConnectionSettings, _ text: String?) -> String? {
            (try? settings.endpoint(text, ""))?.map { $0.host + ":\($0.effectivePort)" } ?? text
        }
        let known = Set([old.oauth.tokenURL, old.oauth.refreshURL, old.oauth.revocationURL].compactMap { host(old, $0) })
        var moved: [String] = []
        for (pointer, url) in [
            ("/oauth/token_url", new.oauth.tokenURL), ("/oauth/refresh_url", new.oauth.refreshURL),
            ("/oauth/revocation_url", new.oauth.revocationURL),
        ] {
            if let target = host(new, url), !known.contains(target) { moved.append(pointer) }
        }
        if let issuer = host(new, new.oauth.issuer), let before = host(old, old.oauth.issuer), issuer != before { moved.append("/oauth/issuer") }
        secretTargets = moved
        let apiMoved = old.baseURL != nil && host(old, old.baseURL) != host(new, new.baseURL)
        movesTokens = !moved.isEmpty || apiMoved
    }

    /// - Throws: `invalid_request` when a stored secret would go along without being given again.
    func requireSecretsAnew(clientSecret: Bool, password: Bool) throws(Problem) {
        guard !secretTargets.isEmpty else { return }
        var errors: [Problem.FieldError] = []
        let detail = "must be given again: \(secretTargets.joined(separator: ", ")) moved to another host, and the stored one was not given for it"
        if clientSecret { errors.append(.init(pointer: "/oauth/client_secret", detail: detail)) }
        if password { errors.append(.init(pointer: "/oauth/password", detail: detail)) }
        guard errors.isEmpty else {
            throw Problem(
                .invalidRequest, "the change would send stored secrets to another host", fix: "send the secrets again in the same PATCH",
                errors: errors)
        }
    }
}

extension Broker {
    package var now: Timestamp { clock.now() }

    /// The ids of connections by uid, for showing.
    package func connectionIDs(of uids: [UID]) async throws(Problem) -> [UID: String] {
        try await asProblem {
            var ids: [UID: String] = [:]
            for uid in Set(uids) { ids[uid] = try await store.connection(uid: uid)?.id }
            return ids
        }
    }
}

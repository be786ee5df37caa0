import Logging
import OAuth
import OAuthClient
import Vault

/// Whether a person may connect another account than before.
struct AccountGuard: Sendable {
    let expected: String?
    let allowsChange: Bool

    init(_ options: Broker.ConnectOptions) {
        expected = options.expectedAccount
        allowsChange = options.allowAccountChange
    }
    init(_ options: ConnectSession.Options) {
        expected = options.expectedAccount
        allowsChange = options.allowAccountChange
    }

    /// - Throws: `account_mismatch`, without naming either account: a link may have reached the wrong person.
    func check(_ account: String?, before: String?) throws(Problem) {
        guard !allowsChange, let wanted = expected ?? before else { return }
        guard let account, sameBytes(account, wanted) else {
            throw Problem(
                .accountMismatch,
                account == nil
                    ? "the provider did not say which account this is, and a certain one is expected"
                    : "another account of the provider was connected than before",
                fix: "sign in at the provider with the account that was used before, or allow the change with allow_account_change")
        }
    }
}

extension Broker {
    /// Trades what a person gave for tokens and keeps them as the grant of `subject`. The work goes on if the caller
    /// leaves: a code is sent once, and what it gave must be kept. SEC-31.
    func exchange(
        _ grant: AuthorizationGrant, step: ProviderProblem.Step, connection: Connection, subject: String, guardedBy account: AccountGuard,
        callbackValues: [String: String]
    ) async throws(Problem) -> GrantView {
        try await asProblem {
            try await exchanges.run { [self] in
                try await exchangeNow(
                    grant, step: step, connection: connection, subject: subject, guardedBy: account, callbackValues: callbackValues)
            }
        }
    }

    private func exchangeNow(
        _ grant: AuthorizationGrant, step: ProviderProblem.Step, connection: Connection, subject: String, guardedBy account: AccountGuard,
        callbackValues: [String: String]
    ) async throws -> GrantView {
        let client = try await client(of: connection)
        let requested: [String]
        switch grant {
        case .authorizationCode(let code): requested = code.requestedScopes
        case .password(_, _, let scopes), .clientCredentials(let scopes), .refreshToken(_, let scopes): requested = scopes
        }
        // Proves that the store can be written before anything is asked of the provider.
        try await store.setMeta("writable", Array("\(clock.now().milliseconds)".utf8))
        let before = try await store.grant(connection: connection.uid, subject: subject, slot: "")
        let sentAt = clock.now()
        let response: TokenResponse
        do {
            response = try await ask(client, grant, connection: connection, subject: subject, operation: "token")
        } catch let error as TransportError {
            throw ProviderProblem.of(error, what: "the token endpoint")
        } catch let error as TokenError {
            if error.blamesConnection(at: step), requested == connection.settings.requestedScopes || error.code != .invalidScope {
                await setHealth(.misconfigured, reason: error.reason, of: connection)
            }
            throw ProviderProblem.of(error, step: step, settings: connection.settings)
        }
        let tokens: TokenSet
        do {
            tokens = try TokenSet(
                response, requestedScope: requested, sentAt: sentAt, callbackValues: callbackValues,
                patterns: connection.settings.variablePatterns)
        } catch {
            try await keepAsOrphan(response, connection: connection)
            throw captureProblem(error)
        }
        await setHealth(.ok, reason: nil, of: connection)
        return try await keep(tokens, response: response, replacing: before, connection: connection, subject: subject, guardedBy: account)
    }

    private func keep(
        _ tokens: TokenSet, response: TokenResponse, replacing before: Grant?, connection: Connection, subject: String, guardedBy account: AccountGuard
    ) async throws -> GrantView {
        var existing = before
        // A refresh may move the generation meanwhile; a person's new consent wins over it.
        for _ in 0..<4 {
            do {
                try account.check(tokens.account, before: existing?.account)
            } catch {
                try await keepAsOrphan(response, connection: connection)
                note("grant.refused", connection: connection, subject: subject, result: error.code.rawValue)
                throw error
            }
            var grant = try seal(tokens, as: existing, connection: connection, subject: subject, renewable: false)
            grant.beginConsent(at: clock.now(), behind: existing)
            let key = TokenCache.Key(connectionID: connection.id, subject: subject)
            tokenCache.remove(key)
            let events = [event(.grantCreated, grant, of: connection, reason: existing == nil ? nil : "reconnected")]
            let written: Bool
            do {
                do {
                    written = try await store.put(grant, expectedGeneration: existing?.tokenGeneration, events: events)
                } catch StoreError.conflict {
                    written = false
                }
                if !written { existing = try await store.grant(connection: connection.uid, subject: subject, slot: "") }
            } catch {
                hold(grant, expectedGeneration: existing?.tokenGeneration, connection: connection, events: events, because: error)
                throw error
            }
            if written {
                tokenCache.remove(key)
                backOff.succeeded(grant.key)
                note(existing == nil ? "grant.created" : "grant.reconnected", connection: connection, subject: subject)
                return GrantView(grant, connectionID: connection.id, now: clock.now())
            }
        }
        try await keepAsOrphan(response, connection: connection)
        throw Problem(.conflict, "the grant kept changing meanwhile", fix: "connect again")
    }
}

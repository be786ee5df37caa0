import OAuth
import Vault

/// What a grant is made of: tokens as received, with absolute times, before they are sealed.
struct TokenSet: Sendable {
    var accessToken: AccessToken?
    var refreshToken: RefreshToken?
    var tokenType: String
    var scope: [String]?
    var requestedScope: [String]
    var captured: [String: String]
    var account: String?
    var expiresAt: Timestamp?
    var refreshExpiresAt: Timestamp?
    /// Before the request was sent: what lifetimes count from.
    var issuedAt: Timestamp

    /// - Throws: the name of a declared value that does not match its pattern.
    init(
        _ response: TokenResponse, requestedScope: [String], sentAt: Timestamp, callbackValues: [String: String],
        patterns: [String: VariablePattern]
    ) throws(CaptureError) {
        accessToken = response.accessToken
        refreshToken = response.refreshToken
        tokenType = response.tokenType
        scope = response.scope
        self.requestedScope = requestedScope
        let values = try Capture.values(prefix: "token_response.", patterns: patterns) { name in
            var value: JSONValue? = .object(response.members)
            for part in name.split(separator: ".") { value = value?[String(part)] }
            return value?.string
        }
        captured = callbackValues.merging(values) { _, new in new }
        account = response.idTokenClaims?.subject
        expiresAt = response.expiresIn.map { sentAt + $0 }
        refreshExpiresAt = response.refreshExpiresIn.map { sentAt + $0 }
        issuedAt = sentAt
    }

    /// A refresh token alone, of an answer that is not used: the next call refreshes again.
    init(_ rotated: RefreshToken, of grant: Grant, sentAt: Timestamp) {
        refreshToken = rotated
        tokenType = grant.tokenType
        scope = grant.scope
        requestedScope = grant.requestedScope
        captured = grant.captured
        account = grant.account
        issuedAt = sentAt
    }

    init(imported tokens: Broker.ImportedTokens, at now: Timestamp) {
        accessToken = tokens.accessToken
        refreshToken = tokens.refreshToken
        tokenType = "Bearer"
        scope = tokens.scope
        requestedScope = tokens.scope ?? []
        captured = [:]
        expiresAt = tokens.expiresIn.map { now + .seconds($0) }
        issuedAt = now
    }
}

extension Broker {
    /// Seals `tokens` as the next generation of `existing`, or as a new grant. Writes nothing.
    func seal(
        _ tokens: TokenSet, as existing: Grant?, connection: Connection, subject: String, renewable: Bool
    ) throws -> Grant {
        let now = clock.now()
        var grant =
            existing
            ?? Grant(uid: .make(at: now), connectionUID: connection.uid, subject: subject, stateSince: now, tokenGeneration: 0, createdAt: now)
        grant.tokenGeneration += 1
        let generation = grant.tokenGeneration
        grant.accessToken = try tokens.accessToken?.withExposed {
            try keyring.seal(Array($0.utf8), at: .accessToken(grant.uid, generation: generation), scope: connection.uid)
        }
        grant.refreshToken = try tokens.refreshToken?.withExposed {
            try keyring.seal(Array($0.utf8), at: .refreshToken(grant.uid, generation: generation), scope: connection.uid)
        }
        grant.tokenType = tokens.tokenType
        grant.scope = tokens.scope
        grant.requestedScope = tokens.requestedScope
        grant.captured = tokens.captured
        grant.account = tokens.account
        grant.expiresAt = tokens.expiresAt
        grant.refreshExpiresAt = tokens.refreshExpiresAt
        if tokens.refreshToken == nil { grant.rotates = nil }
        if grant.state != .active || existing == nil {
            grant.state = .active
            grant.stateSince = now
        }
        grant.stateReason = nil
        let isRenewable = renewable || tokens.refreshToken != nil
        let margin = connection.settings.profile.refreshMargin
        grant.nextRefreshAt = isRenewable ? Lifetime.renewAt(issuedAt: tokens.issuedAt, expiresAt: tokens.expiresAt, margin: margin) : nil
        grant.setEndings(idleDays: connection.settings.oauth.refreshTokenIdleDays, issuedAt: tokens.issuedAt)
        return grant
    }

    func openAccessToken(of grant: Grant) async throws -> AccessToken? {
        guard let sealed = grant.accessToken else { return nil }
        return AccessToken(
            String(decoding: try await keyring.opened(sealed, at: .accessToken(grant.uid, generation: grant.tokenGeneration)), as: UTF8.self))
    }

    func openRefreshToken(of grant: Grant) async throws -> RefreshToken? {
        guard let sealed = grant.refreshToken else { return nil }
        return RefreshToken(
            String(decoding: try await keyring.opened(sealed, at: .refreshToken(grant.uid, generation: grant.tokenGeneration)), as: UTF8.self))
    }
}

extension Grant {
    /// Its tokens come from a consent of their own: ``stateSince`` tells them from those of the one before, which a renewal that is
    /// still on its way may bring.
    mutating func beginConsent(at now: Timestamp, behind existing: Grant?) {
        stateSince = existing.map { max(now, $0.stateSince + .milliseconds(1)) } ?? now
    }

    /// Whether both come from the same consent.
    func isOfSameConsent(as other: Grant) -> Bool { stateSince == other.stateSince }

    /// When it is due, when its refresh token dies, and when that is announced.
    /// - Parameter issuedAt: when its tokens were asked for; `nil` = as far as the record tells.
    mutating func setEndings(idleDays: Int?, issuedAt: Timestamp? = nil) {
        let issuedAt = issuedAt ?? refreshedAt ?? createdAt
        let idleAt = refreshToken == nil ? nil : idleDays.map { issuedAt + .seconds($0 * 86_400) }
        dueAt = Lifetime.dueAt(issuedAt: issuedAt, renewAt: nextRefreshAt, expiresAt: expiresAt, idleAt: idleAt, jitter: .random(in: 0..<1))
        diesAt = refreshToken == nil ? nil : [refreshExpiresAt, idleAt].compactMap { $0 }.min()
        warnAt = diesAt.map { Lifetime.warnAt(issuedAt: issuedAt, diesAt: $0) }
    }
}

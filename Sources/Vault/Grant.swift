/// The token set kept for one connection and one subject, and its state.
package struct Grant: Sendable {
    package enum State: String, Sendable, Codable, CaseIterable {
        case active
        case reauthorizationRequired = "reauthorization_required"
        case revoked
        // `expired` is not stored: it is `active` whose access token has passed its expiry.
    }
    package var uid: UID
    package var connectionUID: UID
    /// `""` = the grant that the whole app shares.
    package var subject: String
    package var slot: String
    package var accessToken: Sealed?
    package var refreshToken: Sealed?
    package var tokenType: String
    /// `nil` = not known.
    package var scope: [String]?
    package var requestedScope: [String]
    /// Values of token response and callback that the connection declares (`token_response.instance_url`).
    package var captured: [String: String]
    /// Who it is at the provider (issuer and `sub`), where known.
    package var account: String?
    /// `nil` = unknown, not "for ever".
    package var expiresAt: Timestamp?
    package var refreshExpiresAt: Timestamp?
    package var state: State
    package var stateReason: String?
    package var stateSince: Timestamp
    /// Grows with every change of token material, revocation, import and reconnect; never reset; the only fence.
    package var tokenGeneration: Int
    /// From here the access token is renewed ahead of its end by whoever reads it; `nil` = it cannot be.
    package var nextRefreshAt: Timestamp?
    package var createdAt: Timestamp
    package var refreshedAt: Timestamp?
    package var lastUsedAt: Timestamp?
    /// When the background refresher takes it up, if its connection is kept alive: ``nextRefreshAt`` with jitter, and
    /// after a failure later than that.
    package var dueAt: Timestamp?
    /// When its refresh token dies if nothing is done: its known end, or the connection's limit of inactivity.
    package var diesAt: Timestamp?
    /// When its end is announced; `nil` once it was.
    package var warnAt: Timestamp?
    /// Whether the provider gave another refresh token at the last refresh; `nil` = none was seen yet.
    package var rotates: Bool?

    package init(
        uid: UID, connectionUID: UID, subject: String, slot: String = "", accessToken: Sealed? = nil, refreshToken: Sealed? = nil,
        tokenType: String = "Bearer", scope: [String]? = nil, requestedScope: [String] = [], captured: [String: String] = [:],
        account: String? = nil, expiresAt: Timestamp? = nil, refreshExpiresAt: Timestamp? = nil, state: State = .active,
        stateReason: String? = nil, stateSince: Timestamp, tokenGeneration: Int, nextRefreshAt: Timestamp? = nil,
        createdAt: Timestamp, refreshedAt: Timestamp? = nil, lastUsedAt: Timestamp? = nil, dueAt: Timestamp? = nil,
        diesAt: Timestamp? = nil, warnAt: Timestamp? = nil, rotates: Bool? = nil
    ) {
        self.uid = uid
        self.connectionUID = connectionUID
        self.subject = subject
        self.slot = slot
        self.accessToken = accessToken
        self.refreshToken = refreshToken
        self.tokenType = tokenType
        self.scope = scope
        self.requestedScope = requestedScope
        self.captured = captured
        self.account = account
        self.expiresAt = expiresAt
        self.refreshExpiresAt = refreshExpiresAt
        self.state = state
        self.stateReason = stateReason
        self.stateSince = stateSince
        self.tokenGeneration = tokenGeneration
        self.nextRefreshAt = nextRefreshAt
        self.createdAt = createdAt
        self.refreshedAt = refreshedAt
        self.lastUsedAt = lastUsedAt
        self.dueAt = dueAt
        self.diesAt = diesAt
        self.warnAt = warnAt
        self.rotates = rotates
    }
}

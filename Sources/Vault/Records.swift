/// A caller's key: only the SHA-256 of the key itself is kept.
package struct APIKey: Sendable, Hashable {
    package enum Role: String, Sendable, Codable, CaseIterable { case admin, use, agent }
    /// `key_…`
    package var id: String
    package var name: String
    package var hash: [UInt8]
    package var role: Role
    /// Connection uids; `nil` = all.
    package var connections: [UID]?
    package var subjects: [String]?
    package var requestsPerMinute: Int?
    package var createdAt: Timestamp
    package var expiresAt: Timestamp?
    package var lastUsedAt: Timestamp?
    package init(
        id: String, name: String, hash: [UInt8], role: Role, connections: [UID]? = nil, subjects: [String]? = nil,
        requestsPerMinute: Int? = nil, createdAt: Timestamp, expiresAt: Timestamp? = nil, lastUsedAt: Timestamp? = nil
    ) {
        self.id = id
        self.name = name
        self.hash = hash
        self.role = role
        self.connections = connections
        self.subjects = subjects
        self.requestsPerMinute = requestsPerMinute
        self.createdAt = createdAt
        self.expiresAt = expiresAt
        self.lastUsedAt = lastUsedAt
    }
}

/// That a refresh token is about to be sent: what is known after a crash.
package struct RefreshIntent: Sendable, Hashable {
    package var grantUID: UID
    package var generation: Int
    package var sentAt: Timestamp
    /// How often this generation's refresh token was sent.
    package var attempts: Int
    package init(grantUID: UID, generation: Int, sentAt: Timestamp, attempts: Int = 1) {
        self.grantUID = grantUID
        self.generation = generation
        self.sentAt = sentAt
        self.attempts = attempts
    }
}

/// Tokens that came too late to be used: kept sealed, revoked at the provider, then dropped.
package struct OrphanToken: Sendable {
    package var uid: UID
    package var connectionUID: UID
    package var accessToken: Sealed?
    package var refreshToken: Sealed?
    package var createdAt: Timestamp
    package var nextTryAt: Timestamp
    package var tries: Int
    package init(uid: UID, connectionUID: UID, accessToken: Sealed?, refreshToken: Sealed?, createdAt: Timestamp, nextTryAt: Timestamp, tries: Int = 0) {
        self.uid = uid
        self.connectionUID = connectionUID
        self.accessToken = accessToken
        self.refreshToken = refreshToken
        self.createdAt = createdAt
        self.nextTryAt = nextTryAt
        self.tries = tries
    }
}

/// Who used which grant for what, when, with what result. No secrets in it.
package struct Activity: Sendable, Hashable, Codable {
    package var uid: UID
    package var at: Timestamp
    /// `token.read`, `grant.created`, `grant.refreshed`, `grant.revoked`, `grant.imported`, `connection.created`, `key.created`, …
    package var action: String
    package var connectionUID: UID?
    /// The slug as it was then.
    package var connection: String?
    package var subject: String?
    package var key: String?
    /// `ok` or a problem code.
    package var result: String
    /// How many uses this entry counts (token reads are counted per key, grant and minute).
    package var count: Int
    /// Fixed words and names, never a value of a provider or a secret.
    package var detail: String?
    package init(
        uid: UID, at: Timestamp, action: String, connectionUID: UID? = nil, connection: String? = nil, subject: String? = nil,
        key: String? = nil, result: String = "ok", count: Int = 1, detail: String? = nil
    ) {
        self.uid = uid
        self.at = at
        self.action = action
        self.connectionUID = connectionUID
        self.connection = connection
        self.subject = subject
        self.key = key
        self.result = result
        self.count = count
        self.detail = detail
    }
}

/// One data key per connection (`scope` = its uid) and one for the rest (`scope` = `""`), wrapped by a master key.
package struct DataKeyRecord: Sendable, Hashable {
    package var id: Int
    package var scope: String
    package var masterKeyID: String
    package var wrapped: [UInt8]
    package init(id: Int, scope: String, masterKeyID: String, wrapped: [UInt8]) {
        self.id = id
        self.scope = scope
        self.masterKeyID = masterKeyID
        self.wrapped = wrapped
    }
}

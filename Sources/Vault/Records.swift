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
    /// The grant and generation that they were sealed for, when they were a grant's; their seals are bound to it.
    package struct Origin: Sendable, Hashable {
        package var grantUID: UID
        package var generation: Int
        package init(grantUID: UID, generation: Int) {
            self.grantUID = grantUID
            self.generation = generation
        }
    }
    package var origin: Origin?
    /// The revocation of many that it belongs to.
    package var revocationID: String?
    package init(
        uid: UID, connectionUID: UID, accessToken: Sealed?, refreshToken: Sealed?, createdAt: Timestamp, nextTryAt: Timestamp, tries: Int = 0,
        origin: Origin? = nil, revocationID: String? = nil
    ) {
        self.uid = uid
        self.connectionUID = connectionUID
        self.accessToken = accessToken
        self.refreshToken = refreshToken
        self.createdAt = createdAt
        self.nextTryAt = nextTryAt
        self.tries = tries
        self.origin = origin
        self.revocationID = revocationID
    }
}

/// Who used which grant for what, when, with what result. No secrets in it.
package struct Activity: Sendable, Hashable, Codable {
    package var uid: UID
    package var at: Timestamp
    /// `token.read`, `api.called`, `grant.created`, `grant.refreshed`, `grant.revoked`, `grant.imported`, `connection.created`, `key.created`, …
    package var action: String
    package var connectionUID: UID?
    /// The slug as it was then.
    package var connection: String?
    package var subject: String?
    package var key: String?
    /// `ok` or a problem code.
    package var result: String
    /// How many uses this entry counts (token reads are counted per key, grant and minute; calls that are many and alike by the second).
    package var count: Int
    /// Fixed words and names, and of a call its method, host and path; never a value of a provider or a secret.
    package var detail: String?
    /// The request that it belongs to, as the answer's `Request-Id` names it.
    package var requestID: String?
    /// Its place in the chain of the node that wrote it; `nil` for entries from before there were chains.
    package var link: ActivityLink?
    package init(
        uid: UID, at: Timestamp, action: String, connectionUID: UID? = nil, connection: String? = nil, subject: String? = nil,
        key: String? = nil, result: String = "ok", count: Int = 1, detail: String? = nil, requestID: String? = nil, link: ActivityLink? = nil
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
        self.requestID = requestID
        self.link = link
    }
}

extension Activity {
    package static let tokenRead = "token.read"
    package static let apiCalled = "api.called"
    /// A call of which nothing was sent.
    package static let apiRefused = "api.refused"
    /// The actions that use a grant's token: by them it is known which grants a key used.
    package static let uses = [tokenRead, apiCalled]
}

/// An entry's place in the chain of its node.
package struct ActivityLink: Sendable, Hashable, Codable {
    package var node: String
    /// From 1, without a gap.
    package var sequence: Int
    /// Keyed hash over the link before and this entry.
    package var mac: [UInt8]
    package init(node: String, sequence: Int, mac: [UInt8]) {
        self.node = node
        self.sequence = sequence
        self.mac = mac
    }
}

/// A signed place in a chain: what stands when the entries before it are cut, or those behind it are missing.
package struct ActivityAnchor: Sendable, Hashable {
    package var link: ActivityLink
    package var at: Timestamp
    package var signature: [UInt8]
    package init(link: ActivityLink, at: Timestamp, signature: [UInt8]) {
        self.link = link
        self.at = at
        self.signature = signature
    }
}

/// One data key per connection (`scope` = its uid) and one for the rest (`scope` = `""`), wrapped by a master key.
package struct DataKeyRecord: Sendable, Hashable {
    package var id: Int
    package var scope: String
    package var masterKeyID: String
    package var wrapped: [UInt8]
    /// Set once another one seals for its scope; it opens until nothing is sealed under it.
    package var retiredAt: Timestamp?
    package init(id: Int, scope: String, masterKeyID: String, wrapped: [UInt8], retiredAt: Timestamp? = nil) {
        self.id = id
        self.scope = scope
        self.masterKeyID = masterKeyID
        self.wrapped = wrapped
        self.retiredAt = retiredAt
    }
}

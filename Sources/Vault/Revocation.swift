/// One revocation of many grants: what was named, and how far it is at the providers.
package struct RevocationRecord: Sendable, Hashable {
    /// `rv_` and a UUIDv7: they sort by the time they were asked for.
    package var id: String
    package var filter: RevocationFilter
    /// The connection's id as it was then: shown when the connection is gone.
    package var connection: String?
    /// The id of the API key that asked.
    package var requestedBy: String
    package var createdAt: Timestamp
    /// When nothing that it names was served any more; `nil` = it is still at work here.
    package var stoppedAt: Timestamp?
    /// When the providers had their say about every grant.
    package var endedAt: Timestamp?
    /// How many grants were turned into tombstones.
    package var grants: Int
    /// Grants by what became of their tokens at the provider; the rest is pending.
    package var revoked: Int
    package var unsupported: Int
    package var failed: Int
    /// Grants whose tokens still wait for the provider: counted when the record is read.
    package var pending: Int
    package init(
        id: String, filter: RevocationFilter, connection: String?, requestedBy: String, createdAt: Timestamp, stoppedAt: Timestamp? = nil,
        endedAt: Timestamp? = nil, grants: Int = 0, revoked: Int = 0, unsupported: Int = 0, failed: Int = 0, pending: Int = 0
    ) {
        self.id = id
        self.filter = filter
        self.connection = connection
        self.requestedBy = requestedBy
        self.createdAt = createdAt
        self.stoppedAt = stoppedAt
        self.endedAt = endedAt
        self.grants = grants
        self.revoked = revoked
        self.unsupported = unsupported
        self.failed = failed
        self.pending = pending
    }
}

/// Which grants are revoked: those that fit everything that is set.
package struct RevocationFilter: Sendable, Hashable, Codable {
    package var grant: UID?
    package var connection: UID?
    /// `""` = shared grants.
    package var subject: String?
    /// The id of an API key: grants whose tokens it was given, by the activity log.
    package var key: String?
    package init(grant: UID? = nil, connection: UID? = nil, subject: String? = nil, key: String? = nil) {
        self.grant = grant
        self.connection = connection
        self.subject = subject
        self.key = key
    }
}

/// A grant that was turned into a tombstone.
package struct RevokedGrant: Sendable, Hashable {
    package var uid: UID
    package var connectionUID: UID
    package var subject: String
    /// The orphan that holds its tokens; `nil` when it had none.
    package var orphan: UID?
    package init(uid: UID, connectionUID: UID, subject: String, orphan: UID?) {
        self.uid = uid
        self.connectionUID = connectionUID
        self.subject = subject
        self.orphan = orphan
    }
}

/// How the tokens of an orphan ended.
package enum OrphanOutcome: Sendable, Hashable {
    /// Not valid any more, by the provider's word.
    case revoked
    /// The provider has no way to revoke them: they live until they expire.
    case unsupported
    case failed(RevocationFailure.Reason)
}

/// A grant whose tokens may still be valid at the provider though they were to be revoked.
package struct RevocationFailure: Sendable, Hashable {
    package enum Reason: String, Sendable, Codable, CaseIterable {
        /// The provider said no.
        case refused
        /// It did not answer for a day, or as often as is tried.
        case gaveUp = "gave_up"
        /// The stored ciphertext did not open, so there was nothing to send.
        case unreadable
        /// The connection was removed before its provider had been asked.
        case connectionRemoved = "connection_removed"
    }
    /// The connection's id as it was then.
    package var connection: String
    /// `""` = a shared grant; `nil` = not known.
    package var subject: String?
    package var reason: Reason
    package init(connection: String, subject: String?, reason: Reason) {
        self.connection = connection
        self.subject = subject
        self.reason = reason
    }
}

extension OrphanToken {
    /// How long it belongs to the node that was given it, where there are several: longer than it takes to ask its provider. A
    /// node that dies leaves it until then.
    package static let taken: Duration = .seconds(60)

    /// The same for the same tokens of a grant, so that they are kept once. A generation is a row's own once only.
    package static func uid(grant: UID, generation: Int) -> UID { UID(text: "\(grant.text):\(generation)") }
}

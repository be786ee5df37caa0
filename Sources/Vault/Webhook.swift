/// Where events are delivered to.
package struct Webhook: Sendable {
    /// `wh_…`
    package var id: String
    package var url: String
    /// `nil` = all, those of later versions too.
    package var kinds: Set<WebhookEvent.Kind>?
    /// What deliveries are signed with: 32 bytes, sealed.
    package var secret: Sealed
    package var createdAt: Timestamp
    /// Set when the receiver said that it is gone (410); nothing is delivered any more.
    package var disabledAt: Timestamp?
    package init(id: String, url: String, kinds: Set<WebhookEvent.Kind>?, secret: Sealed, createdAt: Timestamp, disabledAt: Timestamp? = nil) {
        self.id = id
        self.url = url
        self.kinds = kinds
        self.secret = secret
        self.createdAt = createdAt
        self.disabledAt = disabledAt
    }
}

/// What subscribers are told. Written in the transaction of the change that it tells of, and only if somebody subscribed.
package struct WebhookEvent: Sendable, Hashable {
    package enum Kind: String, Sendable, Codable, CaseIterable {
        case grantCreated = "grant.created"
        case grantRefreshed = "grant.refreshed"
        case grantReauthorizationRequired = "grant.reauthorization_required"
        case grantRevoked = "grant.revoked"
        case grantExpiring = "grant.expiring"
        case connectionMisconfigured = "connection.misconfigured"
        case connectionProviderDown = "connection.provider_down"
        case connectionRecovered = "connection.recovered"
        case connectionSecretExpiring = "connection.secret_expiring"
    }
    /// `evt_…`: the same at every delivery, so that a receiver can tell a repetition.
    package var id: String
    package var kind: Kind
    package var at: Timestamp
    package var connectionUID: UID
    /// The grant's uid, else the connection's: what order is kept for.
    package var orderKey: UID
    package var subject: String?
    /// The `data` of the message, as JSON. No token and no secret.
    package var data: String
    package init(id: String, kind: Kind, at: Timestamp, connectionUID: UID, orderKey: UID, subject: String?, data: String) {
        self.id = id
        self.kind = kind
        self.at = at
        self.connectionUID = connectionUID
        self.orderKey = orderKey
        self.subject = subject
        self.data = data
    }
}

/// One event on its way to one webhook.
package struct Delivery: Sendable {
    package enum State: String, Sendable, Codable, CaseIterable {
        case pending, delivered
        /// Given up: a day has passed, or the receiver is gone.
        case failed
    }
    /// What is sent one after the other: a webhook's deliveries with one order key.
    package struct Lane: Sendable, Hashable {
        package var webhook: String
        package var orderKey: UID
        package init(webhook: String, orderKey: UID) {
            self.webhook = webhook
            self.orderKey = orderKey
        }
        package init(of delivery: Delivery) { self.init(webhook: delivery.webhookID, orderKey: delivery.event.orderKey) }
    }
    /// How long it belongs to the node that was given it, where there are several: longer than a try takes. A node that dies
    /// leaves it until then.
    package static let taken: Duration = .seconds(60)

    /// Grows with every delivery: their order.
    package var sequence: Int
    package var webhookID: String
    package var event: WebhookEvent
    package var state: State
    package var tries: Int
    /// When the event was, or the replay: from here the day is counted after which it is given up.
    package var begunAt: Timestamp
    /// `nil` = once it has ended, and while an earlier event of the same order key is still on its way.
    package var nextTryAt: Timestamp?
    /// The status of the last answer; `nil` when none came.
    package var lastStatus: Int?
    /// Why the last try failed, in fixed words.
    package var lastError: String?
    package var endedAt: Timestamp?
    package init(
        sequence: Int, webhookID: String, event: WebhookEvent, state: State, tries: Int, begunAt: Timestamp, nextTryAt: Timestamp?,
        lastStatus: Int? = nil, lastError: String? = nil, endedAt: Timestamp? = nil
    ) {
        self.sequence = sequence
        self.webhookID = webhookID
        self.event = event
        self.state = state
        self.tries = tries
        self.begunAt = begunAt
        self.nextTryAt = nextTryAt
        self.lastStatus = lastStatus
        self.lastError = lastError
        self.endedAt = endedAt
    }
}

/// What is delivered once more.
package enum Replay: Sendable, Hashable {
    /// All that have failed.
    case failed
    /// All whose event was then or later, delivered ones too.
    case since(Timestamp)
    /// The one with this sequence.
    case one(Int)
}

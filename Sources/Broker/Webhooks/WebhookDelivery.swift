import Logging
import OAuth
import OAuthClient
import Vault

/// Sending events to those who subscribed: at least once, in order for each grant, for a day.
extension Broker {
    /// Looks for deliveries that are due and begins them. Each that ends lets it look again.
    func deliverWebhooks() async {
        do {
            try await webhooksUnderWay.begin(
                now: clock.now, due: { [store] in try await store.dueDeliveries(now: $0, room: $1) },
                send: { [self] in await deliver($0) }, ended: { [self] in await deliverWebhooks() })
        } catch {
            guard !Task.isCancelled else { return }
            logFailure(.warning, "due deliveries were not read", error)
        }
    }

    /// How long a receiver is left alone after an answer that could not be written down: it would get a copy each time.
    private static let restAfterFailedWrite: Duration = .seconds(30)

    /// - Returns: until when nothing is sent to its lane; `nil` when what became of it is written down, or it was abandoned.
    private func deliver(_ delivery: Delivery) async -> Timestamp? {
        do {
            guard let outcome = try await attempt(delivery) else { return nil }
            try await note(outcome, of: delivery)
            return nil
        } catch {
            guard !Task.isCancelled else { return nil }
            logFailure(.warning, "a delivery was not written down", error, ["webhook": "\(delivery.webhookID)"])
            return clock.now() + Self.restAfterFailedWrite
        }
    }

    /// - Returns: `nil` when the webhook is gone, or the server is.
    /// - Throws: when the store is away.
    private func attempt(_ delivery: Delivery) async throws -> WebhookTry? {
        guard let webhook = try await store.webhook(id: delivery.webhookID), webhook.disabledAt == nil else { return nil }
        let request: WireRequest
        do {
            let url = try EndpointURL(webhook.url)
            let secret = try await keyring.opened(webhook.secret, at: .webhookSecret(webhook.id))
            let message = try WebhookMessage(delivery.event, mend: try await mend(delivery, receiver: url.host))
            request = message.request(to: url, secret: secret, at: clock.now())
        } catch StoreError.unavailable(let why) {
            throw StoreError.unavailable(why)
        } catch let problem as Problem where problem.code == .unavailable {
            throw problem
        } catch {
            logger.error("a delivery cannot be made", metadata: ["webhook": "\(webhook.id)", "error": "\(error)"])
            return .failed(status: nil, error: "the message could not be made; the server's log says why", retryAfter: nil)
        }
        return await send(request)
    }

    /// - Returns: `nil` when the server ends before an answer comes: then it is as if nothing had been sent.
    private func send(_ request: WireRequest) async -> WebhookTry? {
        let limit = configuration.webhookPatience
        let transport = self.transport
        let answer = await withTaskGroup(of: Result<WireResponse, TransportError>.self) { group in
            group.addTask {
                do throws(TransportError) { return .success(try await transport.send(request)) } catch { return .failure(error) }
            }
            group.addTask {
                do { try await Task.sleep(for: limit) } catch { return .failure(TransportError(.cancelled, mayHaveBeenSent: true)) }
                return .failure(TransportError(.timedOut, mayHaveBeenSent: true))
            }
            let first = await group.next() ?? .failure(TransportError(.cancelled, mayHaveBeenSent: true))
            group.cancelAll()
            return first
        }
        switch answer {
        case .success(let response): return WebhookTry(response, now: clock.now())
        case .failure where Task.isCancelled: return nil
        case .failure(let error): return WebhookTry(error, limit: limit)
        }
    }

    private func note(_ outcome: WebhookTry, of delivery: Delivery) async throws {
        let now = clock.now()
        let sequence = delivery.sequence
        switch outcome {
        case .delivered(let status):
            try await store.endDelivery(sequence: sequence, state: .delivered, status: status, error: nil, at: now)
            meters.webhookDelivery(result: "delivered")
        case .gone:
            try await store.endDelivery(
                sequence: sequence, state: .failed, status: 410, error: "it answered that it is gone; the webhook was disabled", at: now)
            try await store.disableWebhook(id: delivery.webhookID, at: now)
            meters.webhookDelivery(result: "failed")
            note("webhook.disabled", detail: delivery.webhookID)
            logger.warning("a webhook was disabled: its receiver answered that it is gone", metadata: ["webhook": "\(delivery.webhookID)"])
        case .failed(let status, let error, let retryAfter):
            let next = WebhookTry.next(
                tries: delivery.tries + 1, begunAt: delivery.begunAt, now: now, retryAfter: retryAfter, jitter: .random(in: 0.8...1.2))
            if let next {
                try await store.noteTried(sequence: sequence, status: status, error: error, nextTryAt: next)
                meters.webhookDelivery(result: "retried")
                return
            }
            try await store.endDelivery(sequence: sequence, state: .failed, status: status, error: error, at: now)
            meters.webhookDelivery(result: "failed")
            note("webhook.given_up", detail: delivery.webhookID)
            logger.warning("a delivery was given up", metadata: ["webhook": "\(delivery.webhookID)", "event": "\(delivery.event.id)"])
        }
        mendLinks.remove(sequence)
    }

    // MARK: What mends it

    /// The link for the person who is needed, or the request for the builder; `nil` where nobody can do anything.
    private func mend(_ delivery: Delivery, receiver: String) async throws -> JSONObject? {
        let event = delivery.event
        switch event.kind {
        case .grantCreated, .grantRefreshed, .grantRevoked, .connectionRecovered: return nil
        case .grantReauthorizationRequired, .grantExpiring:
            guard let connection = try await store.connection(uid: event.connectionUID), canBeConnectedByLink(connection) else { return nil }
            let link = try await mendLink(delivery, connection: connection, receiver: receiver)
            return [
                "connect_url": .string(link.url), "expires_at": .string(link.expiresAt.rfc3339),
                "request": .string("POST \(configuration.publicURL)/v1/connections/\(connection.id)/connect"),
            ]
        case .connectionMisconfigured, .connectionProviderDown, .connectionSecretExpiring:
            guard let connection = try await store.connection(uid: event.connectionUID) else { return nil }
            return ["request": .string("PATCH \(configuration.publicURL)/v1/connections/\(connection.id)")]
        }
    }

    private func canBeConnectedByLink(_ connection: Connection) -> Bool {
        guard !connection.fetchesAlone else { return false }
        return connection.settings.oauth.grantType == .authorizationCode || !configuration.forbidPasswordGrant
    }

    private func mendLink(_ delivery: Delivery, connection: Connection, receiver: String) async throws -> MendLinks.Link {
        let now = clock.now()
        if let link = mendLinks.find(delivery.sequence, now: now) { return link }
        let subject = delivery.event.subject ?? ""
        let (session, url) = try await makeLink(connection, options: .init(subject: subject), appName: receiver, keyID: delivery.webhookID)
        note("connect.begun", connection: connection, subject: subject, detail: session.id)
        let link = MendLinks.Link(url: url, mintedAt: now, expiresAt: session.expiresAt)
        mendLinks.insert(link, for: delivery.sequence)
        return link
    }

    // MARK: Keeping

    /// How long a delivery that has ended can be seen and replayed.
    static let deliveriesKept: Duration = .seconds(30 * 86_400)

    func trimDeliveries() async throws {
        let limit = 1000
        while try await store.trimDeliveries(endedBefore: clock.now() + (.zero - Self.deliveriesKept), limit: limit) == limit {}
    }
}

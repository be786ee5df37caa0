import Egress
import Foundation
import OAuth
package import Vault

/// Who is told of events, and what became of that.
extension Broker {
    /// - Parameters:
    ///   - url: checked as every outbound URL: `invalid_request` when it is none, `egress_blocked` when it may not be reached.
    ///   - kinds: `nil` = all.
    /// - Returns: the record, and the secret that its messages are signed with (`whsec_…`), which is never seen again.
    package func addWebhook(url: String, kinds: Set<WebhookEvent.Kind>?, by caller: Caller) async throws(Problem) -> (Webhook, String) {
        try caller.requireUnboundAdmin()
        try checkWebhookURL(url)
        let now = clock.now()
        let id = "wh_" + entropy.token(bytes: 9)
        let secret = entropy.bytes(WebhookMessage.secretLength)
        let webhook = try await asProblem {
            let sealed = try keyring.seal(secret, at: .webhookSecret(id), scope: nil)
            let webhook = Webhook(id: id, url: url, kinds: kinds, secret: sealed, createdAt: now)
            try await store.insert(webhook)
            return webhook
        }
        note("webhook.created", caller: caller, detail: id)
        return (webhook, "whsec_" + Data(secret).base64EncodedString())
    }

    private func checkWebhookURL(_ text: String) throws(Problem) {
        let pointer = "/url"
        let detail: String
        do {
            try egress.check(try EndpointURL(text))
            return
        } catch let error as EndpointURLError {
            throw Problem(.invalidRequest, "the webhook cannot be made as asked", errors: [.init(pointer: pointer, detail: error.description)])
        } catch EgressError.blocked(let reason) {
            detail = reason
        } catch {
            detail = "\(error)"
        }
        throw Problem(
            .egressBlocked, "\(pointer) points where outbound requests may not go: \(detail)",
            fix: "use a public https URL, or have the operator start the server with --egress-allow for that network",
            errors: [.init(pointer: pointer, detail: detail)])
    }

    /// In the order in which they were made.
    package func webhooks(for caller: Caller) async throws(Problem) -> [Webhook] {
        try caller.requireUnboundAdmin()
        return try await asProblem { try await store.webhooks() }
    }

    /// With its deliveries: what was on its way is not sent any more.
    package func removeWebhook(id: String, by caller: Caller) async throws(Problem) {
        try caller.requireUnboundAdmin()
        guard try await asProblem({ try await store.deleteWebhook(id: id) }) else { throw Self.noWebhook(id) }
        note("webhook.removed", caller: caller, detail: id)
    }

    /// Newest first.
    /// - Parameter before: the sequence of the last one of the page before.
    package func deliveries(
        webhook id: String, state: Delivery.State?, before: Int?, limit: Int, for caller: Caller
    ) async throws(Problem) -> [Delivery] {
        try caller.requireUnboundAdmin()
        return try await asProblem {
            guard try await store.webhook(id: id) != nil else { throw Self.noWebhook(id) }
            return try await store.deliveries(webhook: id, state: state, before: before, limit: limit)
        }
    }

    /// Delivers once more, each event at its old place in the order; a disabled webhook is enabled.
    /// - Returns: how many are on their way again.
    /// - Throws: `not_found` for an unknown webhook, or a delivery that it does not have.
    package func replay(webhook id: String, _ which: Replay, by caller: Caller) async throws(Problem) -> Int {
        try caller.requireUnboundAdmin()
        let count = try await asProblem {
            if case .one(let sequence) = which, sequence < .max {
                let found = try await store.deliveries(webhook: id, state: nil, before: sequence + 1, limit: 1).first
                let isKnown = try await store.webhook(id: id) != nil
                if isKnown, found?.sequence != sequence {
                    throw Problem(.notFound, "webhook \(id) has no delivery \(sequence)", fix: "GET /v1/webhooks/\(id)/deliveries lists them")
                }
            }
            return try await store.replay(webhook: id, which, now: clock.now())
        }
        guard let count else { throw Self.noWebhook(id) }
        note("webhook.replayed", caller: caller, detail: "\(id), \(count) deliveries")
        return count
    }

    private static func noWebhook(_ id: String) -> Problem {
        Problem(.notFound, "there is no webhook \(id.prefix(80))", fix: "GET /v1/webhooks lists them")
    }
}

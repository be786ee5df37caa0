/// How many deliveries, and which, somebody can begin to send now. What is asked for with it is begun.
package struct DeliveryRoom: Sendable {
    /// To one webhook at once, those under way included.
    package var perWebhook: Int
    /// In all.
    package var count: Int
    /// Those under way, by webhook.
    package var underWay: [String: Int]
    /// Of these nothing is begun.
    package var excepted: Set<Delivery.Lane>
    package init(perWebhook: Int, count: Int = .max, underWay: [String: Int] = [:], excepted: Set<Delivery.Lane> = []) {
        self.perWebhook = perWebhook
        self.count = count
        self.underWay = underWay
        self.excepted = excepted
    }

    /// To one webhook now.
    package func left(for webhook: String) -> Int { max(perWebhook - underWay[webhook, default: 0], 0) }

    /// The order keys of a webhook of which nothing is begun.
    package func excepted(of webhook: String) -> [UID] { excepted.filter { $0.webhook == webhook }.map(\.orderKey) }

    /// Shared out turn by turn, to the webhook that has the fewest under way, so that a slow receiver holds up nobody else.
    /// - Parameter due: how many of each webhook are due.
    /// - Returns: how many of each are begun.
    package func shares(of due: [String: Int]) -> [String: Int] {
        var shares: [String: Int] = [:]
        func busy(_ webhook: String) -> Int { underWay[webhook, default: 0] + shares[webhook, default: 0] }
        for _ in 0..<min(count, due.values.reduce(0, +)) {
            let waiting = due.keys.filter { shares[$0, default: 0] < min(due[$0] ?? 0, left(for: $0)) }
            guard let next = waiting.min(by: { (busy($0), $0) < (busy($1), $1) }) else { break }
            shares[next, default: 0] += 1
        }
        return shares
    }
}

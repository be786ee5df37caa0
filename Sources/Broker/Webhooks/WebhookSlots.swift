import Vault

/// Which deliveries of those that are due are sent now: few at once, and few to one webhook, so that a slow receiver holds
/// up nobody else.
struct WebhookSlots {
    static let atOnce = 16
    static let perWebhook = 4

    typealias Lane = Delivery.Lane
    private var busy: Set<Lane> = []
    private var perWebhook: [String: Int] = [:]
    /// Lanes whose last outcome could not be written: not before that time, so that the receiver is not flooded with copies.
    private var resting: [Lane: Timestamp] = [:]

    /// For what is due now; of lanes that are busy or rest, nothing.
    mutating func room(now: Timestamp) -> DeliveryRoom {
        resting = resting.filter { $0.value > now }
        return DeliveryRoom(
            perWebhook: Self.perWebhook, count: max(Self.atOnce - busy.count, 0), underWay: perWebhook, excepted: busy.union(resting.keys))
    }

    /// What was found for the room that there is.
    mutating func admit(_ found: [Delivery]) -> [Delivery] {
        found.filter { delivery in
            guard busy.insert(Lane(of: delivery)).inserted else { return false }
            perWebhook[delivery.webhookID, default: 0] += 1
            return true
        }
    }

    /// - Parameter rest: until when the lane is left alone.
    mutating func leave(_ delivery: Delivery, rest: Timestamp?) {
        let lane = Lane(of: delivery)
        guard busy.remove(lane) != nil else { return }
        let left = perWebhook[delivery.webhookID, default: 1] - 1
        perWebhook[delivery.webhookID] = left > 0 ? left : nil
        resting[lane] = rest
    }
}

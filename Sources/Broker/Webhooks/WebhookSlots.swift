import Vault

/// Which deliveries of those that are due are sent now: few at once, and few to one webhook, so that a slow receiver holds
/// up nobody else.
struct WebhookSlots {
    static let atOnce = 16
    static let perWebhook = 4

    /// What is sent one after the other.
    struct Lane: Hashable {
        let webhook: String
        let orderKey: UID
        init(of delivery: Delivery) {
            webhook = delivery.webhookID
            orderKey = delivery.event.orderKey
        }
    }
    private(set) var busy: Set<Lane> = []
    private var perWebhook: [String: Int] = [:]
    /// Lanes whose last outcome could not be written: not before that time, so that the receiver is not flooded with copies.
    private var resting: [Lane: Timestamp] = [:]

    /// Takes from `due`, in its order, and turn by turn from the webhook that has the fewest on their way.
    /// - Parameter busyBefore: the lanes that were busy before `due` was read: what it says of them may be over.
    mutating func admit(_ due: [Delivery], busyBefore: Set<Lane>, now: Timestamp) -> [Delivery] {
        resting = resting.filter { $0.value > now }
        var waiting: [String: ArraySlice<Delivery>] = [:]
        for delivery in due {
            let lane = Lane(of: delivery)
            if !busy.contains(lane), !busyBefore.contains(lane), resting[lane] == nil { waiting[delivery.webhookID, default: []].append(delivery) }
        }
        var admitted: [Delivery] = []
        func underWay(_ webhook: String) -> Int { perWebhook[webhook, default: 0] }
        while busy.count < Self.atOnce {
            let next = waiting.keys.filter { underWay($0) < Self.perWebhook }.min { (underWay($0), $0) < (underWay($1), $1) }
            guard let webhook = next, let delivery = waiting[webhook]?.popFirst() else { break }
            if waiting[webhook]?.isEmpty == true { waiting[webhook] = nil }
            guard busy.insert(Lane(of: delivery)).inserted else { continue }
            perWebhook[webhook, default: 0] += 1
            admitted.append(delivery)
        }
        return admitted
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

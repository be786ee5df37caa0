import Synchronization
import Vault

/// Connect links that were sent with a delivery: the next tries of it send the same one while it has time left.
final class MendLinks: Sendable {
    struct Link: Sendable, Equatable {
        let url: String
        let mintedAt: Timestamp
        let expiresAt: Timestamp
    }
    static let capacity = 1000
    /// A link lives for half an hour; whoever gets one has a third of that left.
    static let reuse: Duration = .seconds(1200)

    private let links = Mutex<[Int: Link]>([:])

    func find(_ delivery: Int, now: Timestamp) -> Link? {
        links.withLock { links in links[delivery].flatMap { now < $0.mintedAt + Self.reuse ? $0 : nil } }
    }

    func insert(_ link: Link, for delivery: Int) {
        links.withLock { links in
            if links.count >= Self.capacity { links = links.filter { link.mintedAt < $0.value.mintedAt + Self.reuse } }
            if links.count >= Self.capacity, let oldest = links.min(by: { $0.value.mintedAt < $1.value.mintedAt })?.key { links[oldest] = nil }
            links[delivery] = link
        }
    }

    func remove(_ delivery: Int) { links.withLock { $0[delivery] = nil } }
}

package import OAuth
import Synchronization
package import Vault

/// One grant of a connection: what tokens, renewals and uses are keyed by.
struct GrantKey: Hashable, Sendable {
    let connectionUID: UID
    let subject: String
}

package struct IssuedToken: Sendable {
    /// The grant it belongs to.
    package var grantUID: UID
    package var accessToken: AccessToken
    package var tokenType: String
    /// `nil` = not known.
    package var expiresAt: Timestamp?
    package var scope: [String]?
    package var generation: Int
    /// Whether this call fetched or refreshed it.
    package var refreshed: Bool
    /// The grant's values of token response and callback.
    var captured: [String: String]

    package init(
        grantUID: UID, accessToken: AccessToken, tokenType: String, expiresAt: Timestamp?, scope: [String]?, generation: Int, refreshed: Bool,
        captured: [String: String] = [:]
    ) {
        self.grantUID = grantUID
        self.accessToken = accessToken
        self.tokenType = tokenType
        self.expiresAt = expiresAt
        self.scope = scope
        self.generation = generation
        self.refreshed = refreshed
        self.captured = captured
    }
}

/// Opened tokens in memory: bounded by bytes, sharded so that callers seldom wait for each other.
///
/// Found by the connection's id as callers write it, so that a hit asks nothing else. Whoever changes a grant or a
/// connection removes its entries first and after the write.
final class TokenCache: Sendable {
    struct Key: Hashable, Sendable {
        let connectionID: String
        let subject: String
    }

    /// A class, so that a hit copies nothing.
    final class Entry: Sendable {
        let connectionUID: UID
        let token: IssuedToken
        /// Until here a hit answers at once; `nil` = the lifetime is not known, so until somebody says otherwise.
        let freshUntil: Timestamp?
        let reads: Meters.Count
        let cost: Int
        /// Since the hand last passed: spared once. (Second chance.)
        private let wasUsed = Atomic(false)
        private let lastCredential = Mutex<Credential?>(nil)

        init(connectionUID: UID, token: IssuedToken, freshUntil: Timestamp?, reads: Meters.Count, cost: Int) {
            self.connectionUID = connectionUID
            self.token = token
            self.freshUntil = freshUntil
            self.reads = reads
            self.cost = cost
        }

        func use() { if !wasUsed.load(ordering: .relaxed) { wasUsed.store(true, ordering: .relaxed) } }
        fileprivate func isSpared() -> Bool { wasUsed.exchange(false, ordering: .relaxed) }

        /// The token as requests to `destination` carry it; `nil` when it cannot be made: whoever asks next the slow way is told why.
        func credential(for destination: Destination) -> Credential? {
            lastCredential.withLock { last in
                if let last, last.destination === destination { return last }
                last = try? Credential(destination, token: token)
                return last
            }
        }
    }

    private struct Slot {
        var key: Key
        var entry: Entry
    }

    private struct Shard {
        var slots: [Slot] = []
        var index: [Key: Int] = [:]
        var cost = 0
        var hand = 0
        /// Grows with each removal: what was read before one may not be inserted after it.
        var epoch: UInt64 = 0

        mutating func remove(at position: Int) {
            cost -= slots[position].entry.cost
            index[slots[position].key] = nil
            let last = slots.removeLast()
            if position < slots.count {
                slots[position] = last
                index[last.key] = position
            }
        }
    }

    private final class Lock: Sendable {
        let shard = Mutex(Shard())
    }

    private static let shardCount = 16
    private let shards: [Lock]
    private let shardCapacity: Int
    private let age: MemoryAge

    /// - Parameter capacity: bytes in all.
    init(capacity: Int, age: MemoryAge) {
        self.age = age
        shards = (0..<Self.shardCount).map { _ in Lock() }
        shardCapacity = max(capacity / Self.shardCount, 1)
    }

    private func shard(_ key: Key) -> Lock { shards[Int(UInt(bitPattern: key.hashValue) % UInt(Self.shardCount))] }

    func find(_ key: Key) -> Entry? {
        shard(key).shard.withLock { shard in
            guard let position = shard.index[key] else { return nil }
            let entry = shard.slots[position].entry
            entry.use()
            return entry
        }
    }

    /// Taken before the store is read (or written); ``insert(_:for:ticket:)`` refuses it once something was removed.
    struct Ticket: Sendable { fileprivate let epoch: UInt64 }

    func ticket(_ key: Key) -> Ticket { shard(key).shard.withLock { Ticket(epoch: $0.epoch) } }

    func insert(_ entry: Entry, for key: Key, ticket: Ticket) {
        shard(key).shard.withLock { shard in
            guard shard.epoch == ticket.epoch else { return }
            if let position = shard.index[key] {
                // A reader that was slow must not put an old token over a new one.
                guard shard.slots[position].entry.token.generation <= entry.token.generation else { return }
                age.grow()
                shard.remove(at: position)
            }
            guard entry.cost <= shardCapacity else { return }
            while shard.cost + entry.cost > shardCapacity, !shard.slots.isEmpty {
                if shard.hand >= shard.slots.count { shard.hand = 0 }
                if shard.slots[shard.hand].entry.isSpared() {
                    shard.hand += 1
                } else {
                    age.grow()
                    shard.remove(at: shard.hand)
                }
            }
            shard.index[key] = shard.slots.count
            shard.slots.append(Slot(key: key, entry: entry))
            shard.cost += entry.cost
        }
    }

    func remove(_ key: Key) {
        shard(key).shard.withLock { shard in
            age.grow()
            shard.epoch &+= 1
            if let position = shard.index[key] { shard.remove(at: position) }
        }
    }

    func removeAll() {
        for lock in shards {
            lock.shard.withLock { shard in
                age.grow()
                let epoch = shard.epoch &+ 1
                shard = Shard()
                shard.epoch = epoch
            }
        }
    }

    func removeAll(connectionID: String) {
        for lock in shards {
            lock.shard.withLock { shard in
                age.grow()
                shard.epoch &+= 1
                for key in shard.index.keys where key.connectionID == connectionID {
                    if let position = shard.index[key] { shard.remove(at: position) }
                }
            }
        }
    }
}

/// A ``Store`` that several nodes have in common. Nodes share it and nothing else: what one of them changes the others learn
/// from here, and what only one may do at a time is decided here, by the database's clock.
package protocol SharedStore: Store {
    // MARK: What has changed

    /// What was committed since `mark`, by whichever node; exact, whatever the order in which transactions end.
    /// - Parameter mark: of the last call; `nil` = from now on.
    func changes(since mark: ChangeMark?) async throws -> Changes
    /// Drops what every node has read by now.
    func forgetChanges() async throws

    // MARK: Leases

    /// Takes or renews the right to do what `name` says, for `lifetime` from now.
    /// - Returns: false while somebody else has it.
    func takeLease(_ name: String, owner: String, lifetime: Duration) async throws -> Bool
    /// Gives back what `owner` has.
    func endLease(_ name: String, owner: String) async throws

    // MARK: Token endpoints

    /// Changes what all nodes know of a token endpoint: one after the other. What is changed may be lost with the database's
    /// last second.
    /// - Parameter change: is given the state, `nil` when there is none, and the database's time; gives the state to keep, and a result.
    func changeEndpoint<R: Sendable>(
        _ key: String, _ change: @escaping @Sendable (_ state: String?, _ now: Timestamp) throws -> (state: String, result: R)
    ) async throws -> R

    // MARK: Nodes

    /// Takes a name that no node has. - Returns: whether it was free.
    /// - Parameter masterKeyIDs: of the master keys that the node has, the one first that seals.
    func claimNode(_ name: String, version: String, masterKeyIDs: [String]) async throws -> Bool
    /// That this node is at work: to be called every few seconds.
    func noteNode(_ name: String, version: String, masterKeyIDs: [String]) async throws
    func removeNode(_ name: String) async throws
    /// Those that were at work within the last fifteen seconds, in the order of their names.
    func nodesAtWork() async throws -> [NodeRecord]
    /// Removes and returns those that stopped without a word, longer ago than fifteen seconds. Of many callers one gets each.
    func takeLostNodes() async throws -> [NodeRecord]
}

/// A lease that `owner` took, as it has to be when something is done under it; it lasts for `lifetime` from then on.
package struct LeaseClaim: Sendable, Hashable {
    package let name: String
    package let owner: String
    package let lifetime: Duration
    package init(name: String, owner: String, lifetime: Duration) {
        self.name = name
        self.owner = owner
        self.lifetime = lifetime
    }
}

/// Up to where changes were read: opaque.
package struct ChangeMark: Sendable, Hashable {
    package let text: String
    package init(text: String) { self.text = text }
}

package struct Changes: Sendable {
    package enum Item: Sendable, Hashable {
        case grant(connection: UID, subject: String)
        case connection(UID)
        case keys
        case dataKeys
    }
    package var items: Set<Item>
    /// What came before is not known: everything may have changed.
    package var isBroken: Bool
    package var mark: ChangeMark
    package init(items: Set<Item>, isBroken: Bool, mark: ChangeMark) {
        self.items = items
        self.isBroken = isBroken
        self.mark = mark
    }
}

package struct NodeRecord: Sendable, Hashable {
    package var name: String
    package var version: String
    /// Of the master keys that it has, the one first that seals.
    package var masterKeyIDs: [String]
    package var startedAt: Timestamp
    package var seenAt: Timestamp
    package init(name: String, version: String, masterKeyIDs: [String], startedAt: Timestamp, seenAt: Timestamp) {
        self.name = name
        self.version = version
        self.masterKeyIDs = masterKeyIDs
        self.startedAt = startedAt
        self.seenAt = seenAt
    }
}

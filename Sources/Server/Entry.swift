import Broker
import Foundation
import Logging
import OAuth
import Vault

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// A server's way into its store: its keys, and among other nodes its name. Those that share a database come in one after the
/// other: the first of all makes the keys that the others find.
struct Entry: Sendable {
    private static let lease = "start"
    private static let lifetime: Duration = .seconds(60)

    let keyring: Keyring
    /// `nil` where the database has it, and this server was not told.
    let adminKey: String?
    /// `nil` for who has the store alone.
    let node: String?
    /// That ended without a shutdown, and that nobody has told of yet.
    let lostNodes: [NodeRecord]
    private let shared: (any SharedStore)?
    private let owner: String

    /// - Throws: ``StartError``
    init(_ home: Home, _ store: any Store, _ configuration: ServerConfiguration, _ logger: Logger) async throws(StartError) {
        shared = store as? any SharedStore
        owner = Entropy.system.token(bytes: 16)
        do {
            // Before anybody else has to wait for it.
            if let shared, let asked = configuration.node { try await Self.waitForName(asked, in: shared, logger) }
            while let shared, try await !shared.takeLease(Self.lease, owner: owner, lifetime: Self.lifetime) {
                try await Task.sleep(for: .milliseconds(50))
            }
            do {
                // The keyring writes into a store that is new: what stops a start is found before.
                if let shared {
                    adminKey = try await Self.adminKey(home, store)
                    try await Self.requireMasterKeys(home.masterKeyIDs, among: shared.nodesAtWork())
                    keyring = try await home.openKeyring(store)
                    // Their names are free.
                    lostNodes = try await shared.takeLostNodes()
                    let name = try await Self.claimName(configuration.node ?? Self.machine, masterKeyIDs: home.masterKeyIDs, in: shared)
                    if name != configuration.node ?? Self.machine {
                        logger.notice("another node has this node's name: it goes by another one", metadata: ["node": "\(name)"])
                    }
                    node = name
                } else {
                    try home.checkAdminKey()
                    keyring = try await home.openKeyring(store)
                    adminKey = try home.adminKey()
                    (node, lostNodes) = (nil, [])
                }
            } catch {
                try await shared?.endLease(Self.lease, owner: owner)
                throw error
            }
        } catch {
            throw StartError(any: error, configuration)
        }
    }

    /// Lets the next one in.
    func end() async throws { try await shared?.endLease(Self.lease, owner: owner) }

    /// The same after a failure, whose words are what counts.
    func giveUp(_ logger: Logger) async {
        guard let shared, let node else { return }
        do {
            try await shared.endLease(Self.lease, owner: owner)
            try await shared.removeNode(node)
        } catch {
            logger.warning("that this node is gone was not noted; others see it by themselves", metadata: ["error": "\(error)"])
        }
    }

    private static func adminKey(_ home: Home, _ store: any Store) async throws -> String? {
        if let key = try home.adminKey() { return key }
        guard try await store.keys().contains(where: { $0.id == Broker.adminKeyID }) else {
            throw StartError(
                "the admin API key is needed: on PostgreSQL a server makes none",
                hint: "set GRANTEE_ADMIN_KEY_FILE to a file with at least 32 characters, such as `openssl rand -hex 32` writes")
        }
        return nil
    }

    // MARK: Master keys

    /// Whatever one node seals each of the others has to open, whichever of them made the key.
    /// - Parameter ids: of this node's master keys.
    static func requireMasterKeys(_ ids: [String], among nodes: [NodeRecord]) throws(StartError) {
        for node in nodes {
            if let first = ids.first, !node.masterKeyIDs.contains(first) {
                throw StartError(
                    "the first master key, \(first), would seal what node \(node.name) cannot open: that node does not have it",
                    hint: "put \(first) behind the key that is first now on every node and restart them, then put it first on each; "
                        + "a node that was killed counts for fifteen seconds more")
            }
            if let first = node.masterKeyIDs.first, !ids.contains(first) {
                throw StartError(
                    "node \(node.name) seals with the master key \(first), which this server was not given",
                    hint: "give this server the same master keys as the others have; a node that was killed counts for fifteen seconds more")
            }
        }
    }

    // MARK: Names

    /// A node is at work until it was not seen for this long.
    private static let patience: Duration = .seconds(16)

    /// A node that died and is started again within that time finds itself still at work: it waits until that one is gone, so that
    /// it goes on under its name. One that is seen meanwhile is another one.
    private static func waitForName(_ name: String, in store: any SharedStore, _ logger: Logger) async throws {
        let end = ContinuousClock.now + patience
        var seenAt: Timestamp?
        while ContinuousClock.now < end, let node = try await store.nodesAtWork().first(where: { $0.name == name }) {
            if let seenAt, node.seenAt != seenAt { return }
            if seenAt == nil {
                logger.notice("a node with this name was at work just now: waiting for up to 16 seconds for it to be gone", metadata: ["node": "\(name)"])
            }
            seenAt = node.seenAt
            try await Task.sleep(for: .milliseconds(500))
        }
    }

    /// A name that no other node has at the moment: the one that is asked for, else with a number behind it. A node that comes
    /// again under its name goes on with its chain of activity.
    private static func claimName(_ base: String, masterKeyIDs: [String], in store: any SharedStore) async throws -> String {
        var name = base
        var number = 1
        while try await !store.claimNode(name, version: ServerFacts.version, masterKeyIDs: masterKeyIDs) {
            number += 1
            name = "\(base)-\(number)"
        }
        // A copy looks for nodes after it took hold of the store: one of the two sees the other.
        do {
            try await requireWhole(store)
        } catch {
            try await store.removeNode(name)
            throw error
        }
        return name
    }

    static func isNodeName(_ name: String) -> Bool {
        (1...64).contains(name.utf8.count)
            && name.utf8.allSatisfy { (0x61...0x7A).contains($0 | 0x20) || (0x30...0x39).contains($0) || "._-".utf8.contains($0) }
    }

    private static var machine: String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "node" }
        let name = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return isNodeName(name) ? name : "node"
    }
}

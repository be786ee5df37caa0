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
    private let shared: (any SharedStore)?
    private let owner: String

    /// - Throws: ``StartError``
    init(_ home: Home, _ store: any Store, _ configuration: ServerConfiguration) async throws(StartError) {
        shared = store as? any SharedStore
        owner = Entropy.system.token(bytes: 16)
        do {
            while let shared, try await !shared.takeLease(Self.lease, owner: owner, lifetime: Self.lifetime) {
                try await Task.sleep(for: .milliseconds(50))
            }
            do {
                keyring = try await home.openKeyring(store)
                adminKey = try await Self.adminKey(home, store)
                if let shared { node = try await Self.claimName(configuration.node, in: shared) } else { node = nil }
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

    // MARK: Names

    /// A name that no other node has at the moment: the one that is asked for, else with a number behind it. A node that comes
    /// again under its name goes on with its chain of activity.
    private static func claimName(_ asked: String?, in store: any SharedStore) async throws -> String {
        let base = asked ?? machine
        var name = base
        var number = 1
        while try await !store.claimNode(name, version: ServerFacts.version) {
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

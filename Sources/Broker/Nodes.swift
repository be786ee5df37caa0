package import Vault

extension Broker {
    /// Of the connections to a database that is a server of its own.
    package var poolFigures: PoolFigures? { (store as? any PooledStore)?.poolFigures }

    /// What such a database takes on its server's disk; `nil` where there is none, or it does not say.
    package func databaseBytes() async -> Int? { try? await (store as? any PooledStore)?.databaseBytes() }

    /// Those that share the store and are at work; empty for a server that has its store to itself.
    package func nodesAtWork() async throws(Problem) -> [NodeRecord] {
        guard let shared else { return [] }
        return try await asProblem { try await shared.nodesAtWork() }
    }

    /// Before anything is wrapped by the first master key: that each of the nodes at work can open it.
    /// - Throws: `conflict` naming those that cannot.
    func requireFirstMasterKeyEverywhere() async throws(Problem) {
        guard let first = keyring.masterKeys.ids.first else { return }
        let names = try await nodesAtWork().filter { !$0.masterKeyIDs.contains(first) }.map(\.name)
        guard !names.isEmpty else { return }
        throw Problem(
            .conflict, "the master key \(first) is not known to every node: \(names.joined(separator: ", ")) could open nothing any more",
            fix: "give every node the same master keys and restart it; a node that was killed counts for fifteen seconds more")
    }
}

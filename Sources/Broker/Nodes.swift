package import Vault

extension Broker {
    /// Of the connections to a database that is a server of its own.
    package var poolFigures: PoolFigures? { (store as? any PooledStore)?.poolFigures }

    /// Those that share the store and are at work; empty for a server that has its store to itself.
    package func nodesAtWork() async throws(Problem) -> [NodeRecord] {
        guard let shared else { return [] }
        return try await asProblem { try await shared.nodesAtWork() }
    }
}

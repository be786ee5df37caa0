package import Vault

extension PostgresStore: PooledStore {
    /// Of the connections that all work shares; the one that reads changes fails into the same count of errors.
    package var poolFigures: PoolFigures {
        var figures = sessions.figures
        figures.errors.merge(watch.figures.errors, uniquingKeysWith: +)
        return figures
    }

    package func databaseBytes() async throws -> Int {
        try await read { session in
            guard let row = try session.row("SELECT pg_database_size(current_database()) AS bytes") else { throw DatabaseTrouble.silent.asStoreError }
            return try row.integer("bytes")
        }
    }
}

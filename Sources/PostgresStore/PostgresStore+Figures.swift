package import Vault

extension PostgresStore: PooledStore {
    /// Of the connections that all work shares; the one that reads changes fails into the same count of errors.
    package var poolFigures: PoolFigures {
        var figures = sessions.figures
        figures.errors.merge(watch.figures.errors, uniquingKeysWith: +)
        return figures
    }
}

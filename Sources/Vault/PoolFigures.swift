/// How a store's connections to its database fare: for those who watch a server.
package struct PoolFigures: Sendable, Hashable {
    /// Connections at most, those that are open, and those that work.
    package var size: Int
    package var open: Int
    package var busy: Int
    /// Pieces of work for which no connection is free now.
    package var waiting: Int
    /// Pieces of work that had to wait since the start, and how long all of them did.
    package var waits: Int
    package var waited: Duration
    /// Failures since the start by PostgreSQL's own code, five characters; `lost` = the connection broke, `connect` = none came about.
    package var errors: [String: Int]

    package init(size: Int, open: Int, busy: Int, waiting: Int, waits: Int, waited: Duration, errors: [String: Int]) {
        self.size = size
        self.open = open
        self.busy = busy
        self.waiting = waiting
        self.waits = waits
        self.waited = waited
        self.errors = errors
    }
}

/// A ``Store`` that speaks to its database over connections.
package protocol PooledStore: Store {
    var poolFigures: PoolFigures { get }
    /// What the whole database takes on its server's disk.
    func databaseBytes() async throws -> Int
}

import Broker
import Vault

/// What is asked for each time that somebody looks at `/metrics`. While the database is away the rest is still told.
enum DatabaseFigures {
    typealias Figure = (name: String, labels: String, value: Double)

    static func now(_ broker: Broker, isEnding: Bool) async -> [Figure] {
        let missing = await broker.unreadiness()
        var figures: [Figure] = [("grantee_ready", "", missing.isEmpty && !isEnding ? 1 : 0)]
        if let age = broker.changesAge { figures.append(("grantee_changes_age_seconds", "", age.inSeconds)) }
        if let pool = broker.poolFigures { figures += self.figures(of: pool) }
        guard !missing.contains(.database) else { return figures }
        do throws(Problem) {
            let counts = try await broker.grantCounts()
            figures += GrantsAPI.states.map { ("grantee_grants", "state=\"\($0)\"", Double(counts[$0] ?? 0)) }
            let nodes = try await broker.nodesAtWork()
            if !nodes.isEmpty { figures.append(("grantee_nodes", "", Double(nodes.count))) }
        } catch {
            // It went away just now; the broker has said so in the log.
            figures[0].value = 0
        }
        return figures
    }

    private static func figures(of pool: PoolFigures) -> [Figure] {
        [
            ("grantee_database_connections_max", "", Double(pool.size)),
            ("grantee_database_connections", "state=\"busy\"", Double(min(pool.busy, pool.open))),
            ("grantee_database_connections", "state=\"idle\"", Double(max(pool.open - pool.busy, 0))),
            ("grantee_database_waiting", "", Double(pool.waiting)),
            ("grantee_database_waits_total", "", Double(pool.waits)),
            ("grantee_database_wait_seconds_total", "", pool.waited.inSeconds),
        ] + pool.errors.sorted { $0.key < $1.key }.map { ("grantee_database_errors_total", "code=\"\($0.key)\"", Double($0.value)) }
    }
}

extension Duration {
    fileprivate var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}

package import Vault

/// A connection as a list shows it: its settings, its health, and how its grants are.
package struct ConnectionOverview: Sendable {
    package var connection: Connection
    package var summary: ConnectionSummary

    package init(_ connection: Connection, _ summary: ConnectionSummary) {
        self.connection = connection
        self.summary = summary
    }

    /// Whether somebody has to do something about it.
    package var isInTrouble: Bool { connection.health.state != .ok || summary.grants.waiting > 0 }

    /// Whether every word of `text` is in its name, its id or its preset, without regard to case.
    static func matches(_ connection: Connection, _ text: String) -> Bool {
        let place = [connection.settings.name, connection.id, connection.settings.preset ?? ""].joined(separator: " ").lowercased()
        return text.lowercased().split(whereSeparator: \.isWhitespace).allSatisfy { place.contains($0) }
    }
}

extension Broker {
    /// In the order of ids; a limited key sees its own.
    /// - Parameters:
    ///   - text: only those that hold it in their name, id or preset.
    ///   - inTrouble: only those that somebody has to do something about.
    ///   - after: the id of the last one seen.
    package func overview(
        matching text: String = "", inTrouble: Bool = false, after: String?, limit: Int, for caller: Caller
    ) async throws(Problem) -> [ConnectionOverview] {
        var found: [ConnectionOverview] = []
        var cursor = after
        while true {
            let page = try await connections(after: cursor, limit: limit, for: caller)
            let matching = page.filter { ConnectionOverview.matches($0, text) }
            found += try await overviews(of: matching, for: caller).filter { !inTrouble || $0.isInTrouble }
            guard found.count < limit, page.count == limit, let last = page.last else { return Array(found.prefix(limit)) }
            cursor = last.id
        }
    }

    /// - Throws: `not_found`, or `forbidden` when the key does not cover it.
    package func overview(of id: String, for caller: Caller) async throws(Problem) -> ConnectionOverview {
        let connection = try await connection(id: id, for: caller)
        return try await overviews(of: [connection], for: caller)[0]
    }

    private func overviews(of connections: [Connection], for caller: Caller) async throws(Problem) -> [ConnectionOverview] {
        guard !connections.isEmpty else { return [] }
        let summaries = try await asProblem {
            try await store.summaries(connections: connections.map(\.uid), subjects: caller.key.subjects, now: clock.now())
        }
        return connections.map { ConnectionOverview($0, summaries[$0.uid] ?? ConnectionSummary()) }
    }
}

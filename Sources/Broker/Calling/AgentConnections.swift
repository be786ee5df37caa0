package import Vault

/// What agents are shown of connections: those that a builder opened to them, whatever the key's role. SEC-131.
extension Broker {
    /// In the order of ids.
    package func agentConnections(for caller: Caller) async throws(Problem) -> [Connection] {
        try await asProblem {
            var found: [Connection] = []
            var cursor: String?
            while true {
                let page = try await store.connections(after: cursor, limit: Self.agentPage)
                found += page.filter { $0.settings.agentAccess.enabled && caller.covers(connection: $0.uid) }
                guard page.count == Self.agentPage, let last = page.last else { return found }
                cursor = last.id
            }
        }
    }

    private static let agentPage = 200

    /// - Throws: `not_found`, in the same words whether there is none, it is closed to agents, or the key does not cover it.
    package func agentConnection(id: String, for caller: Caller) async throws(Problem) -> Connection {
        guard let connection = try await findConnection(id), connection.settings.agentAccess.enabled, caller.covers(connection: connection.uid) else {
            throw Problem(
                .notFound, "there is no connection \(excerpt(id)) that this key may use for agents",
                fix: "list_connections names those that there are; a builder opens one by its agent_access")
        }
        return connection
    }

    /// How things stand with the grant of a subject: `active`, `expired`, `reauthorization_required` or `revoked`; `nil` = there is none yet.
    /// - Parameter subject: `""` = the shared grant.
    package func agentGrantState(of connection: Connection, subject: String, for caller: Caller) async throws(Problem) -> String? {
        try require(subject, for: caller, of: connection)
        return try await findGrant(of: connection, subject: subject).map { GrantView($0, connectionID: connection.id, now: clock.now()).state }
    }
}

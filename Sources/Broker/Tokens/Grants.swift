package import Vault

/// A grant with its connection's id, as faces show it: never a token.
package struct GrantView: Sendable {
    package var grant: Grant
    package var connectionID: String
    /// `active`, `expired`, `reauthorization_required` or `revoked`.
    package var state: String
    /// Requested and not granted; empty while what was granted is not known.
    package var missingScope: [String]

    package init(_ grant: Grant, connectionID: String, now: Timestamp) {
        self.grant = grant
        self.connectionID = connectionID
        if grant.state == .active, let expiry = grant.expiresAt, expiry <= now {
            state = "expired"
        } else {
            state = grant.state.rawValue
        }
        let granted = grant.scope.map(Set.init)
        missingScope = granted.map { granted in grant.requestedScope.filter { !granted.contains($0) } } ?? []
    }
}

extension Broker {
    /// - Parameters:
    ///   - state: one of the four a view shows.
    ///   - diesWithin: only active ones whose refresh token dies within so many seconds.
    ///   - worstFirst: those that do not work, then those that die soonest; else in the order in which they were made.
    ///   - after: the `uid` of the last one seen.
    package func grants(
        connectionID: String?, subject: String?, state: String?, diesWithin: Int? = nil, worstFirst: Bool = false, after: UID?, limit: Int,
        for caller: Caller
    ) async throws(Problem) -> [GrantView] {
        try caller.requireUse()
        var filter = GrantFilter(now: clock.now())
        if let connectionID { filter.connection = try await connection(id: connectionID, for: caller).uid }
        filter.connections = caller.key.connections
        if let subject { try caller.require(subject: subject) }
        filter.subject = subject
        filter.subjects = caller.key.subjects
        filter.state = state
        filter.diesBefore = diesWithin.map { filter.now + .seconds($0) }
        filter.worstFirst = worstFirst
        let now = filter.now
        return try await asProblem {
            var ids: [UID: String] = [:]
            var views: [GrantView] = []
            for grant in try await store.grants(filter: filter, after: after, limit: limit) {
                if ids[grant.connectionUID] == nil { ids[grant.connectionUID] = try await store.connection(uid: grant.connectionUID)?.id }
                if let id = ids[grant.connectionUID] { views.append(GrantView(grant, connectionID: id, now: now)) }
            }
            return views
        }
    }

    package func grant(connectionID: String, subject: String, for caller: Caller) async throws(Problem) -> GrantView {
        let connection = try await connection(id: connectionID, for: caller)
        try caller.require(subject: subject)
        let grant = try await requireGrant(of: connection, subject: subject)
        return GrantView(grant, connectionID: connection.id, now: clock.now())
    }

    func findGrant(of connection: Connection, subject: String) async throws(Problem) -> Grant? {
        try await asProblem { try await store.grant(connection: connection.uid, subject: subject, slot: "") }
    }

    func requireGrant(of connection: Connection, subject: String) async throws(Problem) -> Grant {
        guard let grant = try await findGrant(of: connection, subject: subject) else {
            let whose = subject.isEmpty ? "no shared grant" : "no grant of that subject"
            throw Problem(.notFound, "\(connection.id) has \(whose)", fix: "POST /v1/connections/\(connection.id)/connect makes one")
        }
        return grant
    }

    package func grantCounts() async throws(Problem) -> [String: Int] {
        try await asProblem { try await store.grantCounts(now: clock.now()) }
    }
}

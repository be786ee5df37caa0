import Logging
import OAuth
import OAuthClient
package import Vault

/// The doctor at work: asks, reads what was kept, and lets the table explain it.
extension Broker {
    /// Looks at everything: settings, grants, the last failures, and the provider itself. Sends nothing that is secret, unless `probe`.
    /// - Parameter probe: a person asked to find out by requests with the client's credentials; three at most.
    package func diagnose(connectionID: String, probe: Bool, by caller: Caller) async throws(Problem) -> Diagnosis {
        try caller.requireAdmin()
        let connection = try await connection(id: connectionID, for: caller)
        var facts = facts(of: connection)
        var client: Client?
        // What is wrong with the settings is a check of its own.
        do throws(Problem) { client = try await self.client(of: connection) } catch { if error.code != .misconfigured { throw error } }
        var live = await lookAround(&facts, client: client)
        if probe, let client {
            let asked = try await self.probe(facts, client: client, by: caller)
            // What the provider does says more than what its metadata lists.
            if asked.state != .unknown { live.removeAll { $0.id == asked.id } }
            live.append(asked)
        }
        // What was found may have changed its health.
        facts.connection = try await requireConnection(uid: connection.uid)
        let checks = Self.merged(live + (try await known(facts, for: caller)))
        let diagnosis = Diagnosis(connection: facts.connection, at: clock.now(), isProbed: probe, isLive: true, checks: checks, live: live)
        diagnoses.insert(diagnosis)
        let found = checks.filter { !$0.isOK }.map(\.id).joined(separator: ", ")
        note(
            "connection.diagnosed", connection: connection, caller: caller,
            detail: [probe ? "the provider was asked" : nil, found.isEmpty ? nil : "found " + found].compactMap(\.self).joined(separator: "; ")
                .prefix(200).description)
        return diagnosis
    }

    /// The same without asking anybody: what is known here, and what the last look at the provider found.
    package func lastDiagnosis(connectionID: String, for caller: Caller) async throws(Problem) -> Diagnosis {
        try caller.requireAdmin()
        let connection = try await connection(id: connectionID, for: caller)
        let last = diagnoses.find(connection, now: clock.now())
        let checks = Self.merged((last?.live ?? []) + (try await known(facts(of: connection), for: caller)))
        return Diagnosis(
            connection: connection, at: last?.at ?? clock.now(), isProbed: last?.isProbed ?? false, isLive: last != nil, checks: checks,
            live: last?.live ?? [])
    }

    /// For the activity log, after a change that the doctor proposed was written.
    package func noteApplied(_ checks: [String], to connection: Connection, by caller: Caller) {
        note("connection.diagnosed", connection: connection, caller: caller, detail: "applied " + checks.joined(separator: ", ").prefix(160))
    }

    func facts(of connection: Connection) -> Facts {
        Facts(
            connection: connection, callbackURL: redirectURI(of: connection), publicURL: configuration.publicURL, now: clock.now(),
            forbidsPasswordGrant: configuration.forbidPasswordGrant)
    }

    /// What is wrong first; of two that name the same cause, the worse one, else the first.
    private static func merged(_ checks: [Check]) -> [Check] {
        var kept: [Check] = []
        for check in checks {
            if let index = kept.firstIndex(where: { $0.id == check.id }) {
                if check.state.rank < kept[index].state.rank { kept[index] = check }
            } else {
                kept.append(check)
            }
        }
        return Check.State.allCases.flatMap { state in kept.filter { $0.state == state } }
    }

    // MARK: What is known here

    private func known(_ facts: Facts, for caller: Caller) async throws(Problem) -> [Check] {
        let connection = facts.connection
        var problem: Problem?
        do throws(Problem) {
            try ConnectionRules.check(
                facts.settings, hasClientSecret: facts.hasSecret, hasPassword: connection.password != nil, egress: egress,
                forbidPasswordGrant: configuration.forbidPasswordGrant)
        } catch {
            problem = error
        }
        let (troubles, grants, trip) = try await asProblem {
            let filter = GrantFilter(connection: connection.uid, subjects: caller.key.subjects, worstFirst: true, now: facts.now)
            let grants = try await store.grants(filter: filter, after: nil, limit: 200)
            var trip: (LastTrip, ConnectSession.State)?
            if let last = try await store.lastTrip(connection: connection.uid), let session = try await store.session(id: last.sessionID) {
                trip = (last, session.state)
            }
            return (try await livingTroubles(of: connection), grants, trip)
        }
        return troubles.filter { $0.subject.isEmpty || caller.covers(subject: $0.subject) }.map { Doctor.explain($0, facts) }
            + Doctor.settingsChecks(
                facts, problem: problem, grants: grants.map { GrantView($0, connectionID: connection.id, now: facts.now) },
                trip: trip.map { (trip: $0.0, session: $0.1) })
    }

    /// Without refreshes that failed for grants which have gone since, or have a token again.
    private func livingTroubles(of connection: Connection) async throws -> [Trouble] {
        var living: [Trouble] = []
        for trouble in try await store.troubles(connection: connection.uid) {
            if trouble.stage == .refresh {
                let grant = try await store.grant(connection: connection.uid, subject: trouble.subject, slot: "")
                guard let grant, grant.state != .revoked, max(grant.refreshedAt ?? grant.createdAt, grant.createdAt) <= trouble.at else { continue }
            }
            living.append(trouble)
        }
        return living
    }
}

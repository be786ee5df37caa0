import Logging
import OAuth
import Synchronization
package import Vault

/// How far a revocation is, and what failed.
package struct RevocationReport: Sendable {
    package var record: RevocationRecord
    /// The first of them; the activity log has all.
    package var failures: [RevocationFailure]
}

/// The kill switch: all grants of a connection, a subject, an API key, or everything.
///
/// Nothing named is served any more when the call returns; the providers are asked in the background. The record is
/// written first, so that a restart half-way goes on with it.
/// That a revocation is on stable storage, and so goes on whatever happens.
private final class Noted: Sendable { let isDone = Atomic(false) }

extension Broker {
    /// - Parameters:
    ///   - subject: `""` = shared grants.
    ///   - keyID: the key is removed, and the grants that it was given tokens of, by the activity log, are revoked.
    ///   What is `nil` limits nothing: without any, everything is revoked.
    package func revokeAll(connectionID: String?, subject: String?, keyID: String?, by caller: Caller) async throws(Problem) -> RevocationReport {
        try caller.requireAdmin()
        if let subject, !subject.isEmpty, !Self.isSubject(subject) {
            throw Problem(.invalidRequest, Self.subjectRule, errors: [.init(pointer: "/subject", detail: Self.subjectRule)])
        }
        var connection: Connection?
        if let connectionID { connection = try await self.connection(id: connectionID, for: caller) }
        let filter = RevocationFilter(connection: connection?.uid, subject: subject, key: keyID)
        try requireWithinBounds(filter, of: caller)
        if let keyID { try await requireKnown(key: keyID) }
        let now = clock.now()
        let record = RevocationRecord(
            id: "rv_" + UID.make(at: now).text, filter: filter, connection: connection?.id, requestedBy: caller.key.id, createdAt: now)
        // Before it is written: the background takes up what nobody is at work on.
        revocationsInHand.withLock { _ = $0.insert(record.id) }
        defer { revocationsInHand.withLock { _ = $0.remove(record.id) } }
        let noted = Noted()
        do {
            // Whoever asked may leave. Other nodes find the record when this one is at work on it already.
            try await exchanges.run { [self, connection] in
                _ = try await asSoleNode(Self.work(record)) {
                    try await store.insert(record)
                    noted.isDone.store(true, ordering: .relaxed)
                    note("revocation.requested", connection: connection, subject: subject, caller: caller, detail: record.id)
                    try await stop(record, by: caller)
                }
            }
        } catch {
            guard noted.isDone.load(ordering: .relaxed) else { return try await asProblem { throw error } }
            logFailure(.error, "a revocation is not done yet; it goes on", error, ["revocation": "\(record.id)"])
            throw Problem(.unavailable, "the database is away; the revocation \(record.id) is noted and goes on by itself", retryAfter: 1)
        }
        return try await report(record.id)
    }

    package func revocation(id: String, for caller: Caller) async throws(Problem) -> RevocationReport {
        try caller.requireAdmin()
        let report = try await report(id)
        try requireWithinBounds(report.record.filter, of: caller)
        return report
    }

    /// Newest first.
    package func revocations(before: String?, limit: Int, for caller: Caller) async throws(Problem) -> [RevocationReport] {
        try caller.requireUnboundAdmin()
        return try await asProblem {
            var reports: [RevocationReport] = []
            for record in try await store.revocations(before: before, limit: limit) {
                reports.append(RevocationReport(record: record, failures: try await store.failures(revocation: record.id, limit: Self.failuresShown)))
            }
            return reports
        }
    }

    private static let failuresShown = 100

    private func report(_ id: String) async throws(Problem) -> RevocationReport {
        let found = try await asProblem {
            let record = try await store.revocation(id: id)
            guard let record, record.pending == 0, record.stoppedAt != nil, record.endedAt == nil else { return record }
            // The background would say so within a second.
            try await store.endRevocations(at: clock.now())
            return try await store.revocation(id: id)
        }
        guard let found else { throw Problem(.notFound, "there is no revocation \(id.prefix(80))", fix: "GET /v1/revocations lists them") }
        return RevocationReport(record: found, failures: try await asProblem { try await store.failures(revocation: id, limit: Self.failuresShown) })
    }

    // MARK: Who may

    /// An admin key that is bound names what it is bound to; keys, and everything, are for one without bounds.
    private func requireWithinBounds(_ filter: RevocationFilter, of caller: Caller) throws(Problem) {
        if filter.key != nil || (filter.connection == nil && filter.subject == nil) { try caller.requireUnboundAdmin() }
        if caller.key.connections != nil {
            guard let connection = filter.connection, caller.covers(connection: connection) else {
                throw Problem(.forbidden, "this key is bound to connections; this concerns others too", fix: "name one of the key's connections")
            }
        }
        if caller.key.subjects != nil {
            guard let subject = filter.subject, caller.covers(subject: subject) else {
                throw Problem(.forbidden, "this key is bound to subjects; this concerns others too", fix: "name one of the key's subjects")
            }
        }
    }

    /// Also one that is removed already: what it was given is in the activity log.
    private func requireKnown(key id: String) async throws(Problem) {
        try requireRemovable(key: id)
        let isKnown = try await asProblem {
            if try await store.keys().contains(where: { $0.id == id }) { return true }
            return try await store.wasGivenTokens(key: id)
        }
        guard isKnown else { throw Problem(.notFound, "there is no API key \(id.prefix(80))") }
    }

    // MARK: Stopping

    /// Until the other nodes know of a removed key, and have written down what they gave it before.
    private static let othersLastUses: Duration = .seconds(3)

    /// Grants in one transaction: few enough that whoever waits for one of them waits for a moment.
    static let revocationChunk = 1000

    /// Goes on with those that a restart or a failing store interrupted.
    func resumeRevocations() async throws {
        for record in try await store.unstoppedRevocations() {
            guard revocationsInHand.withLock({ $0.insert(record.id).inserted }) else { continue }
            defer { revocationsInHand.withLock { _ = $0.remove(record.id) } }
            _ = try await asSoleNode(Self.work(record)) { try await stop(record, by: nil) }
        }
    }

    private static func work(_ record: RevocationRecord) -> String { "revocation/" + record.id }

    /// - Throws: a store error; what was stopped until then stays so.
    private func stop(_ record: RevocationRecord, by caller: Caller?) async throws {
        if let key = record.filter.key { try await stop(key: key, by: caller) }
        // A link that is on its way would make a grant anew.
        try await store.endSessions(record.filter)
        var revoked: [RevokedGrant] = []
        do {
            repeat { try await turnIntoTombstones(record, &revoked) } while try await !forbidFetching(record.filter)
            if record.filter.key != nil, shared != nil {
                // Another node may have given the key a token in the second before it knew, and written that down a second later.
                try await pause(Self.othersLastUses)
                try await turnIntoTombstones(record, &revoked)
            }
            try await store.noteStopped(revocation: record.id, at: clock.now())
        } catch {
            // Those it got to are told of once, and now: whoever goes on does not find them any more.
            try await note(revoked, of: record, by: caller)
            throw error
        }
        logger.notice("grants were revoked", metadata: ["revocation": "\(record.id)", "grants": "\(revoked.count)"])
        try await note(revoked, of: record, by: caller)
    }

    private func stop(key id: String, by caller: Caller?) async throws {
        callers.remove(id: id)
        if try await store.deleteKey(id: id) { note("key.removed", caller: caller, detail: id) }
        // Which tokens it was given is known by the activity log alone.
        await flushActivity(everything: true)
        guard activityLog.isAccepting else { throw StoreError.unavailable("uses cannot be recorded") }
    }

    private func turnIntoTombstones(_ record: RevocationRecord, _ all: inout [RevokedGrant]) async throws {
        var revoked: [RevokedGrant]
        repeat {
            let now = clock.now()
            forgetTokens(of: record)
            revoked = try await store.revoke(record.filter, at: now, askAt: now, revocation: record.id, limit: Self.revocationChunk) {
                [self] grant, connection in [event(.grantRevoked, grant, of: connection)]
            }
            forgetTokens(of: record)
            all += revoked
            Failpoint.pass("revocation.chunk")
        } while revoked.count == Self.revocationChunk
    }

    /// Those in memory. Of more than one connection it is all of them: they come back with the next reads.
    private func forgetTokens(of record: RevocationRecord) {
        if let id = record.connection { tokenCache.removeAll(connectionID: id) } else { tokenCache.removeAll() }
    }

    /// Where no person is needed, the next caller would fetch anew: a tombstone stands in the way where there is no grant yet.
    /// - Returns: false when a fetch was faster, so that its grant is to be revoked, too.
    private func forbidFetching(_ filter: RevocationFilter) async throws -> Bool {
        guard filter.key == nil, filter.subject ?? "" == "" else { return true }
        if let uid = filter.connection {
            guard let connection = try await store.connection(uid: uid) else { return true }
            return try await forbidFetching(of: connection)
        }
        var areForbidden = true
        var cursor: String?
        repeat {
            let page = try await store.connections(after: cursor, limit: 200)
            for connection in page where try await !forbidFetching(of: connection) { areForbidden = false }
            cursor = page.count == 200 ? page.last?.id : nil
        } while cursor != nil
        return areForbidden
    }

    private func forbidFetching(of connection: Connection) async throws -> Bool {
        guard connection.fetchesAlone else { return true }
        if let grant = try await store.grant(connection: connection.uid, subject: "", slot: "") { return grant.state == .revoked }
        let now = clock.now()
        let tombstone = Grant(
            uid: .make(at: now), connectionUID: connection.uid, subject: "", state: .revoked, stateSince: now, tokenGeneration: 1, createdAt: now)
        do {
            return try await store.put(tombstone, expectedGeneration: nil)
        } catch StoreError.conflict {
            // The connection is gone.
            return true
        }
    }

    /// An entry for each grant. Written in pieces: as many at once as wait for the store would stop issuing.
    private func note(_ revoked: [RevokedGrant], of record: RevocationRecord, by caller: Caller?) async throws {
        var connections: [UID: Connection] = [:]
        for (index, grant) in revoked.enumerated() {
            if connections[grant.connectionUID] == nil { connections[grant.connectionUID] = try await store.connection(uid: grant.connectionUID) }
            note("grant.revoked", connection: connections[grant.connectionUID], subject: grant.subject, caller: caller, detail: record.id)
            if index % Self.revocationChunk == Self.revocationChunk - 1 { await flushActivity() }
        }
    }
}

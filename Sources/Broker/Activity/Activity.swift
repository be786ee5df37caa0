import Logging
import Synchronization
package import Vault

extension Broker {
    /// Notes one event. Fixed words and ids only: never a provider's text, never a secret.
    /// - Parameter caller: where it is left out, the key whose request the task serves.
    func note(
        _ action: String, connection: Connection? = nil, subject: String? = nil, caller: Caller? = nil, result: String = "ok",
        detail: String? = nil
    ) {
        let now = clock.now()
        activityLog.append(
            Activity(
                uid: .make(at: now), at: now, action: action, connectionUID: connection?.uid, connection: connection?.id,
                subject: subject == "" ? nil : subject, key: caller?.key.id ?? RequestID.scope?.key, result: result, detail: detail,
                requestID: RequestID.current))
    }

    /// Notes what strangers can cause as often as they like: counted by the minute.
    func tally(_ action: String, connection: Connection? = nil, key: String? = nil, result: String, detail: String? = nil) {
        activityLog.count(
            .init(
                action: action, connectionUID: connection?.uid, connection: connection?.id, key: key, result: result, detail: detail,
                minute: clock.now().milliseconds / 60_000))
    }

    /// A request that was turned away at the door.
    /// - Parameters:
    ///   - route: its pattern, never its path.
    ///   - key: the id of the API key, where it is known.
    package func noteRefusal(_ code: Problem.Code, route: String, key: String?) {
        tally("request.refused", key: key, result: code.rawValue, detail: route)
    }

    /// A connection to where only `--egress-allow` lets it go. Counted by the minute: where a provider is near, each request
    /// to it is one.
    package func noteEgressException(host: String) {
        tally("egress.exception", key: RequestID.scope?.key, result: "ok", detail: host)
    }

    /// Writes what waits; one write at a time, so that what was noted before this call is in the store after it.
    /// - Parameter everything: also what would wait for its minute to end, and without a pause: somebody waits for it.
    func flushActivity(everything: Bool = false) async {
        await activityWrites.inTurn { [self] in await writeActivity(everything: everything) }
    }

    private func writeActivity(everything: Bool) async {
        let now = clock.now()
        let batch = activityLog.take(minute: now.milliseconds / 60_000, everything: everything)
        guard !batch.isEmpty || !activityLog.isAccepting else {
            await touchKeys(of: [], at: now, everything: everything)
            return await activityWriter.anchor(now: now)
        }
        let entries = entries(of: batch, at: now)
        if let remainder = await activityWriter.write(entries, isHurried: everything) {
            logFailure(.error, "uses cannot be recorded; issuing stops until they can", remainder.error)
            activityLog.putBack(remainder, lastUsed: batch.lastUsed)
            return
        }
        activityLog.written()
        await activityWriter.anchor(now: now)
        do {
            if !batch.lastUsed.isEmpty { try await store.touchGrants(batch.lastUsed) }
        } catch {
            logFailure(.warning, "last use of grants was not recorded", error)
        }
        await touchKeys(of: entries, at: now, everything: everything)
    }

    /// When API keys were last used, as far as the log tells.
    private func touchKeys(of entries: [Activity], at now: Timestamp, everything: Bool) async {
        var seen: [String: Timestamp] = [:]
        for entry in entries { if let key = entry.key { seen[key] = max(seen[key] ?? entry.at, entry.at) } }
        let due = keyUses.withLock { uses in
            uses.add(seen)
            return uses.take(minute: now.milliseconds / 60_000, everything: everything)
        }
        guard !due.isEmpty else { return }
        do {
            try await store.touchKeys(due)
        } catch {
            keyUses.withLock { $0.putBack(due) }
            logFailure(.warning, "last use of API keys was not recorded", error)
        }
    }

    func entries(of batch: ActivityLog.Batch, at now: Timestamp) -> [Activity] {
        var entries: [Activity] = []
        for (count, detail) in [(batch.merged, "token reads are one entry with others"), (batch.leftOut, "entries were left out")] where count > 0 {
            entries.append(Activity(uid: .make(at: now), at: now, action: "activity.dropped", result: "queue_full", count: count, detail: detail))
        }
        entries += batch.tallies.map { tally, count in
            Activity(
                uid: .make(at: now), at: now, action: tally.action, connectionUID: tally.connectionUID, connection: tally.connection, key: tally.key,
                result: tally.result, count: count, detail: tally.detail)
        }
        entries += batch.reads.map { read, count in
            Activity(
                uid: .make(at: now), at: now, action: Activity.tokenRead, connectionUID: read.connectionUID, connection: read.connection,
                subject: read.subject == "" ? nil : read.subject, key: read.key, count: count)
        }
        return batch.entries + inOrder(batch.calls.map(Activity.init)) + inOrder(entries)
    }

    /// Of one moment, but in an order of their own: lists go by the uid.
    private func inOrder(_ entries: [Activity]) -> [Activity] {
        var entries = entries
        for (index, uid) in entries.map(\.uid).sorted().enumerated() { entries[index].uid = uid }
        return entries
    }

    /// Newest first.
    package func activity(
        connection id: String?, subject: String?, action: String? = nil, key: String? = nil, result: String? = nil, before: UID?, limit: Int,
        for caller: Caller
    ) async throws(Problem) -> [Activity] {
        try caller.requireUnboundAdmin()
        await flushActivity(everything: true)
        return try await asProblem {
            try await store.activity(
                filter: ActivityFilter(connection: id, subject: subject, action: action, key: key, result: result), before: before, limit: limit)
        }
    }

    /// What became of one grant, the newest first: made, refreshed, refused, revoked; not each use of it.
    package func life(ofGrant subject: String, connectionID: String, limit: Int, for caller: Caller) async throws(Problem) -> [Activity] {
        try caller.requireAdmin()
        let connection = try await connection(id: connectionID, for: caller)
        try caller.require(subject: subject)
        await flushActivity()
        var filter = ActivityFilter(connectionUID: connection.uid, actions: Self.lifeActions)
        filter.connection = connection.id
        if subject.isEmpty { filter.isShared = true } else { filter.subject = subject }
        let chosen = filter
        return try await asProblem { try await store.activity(filter: chosen, before: nil, limit: limit) }
    }

    private static let lifeActions = [
        "grant.created", "grant.reconnected", "grant.refreshed", "grant.imported", "grant.expiring", "grant.refused", "grant.refresh_failed",
        "grant.reauthorization_required", "grant.reuse_suspected", "grant.revoked", "grant.orphaned", "grant.revocation_failed",
    ]

    /// Forgets entries that were kept as long as the configuration says.
    func cutActivity() async {
        await activityWrites.inTurn { [self] in
            do {
                let now = clock.now()
                try await activityWriter.cut(before: now + .seconds(-86_400 * configuration.activityDays), now: now)
            } catch {
                logFailure(.warning, "old activity was not removed; it is tried again", error)
            }
        }
    }
}

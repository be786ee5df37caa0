import Logging
import Synchronization
package import Vault

/// Uses on their way to the store: counted in memory, written each second.
///
/// Bounded: at ``capacity`` waiting entries nothing more is accepted, and issuing stops until they are written.
final class ActivityLog: Sendable {
    static let capacity = 50_000

    /// Token reads are counted per key, grant and minute.
    struct Read: Hashable, Sendable {
        let key: String
        let connectionUID: UID
        let connection: String
        let subject: String
        let minute: Int64

        /// Two of them that differ elsewhere alone are rare; hashing more costs each token read.
        func hash(into hasher: inout Hasher) {
            hasher.combine(key)
            hasher.combine(subject)
        }
    }

    private struct State {
        var entries: [Activity] = []
        var reads: [Read: Int] = [:]
        /// Reads whose first row of the minute is written: the rest follows when the minute is over.
        var begun: Set<Read> = []
        /// By grant; written together with the reads.
        var lastUsed: [UID: Timestamp] = [:]
        var failing = false
    }
    private let state = Mutex(State())

    /// False while uses cannot be recorded.
    var isAccepting: Bool { state.withLock { !$0.failing && $0.entries.count + $0.reads.count < Self.capacity } }

    func append(_ activity: Activity) {
        state.withLock { $0.entries.append(activity) }
    }

    func countRead(_ read: Read, grant: UID, at now: Timestamp) -> Bool {
        state.withLock { state in
            if state.failing || state.entries.count + state.reads.count >= Self.capacity { return false }
            state.reads[read, default: 0] += 1
            state.lastUsed[grant] = now
            return true
        }
    }

    struct Batch {
        var entries: [Activity]
        var reads: [Read: Int]
        var lastUsed: [UID: Timestamp]
    }

    /// What is to be written now: all entries, the first reads of each minute at once, the rest when it is over.
    func take(minute: Int64, everything: Bool) -> Batch {
        state.withLock { state in
            let due =
                everything || state.reads.count >= Self.capacity / 2
                ? state.reads : state.reads.filter { $0.key.minute < minute || !state.begun.contains($0.key) }
            for read in due.keys {
                state.reads[read] = nil
                state.begun.insert(read)
            }
            state.begun = state.begun.filter { $0.minute >= minute }
            var batch = Batch(entries: state.entries, reads: due, lastUsed: [:])
            state.entries = []
            if !due.isEmpty || everything {
                batch.lastUsed = state.lastUsed
                state.lastUsed = [:]
            }
            return batch
        }
    }

    func putBack(_ batch: Batch, activities: [Activity]) {
        state.withLock { state in
            state.entries = activities + state.entries
            state.lastUsed.merge(batch.lastUsed) { new, _ in new }
            state.failing = true
        }
    }

    func written() { state.withLock { $0.failing = false } }
}

extension Broker {
    /// Notes one event. Fixed words and ids only: never a provider's text, never a secret.
    func note(
        _ action: String, connection: Connection? = nil, subject: String? = nil, caller: Caller? = nil, result: String = "ok",
        detail: String? = nil
    ) {
        let now = clock.now()
        activityLog.append(
            Activity(
                uid: .make(at: now), at: now, action: action, connectionUID: connection?.uid, connection: connection?.id,
                subject: subject == "" ? nil : subject, key: caller?.key.id, result: result, detail: detail))
    }

    /// Writes what waits; one write at a time, so that what was noted before this call is in the store after it.
    /// - Parameter everything: also what would wait for its minute to end.
    func flushActivity(everything: Bool = false) async {
        await activityWrites.inTurn { [self] in await writeActivity(everything: everything) }
    }

    private func writeActivity(everything: Bool) async {
        let now = clock.now()
        let batch = activityLog.take(minute: now.milliseconds / 60_000, everything: everything)
        guard !batch.entries.isEmpty || !batch.reads.isEmpty || !activityLog.isAccepting else { return }
        let reads = batch.reads.map { read, count in
            Activity(
                uid: .make(at: now), at: now, action: "token.read", connectionUID: read.connectionUID, connection: read.connection,
                subject: read.subject == "" ? nil : read.subject, key: read.key, count: count)
        }
        let activities = batch.entries + reads
        do {
            if !activities.isEmpty { try await store.append(activities) }
            activityLog.written()
        } catch {
            logger.error("uses cannot be recorded; issuing stops until they can", metadata: ["error": "\(error)"])
            activityLog.putBack(batch, activities: activities)
            return
        }
        do {
            if !batch.lastUsed.isEmpty { try await store.touchGrants(batch.lastUsed) }
        } catch {
            logger.warning("last use of grants was not recorded", metadata: ["error": "\(error)"])
        }
    }

    /// Newest first.
    package func activity(
        connection id: String?, subject: String?, before: UID?, limit: Int, for caller: Caller
    ) async throws(Problem) -> [Activity] {
        try caller.requireUnboundAdmin()
        await flushActivity(everything: true)
        return try await asProblem {
            try await store.activity(filter: ActivityFilter(connection: id, subject: subject), before: before, limit: limit)
        }
    }
}

import Synchronization
import Vault

/// What is counted by the minute rather than kept one by one.
protocol MinuteKey: Hashable, Sendable {
    var minute: Int64 { get }
}

/// Counts of a minute each: the first of a minute is due at once, the rest when the minute is over.
struct MinuteCounts<Key: MinuteKey> {
    private var counts: [Key: Int] = [:]
    private var begun: Set<Key> = []

    var distinct: Int { counts.count }
    func contains(_ key: Key) -> Bool { counts[key] != nil }

    mutating func add(_ key: Key) { counts[key, default: 0] += 1 }

    mutating func take(minute: Int64, everything: Bool) -> [Key: Int] {
        let due = everything ? counts : counts.filter { $0.key.minute < minute || !begun.contains($0.key) }
        for key in due.keys {
            counts[key] = nil
            begun.insert(key)
        }
        begun = begun.filter { $0.minute >= minute }
        return due
    }
}

/// Uses on their way to the store: kept or counted in memory, written each second.
///
/// Bounded: at ``capacity`` waiting entries nothing more is given out until they are written; at twice as many, what still
/// happens is not kept any more, and how much that was.
final class ActivityLog: Sendable {
    static let capacity = 50_000
    /// Different things that are counted by the minute, token reads apart.
    static let tallyCapacity = 1_000
    /// While so many calls wait, refused ones are counted by the minute.
    static let mostRefused = 1_000
    /// So many waiting calls are written without waiting for the second to end.
    static let manyCalls = 10_000

    /// Token reads are counted per key, grant and minute.
    struct Read: MinuteKey {
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

    /// What strangers can cause at will: refusals, callbacks that belong to nothing. Counted, so that they fill no queue.
    struct Tally: MinuteKey {
        var action: String
        var connectionUID: UID?
        var connection: String?
        var key: String?
        var result: String
        var detail: String?
        var minute: Int64

        /// What many that are too different are counted as.
        var summary: Tally { Tally(action: action, result: result, detail: "many", minute: minute) }
    }

    private struct State {
        var entries: [Activity] = []
        /// How many of them, from the first on, a failed write may have written after all.
        var inDoubt = 0
        /// Whether there may be token reads of several minutes among the entries.
        var mayMerge = false
        /// Entries that became one with others, and entries that were not kept, since the last ones that were written.
        var merged = 0
        var leftOut = 0
        var calls = CallQueue()
        var reads = MinuteCounts<Read>()
        var tallies = MinuteCounts<Tally>()
        var lastUsed = LastUses<UID>()
        var failing = false

        var isAccepting: Bool { !failing && entries.count + calls.count + reads.distinct < ActivityLog.capacity }
        var isFull: Bool { entries.count + calls.count >= 2 * ActivityLog.capacity }

        mutating func count(_ tally: Tally) {
            let fits = tallies.distinct < ActivityLog.tallyCapacity || tallies.contains(tally)
            tallies.add(fits ? tally : tally.summary)
        }

        /// The reads of a key and a grant become one, whatever their minutes.
        mutating func merge() {
            mayMerge = false
            struct Reader: Hashable {
                let key: String?
                let connection: UID?
                let subject: String?
            }
            var kept: [Activity] = []
            var places: [Reader: Int] = [:]
            for (index, entry) in entries.enumerated() {
                let reader = Reader(key: entry.key, connection: entry.connectionUID, subject: entry.subject)
                if index < inDoubt || entry.action != Activity.tokenRead {
                    kept.append(entry)
                } else if let place = places[reader] {
                    kept[place].count += entry.count
                    merged += 1
                } else {
                    places[reader] = kept.count
                    kept.append(entry)
                }
            }
            entries = kept
        }
    }
    private let state = Mutex(State())
    private let many = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))

    /// An element whenever so many calls wait that they should be written. For one reader.
    var fillings: AsyncStream<Void> { many.stream }

    /// False while uses cannot be recorded.
    var isAccepting: Bool { state.withLock { $0.isAccepting } }

    /// Nothing waits to be written.
    var isEmpty: Bool { state.withLock { $0.entries.isEmpty && $0.calls.count == 0 && $0.reads.distinct == 0 && $0.tallies.distinct == 0 } }

    func append(_ activity: Activity) {
        state.withLock { state in
            if state.isFull, state.mayMerge { state.merge() }
            if state.isFull { state.leftOut += 1 } else { state.entries.append(activity) }
        }
    }

    /// One call. What was refused fills no queue.
    func append(_ call: APICall, at now: Timestamp) {
        let areMany = state.withLock { state in
            if !call.wasSent, state.calls.count >= Self.mostRefused || !state.isAccepting {
                state.count(Tally(refused: call, minute: now.milliseconds / 60_000))
                return false
            }
            guard !state.isFull else {
                state.leftOut += 1
                return false
            }
            return state.calls.add(call, at: now) && state.calls.count == Self.manyCalls
        }
        if areMany { many.continuation.yield() }
    }

    func countRead(_ read: Read, grant: UID, at now: Timestamp) -> Bool {
        state.withLock { state in
            guard state.isAccepting else { return false }
            state.reads.add(read)
            state.lastUsed[grant] = now
            return true
        }
    }

    func count(_ tally: Tally) { state.withLock { $0.count(tally) } }

    struct Batch {
        var entries: [Activity]
        var calls: [CallQueue.Entry] = []
        var merged: Int
        var leftOut: Int
        var reads: [Read: Int]
        var tallies: [Tally: Int]
        var lastUsed: [UID: Timestamp]

        var isEmpty: Bool {
            entries.isEmpty && calls.isEmpty && reads.isEmpty && tallies.isEmpty && lastUsed.isEmpty && merged == 0 && leftOut == 0
        }
    }

    /// What is to be written now: all entries, the first counts of each minute at once, the rest when it is over.
    func take(minute: Int64, everything: Bool) -> Batch {
        var batch = state.withLock { state in
            let batch = Batch(
                entries: state.entries, calls: state.calls.take(), merged: state.merged, leftOut: state.leftOut,
                reads: state.reads.take(minute: minute, everything: everything || state.reads.distinct >= Self.capacity / 2),
                tallies: state.tallies.take(minute: minute, everything: everything), lastUsed: [:])
            (state.entries, state.inDoubt, state.mayMerge, state.merged, state.leftOut) = ([], 0, false, 0, 0)
            return batch
        }
        // Not under the lock: meanwhile calls go on.
        let called = batch.calls.lastUsed
        batch.lastUsed = state.withLock { state in
            state.lastUsed.add(called)
            return state.lastUsed.take(minute: minute, everything: everything)
        }
        return batch
    }

    /// After a failed write: first in the queue again.
    func putBack(_ remainder: ActivityWriter.Remainder, lastUsed: [UID: Timestamp]) {
        state.withLock { state in
            state.entries = remainder.entries + state.entries
            state.inDoubt = remainder.inDoubt
            state.mayMerge = true
            state.lastUsed.putBack(lastUsed)
            state.failing = true
        }
    }

    func written() { state.withLock { $0.failing = false } }
}

extension ActivityLog.Tally {
    /// Of refused calls that are too many to be kept one by one.
    init(refused call: APICall, minute: Int64) {
        self.init(
            action: Activity.apiRefused, connectionUID: call.target.connectionUID, connection: call.target.connection, key: call.key, result: call.result,
            minute: minute)
    }
}

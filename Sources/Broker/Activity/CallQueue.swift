import OAuth
import Vault

/// Calls on their way to the store: one by one, and beyond some hundreds in one interval those that are alike become one. An agent's
/// calls and refused ones never do.
struct CallQueue {
    /// How many of an interval are kept one by one, whatever they are.
    static let singles = 250

    struct Entry {
        let call: APICall
        /// Of the first and of the last of those that it counts.
        let at: Timestamp
        var lastAt: Timestamp
        var count = 1

        /// - Returns: whether the call is counted with this one.
        fileprivate mutating func counts(_ other: APICall, at now: Timestamp) -> Bool {
            guard call.isAlike(other) else { return false }
            count += 1
            lastAt = now
            return true
        }
    }

    private var entries: [Entry] = []
    /// Where those are that others may be counted with, by their likeness: none of the first ones.
    private var places: [Int: Int] = [:]
    /// Where the last one was found, or kept.
    private var last = Int.max

    var count: Int { entries.count }

    /// - Returns: false when it was counted with another one.
    mutating func add(_ call: APICall, at now: Timestamp) -> Bool {
        if entries.count >= Self.singles, call.wasSent, call.policyRevision == nil {
            // Calls come in rows.
            if last < entries.count, entries[last].counts(call, at: now) { return false }
            let likeness = call.likeness
            if let place = places[likeness] {
                last = place
                if entries[place].counts(call, at: now) { return false }
            } else {
                places[likeness] = entries.count
                last = entries.count
            }
        }
        entries.append(Entry(call: call, at: now, lastAt: now))
        return true
    }

    mutating func take() -> [Entry] {
        let taken = entries
        self = CallQueue()
        return taken
    }
}

extension APICall {
    /// The same of all that are alike. What it leaves out differs seldom where the rest is the same; then each is an entry.
    fileprivate var likeness: Int {
        var hasher = Hasher()
        hasher.combine(path)
        hasher.combine(target.grant)
        hasher.combine(key)
        hasher.combine(method)
        hasher.combine(status)
        return hasher.finalize()
    }

    /// In all that an entry tells but the request.
    fileprivate func isAlike(_ other: APICall) -> Bool {
        status == other.status && target == other.target && sameBytes(path, other.path) && key == other.key && subject == other.subject
            && method == other.method && result == other.result && policyRevision == other.policyRevision && arguments == other.arguments
    }
}

extension Sequence<CallQueue.Entry> {
    /// When each grant's token was used last.
    var lastUsed: [UID: Timestamp] {
        var times: [UID: Timestamp] = [:]
        for entry in self { if let grant = entry.call.target.grant { times[grant] = Swift.max(times[grant] ?? entry.lastAt, entry.lastAt) } }
        return times
    }
}

extension Activity {
    /// Two actions, as the grants of a key are those whose tokens it used: what was refused used none.
    init(_ entry: CallQueue.Entry) {
        let (call, target) = (entry.call, entry.call.target)
        self.init(
            uid: .make(at: entry.at), at: entry.at, action: call.wasSent ? Self.apiCalled : Self.apiRefused, connectionUID: target.connectionUID,
            connection: target.connection, subject: call.subject == "" ? nil : APICall.shown(call.subject, limit: APICall.subjectLimit), key: call.key,
            result: call.result, count: entry.count,
            detail: call.detail, requestID: entry.count == 1 ? call.requestID : nil)
    }
}

extension APICall {
    private static let pathLimit = 300
    fileprivate static let subjectLimit = 255

    var wasSent: Bool { target.grant != nil }

    /// Longer than it is told: many of them would fill the memory.
    var isLong: Bool { path.utf8.count > Self.pathLimit || subject.utf8.count > Self.subjectLimit }

    var cut: APICall {
        var call = self
        call.path = Self.shown(path, limit: Self.pathLimit)
        call.subject = Self.shown(subject, limit: Self.subjectLimit)
        return call
    }

    /// `GET api.example.com/repos/x → 200`, and for an agent what it called with and by which policy. One line, whatever the
    /// path is. SEC-113.
    fileprivate var detail: String {
        var text = Self.shown(method, limit: 32) + " " + Self.shown(target.host, limit: 255) + Self.shown(path, limit: Self.pathLimit)
        if let status { text += " → \(status)" }
        if let arguments { text += "; arguments \(arguments)" }
        if let policyRevision { text += "; policy \(policyRevision)" }
        return text
    }

    fileprivate static func shown(_ text: String, limit: Int) -> String {
        let isPlain = text.utf8.count <= limit && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
        return isPlain ? text : ProviderText.clean(text, limit: limit)
    }
}

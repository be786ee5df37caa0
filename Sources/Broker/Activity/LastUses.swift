import Vault

/// When grants were last used, on the way to the store: the first use of a minute is due at once, what follows when the
/// minute is over.
struct LastUses {
    private var times: [UID: Timestamp] = [:]
    private var begun: Set<UID> = []
    private var minute: Int64?

    subscript(grant: UID) -> Timestamp? {
        get { times[grant] }
        set { times[grant] = newValue }
    }

    mutating func add(_ others: [UID: Timestamp]) { times.merge(others) { max($0, $1) } }

    mutating func take(minute now: Int64, everything: Bool) -> [UID: Timestamp] {
        if minute != now { (minute, begun) = (now, []) }
        let due = everything || begun.isEmpty ? times : times.filter { !begun.contains($0.key) }
        for grant in due.keys { times[grant] = nil }
        begun.formUnion(due.keys)
        return due
    }

    /// After a failed write.
    mutating func putBack(_ others: [UID: Timestamp]) {
        add(others)
        begun.subtract(others.keys)
    }
}

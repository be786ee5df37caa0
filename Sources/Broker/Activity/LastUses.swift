import Vault

/// When grants, or keys, were last used, on the way to the store: the first use of a minute is due at once, what follows when the
/// minute is over.
struct LastUses<Key: Hashable & Sendable>: Sendable {
    private var times: [Key: Timestamp] = [:]
    private var begun: Set<Key> = []
    private var minute: Int64?

    subscript(key: Key) -> Timestamp? {
        get { times[key] }
        set { times[key] = newValue }
    }

    mutating func add(_ others: [Key: Timestamp]) { times.merge(others) { max($0, $1) } }

    mutating func take(minute now: Int64, everything: Bool) -> [Key: Timestamp] {
        if minute != now { (minute, begun) = (now, []) }
        let due = everything || begun.isEmpty ? times : times.filter { !begun.contains($0.key) }
        for key in due.keys { times[key] = nil }
        begun.formUnion(due.keys)
        return due
    }

    /// After a failed write.
    mutating func putBack(_ others: [Key: Timestamp]) {
        add(others)
        begun.subtract(others.keys)
    }
}

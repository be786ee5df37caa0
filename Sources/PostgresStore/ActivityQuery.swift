import Vault

/// The statement for a filter. It reads one index backwards, the one that promises the fewest rows, and stops at the limit.
///
/// The planner does not know a limit that is a parameter, and would rather read all entries in the order of their uids. Asked
/// for the order of a column that is the same in all rows, it takes the index of that column; of an equality it would know that
/// they are the same.
struct ActivityQuery: Sendable {
    private(set) var sql = ""
    private(set) var parameters: [any Bindable & Sendable] = []
    private var conditions: [String] = []

    /// From the one that promises the fewest rows to the one that promises the most.
    private enum Indexed: String, CaseIterable { case result, subject, action, key, connection }

    init(_ filter: ActivityFilter, before: UID?, limit: Int) {
        let actions = filter.action.map { [$0] } ?? filter.actions
        let areRare = actions.map { !$0.contains(where: Self.frequent.contains) } ?? false
        let isFailure = filter.result.map { $0 != "ok" } ?? false
        // A partial index is taken only for a query that says what it holds.
        if isFailure { conditions.append(Schema.isFailure) }
        if areRare { conditions.append("activity.\(Schema.isRareAction)") }
        if filter.isShared { conditions.append("subject IS NULL") }
        if let uid = filter.connectionUID { conditions.append("connection_uid = \(mark(for: uid))") }
        let values: [Indexed: String] = [.result: filter.result, .subject: filter.subject, .key: filter.key, .connection: filter.connection]
            .compactMapValues { $0 }
        let leading = Indexed.allCases.first { column in
            switch column {
            case .action: areRare
            case .result: isFailure
            default: values[column] != nil
            }
        }
        for (column, value) in values.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            require(column, mark(for: value), isLeading: column == leading, before: before)
        }
        if let actions {
            let named = mark(for: ArrayOf(Set(actions).sorted()))
            if leading == .action {
                // Each action for itself: together they are in no index's order.
                require(.action, "named.action", isLeading: true, before: before)
                let last = mark(for: limit)
                sql = """
                    SELECT found.* FROM unnest(\(named)::text[]) AS named (action)
                        CROSS JOIN LATERAL (SELECT * FROM activity \(condition) ORDER BY activity.action DESC, uid DESC LIMIT \(last)) AS found
                    ORDER BY found.uid DESC LIMIT \(last)
                    """
                return
            }
            conditions.append("action = ANY (\(named))")
        }
        if leading == nil, let before { conditions.append("uid < \(mark(for: before))") }
        let order = leading.map { "\($0.rawValue) DESC, uid DESC" } ?? "uid DESC"
        sql = "SELECT * FROM activity \(condition) ORDER BY \(order) LIMIT \(mark(for: limit))"
    }

    private static let frequent = [Activity.tokenRead, Activity.apiCalled, Activity.apiRefused]

    private var condition: String { conditions.isEmpty ? "" : "WHERE " + conditions.joined(separator: " AND ") }

    private mutating func require(_ column: Indexed, _ value: String, isLeading: Bool, before: UID?) {
        let name = "activity.\(column.rawValue)"
        guard isLeading else { return conditions.append("\(name) = \(value)") }
        conditions.append("\(name) >= \(value)")
        conditions.append(before.map { "(\(name), uid) < (\(value), \(mark(for: $0)))" } ?? "\(name) <= \(value)")
    }

    private mutating func mark(for value: some Bindable & Sendable) -> String {
        parameters.append(value)
        return "$\(parameters.count)"
    }
}

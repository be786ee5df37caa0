import Vault

/// The statement that finds the grants of a filter. Whatever the values are, equal kinds of filters have equal texts: each
/// text is prepared once and stays so.
struct GrantQuery {
    private(set) var sql = ""
    private(set) var values: [any Bindable] = []

    init(_ filter: GrantFilter, after: UID?, limit: Int) {
        var conditions: [String] = []
        if let connection = filter.connection { conditions.append("connection_uid = \(place(connection))") }
        if let connections = filter.connections { conditions.append("connection_uid = ANY(\(place(ArrayOf(connections))))") }
        if let subject = filter.subject { conditions.append("subject = \(place(subject))") }
        if let subjects = filter.subjects { conditions.append("subject = ANY(\(place(ArrayOf(subjects))))") }
        switch filter.state {
        case "active": conditions.append("state = 'active' AND (expires_at IS NULL OR expires_at > \(place(filter.now)))")
        case "expired": conditions.append("state = 'active' AND expires_at <= \(place(filter.now))")
        case let state?: conditions.append("state = \(place(state))")
        case nil: break
        }
        if let diesBefore = filter.diesBefore { conditions.append("dies_at < \(place(diesBefore))") }
        let order = filter.worstFirst ? Self.worstFirst(now: place(filter.now)) : "uid"
        if let after {
            let last = place(after)
            conditions.append(filter.worstFirst ? #"(\#(order)) > (SELECT \#(order) FROM "grant" WHERE uid = \#(last))"# : "uid > \(last)")
        }
        let condition = conditions.isEmpty ? "" : "WHERE " + conditions.joined(separator: " AND ")
        sql = #"SELECT * FROM "grant" \#(condition) ORDER BY \#(order) LIMIT \#(place(limit))"#
    }

    private mutating func place(_ value: any Bindable) -> String {
        values.append(value)
        return "$\(values.count)"
    }

    /// What does not work, what works by the time of its death, what is revoked. An access token that nobody renews is the grant's end.
    private static func worstFirst(now: String) -> String {
        """
        CASE state WHEN 'reauthorization_required' THEN 0 WHEN 'revoked' THEN 3
            ELSE CASE WHEN next_refresh_at IS NULL AND expires_at <= \(now) THEN 1 ELSE 2 END END, \
        coalesce(dies_at, CASE WHEN next_refresh_at IS NULL THEN expires_at END, 9223372036854775807), uid
        """
    }
}

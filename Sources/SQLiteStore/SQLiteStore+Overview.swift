import GRDB
package import Vault

extension SQLiteStore {
    package func summaries(connections: [UID], subjects: [String]?, now: Timestamp) async throws -> [UID: ConnectionSummary] {
        let list = try storedJSON(connections)
        let named = try subjects.map { try storedJSON($0) }
        return try await read { database in
            var summaries: [UID: ConnectionSummary] = [:]
            let counts = try Row.fetchAll(
                database,
                sql: #"""
                    SELECT connection_uid, count(*) AS n, CASE WHEN state <> 'active' THEN state
                        WHEN expires_at IS NULL OR expires_at > ?1 THEN 'active' WHEN next_refresh_at IS NULL THEN 'ended' ELSE 'expired' END AS shown
                    FROM "grant" WHERE connection_uid IN (SELECT value FROM json_each(?2))
                        AND (?3 IS NULL OR subject IN (SELECT value FROM json_each(?3)))
                    GROUP BY connection_uid, shown
                    """#, arguments: [now.milliseconds, list, named])
            for row in counts {
                let place = try GrantCounts.place(of: row.text("shown"))
                summaries[try row.uid("connection_uid"), default: ConnectionSummary()].grants[keyPath: place] = try row.integer("n")
            }
            // The record is that of the row with the greatest time.
            let troubles = try Row.fetchAll(
                database,
                sql: """
                    SELECT connection_uid, record, max(at) FROM trouble WHERE connection_uid IN (SELECT value FROM json_each(?)) GROUP BY connection_uid
                    """,
                arguments: [list])
            for row in troubles { summaries[try row.uid("connection_uid"), default: ConnectionSummary()].trouble = try row.json("record") }
            return summaries
        }
    }
}

extension GrantCounts {
    fileprivate static func place(of shown: String) throws -> WritableKeyPath<GrantCounts, Int> {
        switch shown {
        case "active": \.active
        case "expired": \.expired
        case "ended": \.ended
        case Grant.State.reauthorizationRequired.rawValue: \.reauthorizationRequired
        case Grant.State.revoked.rawValue: \.revoked
        default: throw StoreError.damaged("a grant's state makes no sense")
        }
    }
}

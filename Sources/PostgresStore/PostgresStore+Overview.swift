package import Vault

extension PostgresStore {
    package func summaries(connections: [UID], subjects: [String]?, now: Timestamp) async throws -> [UID: ConnectionSummary] {
        try await read { session in
            var summaries: [UID: ConnectionSummary] = [:]
            let counts = try session.rows(
                #"""
                SELECT connection_uid, count(*) AS n, CASE WHEN state <> 'active' THEN state
                    WHEN expires_at IS NULL OR expires_at > $1 THEN 'active' WHEN next_refresh_at IS NULL THEN 'ended' ELSE 'expired' END AS shown
                FROM "grant" WHERE connection_uid = ANY($2)\#(subjects == nil ? "" : " AND subject = ANY($3)") GROUP BY connection_uid, shown
                """#, [now, ArrayOf(connections)] + (subjects.map { [ArrayOf($0)] } ?? []))
            for row in counts {
                let place = try GrantCounts.place(of: row.text("shown"))
                summaries[try row.uid("connection_uid"), default: ConnectionSummary()].grants[keyPath: place] = try row.integer("n")
            }
            let troubles = try session.rows(
                """
                SELECT DISTINCT ON (connection_uid) connection_uid, record FROM trouble WHERE connection_uid = ANY($1)
                ORDER BY connection_uid, at DESC, stage
                """, [ArrayOf(connections)])
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

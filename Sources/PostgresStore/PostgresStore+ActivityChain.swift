package import Vault

extension PostgresStore {
    package func activityNodes() async throws -> [String] {
        // Steps from node to node along the index, whatever the number of entries.
        try await read { session in
            try session.rows(
                """
                WITH RECURSIVE chained (node) AS (
                    SELECT min(node) FROM activity WHERE sequence IS NOT NULL
                    UNION ALL
                    SELECT (SELECT min(node) FROM activity WHERE sequence IS NOT NULL AND node > chained.node) FROM chained WHERE node IS NOT NULL)
                SELECT node FROM chained WHERE node IS NOT NULL UNION SELECT node FROM activity_anchor ORDER BY node
                """
            ).map { try $0.text("node") }
        }
    }

    package func activityHead(node: String) async throws -> ActivityLink? {
        try await read { session in
            try session.row("SELECT node, sequence, mac FROM activity WHERE node = $1 AND sequence > 0 ORDER BY sequence DESC LIMIT 1", [node])
                .map(ActivityLink.init)
        }
    }

    package func activityPage(node: String, afterSequence: Int, limit: Int) async throws -> [Activity] {
        try await read { session in
            try session.rows(
                "SELECT * FROM activity WHERE node = $1 AND sequence > $2 ORDER BY sequence LIMIT $3", [node, afterSequence, limit]
            ).map(Activity.linked)
        }
    }

    package func unlinkedActivity() async throws -> Int {
        try await read { session in
            guard let row = try session.row("SELECT count(*) AS n FROM activity WHERE sequence IS NULL") else { return 0 }
            return try row.integer("n")
        }
    }

    package func insert(_ anchor: ActivityAnchor) async throws {
        try await write { session in
            let columns = anchor.columns
            try session.execute("INSERT INTO activity_anchor \(columns.insertion) ON CONFLICT DO NOTHING", columns.values)
        }
    }

    package func activityAnchors(node: String) async throws -> [ActivityAnchor] {
        try await read { try $0.rows("SELECT * FROM activity_anchor WHERE node = $1 ORDER BY sequence", [node]).map(ActivityAnchor.init) }
    }

    package func cutActivity(
        node: String, before: Timestamp, limit: Int, anchor: @escaping @Sendable (ActivityLink) -> ActivityAnchor
    ) async throws -> ActivityAnchor? {
        // A uid begins with the time it was made at.
        let oldest = String(UID.make(at: before).text.prefix(13))
        try await deleteInBatches(from: "activity", by: "uid", where: "uid < $1 AND sequence IS NULL", oldest)
        return try await write { session in
            // Two who cut one chain at once would leave an anchor behind the place to which the other has cut.
            try session.execute("SELECT pg_advisory_xact_lock(hashtextextended('activity ' || $1, 0))", [node])
            let rows = try session.rows(
                "SELECT at, node, sequence, mac FROM activity WHERE node = $1 AND sequence > 0 ORDER BY sequence LIMIT $2", [node, limit])
            guard let row = try rows.prefix(while: { try $0.time("at") < before }).last else { return nil }
            let last = try ActivityLink(row)
            let cut = anchor(last)
            try session.execute("DELETE FROM activity WHERE node = $1 AND sequence > 0 AND sequence <= $2", [node, last.sequence])
            try session.execute("DELETE FROM activity_anchor WHERE node = $1 AND sequence <= $2", [node, last.sequence])
            let columns = cut.columns
            try session.execute("INSERT INTO activity_anchor \(columns.insertion)", columns.values)
            return cut
        }
    }
}

extension ActivityAnchor {
    fileprivate var columns: Columns {
        ["node": link.node, "sequence": link.sequence, "mac": Blob(link.mac), "at": at, "signature": Blob(signature)]
    }
}

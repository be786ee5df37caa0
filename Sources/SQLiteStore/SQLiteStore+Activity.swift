import Foundation
import GRDB
package import Vault

extension SQLiteStore {
    package func append(_ activity: [Activity]) async throws {
        try await write { database in
            let statement = try database.cachedStatement(sql: "INSERT INTO activity VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
            for (index, entry) in activity.enumerated() {
                // About a millisecond on a busy core: requests that have it too wait no longer. Where a core is free this gives nothing away.
                if index % 25 == 24 { sched_yield() }
                try statement.execute(arguments: [
                    entry.uid.text, entry.at.milliseconds, entry.action, entry.connectionUID?.text, entry.connection, entry.subject, entry.key,
                    entry.result, entry.count, entry.detail, entry.requestID, entry.link?.node, entry.link?.sequence, entry.link.map { Data($0.mac) },
                ])
            }
        }
    }

    package func writtenActivity(_ uids: [UID]) async throws -> Set<UID> {
        let list = try storedJSON(uids)
        return try await read { database in
            Set(
                try String.fetchAll(database, sql: "SELECT uid FROM activity WHERE uid IN (SELECT value FROM json_each(?))", arguments: [list])
                    .map(UID.init(text:)))
        }
    }

    package func activity(filter: ActivityFilter, before: UID?, limit: Int) async throws -> [Activity] {
        try await read { database in
            var conditions: [String] = []
            var arguments = StatementArguments()
            func require(_ condition: String, _ value: String?) {
                guard let value else { return }
                conditions.append(condition)
                arguments += [value]
            }
            require("connection = ?", filter.connection)
            require("connection_uid = ?", filter.connectionUID?.text)
            require("subject = ?", filter.subject)
            if filter.isShared { conditions.append("subject IS NULL") }
            require("action = ?", filter.action)
            if let actions = filter.actions {
                conditions.append("action IN (\(actions.map { _ in "?" }.joined(separator: ", ")))")
                arguments += StatementArguments(actions)
            }
            let named = filter.action.map { [$0] } ?? filter.actions ?? []
            if !named.isEmpty, !named.contains(where: { [Activity.tokenRead, Activity.apiCalled, Activity.apiRefused].contains($0) }) {
                conditions.append(Schema.isRareAction)
            }
            require("key = ?", filter.key)
            require("result = ?", filter.result)
            if let result = filter.result, result != "ok" { conditions.append(Schema.isFailure) }
            require("uid < ?", before?.text)
            let condition = conditions.isEmpty ? "" : "WHERE " + conditions.joined(separator: " AND ")
            arguments += [limit]
            return try Row.fetchAll(database, sql: "SELECT * FROM activity \(condition) ORDER BY uid DESC LIMIT ?", arguments: arguments).map(Activity.init)
        }
    }

    // MARK: The chain

    package func activityNodes() async throws -> [String] {
        // Steps from node to node along the index, whatever the number of entries.
        try await read {
            try String.fetchAll(
                $0,
                sql: """
                    WITH RECURSIVE chained(node) AS (
                        SELECT min(node) FROM activity WHERE sequence IS NOT NULL
                        UNION ALL
                        SELECT (SELECT min(node) FROM activity WHERE sequence IS NOT NULL AND node > chained.node) FROM chained WHERE node IS NOT NULL)
                    SELECT node FROM chained WHERE node IS NOT NULL UNION SELECT node FROM activity_anchor ORDER BY node
                    """)
        }
    }

    package func activityHead(node: String) async throws -> ActivityLink? {
        try await read {
            try Row.fetchOne(
                $0, sql: "SELECT node, sequence, mac FROM activity WHERE node = ? AND sequence > 0 ORDER BY sequence DESC LIMIT 1", arguments: [node]
            ).map(ActivityLink.init)
        }
    }

    package func activityPage(node: String, afterSequence: Int, limit: Int) async throws -> [Activity] {
        try await read {
            try Row.fetchAll(
                $0, sql: "SELECT * FROM activity WHERE node = ? AND sequence > ? ORDER BY sequence LIMIT ?", arguments: [node, afterSequence, limit]
            ).map(Activity.linked)
        }
    }

    package func unlinkedActivity() async throws -> Int {
        try await read { try Int.fetchOne($0, sql: "SELECT count(*) FROM activity WHERE sequence IS NULL") ?? 0 }
    }

    package func insert(_ anchor: ActivityAnchor) async throws {
        try await write { try $0.execute(sql: "INSERT OR IGNORE INTO activity_anchor VALUES (?, ?, ?, ?, ?)", arguments: anchor.columns) }
    }

    package func activityAnchors(node: String) async throws -> [ActivityAnchor] {
        try await read {
            try Row.fetchAll($0, sql: "SELECT * FROM activity_anchor WHERE node = ? ORDER BY sequence", arguments: [node]).map(ActivityAnchor.init)
        }
    }

    package func cutActivity(
        node: String, before: Timestamp, limit: Int, anchor: @escaping @Sendable (ActivityLink) -> ActivityAnchor
    ) async throws -> ActivityAnchor? {
        try await write { database in
            // A uid begins with the time it was made at.
            try database.execute(
                sql: "DELETE FROM activity WHERE uid < ? AND sequence IS NULL", arguments: [String(UID.make(at: before).text.prefix(13))])
            var last: ActivityLink?
            let rows = try Row.fetchCursor(
                database, sql: "SELECT at, node, sequence, mac FROM activity WHERE node = ? AND sequence > 0 ORDER BY sequence LIMIT ?",
                arguments: [node, limit])
            while let row = try rows.next(), try row.time("at") < before { last = try ActivityLink(row) }
            guard let last else { return nil }
            let cut = anchor(last)
            try database.execute(sql: "DELETE FROM activity WHERE node = ? AND sequence > 0 AND sequence <= ?", arguments: [node, last.sequence])
            try database.execute(sql: "DELETE FROM activity_anchor WHERE node = ? AND sequence <= ?", arguments: [node, last.sequence])
            try database.execute(sql: "INSERT INTO activity_anchor VALUES (?, ?, ?, ?, ?)", arguments: cut.columns)
            return cut
        }
    }
}

extension ActivityAnchor {
    var columns: StatementArguments { [link.node, link.sequence, Data(link.mac), at.milliseconds, Data(signature)] }
}

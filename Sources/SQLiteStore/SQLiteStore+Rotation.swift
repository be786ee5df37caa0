import Foundation
import GRDB
package import Vault

// One set of statements for all sealed columns: the list of them is `SealedColumn.all`.

extension SQLiteStore {
    package func sealedValues(in column: SealedColumn, scope: String?, after: [SealedValue.Key]?, limit: Int) async throws -> [SealedValue] {
        try await read { database in
            let order = scope == nil ? [column.key] : column.order
            var conditions = ["\(column.sql.column) IS NOT NULL"]
            var arguments = StatementArguments()
            if let row = column.row {
                conditions.append("\(column.sql.key) = ?")
                arguments += [row]
            }
            if let scope {
                conditions.append("\(column.sql.owner) = ?")
                arguments += [scope]
            }
            if let after {
                let columns = order.map(column.sql.name).joined(separator: ", ")
                conditions.append("(\(columns)) > (\(after.map { _ in "?" }.joined(separator: ", ")))")
                arguments += StatementArguments(after.map(\.databaseValue))
            }
            arguments += [limit]
            let positions = order.enumerated().map { "\(column.sql.name($1)) AS position_\($0)" }.joined(separator: ", ")
            let statement = try database.cachedStatement(
                sql: """
                    SELECT \(column.sql.key) AS row_key, \(positions), \(column.sql.owner) AS owner, \(column.sql.column) AS sealed,
                        \(column.generation.map(column.sql.name) ?? "NULL") AS generation, \(column.origin.map(column.sql.name) ?? "NULL") AS origin
                    FROM \(column.sql.table) WHERE \(conditions.joined(separator: " AND "))
                    ORDER BY \(order.map(column.sql.name).joined(separator: ", ")) LIMIT ?
                    """)
            return try Row.fetchAll(statement, arguments: arguments).map { row in
                SealedValue(
                    key: try row.sealedKey("row_key"), position: try order.indices.map { try row.sealedKey("position_\($0)") },
                    connectionUID: row.optionalText("owner").flatMap { $0.isEmpty ? nil : UID(text: $0) }, sealed: Sealed(bytes: try row.bytes("sealed")),
                    generation: row.optionalInteger("generation"), origin: row.optionalText("origin").map(UID.init(text:)))
            }
        }
    }

    package func holds(_ value: SealedValue, in column: SealedColumn) async throws -> Bool {
        try await read { database in
            try Bool.fetchOne(
                database, sql: "SELECT EXISTS (SELECT 1 FROM \(column.sql.table) WHERE \(column.sql.key) = ? AND \(column.sql.column) = ?)",
                arguments: [value.key.databaseValue, value.sealed.data]) == true
        }
    }

    package func replace(_ replacements: [SealedReplacement], in column: SealedColumn) async throws -> Int {
        try await write { database in
            let generation = column.generation.map { " AND \(column.sql.name($0)) IS ?" } ?? ""
            let statement = try database.cachedStatement(
                sql: #"UPDATE \#(column.sql.table) SET "\#(column.column)" = ? WHERE \#(column.sql.key) = ? AND \#(column.sql.column) = ?"# + generation)
            var count = 0
            for replacement in replacements {
                let value = replacement.value
                var arguments: StatementArguments = [replacement.sealed.data, value.key.databaseValue, value.sealed.data]
                if column.generation != nil { arguments += [value.generation] }
                try statement.execute(arguments: arguments)
                count += database.changesCount
            }
            return count
        }
    }

    package func sealedCounts() async throws -> [Int: Int] { try await read { try Self.sealedCounts($0) } }

    /// By the four bytes behind version and algorithm.
    private static func sealedCounts(_ database: Database) throws -> [Int: Int] {
        var counts: [Int: Int] = [:]
        for column in SealedColumn.all {
            let row = column.row == nil ? "" : "AND \(column.sql.key) = ?"
            let rows = try Row.fetchCursor(
                database,
                sql: """
                    SELECT substr(\(column.sql.column), 3, 4) AS data_key, count(*) AS n FROM \(column.sql.table)
                    WHERE \(column.sql.column) IS NOT NULL \(row) GROUP BY data_key
                    """, arguments: column.row.map { [$0] } ?? [])
            while let row = try rows.next() {
                let bytes = try row.bytes("data_key")
                // What is shorter is no ciphertext: `vault verify` names it.
                if bytes.count == 4 { counts[bytes.reduce(0) { $0 << 8 | Int($1) }, default: 0] += try row.integer("n") }
            }
        }
        return counts
    }

    package func replaceDataKey(scope: String, masterKeyID: String, wrapped: [UInt8], at: Timestamp) async throws -> Int? {
        try await write { database in
            try database.execute(sql: "UPDATE data_key SET retired_at = ? WHERE scope = ? AND retired_at IS NULL", arguments: [at.milliseconds, scope])
            guard database.changesCount == 1 else { return nil }
            try database.execute(
                sql: "INSERT INTO data_key (scope, master_key_id, wrapped) VALUES (?, ?, ?)", arguments: [scope, masterKeyID, Data(wrapped)])
            return Int(database.lastInsertedRowID)
        }
    }

    package func rewrap(_ changes: [(old: DataKeyRecord, masterKeyID: String, wrapped: [UInt8])]) async throws {
        try await write { database in
            let statement = try database.cachedStatement(sql: "UPDATE data_key SET master_key_id = ?, wrapped = ? WHERE id = ? AND wrapped = ?")
            for change in changes { try statement.execute(arguments: [change.masterKeyID, Data(change.wrapped), change.old.id, Data(change.old.wrapped)]) }
        }
    }

    /// There are no other nodes.
    package var retiredKeysStay: Duration { .zero }

    package func deleteUnusedDataKeys(_ ids: Set<Int>) async throws -> Set<Int> {
        // Counted where nobody else writes: what was begun before is there, what begins now waits.
        try await write { database in
            let used = try Self.sealedCounts(database)
            for id in ids where used[id] == nil {
                try database.execute(sql: "DELETE FROM data_key WHERE id = ? AND retired_at IS NOT NULL", arguments: [id])
            }
            return ids.subtracting(try Int.fetchAll(database, sql: "SELECT id FROM data_key"))
        }
    }

    package func forgetOverwritten() async throws { try await checkpoint() }

    package func databaseFaults() async throws -> [String] {
        try await read { database in
            var faults = try String.fetchAll(database, sql: "PRAGMA quick_check(100)").filter { $0 != "ok" }
            let rows = try Row.fetchCursor(database, sql: "PRAGMA foreign_key_check")
            while faults.count < 100, let row = try rows.next() {
                faults.append(
                    "a row of \(row.optionalText("table") ?? "a table") belongs to a row of \(row.optionalText("parent") ?? "another") that is not there")
            }
            return faults
        }
    }

    // MARK: After a restore

    package func noteInDoubt(_ grants: [(uid: UID, generation: Int)], at: Timestamp) async throws {
        try await write { database in
            let statement = try database.cachedStatement(
                sql: """
                    INSERT INTO refresh_intent VALUES (?, ?, ?, 1)
                    ON CONFLICT (grant_uid) DO UPDATE SET sent_at = excluded.sent_at, generation = excluded.generation, attempts = 1
                        WHERE generation <> excluded.generation
                    """)
            for grant in grants { try statement.execute(arguments: [grant.uid.text, grant.generation, at.milliseconds]) }
        }
    }

    package func grantsInDoubt(since: Timestamp, after: UID?, limit: Int) async throws -> [Grant] {
        try await read { database in
            try Row.fetchAll(
                database,
                sql: #"""
                    SELECT "grant".* FROM refresh_intent CROSS JOIN "grant" ON uid = grant_uid AND token_generation = generation
                    WHERE grant_uid > ? AND state = 'active' AND refresh_token IS NOT NULL AND rotates IS NOT 0 AND coalesce(refreshed_at, 0) < ?
                    ORDER BY grant_uid LIMIT ?
                    """#, arguments: [after?.text ?? "", since.milliseconds, limit]
            ).map(Grant.init)
        }
    }
}

extension SealedColumn {
    /// Its names as SQL.
    fileprivate struct Names {
        let of: SealedColumn

        func name(_ column: String) -> String { #""\#(of.table)"."\#(column)""# }
        var table: String { #""\#(of.table)""# }
        var column: String { name(of.column) }
        var key: String { name(of.key) }
        /// The uid of the connection whose data key seals; `''` = the common one.
        var owner: String {
            switch of.owner {
            case .connection(let column): name(column)
            case .session(let column): "(SELECT connection_uid FROM connect_session WHERE id = \(name(column)))"
            case .nobody: "''"
            }
        }
    }
    fileprivate var sql: Names { Names(of: self) }
}

extension SealedValue.Key {
    fileprivate var databaseValue: DatabaseValue {
        switch self {
        case .text(let text): text.databaseValue
        case .bytes(let bytes): Data(bytes).databaseValue
        }
    }
}

extension Row {
    fileprivate func sealedKey(_ column: String) throws -> SealedValue.Key {
        switch (self[column] as DatabaseValue).storage {
        case .blob(let data): .bytes(Array(data))
        default: .text(try text(column))
        }
    }
}

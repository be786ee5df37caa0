import Foundation
import GRDB
package import Vault

extension SQLiteStore: CopyableStore {
    /// Nobody else has the file open, whichever data directory a server would have locked for it.
    /// - Throws: ``CopyError``
    package static func requireUnused(_ path: String) throws {
        do {
            var configuration = Configuration()
            configuration.busyMode = .immediateError
            configuration.prepareDatabase { try $0.execute(sql: "PRAGMA locking_mode=EXCLUSIVE") }
            let queue = try DatabaseQueue(path: path, configuration: configuration)
            // Whoever has opened a database in WAL mode keeps others from having it for themselves.
            try queue.inDatabase { try $0.execute(sql: "BEGIN IMMEDIATE; COMMIT") }
            try queue.close()
        } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY {
            throw CopyError("another program has the database \(path) open", hint: "stop the server that runs on it first")
        } catch {
            throw StoreError(error)
        }
    }

    package func rows(of table: StoredTable, after: [StoredValue]?, limit: Int) async throws -> [[StoredValue]] {
        let columns = table.columns
        let key = table.names(of: table.key)
        let behind = after.map { "WHERE (\(key)) > (\($0.map { _ in "?" }.joined(separator: ", ")))" } ?? ""
        let sql = "SELECT \(table.names(of: columns)) FROM \(table.quoted) \(behind) ORDER BY \(key) LIMIT \(limit)"
        return try await read { database in
            try Row.fetchAll(database, sql: sql, arguments: StatementArguments((after ?? []).map(\.databaseValue))).map { row in
                try zip(row.databaseValues, columns).map { try StoredValue($0, in: $1) }
            }
        }
    }

    package func rowCount(of table: StoredTable) async throws -> Int {
        try await read { try Int.fetchOne($0, sql: "SELECT count(*) FROM \(table.quoted)") ?? 0 }
    }

    package func insert(_ rows: [[StoredValue]], into table: StoredTable, noting mark: CopyMark) async throws {
        let places = table.columns.map { _ in "?" }.joined(separator: ", ")
        let sql = "INSERT INTO \(table.quoted) (\(table.names(of: table.columns))) VALUES (\(places)) ON CONFLICT DO NOTHING"
        let note = Data(try mark.bytes)
        try await write { database in
            let statement = try database.makeStatement(sql: sql)
            for row in rows { try statement.execute(arguments: StatementArguments(row.map(\.databaseValue))) }
            try database.execute(sql: "INSERT OR REPLACE INTO meta VALUES (?, ?)", arguments: [CopyMark.name, note])
        }
    }

    package func lastNumber(of table: StoredTable) async throws -> Int64 {
        try await read { database in
            let given = try Int64.fetchOne(database, sql: "SELECT seq FROM sqlite_sequence WHERE name = ?", arguments: [table.name]) ?? 0
            return max(given, try Int64.fetchOne(database, sql: "SELECT max(\(table.names(of: table.key))) FROM \(table.quoted)") ?? 0)
        }
    }

    package func setLastNumber(of table: StoredTable, to number: Int64) async throws {
        try await write { database in
            try database.execute(sql: "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", arguments: [number, table.name])
            guard database.changesCount == 0, number > 0 else { return }
            try database.execute(sql: "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", arguments: [table.name, number])
        }
    }

    /// The lock of the data directory keeps servers away; this tells whether one had another way in. SQLite counts what others
    /// commit, for each connection.
    package func hold(for owner: String) async throws -> String {
        let pool = self.pool
        do {
            return try await pool.writeWithoutTransaction { String(try Int.fetchOne($0, sql: "PRAGMA data_version") ?? 0) }
        } catch {
            throw StoreError(error)
        }
    }

    /// The lock on the data directory holds it until the copy ends.
    package func setMark(_ mark: some VaultMark, held stamp: String) async throws -> Bool {
        try await setMark(mark)
        return true
    }

    package func letGo(_ owner: String) async throws {}
    package func isHeld() async throws -> Bool { false }
}

extension StoredValue {
    fileprivate init(_ value: DatabaseValue, in column: StoredTable.Column) throws {
        switch (value.storage, column.kind) {
        case (.null, _): self = .null
        case (.int64(let number), .integer): self = .integer(number)
        case (.int64(let number), .boolean) where number == 0 || number == 1: self = .integer(number)
        case (.string(let text), .text): self = .text(text)
        case (.blob(let data), .bytes): self = .bytes(Array(data))
        default: throw StoreError.damaged("a record's \(column.name) makes no sense")
        }
    }

    fileprivate var databaseValue: DatabaseValue {
        switch self {
        case .null: .null
        case .integer(let number): number.databaseValue
        case .text(let text): text.databaseValue
        case .bytes(let bytes): Data(bytes).databaseValue
        }
    }
}

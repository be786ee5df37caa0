package import Vault

// One set of statements for all sealed columns: the list of them is `SealedColumn.all`.

extension PostgresStore {
    /// For what goes through whole tables.
    static let patienceForTables: Duration = .seconds(600)

    package func sealedValues(in column: SealedColumn, scope: String?, after: [SealedValue.Key]?, limit: Int) async throws -> [SealedValue] {
        let order = scope == nil ? [column.key] : column.order
        let names = order.map(column.sql.name).joined(separator: ", ")
        var conditions = ["\(column.sql.column) IS NOT NULL"]
        var parameters: [any Bindable & Sendable] = []
        func place(_ value: any Bindable & Sendable) -> String {
            parameters.append(value)
            return "$\(parameters.count)"
        }
        if let row = column.row { conditions.append("\(column.sql.key) = \(place(row))") }
        if let scope { conditions.append("\(column.sql.owner) = \(place(scope))") }
        if let after { conditions.append("(\(names)) > (\(after.map { place($0.bindable) }.joined(separator: ", ")))") }
        let positions = order.enumerated().map { "\(column.sql.name($1)) AS position_\($0)" }.joined(separator: ", ")
        let sql = """
            SELECT \(column.sql.key) AS row_key, \(positions), \(column.sql.owner) AS owner, \(column.sql.column) AS sealed,
                \(column.generation.map(column.sql.name) ?? "NULL::int8") AS generation, \(column.origin.map(column.sql.name) ?? "NULL::text") AS origin
            FROM \(column.sql.table) WHERE \(conditions.joined(separator: " AND ")) ORDER BY \(names) LIMIT \(place(limit))
            """
        return try await read { [parameters] session in
            try session.rows(sql, parameters).map { row in
                SealedValue(
                    key: try row.sealedKey("row_key"), position: try order.indices.map { try row.sealedKey("position_\($0)") },
                    connectionUID: row.optionalText("owner").flatMap { $0.isEmpty ? nil : UID(text: $0) }, sealed: Sealed(bytes: try row.bytes("sealed")),
                    generation: row.optionalInteger("generation"), origin: row.optionalUID("origin"))
            }
        }
    }

    package func holds(_ value: SealedValue, in column: SealedColumn) async throws -> Bool {
        try await read { session in
            try session.row(
                "SELECT 1::int8 AS found FROM \(column.sql.table) WHERE \(column.sql.key) = $1 AND \(column.sql.column) = $2",
                [value.key.bindable, value.sealed]) != nil
        }
    }

    package func replace(_ replacements: [SealedReplacement], in column: SealedColumn) async throws -> Int {
        let generation = column.generation.map { " AND \(column.sql.name($0)) IS NOT DISTINCT FROM $4" } ?? ""
        let sql =
            #"UPDATE \#(column.sql.table) SET "\#(column.column)" = $1 WHERE \#(column.sql.key) = $2 AND \#(column.sql.column) = $3"# + generation
        // In the order of the keys, as everybody locks many rows.
        let sorted = replacements.sorted { $0.value.key.text < $1.value.key.text }
        return try await write { session in
            try sorted.reduce(0) { count, replacement in
                let value = replacement.value
                var parameters: [any Bindable] = [replacement.sealed, value.key.bindable, value.sealed]
                if column.generation != nil { parameters.append(value.generation) }
                return count + (try session.change(sql, parameters))
            }
        }
    }

    package func sealedCounts() async throws -> [Int: Int] { try await read(within: Self.patienceForTables) { try Self.sealedCounts($0) } }

    /// By the four bytes behind version and algorithm. One statement, one snapshot: what moves from one column to another
    /// meanwhile is counted in one of them.
    static func sealedCounts(_ session: Session) throws -> [Int: Int] {
        let all = SealedColumn.all.map { column in
            "SELECT substr(\(column.sql.column), 3, 4) AS data_key FROM \(column.sql.table) WHERE \(column.sql.column) IS NOT NULL"
                + (column.row.map { " AND \(column.sql.key) = '\($0)'" } ?? "")
        }
        let rows = try session.rows("SELECT data_key, count(*) AS n FROM (\(all.joined(separator: " UNION ALL "))) AS sealed GROUP BY data_key")
        return try rows.reduce(into: [:]) { counts, row in
            let bytes = try row.bytes("data_key")
            // What is shorter is no ciphertext: `vault verify` names it.
            if bytes.count == 4 { counts[bytes.reduce(0) { $0 << 8 | Int($1) }, default: 0] += try row.integer("n") }
        }
    }
}

extension SealedColumn {
    /// Its names as SQL.
    struct Names {
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
            case .nobody: "''::text"
            }
        }
    }
    var sql: Names { Names(of: self) }
}

extension SealedValue.Key {
    fileprivate var bindable: any Bindable & Sendable {
        switch self {
        case .text(let text): text
        case .bytes(let bytes): Blob(bytes)
        }
    }
}

extension Row {
    fileprivate func sealedKey(_ column: String) throws -> SealedValue.Key {
        if let bytes = optionalBytes(column) { .bytes(bytes) } else { .text(try text(column)) }
    }
}

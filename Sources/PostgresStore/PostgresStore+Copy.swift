package import Vault

extension PostgresStore: CopyableStore {
    package func rows(of table: StoredTable, after: [StoredValue]?, limit: Int) async throws -> [[StoredValue]] {
        let key = table.names(of: table.key)
        let behind = after.map { after in "WHERE (\(key)) > (\(after.indices.map { "$\($0 + 1)" }.joined(separator: ", ")))" } ?? ""
        let sql = "SELECT \(table.names(of: table.columns)) FROM \(table.quoted) \(behind) ORDER BY \(key) LIMIT \(limit)"
        return try await read { session in
            try session.rows(sql, zip(after ?? [], table.key).map { try $0.parameter(of: $1) }).map { row in
                try table.columns.map { try StoredValue(row, $0) }
            }
        }
    }

    package func rowCount(of table: StoredTable) async throws -> Int {
        try await read(within: .seconds(120)) { try $0.row("SELECT count(*) AS count FROM \(table.quoted)")?.integer("count") ?? 0 }
    }

    package func insert(_ rows: [[StoredValue]], into table: StoredTable, noting mark: CopyMark) async throws {
        let note = try mark.bytes
        try await write(within: .seconds(60), isKept: false) { session in
            if !rows.isEmpty {
                let width = table.columns.count
                let places = rows.indices.map { row in "(" + (1...width).map { "$\(row * width + $0)" }.joined(separator: ", ") + ")" }
                try session.execute(
                    """
                    INSERT INTO \(table.quoted) (\(table.names(of: table.columns))) VALUES \(places.joined(separator: ", ")) ON CONFLICT DO NOTHING
                    """, rows.flatMap { try zip($0, table.columns).map { try $0.parameter(of: $1) } })
            }
            try session.execute(
                "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value", [CopyMark.name, Blob(note)])
        }
    }

    package func lastNumber(of table: StoredTable) async throws -> Int64 {
        let key = table.names(of: table.key)
        return try await read { session in
            let row = try session.row(
                """
                SELECT greatest(
                    pg_sequence_last_value(pg_get_serial_sequence($1, $2)::regclass), (SELECT max(\(key)) FROM \(table.quoted)), 0) AS number
                """, [table.name, table.key[0].name])
            return Int64(try row?.integer("number") ?? 0)
        }
    }

    /// Also back: a table that was emptied may have given higher ones.
    package func setLastNumber(of table: StoredTable, to number: Int64) async throws {
        try await write { session in
            try session.execute(
                "SELECT setval(pg_get_serial_sequence($1, $2)::regclass, greatest($3, 1), $3 > 0)", [table.name, table.key[0].name, number])
        }
    }

    // MARK: Nobody else

    /// Longer than a copy goes without renewing it.
    private static let holdLease = "copy"
    private static let holdLifetime: Duration = .seconds(6)

    /// A server looks for the lease after it made itself known, a copy for servers after it took the lease: one of them sees
    /// the other.
    package func hold(for owner: String) async throws -> String {
        // One that lapsed is another one when it is taken again: a server may have run between.
        let stamp = try await write(isKept: false) { session in
            try session.row(
                """
                INSERT INTO lease (name, owner, ends_at) VALUES ($1, $2, clock_timestamp() + $3 * interval '1 second')
                ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, ends_at = excluded.ends_at,
                    taken_at = CASE WHEN lease.owner = excluded.owner AND lease.ends_at >= clock_timestamp() THEN lease.taken_at ELSE clock_timestamp() END
                    WHERE lease.owner = excluded.owner OR lease.ends_at < clock_timestamp()
                RETURNING taken_at::text AS stamp
                """, [Self.holdLease, owner, Self.holdLifetime.components.seconds])?.text("stamp")
        }
        guard let stamp else { throw CopyError("is held by another copy", hint: "wait until it has ended", isPassing: true) }
        let nodes = try await nodesAtWork()
        guard nodes.isEmpty else {
            try await endLease(Self.holdLease, owner: owner)
            throw CopyError(
                "is in use by \(nodes.map(\.name).joined(separator: ", "))",
                hint: "stop every server on it first; one that was killed counts for fifteen seconds more")
        }
        return stamp
    }

    package func setMark(_ mark: some VaultMark, held stamp: String) async throws -> Bool {
        let (name, bytes) = (type(of: mark).name, try mark.bytes)
        return try await write { session in
            guard
                try session.row(
                    "SELECT name FROM lease WHERE name = $1 AND taken_at::text = $2 AND ends_at > clock_timestamp() FOR UPDATE", [Self.holdLease, stamp]) != nil
            else { return false }
            try session.execute(
                "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value", [name, Blob(bytes)])
            return true
        }
    }

    package func letGo(_ owner: String) async throws { try await endLease(Self.holdLease, owner: owner) }

    package func isHeld() async throws -> Bool {
        try await read {
            try $0.row("SELECT name FROM lease WHERE name = $1 AND ends_at > clock_timestamp()", [Self.holdLease]) != nil
        }
    }
}

extension StoredValue {
    fileprivate init(_ row: Row, _ column: StoredTable.Column) throws {
        self =
            switch column.kind {
            case .text: row.optionalText(column.name).map(StoredValue.text) ?? .null
            case .integer: row.optionalInteger(column.name).map { .integer(Int64($0)) } ?? .null
            case .bytes: row.optionalBytes(column.name).map(StoredValue.bytes) ?? .null
            case .boolean: row.optionalBoolean(column.name).map { .integer($0 ? 1 : 0) } ?? .null
            }
    }

    /// With the column's type, also where it is NULL.
    fileprivate func parameter(of column: StoredTable.Column) throws(StoreError) -> any Bindable {
        switch (self, column.kind) {
        case (.null, .text): String?.none
        case (.null, .integer): Int64?.none
        case (.null, .bytes): Blob?.none
        case (.null, .boolean): Bool?.none
        case (.text(let text), .text): text
        case (.integer(let number), .integer): number
        case (.integer(let number), .boolean): number != 0
        case (.bytes(let bytes), .bytes): Blob(bytes)
        default: throw .damaged("a record's \(column.name) makes no sense")
        }
    }
}

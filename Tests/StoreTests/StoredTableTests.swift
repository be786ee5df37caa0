import Testing
import Vault

/// What a copy takes is what there is: a new column that the list does not have would stay behind.
@Suite struct StoredTableTests {
    /// What nodes tell each other, and what the databases note of their own tables.
    private static let others: Set = ["node", "lease", "token_endpoint", "change", "migration", "grdb_migrations"]

    @Test(arguments: Backend.allCases) func theListIsTheSchema(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let listed = StoredTable.all.flatMap { table in
            table.columns.map { column in
                let place = table.key.firstIndex(of: column).map { $0 + 1 } ?? 0
                return "\(table.name) \(column.name) \(backend.type(of: column.kind)) \(place) \(table.isNumbered && place == 1)"
            }
        }
        let found = try await opened.texts(backend.columns).filter { line in !Self.others.contains(String(line.prefix { $0 != " " })) }
        #expect(Set(listed).symmetricDifference(found).sorted() == [])
        #expect(listed.count == found.count && found.count > 150)
    }

    @Test(arguments: Backend.allCases) func whatIsReferredToStandsBeforeWhatRefersToIt(_ backend: Backend) async throws {
        let order = StoredTable.all.map(\.name)
        let references = try await backend.open().texts(backend.references)
        #expect(references.count >= 10)
        for reference in references {
            let tables = reference.split(separator: " ").map(String.init)
            let (referrer, referred) = (try #require(order.firstIndex(of: tables[0])), try #require(order.firstIndex(of: tables[1])))
            #expect(referred < referrer, "\(reference)")
        }
    }
}

extension Backend {
    /// A line for each column: table, name, type, place in the primary key (0 = in none), whether the store numbers it.
    fileprivate var columns: String {
        switch self {
        case .sqlite:
            """
            SELECT t.name || ' ' || c.name || ' ' || c.type || ' ' || c.pk || ' ' || iif(c.pk = 1 AND t.sql LIKE '%AUTOINCREMENT%', 'true', 'false')
            FROM sqlite_master AS t, pragma_table_info(t.name) AS c WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%'
            """
        #if PostgreSQL
            case .postgres:
                """
                SELECT t.relname || ' ' || c.attname || ' ' || format_type(c.atttypid, NULL) || ' '
                    || coalesce(array_position(string_to_array(i.indkey::text, ' '), c.attnum::text), 0) || ' ' || (c.attidentity = 'd')
                FROM pg_class AS t JOIN pg_attribute AS c ON c.attrelid = t.oid AND c.attnum > 0 AND NOT c.attisdropped
                    JOIN pg_index AS i ON i.indrelid = t.oid AND i.indisprimary
                WHERE t.relkind = 'r' AND t.relnamespace = 'public'::regnamespace
                """
        #endif
        }
    }

    /// A line for each reference: the table that has it, and the one that it refers to.
    fileprivate var references: String {
        switch self {
        case .sqlite: #"SELECT t.name || ' ' || f."table" FROM sqlite_master AS t, pragma_foreign_key_list(t.name) AS f WHERE t.type = 'table'"#
        #if PostgreSQL
            case .postgres:
                """
                SELECT t.relname || ' ' || r.relname
                FROM pg_constraint AS c JOIN pg_class AS t ON t.oid = c.conrelid JOIN pg_class AS r ON r.oid = c.confrelid
                WHERE c.contype = 'f'
                """
        #endif
        }
    }

    fileprivate func type(of kind: StoredTable.Kind) -> String {
        switch (self, kind) {
        case (.sqlite, .text): "TEXT"
        case (.sqlite, .integer), (.sqlite, .boolean): "INTEGER"
        case (.sqlite, .bytes): "BLOB"
        #if PostgreSQL
            case (.postgres, .text): "text"
            case (.postgres, .integer): "bigint"
            case (.postgres, .boolean): "boolean"
            case (.postgres, .bytes): "bytea"
        #endif
        }
    }
}

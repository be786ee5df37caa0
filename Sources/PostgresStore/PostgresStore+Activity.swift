package import Vault

extension PostgresStore {
    package func append(_ activity: [Activity]) async throws {
        try await write { session in
            var rest = activity[...]
            while !rest.isEmpty {
                try session.execute(Self.appending, Self.columns(of: rest.prefix(500)))
                rest = rest.dropFirst(500)
            }
        }
    }

    /// One statement for many: a round trip each would take longer than the server's work.
    private static let appending = """
        INSERT INTO activity (uid, at, action, connection_uid, connection, subject, key, result, count, detail, request_id, node, sequence, mac)
        SELECT * FROM unnest(
            $1::text[], $2::int8[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::int8[], $10::text[], $11::text[],
            $12::text[], $13::int8[], $14::bytea[])
        """

    private static func columns(of entries: ArraySlice<Activity>) -> [any Bindable] {
        [
            ArrayOf(entries.map(\.uid)), ArrayOf(entries.map(\.at)), ArrayOf(entries.map(\.action)), ArrayOf(entries.map(\.connectionUID)),
            ArrayOf(entries.map(\.connection)), ArrayOf(entries.map(\.subject)), ArrayOf(entries.map(\.key)), ArrayOf(entries.map(\.result)),
            ArrayOf(entries.map(\.count)), ArrayOf(entries.map(\.detail)), ArrayOf(entries.map(\.requestID)), ArrayOf(entries.map(\.link?.node)),
            ArrayOf(entries.map(\.link?.sequence)), ArrayOf(entries.map { entry in entry.link.map { Blob($0.mac) } }),
        ]
    }

    package func writtenActivity(_ uids: [UID]) async throws -> Set<UID> {
        try await read { session in
            try session.rows("SELECT uid FROM activity WHERE uid = ANY($1)", [ArrayOf(uids)]).reduce(into: []) { $0.insert(try $1.uid("uid")) }
        }
    }

    package func activity(filter: ActivityFilter, before: UID?, limit: Int) async throws -> [Activity] {
        let query = ActivityQuery(filter, before: before, limit: limit)
        return try await read { try $0.rows(query.sql, query.parameters).map(Activity.init) }
    }
}

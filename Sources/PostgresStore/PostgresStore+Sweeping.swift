package import Vault

extension PostgresStore {
    package func sweep(now: Timestamp) async throws {
        // Spent attempts stay for a day, so that a late reload is told what became of it.
        let yesterday = Timestamp(milliseconds: now.milliseconds - 86_400_000)
        let expired = [
            ("completion", "session_id", now), ("console_session", "id", now), ("sign_in_link", "code_hash", now),
            ("authorization_attempt", "state_hash", yesterday), ("connect_session", "id", yesterday),
        ]
        for (table, key, time) in expired { try await deleteInBatches(from: table, by: key, where: "expires_at <= $1", time) }
    }

    /// Many short transactions: a long one would hold back others, and what others hold is left to them. What is swept need not
    /// wait for the server's disk, it would be swept again.
    func deleteInBatches(from table: String, by key: String, where condition: String, _ value: some Bindable & Sendable) async throws {
        let size = 1000
        var count = size
        while count == size {
            count = try await write(isKept: false) { session in
                // An array is made once; a subquery in its place could be asked again for each row, past its limit.
                try session.change(
                    """
                    DELETE FROM \(table) WHERE \(key) = ANY (ARRAY(
                        SELECT \(key) FROM \(table) WHERE \(condition) LIMIT \(size) FOR UPDATE SKIP LOCKED))
                    """, [value])
            }
        }
    }
}

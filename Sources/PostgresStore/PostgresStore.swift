import Foundation
import Vault

/// The ``Store`` on PostgreSQL, which many nodes may share.
///
/// Transactions are READ COMMITTED: what has to be one decision is one statement, or begins by locking its row. Each is done
/// again when another one was in its way, or when the connection broke before it was to be committed; when it breaks at the
/// commit itself, its outcome is unknown and the call throws ``StoreError/unavailable(_:)``.
package final class PostgresStore: Sendable {
    let sessions: SessionPool
    /// For what must not wait behind other work: the nodes' view of what has changed.
    let watch: SessionPool
    private let isReadOnly: Bool

    /// Opens the database and brings its tables to this version's form.
    /// - Throws: ``StoreError``: away, refused, not fit, or written by a newer version.
    package convenience init(_ url: DatabaseURL) async throws { try await self.init(url, migrations: Schema.migrations) }

    /// Opens the database for reading alone, also while servers write to it. Every write throws.
    /// - Throws: ``StoreError``: away, refused, not fit, or of another version than this one.
    package static func openReadOnly(_ url: DatabaseURL) async throws -> PostgresStore {
        try await PostgresStore(url, migrations: Schema.migrations, isReadOnly: true)
    }

    init(_ url: DatabaseURL, migrations: [Migration], isReadOnly: Bool = false) async throws {
        self.isReadOnly = isReadOnly
        let named = NamedStatements()
        sessions = SessionPool(url, size: url.poolSize, patience: .seconds(5), namedStatements: named)
        watch = SessionPool(url, size: 1, patience: .seconds(2), namedStatements: named)
        do {
            try await requireFit()
            if isReadOnly { try await requireMigrated(migrations) } else { try await migrate(migrations) }
        } catch {
            sessions.close()
            watch.close()
            throw error
        }
    }

    deinit {
        sessions.close()
        watch.close()
    }

    package func close() async throws {
        sessions.close()
        watch.close()
    }

    // MARK: Reading and writing

    /// How long a statement, or a whole transaction, may take.
    private static let patience: Duration = .seconds(10)

    /// Statements that each see what was committed before they began.
    func read<R: Sendable>(
        within limit: Duration = patience, on pool: SessionPool? = nil, _ body: @escaping @Sendable (Session) throws -> R
    ) async throws -> R {
        try await repeating(on: pool ?? sessions) { session in
            session.deadline = .now + limit
            guard limit > Self.patience else { return try body(session) }
            try session.run("SET statement_timeout = \(limit.components.seconds * 1000 - 500)")
            let result = try body(session)
            try session.allowUsualTime()
            return result
        }
    }

    /// One transaction, on stable storage when this returns.
    /// - Parameter isKept: whether it has to be; what may be lost with the server need not wait for its disk.
    func write<R: Sendable>(
        within limit: Duration = patience, isKept: Bool = true, _ body: @escaping @Sendable (Session) throws -> R
    ) async throws -> R {
        guard !isReadOnly else { throw StoreError.unavailable("the database was opened for reading alone") }
        return try await repeating(on: sessions) { session in
            session.deadline = .now + limit
            // In the transaction: behind a pooler a session's settings are another client's too. The server gives up a little
            // sooner than this side does; a node that froze in a transaction loses it before those give up who wait for its locks.
            let milliseconds = max(limit.components.seconds * 1000 - 500, 500)
            try session.run(
                """
                BEGIN; SET LOCAL synchronous_commit = \(isKept ? "on" : "off"); SET LOCAL statement_timeout = \(milliseconds); \
                SET LOCAL lock_timeout = 8000; SET LOCAL idle_in_transaction_session_timeout = 4000
                """)
            let result: R
            do {
                result = try body(session)
            } catch {
                if !session.isBroken { try session.run("ROLLBACK") }
                throw error
            }
            do throws(DatabaseError) {
                guard try session.run("COMMIT").command == "COMMIT" else { throw DatabaseError(state: "25P02", words: "nothing was committed") }
            } catch {
                guard error.isLost || error.endsConnection else { throw error }
                self.sessions.count(error)
                throw OutcomeUnknown()
            }
            return result
        }
    }

    /// The connection broke while the transaction was committed.
    private struct OutcomeUnknown: Error {}

    private func repeating<R: Sendable>(on pool: SessionPool, _ body: @escaping @Sendable (Session) throws -> R) async throws -> R {
        var tries = 0
        while true {
            let begun = ContinuousClock.now
            do {
                return try await pool.run(body)
            } catch let error as DatabaseError {
                pool.count(error)
                tries += 1
                let isRepeated =
                    error.isConflictOfTransactions || error.isAboutPrepared || error.wasIdleInTransaction
                    // A connection that the server had closed while nobody used it is found out by its next use.
                    || (error.endsConnection && tries <= 2 && ContinuousClock.now - begun < .seconds(1))
                guard isRepeated, tries < 8 else { throw error.asStoreError }
                // Behind a pooler that keeps statements for its clients a new connection finds the old plan again.
                if error.isStalePlan, tries > 2 { pool.namedStatements.turnOff() }
                if error.isConflictOfTransactions { await Self.pause(milliseconds: Int.random(in: 1...(5 << tries))) }
            } catch is OutcomeUnknown {
                throw StoreError.unavailable("the connection to the database was lost at a commit")
            } catch let error as StoreError {
                throw error
            } catch {
                throw StoreError.unavailable("\(type(of: error))")
            }
        }
    }

    /// Whole, whoever was cancelled: what is done again is done to its end.
    private static func pause(milliseconds: Int) async { await Task { try? await Task.sleep(for: .milliseconds(milliseconds)) }.value }

    // MARK: Opening

    private func requireFit() async throws {
        try await read { session in
            guard let row = try session.row("SELECT current_setting('server_version_num')::int8 AS version, current_setting('server_encoding') AS encoding")
            else { throw DatabaseTrouble.silent.asStoreError }
            guard try row.integer("version") >= 130_000 else { throw DatabaseTrouble.tooOld.asStoreError }
            guard try row.text("encoding") == "UTF8" else { throw DatabaseTrouble.wrongEncoding.asStoreError }
        }
    }
}

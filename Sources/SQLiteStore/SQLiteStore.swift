import Foundation
import GRDB
import Vault

/// The ``Store`` on SQLite: WAL, `synchronous=FULL`, one file that only its owner can read.
package final class SQLiteStore: Sendable {
    let pool: DatabasePool

    /// Opens or makes the database.
    /// - Throws: ``StoreError``: not a database, damaged, not writable, or written by a newer version.
    package init(path: String) throws {
        do {
            try Self.makeOwnerOnly(path)
            var configuration = Configuration()
            configuration.foreignKeysEnabled = true
            configuration.busyMode = .timeout(5)
            configuration.maximumReaderCount = 4
            configuration.prepareDatabase { database in
                // Deleted rows are overwritten, so that what was forgotten cannot be read from the file.
                try database.execute(sql: "PRAGMA secure_delete=ON")
            }
            pool = try DatabasePool(path: path, configuration: configuration)
            // The pool sets NORMAL while it opens, and it cannot change inside a transaction.
            try pool.writeWithoutTransaction { database in
                #if os(macOS)
                    try database.execute(sql: "PRAGMA fullfsync=ON")
                #endif
                try database.execute(sql: "PRAGMA synchronous=FULL")
                let mode = try Int.fetchOne(database, sql: "PRAGMA synchronous")
                let journal = try String.fetchOne(database, sql: "PRAGMA journal_mode")
                guard mode == 2, journal == "wal" else { throw StoreError.unavailable("SQLite does not keep writes safe on this file system") }
            }
            let migrator = Schema.migrator
            try pool.read { database in
                let known = Set(migrator.migrations)
                if let newer = try migrator.appliedIdentifiers(database).filter({ !known.contains($0) }).sorted().first {
                    throw StoreError.newerSchema(newer)
                }
            }
            try migrator.migrate(pool)
        } catch {
            throw StoreError(error)
        }
    }

    private init(reading pool: DatabasePool) { self.pool = pool }

    /// Opens a database for reading alone, also while a server writes to it. Every write throws.
    /// - Throws: ``StoreError``: not a database, damaged, not readable, or of another version than this one.
    package static func openReadOnly(path: String) throws -> SQLiteStore {
        do {
            var configuration = Configuration()
            configuration.readonly = true
            configuration.busyMode = .timeout(5)
            let pool = try DatabasePool(path: path, configuration: configuration)
            let migrator = Schema.migrator
            let applied = try pool.read { try migrator.appliedIdentifiers($0) }
            if let newer = applied.subtracting(migrator.migrations).min() { throw StoreError.newerSchema(newer) }
            guard applied.count == migrator.migrations.count else {
                throw StoreError.unavailable("the database was written by an older version; start a server of this version on it once")
            }
            return SQLiteStore(reading: pool)
        } catch {
            throw StoreError(error)
        }
    }

    /// Mode 0600 whatever the umask: SQLite gives `-wal` and `-shm` the database's own mode.
    private static func makeOwnerOnly(_ path: String) throws {
        var isDirectory: ObjCBool = false
        if FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) {
            guard !isDirectory.boolValue else { throw StoreError.unavailable("the database path is a folder") }
            // SQLite takes what is shorter than a page for an empty database.
            let size = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int ?? 0
            guard size == 0 || size >= 512 else { throw StoreError.damaged("the database file is damaged") }
            guard FileManager.default.isWritableFile(atPath: path) else { throw StoreError.unavailable("the database file is not writable") }
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
        } else if !FileManager.default.createFile(atPath: path, contents: nil, attributes: [.posixPermissions: 0o600]) {
            throw StoreError.unavailable("the database file cannot be made")
        }
    }

    /// One transaction. In a task of its own: GRDB rolls back an asynchronous write whose task is cancelled, and a token
    /// that was received must be kept though its caller has gone.
    func write<T: Sendable>(_ body: @escaping @Sendable (Database) throws -> T) async throws -> T {
        let pool = self.pool
        do {
            return try await Task { try await pool.write(body) }.value
        } catch {
            throw StoreError(error)
        }
    }

    func read<T: Sendable>(_ body: @escaping @Sendable (Database) throws -> T) async throws -> T {
        do {
            return try await pool.read(body)
        } catch is CancellationError {
            throw StoreError.unavailable("the read was given up")
        } catch {
            throw StoreError(error)
        }
    }

    /// Empties the write-ahead log, so that deleted secrets are in no file.
    func checkpoint() async throws {
        let pool = self.pool
        guard !pool.configuration.readonly else { return }
        do {
            _ = try await Task { try await pool.writeWithoutTransaction { try $0.checkpoint(.truncate) } }.value
        } catch {
            throw StoreError(error)
        }
    }
}

extension StoreError {
    /// One word for callers out of the many that SQLite has.
    init(_ error: any Error) {
        switch error {
        case let error as StoreError: self = error
        case let error as DatabaseError:
            switch error.resultCode {
            case .SQLITE_CONSTRAINT: self = .conflict
            case .SQLITE_CORRUPT: self = .damaged("the database file is damaged")
            case .SQLITE_NOTADB: self = .damaged("the file is not a SQLite database")
            case .SQLITE_FULL: self = .unavailable("the disk is full")
            case .SQLITE_READONLY, .SQLITE_PERM: self = .unavailable("the database file is not writable")
            case .SQLITE_CANTOPEN: self = .unavailable("the database file cannot be opened")
            case .SQLITE_BUSY, .SQLITE_LOCKED: self = .unavailable("the database is locked by another program")
            case .SQLITE_IOERR: self = .unavailable("the disk does not read or write")
            default: self = .unavailable("SQLite answers \(error.resultCode.rawValue)")
            }
        case let error as CocoaError where error.code == .fileWriteNoPermission || error.code == .fileReadNoPermission:
            self = .unavailable("the database file is not accessible")
        default: self = .unavailable("\(type(of: error))")
        }
    }
}

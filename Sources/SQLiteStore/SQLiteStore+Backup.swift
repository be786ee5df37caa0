import Foundation
import GRDB
package import Vault

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// Why there is no backup: one clear sentence, and what to do.
package struct BackupError: Error, Sendable, Hashable {
    package let message: String
    package let hint: String?
    package init(_ message: String, hint: String? = nil) {
        self.message = message
        self.hint = hint
    }
}

/// What a backup holds, and what opens it.
package struct BackupFacts: Sendable, Hashable {
    package var bytes: Int
    /// The state that it holds.
    package var at: Timestamp
    /// The ids of the master keys that its data keys are wrapped by.
    package var masterKeyIDs: [String]
    package init(bytes: Int, at: Timestamp, masterKeyIDs: [String]) {
        self.bytes = bytes
        self.at = at
        self.masterKeyIDs = masterKeyIDs
    }
}

extension SQLiteStore {
    private static let pagesPerStep: CInt = 1024

    /// Copies a database into one file of its own, also while a server writes to it: the copy is as the database was at one
    /// moment. It is made beside its place as `FILE.partial`, checked, synced, and then renamed: there is a whole backup or none.
    /// - Parameters:
    ///   - replacing: whether a file that is there may be replaced.
    ///   - progress: pages that are copied, of how many.
    /// - Throws: ``BackupError``, ``StoreError``. The database is not touched.
    package static func backUp(
        _ source: String, to target: String, at now: Timestamp, replacing: Bool, progress: (_ done: Int, _ total: Int) -> Void
    ) throws -> BackupFacts {
        try requireFree(target, source: source, replacing: replacing)
        let partial = try PartialFile(for: target, source: source)
        defer { partial.close() }
        do {
            try copy(source, to: partial.path, progress: progress)
            var facts = try finish(partial.path, at: now)
            facts.bytes = try partial.sync()
            try requireFree(target, source: source, replacing: replacing)
            try partial.rename(to: target)
            return facts
        } catch {
            partial.remove()
            throw error is BackupError ? error : StoreError(error)
        }
    }

    private static func requireFree(_ target: String, source: String, replacing: Bool) throws(BackupError) {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: target, isDirectory: &isFolder) else { return }
        guard !isFolder.boolValue else { throw BackupError("\(target) is a folder", hint: "name a file in it") }
        for suffix in ["", "-wal", "-shm"] where FileIdentity(target) == FileIdentity(source + suffix) {
            throw BackupError("\(target) is the database itself", hint: "name another file")
        }
        guard replacing else { throw BackupError("\(target) is there already", hint: "name another file, or replace it with --force") }
    }

    /// Of whatever version it is: before a new one is started on it is a good time for a backup.
    private static func copy(_ source: String, to path: String, progress: (Int, Int) -> Void) throws {
        var reading = Configuration()
        reading.readonly = true
        reading.busyMode = .timeout(5)
        let original = try DatabaseQueue(path: source, configuration: reading)
        var writing = Configuration()
        writing.prepareDatabase { database in
            // What a crash leaves is thrown away; the whole is synced once at the end.
            try database.execute(sql: "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF")
        }
        let copy = try DatabaseQueue(path: path, configuration: writing)
        try withoutActuallyEscaping(progress) { progress in
            try original.read { original in
                // This read begins the transaction: what is written from here on neither changes the copy nor begins it anew.
                let tables = try Int.fetchOne(
                    original, sql: "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('meta', 'data_key')")
                guard tables == 2 else { throw BackupError("\(source) is not a database of Grantee", hint: "name the data directory with --data-dir") }
                try copy.writeWithoutTransaction { copy in
                    try original.backup(to: copy, pagesPerStep: pagesPerStep) { progress($0.completedPageCount, $0.totalPageCount) }
                }
            }
        }
        try copy.close()
        try original.close()
    }

    /// In one file, marked as a backup, and whole.
    private static func finish(_ path: String, at now: Timestamp) throws -> BackupFacts {
        let copy = try DatabaseQueue(path: path)
        let facts = try copy.inDatabase { database in
            let mode = try String.fetchOne(database, sql: "PRAGMA journal_mode=DELETE")
            guard mode == "delete" else { throw BackupError("the backup could not be put into one file", hint: "try another disk") }
            // The copy of a backup that no server was started on is as old as that one.
            try database.execute(
                sql: "INSERT OR IGNORE INTO meta VALUES (?, ?)", arguments: [BackupMark.name, Data(try BackupMark(at: now).bytes)])
            // The server that may run on the original did not die on the copy.
            try database.execute(sql: "DELETE FROM meta WHERE name = ?", arguments: [RunningMark.name])
            let faults = try String.fetchAll(database, sql: "PRAGMA integrity_check(10)")
            guard faults == ["ok"] else {
                throw BackupError("the database is damaged, and so would be its backup: \(faults.first ?? "")", hint: "keep the backups that you have")
            }
            let mark = try Data.fetchOne(database, sql: "SELECT value FROM meta WHERE name = ?", arguments: [BackupMark.name])
            let at = try mark.map { try BackupMark(bytes: Array($0)).at } ?? now
            let keys = try String.fetchAll(database, sql: "SELECT DISTINCT master_key_id FROM data_key ORDER BY master_key_id")
            return BackupFacts(bytes: 0, at: at, masterKeyIDs: keys)
        }
        try copy.close()
        return facts
    }
}

/// A file by what it is, not by its name.
private struct FileIdentity: Hashable {
    let device: UInt64
    let number: UInt64

    /// `nil` when there is none.
    init?(_ path: String) {
        var found = stat()
        guard stat(path, &found) == 0 else { return nil }
        self.init(found)
    }
    init(_ found: stat) {
        device = UInt64(truncatingIfNeeded: found.st_dev)
        number = UInt64(truncatingIfNeeded: found.st_ino)
    }
}

/// The backup while it is made: its owner's alone, and one program's at a time.
private final class PartialFile {
    let path: String
    private let descriptor: Int32

    init(for target: String, source: String) throws(BackupError) {
        path = target + ".partial"
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw BackupError("\(path) cannot be written", hint: "check the folder's owner and mode") }
        var found = stat()
        // What somebody else holds, or has just renamed into its place, is not to be written over.
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0, fstat(descriptor, &found) == 0, FileIdentity(path) == FileIdentity(found) else {
            Self.close(descriptor)
            throw BackupError("another program writes to \(path)", hint: "wait until it has ended")
        }
        guard FileIdentity(found) != FileIdentity(source) else {
            Self.close(descriptor)
            throw BackupError("\(path) is the database itself", hint: "name another file")
        }
        guard fchmod(descriptor, 0o600) == 0, ftruncate(descriptor, 0) == 0 else {
            Self.close(descriptor)
            throw BackupError("\(path) cannot be written", hint: "remove it")
        }
    }

    private static func close(_ descriptor: Int32) {
        #if canImport(Glibc)
            _ = Glibc.close(descriptor)
        #else
            _ = Darwin.close(descriptor)
        #endif
    }

    /// After SQLite has closed it: its locks would go with this descriptor.
    func close() { Self.close(descriptor) }

    /// - Returns: its size.
    func sync() throws(BackupError) -> Int {
        var found = stat()
        guard fsync(descriptor) == 0, fstat(descriptor, &found) == 0 else {
            throw BackupError("\(path) could not be brought to the disk", hint: "check the disk and its free space")
        }
        return Int(found.st_size)
    }

    func rename(to target: String) throws(BackupError) {
        #if canImport(Glibc)
            let renamed = Glibc.rename(path, target)
        #else
            let renamed = Darwin.rename(path, target)
        #endif
        guard renamed == 0 else { throw BackupError("\(target) cannot be written", hint: "check the folder's owner and mode") }
        let parent = (target as NSString).deletingLastPathComponent
        let folder = open(parent.isEmpty ? "." : parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { return }
        fsync(folder)
        Self.close(folder)
    }

    func remove() { for suffix in ["", "-journal", "-wal", "-shm"] { unlink(path + suffix) } }
}

import Foundation
import SQLiteStore
import Vault

/// A copy of a server's database in one file: made without a server, or beside one that runs. SEC-53: what was removed
/// later is still in it, so it is to be kept no longer than it is needed.
package struct Backup: Sendable {
    package let path: String
    package let bytes: Int
    /// RFC 3339: the moment whose state it holds.
    package let at: String
    /// The ids of the master keys that open it. The keys themselves are not in it.
    package let masterKeyIDs: [String]

    /// - Parameters:
    ///   - configuration: names the database; its keys are not needed.
    ///   - replacing: whether a file that is there may be replaced.
    ///   - progress: pages that are copied, of how many.
    /// - Throws: ``StartError``. Then there is no new file, and the database is as it was.
    package init(
        of configuration: ServerConfiguration, to path: String, replacing: Bool, progress: (_ done: Int, _ total: Int) -> Void
    ) throws(StartError) {
        if let location = try configuration.storeLocation, location.isShared {
            throw StartError("\(location.shown) is not backed up here: only a SQLite file is", hint: "use pg_dump, as docs/operations.md says")
        }
        let source = configuration.databasePath ?? configuration.dataDirectory + "/grantee.sqlite"
        guard FileManager.default.fileExists(atPath: source) else {
            throw StartError("there is no database at \(source)", hint: "name the data directory with --data-dir, or the database with --database-url")
        }
        do {
            let facts = try SQLiteStore.backUp(source, to: path, at: Timestamp(Date()), replacing: replacing, progress: progress)
            (bytes, at, masterKeyIDs) = (facts.bytes, facts.at.rfc3339, facts.masterKeyIDs)
            self.path = path
        } catch let error as BackupError {
            throw StartError(error.message, hint: error.hint)
        } catch {
            throw StartError(any: error, configuration)
        }
    }
}

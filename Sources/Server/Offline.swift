import Foundation
import SQLiteStore
import Vault

/// A server's database and keys, opened for reading: without a server, or beside one that runs. Locks nothing, changes
/// nothing.
struct Offline: Sendable {
    let store: any Store
    let keyring: Keyring

    /// - Throws: ``StartError`` naming what is missing.
    init(_ configuration: ServerConfiguration) async throws(StartError) {
        try configuration.check()
        let path = configuration.databasePath ?? configuration.dataDirectory + "/grantee.sqlite"
        guard FileManager.default.fileExists(atPath: path) else {
            throw StartError("there is no database at \(path)", hint: "name the data directory with --data-dir, or the database with --database-url")
        }
        do {
            let masterKeys = try Keyring.MasterKeys(parsing: try configuration.masterKeys ?? DataDirectory.masterKeys(of: configuration.dataDirectory))
            let store = try SQLiteStore.openReadOnly(path: path)
            // A keyring writes only into a store without keys.
            guard try await !store.dataKeys().isEmpty else { throw StartError("no server has run on the database \(path) yet") }
            keyring = try await Keyring(masterKeys: masterKeys, store: store)
            self.store = store
        } catch {
            throw StartError(any: error, configuration)
        }
    }
}

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
        let location = try configuration.storeLocation ?? .sqlite(path: configuration.dataDirectory + "/grantee.sqlite")
        if case .sqlite(let path) = location, !FileManager.default.fileExists(atPath: path) {
            throw StartError(
                "there is no database at \(path)",
                hint: "name the data directory with --data-dir, or the database by --database-url or GRANTEE_DATABASE_URL_FILE")
        }
        do {
            let masterKeys = try Keyring.MasterKeys(parsing: try configuration.masterKeys ?? DataDirectory.masterKeys(of: configuration.dataDirectory))
            let store: any Store
            do {
                store = try await location.openReadOnly()
            } catch let error as StoreError where location.isShared {
                throw StartError(shared: error, at: location.shown)
            }
            // A keyring writes only into a store without keys.
            guard try await !store.dataKeys().isEmpty else {
                let name = if case .sqlite(let path) = location { path } else { location.shown }
                throw StartError("no server has run on the database \(name) yet")
            }
            keyring = try await Keyring(masterKeys: masterKeys, store: store)
            self.store = store
        } catch {
            throw StartError(any: error, configuration)
        }
    }
}

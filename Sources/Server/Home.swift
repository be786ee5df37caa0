import Broker
import Foundation
import OAuth
import SQLiteStore
import Vault

/// What a server keeps on disk: the locked data directory, its keys, the database.
struct Home: Sendable {
    let directory: DataDirectory
    private let configuredAdminKey: String?
    private let masterKeys: Keyring.MasterKeys
    private let ownsMasterKeys: Bool
    private let databasePath: String

    /// - Throws: ``StartError``. A wrong start changes nothing.
    init(_ configuration: ServerConfiguration) throws(StartError) {
        do {
            directory = try DataDirectory(path: configuration.dataDirectory)
            databasePath = configuration.databasePath ?? directory.databasePath
            masterKeys = try Keyring.MasterKeys(parsing: try configuration.masterKeys ?? directory.masterKeys(databasePath: databasePath))
        } catch {
            throw StartError(any: error, configuration)
        }
        configuredAdminKey = configuration.adminKey
        ownsMasterKeys = configuration.masterKeys == nil
    }

    /// `nil` where the operator hands the master keys over.
    var masterKeyFile: MasterKeyFile? {
        guard ownsMasterKeys else { return nil }
        return MasterKeyFile { [directory] old, new throws(Problem) in
            do throws(DataDirectoryError) {
                try directory.replaceMasterKeys(old, with: new)
            } catch {
                throw Problem(.conflict, error.message, fix: error.hint)
            }
        }
    }

    /// Both in the data directory, as a first start makes them.
    var keyLiesBesideDatabase: Bool { ownsMasterKeys && databasePath == directory.databasePath }

    /// With what is not yet emptied from the write-ahead log.
    var databaseBytes: Int? {
        func size(_ path: String) -> Int? { (try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? Int }
        return size(databasePath).map { $0 + (size(databasePath + "-wal") ?? 0) }
    }

    /// The one that was configured, else the data directory's, made at the first start. After the keyring was opened: a
    /// start with a wrong master key leaves nothing behind.
    func adminKey() throws(StartError) -> String {
        if let configuredAdminKey { return configuredAdminKey }
        let key: String
        do {
            key = try directory.adminKey { "gk_admin_" + Entropy.system.token(bytes: 32) }
        } catch {
            throw StartError(error.message, hint: error.hint)
        }
        guard key.utf8.count >= 32 else {
            throw StartError("the admin API key in \(directory.path)/admin.key is shorter than 32 characters", hint: "remove the file to have a new one made")
        }
        return key
    }

    func openStore() throws(StartError) -> SQLiteStore {
        do {
            return try SQLiteStore(path: databasePath)
        } catch {
            throw (error as? StoreError).map(StartError.init(store:)) ?? StartError("the database cannot be opened")
        }
    }

    func openKeyring(_ store: SQLiteStore) async throws(StartError) -> Keyring {
        do {
            return try await Keyring(masterKeys: masterKeys, store: store)
        } catch let error as KeyringError {
            throw StartError(keyring: error)
        } catch let error as StoreError {
            throw StartError(store: error)
        } catch {
            throw StartError("the database cannot be read")
        }
    }
}

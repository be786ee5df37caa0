import Broker
import Foundation
import OAuth
import SQLiteStore
import Vault

/// Where a server lives: on SQLite a locked data directory with its keys and the database; on PostgreSQL the database alone,
/// and the keys that it was given.
struct Home: Sendable {
    /// `nil` where nothing is kept on this machine.
    let directory: DataDirectory?
    let location: StoreLocation
    private let configuredAdminKey: String?
    private let masterKeys: Keyring.MasterKeys
    private let ownsMasterKeys: Bool

    /// - Throws: ``StartError``. A wrong start changes nothing.
    init(_ configuration: ServerConfiguration) throws(StartError) {
        configuredAdminKey = configuration.adminKey
        ownsMasterKeys = configuration.masterKeys == nil
        do {
            if let named = try configuration.storeLocation, named.isShared {
                guard let keys = configuration.masterKeys else {
                    throw StartError(
                        "the master keys are needed: on PostgreSQL a server makes none, because every node has to have the same",
                        hint: "set GRANTEE_MASTER_KEYS_FILE to a file with id:base64url of 32 bytes, such as "
                            + #"`printf 'k1:%s' "$(openssl rand 32 | basenc --base64url | tr -d =)"` writes"#)
                }
                (directory, location) = (nil, named)
                masterKeys = try Keyring.MasterKeys(parsing: keys)
                return
            }
            let directory = try DataDirectory(path: configuration.dataDirectory)
            let path = configuration.databasePath ?? directory.databasePath
            (self.directory, location) = (directory, .sqlite(path: path))
            masterKeys = try Keyring.MasterKeys(parsing: try configuration.masterKeys ?? directory.masterKeys(databasePath: path))
        } catch {
            throw StartError(any: error, configuration)
        }
    }

    /// `nil` where the operator hands the master keys over.
    var masterKeyFile: MasterKeyFile? {
        guard ownsMasterKeys, let directory else { return nil }
        return MasterKeyFile { old, new throws(Problem) in
            do throws(DataDirectoryError) {
                try directory.replaceMasterKeys(old, with: new)
            } catch {
                throw Problem(.conflict, error.message, fix: error.hint)
            }
        }
    }

    private var databasePath: String? {
        if case .sqlite(let path) = location { path } else { nil }
    }

    /// Both in the data directory, as a first start makes them.
    var keyLiesBesideDatabase: Bool { ownsMasterKeys && directory != nil && databasePath == directory?.databasePath }

    /// Of the file, with what is not yet emptied from the write-ahead log.
    var databaseBytes: Int? {
        func size(_ path: String) -> Int? { (try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? Int }
        return databasePath.flatMap { path in size(path).map { $0 + (size(path + "-wal") ?? 0) } }
    }

    var masterKeyIDs: [String] { masterKeys.ids }

    /// That an admin key which is there already can be used; before anything is written.
    func checkAdminKey() throws(StartError) {
        guard configuredAdminKey == nil, let directory else { return }
        do throws(DataDirectoryError) {
            guard let key = try directory.existingAdminKey() else { return }
            try Self.check(key, in: directory)
        } catch {
            throw StartError(error.message, hint: error.hint)
        }
    }

    private static func check(_ adminKey: String, in directory: DataDirectory) throws(DataDirectoryError) {
        guard adminKey.utf8.count >= 32 else {
            throw DataDirectoryError(
                "the admin API key in \(directory.path)/admin.key is shorter than 32 characters", hint: "remove the file to have a new one made")
        }
    }

    /// The one that was configured, else the data directory's, made at the first start; without a data directory `nil`: the one
    /// that the database has. After the keyring was opened: a start with a wrong master key leaves nothing behind.
    func adminKey() throws(StartError) -> String? {
        if let configuredAdminKey { return configuredAdminKey }
        guard let directory else { return nil }
        do throws(DataDirectoryError) {
            let key = try directory.adminKey { "gk_admin_" + Entropy.system.token(bytes: 32) }
            try Self.check(key, in: directory)
            return key
        } catch {
            throw StartError(error.message, hint: error.hint)
        }
    }

    func openStore() async throws(StartError) -> any Store {
        do {
            return try await location.open()
        } catch {
            guard let error = error as? StoreError else { throw StartError("the database cannot be opened") }
            throw location.isShared ? StartError(shared: error, at: location.shown) : StartError(store: error)
        }
    }

    func openKeyring(_ store: any Store) async throws(StartError) -> Keyring {
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

import Broker
import Egress
import Foundation
import NIOCore
import OAuthClientAsyncHTTP
import SQLiteStore
import Vault

#if PostgreSQL
    import PostgresStore
#endif

/// Why the server did not start: one clear sentence and, where there is one, what to do.
package struct StartError: Error, Sendable, Hashable {
    package var message: String
    package var hint: String?

    package init(_ message: String, hint: String? = nil) {
        self.message = message
        self.hint = hint
    }

    /// Whatever stopped a start, or a server, in words.
    init(any error: any Error, _ configuration: ServerConfiguration) {
        switch error {
        case let error as StartError: self = error
        case let error as DataDirectoryError: self.init(error.message, hint: error.hint)
        case let error as StoreError:
            if let location = try? configuration.storeLocation, location.isShared {
                self.init(shared: error, at: location.shown)
            } else {
                self.init(store: error)
            }
        case let error as KeyringError: self.init(keyring: error)
        case let error as Problem: self.init(error.detail, hint: error.fix)
        case let error as TrustError: self.init("--ca-file: \(error.description)")
        case let error as IOError: self.init(listening: error, on: configuration.host, port: configuration.port, setting: "--port")
        default: self.init("the server stopped: \(type(of: error))")
        }
    }

    /// - Parameter setting: that names the port.
    init(listening error: IOError, on host: String, port: Int, setting: String) {
        switch error.errnoCode {
        case EADDRINUSE:
            self.init("port \(port) on \(host) is in use", hint: "choose another with \(setting)\(setting == "--port" ? ", or 0 to have one picked" : "")")
        case EACCES, EADDRNOTAVAIL: self.init("cannot listen on \(host) port \(port)", hint: "check --host and \(setting)")
        default: self.init("cannot listen on \(host) port \(port)")
        }
    }

    init(store error: StoreError) {
        switch error {
        case .conflict: self.init("the database was changed by another program while the server started", hint: "start again")
        case .unavailable(let reason): self.init(reason, hint: "check the database's disk, owner and mode")
        case .damaged(let reason): self.init(reason, hint: "restore it from a backup, or start with another --data-dir")
        case .newerSchema(let name): self.init("the database was written by a newer version (\(name))", hint: "start that version")
        case .locked: self.init("another server uses the data directory", hint: "stop it first, or start this one with another --data-dir")
        }
    }

    /// - Parameter location: of the database, without a password.
    init(shared error: StoreError, at location: String) {
        switch error {
        case .unavailable(let reason):
            #if PostgreSQL
                let hint = DatabaseTrouble(rawValue: reason)?.hint
            #else
                let hint: String? = nil
            #endif
            self.init("\(location): \(reason)", hint: hint ?? "check the database URL, and that the database answers")
        case .damaged(let reason): self.init("\(location): \(reason)", hint: "restore it from a backup")
        default: self.init(store: error)
        }
    }

    init(keyring error: KeyringError) {
        switch error {
        case .badMasterKeys(let reason):
            self.init("the master keys are not usable: \(reason)", hint: "id:base64url of 32 bytes, comma separated, or each on a line")
        case .wrongMasterKey(let id, let hasOtherBytes):
            self.init(
                "the database was sealed with another master key than the one given"
                    + (hasOtherBytes ? ": that has the same id, \(id), and other bytes" : " (its id is \(id))"),
                hint: "give the key that was used before; nothing was changed")
        case .damaged, .noDataKey: self.init("the keys in the database are damaged", hint: "restore it from a backup")
        }
    }
}

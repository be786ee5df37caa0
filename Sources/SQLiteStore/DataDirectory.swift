import Foundation
import Synchronization
package import Vault

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// The folder a server lives in: locked by one server at a time, readable by its owner only.
///
/// Holds `grantee.sqlite`, `master.key`, `admin.key` and, while a server runs, `server.json`.
package final class DataDirectory: Sendable {
    package let path: String
    private let lock: Int32

    /// Makes the folder (0700) unless it is there, and locks it.
    /// - Throws: ``DataDirectoryError`` in words: not a folder, not writable, open to others, in use.
    package init(path: String) throws(DataDirectoryError) {
        self.path = path
        var isDirectory: ObjCBool = false
        if FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) {
            guard isDirectory.boolValue else { throw DataDirectoryError("\(path) is not a folder") }
        } else {
            do {
                try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            } catch {
                throw DataDirectoryError("the data directory \(path) cannot be made", hint: "choose another place with --data-dir")
            }
        }
        let mode = (try? FileManager.default.attributesOfItem(atPath: path))?[.posixPermissions] as? Int ?? 0
        guard mode & 0o022 == 0 else {
            throw DataDirectoryError("others may write into the data directory \(path)", hint: "chmod 700 \(path)")
        }
        let file = path + "/lock"
        lock = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard lock >= 0 else {
            throw DataDirectoryError("the data directory \(path) is not writable", hint: "give its owner write permission, or choose another with --data-dir")
        }
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            close(lock)
            throw DataDirectoryError(
                "another server uses the data directory \(path)", hint: "stop it first, or start this one with another --data-dir")
        }
    }

    /// Let go of before it is closed: a child that is being started has it for a moment, too.
    deinit {
        unlock()
        close(lock)
    }

    /// Lets another server have it, whoever still holds this value.
    package func unlock() { flock(lock, LOCK_UN) }

    package var databasePath: String { path + "/grantee.sqlite" }

    /// The master keys of `master.key`; made when there is no database yet.
    /// - Parameter databasePath: of the database that they open, wherever it is.
    /// - Throws: ``DataDirectoryError``; also when a database is there and the key that opens it is not, or the other way
    ///   about: what was emptied must not be taken for new.
    package func masterKeys(databasePath: String) throws(DataDirectoryError) -> String {
        var isFolder: ObjCBool = false
        guard !FileManager.default.fileExists(atPath: databasePath, isDirectory: &isFolder) || !isFolder.boolValue else {
            throw DataDirectoryError("the database path \(databasePath) is a folder")
        }
        let size = (try? FileManager.default.attributesOfItem(atPath: databasePath))?[.size] as? Int
        if let text = try read("master.key") {
            guard size != 0 else {
                throw DataDirectoryError(
                    "the database \(databasePath) is empty", hint: "put it back from your backup; if this server never ran, remove the file")
            }
            return text
        }
        guard size == nil else {
            throw DataDirectoryError(
                "\(path)/master.key, the key that opens the database, is missing",
                hint: "put it back from your backup; without it nothing in the database can be read")
        }
        return try make("master.key", Keyring.MasterKeys.generate())
    }

    /// Puts other master keys in the place of those in `master.key`: whole or not at all, and on stable storage.
    /// - Parameter old: what the file must hold: keys that somebody added meanwhile are not overwritten.
    package func replaceMasterKeys(_ old: Keyring.MasterKeys, with new: Keyring.MasterKeys) throws(DataDirectoryError) {
        guard let text = try read("master.key"), let found = try? Keyring.MasterKeys(parsing: text), found.secretText == old.secretText else {
            throw DataDirectoryError(
                "\(path)/master.key is not as it was when the server started", hint: "restart the server with the keys it is to have, then rotate again")
        }
        _ = try make("master.key", new.secretText)
    }

    /// The admin API key of `admin.key`; made at the first start.
    package func adminKey(generate: () -> String) throws(DataDirectoryError) -> String {
        if let text = try existingAdminKey() { return text }
        return try make("admin.key", generate())
    }

    package func existingAdminKey() throws(DataDirectoryError) -> String? { try read("admin.key") }

    /// Where the server listens, so that the CLI finds it.
    package func writeServerFile(url: String) throws(DataDirectoryError) {
        _ = try make("server.json", #"{"url":"\#(url)","pid":\#(getpid())}"#)
    }

    package func removeServerFile() { unlink(path + "/server.json") }

    /// The master keys of a data directory that a server may hold.
    package static func masterKeys(of path: String) throws(DataDirectoryError) -> String {
        guard let text = try read(file: path + "/master.key") else {
            throw DataDirectoryError(
                "\(path)/master.key, the key that opens the database, is missing", hint: "name the server's data directory, or its master keys")
        }
        return text
    }

    private func read(_ name: String) throws(DataDirectoryError) -> String? { try Self.read(file: path + "/" + name) }

    private static func read(file: String) throws(DataDirectoryError) -> String? {
        guard FileManager.default.fileExists(atPath: file) else { return nil }
        let mode = (try? FileManager.default.attributesOfItem(atPath: file))?[.posixPermissions] as? Int ?? 0
        guard mode & 0o077 == 0 else { throw DataDirectoryError("others may read \(file)", hint: "chmod 600 \(file)") }
        guard let text = try? String(contentsOfFile: file, encoding: .utf8) else { throw DataDirectoryError("\(file) cannot be read") }
        let trimmed = text.trimmingCharacters(in: .whitespacesAndNewlines)
        guard !trimmed.isEmpty else { throw DataDirectoryError("\(file) is empty", hint: "put its content back from your backup") }
        return trimmed
    }

    /// Whole or not at all: written aside, synced, renamed.
    private func make(_ name: String, _ text: String) throws(DataDirectoryError) -> String {
        let file = path + "/" + name
        let aside = file + ".new"
        unlink(aside)
        let descriptor = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw DataDirectoryError("\(file) cannot be written", hint: "check the data directory's owner and free space") }
        let bytes = Array((text + "\n").utf8)
        let isWritten = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) } == bytes.count && fsync(descriptor) == 0
        close(descriptor)
        guard isWritten, rename(aside, file) == 0 else {
            unlink(aside)
            throw DataDirectoryError("\(file) cannot be written", hint: "check the free space of its disk")
        }
        let folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if folder >= 0 {
            fsync(folder)
            close(folder)
        }
        return text
    }
}

/// Why a data directory does not serve: one clear sentence, and what to do.
package struct DataDirectoryError: Error, Sendable, Hashable {
    package let message: String
    package let hint: String?
    package init(_ message: String, hint: String? = nil) {
        self.message = message
        self.hint = hint
    }
}

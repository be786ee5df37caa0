import Foundation
import SQLiteStore
import Vault

/// Where a vault is copied from or to: a data directory, a SQLite file, a PostgreSQL database; without a server.
struct CopyPlace: Sendable {
    /// Opened, and kept from servers for as long as this value is there.
    struct Opened: Sendable {
        let store: any CopyableStore
        /// `nil` where the file is in none.
        private let directory: DataDirectory?

        fileprivate init(_ store: any CopyableStore, _ directory: DataDirectory?) {
            self.store = store
            self.directory = directory
        }

        func close() async throws {
            try await store.close()
            directory?.unlock()
        }
    }

    let location: StoreLocation
    /// Its lock is the one that a server takes.
    private let directory: String?

    /// - Parameter setting: where the text came from, for the error.
    init(parsing text: String, setting: String) throws(StartError) {
        guard !text.hasPrefix("sqlite:"), !text.contains("://") else {
            location = try StoreLocation(parsing: text, setting: setting)
            guard case .sqlite(let path) = location, (path as NSString).lastPathComponent == "grantee.sqlite" else {
                directory = nil
                return
            }
            let folder = (path as NSString).deletingLastPathComponent
            let isLocked = FileManager.default.fileExists(atPath: folder.isEmpty ? "lock" : folder + "/lock")
            directory = isLocked ? (folder.isEmpty ? "." : folder) : nil
            return
        }
        guard !text.isEmpty else { throw StartError("\(setting) names nothing") }
        location = .sqlite(path: text + "/grantee.sqlite")
        directory = text
    }

    func isSame(as other: CopyPlace) -> Bool {
        guard case .sqlite(let path) = location, case .sqlite(let otherPath) = other.location else { return false }
        func real(_ path: String) -> String { URL(fileURLWithPath: path).resolvingSymlinksInPath().standardizedFileURL.path }
        return real(path) == real(otherPath)
    }

    /// - Parameter isNew: whether it may have to be made.
    /// - Throws: ``StartError``: not there, or in use.
    func open(isNew: Bool) async throws(StartError) -> Opened {
        do {
            var directory: DataDirectory?
            if case .sqlite(let path) = location {
                let isThere = FileManager.default.fileExists(atPath: path)
                guard isThere || isNew else {
                    throw StartError("there is no database at \(path)", hint: "name a data directory, sqlite:PATH, or a PostgreSQL URL")
                }
                if isThere { try SQLiteStore.requireUnused(path) }
                directory = try self.directory.map { path throws(DataDirectoryError) in try DataDirectory(path: path) }
            }
            let store = try await location.open()
            guard let copyable = store as? any CopyableStore else { throw StartError("\(location.shown) cannot be copied") }
            return Opened(copyable, directory)
        } catch {
            throw words(error)
        }
    }

    /// What went wrong here, in words.
    func words(_ error: any Error) -> StartError {
        switch error {
        case let error as StartError: error
        case let error as CopyError: StartError(error.message, hint: error.hint)
        case let error as DataDirectoryError: StartError(error.message, hint: error.hint)
        case let error as StoreError: location.isShared ? StartError(shared: error, at: location.shown) : StartError(store: error)
        case is CancellationError: StartError("the copy was given up", hint: "run it again: it goes on where it ended")
        default: StartError("\(location.shown): \(type(of: error))")
        }
    }
}

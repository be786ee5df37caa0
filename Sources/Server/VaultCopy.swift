import Foundation
import SQLiteStore
import Vault

/// A whole vault, moved to another place: between SQLite and PostgreSQL either way. No keys are needed: what is sealed stays so.
package struct VaultCopy: Sendable {
    package struct Table: Sendable {
        package let name: String
        package let rows: Int
        package let rowsThere: Int
        /// Of all its rows in the order of their keys, in hexadecimal.
        package let sha256: String
        package let sha256There: String
        /// Also the numbers that it will give.
        package let isSame: Bool
    }

    /// A data directory, `sqlite:PATH`, or a PostgreSQL URL.
    package struct Place: Sendable {
        let text: String
        let setting: String

        /// - Parameter setting: where the text came from, for errors.
        package init(_ text: String, setting: String) {
            self.text = text
            self.setting = setting
        }
    }

    package enum Phase: Sendable { case reading, copying, checking }
    package typealias Progress = @Sendable (_ phase: Phase, _ done: Int, _ total: Int) -> Void

    /// As they may be shown.
    package let from: String
    package let to: String
    package let tables: [Table]
    /// The ids of the master keys that open what was copied. The keys themselves are in neither.
    package let masterKeyIDs: [String]

    package var rows: Int { tables.reduce(0) { $0 + $1.rows } }
    package var isSame: Bool { tables.allSatisfy(\.isSame) }

    /// Copies, or goes on with a copy that was begun, and compares what both hold. The source is marked as moved.
    /// - Parameter to: has to be empty.
    /// - Throws: ``StartError``. Then no server starts on the target, and the source is as it was.
    package static func run(from: Place, to: Place, progress: @escaping Progress) async throws(StartError) -> VaultCopy {
        try await withPlaces(from, to, progress) { copy, place in
            let digest = try await copy.run(at: Timestamp(Date()), to: place)
            return (digest, digest)
        }
    }

    /// Compares what two places hold, and changes nothing.
    /// - Throws: ``StartError`` when they cannot be compared; not because they differ.
    package static func compare(from: Place, to: Place, progress: @escaping Progress) async throws(StartError) -> VaultCopy {
        try await withPlaces(from, to, progress, isNew: false) { copy, _ in
            try await copy.requireCopied()
            return try await copy.compare()
        }
    }

    private static func withPlaces(
        _ from: Place, _ to: Place, _ progress: @escaping Progress, isNew: Bool = true,
        _ body: (StoreCopy, _ place: String) async throws -> (source: StoreDigest, target: StoreDigest)
    ) async throws(StartError) -> VaultCopy {
        let source = try CopyPlace(parsing: from.text, setting: from.setting)
        let target = try CopyPlace(parsing: to.text, setting: to.setting)
        guard from.text != to.text, !source.isSame(as: target) else { throw StartError("--from and --to name the same database") }
        let opened = try await source.open(isNew: false)
        do {
            let openedTarget = try await target.open(isNew: isNew)
            let copy = StoreCopy(from: opened.store, to: openedTarget.store) { progress(Phase($0), $1, $2) }
            let result: VaultCopy
            do {
                let digests = try await body(copy, target.location.shown)
                let keys = Set(try await openedTarget.store.dataKeys().map(\.masterKeyID)).sorted()
                result = VaultCopy(
                    from: source.location.shown, to: target.location.shown,
                    tables: zip(digests.source.tables, digests.target.tables).map(Table.init), masterKeyIDs: keys)
            } catch {
                // What went wrong before is what counts.
                try? await openedTarget.close()
                throw Self.words(error)
            }
            try await openedTarget.close()
            try await opened.close()
            return result
        } catch {
            try? await opened.close()
            throw source.words(error)
        }
    }

    /// Of one of the two, it is not known which; what else went wrong stays as it is.
    private static func words(_ error: any Error) -> any Error {
        switch error as? StoreError {
        case .unavailable(let reason): StartError(reason, hint: "run it again when that has changed: it goes on where it ended")
        case .conflict: StartError("a record of the source refers to one that is not there", hint: "keep the source as it is, and report this")
        default: error
        }
    }

    // MARK: Back again

    /// Opens a vault again that was moved away: it is then as a backup of that time, whose refresh tokens may be spent.
    /// - Returns: when it was moved (RFC 3339), and where to.
    /// - Throws: ``StartError``
    package static func reopen(_ text: String, setting: String) async throws(StartError) -> (at: String, to: String) {
        let place = try CopyPlace(parsing: text, setting: setting)
        let opened = try await place.open(isNew: false)
        let owner = UUID().uuidString
        do {
            _ = try await opened.store.hold(for: owner)
            guard let moved: MovedMark = try await opened.store.mark() else {
                throw StartError("the vault in \(place.location.shown) was not moved", hint: "start its server")
            }
            // A backup that no server was started on stays as old as it is.
            let backup = try await opened.store.mark(BackupMark.self) ?? BackupMark(at: moved.at)
            try await opened.store.changeMeta([MovedMark.name: nil, BackupMark.name: try backup.bytes])
            try await opened.store.letGo(owner)
            try await opened.close()
            return (moved.at.rfc3339, moved.to)
        } catch {
            try? await opened.store.letGo(owner)
            try? await opened.close()
            throw place.words(error)
        }
    }
}

extension VaultCopy.Table {
    fileprivate init(_ here: StoreDigest.Table, _ there: StoreDigest.Table) {
        self.init(name: here.name, rows: here.rows, rowsThere: there.rows, sha256: here.sha256, sha256There: there.sha256, isSame: here == there)
    }
}

extension VaultCopy.Phase {
    fileprivate init(_ phase: StoreCopy.Phase) {
        self =
            switch phase {
            case .reading: .reading
            case .copying: .copying
            case .checking: .checking
            }
    }
}

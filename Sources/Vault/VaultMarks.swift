import Foundation

/// What the store notes of itself, beside its records: JSON values of ``Store/meta(_:)``.
package protocol VaultMark: Codable, Sendable {
    static var name: String { get }
}

/// While a server runs on the store: the name of its node. What tells a crash from a shutdown at the next start.
package enum RunningMark {
    package static let name = "running"
}

/// In a backup, and in a database that was restored from it and not started yet.
package struct BackupMark: VaultMark, Hashable {
    package static let name = "backup"
    package var at: Timestamp
    package init(at: Timestamp) { self.at = at }
}

/// In a database that came from a backup: refresh tokens in it may have been spent between the two times.
package struct RestoreMark: VaultMark, Hashable {
    package static let name = "restored"
    package var backupAt: Timestamp
    /// Its first start.
    package var restoredAt: Timestamp
    package init(backupAt: Timestamp, restoredAt: Timestamp) {
        self.backupAt = backupAt
        self.restoredAt = restoredAt
    }
}

/// While a rotation is under way: what a rerun goes on with.
package struct RotationMark: VaultMark, Hashable {
    package static let name = "rotation"
    /// The new master key, once every data key is wrapped by it.
    package var masterKeyID: String?
    /// The newest data key when their rotation began: scopes that still seal with one up to it are to be rotated. `nil` =
    /// data keys stay.
    package var newestDataKey: Int?
    package init(masterKeyID: String? = nil, newestDataKey: Int? = nil) {
        self.masterKeyID = masterKeyID
        self.newestDataKey = newestDataKey
    }
}

extension VaultMark {
    /// What is stored under its name.
    package var bytes: [UInt8] {
        get throws { Array(try JSONEncoder().encode(self)) }
    }

    package init(bytes: [UInt8]) throws {
        do {
            self = try JSONDecoder().decode(Self.self, from: Data(bytes))
        } catch {
            throw StoreError.damaged("the note \(Self.name) makes no sense")
        }
    }
}

extension Store {
    package func mark<Mark: VaultMark>(_ type: Mark.Type = Mark.self) async throws -> Mark? { try await meta(Mark.name).map(Mark.init(bytes:)) }
    package func setMark(_ mark: some VaultMark) async throws { try await setMeta(type(of: mark).name, try mark.bytes) }
}

import Logging
import OAuth
import Synchronization
package import Vault

/// A grant that came from a backup: its refresh token may have been spent after the backup was made.
package struct GrantInDoubt: Sendable, Hashable {
    /// The connection's id.
    package var connection: String
    /// `""` = the shared grant.
    package var subject: String
    package var refreshedAt: Timestamp?
}

/// The vault as a whole, for showing.
package struct VaultStatus: Sendable {
    package var masterKeyID: String
    package var dataKeys: Int
    package var retiredDataKeys: Int
    package var restored: RestoreMark?
    package var mayBeSpent: Int
    /// A rotation was begun and has not ended: it runs, or is to be gone on with.
    package var isRotating: Bool
}

extension Broker {
    package func vaultStatus(for caller: Caller) async throws(Problem) -> VaultStatus {
        try caller.requireUnboundAdmin()
        return try await asProblem {
            let records = try await store.dataKeys()
            var mayBeSpent = 0
            try await eachGrantInDoubt { _ in mayBeSpent += 1 }
            return VaultStatus(
                masterKeyID: keyring.masterKeys.ids.first ?? "", dataKeys: records.count { $0.retiredAt == nil },
                retiredDataKeys: records.count { $0.retiredAt != nil }, restored: try await store.mark(), mayBeSpent: mayBeSpent,
                isRotating: try await store.mark(RotationMark.self) != nil)
        }
    }

    /// Before the first refresh: the first start on a backup notes that its refresh tokens may be spent, so that a provider's
    /// refusal is told for what it is, and no refresh token is sent before it must be.
    ///
    /// A crash in it changes nothing: it is done again at the next start.
    func noteRestore() async throws {
        guard let backup: BackupMark = try await store.mark() else {
            let earlier: RestoreMark? = try await store.mark()
            return restored.withLock { $0 = earlier }
        }
        let now = clock.now()
        // Who signed out since the backup was made stays so.
        try await store.deleteSignInLinks(key: nil)
        _ = try await store.deleteConsoleSessions(key: nil)
        var connections: [UID: Connection] = [:]
        var count = 0
        var after: UID?
        while true {
            let page = try await store.grants(filter: GrantFilter(now: now), after: after, limit: 500)
            var doubtful: [(uid: UID, generation: Int)] = []
            for grant in page where grant.state == .active && grant.refreshToken != nil && grant.rotates != false {
                if connections[grant.connectionUID] == nil { connections[grant.connectionUID] = try await store.connection(uid: grant.connectionUID) }
                if let connection = connections[grant.connectionUID], mayRotate(connection) { doubtful.append((grant.uid, grant.tokenGeneration)) }
            }
            if !doubtful.isEmpty { try await store.noteInDoubt(doubtful, at: now) }
            count += doubtful.count
            guard page.count == 500, let last = page.last else { break }
            after = last.uid
        }
        let mark = RestoreMark(backupAt: backup.at, restoredAt: now)
        try await store.changeMeta([RestoreMark.name: try mark.bytes, BackupMark.name: nil])
        restored.withLock { $0 = mark }
        logger.warning(
            "this database came from a backup; refresh tokens in it may have been spent since: `grantee vault verify` names the grants",
            metadata: ["backup_at": "\(backup.at.rfc3339)", "may_be_spent": "\(count)"])
        note("vault.restored", detail: "backup of \(backup.at.rfc3339), \(count) grants may hold a spent refresh token")
    }

    /// Whether its provider may have given another refresh token since; where the connection can fetch anew without a person,
    /// it does not matter.
    private func mayRotate(_ connection: Connection) -> Bool {
        connection.settings.profile.refreshTokenPolicy != .keepOriginal && !connection.fetchesAlone
    }

    /// Those of a restored database that got no token since.
    func eachGrantInDoubt(_ body: (GrantInDoubt) -> Void) async throws {
        guard let restored: RestoreMark = try await store.mark() else { return }
        var connections: [UID: Connection] = [:]
        var after: UID?
        while true {
            let page = try await store.grantsInDoubt(since: restored.restoredAt, after: after, limit: 500)
            for grant in page {
                if connections[grant.connectionUID] == nil { connections[grant.connectionUID] = try await store.connection(uid: grant.connectionUID) }
                guard let connection = connections[grant.connectionUID], mayRotate(connection) else { continue }
                body(GrantInDoubt(connection: connection.id, subject: grant.subject, refreshedAt: grant.refreshedAt))
            }
            guard page.count == 500, let last = page.last else { return }
            after = last.uid
        }
    }
}

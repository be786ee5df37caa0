import Logging
import OAuth
package import Vault

/// Where the master keys are kept by the server itself; without it the operator hands them over, and changes them.
package struct MasterKeyFile: Sendable {
    /// Puts other keys in the place of those that the server was started with, whole or not at all.
    /// - Throws: ``Problem``; also when somebody else changed the file meanwhile.
    package var replace: @Sendable (_ old: Keyring.MasterKeys, _ new: Keyring.MasterKeys) throws(Problem) -> Void
    package init(replace: @escaping @Sendable (_ old: Keyring.MasterKeys, _ new: Keyring.MasterKeys) throws(Problem) -> Void) { self.replace = replace }
}

/// What a rotation has done so far, or how it ended.
package enum RotationEvent: Sendable {
    case masterKey(done: Int, total: Int)
    /// - connection: whose sealed values it is at; `nil` = those that belong to none. Counted over all of them.
    case dataKeys(connection: String?, done: Int, total: Int)
    case done(Rotation)
    case failed(Problem)
}

package struct Rotation: Sendable, Hashable {
    package var masterKeyID: String
    /// Data keys that were wrapped anew.
    package var rewrapped = 0
    /// Values that were sealed anew.
    package var resealed = 0
    /// Values that do not open: `vault verify` names them. Their data keys stay.
    package var damaged = 0
    /// Retired data keys that could not be deleted yet.
    package var retiredDataKeys = 0
    /// How long they stay at least, until they go by themselves; zero = the next rotation of data keys deletes them.
    package var retiredDataKeysStay: Duration = .zero
    /// Master keys that nothing needs any more, and that the operator may take out of the list.
    package var removableMasterKeys: [String] = []
}

extension Broker {
    /// How long values that an old data key sealed may be on their way to the store before the key is left for the next
    /// rotation: beyond what any request takes between the two.
    private static let retiredKeyPatience: Duration = .seconds(40)

    /// Another master key, and with `dataKeys` other data keys for everything. A rotation that was begun is gone on with.
    /// - Throws: `conflict` while another one, or a verification, is under way.
    package func rotateVault(dataKeys: Bool, by caller: Caller) throws(Problem) -> AsyncStream<RotationEvent> {
        try caller.requireUnboundAdmin()
        return try beginVaultWork { [self] report in
            do {
                let rotation = try await aloneInVault { try await rotate(dataKeys: dataKeys, report: report) }
                note("vault.rotated", caller: caller, detail: "master key \(rotation.masterKeyID)" + (dataKeys ? ", all data keys" : ""))
                return .done(rotation)
            } catch {
                let problem = await vaultProblem(error)
                note("vault.rotated", caller: caller, result: problem.code.rawValue)
                return .failed(problem)
            }
        }
    }

    private func rotate(dataKeys: Bool, report: @Sendable (RotationEvent) -> Void) async throws -> Rotation {
        try await requireFirstMasterKeyEverywhere()
        var mark = try await store.mark(RotationMark.self) ?? RotationMark()
        if dataKeys, mark.newestDataKey == nil { mark.newestDataKey = try await store.dataKeys().map(\.id).max() }
        try await store.setMark(mark)
        Failpoint.pass("rotate.begun")
        var rotation = try await rotateMasterKey(&mark, report: report)
        if let newest = mark.newestDataKey { try await rotateDataKeys(upTo: newest, &rotation, report: report) }
        try await store.changeMeta([RotationMark.name: nil])
        Failpoint.pass("rotate.ended")
        do {
            try await store.forgetOverwritten()
        } catch {
            logger.warning("keys that were replaced stay in the write-ahead log until it is emptied", metadata: ["error": "\(error)"])
        }
        return rotation
    }

    // MARK: The master key

    private func rotateMasterKey(_ mark: inout RotationMark, report: @Sendable (RotationEvent) -> Void) async throws -> Rotation {
        var keys = keyring.masterKeys
        // With two in the file, or with what the mark says, the new one is there already.
        if let masterKeyFile = configuration.masterKeyFile, keys.ids.count == 1, mark.masterKeyID != keys.ids.first {
            let both = keys.withNewKey(besides: try await store.dataKeys().map(\.masterKeyID))
            try masterKeyFile.replace(keys, both)
            Failpoint.pass("rotate.key_added")
            try await keyring.adopt(both)
            keys = both
        }
        guard let id = keys.ids.first else { throw KeyringError.damaged }
        var rotation = Rotation(masterKeyID: id)
        report(.masterKey(done: 0, total: 1))
        rotation.retiredDataKeysStay = store.retiredKeysStay
        rotation.rewrapped = try await keyring.rewrap { report(.masterKey(done: $0, total: $1)) }
        Failpoint.pass("rotate.rewrapped")
        mark.masterKeyID = id
        try await store.setMark(mark)
        Failpoint.pass("rotate.marked")
        if let masterKeyFile = configuration.masterKeyFile {
            if keys.ids.count > 1 {
                try masterKeyFile.replace(keys, keys.firstAlone)
                Failpoint.pass("rotate.key_removed")
                try await keyring.adopt(keys.firstAlone)
            }
        } else {
            rotation.removableMasterKeys = Array(keys.ids.dropFirst())
        }
        return rotation
    }

    // MARK: Data keys

    private func rotateDataKeys(upTo newest: Int, _ rotation: inout Rotation, report: @Sendable (RotationEvent) -> Void) async throws {
        let records = try await store.dataKeys()
        let current = records.filter { $0.retiredAt == nil }
        // Those that a rotation before this one, or this one before a crash, has begun come first.
        let begun = Set(records.filter { $0.retiredAt != nil }.map(\.scope))
        let total = try await store.sealedCounts().values.reduce(0, +)
        var done = 0
        for record in current.filter({ begun.contains($0.scope) }) + current.filter({ $0.id <= newest && !begun.contains($0.scope) }) {
            try Task.checkCancellation()
            let connection = record.scope.isEmpty ? nil : try await store.connection(uid: UID(text: record.scope))?.id
            if record.id <= newest, try await !keyring.rotate(scope: record.scope, at: clock.now()) { continue }
            Failpoint.pass("rotate.data_key")
            report(.dataKeys(connection: connection, done: min(done, total), total: total))
            let pass = try await reseal(scope: record.scope, connection: connection) { count in
                done += count
                report(.dataKeys(connection: connection, done: min(done, total), total: total))
            }
            rotation.resealed += pass.resealed
        }
        Failpoint.pass("rotate.resealed")
        try await deleteRetired(&rotation)
        report(.dataKeys(connection: nil, done: total, total: total))
    }

    private func reseal(scope: String, connection: String?, progress: (Int) -> Void = { _ in }) async throws -> Keyring.Pass {
        let pass = try await keyring.reseal(scope: scope, progress: progress)
        // A connection in the cache is older than its secrets' new seals.
        if let connection { connectionCache.remove(connection) }
        return pass
    }

    /// Among nodes a rotation leaves its retired data keys to the time after which nobody can need them: they go by themselves then.
    func deleteOldRetired() async {
        guard shared != nil else { return }
        do {
            guard try await store.dataKeys().contains(where: { $0.retiredAt != nil }), try await store.mark(RotationMark.self) == nil else { return }
            try await aloneInVault {
                var rotation = Rotation(masterKeyID: "")
                try await deleteRetired(&rotation)
            }
        } catch let problem as Problem where problem.code == .conflict {
            // Whoever is at it does this, too.
        } catch {
            logFailure(.warning, "retired data keys were not looked at", error)
        }
    }

    /// Until nothing is left that the retired data keys sealed: a renewal that was on its way may have written such a value
    /// behind the pass.
    private func deleteRetired(_ rotation: inout Rotation) async throws {
        let deadline = ContinuousClock.now + Self.retiredKeyPatience
        while true {
            let retired = try await store.dataKeys().filter { $0.retiredAt != nil }
            let ids = Set(retired.map(\.id))
            let deletion = try await keyring.deleteUnused(ids)
            Failpoint.pass("rotate.deleted")
            let left = retired.filter { !deletion.deleted.contains($0.id) }
            rotation.retiredDataKeys = left.count
            rotation.damaged = 0
            if left.isEmpty { return }
            var resealed = 0
            for scope in Set(left.map(\.scope)) {
                let connection = scope.isEmpty ? nil : try await store.connection(uid: UID(text: scope))?.id
                let pass = try await reseal(scope: scope, connection: connection)
                resealed += pass.resealed
                rotation.damaged += pass.damaged
            }
            rotation.resealed += resealed
            if resealed > 0 { continue }
            // What other nodes may have on its way is waited for in vain: that takes minutes.
            let isHopeless = (rotation.damaged > 0 || store.retiredKeysStay > .zero) && deletion.busy.isEmpty
            if isHopeless || ContinuousClock.now > deadline {
                let goByThemselves = rotation.damaged == 0 && store.retiredKeysStay > .zero
                logger.log(
                    level: goByThemselves ? .notice : .warning, "retired data keys stay until nothing needs them",
                    metadata: ["keys": "\(left.count)", "damaged": "\(rotation.damaged)"])
                return
            }
            try await Task.sleep(for: .milliseconds(50))
        }
    }
}

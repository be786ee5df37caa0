import Crypto
import Synchronization

/// Other keys for what is kept: data keys wrapped by another master key, ciphertexts sealed by other data keys. All of it
/// goes on while tokens are read and renewed, and can be begun again after a crash at any point.
extension Keyring {
    private static let batch = 500

    package var masterKeys: MasterKeys { state.withLock { $0.masterKeys } }

    // MARK: Master keys

    /// Takes other master keys from now on. Every data key that is made afterwards is wrapped by the first of them.
    package func adopt(_ masterKeys: MasterKeys) async throws {
        try await changes.inTurn { [self] in state.withLock { $0.masterKeys = masterKeys } }
    }

    /// Wraps every data key, the retired ones too, by the first master key, and renews the key check value.
    /// - Parameter progress: how many of how many are done.
    /// - Returns: how many were wrapped anew.
    package func rewrap(progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }) async throws -> Int {
        let first = masterKeys.first
        var count = 0
        while true {
            let records = try await store.dataKeys().filter { $0.masterKeyID != first.id }
            if records.isEmpty { break }
            for start in stride(from: 0, to: records.count, by: Self.batch) {
                try Task.checkCancellation()
                let changes = try records[start..<min(start + Self.batch, records.count)].map { record in
                    (old: record, masterKeyID: first.id, wrapped: try Self.wrap(try unwrap(record), scope: record.scope, by: first))
                }
                try await store.rewrap(changes)
                count += changes.count
                progress(start + changes.count, records.count)
                Failpoint.pass("rotate.rewrapping")
            }
        }
        try await store.setMeta(Self.checkName, try Self.makeCheck(first))
        return count
    }

    // MARK: Data keys

    /// Another data key seals for a scope from now on; the one before is retired and still opens.
    /// - Parameter scope: a connection's uid, or `""`.
    /// - Returns: false when the scope has none, because its connection was removed.
    package func rotate(scope: String, at now: Timestamp) async throws -> Bool {
        try await changes.inTurn { [self] in
            let key = SymmetricKey(size: .bits256)
            let master = masterKeys.first
            let wrapped = try Self.wrap(key, scope: scope, by: master)
            guard let id = try await store.replaceDataKey(scope: scope, masterKeyID: master.id, wrapped: wrapped, at: now) else { return false }
            state.withLock { state in
                state.byID[id] = DataKey(key: key, scope: scope)
                state.idByScope[scope] = id
            }
            return true
        }
    }

    /// What one pass over a scope's sealed values did.
    package struct Pass: Sendable, Hashable {
        package var resealed = 0
        /// Values that do not open; they stay as they are, and so does the data key that they carry.
        package var damaged = 0
    }

    /// Seals what a scope's retired data keys sealed by the one that seals now. Opens and seals between transactions, and
    /// replaces only what is still as it was read.
    /// - Parameter progress: how many values were gone through since the last call.
    package func reseal(scope: String, progress: (Int) -> Void = { _ in }) async throws -> Pass {
        var pass = Pass()
        for column in SealedColumn.all where column.isSealed(by: scope) {
            var after: [SealedValue.Key]?
            while true {
                try Task.checkCancellation()
                let values = try await store.sealedValues(in: column, scope: scope, after: after, limit: Self.batch)
                var replacements: [SealedReplacement] = []
                for value in values {
                    do throws(KeyringError) {
                        if let replacement = try anew(value, in: column, scope: scope) { replacements.append(replacement) }
                    } catch {
                        pass.damaged += 1
                    }
                }
                if !replacements.isEmpty {
                    pass.resealed += try await store.replace(replacements, in: column)
                    Failpoint.pass("rotate.resealing")
                }
                progress(values.count)
                guard values.count == Self.batch, let last = values.last else { break }
                after = last.position
            }
        }
        return pass
    }

    /// `nil` when it is sealed by the current data key, or when its connection is gone with its keys.
    /// - Throws: ``KeyringError/damaged``
    private func anew(_ value: SealedValue, in column: SealedColumn, scope: String) throws(KeyringError) -> SealedReplacement? {
        guard let id = value.sealed.dataKeyID else { throw .damaged }
        let isRetired = state.withLock { $0.idByScope[scope] != id && $0.byID[id]?.scope == scope }
        guard isRetired else { return nil }
        let place = column.place(value)
        do {
            let plaintext = try open(value.sealed, at: place)
            return SealedReplacement(value, with: try seal(plaintext, at: place, scope: scope.isEmpty ? nil : UID(text: scope)))
        } catch .noDataKey {
            return nil
        }
    }

    /// The same value under the data key that seals now. Whoever writes back what was read writes this instead: what was
    /// read may carry a key that is deleted before the write.
    /// - Returns: `sealed` itself when it does not open.
    package func anew(_ sealed: Sealed, at place: Place, scope: UID?) throws(KeyringError) -> Sealed {
        let plaintext: [UInt8]
        do {
            plaintext = try open(sealed, at: place)
        } catch {
            return sealed
        }
        return try seal(plaintext, at: place, scope: scope)
    }

    package struct Deletion: Sendable, Hashable {
        /// They are gone: in memory they open for a while yet what was read before.
        package var deleted: Set<Int> = []
        /// Values that they sealed are on their way to the store.
        package var busy: Set<Int> = []
    }

    /// Deletes the retired data keys among `ids` that no sealed value carries, neither in the store nor on its way there.
    package func deleteUnused(_ ids: Set<Int>) async throws -> Deletion {
        // Nothing is sealed by a retired key any more. When no value that it sealed is left in memory either, each was
        // written, or never will be: from here on the count can only fall.
        let busy = state.withLock { state in
            ids.filter { id in
                guard let scope = state.byID[id]?.scope else { return false }
                return state.idByScope[scope] == id || !isKnownUniquelyReferenced(&state.byID[id]!.use)
            }
        }
        var deletion = Deletion(busy: busy)
        if busy.count < ids.count { deletion.deleted = try await store.deleteUnusedDataKeys(ids.subtracting(busy)) }
        state.withLock { state in state.spent.formUnion(deletion.deleted.filter { state.byID[$0] != nil }) }
        return deletion
    }

    /// Drops from memory the deleted data keys that were there at the last call already. Call it every few minutes.
    package func forgetSpent() {
        state.withLock { state in
            for id in state.fading { state.byID[id] = nil }
            state.fading = state.spent
            state.spent = []
        }
    }
}

extension SealedColumn {
    func isSealed(by scope: String) -> Bool {
        if case .nobody = owner { scope == Keyring.commonScope } else { scope != Keyring.commonScope }
    }
}

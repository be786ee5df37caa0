/// Whether what is kept can be opened, value by value. Reads only.
extension Keyring {
    private static let page = 500

    /// The key check value and the data keys: each must open with a master key that is at hand.
    /// - Returns: how many were checked.
    package func verifyKeys(found: (VaultFault) -> Void) async throws -> Int {
        let masterKeys = masterKeys
        if let check = try await store.meta(Self.checkName) {
            do {
                try Self.verify(check, masterKeys)
            } catch {
                found(VaultFault(record: Self.checkName, detail: error.words))
            }
        } else {
            found(VaultFault(record: Self.checkName, detail: "it is missing: a wrong master key could not be told from damage"))
        }
        let records = try await store.dataKeys()
        for record in records {
            do {
                _ = try unwrap(record)
            } catch {
                found(
                    VaultFault(
                        record: "data_key", uid: String(record.id), connectionUID: record.scope.isEmpty ? nil : UID(text: record.scope), field: "wrapped",
                        detail: error.words))
            }
        }
        return records.count + 1
    }

    /// Every ciphertext of a column: it must open at its place.
    /// - Parameter progress: how many were gone through since the last call.
    /// - Throws: `StoreError` other than damage, which is found.
    package func verify(_ column: SealedColumn, progress: (Int) -> Void, found: (VaultFault) -> Void) async throws {
        var after: [SealedValue.Key]?
        var stored: Set<Int> = []
        while true {
            try Task.checkCancellation()
            let values: [SealedValue]
            do {
                values = try await store.sealedValues(in: column, scope: nil, after: after, limit: Self.page)
            } catch StoreError.damaged(let detail) {
                return found(VaultFault(record: column.record, field: column.column, detail: "the rest could not be read: \(detail)"))
            }
            for value in values {
                // In memory a data key may outlive its record; after the next start it would be missed.
                if let id = value.sealed.dataKeyID, !stored.contains(id) { stored = try await storedIDs() }
                guard let fault = try await fault(of: value, in: column, stored: stored) else { continue }
                // What was replaced or removed since it was read is no fault.
                guard try await store.holds(value, in: column) else { continue }
                found(
                    VaultFault(record: column.record, uid: value.key.text, connectionUID: value.connectionUID, field: column.column, detail: fault.words))
            }
            progress(values.count)
            guard values.count == Self.page, let last = values.last else { return }
            after = last.position
        }
    }

    /// Empty where they are too damaged to be read: that was found before.
    private func storedIDs() async throws -> Set<Int> {
        do {
            return Set(try await store.dataKeys().map(\.id))
        } catch StoreError.damaged {
            return []
        }
    }

    private func fault(of value: SealedValue, in column: SealedColumn, stored: Set<Int>) async throws -> KeyringError? {
        do {
            _ = try await opened(value.sealed, at: column.place(value))
        } catch let error as KeyringError {
            return error
        }
        return value.sealed.dataKeyID.map(stored.contains) == true ? nil : .noDataKey
    }
}

/// Something in the store that is not as it should be. No secret in it.
package struct VaultFault: Sendable, Hashable {
    /// `database`, `key_check`, `data_key`, or the record whose sealed value does not open.
    package var record: String
    package var uid: String?
    package var connectionUID: UID?
    package var field: String?
    /// In words.
    package var detail: String

    package init(record: String, uid: String? = nil, connectionUID: UID? = nil, field: String? = nil, detail: String) {
        self.record = record
        self.uid = uid
        self.connectionUID = connectionUID
        self.field = field
        self.detail = detail
    }
}

extension KeyringError {
    fileprivate var words: String {
        switch self {
        case .badMasterKeys(let reason): reason
        case .wrongMasterKey(let id, let hasOtherBytes):
            hasOtherBytes
                ? "it was sealed with another master key than the one given: that has the same id, \(id), and other bytes"
                : "it was sealed with another master key than those given (its id is \(id))"
        case .damaged: "it does not open: it was changed, or belongs to another place"
        case .noDataKey: "the data key that sealed it is gone"
        }
    }
}

import Crypto
import Foundation
import OAuth
import Synchronization

/// Seals and opens what is kept: AES-256-GCM under HKDF(data key, salt), data keys wrapped by a master key.
///
/// Additional data are the length-prefixed table, uid, field and generation, so a ciphertext moved elsewhere does not open.
/// One keyring per store: of two, one would not know what the other rotates.
package final class Keyring: Sendable {
    /// What a ciphertext is bound to.
    package struct Place: Sendable, Hashable {
        package var table: String
        package var uid: String
        package var field: String
        package var generation: Int

        package init(table: String, uid: String, field: String, generation: Int = 0) {
            self.table = table
            self.uid = uid
            self.field = field
            self.generation = generation
        }

        var additionalData: [UInt8] { lengthPrefixed([table, uid, field, String(generation)]) }
    }

    struct DataKey {
        let key: SymmetricKey
        let scope: String
        var use = DataKeyUse()
    }

    struct State {
        var masterKeys: MasterKeys
        /// Those that seal, the retired ones, and for a while those that are deleted already: a record that was read before
        /// it was sealed anew still opens.
        var byID: [Int: DataKey] = [:]
        /// The one that seals.
        var idByScope: [String: Int] = [:]
        /// Deleted from the store.
        var spent: Set<Int> = []
        /// Deleted so long ago that the next ``forgetSpent()`` drops them.
        var fading: Set<Int> = []
    }

    static let checkName = "key_check"
    private static let checkText = Array("grantee key check 1".utf8)
    /// The scope of what belongs to no connection.
    static let commonScope = ""

    let store: any Store
    let state: Mutex<State>
    /// What changes data keys, one after the other.
    let changes = KeyChanges()

    /// Checks the key check value of `store`, or writes one into an empty store, and loads the data keys.
    /// - Throws: ``KeyringError``: a wrong key is told from damage. Nothing is written then. Also `StoreError`.
    package init(masterKeys: MasterKeys, store: any Store) async throws {
        self.store = store
        state = Mutex(State(masterKeys: masterKeys))
        let records = try await store.dataKeys()
        if let check = try await store.meta(Self.checkName) {
            try Self.verify(check, masterKeys)
        } else {
            // Without a check value there can be no data keys either: the store is new, or it was damaged.
            guard records.isEmpty else { throw KeyringError.damaged }
            try await store.setMeta(Self.checkName, try Self.makeCheck(masterKeys.first))
        }
        try load(records)
        if state.withLock({ $0.idByScope[Self.commonScope] }) == nil { try await changes.inTurn { [self] in try await make(scope: Self.commonScope) } }
    }

    // MARK: Sealing

    /// - Parameter scope: the connection's uid, or `nil` for what belongs to none. Its key must have been prepared.
    package func seal(_ plaintext: [UInt8], at place: Place, scope: UID?) throws(KeyringError) -> Sealed {
        let scope = scope?.text ?? Self.commonScope
        // Together with the key its use is taken: from here to the write the key cannot be deleted.
        let found = state.withLock { state -> (Int, DataKey)? in
            guard let id = state.idByScope[scope], let key = state.byID[id] else { return nil }
            return (id, key)
        }
        guard let (id, key) = found else { throw .noDataKey }
        let bytes = try Envelope.seal(plaintext, key: key.key, keyID: UInt32(id), additionalData: place.additionalData)
        return Sealed(bytes: bytes, use: key.use)
    }

    /// - Throws: ``KeyringError/damaged`` when it was changed or moved, ``KeyringError/noDataKey`` when its key is gone.
    package func open(_ sealed: Sealed, at place: Place) throws(KeyringError) -> [UInt8] {
        guard let id = Envelope.keyID(of: sealed.bytes) else { throw .damaged }
        guard let key = state.withLock({ $0.byID[Int(id)]?.key }) else { throw .noDataKey }
        return try Envelope.open(sealed.bytes, key: key, additionalData: place.additionalData)
    }

    // MARK: Data keys

    /// Makes the data key of a connection unless it has one. Call before sealing with that scope.
    package func prepare(scope: UID) async throws {
        guard state.withLock({ $0.idByScope[scope.text] }) == nil else { return }
        try await changes.inTurn { [self] in try await make(scope: scope.text) }
    }

    /// Forgets a deleted connection's data keys, in memory and store: its ciphertexts are unreadable from then on.
    package func destroy(scope: UID) async throws {
        try await changes.inTurn { [self] in
            try await store.deleteDataKey(scope: scope.text)
            state.withLock { state in
                state.idByScope[scope.text] = nil
                state.byID = state.byID.filter { $0.value.scope != scope.text }
            }
        }
    }

    private func make(scope: String) async throws {
        guard state.withLock({ $0.idByScope[scope] }) == nil else { return }
        let key = SymmetricKey(size: .bits256)
        let master = state.withLock { $0.masterKeys.first }
        do {
            let id = try await store.insertDataKey(scope: scope, masterKeyID: master.id, wrapped: try Self.wrap(key, scope: scope, by: master))
            state.withLock { state in
                state.byID[id] = DataKey(key: key, scope: scope)
                state.idByScope[scope] = id
            }
        } catch StoreError.conflict {
            // Somebody else was first: theirs is the key.
            try load(try await store.dataKeys().filter { $0.scope == scope })
        }
    }

    func load(_ records: [DataKeyRecord]) throws(KeyringError) {
        for record in records {
            let key = try unwrap(record)
            state.withLock { state in
                if state.byID[record.id] == nil { state.byID[record.id] = DataKey(key: key, scope: record.scope) }
                if record.retiredAt == nil { state.idByScope[record.scope] = record.id }
            }
        }
    }

    static func wrap(_ key: SymmetricKey, scope: String, by master: MasterKeys.Key) throws(KeyringError) -> [UInt8] {
        try Envelope.seal(key.withUnsafeBytes(Array.init), key: master.key, keyID: 0, additionalData: lengthPrefixed(["data_key", scope]))
    }

    /// - Throws: ``KeyringError``: its master key is not among those given, or it was damaged.
    func unwrap(_ record: DataKeyRecord) throws(KeyringError) -> SymmetricKey {
        guard let master = state.withLock({ $0.masterKeys.find(record.masterKeyID) }) else { throw .wrongMasterKey(id: record.masterKeyID) }
        return SymmetricKey(data: try Envelope.open(record.wrapped, key: master.key, additionalData: lengthPrefixed(["data_key", record.scope])))
    }

    // MARK: The key check value: `id length | id | envelope of a known text`

    static func makeCheck(_ master: MasterKeys.Key) throws(KeyringError) -> [UInt8] {
        let id = Array(master.id.utf8)
        return [UInt8(id.count)] + id + (try Envelope.seal(checkText, key: master.key, keyID: 0, additionalData: lengthPrefixed(["check", master.id])))
    }

    static func verify(_ check: [UInt8], _ masterKeys: MasterKeys) throws(KeyringError) {
        guard let count = check.first, check.count > Int(count) + 1, let id = String(validating: check[1...Int(count)], as: UTF8.self) else { throw .damaged }
        guard let master = masterKeys.find(id) else { throw .wrongMasterKey(id: id) }
        do {
            let text = try Envelope.open(Array(check[(Int(count) + 1)...]), key: master.key, additionalData: lengthPrefixed(["check", id]))
            guard text == checkText else { throw KeyringError.damaged }
        } catch {
            // The text is ours and public, so what does not open was sealed by another key.
            throw .wrongMasterKey(id: id, hasOtherBytes: true)
        }
    }
}

package enum KeyringError: Error, Sendable, Hashable {
    /// The master key text is malformed; in words, without the text.
    case badMasterKeys(String)
    /// The store was sealed with a master key that is not among those given, or has other bytes under this id there.
    case wrongMasterKey(id: String, hasOtherBytes: Bool = false)
    /// What is stored does not open though the key is right: it was damaged or moved.
    case damaged
    /// The data key is gone with its connection, or was never made.
    case noDataKey
}

/// Each part behind its length in four bytes: no two lists of parts give the same bytes.
func lengthPrefixed(_ parts: [String]) -> [UInt8] {
    parts.flatMap { part in
        let bytes = Array(part.utf8)
        return withUnsafeBytes(of: UInt32(bytes.count).bigEndian, Array.init) + bytes
    }
}

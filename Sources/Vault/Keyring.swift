import Crypto
import Foundation
import OAuth
import Synchronization

/// Seals and opens what is kept: AES-256-GCM under HKDF(data key, salt), data keys wrapped by a master key.
///
/// Additional data are the length-prefixed table, uid, field and generation, so a ciphertext moved elsewhere does not open.
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

        fileprivate var additionalData: [UInt8] { lengthPrefixed([table, uid, field, String(generation)]) }
    }

    private struct State {
        var byID: [Int: SymmetricKey] = [:]
        var idByScope: [String: Int] = [:]
    }

    private static let checkName = "key_check"
    private static let checkText = Array("grantee key check 1".utf8)
    /// The scope of what belongs to no connection.
    private static let commonScope = ""

    private let masterKeys: MasterKeys
    private let store: any Store
    private let state = Mutex(State())

    /// Checks the key check value of `store`, or writes one into an empty store, and loads the data keys.
    /// - Throws: ``KeyringError``: a wrong key is told from damage. Nothing is written then. Also `StoreError`.
    package init(masterKeys: MasterKeys, store: any Store) async throws {
        self.masterKeys = masterKeys
        self.store = store
        let records = try await store.dataKeys()
        if let check = try await store.meta(Self.checkName) {
            try Self.verify(check, masterKeys)
        } else {
            // Without a check value there can be no data keys either: the store is new, or it was damaged.
            guard records.isEmpty else { throw KeyringError.damaged }
            try await store.setMeta(Self.checkName, try Self.makeCheck(masterKeys.first))
        }
        try load(records)
        if state.withLock({ $0.idByScope[Self.commonScope] }) == nil { try await make(scope: Self.commonScope) }
    }

    // MARK: Sealing

    /// - Parameter scope: the connection's uid, or `nil` for what belongs to none. Its key must have been prepared.
    package func seal(_ plaintext: [UInt8], at place: Place, scope: UID?) throws(KeyringError) -> Sealed {
        let scope = scope?.text ?? Self.commonScope
        let found = state.withLock { state -> (Int, SymmetricKey)? in
            guard let id = state.idByScope[scope], let key = state.byID[id] else { return nil }
            return (id, key)
        }
        guard let (id, key) = found else { throw .noDataKey }
        return Sealed(bytes: try Envelope.seal(plaintext, key: key, keyID: UInt32(id), additionalData: place.additionalData))
    }

    /// - Throws: ``KeyringError/damaged`` when it was changed or moved, ``KeyringError/noDataKey`` when its key is gone.
    package func open(_ sealed: Sealed, at place: Place) throws(KeyringError) -> [UInt8] {
        guard let id = Envelope.keyID(of: sealed.bytes) else { throw .damaged }
        guard let key = state.withLock({ $0.byID[Int(id)] }) else { throw .noDataKey }
        return try Envelope.open(sealed.bytes, key: key, additionalData: place.additionalData)
    }

    // MARK: Data keys

    /// Makes the data key of a connection unless it has one. Call before sealing with that scope.
    package func prepare(scope: UID) async throws {
        guard state.withLock({ $0.idByScope[scope.text] }) == nil else { return }
        try await make(scope: scope.text)
    }

    /// Forgets a deleted connection's data key, in memory and store: its ciphertexts are unreadable from then on.
    package func destroy(scope: UID) async throws {
        try await store.deleteDataKey(scope: scope.text)
        state.withLock { state in
            if let id = state.idByScope.removeValue(forKey: scope.text) { state.byID[id] = nil }
        }
    }

    private func make(scope: String) async throws {
        let key = SymmetricKey(size: .bits256)
        let wrapped = try Envelope.seal(
            key.withUnsafeBytes(Array.init), key: masterKeys.first.key, keyID: 0, additionalData: lengthPrefixed(["data_key", scope]))
        do {
            let id = try await store.insertDataKey(scope: scope, masterKeyID: masterKeys.first.id, wrapped: wrapped)
            state.withLock { state in
                state.byID[id] = key
                state.idByScope[scope] = id
            }
        } catch StoreError.conflict {
            // Somebody else was first: theirs is the key.
            try load(try await store.dataKeys().filter { $0.scope == scope })
        }
    }

    private func load(_ records: [DataKeyRecord]) throws(KeyringError) {
        for record in records {
            guard let master = masterKeys.find(record.masterKeyID) else { throw .wrongMasterKey(id: record.masterKeyID) }
            let bytes = try Envelope.open(record.wrapped, key: master.key, additionalData: lengthPrefixed(["data_key", record.scope]))
            let key = SymmetricKey(data: bytes)
            state.withLock { state in
                state.byID[record.id] = key
                state.idByScope[record.scope] = record.id
            }
        }
    }

    // MARK: The key check value: `id length | id | envelope of a known text`

    private static func makeCheck(_ master: MasterKeys.Key) throws(KeyringError) -> [UInt8] {
        let id = Array(master.id.utf8)
        return [UInt8(id.count)] + id + (try Envelope.seal(checkText, key: master.key, keyID: 0, additionalData: lengthPrefixed(["check", master.id])))
    }

    private static func verify(_ check: [UInt8], _ masterKeys: MasterKeys) throws(KeyringError) {
        guard let count = check.first, check.count > Int(count) + 1, let id = String(validating: check[1...Int(count)], as: UTF8.self) else { throw .damaged }
        guard let master = masterKeys.find(id) else { throw .wrongMasterKey(id: id) }
        do {
            let text = try Envelope.open(Array(check[(Int(count) + 1)...]), key: master.key, additionalData: lengthPrefixed(["check", id]))
            guard text == checkText else { throw KeyringError.damaged }
        } catch {
            // The same id with other bytes: the text is ours and public, so what does not open was sealed by another key.
            throw .wrongMasterKey(id: id)
        }
    }
}

package enum KeyringError: Error, Sendable, Hashable {
    /// The master key text is malformed; in words, without the text.
    case badMasterKeys(String)
    /// The store was sealed with a master key that is not among those given, or has other bytes under this id.
    case wrongMasterKey(id: String)
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

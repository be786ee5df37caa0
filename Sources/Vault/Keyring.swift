package import OAuth

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
            self.table = table; self.uid = uid; self.field = field; self.generation = generation
        }
    }

    /// `id:base64url of 32 bytes`, comma separated; the first one seals.
    package struct MasterKeys: Sendable {
        package init(parsing text: String) throws(KeyringError) { fatalError("stub") }
        /// A new single key with id `k1`, as the text that ``init(parsing:)`` reads.
        package static func generate() -> String { fatalError("stub") }
    }

    /// Checks the key check value of `store`, or writes one into an empty store, and loads the data keys.
    /// - Throws: ``KeyringError``: a wrong key is told from damage; nothing was written then.
    package init(masterKeys: MasterKeys, store: any Store) async throws { fatalError("stub") }

    /// Makes the data key of a connection unless it has one. Call before sealing with that scope.
    package func prepare(scope: UID) async throws { fatalError("stub") }
    /// - Parameter scope: the connection's uid, or `nil` for what belongs to none.
    package func seal(_ plaintext: [UInt8], at place: Place, scope: UID?) throws(KeyringError) -> Sealed { fatalError("stub") }
    package func open(_ sealed: Sealed, at place: Place) throws(KeyringError) -> [UInt8] { fatalError("stub") }
    /// Forgets a deleted connection's data key, in memory and store: its ciphertexts are unreadable from then on.
    package func destroy(scope: UID) async throws { fatalError("stub") }
}

package enum KeyringError: Error, Sendable, Hashable {
    /// The master key text is malformed; in words.
    case badMasterKeys(String)
    /// The store was sealed with a master key that is not among those given; its id.
    case wrongMasterKey(id: String)
    /// What is stored does not open though the key is right: it was damaged or moved.
    case damaged
}

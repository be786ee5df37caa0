import Crypto
package import Vault

/// The chain's secret: sealed, in the store itself. A backup of the database and its master key can be verified anywhere.
extension ActivityChain {
    private static let name = "activity_chain"
    private static let place = Keyring.Place.activityChain
    private static let secretLength = 32

    /// The chain of a store; `nil` where no server has begun one.
    package init?(of store: any Store, keyring: Keyring) async throws {
        guard let sealed = try await store.meta(Self.name) else { return nil }
        // The secret, and the number of entries before it in eight bytes.
        let bytes = try await keyring.opened(Sealed(bytes: sealed), at: Self.place)
        guard bytes.count == Self.secretLength + 8 else { throw KeyringError.damaged }
        let count = bytes[Self.secretLength...].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        self.init(secret: Array(bytes.prefix(Self.secretLength)), entriesBefore: Int(clamping: count))
    }

    /// Begins one.
    static func make(in store: any Store, keyring: Keyring) async throws -> ActivityChain {
        let secret = SymmetricKey(size: .bits256).withUnsafeBytes(Array.init)
        let count = try await store.unlinkedActivity()
        let bytes = secret + withUnsafeBytes(of: UInt64(count).bigEndian, Array.init)
        let sealed = try keyring.seal(bytes, at: place, scope: nil)
        try await store.setMeta(name, sealed.bytes)
        withExtendedLifetime(sealed) {}
        return ActivityChain(secret: secret, entriesBefore: count)
    }
}

import Crypto
import Synchronization

/// Data keys that another node made, replaced or deleted.
extension Keyring {
    /// Opens what was sealed here or on another node, whose data key may be newer than what is known here.
    /// - Throws: ``KeyringError``; `StoreError` when the key had to be looked for.
    package func opened(_ sealed: Sealed, at place: Place) async throws -> [UInt8] {
        do {
            return try open(sealed, at: place)
        } catch KeyringError.noDataKey where store is any SharedStore {
            try await reload()
            return try open(sealed, at: place)
        }
    }

    /// That the data key of a connection is known, if it has one. Call it for a connection that was read from the store, before sealing.
    package func learn(scope: UID) async throws {
        guard store is any SharedStore, !knows(scope) else { return }
        try await reload()
    }

    private func knows(_ scope: UID) -> Bool { state.withLock { $0.idByScope[scope.text] } != nil }

    /// The same value under the data key that seals now, where its own was retired meanwhile. Call it for what waited to be
    /// written: a retired key is deleted in the end.
    package func unlessRetired(_ sealed: Sealed, at place: Place, scope: UID) throws(KeyringError) -> Sealed {
        let current = state.withLock { $0.idByScope[scope.text] }
        return current == nil || current == sealed.dataKeyID ? sealed : try anew(sealed, at: place, scope: scope)
    }

    /// Takes over what the store has. What it has no more still opens for a while what was read before.
    package func reload() async throws {
        try await changes.inTurn { [self] in
            let records = try await store.dataKeys()
            do {
                try load(records)
            } catch KeyringError.damaged {
                // The check value tells another master key under a known id from damage.
                if let check = try await store.meta(Self.checkName) { try Self.verify(check, masterKeys) }
                throw KeyringError.damaged
            }
            let ids = Set(records.map(\.id))
            let scopes = Set(records.map(\.scope))
            state.withLock { state in
                for scope in state.idByScope.keys where !scopes.contains(scope) { state.idByScope[scope] = nil }
                state.spent.formUnion(state.byID.keys.filter { !ids.contains($0) })
            }
        }
    }
}

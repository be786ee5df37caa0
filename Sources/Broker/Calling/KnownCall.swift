import CoreMetrics
import Synchronization
package import Vault

/// Grows with each change to the callers, connections and tokens in memory that may make a look-up find something else than before;
/// only a token that comes in where none was makes it not grow.
final class MemoryAge: Sendable {
    private let value = Atomic<UInt64>(0)
    var now: UInt64 { value.load(ordering: .acquiring) }
    func grow() { value.wrappingAdd(1, ordering: .acquiringAndReleasing) }
}

/// Who asks which connection with which token, as one request found it in memory: the next one of the same kind need not look it up.
package final class KnownCall: Sendable {
    package let caller: Caller
    package let destination: Destination
    package let credential: Credential
    fileprivate let entry: TokenCache.Entry
    fileprivate let age: UInt64
    /// `nil` = only a change ends it.
    fileprivate let until: Timestamp?

    fileprivate init(_ caller: Caller, _ destination: Destination, _ credential: Credential, of entry: TokenCache.Entry, age: UInt64) {
        (self.caller, self.destination, self.credential, self.entry, self.age) = (caller, destination, credential, entry, age)
        until = [entry.freshUntil, caller.key.expiresAt].compactMap { $0 }.min()
    }
}

extension Broker {
    /// The hot path: all that a call needs, found in memory. No await, no database, no decryption.
    /// - Parameters:
    ///   - caller: asked for the caller, which is not judged here.
    /// - Returns: `nil` when something is not there, or not fresh.
    package func knownCall(_ destination: Destination, subject: String, at now: Timestamp, caller: () -> Caller?) -> KnownCall? {
        // Before anything is looked up: what changes meanwhile ends it at once.
        let age = memoryAge.now
        guard let caller = caller(), knownDestination(destination.connection.id) === destination,
            let (entry, credential) = find(destination, subject: subject, at: now)
        else { return nil }
        return KnownCall(caller, destination, credential, of: entry, age: age)
    }

    /// Whether looking it all up again would find the same.
    package func isCurrent(_ call: KnownCall, at now: Timestamp) -> Bool {
        isCoherent && call.age == memoryAge.now && call.until.map { now < $0 } ?? true
    }

    /// To be called for each request that goes out with it.
    package func countUse(of call: KnownCall) {
        call.entry.use()
        call.entry.reads.increment()
    }

    /// A credential that is fresh, counted as used.
    package func knownCredential(_ destination: Destination, subject: String, at now: Timestamp) -> Credential? {
        guard let (entry, credential) = find(destination, subject: subject, at: now) else { return nil }
        entry.reads.increment()
        return credential
    }

    private func find(_ destination: Destination, subject: String, at now: Timestamp) -> (TokenCache.Entry, Credential)? {
        guard isCoherent, let entry = tokenCache.find(TokenCache.Key(connectionID: destination.connection.id, subject: subject)),
            entry.connectionUID == destination.connection.uid
        else { return nil }
        if let freshUntil = entry.freshUntil, now >= freshUntil { return nil }
        guard let credential = entry.credential(for: destination) else { return nil }
        return (entry, credential)
    }
}

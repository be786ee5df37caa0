import OAuth
import Synchronization
import Vault

/// Metadata documents read when a connect began, for ten minutes.
final class MetadataCache: Sendable {
    private static let lifetime: Duration = .seconds(600)
    private static let capacity = 500
    private let entries = Mutex<[String: (metadata: AuthorizationServerMetadata, until: Timestamp)]>([:])

    func find(_ issuer: String, now: Timestamp) -> AuthorizationServerMetadata? {
        entries.withLock { entries in
            guard let entry = entries[issuer], entry.until > now else { return nil }
            return entry.metadata
        }
    }
    func insert(_ metadata: AuthorizationServerMetadata, issuer: String, now: Timestamp) {
        entries.withLock { entries in
            if entries.count >= Self.capacity { entries = [:] }
            entries[issuer] = (metadata, now + Self.lifetime)
        }
    }
}

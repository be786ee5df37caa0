import Broker
import NIOCore
import Synchronization
import Vault

/// Grants whose new token an API refused like the old one: another renewal would not help. SEC-61.
final class APIRenewals: Sendable {
    private struct Refusal {
        let generation: Int
        let at: NIODeadline
    }
    private static let pause = TimeAmount.seconds(60)
    private static let capacity = 10_000
    private let refused = Mutex<[UID: Refusal]>([:])

    /// Whether a 401 is worth a renewal.
    func mayRenew(_ credential: Credential, at now: NIODeadline) -> Bool {
        refused.withLock { refused in
            guard let last = refused[credential.grantUID], last.generation == credential.generation else { return true }
            return now - last.at > Self.pause
        }
    }

    func note(refusedAnew credential: Credential, at now: NIODeadline) {
        refused.withLock { refused in
            if refused.count >= Self.capacity { refused = refused.filter { now - $0.value.at <= Self.pause } }
            if refused.count >= Self.capacity { refused = [:] }
            refused[credential.grantUID] = Refusal(generation: credential.generation, at: now)
        }
    }
}

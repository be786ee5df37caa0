import Vault

/// When a token is renewed and until when it serves: from its expiry and the moment of its renewal alone.
struct Lifetime: Sendable, Hashable {
    /// `nil` = not known: served until somebody says that it does not work.
    let expiresAt: Timestamp?
    /// From here it is renewed in the background; `nil` = it cannot be renewed, so it serves to its end.
    let renewAt: Timestamp?

    init(of grant: Grant) {
        expiresAt = grant.expiresAt
        renewAt = grant.nextRefreshAt
    }

    /// The last fifth of the lifetime, at most five minutes.
    static func renewAt(issuedAt: Timestamp, expiresAt: Timestamp?) -> Timestamp? {
        guard let expiresAt else { return nil }
        let lifetime = max(expiresAt.milliseconds - issuedAt.milliseconds, 0)
        return Timestamp(milliseconds: expiresAt.milliseconds - min(lifetime / 5, 300_000))
    }

    /// From here callers wait for the renewal: a tenth of the lifetime, at most a minute, before the end. That is half
    /// of the renewal's head start, at most a minute.
    var waitAt: Timestamp? {
        guard let expiresAt, let renewAt else { return expiresAt }
        return Timestamp(milliseconds: expiresAt.milliseconds - min((expiresAt.milliseconds - renewAt.milliseconds) / 2, 60_000))
    }

    /// Until here a token is handed out without a thought.
    var freshUntil: Timestamp? { renewAt ?? expiresAt }

    func isAlive(at now: Timestamp) -> Bool { expiresAt.map { now < $0 } ?? true }
}

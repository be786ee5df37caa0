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

    /// Renewed at a time that has not come yet: the clock was set back, so that its expiry says nothing. It is renewed as
    /// if it were due.
    static func isFromTheFuture(_ grant: Grant, at now: Timestamp) -> Bool {
        (grant.refreshedAt ?? grant.createdAt) > now + .seconds(60)
    }

    /// When the background refresher takes a grant up: where it is renewed ahead of its end anyway, later by up to a tenth
    /// of that window, so that grants made together are not refreshed together. A refresh token that dies of disuse is
    /// used when four fifths of its time have passed.
    static func dueAt(issuedAt: Timestamp, renewAt: Timestamp?, expiresAt: Timestamp?, idleAt: Timestamp?, jitter: Double) -> Timestamp? {
        var times: [Timestamp] = []
        if let renewAt, let expiresAt {
            times.append(Timestamp(milliseconds: renewAt.milliseconds + Int64(Double(max(expiresAt.milliseconds - renewAt.milliseconds, 0)) / 10 * jitter)))
        }
        if let idleAt { times.append(Timestamp(milliseconds: issuedAt.milliseconds + (idleAt.milliseconds - issuedAt.milliseconds) / 5 * 4)) }
        return times.min()
    }

    /// The last tenth of the life of a refresh token: whatever is known of it, it is sent before it dies.
    static func lastChance(of grant: Grant) -> Timestamp? {
        grant.diesAt.map { diesAt in
            let life = max(diesAt.milliseconds - (grant.refreshedAt ?? grant.createdAt).milliseconds, 0)
            return Timestamp(milliseconds: diesAt.milliseconds - life / 10)
        }
    }

    /// When the end of a refresh token is announced: a fifth of its life before, a week at most.
    static func warnAt(issuedAt: Timestamp, diesAt: Timestamp) -> Timestamp {
        let life = max(diesAt.milliseconds - issuedAt.milliseconds, 0)
        return Timestamp(milliseconds: diesAt.milliseconds - min(life / 5, 7 * 86_400_000))
    }

    /// The last fifth of the lifetime, at most five minutes, or as many seconds as the provider allows.
    /// - Parameter margin: `refresh_margin` of the connection or its preset.
    static func renewAt(issuedAt: Timestamp, expiresAt: Timestamp?, margin: Int? = nil) -> Timestamp? {
        guard let expiresAt else { return nil }
        let lifetime = max(expiresAt.milliseconds - issuedAt.milliseconds, 0)
        let longest = margin.map { min(Int64($0) * 1000, 300_000) } ?? 300_000
        return Timestamp(milliseconds: expiresAt.milliseconds - min(lifetime / 5, longest))
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

import Broker
import Vault

/// What will die, said ahead: a client secret, refresh tokens with an end, grants that cannot be refreshed.
enum Endings {
    /// So many are said one by one.
    private static let most = 5
    /// A client secret's end is said so long before it.
    private static let secretWarning = Duration.seconds(90 * 86_400)

    /// The soonest first, each with `kind`, `sentence` and `time`.
    static func values(_ head: ConnectionHead) -> [[String: Any]] {
        let all = secret(head) + head.grants.compactMap { grant($0, of: head.connection, now: head.now) }
        return all.sorted { $0.at < $1.at }.prefix(most).map { ending in
            ["kind": ending.kind.rawValue, "sentence": ending.sentence, "time": TimeText.value(ending.at, from: head.now)]
        }
    }

    private struct Ending {
        let at: Timestamp
        let kind: ActivityWords.Mark
        let sentence: String
    }

    private static func secret(_ head: ConnectionHead) -> [Ending] {
        guard head.connection.clientSecret != nil, let at = head.connection.settings.oauth.clientSecretExpiresAt, at <= head.now + secretWarning else {
            return []
        }
        let when = TimeText.ahead(at, from: head.now)
        let sentence =
            at <= head.now
            ? "The client secret ended \(when). Make a new one at the provider and store it under Edit."
            : "The client secret ends \(when). Make a new one at the provider before, and store it under Edit."
        return [Ending(at: at, kind: at <= head.now ? .bad : .warn, sentence: sentence)]
    }

    private static func grant(_ view: GrantView, of connection: Connection, now: Timestamp) -> Ending? {
        let grant = view.grant
        guard grant.state == .active else { return nil }
        let whose = grant.subject.isEmpty ? "the shared grant" : grant.subject
        if let at = grant.diesAt {
            let when = TimeText.ahead(at, from: now)
            let isFinal = grant.refreshExpiresAt == at
            let care =
                isFinal
                ? "Then a person has to connect again."
                : connection.settings.keepAlive
                    ? "Grantee refreshes it before that." : "Each refresh puts that off; with Keep alive switched on under Edit, Grantee refreshes it in time."
            return Ending(at: at, kind: isFinal ? .warn : .info, sentence: "The refresh token of \(whose) ends \(when). \(care)")
        }
        guard grant.refreshToken == nil, !connection.fetchesAlone, let at = grant.expiresAt, at > now else { return nil }
        return Ending(
            at: at, kind: .warn,
            sentence:
                "The access token of \(whose) ends \(TimeText.ahead(at, from: now)), and there is no refresh token. Then a person has to connect again.")
    }
}

import Logging
import Vault

/// Telling ahead of time what will die: refresh tokens with a known end or a limit of inactivity, and client secrets.
extension Broker {
    /// How long before its end a client secret's is announced.
    static let secretWarning: Duration = .seconds(14 * 86_400)

    func announceEndings() async {
        do {
            let now = clock.now()
            for grant in try await store.grantsToWarn(now: now, limit: 200) {
                guard let connection = try await store.connection(uid: grant.connectionUID) else { continue }
                let events = [event(.grantExpiring, grant, of: connection, reason: "refresh_token_expires", remedy: .reauthorize)]
                guard try await store.noteWarned(grant: grant.uid, expectedGeneration: grant.tokenGeneration, events: events) else { continue }
                note("grant.expiring", connection: connection, subject: grant.subject, detail: grant.diesAt.map { "refresh token dies \($0.rfc3339)" })
            }
            var cursor: String?
            repeat {
                let page = try await store.connections(after: cursor, limit: 200)
                for connection in page { try await announceSecret(of: connection, at: now) }
                cursor = page.count == 200 ? page.last?.id : nil
            } while cursor != nil
        } catch {
            logFailure(.warning, "what will die was not announced; it is tried again", error)
        }
    }

    private func announceSecret(of connection: Connection, at now: Timestamp) async throws {
        guard let expiry = connection.settings.oauth.clientSecretExpiresAt, expiry <= now + Self.secretWarning else { return }
        let events = [event(.connectionSecretExpiring, of: connection, reason: expiry <= now ? "expired" : "expires", remedy: .fixConnection)]
        guard try await store.noteSecretWarned(connection: connection.uid, expiry: expiry, events: events) else { return }
        note("connection.secret_expiring", connection: connection, detail: "client secret dies \(expiry.rfc3339)")
    }
}

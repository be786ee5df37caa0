import OAuth
import Vault

/// What webhooks are told: made here, written by the store in the transaction of the change.
extension Broker {
    /// - Parameter remedy: what mends it.
    func event(_ kind: WebhookEvent.Kind, _ grant: Grant, of connection: Connection, reason: String? = nil, remedy: Remedy? = nil) -> WebhookEvent {
        var data = subjectOfEvent(connection)
        data["subject"] = grant.subject.isEmpty ? .null : .string(grant.subject)
        data["grant"] = .string(grant.uid.text)
        data["generation"] = .number(JSONNumber(grant.tokenGeneration))
        data["state"] = .string(grant.state.rawValue)
        data["reason"] = reason.map(JSONValue.string) ?? .null
        data["expires_at"] = grant.expiresAt.map { .string($0.rfc3339) } ?? .null
        data["refresh_expires_at"] = grant.diesAt.map { .string($0.rfc3339) } ?? .null
        if let remedy { data["remedy"] = .string(remedy.rawValue) }
        return event(kind, of: connection, orderKey: grant.uid, subject: grant.subject, data: data)
    }

    func event(_ kind: WebhookEvent.Kind, of connection: Connection, reason: String? = nil, remedy: Remedy? = nil) -> WebhookEvent {
        var data = subjectOfEvent(connection)
        data["reason"] = reason.map(JSONValue.string) ?? .null
        if kind == .connectionSecretExpiring { data["client_secret_expires_at"] = connection.settings.oauth.clientSecretExpiresAt.map { .string($0.rfc3339) } }
        if let remedy { data["remedy"] = .string(remedy.rawValue) }
        return event(kind, of: connection, orderKey: connection.uid, subject: nil, data: data)
    }

    private func subjectOfEvent(_ connection: Connection) -> JSONObject {
        ["connection": .string(connection.id), "connection_uid": .string(connection.uid.text), "connection_name": .string(connection.settings.name)]
    }

    private func event(_ kind: WebhookEvent.Kind, of connection: Connection, orderKey: UID, subject: String?, data: JSONObject) -> WebhookEvent {
        let now = clock.now()
        return WebhookEvent(
            id: "evt_" + UID.make(at: now).text, kind: kind, at: now, connectionUID: connection.uid, orderKey: orderKey, subject: subject,
            data: String(decoding: JSONValue.object(data).serialized(), as: UTF8.self))
    }
}

/// Who can mend a failure, and how.
enum Remedy: String, Sendable, Hashable {
    /// A person grants access again.
    case reauthorize
    /// A builder corrects the connection; its grants are not to blame.
    case fixConnection = "fix_connection"
    /// Nobody has to do anything; it is tried again.
    case tryLater = "try_later"
    /// None is known: the provider's words are shown.
    case report
}

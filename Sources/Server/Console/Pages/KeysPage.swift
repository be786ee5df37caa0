import Broker
import HTTPTypes
import OAuth
import Synchronization
import Vault

/// API keys: those that there are, and the form of a new one.
enum KeysPage {
    /// More connections than these are not offered as boxes to tick.
    private static let connectionLimit = 200

    static func show(_ inbound: Inbound) async throws -> Outbound { try await page(inbound, KeyForm(), FieldFaults()) }

    static func submit(_ inbound: Inbound) async throws -> Outbound {
        let form = KeyForm(try inbound.form)
        let caller = try inbound.caller
        let made = Mutex<(key: APIKey, secret: String)?>(nil)
        do throws(Problem) {
            _ = try await inbound.faces.sentForms.once(try inbound.visit) { () async throws(Problem) in
                let new = try await inbound.broker.addKey(try form.newKey(), by: caller)
                made.withLock { $0 = new }
                return "/console/keys"
            }
        } catch {
            guard error.code == .invalidRequest || error.code == .unavailable else { throw error }
            return try await page(inbound, form, form.faults(of: error), status: error.code == .invalidRequest ? .unprocessableContent : .serviceUnavailable)
        }
        return inbound.page(shown(made.withLock { $0 }, at: inbound.faces.publicURL))
    }

    /// The answer to the form, and to nothing else: the key is kept nowhere.
    private static func shown(_ made: (key: APIKey, secret: String)?, at url: EndpointURL) -> ConsolePage {
        var values: [String: Any] = [:]
        if let made {
            values["made"] = ["name": made.key.name, "secret": made.secret, "url": url.origin, "is_agent": made.key.role == .agent]
        }
        return ConsolePage(
            made == nil ? "This key was shown already" : "Copy the key now", .keys, template: "key-made", values, crumbs: [("Keys", "/console/keys")])
    }

    private static func page(
        _ inbound: Inbound, _ form: KeyForm, _ faults: FieldFaults, status: HTTPResponse.Status = .ok
    ) async throws(Problem) -> Outbound {
        let caller = try inbound.caller
        let keys = try await inbound.broker.keys(for: caller)
        let names = try await inbound.broker.connectionIDs(of: keys.flatMap { $0.connections ?? [] })
        let connections = try await inbound.broker.connections(after: nil, limit: connectionLimit, for: caller)
        let now = inbound.broker.now
        var values: [String: Any] = [
            "keys": keys.map { row($0, connections: names, own: caller.key.id, now: now) }, "fields": form.values(connections: connections),
            "are_left_out": connections.count == connectionLimit,
        ]
        values.merge(faults.values(labels: KeyForm.labels)) { $1 }
        return inbound.page(ConsolePage("API keys", .keys, template: "keys", values, status: status))
    }

    private static func row(_ key: APIKey, connections: [UID: String], own: String, now: Timestamp) -> [String: Any] {
        var row: [String: Any] = [
            "id": key.id, "name": key.name, "role": RoleWords.name(key.role), "created": TimeText.value(key.createdAt, from: now),
            "is_start_key": key.id == Broker.adminKeyID, "is_own": key.id == own,
        ]
        if let uids = key.connections {
            let ids = uids.compactMap { connections[$0] }
            row["connections"] = ids.isEmpty ? "None: its connections were removed" : ids.sorted().joined(separator: ", ")
        }
        if let subjects = key.subjects { row["subjects"] = shortened(subjects) }
        if let limit = key.requestsPerMinute { row["limit"] = limit }
        if let expiry = key.expiresAt {
            row["expires"] = TimeText.value(expiry, from: now)
            row["is_expired"] = expiry <= now
        }
        if let used = key.lastUsedAt { row["used"] = TimeText.value(used, from: now) }
        return row
    }

    private static func shortened(_ subjects: [String]) -> String {
        let shown = subjects.prefix(5).joined(separator: ", ")
        return subjects.count > 5 ? "\(shown) and \(subjects.count - 5) more" : shown
    }
}

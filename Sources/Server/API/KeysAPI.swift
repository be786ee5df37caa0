import Broker
import HTTPTypes
import OAuth
import Vault

enum KeysAPI {
    private static func json(_ key: APIKey, connections: [UID: String]) -> JSONObject {
        func texts(_ values: [String]?) -> JSONValue { values.map { .array($0.map(JSONValue.string)) } ?? .null }
        return [
            "id": .string(key.id), "name": .string(key.name), "role": .string(key.role.rawValue),
            "connections": texts(key.connections?.compactMap { connections[$0] }), "subjects": texts(key.subjects),
            "requests_per_minute": key.requestsPerMinute.map { .number(JSONNumber($0)) } ?? .null, "created_at": .string(key.createdAt.rfc3339),
            "expires_at": key.expiresAt.map { .string($0.rfc3339) } ?? .null,
            "last_used_at": key.lastUsedAt.map { .string($0.rfc3339) } ?? .null,
        ]
    }

    static func list(_ inbound: Inbound) async throws -> Outbound {
        let query = try inbound.query(["limit", "after"])
        let limit = try query.limit()
        let keys = try await inbound.broker.keys(for: try inbound.caller)
        let after = try query.cursor { after in keys.contains { $0.id == after } }
        let start = after.flatMap { after in keys.firstIndex { $0.id == after }.map { $0 + 1 } } ?? 0
        let page = keys.dropFirst(start).prefix(limit)
        let names = try await inbound.broker.connectionIDs(of: page.flatMap { $0.connections ?? [] })
        return .list(page.map { .object(json($0, connections: names)) }, next: start + page.count < keys.count ? page.last?.id : nil)
    }

    /// What a key is to be, from a request's body or the console's form.
    static func newKey(_ document: JSONObject) throws(Problem) -> Broker.NewKey {
        let errors = FieldErrors()
        var reader = ObjectReader(document, errors: errors)
        let name = reader.name("name", required: true) ?? ""
        let role = reader.choice("role", APIKey.Role.allCases.map(\.rawValue), required: true).flatMap(APIKey.Role.init(rawValue:)) ?? .use
        let connections = reader.texts("connections", atMost: 1000, longest: 64)
        let subjects = reader.texts("subjects", atMost: 1000, longest: 255)
        let perMinute = reader.integer("requests_per_minute", in: 1...1_000_000)
        var expiresAt: Timestamp?
        if let text = reader.text("expires_at", longest: 64) {
            expiresAt = Timestamp(rfc3339: text)
            if expiresAt == nil { reader.wrong("expires_at", "must be an RFC 3339 time, such as 2027-01-31T00:00:00Z") }
        }
        reader.finish()
        try errors.check()
        return .init(name: name, role: role, connections: connections, subjects: subjects, requestsPerMinute: perMinute, expiresAt: expiresAt)
    }

    static func add(_ inbound: Inbound) async throws -> Outbound {
        _ = try inbound.query([])
        try inbound.caller.requireAdmin()
        let (key, secret) = try await inbound.broker.addKey(try Self.newKey(try await inbound.body()), by: try inbound.caller)
        var object = json(key, connections: try await inbound.broker.connectionIDs(of: key.connections ?? []))
        object["key"] = .string(secret)
        return .json(.object(object), status: .created)
    }

    static func remove(_ inbound: Inbound) async throws -> Outbound {
        _ = try inbound.query([])
        try await inbound.broker.removeKey(id: try inbound.path("id"), by: try inbound.caller)
        return Outbound(.noContent, fields: [.cacheControl: "no-store"])
    }
}

import Broker
import HTTPTypes
import Hummingbird
import OAuth
import Vault

enum ConnectionsAPI {
    static func list(_ inbound: Inbound) async throws -> Outbound {
        let query = try inbound.query(["limit", "after"])
        let limit = try query.limit()
        let connections = try await inbound.broker.connections(after: try query.cursor(ConnectionDocument.isID), limit: limit, for: try inbound.caller)
        return .list(connections.map { .object(json($0, inbound)) }, next: connections.count == limit ? connections.last?.id : nil)
    }

    static func get(_ inbound: Inbound) async throws -> Outbound {
        _ = try inbound.query([])
        return answer(try await inbound.broker.connection(id: try inbound.path("id"), for: try inbound.caller), inbound)
    }

    static func add(_ inbound: Inbound) async throws -> Outbound {
        _ = try inbound.query([])
        let caller = try inbound.caller
        try caller.requireAdmin()
        var body = try await inbound.body()
        // What GET showed of another connection may be sent along: it says nothing here.
        for name in ConnectionDocument.readOnly { body[name] = nil }
        let draft = try ConnectionDocument.read(body)
        if let id = draft.id { return answer(try await add(draft, id: id, inbound), inbound, status: .created) }
        let base = ConnectionDocument.id(from: draft.settings.name)
        for suffix in 1...100 {
            do {
                return answer(try await add(draft, id: suffix == 1 ? base : "\(base)-\(suffix)", inbound), inbound, status: .created)
            } catch let problem as Problem {
                guard problem.code == .conflict else { throw problem }
            }
        }
        throw Problem(.conflict, "there are many connections of that name; choose an id", errors: [.init(pointer: "/id", detail: "is required here")])
    }

    private static func add(_ draft: ConnectionDocument.Draft, id: String, _ inbound: Inbound) async throws -> Connection {
        try await inbound.broker.addConnection(
            id: id, settings: draft.settings, clientSecret: draft.clientSecret, password: draft.password, by: try inbound.caller)
    }

    /// RFC 7396: a member that is absent is kept, null clears it. Secrets are write-only and kept unless named.
    static func change(_ inbound: Inbound) async throws -> Outbound {
        _ = try inbound.query([])
        let id = try inbound.path("id")
        try inbound.caller.requireAdmin()
        let patch = try await inbound.body(types: ["application/json", "application/merge-patch+json"])
        for _ in 0..<4 {
            do {
                return try await change(id, patch, inbound)
            } catch let problem as Problem where problem.code == .preconditionFailed && inbound.request.headers[.ifMatch] == nil {
                // Another editor was faster; this change knows nothing of what it read, so it goes over the new state.
                continue
            }
        }
        throw Problem(.conflict, "the connection kept changing meanwhile", fix: "try again")
    }

    private static func change(_ id: String, _ change: JSONObject, _ inbound: Inbound) async throws -> Outbound {
        let caller = try inbound.caller
        var patch = change
        let connection = try await inbound.broker.connection(id: id, for: caller)
        let keepGrants = try keepGrants(&patch)
        try checkReadOnly(&patch, connection, inbound)
        let clientSecret = try secret("client_secret", SecretKind.ClientSecret.self, in: &patch)
        let password = try secret("password", SecretKind.Password.self, in: &patch)
        let merged = mergePatch(.object(ConnectionDocument.editable(connection.settings)), .object(patch))
        // What a builder cleared stays cleared, unless the change names a preset.
        let draft = try ConnectionDocument.read(merged.object ?? JSONObject(), filledByPreset: patch["preset"]?.string != nil)
        let changed = try await inbound.broker.updateConnection(
            id: id, settings: draft.settings, clientSecret: clientSecret, password: password, keepGrants: keepGrants,
            expectedRevision: try revision(inbound.request.headers[.ifMatch], of: connection), by: caller)
        return answer(changed, inbound)
    }

    static func remove(_ inbound: Inbound) async throws -> Outbound {
        _ = try inbound.query([])
        let id = try inbound.path("id")
        if let tag = inbound.request.headers[.ifMatch] {
            _ = try revision(tag, of: try await inbound.broker.connection(id: id, for: try inbound.caller))
        }
        try await inbound.broker.deleteConnection(id: id, by: try inbound.caller)
        return Outbound(.noContent, fields: [.cacheControl: "no-store"])
    }

    static func discover(_ inbound: Inbound) async throws -> Outbound {
        _ = try inbound.query([])
        try inbound.caller.requireAdmin()
        let errors = FieldErrors()
        var reader = ObjectReader(try await inbound.body(), errors: errors)
        let issuer = reader.text("issuer", required: true) ?? ""
        reader.finish()
        try errors.check()
        let metadata = try await inbound.broker.discover(issuer: issuer, for: try inbound.caller)
        func texts(_ values: [String]?) -> JSONValue { values.map { .array($0.map(JSONValue.string)) } ?? .null }
        func url(_ value: EndpointURL?) -> JSONValue { value.map { .string($0.description) } ?? .null }
        return .json([
            "issuer": .string(metadata.issuer), "authorization_url": url(metadata.authorizationEndpoint), "token_url": url(metadata.tokenEndpoint),
            "revocation_url": url(metadata.revocationEndpoint), "introspection_url": url(metadata.introspectionEndpoint), "jwks_uri": url(metadata.jwksURI),
            "scopes_supported": texts(metadata.scopesSupported), "grant_types_supported": texts(metadata.grantTypesSupported),
            "client_authentication_supported": texts(metadata.tokenEndpointAuthMethodsSupported),
            "pkce_supported": texts(metadata.codeChallengeMethodsSupported),
            "iss_parameter_supported": .bool(metadata.authorizationResponseIssParameterSupported),
        ])
    }

    // MARK: Parts

    private static func json(_ connection: Connection, _ inbound: Inbound) -> JSONObject {
        ConnectionDocument.json(connection, callbackURL: connection.settings.oauth.redirectURI ?? inbound.broker.callbackURL(connectionID: connection.id))
    }

    private static func answer(_ connection: Connection, _ inbound: Inbound, status: HTTPResponse.Status = .ok) -> Outbound {
        .json(.object(json(connection, inbound)), status: status, fields: [.eTag: "\"\(connection.revision)\""])
    }

    private static func keepGrants(_ patch: inout JSONObject) throws(Problem) -> Bool {
        guard let value = patch["keep_grants"] else { return false }
        patch["keep_grants"] = nil
        guard let flag = value.bool else {
            throw Problem(.invalidRequest, "keep_grants must be true or false", errors: [.init(pointer: "/keep_grants", detail: "must be true or false")])
        }
        return flag
    }

    private static func checkReadOnly(_ patch: inout JSONObject, _ connection: Connection, _ inbound: Inbound) throws(Problem) {
        let current = json(connection, inbound)
        let errors = FieldErrors()
        for name in ConnectionDocument.readOnly + ["id"] {
            guard let value = patch[name] else { continue }
            // What moves by itself may have moved since it was read.
            let moves = ["health", "updated_at", "warnings"].contains(name)
            if !moves, !saysTheSame(value, current[name] ?? .null) { errors.add("/" + name, "cannot be changed") }
            patch[name] = nil
        }
        try errors.check()
    }

    /// Equal, or the same moment written otherwise: clients read times and write them anew.
    private static func saysTheSame(_ a: JSONValue, _ b: JSONValue) -> Bool {
        if a == b { return true }
        guard let a = a.string.flatMap(Timestamp.init(rfc3339:)), let b = b.string.flatMap(Timestamp.init(rfc3339:)) else { return false }
        return a.seconds == b.seconds
    }

    /// Takes a secret out of the patch's `oauth`: absent keeps it, null clears it.
    private static func secret<Kind>(_ name: String, _ kind: Kind.Type, in patch: inout JSONObject) throws(Problem) -> Broker.SecretChange<Kind> {
        guard var oauth = patch["oauth"]?.object, let value = oauth[name] else { return .keep }
        oauth[name] = nil
        patch["oauth"] = .object(oauth)
        if value.isNull { return .clear }
        let errors = FieldErrors()
        var reader = ObjectReader([name: value], at: "/oauth", errors: errors)
        let text = reader.text(name, longest: ConnectionDocument.secretLimit)
        try errors.check()
        return text.map { .set(Secret($0)) } ?? .keep
    }

    /// The revision that the change was made from.
    private static func revision(_ field: String?, of connection: Connection) throws(Problem) -> Int {
        guard let field, field != "*" else { return connection.revision }
        let tags = field.split(separator: ",").map { $0.filter { $0 != " " } }
        guard tags.contains("\"\(connection.revision)\"") else {
            throw Problem(
                .preconditionFailed, "the connection was changed by somebody else meanwhile", fix: "GET it again and repeat the change on its new ETag")
        }
        return connection.revision
    }
}

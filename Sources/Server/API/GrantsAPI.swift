import Broker
import OAuth
import Vault

enum GrantsAPI {
    static let states = ["active", "expired", "reauthorization_required", "revoked"]

    static func json(_ view: GrantView) -> JSONValue {
        let grant = view.grant
        func text(_ value: String?) -> JSONValue { value.map(JSONValue.string) ?? .null }
        func texts(_ values: [String]?) -> JSONValue { values.map { .array($0.map(JSONValue.string)) } ?? .null }
        return [
            "connection": .string(view.connectionID), "subject": text(grant.subject.isEmpty ? nil : grant.subject), "state": .string(view.state),
            "state_reason": text(grant.stateReason), "scope": texts(grant.scope), "missing_scope": texts(view.missingScope),
            "expires_at": text(grant.expiresAt?.rfc3339), "has_refresh_token": .bool(grant.refreshToken != nil), "account": text(grant.account),
            "generation": .number(JSONNumber(grant.tokenGeneration)), "state_since": .string(grant.stateSince.rfc3339),
            "refresh_expires_at": text(grant.diesAt?.rfc3339), "next_refresh_at": text(grant.nextRefreshAt?.rfc3339),
            "created_at": .string(grant.createdAt.rfc3339), "refreshed_at": text(grant.refreshedAt?.rfc3339), "last_used_at": text(grant.lastUsedAt?.rfc3339),
        ]
    }

    static func list(_ inbound: Inbound) async throws -> Outbound {
        let query = try inbound.query(["subject", "state", "connection", "expiring_within", "limit", "after"])
        return try await list(inbound, query, connectionID: try query.text("connection"))
    }

    static func listOfConnection(_ inbound: Inbound) async throws -> Outbound {
        try await list(inbound, try inbound.query(["subject", "state", "expiring_within", "limit", "after"]), connectionID: try inbound.path("id"))
    }

    private static func list(_ inbound: Inbound, _ query: QueryReader, connectionID: String?) async throws -> Outbound {
        let limit = try query.limit()
        let subject = try query.text("subject")
        let views = try await inbound.broker.grants(
            connectionID: connectionID, subject: subject == "-" ? "" : subject, state: try query.choice("state", states),
            diesWithin: try query.integer("expiring_within", in: 0...315_360_000), after: try query.uidCursor(), limit: limit, for: try inbound.caller)
        return .list(views.map(json), next: views.count == limit ? views.last?.grant.uid.text : nil)
    }

    static func get(_ inbound: Inbound) async throws -> Outbound {
        _ = try inbound.query([])
        return .json(json(try await inbound.broker.grant(connectionID: try inbound.path("id"), subject: try inbound.subject(), for: try inbound.caller)))
    }

    static func refresh(_ inbound: Inbound) async throws -> Outbound {
        _ = try inbound.query([])
        return .json(json(try await inbound.broker.refresh(connectionID: try inbound.path("id"), subject: try inbound.subject(), for: try inbound.caller)))
    }

    static func revoke(_ inbound: Inbound) async throws -> Outbound {
        _ = try inbound.query([])
        let outcome = try await inbound.broker.revoke(connectionID: try inbound.path("id"), subject: try inbound.subject(), by: try inbound.caller)
        return .json(["provider": .string(outcome.rawValue)])
    }

    static func put(_ inbound: Inbound) async throws -> Outbound {
        _ = try inbound.query([])
        let caller = try inbound.caller
        try caller.requireAdmin()
        let errors = FieldErrors()
        var reader = ObjectReader(try await inbound.body(), errors: errors)
        let access = reader.text("access_token", longest: 65_536)
        let refresh = reader.text("refresh_token", longest: 65_536)
        let expiresIn = reader.integer("expires_in", in: 0...315_360_000)
        var scope: [String]?
        // As the RFC writes it, or as this API shows it.
        if reader.holdsArray("scope") {
            scope = reader.texts("scope")
        } else {
            scope = reader.text("scope").map { $0.split(separator: " ").map(String.init) }
        }
        reader.finish()
        try errors.check()
        let tokens = Broker.ImportedTokens(
            accessToken: access.map { AccessToken($0) }, refreshToken: refresh.map { RefreshToken($0) }, expiresIn: expiresIn, scope: scope)
        return .json(
            json(try await inbound.broker.importGrant(connectionID: try inbound.path("id"), subject: try inbound.subject(), tokens: tokens, by: caller)))
    }
}

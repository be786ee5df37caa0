/// A table of the vault as every store has it: the form in which records are copied from one store to another.
///
/// ``all`` is the one list of them: a new column of a record needs a place there.
package struct StoredTable: Sendable, Hashable {
    package enum Kind: Sendable { case text, integer, bytes, boolean }

    package struct Column: Sendable, Hashable {
        package let name: String
        package let kind: Kind
    }

    package let name: String
    /// Those of the key first.
    package let columns: [Column]
    /// Its primary key: rows are gone through in its order, which every store sorts by bytes.
    package let key: [Column]
    /// Whether the key is a number that the store gives, each once: also when its row is gone.
    package let isNumbered: Bool

    private init(_ name: String, key: [Column], _ columns: [Column], isNumbered: Bool = false) {
        self.name = name
        self.columns = key + columns
        self.key = key
        self.isNumbered = isNumbered
    }
}

// As SQL names them, in either database.
extension StoredTable {
    package var quoted: String { "\"\(name)\"" }
    package func names(of columns: [Column]) -> String { columns.map { "\"\($0.name)\"" }.joined(separator: ", ") }
}

extension StoredTable {
    /// What is referred to stands before what refers to it. What nodes tell each other (leases, changes, nodes) is no record.
    package static let all = [
        StoredTable("meta", key: texts("name"), bytes("value")),
        StoredTable("data_key", key: integers("id"), texts("scope", "master_key_id") + bytes("wrapped") + integers("retired_at"), isNumbered: true),
        StoredTable(
            "connection", key: texts("uid"),
            texts("id", "settings", "health", "health_reason") + bytes("client_secret", "password")
                + integers("health_since", "created_at", "updated_at", "revision", "secret_warned_for") + booleans("keep_alive")),
        StoredTable(
            "grant", key: texts("uid"),
            texts(
                "connection_uid", "subject", "slot", "token_type", "scope", "requested_scope", "captured", "account", "state", "state_reason")
                + bytes("access_token", "refresh_token")
                + integers(
                    "expires_at", "refresh_expires_at", "state_since", "token_generation", "next_refresh_at", "created_at", "refreshed_at",
                    "last_used_at", "due_at", "dies_at", "warn_at") + booleans("rotates")),
        StoredTable("refresh_intent", key: texts("grant_uid"), integers("generation", "sent_at", "attempts")),
        StoredTable(
            "orphan_token", key: texts("uid"),
            texts("connection_uid", "grant_uid", "revocation_id") + bytes("access_token", "refresh_token")
                + integers("created_at", "next_try_at", "tries", "generation")),
        StoredTable(
            "revocation", key: texts("id"),
            texts("filter", "connection", "requested_by")
                + integers("created_at", "stopped_at", "ended_at", "grants", "revoked", "unsupported", "failed")),
        StoredTable("revocation_failure", key: integers("sequence"), texts("revocation_id", "connection", "subject", "reason"), isNumbered: true),
        StoredTable(
            "connect_session", key: texts("id"),
            texts("connection_uid", "subject", "options", "state", "error", "error_detail", "grant_uid", "app_name", "key_id")
                + bytes("ticket_hash") + integers("created_at", "expires_at")),
        StoredTable(
            "authorization_attempt", key: bytes("state_hash"),
            texts("session_id", "connection_uid") + bytes("binding_hash", "pending")
                + integers("connection_revision", "created_at", "expires_at", "consumed_at")),
        StoredTable("completion", key: texts("session_id"), texts("captured") + bytes("code") + integers("connection_revision", "expires_at")),
        StoredTable(
            "api_key", key: texts("id"),
            texts("name", "role", "connections", "subjects") + bytes("hash")
                + integers("requests_per_minute", "created_at", "expires_at", "last_used_at")),
        StoredTable(
            "console_session", key: texts("id"),
            texts("key_id", "user_agent", "address") + bytes("token_hash") + integers("created_at", "last_seen_at", "expires_at")),
        StoredTable("sign_in_link", key: bytes("code_hash"), texts("key_id") + integers("expires_at")),
        StoredTable("trouble", key: texts("connection_uid", "stage"), texts("record") + integers("at")),
        StoredTable(
            "activity", key: texts("uid"),
            texts("action", "connection_uid", "connection", "subject", "key", "result", "detail", "request_id", "node")
                + bytes("mac") + integers("at", "count", "sequence")),
        StoredTable("activity_anchor", key: texts("node") + integers("sequence"), bytes("mac", "signature") + integers("at")),
        StoredTable("webhook", key: texts("id"), texts("url", "kinds") + bytes("secret") + integers("created_at", "disabled_at")),
        StoredTable("event", key: texts("id"), texts("kind", "connection_uid", "order_key", "subject", "data") + integers("at")),
        StoredTable(
            "delivery", key: integers("sequence"),
            texts("webhook_id", "event_id", "order_key", "state", "last_error")
                + integers("tries", "begun_at", "next_try_at", "last_status", "ended_at"), isNumbered: true),
    ]

    private static func texts(_ names: String...) -> [Column] { names.map { Column(name: $0, kind: .text) } }
    private static func integers(_ names: String...) -> [Column] { names.map { Column(name: $0, kind: .integer) } }
    private static func bytes(_ names: String...) -> [Column] { names.map { Column(name: $0, kind: .bytes) } }
    private static func booleans(_ names: String...) -> [Column] { names.map { Column(name: $0, kind: .boolean) } }
}

/// One value of a row, as it is stored. A boolean is 0 or 1.
package enum StoredValue: Sendable, Hashable, Codable {
    case null
    case integer(Int64)
    case text(String)
    case bytes([UInt8])
}

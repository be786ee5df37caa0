import Foundation
import GRDB
import Vault

// Rows to records. A row that makes no sense is damage, not a trap.

extension Row {
    func text(_ column: String) throws -> String {
        guard let value = String.fromDatabaseValue(self[column] as DatabaseValue) else { throw Self.damaged(column) }
        return value
    }
    func integer(_ column: String) throws -> Int {
        guard let value = Int.fromDatabaseValue(self[column] as DatabaseValue) else { throw Self.damaged(column) }
        return value
    }
    func bytes(_ column: String) throws -> [UInt8] {
        guard let value = Data.fromDatabaseValue(self[column] as DatabaseValue) else { throw Self.damaged(column) }
        return Array(value)
    }
    func optionalText(_ column: String) -> String? { String.fromDatabaseValue(self[column] as DatabaseValue) }
    func optionalInteger(_ column: String) -> Int? { Int.fromDatabaseValue(self[column] as DatabaseValue) }
    func time(_ column: String) throws -> Timestamp { Timestamp(milliseconds: Int64(try integer(column))) }
    func optionalTime(_ column: String) -> Timestamp? { optionalInteger(column).map { Timestamp(milliseconds: Int64($0)) } }
    func uid(_ column: String) throws -> UID { UID(text: try text(column)) }
    func optionalSealed(_ column: String) -> Sealed? { Data.fromDatabaseValue(self[column] as DatabaseValue).map { Sealed(bytes: Array($0)) } }
    func json<T: Decodable>(_ column: String, as type: T.Type = T.self) throws -> T {
        do {
            return try JSONDecoder().decode(type, from: Data(try text(column).utf8))
        } catch {
            throw Self.damaged(column)
        }
    }
    func optionalJSON<T: Decodable>(_ column: String) throws -> T? { optionalText(column) == nil ? nil : try json(column) }
    func choice<T: RawRepresentable<String>>(_ column: String, as type: T.Type = T.self) throws -> T {
        guard let value = T(rawValue: try text(column)) else { throw Self.damaged(column) }
        return value
    }

    private static func damaged(_ column: String) -> StoreError { .damaged("a record's \(column) makes no sense") }
}

func encode(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
}

extension Sealed {
    var data: Data { Data(bytes) }
}

extension Connection {
    init(_ row: Row) throws {
        self.init(
            uid: try row.uid("uid"), id: try row.text("id"), settings: try row.json("settings"), clientSecret: row.optionalSealed("client_secret"),
            password: row.optionalSealed("password"),
            health: .init(state: try row.choice("health"), reason: row.optionalText("health_reason"), since: try row.time("health_since")),
            createdAt: try row.time("created_at"), updatedAt: try row.time("updated_at"), revision: try row.integer("revision"))
    }

    var columns: StatementArguments {
        get throws {
            [
                "uid": uid.text, "id": id, "settings": try encode(settings), "client_secret": clientSecret?.data, "password": password?.data,
                "health": health.state.rawValue, "health_reason": health.reason, "health_since": health.since.milliseconds,
                "created_at": createdAt.milliseconds, "updated_at": updatedAt.milliseconds, "revision": revision,
                "keep_alive": settings.keepAlive,
            ]
        }
    }
}

extension Grant {
    init(_ row: Row) throws {
        self.init(
            uid: try row.uid("uid"), connectionUID: try row.uid("connection_uid"), subject: try row.text("subject"), slot: try row.text("slot"),
            accessToken: row.optionalSealed("access_token"), refreshToken: row.optionalSealed("refresh_token"), tokenType: try row.text("token_type"),
            scope: try row.optionalJSON("scope"), requestedScope: try row.json("requested_scope"), captured: try row.json("captured"),
            account: row.optionalText("account"), expiresAt: row.optionalTime("expires_at"), refreshExpiresAt: row.optionalTime("refresh_expires_at"),
            state: try row.choice("state"), stateReason: row.optionalText("state_reason"), stateSince: try row.time("state_since"),
            tokenGeneration: try row.integer("token_generation"), nextRefreshAt: row.optionalTime("next_refresh_at"),
            createdAt: try row.time("created_at"), refreshedAt: row.optionalTime("refreshed_at"), lastUsedAt: row.optionalTime("last_used_at"),
            dueAt: row.optionalTime("due_at"), diesAt: row.optionalTime("dies_at"), warnAt: row.optionalTime("warn_at"),
            rotates: row.optionalInteger("rotates").map { $0 != 0 })
    }

    static let columnNames = [
        "uid", "connection_uid", "subject", "slot", "access_token", "refresh_token", "token_type", "scope", "requested_scope", "captured", "account",
        "expires_at", "refresh_expires_at", "state", "state_reason", "state_since", "token_generation", "next_refresh_at", "created_at", "refreshed_at",
        "last_used_at", "due_at", "dies_at", "warn_at", "rotates",
    ]

    var columns: StatementArguments {
        get throws {
            [
                "uid": uid.text, "connection_uid": connectionUID.text, "subject": subject, "slot": slot, "access_token": accessToken?.data,
                "refresh_token": refreshToken?.data, "token_type": tokenType, "scope": try scope.map(encode), "requested_scope": try encode(requestedScope),
                "captured": try encode(captured), "account": account, "expires_at": expiresAt?.milliseconds,
                "refresh_expires_at": refreshExpiresAt?.milliseconds, "state": state.rawValue, "state_reason": stateReason,
                "state_since": stateSince.milliseconds, "token_generation": tokenGeneration, "next_refresh_at": nextRefreshAt?.milliseconds,
                "created_at": createdAt.milliseconds, "refreshed_at": refreshedAt?.milliseconds, "last_used_at": lastUsedAt?.milliseconds,
                "due_at": dueAt?.milliseconds, "dies_at": diesAt?.milliseconds, "warn_at": warnAt?.milliseconds, "rotates": rotates,
            ]
        }
    }
}

extension ConnectSession {
    init(_ row: Row) throws {
        self.init(
            id: try row.text("id"), ticketHash: try row.bytes("ticket_hash"), connectionUID: try row.uid("connection_uid"), subject: try row.text("subject"),
            options: try row.json("options"), state: try row.choice("state"), error: row.optionalText("error"), errorDetail: row.optionalText("error_detail"),
            grantUID: row.optionalText("grant_uid").map(UID.init(text:)), appName: try row.text("app_name"), keyID: try row.text("key_id"),
            createdAt: try row.time("created_at"), expiresAt: try row.time("expires_at"))
    }
}

extension AuthorizationAttempt {
    init(_ row: Row) throws {
        self.init(
            stateHash: try row.bytes("state_hash"), sessionID: try row.text("session_id"), connectionUID: try row.uid("connection_uid"),
            connectionRevision: try row.integer("connection_revision"), bindingHash: try row.bytes("binding_hash"),
            pending: Sealed(bytes: try row.bytes("pending")), createdAt: try row.time("created_at"), expiresAt: try row.time("expires_at"))
    }
}

extension Completion {
    init(_ row: Row) throws {
        self.init(
            sessionID: try row.text("session_id"), connectionRevision: try row.integer("connection_revision"), code: Sealed(bytes: try row.bytes("code")),
            captured: try row.json("captured"), expiresAt: try row.time("expires_at"))
    }
}

extension APIKey {
    init(_ row: Row) throws {
        self.init(
            id: try row.text("id"), name: try row.text("name"), hash: try row.bytes("hash"), role: try row.choice("role"),
            connections: try row.optionalJSON("connections"), subjects: try row.optionalJSON("subjects"),
            requestsPerMinute: row.optionalInteger("requests_per_minute"), createdAt: try row.time("created_at"), expiresAt: row.optionalTime("expires_at"),
            lastUsedAt: row.optionalTime("last_used_at"))
    }

    var columns: StatementArguments {
        get throws {
            [
                "id": id, "name": name, "hash": Data(hash), "role": role.rawValue, "connections": try connections.map(encode),
                "subjects": try subjects.map(encode), "requests_per_minute": requestsPerMinute, "created_at": createdAt.milliseconds,
                "expires_at": expiresAt?.milliseconds, "last_used_at": lastUsedAt?.milliseconds,
            ]
        }
    }
}

extension Activity {
    init(_ row: Row) throws {
        self.init(
            uid: try row.uid("uid"), at: try row.time("at"), action: try row.text("action"),
            connectionUID: row.optionalText("connection_uid").map(UID.init(text:)),
            connection: row.optionalText("connection"), subject: row.optionalText("subject"), key: row.optionalText("key"), result: try row.text("result"),
            count: try row.integer("count"), detail: row.optionalText("detail"), requestID: row.optionalText("request_id"),
            link: try row.optionalText("node").map { node in
                ActivityLink(node: node, sequence: try row.integer("sequence"), mac: try row.bytes("mac"))
            })
    }
}

extension OrphanToken {
    init(_ row: Row) throws {
        self.init(
            uid: try row.uid("uid"), connectionUID: try row.uid("connection_uid"), accessToken: row.optionalSealed("access_token"),
            refreshToken: row.optionalSealed("refresh_token"), createdAt: try row.time("created_at"), nextTryAt: try row.time("next_try_at"),
            tries: try row.integer("tries"),
            origin: try row.optionalText("grant_uid").map { .init(grantUID: UID(text: $0), generation: try row.integer("generation")) },
            revocationID: row.optionalText("revocation_id"))
    }
}

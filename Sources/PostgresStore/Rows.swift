import Vault

// Rows to records, and records to rows.

extension Connection {
    init(_ row: Row) throws(StoreError) {
        self.init(
            uid: try row.uid("uid"), id: try row.text("id"), settings: try row.json("settings"), clientSecret: row.optionalSealed("client_secret"),
            password: row.optionalSealed("password"),
            health: .init(state: try row.choice("health"), reason: row.optionalText("health_reason"), since: try row.time("health_since")),
            createdAt: try row.time("created_at"), updatedAt: try row.time("updated_at"), revision: try row.integer("revision"))
    }

    var columns: Columns {
        get throws {
            [
                "uid": uid, "id": id, "settings": try encode(settings), "client_secret": clientSecret, "password": password,
                "health": health.state.rawValue, "health_reason": health.reason, "health_since": health.since, "created_at": createdAt,
                "updated_at": updatedAt, "revision": revision, "keep_alive": settings.keepAlive,
            ]
        }
    }
}

extension Grant {
    init(_ row: Row) throws(StoreError) {
        self.init(
            uid: try row.uid("uid"), connectionUID: try row.uid("connection_uid"), subject: try row.text("subject"), slot: try row.text("slot"),
            accessToken: row.optionalSealed("access_token"), refreshToken: row.optionalSealed("refresh_token"), tokenType: try row.text("token_type"),
            scope: try row.optionalJSON("scope"), requestedScope: try row.json("requested_scope"), captured: try row.json("captured"),
            account: row.optionalText("account"), expiresAt: row.optionalTime("expires_at"), refreshExpiresAt: row.optionalTime("refresh_expires_at"),
            state: try row.choice("state"), stateReason: row.optionalText("state_reason"), stateSince: try row.time("state_since"),
            tokenGeneration: try row.integer("token_generation"), nextRefreshAt: row.optionalTime("next_refresh_at"),
            createdAt: try row.time("created_at"), refreshedAt: row.optionalTime("refreshed_at"), lastUsedAt: row.optionalTime("last_used_at"),
            dueAt: row.optionalTime("due_at"), diesAt: row.optionalTime("dies_at"), warnAt: row.optionalTime("warn_at"),
            rotates: row.optionalBoolean("rotates"))
    }

    /// The last use apart, which ``PostgresStore/touchGrants(_:)`` alone changes of a grant that is there.
    var columns: Columns {
        get throws {
            [
                "uid": uid, "connection_uid": connectionUID, "subject": subject, "slot": slot, "access_token": accessToken,
                "refresh_token": refreshToken, "token_type": tokenType, "scope": try scope.map(encode), "requested_scope": try encode(requestedScope),
                "captured": try encode(captured), "account": account, "expires_at": expiresAt, "refresh_expires_at": refreshExpiresAt,
                "state": state.rawValue, "state_reason": stateReason, "state_since": stateSince, "token_generation": tokenGeneration,
                "next_refresh_at": nextRefreshAt, "created_at": createdAt, "refreshed_at": refreshedAt, "due_at": dueAt, "dies_at": diesAt,
                "warn_at": warnAt, "rotates": rotates,
            ]
        }
    }
}

extension RefreshIntent {
    init(_ row: Row) throws(StoreError) {
        self.init(
            grantUID: try row.uid("grant_uid"), generation: try row.integer("generation"), sentAt: try row.time("sent_at"),
            attempts: try row.integer("attempts"))
    }
}

extension ConnectSession {
    init(_ row: Row) throws(StoreError) {
        self.init(
            id: try row.text("id"), ticketHash: try row.bytes("ticket_hash"), connectionUID: try row.uid("connection_uid"), subject: try row.text("subject"),
            options: try row.json("options"), state: try row.choice("state"), error: row.optionalText("error"), errorDetail: row.optionalText("error_detail"),
            grantUID: row.optionalUID("grant_uid"), appName: try row.text("app_name"), keyID: try row.text("key_id"),
            createdAt: try row.time("created_at"), expiresAt: try row.time("expires_at"))
    }
}

extension AuthorizationAttempt {
    init(_ row: Row) throws(StoreError) {
        self.init(
            stateHash: try row.bytes("state_hash"), sessionID: try row.text("session_id"), connectionUID: try row.uid("connection_uid"),
            connectionRevision: try row.integer("connection_revision"), bindingHash: try row.bytes("binding_hash"),
            pending: Sealed(bytes: try row.bytes("pending")), createdAt: try row.time("created_at"), expiresAt: try row.time("expires_at"))
    }
}

extension Completion {
    init(_ row: Row) throws(StoreError) {
        self.init(
            sessionID: try row.text("session_id"), connectionRevision: try row.integer("connection_revision"), code: Sealed(bytes: try row.bytes("code")),
            captured: try row.json("captured"), expiresAt: try row.time("expires_at"))
    }
}

extension APIKey {
    init(_ row: Row) throws(StoreError) {
        self.init(
            id: try row.text("id"), name: try row.text("name"), hash: try row.bytes("hash"), role: try row.choice("role"),
            connections: try row.optionalJSON("connections"), subjects: try row.optionalJSON("subjects"),
            requestsPerMinute: row.optionalInteger("requests_per_minute"), createdAt: try row.time("created_at"), expiresAt: row.optionalTime("expires_at"),
            lastUsedAt: row.optionalTime("last_used_at"))
    }

    var columns: Columns {
        get throws {
            [
                "id": id, "name": name, "hash": Blob(hash), "role": role.rawValue, "connections": try connections.map(encode),
                "subjects": try subjects.map(encode), "requests_per_minute": requestsPerMinute, "created_at": createdAt, "expires_at": expiresAt,
                "last_used_at": lastUsedAt,
            ]
        }
    }
}

extension DataKeyRecord {
    init(_ row: Row) throws(StoreError) {
        self.init(
            id: try row.integer("id"), scope: try row.text("scope"), masterKeyID: try row.text("master_key_id"), wrapped: try row.bytes("wrapped"),
            retiredAt: row.optionalTime("retired_at"))
    }
}

extension Activity {
    init(_ row: Row) throws(StoreError) {
        var link: ActivityLink?
        if let node = row.optionalText("node") { link = ActivityLink(node: node, sequence: try row.integer("sequence"), mac: try row.bytes("mac")) }
        self.init(
            uid: try row.uid("uid"), at: try row.time("at"), action: try row.text("action"), connectionUID: row.optionalUID("connection_uid"),
            connection: row.optionalText("connection"), subject: row.optionalText("subject"), key: row.optionalText("key"), result: try row.text("result"),
            count: try row.integer("count"), detail: row.optionalText("detail"), requestID: row.optionalText("request_id"), link: link)
    }
}

extension OrphanToken {
    init(_ row: Row) throws(StoreError) {
        var origin: Origin?
        if let grant = row.optionalUID("grant_uid") { origin = Origin(grantUID: grant, generation: try row.integer("generation")) }
        self.init(
            uid: try row.uid("uid"), connectionUID: try row.uid("connection_uid"), accessToken: row.optionalSealed("access_token"),
            refreshToken: row.optionalSealed("refresh_token"), createdAt: try row.time("created_at"), nextTryAt: try row.time("next_try_at"),
            tries: try row.integer("tries"), origin: origin, revocationID: row.optionalText("revocation_id"))
    }
}

// Rows to records, the same for each store.

extension Connection {
    package init(_ row: some StoredRow) throws(StoreError) {
        self.init(
            uid: try row.uid("uid"), id: try row.text("id"), settings: try row.json("settings"), clientSecret: row.optionalSealed("client_secret"),
            password: row.optionalSealed("password"),
            health: .init(state: try row.choice("health"), reason: row.optionalText("health_reason"), since: try row.time("health_since")),
            createdAt: try row.time("created_at"), updatedAt: try row.time("updated_at"), revision: try row.integer("revision"))
    }
}

extension Grant {
    package init(_ row: some StoredRow) throws(StoreError) {
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
}

extension RefreshIntent {
    package init(_ row: some StoredRow) throws(StoreError) {
        self.init(
            grantUID: try row.uid("grant_uid"), generation: try row.integer("generation"), sentAt: try row.time("sent_at"),
            attempts: try row.integer("attempts"))
    }
}

extension ConnectSession {
    package init(_ row: some StoredRow) throws(StoreError) {
        self.init(
            id: try row.text("id"), ticketHash: try row.bytes("ticket_hash"), connectionUID: try row.uid("connection_uid"), subject: try row.text("subject"),
            options: try row.json("options"), state: try row.choice("state"), error: row.optionalText("error"), errorDetail: row.optionalText("error_detail"),
            grantUID: row.optionalUID("grant_uid"), appName: try row.text("app_name"), keyID: try row.text("key_id"),
            createdAt: try row.time("created_at"), expiresAt: try row.time("expires_at"))
    }
}

extension AuthorizationAttempt {
    package init(_ row: some StoredRow) throws(StoreError) {
        self.init(
            stateHash: try row.bytes("state_hash"), sessionID: try row.text("session_id"), connectionUID: try row.uid("connection_uid"),
            connectionRevision: try row.integer("connection_revision"), bindingHash: try row.bytes("binding_hash"),
            pending: Sealed(bytes: try row.bytes("pending")), createdAt: try row.time("created_at"), expiresAt: try row.time("expires_at"))
    }
}

extension Completion {
    package init(_ row: some StoredRow) throws(StoreError) {
        self.init(
            sessionID: try row.text("session_id"), connectionRevision: try row.integer("connection_revision"), code: Sealed(bytes: try row.bytes("code")),
            captured: try row.json("captured"), expiresAt: try row.time("expires_at"))
    }
}

extension APIKey {
    package init(_ row: some StoredRow) throws(StoreError) {
        self.init(
            id: try row.text("id"), name: try row.text("name"), hash: try row.bytes("hash"), role: try row.choice("role"),
            connections: try row.optionalJSON("connections"), subjects: try row.optionalJSON("subjects"),
            requestsPerMinute: row.optionalInteger("requests_per_minute"), createdAt: try row.time("created_at"), expiresAt: row.optionalTime("expires_at"),
            lastUsedAt: row.optionalTime("last_used_at"))
    }
}

extension DataKeyRecord {
    package init(_ row: some StoredRow) throws(StoreError) {
        self.init(
            id: try row.integer("id"), scope: try row.text("scope"), masterKeyID: try row.text("master_key_id"), wrapped: try row.bytes("wrapped"),
            retiredAt: row.optionalTime("retired_at"))
    }
}

extension ConsoleSession {
    package init(_ row: some StoredRow) throws(StoreError) {
        self.init(
            id: try row.text("id"), tokenHash: try row.bytes("token_hash"), keyID: try row.text("key_id"), createdAt: try row.time("created_at"),
            lastSeenAt: try row.time("last_seen_at"), expiresAt: try row.time("expires_at"), userAgent: try row.text("user_agent"),
            address: try row.text("address"))
    }
}

extension SignInLink {
    package init(_ row: some StoredRow) throws(StoreError) {
        self.init(codeHash: try row.bytes("code_hash"), keyID: try row.text("key_id"), expiresAt: try row.time("expires_at"))
    }
}

extension Activity {
    package init(_ row: some StoredRow) throws(StoreError) {
        var link: ActivityLink?
        if let node = row.optionalText("node") { link = ActivityLink(node: node, sequence: try row.integer("sequence"), mac: try row.bytes("mac")) }
        self.init(
            uid: try row.uid("uid"), at: try row.time("at"), action: try row.text("action"), connectionUID: row.optionalUID("connection_uid"),
            connection: row.optionalText("connection"), subject: row.optionalText("subject"), key: row.optionalText("key"), result: try row.text("result"),
            count: try row.integer("count"), detail: row.optionalText("detail"), requestID: row.optionalText("request_id"), link: link)
    }

    /// Of the chain: what was altered until it makes no sense keeps its place, so that whoever verifies it can name it.
    package static func linked(_ row: some StoredRow) throws(StoreError) -> Activity {
        do throws(StoreError) {
            return try Activity(row)
        } catch {
            guard case .damaged = error else { throw error }
            let link = ActivityLink(node: try row.text("node"), sequence: try row.integer("sequence"), mac: [])
            return Activity(uid: UID(text: row.optionalText("uid") ?? ""), at: Timestamp(milliseconds: 0), action: "", link: link)
        }
    }
}

extension ActivityLink {
    package init(_ row: some StoredRow) throws(StoreError) {
        self.init(node: try row.text("node"), sequence: try row.integer("sequence"), mac: try row.bytes("mac"))
    }
}

extension ActivityAnchor {
    package init(_ row: some StoredRow) throws(StoreError) {
        self.init(link: try ActivityLink(row), at: try row.time("at"), signature: try row.bytes("signature"))
    }
}

extension OrphanToken {
    package init(_ row: some StoredRow) throws(StoreError) {
        var origin: Origin?
        if let grant = row.optionalUID("grant_uid") { origin = Origin(grantUID: grant, generation: try row.integer("generation")) }
        self.init(
            uid: try row.uid("uid"), connectionUID: try row.uid("connection_uid"), accessToken: row.optionalSealed("access_token"),
            refreshToken: row.optionalSealed("refresh_token"), createdAt: try row.time("created_at"), nextTryAt: try row.time("next_try_at"),
            tries: try row.integer("tries"), origin: origin, revocationID: row.optionalText("revocation_id"))
    }
}

extension RevocationRecord {
    package init(_ row: some StoredRow) throws(StoreError) {
        self.init(
            id: try row.text("id"), filter: try row.json("filter"), connection: row.optionalText("connection"), requestedBy: try row.text("requested_by"),
            createdAt: try row.time("created_at"), stoppedAt: row.optionalTime("stopped_at"), endedAt: row.optionalTime("ended_at"),
            grants: try row.integer("grants"), revoked: try row.integer("revoked"), unsupported: try row.integer("unsupported"),
            failed: try row.integer("failed"), pending: try row.integer("pending"))
    }
}

extension Webhook {
    package init(_ row: some StoredRow) throws(StoreError) {
        let names: [String] = try row.json("kinds")
        var kinds: Set<WebhookEvent.Kind>?
        if !names.contains("*") {
            kinds = Set(
                try names.map { name throws(StoreError) in
                    guard let kind = WebhookEvent.Kind(rawValue: name) else { throw StoreError.damaged("a webhook's kinds make no sense") }
                    return kind
                })
        }
        self.init(
            id: try row.text("id"), url: try row.text("url"), kinds: kinds, secret: Sealed(bytes: try row.bytes("secret")),
            createdAt: try row.time("created_at"), disabledAt: row.optionalTime("disabled_at"))
    }
}

extension Delivery {
    package init(_ row: some StoredRow) throws(StoreError) {
        let event = WebhookEvent(
            id: try row.text("event_id"), kind: try row.choice("kind"), at: try row.time("at"), connectionUID: try row.uid("connection_uid"),
            orderKey: try row.uid("order_key"), subject: row.optionalText("subject"), data: try row.text("data"))
        self.init(
            sequence: try row.integer("sequence"), webhookID: try row.text("webhook_id"), event: event, state: try row.choice("state"),
            tries: try row.integer("tries"), begunAt: try row.time("begun_at"), nextTryAt: row.optionalTime("next_try_at"),
            lastStatus: row.optionalInteger("last_status"), lastError: row.optionalText("last_error"), endedAt: row.optionalTime("ended_at"))
    }
}

package import Vault

extension PostgresStore {
    package func insert(_ session: ConnectSession) async throws {
        try await write { database in
            let columns = try session.columns
            try database.execute("INSERT INTO connect_session \(columns.insertion)", columns.values)
        }
    }

    package func session(id: String) async throws -> ConnectSession? {
        try await read { try $0.row("SELECT * FROM connect_session WHERE id = $1", [id]).map(ConnectSession.init) }
    }

    package func session(ticketHash: [UInt8]) async throws -> ConnectSession? {
        try await read { try $0.row("SELECT * FROM connect_session WHERE ticket_hash = $1", [Blob(ticketHash)]).map(ConnectSession.init) }
    }

    package func moveSession(
        _ id: String, from: [ConnectSession.State], to: ConnectSession.State, error: String?, errorDetail: String?, grant: UID?
    ) async throws -> Bool {
        try await write { session in
            try session.change(
                "UPDATE connect_session SET state = $1, error = $2, error_detail = $3, grant_uid = $4 WHERE id = $5 AND state = ANY($6)",
                [to.rawValue, error, errorDetail, grant, id, ArrayOf(from.map(\.rawValue))]) == 1
        }
    }

    package func setOptions(_ options: ConnectSession.Options, session: String) async throws -> Bool {
        let text = try storedJSON(options)
        return try await write {
            try $0.change("UPDATE connect_session SET options = $1 WHERE id = $2 AND state IN ('open', 'failed')", [text, session]) == 1
        }
    }

    package func insert(_ attempt: AuthorizationAttempt) async throws {
        try await write { session in
            let columns = attempt.columns
            try session.execute("INSERT INTO authorization_attempt \(columns.insertion)", columns.values)
        }
    }

    package func takeAttempt(stateHash: [UInt8], now: Timestamp) async throws -> TakenAttempt {
        try await write { session in
            let taken = try session.row(
                "UPDATE authorization_attempt SET consumed_at = $1 WHERE state_hash = $2 AND consumed_at IS NULL AND expires_at > $1 RETURNING *",
                [now, Blob(stateHash)])
            if let taken { return .taken(try AuthorizationAttempt(taken)) }
            guard let row = try session.row("SELECT session_id, consumed_at FROM authorization_attempt WHERE state_hash = $1", [Blob(stateHash)])
            else { return .unknown }
            let sessionID = try row.text("session_id")
            return row.optionalInteger("consumed_at") == nil ? .expired(sessionID: sessionID) : .alreadyTaken(sessionID: sessionID)
        }
    }

    package func put(_ completion: Completion) async throws {
        try await write { session in
            let columns = try completion.columns
            try session.execute(
                "INSERT INTO completion \(columns.insertion) ON CONFLICT (session_id) DO UPDATE SET \(columns.replacement)", columns.values)
        }
    }

    package func takeCompletion(sessionID: String) async throws -> Completion? {
        try await write { try $0.row("DELETE FROM completion WHERE session_id = $1 RETURNING *", [sessionID]).map(Completion.init) }
    }

    package func completion(sessionID: String) async throws -> Completion? {
        try await read { try $0.row("SELECT * FROM completion WHERE session_id = $1", [sessionID]).map(Completion.init) }
    }
}

extension ConnectSession {
    fileprivate var columns: Columns {
        get throws {
            [
                "id": id, "ticket_hash": Blob(ticketHash), "connection_uid": connectionUID, "subject": subject, "options": try storedJSON(options),
                "state": state.rawValue, "error": error, "error_detail": errorDetail, "grant_uid": grantUID, "app_name": appName, "key_id": keyID,
                "created_at": createdAt, "expires_at": expiresAt,
            ]
        }
    }
}

extension AuthorizationAttempt {
    fileprivate var columns: Columns {
        [
            "state_hash": Blob(stateHash), "session_id": sessionID, "connection_uid": connectionUID, "connection_revision": connectionRevision,
            "binding_hash": Blob(bindingHash), "pending": pending, "created_at": createdAt, "expires_at": expiresAt,
        ]
    }
}

extension Completion {
    fileprivate var columns: Columns {
        get throws {
            [
                "session_id": sessionID, "connection_revision": connectionRevision, "code": code, "captured": try storedJSON(captured),
                "expires_at": expiresAt,
            ]
        }
    }
}

import Vault

// Records to rows.

extension Connection {
    var columns: Columns {
        get throws {
            [
                "uid": uid, "id": id, "settings": try storedJSON(settings), "client_secret": clientSecret, "password": password,
                "health": health.state.rawValue, "health_reason": health.reason, "health_since": health.since, "created_at": createdAt,
                "updated_at": updatedAt, "revision": revision, "keep_alive": settings.keepAlive,
            ]
        }
    }
}

extension Grant {
    /// The last use apart, which ``PostgresStore/touchGrants(_:)`` alone changes of a grant that is there.
    var columns: Columns {
        get throws {
            [
                "uid": uid, "connection_uid": connectionUID, "subject": subject, "slot": slot, "access_token": accessToken,
                "refresh_token": refreshToken, "token_type": tokenType, "scope": try scope.map(storedJSON), "requested_scope": try storedJSON(requestedScope),
                "captured": try storedJSON(captured), "account": account, "expires_at": expiresAt, "refresh_expires_at": refreshExpiresAt,
                "state": state.rawValue, "state_reason": stateReason, "state_since": stateSince, "token_generation": tokenGeneration,
                "next_refresh_at": nextRefreshAt, "created_at": createdAt, "refreshed_at": refreshedAt, "due_at": dueAt, "dies_at": diesAt,
                "warn_at": warnAt, "rotates": rotates,
            ]
        }
    }
}

extension APIKey {
    var columns: Columns {
        get throws {
            [
                "id": id, "name": name, "hash": Blob(hash), "role": role.rawValue, "connections": try connections.map(storedJSON),
                "subjects": try subjects.map(storedJSON), "requests_per_minute": requestsPerMinute, "created_at": createdAt, "expires_at": expiresAt,
                "last_used_at": lastUsedAt,
            ]
        }
    }
}

import Foundation
import GRDB
import Vault

// Records to rows, and what is in a row.

extension Row: StoredRow {
    package func optionalText(_ column: String) -> String? { String.fromDatabaseValue(self[column] as DatabaseValue) }
    package func optionalInteger(_ column: String) -> Int? { Int.fromDatabaseValue(self[column] as DatabaseValue) }
    package func optionalBytes(_ column: String) -> [UInt8]? { Data.fromDatabaseValue(self[column] as DatabaseValue).map { Array($0) } }
    package func optionalBoolean(_ column: String) -> Bool? { optionalInteger(column).map { $0 != 0 } }
}

extension Sealed {
    var data: Data { Data(bytes) }
}

extension Connection {
    var columns: StatementArguments {
        get throws {
            [
                "uid": uid.text, "id": id, "settings": try storedJSON(settings), "client_secret": clientSecret?.data, "password": password?.data,
                "health": health.state.rawValue, "health_reason": health.reason, "health_since": health.since.milliseconds,
                "created_at": createdAt.milliseconds, "updated_at": updatedAt.milliseconds, "revision": revision,
                "keep_alive": settings.keepAlive,
            ]
        }
    }
}

extension Grant {
    static let columnNames = [
        "uid", "connection_uid", "subject", "slot", "access_token", "refresh_token", "token_type", "scope", "requested_scope", "captured", "account",
        "expires_at", "refresh_expires_at", "state", "state_reason", "state_since", "token_generation", "next_refresh_at", "created_at", "refreshed_at",
        "last_used_at", "due_at", "dies_at", "warn_at", "rotates",
    ]

    var columns: StatementArguments {
        get throws {
            [
                "uid": uid.text, "connection_uid": connectionUID.text, "subject": subject, "slot": slot, "access_token": accessToken?.data,
                "refresh_token": refreshToken?.data, "token_type": tokenType, "scope": try scope.map(storedJSON),
                "requested_scope": try storedJSON(requestedScope),
                "captured": try storedJSON(captured), "account": account, "expires_at": expiresAt?.milliseconds,
                "refresh_expires_at": refreshExpiresAt?.milliseconds, "state": state.rawValue, "state_reason": stateReason,
                "state_since": stateSince.milliseconds, "token_generation": tokenGeneration, "next_refresh_at": nextRefreshAt?.milliseconds,
                "created_at": createdAt.milliseconds, "refreshed_at": refreshedAt?.milliseconds, "last_used_at": lastUsedAt?.milliseconds,
                "due_at": dueAt?.milliseconds, "dies_at": diesAt?.milliseconds, "warn_at": warnAt?.milliseconds, "rotates": rotates,
            ]
        }
    }
}

extension APIKey {
    var columns: StatementArguments {
        get throws {
            [
                "id": id, "name": name, "hash": Data(hash), "role": role.rawValue, "connections": try connections.map(storedJSON),
                "subjects": try subjects.map(storedJSON), "requests_per_minute": requestsPerMinute, "created_at": createdAt.milliseconds,
                "expires_at": expiresAt?.milliseconds, "last_used_at": lastUsedAt?.milliseconds,
            ]
        }
    }
}

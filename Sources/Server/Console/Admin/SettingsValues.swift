import Broker
import Gateway
import OAuth
import Vault

/// What the settings page shows, card by card.
enum SettingsValues {
    static func server(_ faces: Faces, now: Timestamp) async -> [String: Any] {
        let facts = faces.facts
        var values: [String: Any] = [
            "version": ServerFacts.version, "started": TimeText.value(facts.startedAt, from: now), "public_url": faces.publicURL.origin,
            "listening_url": facts.listeningURL, "event_loops": ServerFacts.eventLoops, "activity_days": facts.activityDays,
            "metrics_need_key": faces.metricsNeedKey,
        ]
        values["database"] = facts.sharedDatabase == nil ? "SQLite" : "PostgreSQL"
        if let place = facts.sharedDatabase { values["database_place"] = place }
        if let node = facts.node { values["node"] = node }
        let bytes = facts.sharedDatabase == nil ? facts.databaseBytes() : await faces.broker.databaseBytes()
        if let bytes { values["database_size"] = size(bytes) }
        if let port = facts.metricsPort { values["metrics_port"] = port }
        return values
    }

    /// Those at work on the same database; `nil` for a server that has its own.
    static func nodes(_ nodes: [NodeRecord], _ facts: ServerFacts, now: Timestamp) -> [[String: Any]]? {
        guard facts.sharedDatabase != nil else { return nil }
        return nodes.map {
            ["name": $0.name, "version": $0.version, "since": TimeText.value($0.startedAt, from: now), "is_own": $0.name == facts.node]
        }
    }

    static func vault(_ status: VaultStatus, _ facts: ServerFacts, now: Timestamp) -> [String: Any] {
        var values: [String: Any] = [
            "master_key": status.masterKeyID, "data_keys": status.dataKeys, "retired": status.retiredDataKeys,
            "has_retired": status.retiredDataKeys > 0, "is_rotating": status.isRotating,
            "key_lies_beside": facts.keyLiesBesideDatabase, "is_shared": facts.sharedDatabase != nil,
        ]
        if let restored = status.restored {
            values["restored"] = ["backup": TimeText.value(restored.backupAt, from: now), "at": TimeText.value(restored.restoredAt, from: now)]
            if status.mayBeSpent > 0 { values["may_be_spent"] = status.mayBeSpent }
        }
        return values
    }

    static func outbound(_ facts: ServerFacts) -> [String: Any] {
        let limits = facts.gatewayLimits
        var values: [String: Any] = [
            "networks": facts.egressAllow, "has_networks": !facts.egressAllow.isEmpty, "has_authorities": facts.hasOwnAuthorities,
            "trusted_proxies": facts.trustedProxies.joined(separator: ", "), "has_trusted_proxies": !facts.trustedProxies.isEmpty,
            "forbids_password": facts.forbidsPasswordGrant, "connect": limits.connect.components.seconds, "first_byte": limits.firstByte.components.seconds,
            "idle": limits.idle.components.seconds,
        ]
        if let proxy = facts.outboundProxy { values["proxy"] = proxy }
        return values
    }

    static func session(_ session: ConsoleSession, own: String, keys: [String: String], now: Timestamp) -> [String: Any] {
        [
            "id": session.id, "browser": BrowserText.name(session.userAgent), "address": session.address, "key": keys[session.keyID] ?? session.keyID,
            "since": TimeText.value(session.createdAt, from: now), "seen": TimeText.value(session.lastSeenAt, from: now),
            "is_own": session.id == own,
        ]
    }

    /// `12 KiB`, `3.4 MiB`
    static func size(_ bytes: Int) -> String {
        var value = Double(bytes)
        for unit in ["bytes", "KiB", "MiB", "GiB"] {
            if value < 1024 || unit == "GiB" {
                let isWhole = unit == "bytes" || value >= 100
                let tenths = Int((value * 10).rounded())
                return isWhole ? "\(Int(value.rounded())) \(unit)" : "\(tenths / 10).\(tenths % 10) \(unit)"
            }
            value /= 1024
        }
        return "\(bytes) bytes"
    }
}

extension Caller {
    /// What concerns every connection is for a key without bounds alone.
    var isUnbound: Bool { key.connections == nil && key.subjects == nil }
}

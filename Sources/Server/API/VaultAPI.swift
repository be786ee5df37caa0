import Broker
import HTTPTypes
import OAuth
import Vault

enum VaultAPI {
    static func get(_ inbound: Inbound) async throws -> Outbound {
        _ = try inbound.query([])
        let status = try await inbound.broker.vaultStatus(for: try inbound.caller)
        return .json([
            "master_key_id": .string(status.masterKeyID), "data_keys": count(status.dataKeys), "retired_data_keys": count(status.retiredDataKeys),
            "rotating": .bool(status.isRotating),
            "restored": status.restored.map { ["backup_at": .string($0.backupAt.rfc3339), "restored_at": .string($0.restoredAt.rfc3339)] } ?? .null,
            "may_be_spent": count(status.mayBeSpent),
        ])
    }

    static func rotate(_ inbound: Inbound) async throws -> Outbound {
        _ = try inbound.query([])
        let caller = try inbound.caller
        try caller.requireAdmin()
        let errors = FieldErrors()
        var reader = ObjectReader(try await inbound.body(mayBeEmpty: true), errors: errors)
        let dataKeys = reader.flag("data_keys") ?? false
        reader.finish()
        try errors.check()
        return .lines(try inbound.broker.rotateVault(dataKeys: dataKeys, by: caller), json)
    }

    static func verify(_ inbound: Inbound) async throws -> Outbound {
        _ = try inbound.query([])
        let caller = try inbound.caller
        try caller.requireAdmin()
        let errors = FieldErrors()
        let reader = ObjectReader(try await inbound.body(mayBeEmpty: true), errors: errors)
        reader.finish()
        try errors.check()
        return .lines(try inbound.broker.verifyVault(by: caller), json)
    }

    // MARK: Lines

    private static func count(_ value: Int) -> JSONValue { .number(JSONNumber(value)) }
    private static func text(_ value: String?) -> JSONValue { value.map(JSONValue.string) ?? .null }

    @Sendable private static func json(_ event: RotationEvent) -> JSONValue {
        switch event {
        case .masterKey(let done, let total): ["phase": "master_key", "done": count(done), "total": count(total)]
        case .dataKeys(let connection, let done, let total):
            ["phase": "data_keys", "connection": text(connection), "done": count(done), "total": count(total)]
        case .done(let rotation):
            [
                "phase": "done", "master_key_id": .string(rotation.masterKeyID), "rewrapped": count(rotation.rewrapped),
                "resealed": count(rotation.resealed), "damaged": count(rotation.damaged), "retired_data_keys": count(rotation.retiredDataKeys),
                "retired_data_keys_stay": count(Int(rotation.retiredDataKeysStay.components.seconds)),
                "removable_master_keys": .array(rotation.removableMasterKeys.map(JSONValue.string)),
            ]
        case .failed(let problem): ["phase": "failed", "problem": problem.json]
        }
    }

    @Sendable private static func json(_ event: VerificationEvent) -> JSONValue {
        switch event {
        case .database(let done, let total): ["phase": "database", "done": count(done), "total": count(total)]
        case .dataKeys(let done, let total): ["phase": "data_keys", "done": count(done), "total": count(total)]
        case .sealedValues(let record, let done, let total):
            ["phase": "sealed_values", "record": .string(record), "done": count(done), "total": count(total)]
        case .activity(let done, let total): ["phase": "activity", "done": count(done), "total": count(total)]
        case .done(let verification): json(verification)
        case .failed(let problem): ["phase": "failed", "problem": problem.json]
        }
    }

    private static func json(_ verification: Verification) -> JSONValue {
        let faults = verification.faults.map { fault -> JSONValue in
            [
                "record": .string(fault.record), "uid": text(fault.uid), "connection": text(fault.connection), "field": text(fault.field),
                "detail": .string(fault.detail),
            ]
        }
        let grants = verification.mayBeSpent.map { grant -> JSONValue in
            [
                "connection": .string(grant.connection), "subject": text(grant.subject.isEmpty ? nil : grant.subject),
                "refreshed_at": text(grant.refreshedAt?.rfc3339),
            ]
        }
        return [
            "phase": "done", "ok": .bool(verification.isOK), "checked": count(verification.checked), "fault_count": count(verification.faultCount),
            "faults": .array(faults), "may_be_spent_count": count(verification.mayBeSpentCount), "may_be_spent": .array(grants),
        ]
    }
}

import Broker
import HTTPTypes
import OAuth
import Vault

/// One use of the kill switch: how far it is.
enum RevocationPage {
    static func show(_ inbound: Inbound) async throws -> Outbound {
        let caller = try inbound.caller
        let report = try await inbound.broker.revocation(id: try inbound.path("id"), for: caller)
        var names: [String: String] = [:]
        if caller.isUnbound { for key in try await inbound.broker.keys(for: caller) { names[key.id] = key.name } }
        return inbound.page(
            ConsolePage(
                "Revocation", .settings, template: "revocation", values(report, keys: names, now: inbound.broker.now),
                crumbs: [("Settings", "/console/settings"), ("Revoke many grants", "/console/settings/revocations")]))
    }

    static func values(_ report: RevocationReport, keys: [String: String], now: Timestamp) -> [String: Any] {
        let record = report.record
        let subject = record.filter.subject.map { $0.isEmpty ? "-" : $0 } ?? ""
        let form = RevocationForm { ["connection": record.connection ?? "", "subject": subject, "key_id": record.filter.key ?? ""][$0] ?? "" }
        var values: [String: Any] = [
            "id": record.id, "sentence": form.sentence(keyName: record.filter.key.flatMap { keys[$0] }), "at": TimeText.value(record.createdAt, from: now),
            "by": keys[record.requestedBy] ?? record.requestedBy, "grants": record.grants, "revoked": record.revoked, "pending": record.pending,
            "unsupported": record.unsupported, "failed": record.failed, "badge": badge(record),
        ]
        values["has_unsupported"] = record.unsupported > 0
        values["is_under_way"] = record.endedAt == nil
        values["failures"] = report.failures.map {
            [
                "connection": $0.connection, "subject": $0.subject.map { $0.isEmpty ? "shared" : $0 } ?? "not known", "reason": words($0.reason),
            ]
        }
        values["has_failures"] = !report.failures.isEmpty
        return values
    }

    private static func badge(_ record: RevocationRecord) -> [String: String] {
        if record.stoppedAt == nil { return ["kind": "warn", "words": "Still stopping"] }
        if record.endedAt == nil { return ["kind": "info", "words": "Stopped; providers are being asked"] }
        return record.failed > 0 ? ["kind": "bad", "words": "Done, with failures"] : ["kind": "good", "words": "Done"]
    }

    private static func words(_ reason: RevocationFailure.Reason) -> String {
        switch reason {
        case .refused: "The provider said no."
        case .gaveUp: "The provider did not answer for a day."
        case .unreadable: "The stored token could not be opened, so there was nothing to send."
        case .connectionRemoved: "The connection was removed before its provider had been asked."
        }
    }
}

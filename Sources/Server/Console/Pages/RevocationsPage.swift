import Broker
import HTTPTypes
import OAuth
import Vault

/// The kill switch: says what would be revoked, wants that in words, does it; and what was revoked so before.
enum RevocationsPage {
    private static let path = "/console/settings/revocations"

    /// With `step=confirm`, the question; without it, the form and the list.
    static func show(_ inbound: Inbound) async throws -> Outbound {
        let form = RevocationForm { inbound.asked($0).trimmed }
        return try await page(inbound, form, asks: inbound.asked("step") == "confirm", error: nil)
    }

    static func submit(_ inbound: Inbound) async throws -> Outbound {
        let sent = try inbound.form
        let form = RevocationForm { sent.trimmed($0) }
        guard form.isConfirmed else { return try await page(inbound, form, asks: true, error: "Type \(form.word) to say that you mean it.") }
        let caller = try inbound.caller
        let (path, _) = try await inbound.faces.sentForms.once(try inbound.visit) { () async throws(Problem) in
            func named(_ text: String) -> String? { text.isEmpty ? nil : text }
            let report = try await inbound.broker.revokeAll(
                connectionID: named(form.connection), subject: form.subject == "-" ? "" : named(form.subject), keyID: named(form.key), by: caller)
            return Self.path + "/" + report.record.id
        }
        return inbound.see(path)
    }

    private static func page(_ inbound: Inbound, _ form: RevocationForm, asks: Bool, error: String?) async throws(Problem) -> Outbound {
        let caller = try inbound.caller
        var names: [String: String] = [:]
        var values: [String: Any] = ["fields": form.values]
        if caller.isUnbound {
            let keys = try await inbound.broker.keys(for: caller)
            for key in keys { names[key.id] = key.name }
            let removable = keys.filter { $0.id != Broker.adminKeyID }
            values["keys"] = removable.map { ["id": $0.id, "name": $0.name, "selected": $0.id == form.key] as [String: Any] }
            values["has_keys"] = !removable.isEmpty
            let now = inbound.broker.now
            let reports = try await inbound.broker.revocations(before: nil, limit: 20, for: caller)
            values["revocations"] = reports.map { RevocationPage.values($0, keys: names, now: now) }
            values["has_revocations"] = !reports.isEmpty
        }
        if asks {
            var question: [String: Any] = ["sentence": form.sentence(keyName: names[form.key])]
            if let error { question["error"] = error }
            values["question"] = question
        }
        return inbound.page(
            ConsolePage(
                asks ? "Revoke these grants?" : "Revoke many grants", .settings, template: "revocations", values,
                status: error == nil ? .ok : .unprocessableContent, crumbs: [("Settings", "/console/settings")]))
    }
}

import Broker
import HTTPTypes
import OAuth
import Vault

enum DoctorAPI {
    static func diagnose(_ inbound: Inbound) async throws -> Outbound {
        _ = try inbound.query([])
        let caller = try inbound.caller
        try caller.requireAdmin()
        let id = try inbound.path("id")
        let errors = FieldErrors()
        var reader = ObjectReader(try await inbound.body(mayBeEmpty: true), errors: errors)
        let probe = reader.flag("probe") ?? false
        let wanted = reader.texts("apply", atMost: 10, longest: 60) ?? []
        reader.finish()
        try errors.check()
        // What was found some minutes ago is applied as it was shown; it is not asked about again.
        var diagnosis = try await inbound.broker.lastDiagnosis(connectionID: id, for: caller)
        if wanted.isEmpty || probe || !diagnosis.isLive { diagnosis = try await inbound.broker.diagnose(connectionID: id, probe: probe, by: caller) }
        guard !wanted.isEmpty else { return answer(diagnosis, applied: []) }
        try await apply(wanted, of: diagnosis, inbound)
        return answer(try await inbound.broker.lastDiagnosis(connectionID: id, for: caller), applied: wanted)
    }

    /// Writes what the checks propose, by the same use case as an editor's change, if the connection is still the one that was
    /// looked at. Nothing but the connection's own settings is changed.
    static func apply(_ ids: [String], of diagnosis: Diagnosis, _ inbound: Inbound) async throws(Problem) {
        let known = diagnosis.checks.filter { $0.apply != nil }
        var document = JSONValue.object(ConnectionDocument.editable(diagnosis.connection.settings))
        var errors: [Problem.FieldError] = []
        for (index, id) in ids.enumerated() {
            if let patch = known.first(where: { $0.id == id })?.apply {
                document = mergePatch(document, .object(patch))
            } else {
                let there = known.isEmpty ? "no check has one" : "there are: \(known.map(\.id).joined(separator: ", "))"
                errors.append(.init(pointer: "/apply/\(index)", detail: "is no check with a change to apply; \(there)"))
            }
        }
        guard errors.isEmpty else { throw Problem(.invalidRequest, "there is nothing to apply as asked", fix: "diagnose again", errors: errors) }
        let draft = try ConnectionDocument.read(document.object ?? JSONObject(), filledByPreset: false)
        let caller = try inbound.caller
        let changed = try await inbound.broker.updateConnection(
            id: diagnosis.connection.id, settings: draft.settings, clientSecret: .keep, password: .keep, keepGrants: false,
            expectedRevision: diagnosis.connection.revision, by: caller)
        inbound.broker.noteApplied(ids, to: changed, by: caller)
    }

    // MARK: Showing

    private static func answer(_ diagnosis: Diagnosis, applied: [String]) -> Outbound {
        .json([
            "ok": .bool(diagnosis.isOK), "checks": .array(diagnosis.checks.map(json)), "probed": .bool(diagnosis.isProbed),
            "applied": .array(applied.map(JSONValue.string)),
        ])
    }

    private static func json(_ check: Check) -> JSONValue {
        func text(_ value: String?) -> JSONValue { value.map(JSONValue.string) ?? .null }
        var object: JSONObject = [
            "id": .string(check.id), "ok": .bool(check.isOK), "state": .string(check.state.rawValue), "title": .string(check.title),
            "detail": .string(check.detail), "fix": text(check.fix),
            "values": .array(check.values.map { ["label": .string($0.label), "text": .string($0.text)] }),
            "link": check.link.map { ["title": .string($0.title), "url": .string($0.url)] } ?? .null, "evidence": .null,
            "apply": check.apply.map(JSONValue.object) ?? .null,
        ]
        if let evidence = check.evidence {
            object["evidence"] = ["sent": .string(evidence.sent), "received": .string(evidence.received), "at": text(evidence.at?.rfc3339)]
        }
        return .object(object)
    }
}

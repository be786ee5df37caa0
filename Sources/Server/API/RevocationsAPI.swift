import Broker
import HTTPTypes
import OAuth
import Vault

enum RevocationsAPI {
    private static func json(_ report: RevocationReport) -> JSONValue {
        let record = report.record
        func text(_ value: String?) -> JSONValue { value.map(JSONValue.string) ?? .null }
        func count(_ value: Int) -> JSONValue { .number(JSONNumber(value)) }
        return [
            "id": .string(record.id), "connection": text(record.connection), "subject": text(record.filter.subject.map { $0.isEmpty ? "-" : $0 }),
            "key": text(record.filter.key), "requested_by": .string(record.requestedBy), "created_at": .string(record.createdAt.rfc3339),
            "ended_at": text(record.endedAt?.rfc3339), "grants": count(record.grants),
            "provider": [
                "revoked": count(record.revoked), "pending": count(record.pending), "unsupported": count(record.unsupported), "failed": count(record.failed),
            ],
            "failures": .array(
                report.failures.map { failure in
                    [
                        "connection": .string(failure.connection), "subject": text(failure.subject.flatMap { $0.isEmpty ? nil : $0 }),
                        "reason": .string(failure.reason.rawValue),
                    ]
                }),
        ]
    }

    /// Everything must be asked for by `{}`: a body that is empty names nothing.
    static func add(_ inbound: Inbound) async throws -> Outbound {
        _ = try inbound.query([])
        let caller = try inbound.caller
        try caller.requireAdmin()
        let errors = FieldErrors()
        let body = try await inbound.body()
        // Elsewhere null stands for what is left out; here a name that was lost on the way must not mean everything.
        for name in ["connection", "subject", "key"] where body[name]?.isNull == true {
            errors.add("/" + name, "must not be null; leave it out to mean all")
        }
        var reader = ObjectReader(body, errors: errors)
        let connection = reader.text("connection", longest: 64)
        let subject = reader.text("subject", longest: 255)
        let key = reader.text("key", longest: 64)
        reader.finish()
        try errors.check()
        let report = try await inbound.broker.revokeAll(connectionID: connection, subject: subject == "-" ? "" : subject, keyID: key, by: caller)
        return .json(json(report), status: .accepted)
    }

    static func get(_ inbound: Inbound) async throws -> Outbound {
        _ = try inbound.query([])
        return .json(json(try await inbound.broker.revocation(id: try inbound.path("id"), for: try inbound.caller)))
    }

    static func list(_ inbound: Inbound) async throws -> Outbound {
        let query = try inbound.query(["limit", "after"])
        let limit = try query.limit()
        let reports = try await inbound.broker.revocations(
            before: try query.cursor { $0.hasPrefix("rv_") && UID(parsing: String($0.dropFirst(3))) != nil }, limit: limit, for: try inbound.caller)
        return .list(reports.map(json), next: reports.count == limit ? reports.last?.record.id : nil)
    }
}

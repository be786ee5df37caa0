import Broker
import HTTPTypes
import OAuth
import Vault

enum ConsoleLinksAPI {
    static func add(_ inbound: Inbound) async throws -> Outbound {
        _ = try inbound.query([])
        try inbound.caller.requireAdmin()
        let errors = FieldErrors()
        let reader = ObjectReader(try await inbound.body(mayBeEmpty: true), errors: errors)
        reader.finish()
        try errors.check()
        let (url, expiresAt) = try await inbound.broker.makeSignInLink(by: try inbound.caller)
        return .json(["url": .string(url), "expires_at": .string(expiresAt.rfc3339)], status: .created)
    }
}

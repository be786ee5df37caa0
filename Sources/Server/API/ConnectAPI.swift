import Broker
import HTTPTypes
import OAuth
import Vault

enum ConnectAPI {
    static func connect(_ inbound: Inbound) async throws -> Outbound {
        _ = try inbound.query([])
        let errors = FieldErrors()
        var reader = ObjectReader(try await inbound.body(mayBeEmpty: true), errors: errors)
        var options = Broker.ConnectOptions()
        options.subject = reader.text("subject", longest: 255) ?? ""
        options.returnURL = reader.text("return_url")
        options.username = reader.text("username", longest: 1024)
        options.password = reader.text("password", longest: ConnectionDocument.secretLimit).map { Password($0) }
        options.scopes = reader.texts("scopes")
        options.loginHint = reader.text("login_hint", longest: 320)
        options.completion = reader.choice("completion", ["browser", "application"]).flatMap(ConnectSession.Options.Completion.init(rawValue:)) ?? .browser
        options.expectedAccount = reader.text("expected_account", longest: 255)
        options.allowAccountChange = reader.flag("allow_account_change") ?? false
        reader.finish()
        try errors.check()
        switch try await inbound.broker.connect(connectionID: try inbound.path("id"), options: options, by: try inbound.caller) {
        case .connected(let view): return .json(GrantsAPI.json(view))
        case .link(let session, let url):
            return .json(["session": .string(session.id), "connect_url": .string(url), "expires_at": .string(session.expiresAt.rfc3339)], status: .created)
        }
    }

    static func session(_ inbound: Inbound) async throws -> Outbound {
        _ = try inbound.query([])
        let view = try await inbound.broker.session(id: try inbound.path("session"), for: try inbound.caller)
        return .json([
            "id": .string(view.session.id), "state": .string(view.session.state.rawValue), "error": view.session.error.map(JSONValue.string) ?? .null,
            "grant": view.grant.map(GrantsAPI.json) ?? .null, "expires_at": .string(view.session.expiresAt.rfc3339),
        ])
    }

    static func complete(_ inbound: Inbound) async throws -> Outbound {
        _ = try inbound.query([])
        let errors = FieldErrors()
        var reader = ObjectReader(try await inbound.body(), errors: errors)
        let subject = reader.text("subject", required: true, longest: 255) ?? ""
        reader.finish()
        try errors.check()
        return .json(GrantsAPI.json(try await inbound.broker.completeSession(id: try inbound.path("session"), subject: subject, by: try inbound.caller)))
    }
}

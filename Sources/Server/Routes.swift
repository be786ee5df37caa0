import HTTPTypes

/// Everything that can be asked of the server, on one screen.
enum Routes {
    static let all: [RouteTable.Route] = [
        // The hot path first.
        .init(.get, "/v1/connections/{id}/token", .key, TokenAPI.get, shortcut: TokenAPI.cached),

        .init(.get, "/v1/presets", .key, PresetsAPI.list),
        .init(.get, "/v1/presets/{id}", .key, PresetsAPI.get),
        .init(.get, "/v1/connections", .key, ConnectionsAPI.list),
        .init(.post, "/v1/connections", .key, ConnectionsAPI.add),
        .init(.post, "/v1/connections/discover", .key, ConnectionsAPI.discover),
        .init(.get, "/v1/connections/{id}", .key, ConnectionsAPI.get),
        .init(.patch, "/v1/connections/{id}", .key, ConnectionsAPI.change),
        .init(.delete, "/v1/connections/{id}", .key, ConnectionsAPI.remove),
        .init(.get, "/v1/connections/{id}/instructions", .key, InstructionsAPI.get),
        .init(.post, "/v1/connections/{id}/connect", .key, ConnectAPI.connect),
        .init(.get, "/v1/connect-sessions/{session}", .key, ConnectAPI.session),
        .init(.post, "/v1/connect-sessions/{session}/complete", .key, ConnectAPI.complete),
        .init(.get, "/v1/grants", .key, GrantsAPI.list),
        .init(.get, "/v1/connections/{id}/grants", .key, GrantsAPI.listOfConnection),
        .init(.get, "/v1/connections/{id}/grants/{subject}", .key, GrantsAPI.get),
        .init(.put, "/v1/connections/{id}/grants/{subject}", .key, GrantsAPI.put),
        .init(.delete, "/v1/connections/{id}/grants/{subject}", .key, GrantsAPI.revoke),
        .init(.post, "/v1/connections/{id}/grants/{subject}/refresh", .key, GrantsAPI.refresh),
        .init(.get, "/v1/activity", .key, ActivityAPI.list),
        .init(.get, "/v1/vault", .key, VaultAPI.get),
        .init(.post, "/v1/vault/rotate", .key, VaultAPI.rotate),
        .init(.post, "/v1/vault/verify", .key, VaultAPI.verify),
        .init(.get, "/v1/keys", .key, KeysAPI.list),
        .init(.post, "/v1/keys", .key, KeysAPI.add),
        .init(.delete, "/v1/keys/{id}", .key, KeysAPI.remove),
        .init(.get, "/v1/webhooks", .key, WebhooksAPI.list),
        .init(.post, "/v1/webhooks", .key, WebhooksAPI.add),
        .init(.delete, "/v1/webhooks/{id}", .key, WebhooksAPI.remove),
        .init(.get, "/v1/webhooks/{id}/deliveries", .key, WebhooksAPI.deliveries),
        .init(.post, "/v1/webhooks/{id}/replay", .key, WebhooksAPI.replay),
        .init(.get, "/v1/revocations", .key, RevocationsAPI.list),
        .init(.post, "/v1/revocations", .key, RevocationsAPI.add),
        .init(.get, "/v1/revocations/{id}", .key, RevocationsAPI.get),

        .init(.post, "/mcp", .keyAtHost, MCP.answer),

        .init(.get, "/connect/{ticket}", .browser, ConnectPages.show),
        .init(.head, "/connect/{ticket}", .browser, ConnectPages.show),
        .init(.post, "/connect/{ticket}", .browser, ConnectPages.submit),
        .init(.get, "/connect/{ticket}/continue", .browser, ConnectPages.go),
        .init(.head, "/connect/{ticket}/continue", .browser, ConnectPages.nothing),
        .init(.get, "/connect/result/{session}", .browser, ConnectPages.result),
        .init(.get, "/oauth/callback/{id}", .browser, ConnectPages.callback),
        .init(.head, "/oauth/callback/{id}", .browser, ConnectPages.nothing),

        .init(.get, "/", .anyone, ServerAPI.home),
        .init(.get, "/assets/grantee.css", .anyone, ServerAPI.style),
        .init(.get, "/health/live", .anyone, ServerAPI.live),
        .init(.get, "/health/ready", .anyone, ServerAPI.ready),
        .init(.get, "/openapi.json", .anyone, ServerAPI.openAPI),
        .init(.get, "/metrics", .anyone, ServerAPI.metrics),
    ]
}

import Vault

/// What webhooks are told, and what became of it, in words.
enum WebhookWords {
    static func name(_ kind: WebhookEvent.Kind) -> String {
        switch kind {
        case .grantCreated: "Grant made"
        case .grantRefreshed: "Grant refreshed"
        case .grantReauthorizationRequired: "Must be connected again"
        case .grantRevoked: "Grant revoked"
        case .grantExpiring: "Grant will end soon"
        case .connectionMisconfigured: "Connection does not work"
        case .connectionProviderDown: "Provider is down"
        case .connectionRecovered: "Provider is back"
        case .connectionSecretExpiring: "Client secret will end soon"
        }
    }

    static func help(_ kind: WebhookEvent.Kind) -> String {
        switch kind {
        case .grantCreated: "An account was connected, or tokens were imported."
        case .grantRefreshed: "A grant has new tokens. There are many of these."
        case .grantReauthorizationRequired: "The provider refuses a grant for good: a person has to connect again. The message brings the link."
        case .grantRevoked: "Somebody disconnected an account."
        case .grantExpiring: "A refresh token will die unless something is done."
        case .connectionMisconfigured: "The provider refuses the client or its settings: a builder has to change the connection."
        case .connectionProviderDown: "The provider fails or cannot be reached. It is tried again by itself."
        case .connectionRecovered: "A renewal works again."
        case .connectionSecretExpiring: "Fourteen days before the end that the connection names."
        }
    }

    /// - Parameter kinds: `nil` = all.
    static func summary(_ kinds: Set<WebhookEvent.Kind>?) -> String {
        guard let kinds else { return "All events" }
        return WebhookEvent.Kind.allCases.filter(kinds.contains).map(name).joined(separator: ", ")
    }

    static func badge(_ delivery: Delivery) -> [String: Any] {
        switch delivery.state {
        case .delivered: ["kind": "good", "words": "Delivered"]
        case .failed: ["kind": "bad", "words": "Given up"]
        case .pending where delivery.tries > 0: ["kind": "warn", "words": "Tried, will be tried again"]
        case .pending: ["kind": "info", "words": "On its way"]
        }
    }
}

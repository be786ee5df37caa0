import Broker
import OAuth
import Vault

/// A preset as the gallery shows it.
struct PresetCard {
    let preset: Preset

    /// What many begin with, in this order.
    static let popular = [
        "google", "microsoft-entra", "github", "slack", "salesforce", "hubspot", "notion", "atlassian", "dropbox", "zoom", "stripe", "shopify",
        "auth0", "okta", "keycloak", "discord", "linkedin", "spotify",
    ]

    /// - Parameter preset: of the page: popular ones first, then all others by name.
    static func ordered(_ presets: [Preset]) -> [Preset] {
        let rank = Dictionary(uniqueKeysWithValues: popular.enumerated().map { ($1, $0) })
        let first = presets.filter { rank[$0.id] != nil }.sorted { (rank[$0.id] ?? 0) < (rank[$1.id] ?? 0) }
        return first + presets.filter { rank[$0.id] == nil }.sorted { $0.name.lowercased() < $1.name.lowercased() }
    }

    var values: [String: Any] {
        let labels = preset.grantTypes.map { GrantChoice(OAuthSettings(grantType: $0)).plainLabel }
        return [
            "id": preset.id, "name": preset.name, "grants": labels.isEmpty ? "Other grant types" : labels.joined(separator: " · "),
            "verified": preset.isVerified, "old": preset.deprecation != nil, "needs_more": preset.unsupported != nil,
            "host": preset.website.flatMap { try? EndpointURL($0) }.map { $0.host as Any } ?? false,
        ]
    }
}

extension GrantChoice {
    /// For a provider, which offers a grant type with or without PKCE.
    fileprivate var plainLabel: String { self == .authorizationCodePKCE ? GrantChoice.authorizationCode.label : label }
}

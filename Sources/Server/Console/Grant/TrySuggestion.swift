import OAuth
import Vault

/// A request that reads and changes nothing, to see whether a connection works.
enum TrySuggestion {
    /// Behind the base URL that the preset gives.
    private static let paths: [String: String] = [
        "asana": "/users/me", "bitbucket": "/user", "box": "/users/me", "calendly": "/users/me", "clickup": "/user", "digitalocean": "/account",
        "discord": "/users/@me", "figma": "/me", "github": "/user", "gitlab": "/user", "google": "/oauth2/v3/userinfo", "heroku": "/account",
        "intercom": "/me", "linkedin": "/v2/userinfo", "microsoft-entra": "/me", "netlify": "/user", "notion": "/users/me", "reddit": "/api/v1/me",
        "slack": "/auth.test", "spotify": "/me", "strava": "/athlete", "stripe": "/account", "typeform": "/me", "vercel": "/v2/user", "webex": "/people/me",
        "x": "/users/me", "zendesk": "/users/me.json", "zoom": "/users/me",
    ]

    /// `/` where none is known.
    static func path(_ settings: ConnectionSettings) -> String {
        if isRehearsal(settings) { return "/me" }
        return settings.preset.flatMap { paths[$0] } ?? "/"
    }

    /// For the partial `part-test`.
    static func values(_ settings: ConnectionSettings, subject: String) -> [String: Any] { ["path": path(settings), "test_subject": subject] }

    /// The sample API of the rehearsal provider, on this machine.
    private static func isRehearsal(_ settings: ConnectionSettings) -> Bool {
        guard let base = settings.baseURL.flatMap({ try? EndpointURL($0) }), let token = settings.oauth.tokenURL.flatMap({ try? EndpointURL($0) }) else {
            return false
        }
        return base.isLoopback && base.origin == token.origin && base.path == "/api" && token.path == "/token"
    }
}

import Broker
import Vault

/// A connection's settings as its page shows them: labels and values, secrets as whether they are there.
enum ConnectionFacts {
    /// Each with `label`, and `text`, `code` or `words` (a list).
    static func values(_ connection: Connection, now: Timestamp) -> [[String: Any]] {
        let settings = connection.settings
        let oauth = settings.oauth
        var facts: [[String: Any]] = []
        func add(_ label: String, text: String?) { if let text { facts.append(["label": label, "text": text]) } }
        func add(_ label: String, code: String?) { if let code { facts.append(["label": label, "code": code]) } }
        func add(_ label: String, words: [String]) { if !words.isEmpty { facts.append(["label": label, "words": words]) } }
        add("Grant Type", text: GrantChoice(oauth).label)
        if let preset = settings.preset { add("Provider", text: Preset.find(preset)?.name ?? preset) }
        add("API base URL", code: settings.baseURL)
        add("Authorization URL", code: oauth.authorizationURL)
        add("Access Token URL", code: oauth.tokenURL)
        add("Issuer", code: oauth.issuer)
        add("Client ID", code: oauth.clientID)
        add("Client Secret", text: connection.clientSecret == nil ? "None" : "Kept sealed")
        add("Client Authentication", text: authentication(oauth.clientAuthentication))
        if oauth.grantType == .authorizationCode { add("PKCE Mode", text: pkce(oauth.pkce)) }
        if oauth.grantType == .password { add("Username and Password", text: connection.fetchesAlone ? "Stored, sealed" : "Typed by each end user") }
        add("Scopes", words: oauth.scopes)
        add("Return origins", words: settings.returnOrigins)
        add("Keep alive", text: settings.keepAlive ? "On: tokens are refreshed before they end, used or not" : "Off: tokens are refreshed when they are used")
        return facts
    }

    private static func authentication(_ method: String) -> String {
        switch method {
        case "client_secret_basic": "Send as Basic Auth Header"
        case "client_secret_post": "Send client credentials in body"
        case "client_secret_basic_raw": "Basic Auth Header, not form-encoded"
        case "none": "None (public client)"
        default: method
        }
    }

    private static func pkce(_ mode: String?) -> String {
        switch mode {
        case "S256", nil: "SHA-256"
        case "plain": "Plain"
        case "none": "None"
        case let other?: other
        }
    }
}

import OAuth
import Vault

/// How a provider is asked for a refresh token, where it gives none unasked. Data: a new provider is a new line.
struct OfflineAccess: Sendable {
    let hosts: [String]
    var params: [String: String] = [:]
    var scope: String?
    /// The wish, as a sentence ends with it.
    let wish: String

    static let all: [OfflineAccess] = [
        OfflineAccess(
            hosts: ["accounts.google.com"], params: ["access_type": "offline", "prompt": "consent"], wish: "access_type=offline and prompt=consent"),
        OfflineAccess(
            hosts: [
                "login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn", "auth0.com", "okta.com",
                "oktapreview.com",
                "auth.atlassian.com", "login.xero.com",
            ],
            scope: "offline_access", wish: "the scope offline_access"),
        OfflineAccess(hosts: ["salesforce.com", "force.com"], scope: "refresh_token", wish: "the scope refresh_token"),
        OfflineAccess(hosts: ["dropbox.com"], params: ["token_access_type": "offline"], wish: "token_access_type=offline"),
        OfflineAccess(hosts: ["reddit.com"], params: ["duration": "permanent"], wish: "duration=permanent"),
        OfflineAccess(
            hosts: ["accounts.zoho.com", "accounts.zoho.eu", "accounts.zoho.in", "accounts.zoho.com.au", "accounts.zoho.jp"],
            params: ["access_type": "offline", "prompt": "consent"], wish: "access_type=offline and prompt=consent"),
        OfflineAccess(hosts: ["apps.fortnox.se"], params: ["access_type": "offline"], wish: "access_type=offline"),
    ]

    static func of(_ facts: Facts) -> OfflineAccess? {
        guard let host = facts.authorizationURL?.host else { return nil }
        if let known = all.first(where: { KnownProvider.matches(host, $0.hosts) }) { return known }
        guard facts.metadata?.scopesSupported?.contains("offline_access") == true else { return nil }
        return OfflineAccess(hosts: [], scope: "offline_access", wish: "the scope offline_access")
    }

    /// Whether the connection asks for it already.
    func isAsked(_ facts: Facts) -> Bool {
        let params = facts.profile.authorizationParams
        let hasScope =
            scope.map { wanted in facts.oauth.scopes.contains { $0 == wanted || (wanted == "refresh_token" && $0 == "offline_access") } } ?? true
        return hasScope && self.params.allSatisfy { params[$0.key] == $0.value }
    }

    func patch(_ facts: Facts) -> JSONObject {
        var oauth: JSONObject = [:]
        if !params.isEmpty {
            oauth["authorization_params"] = .object(JSONObject(params.sorted { $0.key < $1.key }.map { (name: $0.key, value: .string($0.value)) }))
        }
        if let scope { oauth["scopes"] = .array((facts.oauth.scopes + [scope]).map(JSONValue.string)) }
        return Facts.patch(oauth)
    }
}

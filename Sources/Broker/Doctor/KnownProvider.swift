import OAuth

/// Where things stand at a provider whose pages we know. Data: a new provider is a new line.
struct KnownProvider: Sendable {
    let name: String
    /// Ends of the hosts of its authorization and token URLs.
    let hosts: [String]
    /// Where the Callback URL is registered.
    let callback: String
    /// Where grant types are enabled.
    let grantTypes: String
    /// Where the client secret is.
    let secret: String
    /// Where scopes are enabled.
    let scopes: String

    static let all: [KnownProvider] = [
        KnownProvider(
            name: "Google", hosts: ["accounts.google.com", "oauth2.googleapis.com"],
            callback: "Google Cloud console > APIs & Services > Credentials > your OAuth client > Authorized redirect URIs",
            grantTypes:
                "Google offers authorization_code to an OAuth client of type Web application; machines use a service account instead of "
                + "client_credentials",
            secret: "Google Cloud console > APIs & Services > Credentials > your OAuth client",
            scopes: "Google Cloud console > APIs & Services > Enabled APIs, and the scopes of the OAuth consent screen"),
        KnownProvider(
            name: "Microsoft Entra ID", hosts: ["login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"],
            callback: "Entra admin center > App registrations > your app > Authentication > Web > Redirect URIs",
            grantTypes: "Entra admin center > App registrations > your app > Authentication (passwords need \"Allow public client flows\")",
            secret: "Entra admin center > App registrations > your app > Certificates & secrets; the secret's Value, not its Secret ID",
            scopes: "Entra admin center > App registrations > your app > API permissions"),
        KnownProvider(
            name: "GitHub", hosts: ["github.com"],
            callback: "GitHub > Settings > Developer settings > your app > Authorization callback URL",
            grantTypes: "GitHub offers authorization_code to OAuth apps",
            secret: "GitHub > Settings > Developer settings > your app > Client secrets",
            scopes: "GitHub's list of OAuth scopes; a GitHub App takes permissions instead"),
        KnownProvider(
            name: "Slack", hosts: ["slack.com"], callback: "api.slack.com/apps > your app > OAuth & Permissions > Redirect URLs",
            grantTypes: "api.slack.com/apps > your app > OAuth & Permissions",
            secret: "api.slack.com/apps > your app > Basic Information > App Credentials",
            scopes: "api.slack.com/apps > your app > OAuth & Permissions > Scopes"),
        KnownProvider(
            name: "Salesforce", hosts: ["salesforce.com", "force.com"],
            callback: "Setup > External Client App Manager > your app > OAuth settings > Callback URL",
            grantTypes:
                "Setup > External Client App Manager > your app > OAuth settings > Flow Enablement (client credentials need a run-as user, too)",
            secret: "Setup > External Client App Manager > your app > OAuth settings > Consumer Key and Secret",
            scopes: "Setup > External Client App Manager > your app > OAuth settings > OAuth scopes"),
        KnownProvider(
            name: "Auth0", hosts: ["auth0.com"], callback: "Auth0 dashboard > Applications > your application > Settings > Allowed Callback URLs",
            grantTypes:
                "Auth0 dashboard > Applications > your application > Settings > Advanced > Grant Types; for machines also the API under the tab APIs",
            secret: "Auth0 dashboard > Applications > your application > Settings",
            scopes: "Auth0 dashboard > Applications > APIs > your API > Permissions"),
        KnownProvider(
            name: "Okta", hosts: ["okta.com", "oktapreview.com", "okta-emea.com"],
            callback: "Okta admin console > Applications > your app > General > Sign-in redirect URIs",
            grantTypes: "Okta admin console > Applications > your app > General > Grant type, and the access policy of the authorization server",
            secret: "Okta admin console > Applications > your app > General > Client Credentials",
            scopes: "Okta admin console > Security > API > your authorization server > Scopes, and its access policy"),
    ]

    /// Told by its paths: it stands on hosts of its owners.
    static let keycloak = KnownProvider(
        name: "Keycloak", hosts: [], callback: "Keycloak admin console > Clients > your client > Valid redirect URIs",
        grantTypes:
            "Keycloak admin console > Clients > your client > Capability config (Standard flow, Direct access grants, Service accounts roles)",
        secret: "Keycloak admin console > Clients > your client > Credentials",
        scopes: "Keycloak admin console > Clients > your client > Client scopes")

    static func of(_ facts: Facts) -> KnownProvider? {
        let urls = [facts.authorizationURL, facts.tokenURL].compactMap(\.self)
        if let found = all.first(where: { provider in urls.contains { matches($0.host, provider.hosts) } }) { return found }
        return urls.contains { $0.path.contains("/protocol/openid-connect/") } ? keycloak : nil
    }

    /// Whether a host is one of these, or below one of them.
    static func matches(_ host: String, _ ends: [String]) -> Bool { ends.contains { host == $0 || host.hasSuffix("." + $0) } }
}

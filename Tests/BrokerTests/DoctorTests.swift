import Egress
import HTTPTypes
import OAuth
import OAuthClient
import SQLiteStore
import Testing
import Vault

@testable import Broker

/// Each row of the doctor's table, by what real providers say.
@Suite struct DoctorTests {
    static let now = Timestamp(milliseconds: 1_800_000_000_000)

    static func facts(secret: Bool = true, _ change: (inout ConnectionSettings) -> Void = { _ in }) -> Facts {
        var settings = ConnectionSettings(name: "App", oauth: OAuthSettings(grantType: .authorizationCode))
        settings.oauth.authorizationURL = "https://as.example/authorize"
        settings.oauth.tokenURL = "https://as.example/token"
        settings.oauth.clientID = "client"
        settings.oauth.pkce = "S256"
        settings.oauth.scopes = ["read", "write"]
        change(&settings)
        let connection = Connection(
            uid: .make(at: now), id: "app", settings: settings, clientSecret: secret ? Sealed(bytes: [1]) : nil, health: .init(state: .ok, since: now),
            createdAt: now, updatedAt: now)
        return Facts(
            connection: connection, callbackURL: "https://grantee.example/oauth/callback/app", publicURL: "https://grantee.example", now: now)
    }

    struct Row: Sendable, CustomTestStringConvertible {
        let id: String
        var stage = Trouble.Stage.token
        var failure = Trouble.Failure.refused
        var error: String?
        var says: String?
        var status = 400
        var reason: String?
        var type = "application/json"
        var page: String?
        var secret = true
        var apply: JSONObject?
        var change: @Sendable (inout ConnectionSettings) -> Void = { _ in }
        var testDescription: String { "\(id): \(error ?? "-") \(says ?? reason ?? "")" }

        var trouble: Trouble {
            var trouble = Trouble(stage: stage, failure: failure, at: now, revision: 1, error: error, errorDescription: says, reason: reason)
            trouble.request = .init(method: "POST", url: "https://as.example/token")
            let isUnanswered = [.blocked, .unreachable, .timedOut, .broken].contains(failure) || stage == .authorization
            if !isUnanswered { trouble.response = .init(status: status, contentType: type, pageTitle: page) }
            return trouble
        }
    }

    private static let microsoft: @Sendable (inout ConnectionSettings) -> Void = {
        $0.oauth.authorizationURL = "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/authorize"
        $0.oauth.tokenURL = "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token"
    }
    private static func patch(_ name: String, _ value: JSONValue) -> JSONObject { ["oauth": [name: value]] }
    private static let passwordGrant: @Sendable (inout ConnectionSettings) -> Void = {
        $0.oauth.grantType = .password
        $0.oauth.pkce = nil
    }
    private static let machine: @Sendable (inout ConnectionSettings) -> Void = {
        $0.oauth.grantType = .clientCredentials
        $0.oauth.pkce = nil
    }
    private static let withoutPKCE: @Sendable (inout ConnectionSettings) -> Void = { $0.oauth.pkce = "none" }

    static let redirection: [Row] = [
        Row(id: "redirect_uri", error: "redirect_uri_mismatch", says: "Bad Request"),  // Google
        Row(
            id: "redirect_uri", stage: .authorization, error: "invalid_request",
            says:
                "AADSTS50011: The redirect URI 'https://grantee.example/oauth/callback/app/' specified in the request does not match the redirect URIs configured"
        ),
        Row(id: "redirect_uri", error: "invalid_request", says: "AADSTS500112: The reply address does not match the reply address provided when requesting"),
        Row(
            id: "redirect_uri", stage: .authorization, error: "redirect_uri_mismatch",
            says: "The redirect_uri MUST match the registered callback URL for this application."),  // GitHub
        Row(id: "redirect_uri", error: "bad_redirect_uri", status: 200),  // Slack
        Row(
            id: "redirect_uri", stage: .authorization, error: "unauthorized_client",
            says: "Callback URL mismatch. The provided redirect_uri is not in the list of allowed callback URLs."),  // Auth0
        Row(
            id: "redirect_uri", stage: .authorization, error: "invalid_request",
            says: "The 'redirect_uri' parameter must be a Login redirect URI in the client app settings: https://dev-admin.okta.com/admin/app/oidc_client"),
        Row(id: "redirect_uri", error: "invalid_grant", says: "Incorrect redirect_uri"),  // Keycloak
        Row(id: "redirect_uri", error: "redirect_uri_mismatch", says: "redirect_uri must match configuration"),  // Salesforce
        Row(
            id: "redirect_uri", error: "invalid_request", says: "Value passed for the redirect uri did not match the uri of the authorization code."),  // X
        Row(id: "redirect_uri", error: "invalid_grant", says: "redirect_uri is another than in the request"),
        Row(id: "issuer", stage: .authorization, failure: .callback, reason: "issuer_mismatch"),
        Row(id: "browser", stage: .authorization, failure: .callback, reason: "browser_mismatch"),
        Row(id: "callback", stage: .authorization, failure: .callback, reason: "missing_code"),
        Row(id: "callback", stage: .authorization, failure: .callback, reason: "malformed: a parameter is repeated"),
    ]

    static let clients: [Row] = [
        Row(id: "client", error: "invalid_client", says: "The OAuth client was not found.", status: 401),  // Google
        Row(id: "client", error: "invalid_client", says: "Unauthorized", status: 401),
        Row(
            id: "client", error: "incorrect_client_credentials", says: "The client_id and/or client_secret passed are incorrect.", status: 200),  // GitHub
        Row(id: "client", error: "bad_client_secret", status: 200),  // Slack
        Row(id: "client", error: "invalid_client_id", says: "client identifier invalid"),  // Salesforce
        Row(id: "client", error: "invalid_client", says: "invalid client credentials"),
        Row(
            id: "client", error: "invalid_client",
            says:
                "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID",
            status: 401, change: microsoft),
        Row(
            id: "client", error: "unauthorized_client",
            says: "AADSTS700016: Application with identifier 'client' was not found in the directory 'contoso'.", change: microsoft),
        Row(id: "client", error: "access_denied", says: "Unauthorized", status: 401),  // Auth0
        Row(
            id: "client", error: "invalid_client", says: "Client authentication failed. Either the client or the client credentials are invalid.",
            status: 401),  // Okta
        Row(id: "client", error: "unauthorized_client", says: "Invalid client or Invalid client credentials", status: 401),  // Keycloak
        Row(id: "client", status: 401),  // Spotify says nothing
        Row(
            id: "client_secret_expired", error: "invalid_client", says: "AADSTS7000222: The provided client secret keys for app 'client' are expired.",
            status: 401, change: microsoft),
        Row(
            id: "client_secret_expired", error: "invalid_client", status: 401, change: { $0.oauth.clientSecretExpiresAt = now + .seconds(-60) }),
        Row(
            id: "client_authentication", error: "invalid_client",
            says: "AADSTS700025: Client is public so neither 'client_assertion' nor 'client_secret' should be presented.", status: 401,
            apply: patch("client_authentication", "none"), change: microsoft),
        Row(
            id: "client_authentication", error: "invalid_client",
            says: "AADSTS7000218: The request body must contain the following parameter: 'client_assertion' or 'client_secret'.", status: 401, secret: false,
            change: microsoft),
        Row(
            id: "client_authentication", error: "invalid_client", says: "the client is not registered for client_secret_basic", status: 401,
            apply: patch("client_authentication", "client_secret_post")),
        Row(id: "client_authentication", error: "invalid_request", says: "client_secret is missing.", secret: false),  // Google
        Row(
            id: "platform", error: "invalid_request",
            says: "AADSTS9002327: Tokens issued for the 'Single-Page Application' client-type may only be redeemed via cross-origin requests.",
            change: microsoft),
    ]

    static let proofKeys: [Row] = [
        Row(
            id: "pkce_required", stage: .authorization, error: "invalid_request",
            says: "PKCE code challenge is required when the token endpoint authentication method is 'NONE'.", apply: patch("pkce", "S256"),
            change: withoutPKCE),  // Okta
        Row(id: "pkce_required", stage: .authorization, error: "invalid_request", says: "missing required code challenge", change: withoutPKCE),
        Row(id: "pkce_required", stage: .authorization, error: "invalid_request", says: "Missing parameter: code_challenge_method", change: withoutPKCE),
        Row(id: "pkce_required", error: "invalid_request", says: "Missing required parameter [code_verifier].", change: withoutPKCE),  // X
        Row(
            id: "pkce_required", stage: .authorization, error: "invalid_request", says: "code_challenge_method must be S256", apply: patch("pkce", "S256"),
            change: { $0.oauth.pkce = "plain" }),
        Row(
            id: "pkce_unsupported", stage: .authorization, error: "invalid_request", says: "code_challenge is not supported", apply: patch("pkce", "none")),
        Row(
            id: "pkce_unsupported", stage: .authorization, error: "invalid_request", says: "code_challenge_method S256 is not supported",
            apply: patch("pkce", "plain")),
        Row(id: "pkce_mismatch", error: "invalid_grant", says: "PKCE verification failed."),  // Okta
        Row(id: "pkce_mismatch", error: "invalid_grant", says: "Invalid code verifier."),  // Google
        Row(id: "pkce_mismatch", error: "invalid_grant", says: "AADSTS501481: The Code_Verifier does not match the code_challenge supplied"),
    ]

    static let scopes: [Row] = [
        Row(
            id: "scope", stage: .authorization, error: "invalid_scope", says: "Some requested scopes were invalid. {valid=[read], invalid=[write]}",
            apply: patch("scopes", ["read"])),  // Google
        Row(id: "scope", stage: .authorization, error: "invalid_scope", says: "Invalid scopes: read write"),  // Keycloak
        Row(
            id: "scope", stage: .authorization, error: "unauthorized_scope_error", says: "Scope \"write\" is not authorized for your application",
            apply: patch("scopes", ["read"])),  // LinkedIn
        Row(
            id: "scope", stage: .authorization, error: "invalid_scope", says: "One or more scopes are not configured for the authorization server resource."),
        Row(
            id: "scope", stage: .authorization, error: "invalid_client",
            says: "AADSTS650053: The application asked for scope 'write' that doesn't exist on the resource", apply: patch("scopes", ["read"])),
        Row(
            id: "scope", error: "invalid_scope",
            says: "AADSTS1002012: The provided value for scope read write is not valid. Client credential flows must have a scope value with /.default",
            apply: patch("scopes", ["https://graph.microsoft.com/.default"]),
            change: {
                microsoft(&$0)
                machine(&$0)
            }),
        Row(
            id: "scope_separator", stage: .authorization, error: "invalid_scope", says: "The scope \"read write\" is unknown",
            apply: patch("scope_separator", ",")),
        Row(
            id: "scope_separator", stage: .authorization, error: "invalid_scope", apply: patch("scope_separator", ","),
            change: { $0.oauth.authorizationURL = "https://www.strava.com/oauth/authorize" }),
        Row(id: "resource", error: "access_denied", says: "Service not found: https://api.example", status: 403, change: machine),  // Auth0
        Row(id: "resource", error: "invalid_target"),
        Row(id: "resource", error: "invalid_resource", says: "AADSTS500011: The resource principal named api://x was not found in the tenant"),
    ]

    static let grants: [Row] = [
        Row(
            id: "grant_type", error: "unauthorized_client", says: "Grant type 'client_credentials' not allowed for the client.", status: 403, change: machine),
        Row(id: "grant_type", error: "unauthorized_client", says: "The client is not authorized to use the provided grant type."),  // Okta
        Row(id: "grant_type", error: "unauthorized_client", says: "Client not enabled to retrieve service account", status: 401, change: machine),
        Row(id: "grant_type", error: "invalid_grant", says: "no client credentials user enabled", change: machine),  // Salesforce
        Row(id: "grant_type", error: "unsupported_grant_type", says: "grant type not supported"),
        Row(id: "grant_type", stage: .refresh, error: "unauthorized_client", says: "the client may not use refresh_token"),
        Row(id: "admin_consent", error: "invalid_grant", says: "AADSTS65001: The user or administrator has not consented to use the application"),
        Row(id: "admin_consent", stage: .authorization, error: "access_denied", says: "AADSTS90094: The grant requires admin permission."),
        Row(id: "admin_consent", stage: .authorization, error: "admin_policy_enforced"),  // Google
        Row(id: "admin_consent", error: "invalid_grant", says: "user hasn't approved this consumer"),  // Salesforce
        Row(
            id: "mfa", error: "invalid_grant", says: "AADSTS50076: Due to a configuration change made by your administrator, you must use multi-factor",
            change: passwordGrant),
        Row(id: "mfa", error: "mfa_required", says: "Multifactor authentication required", status: 403, change: passwordGrant),  // Auth0
        Row(id: "mfa", error: "invalid_grant", says: "Account is not fully set up", change: passwordGrant),  // Keycloak
        Row(id: "tenant", error: "invalid_request", says: "AADSTS90002: Tenant 'contoso' not found."),
        Row(id: "tenant", error: "invalid_request", says: "AADSTS50194: Application 'client' is not configured as a multi-tenant application."),
        Row(id: "tenant", error: "invalid_grant", says: "request not supported on this domain", change: machine),  // Salesforce
        Row(id: "tenant", error: "Realm does not exist", status: 404),  // Keycloak
        Row(id: "interaction", stage: .authorization, error: "login_required"),
        Row(id: "access_denied", stage: .authorization, error: "access_denied", says: "The resource owner denied the request"),
    ]

    static let people: [Row] = [
        Row(id: "credentials", error: "invalid_grant", says: "Wrong email or password.", status: 403, change: passwordGrant),  // Auth0
        Row(
            id: "credentials", error: "invalid_grant", says: "AADSTS50126: Error validating credentials due to invalid username or password.",
            change: passwordGrant),
        Row(id: "credentials", status: 401, change: passwordGrant),
        Row(id: "refresh_token", stage: .refresh, error: "invalid_grant", says: "Token has been expired or revoked."),  // Google
        Row(id: "refresh_token", stage: .refresh, error: "bad_refresh_token", status: 200),  // GitHub
        Row(
            id: "refresh_token", stage: .refresh, error: "invalid_grant", says: "AADSTS700082: The refresh token has expired due to inactivity."),
        Row(id: "code", error: "bad_verification_code", says: "The code passed is incorrect or expired.", status: 200),  // GitHub
        Row(id: "code", error: "invalid_grant", says: "AADSTS54005: OAuth2 Authorization code was already redeemed"),
        // Doorkeeper says this of everything: no proof that the Callback URL is wrong.
        Row(
            id: "code", error: "invalid_grant",
            says: "The provided authorization grant is invalid, expired, revoked, does not match the redirection URI used in the authorization request"),
        Row(id: "code", error: "invalid_code", status: 200),  // Slack
        Row(id: "clock", failure: .idToken, status: 200, reason: "iat lies in the future; look at the clock of this machine if it repeats"),
        Row(id: "clock", failure: .idToken, status: 200, reason: "nbf lies in the future"),
        Row(id: "id_token", failure: .idToken, status: 200, reason: "iss is not the connection's issuer"),
    ]

    static let answers: [Row] = [
        Row(id: "egress_policy", failure: .blocked),
        Row(id: "dns", failure: .unreachable, reason: "its name does not resolve"),
        Row(id: "dns", failure: .unreachable, reason: "its name was not resolved in time"),
        Row(id: "tls", failure: .unreachable, reason: "TLS failed: its certificate is not trusted (unknown issuer, or expired)"),
        Row(id: "tls", failure: .unreachable, reason: "TLS failed: its certificate is for another name"),
        Row(id: "connection", failure: .unreachable, reason: "the connection was refused or not possible"),
        Row(id: "timeout", failure: .timedOut),
        Row(id: "broken_answer", failure: .broken, reason: "it is larger than 1 MiB"),
        Row(id: "rate_limited", error: "temporarily_unavailable", status: 429),
        Row(id: "rate_limited", error: "ratelimited", status: 200),  // Slack
        Row(id: "redirect", status: 307),
        Row(id: "not_found", status: 404, type: "text/html", page: "Not Found"),
        Row(id: "provider_down", status: 503, type: "text/html", page: "Service Unavailable"),
        Row(id: "provider_down", error: "server_error", status: 200),
        Row(id: "html", failure: .malformed, status: 200, reason: "it is a page for people (HTML), not JSON", type: "text/html", page: "Sign in"),
        Row(id: "html", status: 403, type: "text/html; charset=utf-8", page: "Attention Required!"),
        Row(id: "token_type", failure: .malformed, status: 200, reason: "its token_type is not Bearer"),
        Row(id: "media_type", failure: .malformed, status: 200, reason: "it is XML, not JSON", type: "text/xml"),
        Row(id: "media_type", failure: .malformed, status: 200, reason: "it has no access_token"),
        Row(id: "request", error: "invalid_request", says: "The request is missing a required parameter"),
        Row(id: "provider", error: "brand_new", status: 418),
    ]

    @Test("A row of the table", arguments: redirection + clients + proofKeys + scopes + grants + people + answers)
    func row(_ row: Row) throws {
        let check = Doctor.explain(row.trouble, Self.facts(secret: row.secret, row.change))
        #expect(check.id == row.id, "\(check.title): \(check.detail)")
        #expect([.bad, .warn].contains(check.state))
        #expect(!check.isOK)
        #expect(check.detail.hasSuffix("."), "\(check.detail)")
        #expect(check.fix?.hasSuffix(".") == true, "\(check.fix ?? "no fix")")
        if let apply = row.apply { #expect(check.apply == apply) }
        if let link = check.link { #expect(link.url.hasPrefix("https://")) }
    }

    @Test func everyRowIsProvokedHere() {
        let rows = Self.redirection + Self.clients + Self.proofKeys + Self.scopes + Self.grants + Self.people + Self.answers
        #expect(Set(Cause.all.map(\.id)).subtracting(rows.map(\.id)) == [])
    }

    // MARK: What the rows say

    @Test func theCallbackURLIsShownAndHowTheirsDiffers() throws {
        let check = Doctor.explain(Self.redirection[1].trouble, Self.facts())
        #expect(check.values == [.init(label: "Callback URL", text: "https://grantee.example/oauth/callback/app")])
        #expect(check.detail.contains("https://grantee.example/oauth/callback/app/: it ends with a slash, ours does not"))
        // A page of its documentation is none of them.
        let okta = Doctor.explain(Self.redirection[6].trouble, Self.facts())
        #expect(!okta.detail.contains("okta.com"))
    }

    @Test(arguments: [
        ("https://a.example/cb", "http://a.example/cb", "begins with http"), ("https://a.example/cb", "https://b.example/cb", "host is b.example"),
        ("https://a.example/cb", "https://a.example:8443/cb", "port is 8443"), ("https://a.example/cb", "https://a.example/CB", "upper and lower case"),
        ("https://a.example/cb/", "https://a.example/cb", "ours ends with a slash"), ("https://a.example/cb", "https://a.example/x", "path is /x"),
        ("https://a.example/cb", "https://a.example/cb?x=1", "query"), ("https://a.example/cb", "https://A.example/cb", "spelled otherwise"),
    ]) func differencesOfURLsAreSaid(ours: String, theirs: String, words: String) {
        #expect(URLDifference.words(ours: ours, theirs: theirs)?.contains(words) == true)
        #expect(URLDifference.words(ours: ours, theirs: ours) == nil)
    }

    @Test func theLinkForAnAdministratorNamesTenantAndClient() throws {
        let row = Row(id: "admin_consent", error: "invalid_grant", says: "AADSTS65001: not consented", change: Self.microsoft)
        let check = Doctor.explain(row.trouble, Self.facts(Self.microsoft))
        #expect(check.link?.url == "https://login.microsoftonline.com/contoso.example/adminconsent?client_id=client")
        // Where the host is another, nobody is sent anywhere.
        #expect(Doctor.explain(row.trouble, Self.facts()).link == nil)
        let odd = Self.facts {
            Self.microsoft(&$0)
            $0.oauth.clientID = "a&b\"c"
        }
        #expect(Cause.adminConsentLink(odd)?.url.hasSuffix("client_id=a%26b%22c") == true)
    }

    @Test func whatAnotherRevisionSentIsNotHeldAgainstThisOne() {
        var trouble = Self.clients[0].trouble
        trouble.revision = 0
        let check = Doctor.explain(trouble, Self.facts())
        #expect(check.id == "client")
        #expect(check.state == .unknown)
        #expect(check.isOK)
        #expect(check.detail.hasPrefix("Before the connection was last changed"))
    }

    @Test func aChangeThatChangesNothingIsNotOffered() {
        let check = Doctor.explain(Self.proofKeys[5].trouble, Self.facts())
        #expect(check.apply == ["oauth": ["pkce": "none"]])
        let already = Row(id: "pkce_required", stage: .authorization, error: "invalid_request", says: "code_challenge is required")
        #expect(Doctor.explain(already.trouble, Self.facts()).apply == nil)
    }

    @Test func evidenceReadsAsItWent() {
        var trouble = Self.clients[0].trouble
        trouble.request?.headers = [.init("Authorization", "Basic (client:\(Mask.dots))")]
        trouble.request?.fields = [.init("grant_type", "authorization_code"), .init("code", Mask.dots)]
        trouble.response?.body = #"{"error":"invalid_client"}"#
        let evidence = Doctor.evidence(trouble)
        #expect(
            evidence.sent
                == "POST https://as.example/token\nAuthorization: Basic (client:••••••)\n\ngrant_type=authorization_code\ncode=••••••")
        #expect(evidence.received == "Status 401\nContent-Type: application/json\n\n{\"error\":\"invalid_client\"}")
        #expect(Doctor.evidence(Self.answers[1].trouble).received == "No whole answer: its name does not resolve.")
    }
}

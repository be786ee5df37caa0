import OAuth
import Vault

/// Permissions that somebody has to give: an administrator, or the person.
extension Cause {
    static let consent: [Cause] = [
        Cause(
            "admin_consent", "An administrator has to agree",
            when: { _, said, _ in
                said.hasNumber(65001, 90094, 900_941, 650_052, 650_057, 50105, 501_051)
                    || said.isCode("admin_policy_enforced", "org_internal", "consent_required")
                    || said.says(
                        "admin_policy_enforced", "admin consent", "administrator has not consented", "user hasn't approved this consumer",
                        "org_internal")
            }
        ).saying { _, said, facts in
            let isMicrosoft = facts.provider?.name == "Microsoft Entra ID"
            if said.hasNumber(50105, 501_051) {
                return Words(
                    "The app may be used by people (or apps) only whom an administrator has assigned to it.",
                    fix:
                        "Entra admin center > Enterprise applications > your app > Users and groups: assign them, or turn off Properties > "
                        + "Assignment required."
                )
            }
            if said.says("org_internal") {
                return Words(
                    "The app is internal to one Google Workspace organisation, and the account is of another.",
                    fix: "Connect an account of that organisation, or set the user type of the OAuth consent screen to External.")
            }
            return Words(
                "The permissions that the connection asks for need the consent of an administrator of the organisation, and nobody has given it.",
                fix: isMicrosoft
                    ? "Have an administrator open the link and accept, or do it in Entra admin center > App registrations > your app > API "
                        + "permissions > Grant admin consent. Then connect again."
                    : "Have an administrator allow the app (\(facts.oauth.clientID ?? "the client id")) in the organisation's settings for "
                        + "third-party access. Then connect again.",
                link: isMicrosoft ? adminConsentLink(facts) : nil)
        },
        Cause(
            "mfa", "The account needs a second factor",
            when: { _, said, _ in
                said.hasNumber(50076, 50079, 50158, 50072, 50074, 53003, 530_003, 53000, 53001) || said.isCode("mfa_required", "mfa_enroll")
                    || said.says("multifactor authentication required", "multi-factor authentication", "account is not fully set up")
            }
        ).saying { _, _, facts in
            facts.oauth.grantType == .password
                ? Words(
                    "The account signs in with a second factor, or a policy of the organisation wants more than a password. The password grant can "
                        + "give only a password.",
                    fix: "Use the grant type authorization_code, where the person signs in at the provider. For a machine, use client_credentials.")
                : Words(
                    "A policy of the organisation wants more of the person than they gave: a second factor, or a managed device.",
                    fix:
                        "Connect again; the provider asks for what is missing. If it does not, an administrator looks at the Conditional Access "
                        + "policy.",
                    state: .warn)
        },
        Cause(
            "tenant", "The wrong tenant",
            when: { _, said, _ in
                said.hasNumber(90002, 900_023, 50194, 50020, 90072, 700_030)
                    || said.says(
                        "request not supported on this domain", "realm does not exist", "org_login_required", "no connected app found in org")
            }
        ).saying { _, said, facts in
            if said.says("not supported on this domain") {
                return Words(
                    "Salesforce gives machines no token at login.salesforce.com.",
                    fix: "Set the variable domain to the My Domain host of the organisation, such as contoso.my.salesforce.com.")
            }
            if said.hasNumber(50194) {
                return Words(
                    "The app is registered for one tenant, and the URLs name common, which stands for any.",
                    fix:
                        "Set the variable tenant to the Directory (tenant) ID of the app's overview page, or register the app for accounts in any "
                        + "directory."
                )
            }
            if said.hasNumber(50020, 90072) {
                return Words(
                    "The account is of another tenant than the one that the URLs name.",
                    fix: "Connect an account of that tenant, have it invited there as a guest, or set the variable tenant to organizations.",
                    state: .warn)
            }
            return Words(
                "The provider does not know the tenant (realm, domain) that the URLs name.",
                fix: "Correct the connection's variables, or the tenant in its URLs: \(facts.oauth.tokenURL ?? "").")
        },
        Cause(
            "interaction", "The person has to sign in again",
            when: { _, said, _ in said.isCode("login_required", "interaction_required", "account_selection_required") }
        ).saying { _, _, facts in
            Words(
                "\(facts.providerName) wants to see the person again, and the request did not let it ask.",
                fix: facts.profile.authorizationParams["prompt"] == "none"
                    ? "Take prompt=none out of the connection's authorization_params. Then connect again." : "Connect again.", state: .warn,
                apply: facts.oauth.profile.authorizationParams?["prompt"] == "none" ? Facts.patch(["authorization_params": ["prompt": .null]]) : nil)
        },
        Cause(
            "access_denied", "The person said no",
            when: { trouble, said, _ in
                trouble.stage == .authorization && (said.isCode("access_denied", "user_denied", "consent_denied") || said.hasNumber(65004))
                    && !said.says("not authorized")
            }
        ).saying { _, _, facts in
            Words(
                "Whoever was asked at \(facts.providerName) did not agree, or may not use this app.",
                fix:
                    "Connect again and agree. If nobody said no, look at who may use the app at the provider: test users, assigned groups, approval "
                    + "by an administrator.",
                state: .warn)
        },
    ]

    /// - Returns: `nil` where the client or the tenant is not one that may stand in a link.
    static func adminConsentLink(_ facts: Facts) -> Check.Link? {
        guard let url = facts.authorizationURL ?? facts.tokenURL,
            KnownProvider.matches(url.host, ["login.microsoftonline.com", "login.microsoftonline.us"]),
            let client = facts.oauth.clientID, let segment = url.path.split(separator: "/").first
        else { return nil }
        let tenant = ["common", "consumers"].contains(segment) ? "organizations" : String(segment)
        return .init(
            title: "Ask an administrator to consent",
            url: "https://\(url.host)/\(Form.percentEncode(tenant))/adminconsent?client_id=\(Form.percentEncode(client))")
    }
}

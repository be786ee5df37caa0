import OAuth
import Vault

/// Who the client is, and how it proves that.
extension Cause {
    static let client: [Cause] = [
        Cause(
            "client_secret_expired", "The client secret has expired",
            when: { trouble, said, facts in
                if said.hasNumber(7_000_222)
                    || said.says("client secret keys for app", "secret has expired", "client_secret is expired", "client secret is expired")
                {
                    return true
                }
                guard let end = facts.oauth.clientSecretExpiresAt, facts.hasSecret else { return false }
                return end <= trouble.at && (said.isCode("invalid_client", "unauthorized_client") || (said.code.isEmpty && said.status == 401))
            }
        ).saying { _, _, facts in
            Words(
                "\(facts.providerName) takes the client secret no more: its time has passed.",
                fix: "Make a new secret" + (facts.provider.map { " (\($0.secret))" } ?? " at the provider")
                    + ", edit the connection and put it in. Note its end in client_secret_expires_at: you are told two weeks ahead.")
        },
        Cause("platform", "The app is registered as a single-page app", when: { _, said, _ in said.hasNumber(9_002_327, 9_002_325, 9_002_326) })
            .saying { _, _, facts in
                Words(
                    "Microsoft gives tokens of a single-page app to browsers alone, and this server is none.",
                    fix:
                        "Entra admin center > App registrations > your app > Authentication: remove the Callback URL from Single-page application, "
                        + "and "
                        + "add it under the platform Web.",
                    values: [.init(label: "Callback URL", text: facts.callbackURL)])
            },
        Cause(
            "client_authentication", "The provider wants the client authenticated otherwise",
            when: { _, said, facts in
                said.hasNumber(700_025, 7_000_218)
                    || said.says(
                        "not registered for client_secret", "not registered for none", "client authentication method is not supported",
                        "unsupported client authentication",
                        "invalid client authentication method", "must not use client authentication", "cannot supply multiple client credentials",
                        "client_secret is missing", "client secret is missing", "client secret not provided", "secret not provided",
                        "must be passed in the request body",
                        "must use basic authentication", "missing basic authorization", "client credentials must be in the body",
                        "public clients should not", "public clients are not allowed to send")
            }
        ).saying { _, said, facts in
            if said.hasNumber(700_025) || said.says("public clients", "must not use client authentication") {
                return Words(
                    "The provider knows this client as a public one, which has no secret to send.",
                    fix: facts.hasSecret
                        ? "Let the connection send the client id alone (client_authentication: none), or make the client a confidential one at the "
                            + "provider."
                        : "Make the client a confidential one at the provider and put its secret in, or register it for public use.",
                    apply: facts.hasSecret ? Facts.patch(["client_authentication": "none"]) : nil)
            }
            if !facts.hasSecret {
                return Words(
                    "The provider wants a client secret, and the connection has none.",
                    fix: "Edit the connection and put the client secret in" + (facts.provider.map { ": \($0.secret)" } ?? "") + ".")
            }
            let other: String
            switch facts.authentication {
            case ClientAuthenticationMethod.clientSecretPost.rawValue: other = "client_secret_basic"
            case ClientAuthenticationMethod.none.rawValue: other = "client_secret_basic"
            default: other = "client_secret_post"
            }
            return Words(
                "The client's id and secret are sent as \(words(facts.authentication)), and the provider wants them otherwise.",
                fix: "Send them as \(words(other)).", apply: Facts.patch(["client_authentication": .string(other)]))
        },
        Cause(
            "client", "The client is not known, or its secret is wrong",
            when: { trouble, said, facts in
                said.isCode(
                    "invalid_client", "incorrect_client_credentials", "invalid_client_id", "bad_client_secret", "invalid_client_secret",
                    "deleted_client",
                    "application_suspended", "oauth_ec_app_not_found", "oauth_app_blocked")
                    || said.hasNumber(700_016, 7_000_215, 70001, 7_000_216)
                    || said.says(
                        "invalid client secret", "invalid client or invalid client", "client credentials are invalid", "client identifier invalid",
                        "oauth client was not found",
                        "error validating client secret", "unknown client", "no client is registered", "client not found", "invalid client_id",
                        "client_id is invalid",
                        "invalid value for 'client_id'", "missing or unknown client", "no such client", "client authentication failed")
                    || (trouble.stage != .authorization && said.isCode("access_denied") && said.says("unauthorized"))
                    // A password that is wrong is answered so, too.
                    || (facts.oauth.grantType != .password && trouble.stage != .authorization && trouble.failure == .refused && said.code.isEmpty
                        && [401, 403].contains(said.status)
                        && !isPage(trouble))
            }
        ).saying { _, said, facts in
            var detail =
                "\(facts.providerName) does not accept the client: the Client ID is not known there, the secret is not its own, or both are sent in "
                + "a way that it does not read."
            var fix =
                "Copy Client ID and secret anew" + (facts.provider.map { " (\($0.secret))" } ?? " from the provider's page")
                + ", without spaces around them. Then let the doctor ask how the client is to be authenticated."
            if said.hasNumber(7_000_215) {
                detail = "Microsoft says that the client secret is not right."
                fix =
                    "Put in the secret's Value: Entra admin center > App registrations > your app > Certificates & secrets shows it once, beside "
                    + "the Secret ID, which does not serve."
            } else if said.hasNumber(700_016, 70001) {
                detail = "Microsoft does not know this Client ID in the tenant that the URLs name."
                fix =
                    "Compare the Client ID with Application (client) ID of the app's overview page, and the variable tenant with Directory (tenant) "
                    + "ID."
            } else if said.says(
                "no client is registered", "unknown client", "client not found", "client identifier invalid", "oauth client was not found",
                "invalid client_id")
                || said.isCode("invalid_client_id", "deleted_client")
            {
                detail = "\(facts.providerName) does not know the Client ID \(facts.oauth.clientID ?? "")."
                fix = "Copy the Client ID anew, without spaces around it. Clients of a test and a live environment are not the same."
            }
            return Words(detail, fix: fix)
        },
    ]

    /// As the setup form says it.
    static func words(_ method: String) -> String {
        switch method {
        case "client_secret_post": "client credentials in the body (client_secret_post)"
        case "client_secret_basic": "a Basic Auth header (client_secret_basic)"
        case "client_secret_basic_raw": "a Basic Auth header without encoding (client_secret_basic_raw)"
        case "none": "the Client ID alone (none)"
        default: method
        }
    }

    /// Whether a page for people came in the place of an answer.
    static func isPage(_ trouble: Trouble) -> Bool {
        trouble.response?.pageTitle != nil || trouble.response?.contentType?.lowercased().contains("html") == true
    }
}

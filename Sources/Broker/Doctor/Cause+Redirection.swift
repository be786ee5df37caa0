import OAuth
import Vault

/// The Callback URL, and browsers that do not come back as they left.
extension Cause {
    static let redirection: [Cause] = [
        Cause(
            "redirect_uri", "The Callback URL is not registered",
            when: { _, said, _ in
                said.isCode("redirect_uri_mismatch", "bad_redirect_uri", "invalid_redirect_uri", "redirect_mismatch", "redirect_uri_not_registered")
                    || said.hasNumber(50011, 500_112, 500_113, 900_971)
                    || said.says(
                        "redirect_uri_mismatch", "callback url mismatch", "redirect_uri must match", "invalid redirect_uri", "invalid redirect uri",
                        "incorrect redirect_uri", "redirect uri included is not valid", "redirect_uri is another", "must be a login redirect uri",
                        "redirect uri did not match", "redirect_uri did not match", "redirect_uri does not match", "redirect uri does not match",
                        "redirect_uri is not registered", "redirect_uri is not associated", "invalid \"redirect_uri\"", "unregistered redirect_uri",
                        "not match the registered callback", "missing or invalid redirect", "url blocked", "invalid parameter: redirect_uri",
                        "redirect uri is not whitelisted")
            }
        ).saying { _, said, facts in
            let ours = facts.callbackURL
            var detail =
                "\(facts.providerName) sends people back to URLs only that are registered for the client, and it does not know this connection's "
                + "Callback URL."
            if let theirs = said.urls.first(where: {
                !sameBytes($0, ours) && URLDifference.words(ours: ours, theirs: $0) != nil && looksLikeCallback($0, ours)
            }),
                let difference = URLDifference.words(ours: ours, theirs: theirs)
            {
                detail += " It speaks of \(theirs.prefix(300)): \(difference)."
            }
            let place =
                facts.provider.map { " At \($0.name): \($0.callback)." }
                ?? " It is on the provider's page for the client, as Redirect URI or Callback URL."
            return Words(
                detail, fix: "Register this Callback URL byte for byte: scheme, host, port, path, and no slash at the end." + place,
                values: [.init(label: "Callback URL", text: ours)])
        },
        Cause(
            "issuer", "The answer came from another issuer",
            when: { trouble, _, _ in trouble.failure == .callback && trouble.reason == "issuer_mismatch" }
        ).saying { _, _, facts in
            Words(
                "The browser came back with the answer of another issuer than \(facts.oauth.issuer ?? "the connection's"), or without one though "
                    + "its metadata promises it. Such an answer may be an attack, so nothing of it was used.",
                fix:
                    "Check the connection's issuer: it must be exactly what the provider's metadata calls itself, slash included. Servers with many "
                    + "tenants name one issuer for each."
            )
        },
        Cause("browser", "Another browser came back", when: { trouble, _, _ in trouble.failure == .callback && trouble.reason == "browser_mismatch" })
            .saying { _, _, facts in
                let isElsewhere =
                    facts.oauth.redirectURI.flatMap { try? EndpointURL($0) }?.origin != (try? EndpointURL(facts.publicURL))?.origin
                    && facts.oauth.redirectURI != nil
                return Words(
                    "The answer came from a browser that did not start the trip: the link was opened in one browser and finished in another, or the "
                        + "cookie was lost on the way.",
                    fix: isElsewhere
                        ? "The Callback URL is on another host than this server. Where an application forwards the callback, connect with "
                            + "\"completion\": \"application\"."
                        : "Open the link again and finish in the same browser window. Opening this server under its public URL matters: a cookie "
                            + "belongs to one host.",
                    state: .warn)
            },
        Cause("callback", "The browser came back without a code", when: { trouble, _, _ in trouble.failure == .callback }).saying {
            trouble, _, facts in
            Words(
                trouble.reason == "missing_code"
                    ? "The provider sent the browser back with neither a code nor an error."
                    : "What the browser brought back cannot be read: \((trouble.reason ?? "").replacing("malformed: ", with: "")).",
                fix:
                    "Check that the Authorization URL is the one for the authorization code flow, and that no parameter of the connection changes "
                    + "response_type or response_mode. If the provider calls the code otherwise, set code_parameter."
            )
        },
    ]

    /// A URL that stands for a redirect URI in what a provider says, not a page of its documentation.
    private static func looksLikeCallback(_ text: String, _ ours: String) -> Bool {
        guard let theirs = try? EndpointURL(text), let ours = try? EndpointURL(ours) else { return false }
        return theirs.host == ours.host || theirs.path == ours.path || theirs.path.contains("callback")
    }
}

import OAuth
import Vault

/// Scopes, audiences and resources.
extension Cause {
    static let scope: [Cause] = [
        Cause(
            "scope_separator", "The scopes are separated in another way",
            when: { _, said, facts in facts.oauth.scopes.count > 1 && isScopeError(said) && separator(said, facts) != nil }
        ).saying { _, said, facts in
            let wanted = separator(said, facts) ?? ","
            let name = ScopeSeparators.names[wanted] ?? wanted
            return Words(
                "The connection sends its scopes with \(ScopeSeparators.names[facts.profile.scopeSeparator] ?? facts.profile.scopeSeparator) "
                    + "between them, and the provider takes that for one scope. It wants \(name).",
                fix: "Set the scope separator to \(name).", apply: Facts.patch(["scope_separator": .string(wanted)])
            )
        },
        Cause("scope", "A scope is not known or not allowed", when: { _, said, _ in isScopeError(said) }).saying { _, said, facts in
            let wrong = unknownScopes(said, facts)
            let left = facts.oauth.scopes.filter { !wrong.contains($0) }
            let place = facts.provider.map { " At \($0.name): \($0.scopes)." } ?? ""
            if said.hasNumber(1_002_012)
                || (facts.oauth.grantType == .clientCredentials && facts.provider?.name == "Microsoft Entra ID"
                    && !facts.scopes.contains("/.default"))
            {
                return Words(
                    "With client credentials Microsoft takes one scope only: the API with /.default behind it. What the app may do is set in its "
                        + "API permissions.",
                    fix: "Ask for https://graph.microsoft.com/.default, or the same of another API.",
                    apply: Facts.patch(["scopes": ["https://graph.microsoft.com/.default"]]))
            }
            if wrong.isEmpty || left.isEmpty {
                return Words(
                    "The provider refuses the scopes that the connection asks for: \(facts.scopes.isEmpty ? "none" : facts.scopes).",
                    fix: "Take out the scope that the provider does not know, or enable it for the client there." + place)
            }
            return Words(
                "The provider does not know \(wrong.joined(separator: ", ")), or does not allow it to this client.",
                fix: "Enable it for the client at the provider, or ask for the others alone." + place,
                apply: Facts.patch(["scopes": .array(left.map(JSONValue.string))]))
        },
        Cause(
            "resource", "The API that the token is for is not known",
            when: { _, said, _ in
                said.isCode("invalid_target", "invalid_resource") || said.hasNumber(500_011, 28000, 28003, 650_056)
                    || said.says(
                        "service not found", "is not authorized to access resource server", "audience is required", "invalid audience",
                        "missing audience")
            }
        ).saying { _, said, facts in
            if said.says("is not authorized to access resource server") {
                return Words(
                    "The client may not ask for tokens of this API.",
                    fix: "Auth0 dashboard > Applications > APIs > your API > Machine To Machine Applications: authorize the client there.")
            }
            let given = (facts.profile.authorizationParams.merging(facts.profile.tokenParams) { $1 }).filter {
                ["audience", "resource"].contains($0.key)
            }
            return Words(
                given.isEmpty
                    ? "The provider wants to be told which API the token is for."
                    : "The provider does not know the API \(given.values.sorted().joined(separator: ", ")) as what a token can be for.",
                fix: "Put the API's identifier, as the provider shows it, into "
                    + (facts.isCode ? "authorization_params" : "token_params")
                    + " under the name audience or resource, whichever its documentation says.")
        },
    ]

    private static func isScopeError(_ said: Said) -> Bool {
        said.isCode("invalid_scope", "scope_invalid", "unauthorized_scope_error", "invalid_scopes", "no_scopes", "insufficient_scope")
            || said.hasNumber(70011, 650_053, 65002, 1_002_012)
            || said.says(
                "invalid scope", "scope is invalid", "scopes are not configured", "unknown scope", "requested scopes were invalid",
                "scope is not valid", "unrecognized scope")
    }

    /// The separator that the provider wants, where what it says or who it is tells.
    private static func separator(_ said: Said, _ facts: Facts) -> String? {
        let ours = facts.profile.scopeSeparator
        if let known = ScopeSeparators.of(facts), known != ours { return known }
        guard ours == "," || ours == " " else { return nil }
        let other = ours == "," ? " " : ","
        // It names all of them as one scope, in quotes.
        let quotes = ["'", "\"", "`"]
        let isQuotedWhole = quotes.contains { said.original.contains($0 + facts.scopes + $0) }
        return isQuotedWhole && said.says("scope '", "scope \"", "scope `", "scope: '", "scope: \"") ? other : nil
    }

    /// Those of the connection's scopes that the provider names as wrong; none when it names all or none.
    private static func unknownScopes(_ said: Said, _ facts: Facts) -> [String] {
        // What it lists there is what it takes.
        let listsKnown = said.says("supported scope", "scopes supported", "allowed scope", "available scope", "must be one of", "valid scopes are")
        if listsKnown, !said.says("invalid=[") { return [] }
        var text = said.original
        // Google names the valid ones beside the others.
        if let invalid = text.firstMatch(of: /invalid=\[([^\]]*)\]/) { text = String(invalid.output.1) }
        let words = Set(text.split { " ,;:'\"`[](){}".contains($0) }.map { $0.hasSuffix(".") ? String($0.dropLast()) : String($0) })
        let named = facts.oauth.scopes.filter(words.contains)
        return named.count == facts.oauth.scopes.count ? [] : named
    }
}

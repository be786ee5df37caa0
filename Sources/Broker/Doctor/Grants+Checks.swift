import OAuth
import Vault

/// What the grants tell about the connection.
extension Doctor {
    static func offlineAccess(_ facts: Facts, grants: [GrantView]) -> Check? {
        guard facts.isCode else { return nil }
        let live = grants.filter { $0.grant.state == .active }
        let short =
            live.filter { $0.grant.refreshToken == nil && $0.grant.expiresAt != nil }
            + grants.filter { $0.grant.state == .reauthorizationRequired && $0.grant.stateReason == "no_refresh_token" }
        let offline = OfflineAccess.of(facts)
        let isAsked = offline?.isAsked(facts) ?? true
        if short.isEmpty {
            // That a scope is listed somewhere does not say that it is needed.
            guard let offline, !offline.hosts.isEmpty, !isAsked, live.isEmpty else { return nil }
            return Check(
                "offline_access", .warn, "No refresh token will be given",
                "\(facts.providerName) gives a refresh token only when it is asked for \(offline.wish). Without one, people connect again whenever "
                    + "a token ends.",
                fix: "Ask for \(offline.wish), before people connect.", apply: offline.patch(facts))
        }
        let count = short.count == 1 ? "One grant has" : "\(short.count) grants have"
        return Check(
            "offline_access", .warn, "No refresh token was given",
            "\(count) no refresh token, so the person connects again whenever the access token ends.",
            fix: offline.map { offline in
                isAsked
                    ? "\(offline.wish.prefix(1).uppercased() + offline.wish.dropFirst()) is asked for already: people who connected before connect "
                        + "once more."
                    : "Ask for \(offline.wish). Then have people connect once more."
            } ?? facts.settings.presetEntry?.document["refresh"]?["needs"]?.string.map {
                "The provider wants: \($0). Then have people connect once more."
            }
                ?? "Find out at the provider how a refresh token is asked for: often the scope offline_access. Then have people connect once more.",
            apply: isAsked ? nil : offline?.patch(facts))
    }

    static func scopes(_ facts: Facts, grants: [GrantView]) -> Check? {
        let short = grants.filter { $0.grant.state == .active && !$0.missingScope.isEmpty && !isOneScope($0, facts) }
        guard !short.isEmpty else {
            return grants.contains { $0.grant.scope != nil } ? Check("missing_scope", .ok, "Scopes", "What was asked for was granted.") : nil
        }
        let missing = Set(short.flatMap(\.missingScope)).sorted()
        return Check(
            "missing_scope", .warn, "Fewer scopes were granted than asked for",
            "\(short.count == 1 ? "One grant lacks" : "\(short.count) grants lack") \(missing.prefix(8).joined(separator: ", ")). Calls that need "
                + "them are refused by the API.",
            fix: "The person may have unticked a permission, or the app may not ask for it at the provider"
                + (facts.provider.map { " (\($0.scopes))" } ?? "") + ". Enable it there, and have them connect again; or take it out of the scopes.")
    }

    /// The provider answers all scopes in one text that this connection does not take apart.
    private static func isOneScope(_ view: GrantView, _ facts: Facts) -> Bool { otherSeparator(view, facts) != nil }

    private static func otherSeparator(_ view: GrantView, _ facts: Facts) -> String? {
        guard view.grant.requestedScope.count > 1, let granted = view.grant.scope else { return nil }
        let wanted = Set(view.grant.requestedScope)
        return [",", ";", "|", "+"].first { separator in
            separator != facts.profile.scopeSeparator
                && granted.contains { Set($0.split(separator: separator).map(String.init)).isSuperset(of: wanted) }
        }
    }

    static func scopeSeparator(_ facts: Facts, grants: [GrantView]) -> Check? {
        guard facts.oauth.scopes.count > 1 else { return nil }
        let seen = grants.lazy.compactMap { otherSeparator($0, facts) }.first
        guard let wanted = seen ?? ScopeSeparators.of(facts), wanted != facts.profile.scopeSeparator else { return nil }
        let name = ScopeSeparators.names[wanted] ?? wanted
        return Check(
            "scope_separator", .warn, "The scopes are separated in another way",
            seen != nil ? "The provider answers the scopes with \(name) between them." : "\(facts.providerName) wants \(name) between scopes.",
            fix: "Set the scope separator to \(name).", apply: Facts.patch(["scope_separator": .string(wanted)]))
    }

    static func grants(_ facts: Facts, _ grants: [GrantView]) -> Check {
        let broken = grants.filter { $0.state == "reauthorization_required" }
        guard broken.isEmpty else {
            let reasons = Dictionary(grouping: broken) { $0.grant.stateReason ?? "unknown" }.map { "\($0.key): \($0.value.count)" }.sorted().joined(
                separator: ", ")
            return Check(
                "grants", .warn, "Grants wait for a person",
                "\(broken.count == 1 ? "One grant does" : "\(broken.count) grants do") not work any more (\(reasons)).",
                fix: "The people whose they are connect again; on each grant's page is a link for them.")
        }
        let works = grants.filter { $0.grant.state == .active }.count
        if works > 0 { return Check("grants", .ok, "Grants", works == 1 ? "One grant is in order." : "\(works) grants are in order.") }
        return Check(
            "grants", .unknown, "Grants", facts.connection.fetchesAlone ? "No token was fetched yet." : "Nobody has connected yet.",
            fix: facts.connection.fetchesAlone ? "Fetch a token to see whether it works." : "Connect an account to see whether it works.")
    }
}

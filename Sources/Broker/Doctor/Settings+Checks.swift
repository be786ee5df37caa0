import OAuth
import Vault

/// What can be told without asking anybody: settings, secrets, grants.
extension Doctor {
    /// - Parameters:
    ///   - problem: what saving the settings as they are would be refused with.
    ///   - grants: the first of them, those that do not work before the others.
    static func settingsChecks(
        _ facts: Facts, problem: Problem?, grants: [GrantView], trip: (trip: LastTrip, session: ConnectSession.State)?
    ) -> [Check] {
        [
            health(facts), settings(facts, problem: problem), clientSecret(facts), callbackURL(facts),
            trip.flatMap { self.trip($0.trip, $0.session, facts) },
            passwordGrant(facts), offlineAccess(facts, grants: grants), scopes(facts, grants: grants), scopeSeparator(facts, grants: grants),
            self.grants(facts, grants), instructions(facts), agentAccess(facts),
        ].compactMap(\.self)
    }

    // MARK: The connection

    static func health(_ facts: Facts) -> Check {
        let health = facts.connection.health
        switch health.state {
        case .ok:
            return Check(
                "health", .ok, "Health", "\(facts.providerName) has refused nothing since the connection was last changed, or has worked since.")
        case .misconfigured:
            return Check(
                "health", .bad, "The connection is stopped",
                "\(facts.providerName) refused it (\(health.reason ?? "no reason")), so it is not asked again: many requests that are wrong lock a "
                    + "client out.",
                fix:
                    "Mend what the other checks name. A change of the connection lets it be asked again; so does the doctor when it finds that it "
                    + "works, and a connect that succeeds."
            )
        case .providerDown:
            let isRate = health.reason == Broker.rateLimited
            return Check(
                "health", .warn, isRate ? "The provider wants to be asked more slowly" : "The provider does not answer",
                "\(facts.providerName) could not serve the last request\(isRate ? ", as there were too many" : ""). Tokens that live are given out "
                    + "meanwhile.",
                fix: "Nothing to do: it is asked again by itself.")
        }
    }

    static func settings(_ facts: Facts, problem: Problem?) -> Check {
        guard let problem else { return Check("settings", .ok, "Settings", "What the grant type needs is there.") }
        if problem.code == .egressBlocked {
            return Check(
                "egress_policy", .bad, "Outbound requests may not go there", problem.detail + ".",
                fix: (problem.fix ?? "use a public https URL") + ".")
        }
        let wrong = problem.errors.map { "\($0.pointer.dropFirst().replacing("/", with: ".")): \($0.detail)" }
        return Check(
            "settings", .bad, "Settings are missing or wrong", (wrong.isEmpty ? [problem.detail] : wrong).joined(separator: "; ") + ".",
            fix: "Edit the connection and put these right.")
    }

    static func clientSecret(_ facts: Facts) -> Check? {
        guard facts.hasSecret, let end = facts.oauth.clientSecretExpiresAt else { return nil }
        let fix =
            "Make a new secret" + (facts.provider.map { " (\($0.secret))" } ?? " at the provider")
            + ", edit the connection and put it in with its end."
        if end <= facts.now {
            return Check(
                "client_secret_expired", .bad, "The client secret has expired", "By what is noted here it ended at \(end.rfc3339).", fix: fix)
        }
        let days = (end.seconds - facts.now.seconds) / 86_400
        if days < 14 {
            return Check(
                "client_secret_expiry", .warn, "The client secret ends soon",
                "It ends at \(end.rfc3339), in \(days == 0 ? "less than a day" : "\(days) days").", fix: fix)
        }
        return Check("client_secret_expiry", .ok, "Client secret", "It is good until \(end.rfc3339), \(days) days from now.")
    }

    static func passwordGrant(_ facts: Facts) -> Check? {
        guard facts.oauth.grantType == .password, facts.forbidsPasswordGrant else { return nil }
        return Check(
            "password_grant", .bad, "This server forbids the password grant", "It was started with --forbid-password-grant.",
            fix: "Change the grant type to authorization_code, where the person signs in at the provider.")
    }

    static func instructions(_ facts: Facts) -> Check? {
        do throws(InstructionsError) {
            let instructions = try Instructions(facts.settings.authenticationInstructions)
            guard instructions.rules.isEmpty else {
                let places = instructions.rules.map { "\($0.place.rawValue) \($0.name)" }.joined(separator: ", ")
                return Check("instructions", .ok, "Authentication Instructions", "They put the token into: \(places).")
            }
            return Check(
                "instructions", .warn, "No line of the instructions is a rule",
                "The Authentication Instructions are guidance alone, so no request through the gateway carries the token.",
                fix: "Add a line such as \(Instructions.standard).",
                apply: ["authentication_instructions": .string(Instructions.standard + "\n" + facts.settings.authenticationInstructions)])
        } catch {
            let lines = error.lines.map(\.text).joined(separator: "; ")
            return Check("instructions", .bad, "The instructions cannot be applied", lines + ".", fix: "Edit the Authentication Instructions.")
        }
    }

    static func agentAccess(_ facts: Facts) -> Check? {
        let access = facts.settings.agentAccess
        guard access.enabled else { return nil }
        guard access.paths.isEmpty || access.methods.isEmpty else {
            return Check(
                "agent_access", .ok, "Agents", "Agents may call \(access.methods.joined(separator: ", ")) at \(access.paths.joined(separator: ", "))."
            )
        }
        return Check(
            "agent_access", .warn, "Agents are let in, but nowhere",
            "Agent access is on, and no \(access.paths.isEmpty ? "path" : "method") is allowed: every call of an agent is refused.",
            fix: "Name the paths and methods that agents may use, such as /v1/items/**; or turn agent access off.")
    }
}

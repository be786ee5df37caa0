import Broker
import Vault

/// How a grant or a connection is, in words: a badge, a sentence, and what to do.
struct StateWords: Sendable {
    let kind: ActivityWords.Mark
    /// In the badge.
    let label: String
    /// A whole one.
    let sentence: String
    /// The one thing to do, as a whole sentence; `nil` = nothing.
    let fix: String?

    /// For a template: `kind`, `label`, `sentence`, `fix`.
    var values: [String: Any] {
        var values: [String: Any] = ["kind": kind.rawValue, "label": label, "sentence": sentence]
        if let fix { values["fix"] = fix }
        return values
    }

    // MARK: Grants

    /// - Parameters:
    ///   - state: one of the four that a grant is shown with.
    ///   - canRefresh: whether an expired access token is renewed without a person.
    static func grant(_ state: String, _ reason: String?, canRefresh: Bool = true) -> StateWords {
        switch state {
        case "active": StateWords(kind: .good, label: "Active", sentence: "The access token is valid.", fix: nil)
        case "expired" where canRefresh:
            StateWords(kind: .info, label: "Expired", sentence: "The access token has expired. It is renewed with the next use.", fix: nil)
        case "expired":
            StateWords(
                kind: .bad, label: "Expired", sentence: "The access token has expired, and the provider gave no refresh token to renew it with.",
                fix: "Connect again. The doctor tells how to be given a refresh token.")
        case "reauthorization_required": reauthorization(reason)
        case "revoked":
            StateWords(kind: .quiet, label: "Disconnected", sentence: "It was revoked, and its tokens are gone.", fix: "Connect again to use it.")
        default: StateWords(kind: .quiet, label: state, sentence: "Its state is \(state).", fix: nil)
        }
    }

    static func grant(_ view: GrantView) -> StateWords {
        grant(view.state, view.grant.stateReason, canRefresh: view.grant.refreshToken != nil || view.grant.nextRefreshAt != nil)
    }

    private static func reauthorization(_ reason: String?) -> StateWords {
        let (sentence, fix): (String, String)
        switch reason {
        case "invalid_grant":
            (sentence, fix) = (
                "The provider refused the refresh token: access was taken away there, or the token was too old.", "Connect again with the same account."
            )
        case "no_refresh_token":
            (sentence, fix) = (
                "The access token has expired, and the provider gave no refresh token to renew it with.",
                "Connect again. The doctor tells how to be given a refresh token."
            )
        case "outcome_unknown":
            (sentence, fix) = (
                "The provider's answer to a refresh was lost on the way, and it does not take the old refresh token any more.",
                "Connect again with the same account."
            )
        case "host_changed":
            (sentence, fix) = (
                "A URL of the connection was moved to another host, so what was given for the old one is not sent to the new one.", "Connect again."
            )
        case "account_mismatch":
            (sentence, fix) = ("A refresh was answered for another account than before.", "Connect again with the account that is meant.")
        case let other?: (sentence, fix) = ("It does not work any more (\(other)).", "Connect again.")
        case nil: (sentence, fix) = ("It does not work any more.", "Connect again.")
        }
        return StateWords(kind: .bad, label: "Connect again", sentence: sentence, fix: fix)
    }

    // MARK: Connections

    static func health(_ health: Connection.Health) -> StateWords { self.health(health.state.rawValue, health.reason) }

    /// - Parameter state: `ok`, `misconfigured` or `provider_down`.
    static func health(_ state: String, _ reason: String?) -> StateWords {
        switch state {
        case "ok": StateWords(kind: .good, label: "Works", sentence: "The provider gave what was last asked of it.", fix: nil)
        case "misconfigured": misconfigured(reason)
        case "provider_down": providerDown(reason)
        default: StateWords(kind: .quiet, label: state, sentence: "Its state is \(state).", fix: nil)
        }
    }

    private static func misconfigured(_ reason: String?) -> StateWords {
        let (sentence, fix): (String, String)
        switch reason {
        case "invalid_client":
            (sentence, fix) = (
                "The provider refuses the client ID or the client secret, or the way they are sent.",
                "Copy both from the provider's page again, and check Client Authentication."
            )
        case "unauthorized_client":
            (sentence, fix) = (
                "The provider does not allow this client the grant type.", "Enable the grant type for the client at the provider, or choose another one here."
            )
        case "unsupported_grant_type":
            (sentence, fix) = (
                "The provider does not offer this grant type at the Access Token URL.", "Choose another grant type, or correct the Access Token URL."
            )
        case "invalid_scope":
            (sentence, fix) = (
                "The provider does not know one of the scopes, or does not allow it to this client.", "Drop that scope, or enable it at the provider."
            )
        case "invalid_target":
            (sentence, fix) = ("The provider does not know the API that tokens are asked for.", "Correct resource or audience in the token parameters.")
        case "invalid_grant":
            (sentence, fix) = ("The provider refuses the stored username and password.", "Type them again, and check that the account is not locked.")
        case "status_401", "status_403":
            (sentence, fix) = (
                "The provider does not let this client in.", "Check the client ID, the client secret, and Client Authentication."
            )
        case "status_404", "status_405":
            (sentence, fix) = ("There is no token endpoint at the Access Token URL.", "Correct the Access Token URL.")
        case let status? where status.hasPrefix("status_3"):
            (sentence, fix) = ("The Access Token URL leads elsewhere, and secrets follow no redirect.", "Use the URL that it leads to.")
        case let other?: (sentence, fix) = ("The provider refuses the connection as it is set up (\(other)).", "Ask the doctor what to change.")
        case nil: (sentence, fix) = ("The provider refuses the connection as it is set up.", "Ask the doctor what to change.")
        }
        return StateWords(
            kind: .bad, label: "Needs a fix", sentence: sentence + " It is not asked again until the connection is changed.", fix: fix)
    }

    private static func providerDown(_ reason: String?) -> StateWords {
        let (sentence, fix): (String, String?)
        switch reason {
        case "rate_limited":
            return StateWords(
                kind: .warn, label: "Slowed down", sentence: "The provider asks for fewer requests. Grantee waits as long as it says.", fix: nil)
        case "provider_unreachable":
            (sentence, fix) = ("The provider's token endpoint does not answer.", "Wait if the provider is known to be down; else check the Access Token URL.")
        case "egress_blocked":
            (sentence, fix) = (
                "The Access Token URL lies where outbound requests may not go.",
                "Use a public https URL, or have the operator allow that network with --egress-allow."
            )
        case "provider_error": (sentence, fix) = ("The provider answers with errors of its own.", nil)
        case let other?: (sentence, fix) = ("The provider does not serve at present (\(other)).", nil)
        case nil: (sentence, fix) = ("The provider does not serve at present.", nil)
        }
        return StateWords(
            kind: .warn, label: "Provider down", sentence: sentence + " It is tried again by itself; tokens that are still valid are handed out.", fix: fix)
    }
}

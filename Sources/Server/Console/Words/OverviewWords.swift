import Broker
import OAuth
import Vault

/// A connection as the overview shows it: whether it works, in a badge and a sentence, and how its grants are.
enum OverviewWords {
    static func value(_ overview: ConnectionOverview, now: Timestamp) -> [String: Any] {
        let connection = overview.connection
        let state = state(overview)
        var value: [String: Any] = [
            "path": "/console/connections/" + connection.id, "name": connection.settings.name, "provider": provider(connection.settings),
            "grant_type": GrantChoice(connection.settings.oauth).label, "badge": ["kind": state.kind.rawValue, "label": state.label],
            "counts": counts(overview.summary.grants),
        ]
        if overview.isInTrouble || state.kind == .quiet { value["sentence"] = state.sentence }
        if let fix = state.fix { value["fix"] = fix }
        if connection.health.state != .ok { value["since"] = TimeText.value(connection.health.since, from: now) }
        if let trouble = overview.summary.trouble {
            value["trouble"] = ["words": words(trouble), "time": TimeText.value(trouble.at, from: now)] as [String: Any]
        }
        return value
    }

    /// Worse ones first; those alike stay in their order.
    static func byTrouble(_ overviews: [ConnectionOverview]) -> [ConnectionOverview] {
        func rank(_ overview: ConnectionOverview) -> Int {
            switch overview.connection.health.state {
            case .misconfigured: 0
            case .ok where overview.summary.grants.waiting > 0: 1
            case .providerDown: 2
            case .ok: 3
            }
        }
        return overviews.enumerated().sorted { (rank($0.element), $0.offset) < (rank($1.element), $1.offset) }.map(\.element)
    }

    static func state(_ overview: ConnectionOverview) -> StateWords {
        let grants = overview.summary.grants
        guard overview.connection.health.state == .ok else { return .health(overview.connection.health) }
        if grants.waiting > 0 {
            let whose = grants.waiting == 1 ? "One grant does" : "\(grants.waiting) grants do"
            let fix = "Connect \(grants.waiting == 1 ? "it" : "them") again."
            return grants.usable == 0
                ? StateWords(kind: .bad, label: "Connect again", sentence: "\(whose) not work any more, and there is no other.", fix: fix)
                : StateWords(kind: .warn, label: "Partly works", sentence: "\(whose) not work any more.", fix: fix)
        }
        if grants.usable > 0 { return .health(overview.connection.health) }
        return fetchesByItself(overview.connection)
            ? StateWords(kind: .quiet, label: "Not used yet", sentence: "The first use fetches a token.", fix: nil)
            : StateWords(kind: .quiet, label: "Not connected", sentence: "It is set up; nobody has connected an account yet.", fix: nil)
    }

    /// Whether it needs nobody to connect an account.
    private static func fetchesByItself(_ connection: Connection) -> Bool {
        switch connection.settings.oauth.grantType {
        case .clientCredentials: true
        case .password: connection.password != nil
        case .authorizationCode: false
        }
    }

    /// Bad news first. What is zero is left out.
    private static func counts(_ grants: GrantCounts) -> [[String: Any]] {
        let all = [
            (grants.waiting, "to connect again", "bad"), (grants.active, "active", "good"), (grants.expired, "renewed at next use", "info"),
            (grants.revoked, "disconnected", "quiet"),
        ]
        return all.filter { $0.0 > 0 }.map { ["text": "\($0.0) \($0.1)", "kind": $0.2] }
    }

    /// The preset's name, else the host that gives the tokens.
    static func provider(_ settings: ConnectionSettings) -> String {
        if let preset = settings.preset.flatMap(Preset.find) { return preset.name }
        guard let url = settings.oauth.tokenURL ?? settings.oauth.issuer else { return "No Access Token URL yet" }
        // One with a variable in its place is told as it was typed.
        return (try? EndpointURL(url))?.host ?? String(url.prefix(80))
    }

    private static func words(_ trouble: Trouble) -> String {
        let step =
            switch trouble.stage {
            case .authorization: "Signing in at the provider"
            case .token: "Getting a token"
            case .refresh: "Refreshing"
            }
        let cause =
            switch trouble.failure {
            case .refused: "the provider refused"
            case .malformed: "the provider's answer is no token response"
            case .idToken: "the ID token is not right"
            case .callback: "the answer does not count here"
            case .blocked: "the URL lies where requests may not go"
            case .unreachable: "the provider cannot be reached"
            case .timedOut: "the provider did not answer in time"
            case .broken: "the answer broke off"
            }
        let code = trouble.error.map { " (\(ProviderText.clean($0).prefix(60)))" } ?? ""
        return "\(step) failed: \(cause)\(code)."
    }
}

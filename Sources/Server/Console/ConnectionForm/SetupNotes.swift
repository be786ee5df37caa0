import Broker
import OAuth
import Vault

/// What is to be done at the provider, beside the form.
enum SetupNotes {
    static func values(_ form: ConnectionForm) -> [String: Any] {
        guard let preset = form.preset else {
            return ["provider": false, "notes": [String](), "site": false, "adds": [String](), "any_adds": false, "refresh": false]
        }
        return [
            "provider": preset.name, "notes": preset.setupNotes, "site": site(preset) ?? false, "adds": additions(preset),
            "any_adds": !additions(preset).isEmpty,
            "refresh": preset.document["refresh"]?["needs"]?.string ?? false,
        ]
    }

    /// SEC-104
    private static func site(_ preset: Preset) -> Any? {
        guard let website = preset.website, let url = try? EndpointURL(website), url.scheme == .https else { return nil }
        return ["url": website, "host": url.host]
    }

    /// What requests carry because of the preset: it stands in no field, and explains what the provider is sent.
    private static func additions(_ preset: Preset) -> [[String: Any]] {
        let names = [
            ("authorization_params", "Authorization request"), ("token_params", "Token requests"), ("token_headers", "Token request headers"),
            ("parameter_names", "Parameters by other names"), ("token_response_members", "Token answer"),
        ]
        var additions: [[String: Any]] = names.compactMap { name, label in
            guard let members = preset.document[name]?.object?.members, !members.isEmpty else { return nil }
            return ["label": label, "detail": members.map { "\($0.name)=\($0.value.string ?? "…")" }.joined(separator: "  ")]
        }
        if let separator = preset.document["scope_separator"]?.string, separator != " " {
            additions.append(["label": "Scope separator", "detail": separator])
        }
        if let format = preset.document["token_request_format"]?.string { additions.append(["label": "Token request format", "detail": format]) }
        if let method = preset.document["token_request_method"]?.string { additions.append(["label": "Token request method", "detail": method]) }
        return additions
    }

    /// What to know before anything is typed.
    static func warnings(_ preset: Preset?) -> [String] {
        guard let preset else { return [] }
        var warnings: [String] = []
        if let reason = preset.unsupported {
            warnings.append("\(preset.name) needs more than settings can say, so this connection may not work: \(reason)")
        }
        if let reason = preset.deprecation { warnings.append("\(preset.name) is withdrawing these endpoints: \(reason)") }
        if let caution = preset.caution { warnings.append(caution) }
        if !preset.isVerified { warnings.append("The settings of \(preset.name) come from a single source. Compare them with its documentation.") }
        return warnings
    }
}

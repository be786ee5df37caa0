import Broker
import OAuth
import Vault

/// The form on its page: what `connection-form` is rendered with.
struct ConnectionFormView {
    var form: ConnectionForm
    var errors = FormErrors()
    /// Of what is edited; `nil` = a new one.
    var connection: Connection?
    /// For the id that stands in the form.
    var callbackURL: String
    var filled: FormDiscovery?
    /// Set when the form was made from an older state than ``connection``: what differs, and since when.
    var conflict: (difference: FormDifference, at: [String: Any])?
    /// Set when saving would stop grants from being used: how many.
    var endangered: String?

    func values(action: String, cancel: String) -> [String: Any] {
        [
            "action": action, "cancel": cancel, "fields": fields, "variables": form.variables.map { fieldView.values($0) },
            "callback_url": callbackURL,
            "custom_callback": form["redirect_uri"].isEmpty ? false : form["redirect_uri"] as Any, "is_new": connection == nil,
            "etag": connection.map { String($0.revision) as Any } ?? false, "setup": SetupNotes.values(form),
            "warnings": connection == nil ? SetupNotes.warnings(form.preset) : [], "preview": FormPreview.values(form),
            "filled": filled.map { $0.values as Any } ?? false, "summary": summary ?? false, "conflict": conflictValues ?? false,
            "endangered": endangered.map { $0 as Any } ?? false, "keeps": form["keep_grants"] == "true", "ends": form["keep_grants"] == "false",
            "rare_open": errors.fields.contains { FormField.find($0.name)?.isRare ?? false },
            "rare_count": rareCount == 0 ? false : String(rareCount) as Any, "button": button,
        ]
    }

    private var button: String {
        if conflict != nil { return "Save over it" }
        return connection == nil ? "Save and connect" : "Save changes"
    }

    private var fieldView: FieldView { FieldView(form, errors) }

    private var fields: [String: Any] {
        var fields: [String: Any] = [:]
        for field in FormField.all where connection == nil || field.name != "id" { fields[field.name] = fieldView.values(field, hint: hint(field)) }
        fields["grant_type"] = fieldView.choices("grant_type", grantTypes, chosen: form.choice.rawValue)
        fields["pkce_mode"] = fieldView.choices("pkce_mode", FormField.pkceModes, chosen: form["pkce_mode"])
        if case .choice(let options)? = FormField.find("client_authentication")?.shape {
            let chosen = options.contains { $0.value == form["client_authentication"] } ? form["client_authentication"] : options[0].value
            for (name, isRare) in [("client_authentication", false), ("client_authentication_rare", true)] {
                var values = fieldView.choices("client_authentication", options, chosen: chosen)
                values["options"] = (values["options"] as? [[String: Any]])?.filter { option in
                    options.contains { $0.value == option["option"] as? String && $0.isRare == isRare }
                }
                fields[name] = values
            }
            fields["rare_authentication"] = options.contains { $0.isRare && $0.value == chosen }
        }
        for (name, isStored) in [("client_secret", connection?.clientSecret != nil), ("password", connection?.password != nil)] {
            guard var values = fields[name] as? [String: Any] else { continue }
            values["stored"] = isStored
            values["cleared"] = form.isTicked("clear_" + name)
            // Secrets are not sent back to a browser: what was typed has to be typed again.
            values["again"] = form.secrets[name]?.isEmpty == false
            fields[name] = values
        }
        return fields
    }

    private func hint(_ field: FormField) -> String? {
        switch field.name {
        case "client_secret" where connection?.clientSecret != nil: "One is kept. Type a new one to replace it; leave it empty to keep it."
        case "password" where connection?.password != nil: "One is kept. Type a new one to replace it; leave it empty to keep it."
        default: nil
        }
    }

    /// What the preset knows of each: a choice that the provider does not offer fails there, not here.
    private var grantTypes: [FormField.Option] {
        [GrantChoice.authorizationCode, .authorizationCodePKCE, .clientCredentials, .password].map { choice in
            var help = choice.help
            if let preset = form.preset, !preset.grantTypes.isEmpty, !preset.grantTypes.contains(choice.grantType) {
                help += " \(preset.name) is not known to offer it."
            }
            return .init(value: choice.rawValue, label: choice.label, help: help)
        }
    }

    /// Fields under more options that say something.
    private var rareCount: Int {
        FormField.all.filter { field in
            guard field.isRare, form.shows(field), field.name != "id", field.name != "preset" else { return false }
            if case .choice(let options) = field.shape { return ![options[0].value, ""].contains(form[field.name]) }
            return !form[field.name].isEmpty
        }.count
    }

    private var summary: [String: Any]? {
        guard !errors.isEmpty else { return nil }
        let count = errors.fields.count + errors.general.count
        return [
            "text": count == 1 ? "One thing has to be put right." : "\(count) things have to be put right.",
            "list": errors.fields.map { ["target": $0.name, "label": $0.label, "detail": $0.detail] }, "general": errors.general,
            "fix": errors.fix.map { "\($0.prefix(1).uppercased())\($0.dropFirst())." as Any } ?? false,
        ]
    }

    private var conflictValues: [String: Any]? {
        guard let conflict else { return nil }
        return ["at": conflict.at, "rows": conflict.difference.values, "differs": !conflict.difference.rows.isEmpty]
    }
}

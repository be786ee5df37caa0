import Broker
import OAuth
import Vault

/// What a request of the connection would look like, from what stands in the form.
enum FormPreview {
    /// For `part-preview`: the request with the token masked, or what is wrong with the instructions.
    static func values(_ form: ConnectionForm) -> [String: Any] {
        var settings = ConnectionSettings(name: "", oauth: OAuthSettings(grantType: form.choice.grantType))
        settings.preset = form.preset?.id
        settings.baseURL = form["base_url"].isEmpty ? nil : form["base_url"]
        settings.oauth.clientID = form["client_id"].isEmpty ? nil : form["client_id"]
        settings.variables = variables(form)
        settings.headers = texts(NamedLines.read(form["headers"], separator: ":").map)
        let instructions: Instructions
        do {
            instructions = try Instructions(form["authentication_instructions"])
        } catch {
            return ["faults": error.lines.map(\.text)]
        }
        return [
            "request": RequestPreview.text(settings, instructions), "rules": instructions.rules.map { rule($0) },
            "any_rules": !instructions.rules.isEmpty, "no_rule": instructions.rules.isEmpty,
            "guidance": instructions.guidance.isEmpty ? false : instructions.guidance as Any,
            "in_query": instructions.rules.contains { $0.place == .query } && !form.isTicked("allow_token_in_query"),
            "urls": urls(form),
        ]
    }

    private static func rule(_ rule: Instructions.Rule) -> [String: Any] {
        ["place": rule.place == .header ? "header" : "query parameter", "name": rule.name, "template": rule.template]
    }

    private static func texts(_ map: JSONObject) -> [String: String] {
        Dictionary(map.members.compactMap { member in member.value.string.map { (member.name, $0) } }) { first, _ in first }
    }

    private static func variables(_ form: ConnectionForm) -> [String: String] {
        var values = texts(NamedLines.read(form["variables"], separator: "=").map)
        for variable in form.variables {
            let value = form[ConnectionForm.variableField(variable.name)]
            if !value.isEmpty { values[variable.name] = value }
        }
        return values
    }

    /// The URLs that hold variables, as they will be asked.
    private static func urls(_ form: ConnectionForm) -> [[String: Any]] {
        ConnectionForm.urlFields.compactMap { name in
            guard let field = FormField.find(name), form.shows(field), form[name].contains("{") else { return nil }
            return ["label": field.label, "url": filled(form[name], in: form)]
        }
    }

    /// A URL with its variables in place, as far as they are known.
    static func filled(_ url: String, in form: ConnectionForm) -> String {
        var values = variables(form)
        for variable in form.variables where values[variable.name] == nil { values[variable.name] = variable.defaultValue }
        var filled = url
        for (variable, value) in values { filled = filled.replacing("{\(variable)}", with: value) }
        return filled
    }
}

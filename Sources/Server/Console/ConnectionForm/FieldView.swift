import Broker
import OAuth

/// One field for `part-field` and `part-choices`. Every member is there, so that none of what surrounds it shows through.
struct FieldView {
    private let form: ConnectionForm
    private let errors: FormErrors

    init(_ form: ConnectionForm, _ errors: FormErrors) {
        self.form = form
        self.errors = errors
    }

    func values(_ field: FormField, hint: String? = nil) -> [String: Any] {
        var values = base(field.name, field.label, hint ?? field.hint, groups: field.groups, placeholder: field.placeholder)
        switch field.shape {
        case .text, .number, .time: values["text"] = true
        case .words, .lines, .pairs, .json, .prose: values["area"] = true
        case .apart: values[field.name == "other" ? "area" : "tick"] = true
        case .secret: values["secret"] = true
        case .flag: values["tick"] = true
        case .choice(let options): values["select"] = Self.options(options, chosen: form[field.name])
        }
        if case .number = field.shape { values["short"] = true }
        if case .time = field.shape { values["short"] = true }
        values["mono"] = ["url", "redirect_uri", "issuer", "id", "preset"].contains { field.name.hasSuffix($0) } || field.shape.isCode
        values["rows"] = field.name == "scopes" ? 2 : field.name == "authentication_instructions" ? 5 : 3
        values["checked"] = form.isTicked(field.name)
        // Never a secret: those are not among the values.
        values["value"] = form[field.name]
        return values
    }

    /// A variable of the preset.
    func values(_ variable: Preset.Variable) -> [String: Any] {
        let name = ConnectionForm.variableField(variable.name)
        let hint =
            (variable.description.map { $0 + ". " } ?? "") + "It takes the place of {\(variable.name)} in the URLs. For example: \(variable.example)"
        var values = base(name, variable.name, hint, groups: "", placeholder: variable.example)
        values["text"] = true
        values["value"] = form[name]
        return values
    }

    /// Radio buttons.
    func choices(_ name: String, _ options: [FormField.Option], chosen: String) -> [String: Any] {
        guard let field = FormField.find(name) else { return [:] }
        var values = base(name, field.label, field.hint, groups: field.groups, placeholder: nil)
        values["options"] = Self.options(options, chosen: chosen)
        return values
    }

    private func base(_ name: String, _ label: String, _ hint: String, groups: String, placeholder: String?) -> [String: Any] {
        let error = errors.detail(name)
        return [
            "name": name, "label": label, "hint": hint, "groups": groups, "placeholder": placeholder ?? "",
            "error": error.map { "\($0.prefix(1).uppercased())\($0.dropFirst())." } ?? "",
            "wrong": error != nil, "value": "", "text": false, "area": false, "secret": false, "tick": false, "select": false, "options": false,
            "checked": false, "short": false, "mono": false, "rows": 3, "stored": false, "cleared": false, "again": false,
        ]
    }

    private static func options(_ options: [FormField.Option], chosen: String) -> [[String: Any]] {
        let known = options.contains { $0.value == chosen } ? chosen : options.first?.value
        return options.map { option in
            ["option": option.value, "words": option.label, "help": option.help.map { $0 as Any } ?? false, "chosen": option.value == known]
        }
    }
}

extension FormField.Shape {
    /// Written in a language of its own.
    fileprivate var isCode: Bool {
        switch self {
        case .words, .lines, .pairs, .json, .prose: true
        default: false
        }
    }
}

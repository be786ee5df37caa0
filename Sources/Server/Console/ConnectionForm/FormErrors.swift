import Broker
import OAuth

/// What is wrong with a form: at its fields, and beside them.
struct FormErrors: Sendable {
    /// By the field's name, in the fields' order; several of one field are one text.
    private(set) var fields: [(name: String, label: String, detail: String)] = []
    /// What belongs to no field that is shown.
    private(set) var general: [String] = []
    /// What to do, where that is one thing.
    var fix: String?

    init() {}

    /// A problem's pointers, as fields.
    init(_ problem: Problem, in form: ConnectionForm) {
        fix = problem.fix.map { PlainWords.text($0) }
        for error in problem.errors {
            let (name, detail) = Self.place(error, in: form)
            if let name { add(name, detail, in: form) } else { general.append(detail) }
        }
        if problem.errors.isEmpty { general = [PlainWords.text(problem.detail)] }
    }

    mutating func add(_ name: String, _ detail: String, in form: ConnectionForm) {
        if let index = fields.firstIndex(where: { $0.name == name }) {
            if !fields[index].detail.contains(detail) { fields[index].detail += "; " + detail }
            return
        }
        fields.append((name, Self.label(name, in: form), detail))
        let order = Dictionary(uniqueKeysWithValues: FormField.all.enumerated().map { ($1.name, $0) })
        // Variables stand above the URLs that they are part of.
        func position(_ name: String) -> Int { order[name] ?? order["authorization_url"] ?? 0 }
        fields.sort { position($0.name) < position($1.name) }
    }

    func detail(_ name: String) -> String? { fields.first { $0.name == name }?.detail }

    var isEmpty: Bool { fields.isEmpty && general.isEmpty }

    private static func label(_ name: String, in form: ConnectionForm) -> String {
        FormField.find(name)?.label ?? (name == "keep_grants" ? "Grants" : String(name.trimmingPrefix("variable.")))
    }

    /// Whose field a pointer's value came from; what is inside a field's value is named in the text.
    private static func place(_ error: Problem.FieldError, in form: ConnectionForm) -> (name: String?, detail: String) {
        let tokens = error.pointer.split(separator: "/").map { String($0.replacing("~1", with: "/").replacing("~0", with: "~")) }
        let path = tokens.first == "oauth" ? Array(tokens.dropFirst()) : tokens
        let detail = PlainWords.text(error.detail)
        let member = path.first ?? ""
        if member == "pkce" { return (form.choice == .authorizationCodePKCE ? "pkce_mode" : "grant_type", detail) }
        if member == "variables", path.count > 1, form.variables.contains(where: { $0.name == path[1] }) {
            return (ConnectionForm.variableField(path[1]), detail)
        }
        guard let field = FormField.find(member) else { return ("other", inside(path, nil, form) + detail) }
        let text = inside(Array(path.dropFirst()), field, form) + detail
        return form.shows(field) ? (field.name, text) : (nil, field.label + ": " + text)
    }

    /// `repo: ` for the first scope, `X-Version: ` for a header of that name.
    private static func inside(_ path: [String], _ field: FormField?, _ form: ConnectionForm) -> String {
        guard let first = path.first else { return "" }
        if let index = Int(first), let field, path.count == 1 {
            let entries = form.entries(of: field)
            if entries.indices.contains(index) { return "\(entries[index].prefix(100)): " }
        }
        return path.map { ProviderText.clean($0, limit: 80) }.joined(separator: " › ") + ": "
    }
}

import Broker
import OAuth
import Vault

/// The form's texts as a connection's document, read by what reads the API's.
extension ConnectionForm {
    /// - Parameter agentAccess: of the connection that is edited; it has a page of its own.
    /// - Throws: `invalid_request` naming every field that is wrong, as the API does.
    func draft(agentAccess: AgentAccess = AgentAccess()) throws(Problem) -> ConnectionDocument.Draft {
        let (document, errors) = document()
        var found = errors
        do throws(Problem) {
            // What the preset fills in stands in the form already, and what was emptied there is to be empty.
            var draft = try ConnectionDocument.read(document, filledByPreset: false)
            if document["agent_access"] == nil { draft.settings.agentAccess = agentAccess }
            if found.isEmpty { return draft }
        } catch {
            found += error.errors
        }
        throw Problem(.invalidRequest, "the connection cannot be saved as it is", errors: found)
    }

    func document() -> (document: JSONObject, errors: [Problem.FieldError]) {
        var errors: [Problem.FieldError] = []
        var document = JSONObject()
        var oauth: JSONObject = ["grant_type": .string(choice.grantType.rawValue)]
        for field in FormField.all where shows(field) {
            guard let value = value(field, &errors) else { continue }
            if field.place == .oauth { oauth[field.name] = value } else { document[field.name] = value }
        }
        if let pkce { oauth["pkce"] = .string(pkce) }
        let variables = filledVariables(document["variables"]?.object ?? JSONObject(), &errors)
        document["variables"] = variables.members.isEmpty ? nil : .object(variables)
        addOther(to: &document, &oauth, &errors)
        document["oauth"] = .object(oauth)
        return (document, errors)
    }

    /// `nil` = left out: `S256` is sent.
    private var pkce: String? {
        switch choice {
        case .password, .clientCredentials: nil
        case .authorizationCode: isTicked("pkce_none") ? PKCE.Mode.none.rawValue : preset?.document["pkce"]?.string
        case .authorizationCodePKCE: self["pkce_mode"].isEmpty ? PKCE.Mode.s256.rawValue : self["pkce_mode"]
        }
    }

    /// `nil` = left out.
    private func value(_ field: FormField, _ errors: inout [Problem.FieldError]) -> JSONValue? {
        if field.isSecret { return secrets[field.name].flatMap { $0.isEmpty ? nil : .string($0) } }
        let text = self[field.name]
        guard !text.isEmpty else { return nil }
        switch field.shape {
        case .text: return .string(text)
        case .prose: return text.allSatisfy(\.isWhitespace) ? nil : .string(text)
        case .choice(let options): return text == options[0].value ? nil : .string(text)
        case .words, .lines: return .array(entries(of: field).map { .string(String($0)) })
        case .pairs(let separator):
            let (map, faults) = NamedLines.read(text, separator: separator)
            errors += faults.map { .init(pointer: field.pointer, detail: $0) }
            return .object(map)
        case .flag: return .bool(text == "true")
        // The reader says what is wrong with another text.
        case .number: return Int(text).map { .number(JSONNumber($0)) } ?? .string(text)
        case .time: return .string(text.utf8.count == 10 ? text + "T00:00:00Z" : text)
        case .json: return json(text, field, &errors)
        case .secret, .apart: return nil
        }
    }

    /// Of a field that holds several.
    func entries(of field: FormField) -> [Substring] {
        if case .words = field.shape { return self[field.name].split(whereSeparator: isBetweenScopes) }
        return self[field.name].split(whereSeparator: \.isWhitespace)
    }

    /// White space, and what separates them on the wire: scopes are pasted as a provider shows them.
    private func isBetweenScopes(_ character: Character) -> Bool {
        let own = self["scope_separator"]
        let separator = own.isEmpty || own == " " ? preset?.document["scope_separator"]?.string ?? " " : own
        return character.isWhitespace || separator == String(character)
    }

    private func json(_ text: String, _ field: FormField, _ errors: inout [Problem.FieldError]) -> JSONValue? {
        do {
            let value = try JSONValue(parsing: text.utf8)
            if value.object != nil { return value }
            errors.append(.init(pointer: field.pointer, detail: "must be a JSON object: {…}"))
        } catch {
            errors.append(.init(pointer: field.pointer, detail: error.description))
        }
        return nil
    }

    /// Those of the preset's fields beside the typed ones. One that a URL needs is asked for here, once, and not at each URL.
    private func filledVariables(_ typed: JSONObject, _ errors: inout [Problem.FieldError]) -> JSONObject {
        var filled = typed
        for variable in variables {
            let value = self[Self.variableField(variable.name)]
            if !value.isEmpty {
                filled[variable.name] = .string(value)
            } else if variable.defaultValue == nil, typed[variable.name] == nil, isNamed(variable.name) {
                errors.append(.init(pointer: "/variables/" + pointerToken(variable.name), detail: "is required: the URLs hold {\(variable.name)}"))
            }
        }
        return filled
    }

    /// The fields whose URLs may hold variables.
    static let urlFields = ["issuer", "authorization_url", "token_url", "refresh_url", "revocation_url", "base_url"]

    private func isNamed(_ variable: String) -> Bool {
        Self.urlFields.contains { name in FormField.find(name).map(shows) == true && self[name].contains("{\(variable)}") }
    }

    private func addOther(to document: inout JSONObject, _ oauth: inout JSONObject, _ errors: inout [Problem.FieldError]) {
        guard !self["other"].isEmpty, let field = FormField.find("other"), let other = json(self["other"], field, &errors)?.object else { return }
        func add(_ members: JSONObject, _ place: FormField.Place, to target: inout JSONObject) {
            for (name, value) in members.members where !(place == .top && name == "oauth") {
                if Self.isOnAField(name, place) {
                    errors.append(.init(pointer: field.pointer, detail: "\(name.prefix(80)) has a field of its own: fill that in"))
                } else {
                    target[name] = value
                }
            }
        }
        add(other, .top, to: &document)
        guard let inner = other["oauth"] else { return }
        if let inner = inner.object {
            add(inner, .oauth, to: &oauth)
        } else {
            errors.append(.init(pointer: field.pointer, detail: "oauth must be an object"))
        }
    }
}

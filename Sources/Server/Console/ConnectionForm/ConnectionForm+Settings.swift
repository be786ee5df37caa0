import Broker
import OAuth
import Vault

/// Settings, as the form shows them: through the document that the API shows, so that both know the same members.
extension ConnectionForm {
    init(_ settings: ConnectionSettings) {
        choice = GrantChoice(settings.oauth)
        let document = ConnectionDocument.editable(settings)
        let oauth = document["oauth"]?.object ?? JSONObject()
        for field in FormField.all { self[field.name] = Self.text((field.place == .oauth ? oauth : document)[field.name], field.shape) }
        self["pkce_mode"] = settings.oauth.pkce == PKCE.Mode.plain.rawValue ? PKCE.Mode.plain.rawValue : PKCE.Mode.s256.rawValue
        self["pkce_none"] = settings.oauth.pkce == PKCE.Mode.none.rawValue ? "true" : ""
        var others = document["variables"]?.object ?? JSONObject()
        for variable in variables {
            self[Self.variableField(variable.name)] = others[variable.name]?.string ?? variable.defaultValue ?? ""
            others[variable.name] = nil
        }
        self["variables"] = NamedLines.text(others, separator: "=")
        let rest = Self.rest(of: document)
        self["other"] = rest.members.isEmpty ? "" : JSONValue.object(rest).readable()
    }

    private static func text(_ value: JSONValue?, _ shape: FormField.Shape) -> String {
        guard let value, !value.isNull else { return "" }
        switch shape {
        case .text, .prose, .choice: return value.string ?? ""
        case .words: return (value.array ?? []).compactMap(\.string).joined(separator: " ")
        case .lines: return (value.array ?? []).compactMap(\.string).joined(separator: "\n")
        case .pairs(let separator): return NamedLines.text(value.object ?? JSONObject(), separator: separator)
        case .flag: return value.bool == true ? "true" : ""
        case .number: return value.integer.map(String.init) ?? ""
        case .time: return (value.string ?? "").replacing("T00:00:00Z", with: "")
        case .json: return value.object?.members.isEmpty == false ? value.readable() : ""
        case .secret, .apart: return ""
        }
    }

    /// Members that have no field: a switch that is new to the API is in the form at once.
    private static func rest(of document: JSONObject) -> JSONObject {
        var rest = JSONObject(document.members.filter { !isOnAField($0.name, .top) && $0.name != "agent_access" && $0.name != "oauth" })
        let oauth = JSONObject((document["oauth"]?.object?.members ?? []).filter { !isOnAField($0.name, .oauth) })
        if !oauth.members.isEmpty { rest["oauth"] = .object(oauth) }
        return rest
    }

    /// Whether a member of the document has a field of its own.
    static func isOnAField(_ member: String, _ place: FormField.Place) -> Bool {
        if place == .oauth, member == "pkce" { return true }
        guard let field = FormField.find(member), field.place == place, member != "other" else { return false }
        return true
    }
}

import Broker
import Crypto
import OAuth
import Vault

/// What stands in the form: texts as they were typed, by field. Secrets are apart, and nothing renders them.
struct ConnectionForm: Sendable {
    /// By a field's name; `variable.NAME` for a variable of the preset. What is ticked is `true`.
    var values: [String: String] = [:]
    var secrets: [String: String] = [:]
    var choice: GrantChoice = .authorizationCode

    subscript(_ name: String) -> String {
        get { values[name] ?? "" }
        set { values[name] = newValue }
    }

    func isTicked(_ name: String) -> Bool { self[name] == "true" }

    var preset: Preset? { Preset.find(self["preset"].trimmed) }

    /// The variables that the preset names: each has a field.
    var variables: [Preset.Variable] { preset?.variables ?? [] }

    static func variableField(_ name: String) -> String { "variable." + name }

    var changesSecrets: Bool { secrets.values.contains { !$0.isEmpty } || isTicked("clear_client_secret") || isTicked("clear_password") }

    /// Differs where anything was typed otherwise.
    var digest: String {
        let texts = (values.sorted { $0.key < $1.key } + secrets.sorted { $0.key < $1.key }).map { ($0.key, $0.value) }
        return Base64URL.encode(Array(SHA256.hash(data: Array(Form.serialize(texts + [("grant_type", choice.rawValue)]).utf8))))
    }

    /// Whether the chosen grant type has it.
    func shows(_ field: FormField) -> Bool { field.choices.contains(choice) }

    /// An empty form for something that no preset knows.
    init(name: String) {
        self["name"] = name
        self["authentication_instructions"] = Instructions.standard
        self["client_authentication"] = ClientAuthenticationMethod.clientSecretBasic.rawValue
        self["pkce_mode"] = PKCE.Mode.s256.rawValue
    }

    init(preset: Preset, name: String) {
        let first = preset.grantTypes.first ?? .authorizationCode
        var settings = preset.defaults(for: first)
        settings.name = name
        self.init(settings)
        // Where the preset says nothing of PKCE, or forbids it, the plain grant type does the right thing.
        if first == .authorizationCode, preset.document["pkce"]?.string != PKCE.Mode.s256.rawValue { choice = .authorizationCode }
        self["pkce_none"] = ""
    }

    /// As a browser sent it.
    init(sent: ConsoleForm) {
        choice = GrantChoice(rawValue: sent["grant_type"]) ?? .authorizationCode
        for field in FormField.all {
            switch field.shape {
            case .secret: secrets[field.name] = sent[field.name]
            case .prose, .choice: self[field.name] = sent[field.name]
            default: self[field.name] = sent.trimmed(field.name)
            }
        }
        for variable in variables {
            let name = Self.variableField(variable.name)
            self[name] = sent.trimmed(name)
        }
        for name in ["clear_client_secret", "clear_password", "keep_grants"] { self[name] = sent[name] }
    }
}

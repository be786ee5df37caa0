import Broker
import OAuth
import Vault

/// The form of a new API key, as it was typed.
struct KeyForm {
    private var name = ""
    private var role = ""
    private var isBound = false
    /// Ids of the connections that were ticked.
    private var connections: [String] = []
    private var subjects = ""
    private var perMinute = ""
    private var lastDay = ""

    init() {}

    init(_ form: ConsoleForm) {
        name = form.trimmed("name")
        role = form["role"]
        isBound = form["bound"] == "some"
        connections = form.all("connections")
        subjects = form["subjects"]
        perMinute = form.trimmed("requests_per_minute")
        lastDay = form.trimmed("expires_at")
    }

    static let labels = [
        "name": "Name", "role": "Role", "connections": "Connections", "subjects": "Subjects", "requests_per_minute": "Requests a minute",
        "expires_at": "Last day",
    ]

    private var subjectLines: [String] {
        subjects.split(separator: "\n").map { String($0.trimmingPrefix(while: \.isWhitespace).reversed().trimmingPrefix(while: \.isWhitespace).reversed()) }
            .filter { !$0.isEmpty }
    }

    /// The end of the last day, UTC.
    private var expiry: String { lastDay + "T23:59:59Z" }

    /// What the API would be sent.
    private var document: JSONObject {
        var document: JSONObject = [:]
        func set(_ name: String, _ text: String) { if !text.isEmpty { document[name] = .string(text) } }
        set("name", name)
        set("role", role)
        if isBound { document["connections"] = .array(connections.map(JSONValue.string)) }
        if !subjectLines.isEmpty { document["subjects"] = .array(subjectLines.map(JSONValue.string)) }
        if let number = Int(perMinute) { document["requests_per_minute"] = .number(JSONNumber(number)) } else { set("requests_per_minute", perMinute) }
        if !lastDay.isEmpty { document["expires_at"] = .string(expiry) }
        return document
    }

    /// - Throws: `invalid_request` with the pointers of the API's fields.
    func newKey() throws(Problem) -> Broker.NewKey {
        var faults: [Problem.FieldError] = []
        if role.isEmpty { faults.append(.init(pointer: "/role", detail: "choose one")) }
        if isBound, connections.isEmpty { faults.append(.init(pointer: "/connections", detail: "tick at least one, or choose all")) }
        if !lastDay.isEmpty, Timestamp(rfc3339: expiry) == nil { faults.append(.init(pointer: "/expires_at", detail: "is no date; write it as 2027-01-31")) }
        let known = Set(faults.map { $0.pointer })
        do throws(Problem) {
            let key = try KeysAPI.newKey(document)
            if faults.isEmpty { return key }
        } catch {
            // What is said above says it better.
            faults += error.errors.filter { !known.contains($0.pointer) }
        }
        throw Problem(.invalidRequest, "the key cannot be made as asked", errors: faults)
    }

    func faults(of problem: Problem) -> FieldFaults {
        var faults = FieldFaults()
        faults.add(problem, fields: Set(Self.labels.keys)) { field, index in
            switch field {
            case "subjects": subjectLines.indices.contains(index) ? ProviderText.clean(subjectLines[index], limit: 80) : nil
            case "connections": connections.indices.contains(index) ? ProviderText.clean(connections[index], limit: 80) : nil
            default: nil
            }
        }
        return faults
    }

    /// - Parameter all: the connections that can be chosen.
    func values(connections all: [Connection]) -> [String: Any] {
        [
            "name": name, "roles": RoleWords.options(selected: role), "is_bound": isBound, "subjects": subjects, "requests_per_minute": perMinute,
            "expires_at": lastDay,
            "connections": all.map { ["id": $0.id, "name": $0.settings.name, "selected": connections.contains($0.id)] as [String: Any] },
        ]
    }
}

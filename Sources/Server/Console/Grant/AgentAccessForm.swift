import Broker
import Vault

/// The form of a connection's `agent_access`: as it was typed, and what it means.
struct AgentAccessForm: Sendable {
    /// What most APIs take; the rest stands apart.
    private static let common = 7

    var isEnabled: Bool
    var methods: Set<String>
    var paths: String
    var headers: String
    /// The revision of the connection that the form was made from.
    var revision: Int

    init(_ connection: Connection) {
        let access = connection.settings.agentAccess
        isEnabled = access.enabled
        methods = Set(access.methods)
        paths = access.paths.joined(separator: "\n")
        headers = access.headers.joined(separator: "\n")
        revision = connection.revision
    }

    /// - Parameter current: the revision that counts where the form names none.
    init(_ form: ConsoleForm, current: Int) {
        isEnabled = form.has("enabled")
        methods = Set(form.all("methods"))
        paths = form["paths"]
        headers = form["headers"]
        revision = Int(form["etag"]) ?? current
    }

    var access: AgentAccess {
        var access = AgentAccess()
        access.enabled = isEnabled
        // In the order of the list; what is in none of it is judged as it was sent.
        access.methods = AgentPolicy.knownMethods.filter(methods.contains) + methods.subtracting(AgentPolicy.knownMethods).sorted()
        access.paths = Self.lines(paths)
        access.headers = Self.lines(headers)
        return access
    }

    private static func lines(_ text: String) -> [String] {
        text.split(separator: "\n").map(\.trimmed).filter { !$0.isEmpty }
    }

    // MARK: Showing

    func values(errors: [Problem.FieldError] = []) -> [String: Any] {
        func choice(_ method: String) -> [String: Any] { ["code": method, "selected": methods.contains(method)] }
        var values: [String: Any] = [
            "is_enabled": isEnabled, "methods": AgentPolicy.knownMethods.prefix(Self.common).map(choice),
            "rare_methods": AgentPolicy.knownMethods.dropFirst(Self.common).map(choice),
            "has_rare": AgentPolicy.knownMethods.dropFirst(Self.common).contains(where: methods.contains), "paths_typed": paths, "headers_typed": headers,
            "etag": revision,
        ]
        var items: [[String: Any]] = []
        for field in ["methods", "paths", "headers"] {
            let texts = texts(errors, field)
            values[field + "_errors"] = texts
            values[field + "_wrong"] = !texts.isEmpty
            items += texts.map { ["field": field, "text": $0] }
        }
        let others = errors.filter { !$0.pointer.hasPrefix("/agent_access/") }
        items += others.map { ["text": "Another setting of the connection, \($0.pointer.dropFirst()): \($0.detail)."] }
        if !items.isEmpty { values["errors"] = ["items": items] }
        return values
    }

    /// Each names the line that it is about.
    private func texts(_ errors: [Problem.FieldError], _ field: String) -> [String] {
        let prefix = "/agent_access/\(field)"
        let list = field == "paths" ? access.paths : field == "headers" ? access.headers : access.methods
        return errors.filter { $0.pointer == prefix || $0.pointer.hasPrefix(prefix + "/") }.map { error in
            guard let index = error.pointer.split(separator: "/").last.flatMap({ Int($0) }), list.indices.contains(index) else {
                return TroubleNotice.sentence(error.detail)
            }
            return "\(list[index].prefix(80)) \(error.detail)."
        }
    }
}

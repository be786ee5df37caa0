package import Vault

/// What AI agents may do at a connection: `agent_access`, compiled. One value for the gateway and MCP. SEC-131.
package struct AgentPolicy: Sendable {
    /// The connection, as problems name it.
    package let id: String
    package let isEnabled: Bool
    package let methods: [String]
    package let paths: [String]
    /// In lower case.
    package let headers: [String]
    private let patterns: [PathPattern]

    package init(_ access: AgentAccess, connection id: String) {
        self.id = id
        isEnabled = access.enabled
        methods = access.methods
        paths = access.paths
        headers = access.headers.map { $0.lowercased() }
        patterns = access.paths.compactMap(PathPattern.init)
    }

    /// - Parameter path: canonical, relative to the base URL, beginning with `/`; no query. An empty one is judged as `/`.
    /// - Returns: what denies it and how to change that; `nil` = it may go on.
    package func denial(method: String, path: String) -> Problem? {
        guard isEnabled else {
            return Problem(
                .forbidden, "agents may not call the connection \(id): its agent_access is off",
                fix: "have an admin switch it on and name methods and paths: PATCH /v1/connections/\(id) "
                    + #"({"agent_access": {"enabled": true, "methods": ["GET"], "paths": ["/…"]}})"#)
        }
        guard methods.contains(where: { $0.utf8.elementsEqual(method.utf8) }) else {
            return Problem(
                .forbidden, "the method \(excerpt(method)) is not among agent_access.methods of the connection \(id): \(summary(of: methods))",
                fix: methods.isEmpty ? change("methods") : "use an allowed method, or \(change("methods"))")
        }
        guard covers(path) else {
            return Problem(
                .forbidden, "the path \(excerpt(path)) is covered by none of agent_access.paths of the connection \(id): \(summary(of: paths))",
                fix: paths.isEmpty ? change("paths") : "use a path that is covered, or \(change("paths"))")
        }
        return nil
    }

    /// Whether agents may send this header field although it is not one that all may.
    /// - Parameter name: in any case.
    package func allows(header name: String) -> Bool {
        headers.contains { FieldName.isSame(name, lowerCase: $0) }
    }

    /// - Parameter names: fields that the list does not hold.
    package func refusal(headers names: [String]) -> Problem {
        let list = names.prefix(10).map { excerpt($0) }.joined(separator: ", ")
        let (fields, them) = names.count == 1 ? ("header field", "it") : ("header fields", "them")
        return Problem(
            .forbidden,
            "agents may not send the \(fields) \(list): agent_access.headers of the connection \(id) does not name \(them): \(summary(of: headers))",
            fix: "leave \(them) out, or \(change("headers"))")
    }

    private func covers(_ path: String) -> Bool {
        let path = path.isEmpty ? "/" : path
        let bytes = path.utf8.span
        for pattern in patterns where pattern.matches(bytes) { return true }
        return false
    }

    private func change(_ member: String) -> String { "have an admin extend the list: PATCH /v1/connections/\(id) (agent_access.\(member))" }

    private func summary(of list: [String]) -> String {
        if list.isEmpty { return "it names none" }
        let shown = "it names " + list.prefix(10).joined(separator: ", ")
        return list.count > 10 ? shown + " and \(list.count - 10) more" : shown
    }
}

extension AgentPolicy {
    /// What an agent may be allowed. Not CONNECT and TRACE (SEC-89), nor COPY and MOVE, whose second path is in a header field.
    package static let knownMethods = [
        "GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PROPFIND", "PROPPATCH", "MKCOL", "REPORT", "SEARCH",
    ]

    /// What cannot be saved, with the reason.
    package static func errors(in access: AgentAccess) -> [Problem.FieldError] {
        func errors(_ member: String, _ values: [String], _ fault: (String) -> String?) -> [Problem.FieldError] {
            values.enumerated().compactMap { index, value in
                fault(value).map { Problem.FieldError(pointer: "/agent_access/\(member)/\(index)", detail: $0) }
            }
        }
        return errors("methods", access.methods, faultyMethod) + errors("paths", access.paths, PathPattern.fault)
            + errors("headers", access.headers, faultyHeader)
    }

    private static func faultyMethod(_ method: String) -> String? {
        if knownMethods.contains(where: { $0.utf8.elementsEqual(method.utf8) }) { return nil }
        let upper = method.uppercased()
        if knownMethods.contains(where: { $0.utf8.elementsEqual(upper.utf8) }) { return "methods are written in upper case: \(upper)" }
        return "must be one of " + knownMethods.joined(separator: ", ")
    }

    private static func faultyHeader(_ header: String) -> String? {
        let name = FieldName(header)
        guard name.isToken else { return "is not a header field name" }
        return FieldRules.request(name).refusal
    }
}

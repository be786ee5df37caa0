import Broker
import Gateway
import OAuth
import Vault

/// The form of *Try it*: as it was typed, and the call that it means.
struct TryForm: Sendable {
    static let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]

    struct Fault: Error, Sendable {
        /// The field's name.
        let field: String
        let text: String
    }

    var method = "GET"
    var path: String
    var query = ""
    var headers = ""
    var body = ""
    var subject = ""

    /// Nothing typed yet: a request that is likely to work.
    /// - Parameter subject: `nil` = whoever is connected.
    init(for head: ConnectionHead, subject: String?) {
        path = TrySuggestion.path(head.connection.settings)
        let works = head.grants.filter { $0.state == "active" || $0.state == "expired" }
        let isShared = head.connection.fetchesAlone || works.contains { $0.grant.subject.isEmpty }
        self.subject = subject ?? (isShared ? "" : works.first?.grant.subject ?? "")
    }

    init(_ form: ConsoleForm) {
        method = form.trimmed("method").uppercased()
        path = form.trimmed("path")
        query = form.trimmed("query")
        headers = form["headers"]
        body = form["body"]
        subject = form.trimmed("subject")
    }

    /// - Parameter connection: a whole URL below its base URL may be pasted for the path.
    /// - Returns: the call, or what is wrong, by field.
    func call(of connection: Connection) -> Result<Call, Faults> {
        var faults: [Fault] = []
        if !Self.methods.contains(method) { faults.append(Fault(field: "method", text: "Choose one of the list.")) }
        let (path, query) = target(connection)
        if let text = fault(ofPath: path) { faults.append(Fault(field: "path", text: text)) }
        var call = Call(connection: connection.id, subject: subject, method: method, path: path, query: query.isEmpty ? nil : query)
        switch parsedHeaders() {
        case .success(let headers): call.headers = headers
        case .failure(let more): faults += more.list
        }
        if !body.isEmpty { add(body, to: &call) }
        return faults.isEmpty ? .success(call) : .failure(Faults(list: faults))
    }

    struct Faults: Error { let list: [Fault] }

    // MARK: Target

    /// The path, relative to the base URL; and the query, whichever field it was typed in.
    private func target(_ connection: Connection) -> (path: String, query: String) {
        var text = path
        if let base = connection.settings.baseURL, text.hasPrefix(base) {
            text = String(text.dropFirst(base.count))
            if !text.hasPrefix("/") { text = "/" + text }
        }
        let halves = text.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let typed = query.hasPrefix("?") ? String(query.dropFirst()) : query
        let queries = (halves.dropFirst() + [typed]).filter { !$0.isEmpty }
        return (Self.encoded(halves.first ?? ""), Self.encoded(queries.joined(separator: "&")))
    }

    /// Spaces and what is not ASCII are encoded; what is encoded already stays as it is.
    private static func encoded(_ text: String) -> String {
        text.utf8.contains { !(0x21...0x7E).contains($0) }
            ? text.unicodeScalars.map { (0x21...0x7E).contains($0.value) ? String($0) : Form.percentEncode(String($0)) }.joined() : text
    }

    private func fault(ofPath path: String) -> String? {
        if path.contains("://") || path.hasPrefix("//") { return "Give what follows the API base URL, beginning with /; requests go nowhere else." }
        if !path.hasPrefix("/") { return "Begin with /." }
        return path.utf8.contains(UInt8(ascii: "#")) ? "Leave out the # and what follows it: it is never sent." : nil
    }

    // MARK: Header fields

    private func parsedHeaders() -> Result<[(name: String, value: String)], Faults> {
        var faults: [Fault] = []
        var fields: [(name: String, value: String)] = []
        for (index, line) in headers.split(separator: "\n", omittingEmptySubsequences: false).enumerated() where !line.allSatisfy(\.isWhitespace) {
            func wrong(_ text: String) { faults.append(Fault(field: "headers", text: "Line \(index + 1): \(text)")) }
            let halves = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(\.trimmed)
            guard halves.count == 2, FieldName(halves[0]).isToken else {
                wrong("write Name: value.")
                continue
            }
            let rule = FieldRules.request(FieldName(halves[0]))
            if rule.isDropped || rule == .partial {
                wrong("leave \(halves[0]) out: the gateway puts it in itself, or sends none.")
            } else if !halves[1].utf8.allSatisfy({ (0x20...0x7E).contains($0) }) {
                wrong("the value must be visible ASCII.")
            } else {
                fields.append((name: halves[0], value: halves[1]))
            }
        }
        return faults.isEmpty ? .success(fields) : .failure(Faults(list: faults))
    }

    /// JSON is sent as such unless a content type was typed.
    private func add(_ body: String, to call: inout Call) {
        let bytes = Array(body.utf8)
        call.body = bytes
        guard !call.headers.contains(where: { $0.name.lowercased() == "content-type" }) else { return }
        let json = try? JSONValue(parsing: bytes)
        let isJSON = json?.object != nil || json?.array != nil
        call.headers.append((name: "Content-Type", value: isJSON ? "application/json" : "text/plain; charset=utf-8"))
    }

    // MARK: Showing

    func values(_ head: ConnectionHead, faults: [Fault] = []) -> [String: Any] {
        var values: [String: Any] = [
            "methods": Self.methods.map { ["code": $0, "selected": $0 == method] as [String: Any] }, "path_typed": path, "query_typed": query,
            "headers_typed": headers, "body_typed": body, "subject_typed": subject, "base_url": head.connection.settings.baseURL ?? "",
            "has_subjects": !head.connection.fetchesAlone, "subjects": head.grants.map(\.grant.subject).filter { !$0.isEmpty },
            "has_more_typed": !(query + headers + body).isEmpty,
        ]
        for field in ["method", "path", "query", "headers", "body", "subject"] {
            let texts = faults.filter { $0.field == field }.map(\.text)
            if !texts.isEmpty { values[field + "_error"] = texts.joined(separator: " ") }
        }
        if !faults.isEmpty { values["errors"] = ["items": faults.map { ["field": $0.field, "text": $0.text] }] }
        return values
    }
}

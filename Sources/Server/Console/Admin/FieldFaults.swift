import Broker

/// What is wrong with a form that was sent, for its page: all of it at the top, and each at its field.
struct FieldFaults {
    /// The field's name; `nil` where it is none's.
    private var list: [(field: String?, text: String)] = []

    var isEmpty: Bool { list.isEmpty }

    mutating func add(_ field: String?, _ text: String) { list.append((field, text)) }

    /// What a use case found wrong. A pointer's first part is the field: `/subjects/3` is told at `subjects`.
    /// - Parameters:
    ///   - fields: those of the form.
    ///   - place: how the place within a field is called, where it has several values.
    mutating func add(_ problem: Problem, fields: Set<String>, place: (_ field: String, _ index: Int) -> String?) {
        for error in problem.errors {
            let parts = error.pointer.split(separator: "/").map(String.init)
            guard let field = parts.first, fields.contains(field) else {
                add(nil, error.detail)
                continue
            }
            let name = parts.dropFirst().first.flatMap(Int.init).flatMap { place(field, $0) }
            add(field, name.map { "\($0): \(error.detail)" } ?? error.detail)
        }
        if problem.errors.isEmpty { add(nil, [problem.detail, problem.fix].compactMap(\.self).joined(separator: "; ")) }
    }

    /// For the partial `part-form-errors` (`errors`), and for each field (`wrong.NAME`).
    /// - Parameter labels: what fields are called on the page.
    func values(labels: [String: String]) -> [String: Any] {
        guard !isEmpty else { return [:] }
        var wrong: [String: String] = [:]
        var items: [[String: Any]] = []
        for fault in list {
            guard let field = fault.field else {
                items.append(["text": fault.text])
                continue
            }
            let sentence = fault.text.prefix(1).uppercased() + fault.text.dropFirst() + "."
            wrong[field] = wrong[field].map { $0 + " " + sentence } ?? sentence
            items.append(["field": field, "text": "\(labels[field] ?? field): \(fault.text)"])
        }
        return ["errors": ["items": items], "wrong": wrong]
    }
}

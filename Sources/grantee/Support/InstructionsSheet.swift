import Foundation
import OAuth

/// A connection's instructions beside what Grantee makes of each line, and the request that comes of them.
struct InstructionsSheet {
    private let text: String
    private let guidance: [String]
    private let rules: [String]
    private let request: String?
    private let hasRule: Bool

    /// - Parameter instructions: as `GET /v1/connections/{id}/instructions` answers.
    init(_ instructions: JSONValue) {
        text = instructions["text"]?.string ?? ""
        guidance = Self.lines(instructions["guidance"]?.string ?? "")
        rules = (instructions["rules"]?.array ?? []).map { rule in
            let name = rule["name"]?.shown ?? ""
            let template = rule["template"]?.shown ?? ""
            return rule["in"]?.string == "query" ? "query   ?\(name)=\(template)" : "header  \(name): \(template)"
        }
        hasRule = !rules.isEmpty
        request = instructions["request"]?.string
    }

    func print() {
        var table = Table("AUTHENTICATION INSTRUCTIONS", "WHAT THEY DO")
        for row in rows { table.add(row.line, row.meaning) }
        Terminal.write("")
        table.print(nothing: "")
        guard hasRule else {
            return Terminal.write("\nNo line puts the token into a request, so calls are refused. Add one, such as: Authorization: Bearer <token>")
        }
        if let request {
            let isTerminal = Terminal.output.isTerminal
            Terminal.write("\n" + Terminal.output.styled("THE REQUEST, TOKEN MASKED", .bold, when: isTerminal) + "\n" + Terminal.inert(request))
        }
    }

    /// Guidance and rules are in the order of the text: each line is the next of one or the other.
    private var rows: [(line: String, meaning: String)] {
        var guidance = guidance[...]
        var rules = rules[...]
        var rows: [(String, String)] = []
        for line in Self.lines(text) {
            if let next = guidance.first, sameText(next, line) {
                guidance.removeFirst()
                // Often one that was meant as a rule.
                let remark = line.contains("<token") ? ": no rule, which is a line of nothing but Name: value or ?name=value" : ""
                rows.append((line, "guidance for the reader" + remark))
            } else {
                rows.append((line, rules.popFirst() ?? ""))
            }
        }
        // Where the text is empty, a rule stands in for it.
        return rows + rules.map { ("(none: the default)", $0) }
    }

    private func sameText(_ one: String, _ other: String) -> Bool { one.utf8.elementsEqual(other.utf8) }

    private static func lines(_ text: String) -> [String] {
        text.split(whereSeparator: \.isNewline).map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
    }
}

/// Reads the lines of Authentication Instructions one after another, and what holds among the rules.
struct InstructionReader {
    private(set) var rules: [(line: Int, rule: Instructions.Rule, template: InstructionTemplate)] = []
    private(set) var errors: [InstructionsError.Line] = []
    private var guidanceLines: [Substring] = []
    private var number = 0

    mutating func read(_ line: Substring) {
        number += 1
        do {
            guard let (rule, template) = try InstructionLine(line).rule() else {
                guidanceLines.append(line)
                return
            }
            try checkAmongOthers(rule)
            rules.append((number, rule, template))
        } catch {
            errors.append(.init(number: number, reason: error.reason))
        }
    }

    private func checkAmongOthers(_ rule: Instructions.Rule) throws(InstructionFault) {
        guard rules.count < Instructions.mostRules else { throw InstructionFault("there are more than \(Instructions.mostRules) rules") }
        guard let other = rules.first(where: { Self.setTheSame($0.rule, rule) }) else { return }
        let what = rule.place == .header ? "the header" : "the query parameter"
        throw InstructionFault("sets \(what) \(rule.name), which line \(other.line) sets already; leave one of them out")
    }

    /// To an API two spellings of a field's name may be one. SEC-80
    private static func setTheSame(_ one: Instructions.Rule, _ other: Instructions.Rule) -> Bool {
        guard one.place == other.place else { return false }
        return one.place == .header ? FieldName.matches(one.name, normal: FieldName.normal(other.name)) : one.name == other.name
    }

    var guidance: String {
        let isBlank = { (line: Substring) in line.allSatisfy(\.isWhitespace) }
        let trimmed = guidanceLines.drop(while: isBlank).reversed().drop(while: isBlank).reversed()
        return trimmed.joined(separator: "\n")
    }
}

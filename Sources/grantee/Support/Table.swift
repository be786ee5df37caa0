import OAuth

/// Rows for people: aligned columns on a terminal and in a pipe alike, colours on a terminal only.
struct Table {
    private let head: [String]
    private var rows: [[String]] = []

    init(_ head: String...) { self.head = head }

    mutating func add(_ cells: String...) { rows.append(cells.map { Terminal.inert($0).replacing("\n", with: " ") }) }

    /// - Parameter nothing: what is said instead of an empty table.
    func print(nothing: String) {
        guard !rows.isEmpty else { return Terminal.say(nothing) }
        let all = [head] + rows
        let widths = head.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        let isTerminal = Terminal.output.isTerminal
        for (index, row) in all.enumerated() {
            let cells = zip(row, widths).enumerated().map { column, pair in
                column == row.count - 1 ? pair.0 : pair.0 + String(repeating: " ", count: pair.1 - pair.0.count)
            }
            let padded = cells.joined(separator: "  ")
            let line = String(padded[..<(padded.lastIndex { $0 != " " }.map(padded.index(after:)) ?? padded.startIndex)])
            Terminal.write(index == 0 ? Terminal.output.styled(line, .bold, when: isTerminal) : Self.coloured(line, row, isTerminal))
        }
    }

    private static func coloured(_ line: String, _ row: [String], _ isTerminal: Bool) -> String {
        if row.contains("reauthorization_required") || row.contains("misconfigured") { return Terminal.output.styled(line, .red, when: isTerminal) }
        if row.contains("expired") || row.contains("provider_down") { return Terminal.output.styled(line, .yellow, when: isTerminal) }
        if row.contains("revoked") { return Terminal.output.styled(line, .dim, when: isTerminal) }
        return line
    }
}

/// One thing, member by member.
struct Sheet {
    private var lines: [(name: String, value: String)] = []

    mutating func add(_ name: String, _ value: String?) { if let value, !value.isEmpty { lines.append((name, value)) } }

    func print() {
        let width = lines.map(\.name.count).max() ?? 0
        for line in lines {
            let name = line.name + String(repeating: " ", count: width - line.name.count)
            let value = Terminal.inert(line.value).replacing("\n", with: "\n" + String(repeating: " ", count: width + 2))
            Terminal.write(Terminal.output.styled(name, .bold, when: Terminal.output.isTerminal) + "  " + value)
        }
    }
}

extension JSONValue {
    /// For a cell: texts as they are, lists with spaces between, nothing for null.
    var shown: String {
        switch self {
        case .null: ""
        case .bool(let flag): flag ? "yes" : "no"
        case .number(let number): number.text
        case .string(let text): text
        case .array(let values): values.map(\.shown).joined(separator: " ")
        case .object: String(decoding: serialized(), as: UTF8.self)
        }
    }
}

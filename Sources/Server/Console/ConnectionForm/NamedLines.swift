import OAuth

/// A map as a person types it: a name and a value on each line.
enum NamedLines {
    static func text(_ map: JSONObject, separator: Character) -> String {
        let between = separator == ":" ? ": " : String(separator)
        return map.members.map { $0.name + between + ($0.value.string ?? "") }.joined(separator: "\n")
    }

    /// Empty lines are skipped; white space around names and values is dropped.
    /// - Returns: what could be read, and what is wrong with the other lines.
    static func read(_ text: String, separator: Character) -> (map: JSONObject, faults: [String]) {
        var map = JSONObject()
        var faults: [String] = []
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() where !line.allSatisfy(\.isWhitespace) {
            let parts = line.split(separator: separator, maxSplits: 1, omittingEmptySubsequences: false)
            let name = parts[0].trimmed
            if parts.count < 2 || name.isEmpty {
                faults.append("line \(index + 1): write \(separator == ":" ? "Name: value" : "name=value")")
            } else if map[name] != nil {
                faults.append("line \(index + 1): names \(name.prefix(80)) again")
            } else {
                map[name] = .string(parts[1].trimmed)
            }
        }
        return (map, faults)
    }
}

extension StringProtocol {
    /// Without white space around it.
    var trimmed: String {
        let start = drop(while: \.isWhitespace)
        let end = start.lastIndex { !$0.isWhitespace }
        return end.map { String(start[...$0]) } ?? ""
    }
}

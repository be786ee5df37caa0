import Foundation
import TestSupport

/// A session at a terminal, written down: `$ ` commands, what they print, `2> ` what they print to standard error, and
/// `? N` the exit code where it is not 0. What differs from run to run is named: TIME, KEY, TOKEN …; in a command
/// `GRANTEE_API_KEY=KEY` is the key that was made last. Output that ends without a line break says so.
struct Script {
    let commands: [String]

    init(_ text: String) {
        commands = text.split(separator: "\n").filter { $0.hasPrefix("$ ") }.map { String($0.dropFirst(2)) }
    }

    /// The same session, as it goes now.
    func transcript(tool: CommandLineTool, naming: [(value: String, name: String)]) async throws -> String {
        var lines: [String] = []
        var key = ""
        for command in commands {
            lines.append("$ \(command)")
            let valued = naming.reduce(command.replacing("GRANTEE_API_KEY=KEY ", with: "GRANTEE_API_KEY=\(key) ")) { $0.replacing($1.name, with: $1.value) }
            var (environment, words) = Self.words(of: valued)
            guard words.first == "grantee" else { throw ScriptError("a script runs grantee only: \(command)") }
            words.removeFirst()
            var input = ""
            if let here = words.firstIndex(of: "<<<"), here + 1 < words.count {
                input = words[here + 1] + "\n"
                words.removeSubrange(here...here + 1)
            }
            var tool = tool
            for (name, value) in environment { tool.environment[name] = value.isEmpty ? nil : value }
            let outcome = try await tool.run(words, input: input)
            func named(_ text: String) -> [String] {
                if text.isEmpty { return [] }
                let text = Self.anonymous(naming.reduce(text) { $0.replacing($1.value, with: $1.name) })
                var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
                if lines.last?.isEmpty == true { lines.removeLast() } else { lines.append("(no line break)") }
                return lines
            }
            lines += named(outcome.output)
            lines += named(outcome.errors).map { $0.isEmpty ? "2>" : "2> " + $0 }
            key = outcome.output.firstMatch(of: /gk_[A-Za-z0-9_-]{43}/).map { String($0.output) } ?? key
            if outcome.status != 0 { lines.append("? \(outcome.status)") }
            lines.append("")
        }
        return lines.joined(separator: "\n")
    }

    /// Words as a shell makes them of quotes and spaces; `NAME=value` in front sets the environment.
    private static func words(of line: String) -> (environment: [(String, String)], words: [String]) {
        var words: [String] = []
        var word: String?
        var quote: Character?
        for character in line {
            switch (quote, character) {
            case (nil, "'"), (nil, "\""):
                quote = character
                word = word ?? ""
            case (let open?, character) where open == character: quote = nil
            case (nil, " "):
                if let done = word { words.append(done) }
                word = nil
            default: word = (word ?? "") + String(character)
            }
        }
        if let word { words.append(word) }
        let assignments = words.prefix { $0.firstMatch(of: /^[A-Z_]+=/) != nil }
        let environment = assignments.map { assignment in
            let equals = assignment.firstIndex(of: "=") ?? assignment.endIndex
            return (String(assignment[..<equals]), String(assignment[assignment.index(after: equals)...]))
        }
        return (environment, Array(words.dropFirst(assignments.count)))
    }

    private static func anonymous(_ text: String) -> String {
        // Uses are written within a second: the line comes sooner or later.
        text.replacing("\r\n", with: "\n").replacing(/[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT/, with: "DATE")
            .replacing(/(?m)^last used .*\n/, with: "").replacing(/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z/, with: "TIME")
            .replacing(/[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/, with: "UID")
            .replacing(/(?<name>[Gg]rantee-[Rr]equest-[Ii]d"?: "?)[A-Za-z0-9_-]{15}/) { "\($0.name)REQUEST_ID" }
            .replacing(/\/connect\/[A-Za-z0-9_-]{43}/, with: "/connect/TICKET")
            .replacing(/\/console\/sign-in\/[A-Za-z0-9_-]{43}/, with: "/console/sign-in/CODE")
            .replacing(/cs_[A-Za-z0-9_-]{22}/, with: "SESSION").replacing(/key_[A-Za-z0-9_-]{12}/, with: "KEY_ID")
            .replacing(/wh_[A-Za-z0-9_-]{12}/, with: "WEBHOOK_ID").replacing(/whsec_[A-Za-z0-9+\/]{43}=/, with: "WEBHOOK_SECRET")
            .replacing(/gk_[A-Za-z0-9_-]{43}/, with: "KEY").replacing(/at_[A-Za-z0-9_-]{32}/, with: "TOKEN")
            .replacing(/rt_[A-Za-z0-9_-]{32}/, with: "REFRESH_TOKEN").replacing(/"expires_in": (35[0-9]{2}|3600)/, with: "\"expires_in\": 3600")
            .replacing(/: [0-9.]+ (kB|MB), as of/, with: ": SIZE, as of").replacing(/, in [0-9.]+ s\./, with: ", in SECONDS.")
            .replacing(/"bytes": [0-9]+/, with: "\"bytes\": BYTES")
            // What a vault holds changes by itself: uses of keys, activity.
            .replacing(/(?m)^(?<table>[a-z_]+) +[0-9]+ +[0-9]+ +[0-9a-f]{64}$/) { "\($0.table) ROWS ROWS SHA256" }
            .replacing(/(?<lead>Moved|Both hold the same:) [0-9]+ rows/) { "\($0.lead) ROWS rows" }
    }
}

struct ScriptError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

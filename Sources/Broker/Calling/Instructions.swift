/// Authentication Instructions, compiled: rules that a machine applies, and guidance for a reader.
package struct Instructions: Sendable, Hashable {
    /// One line that puts something into the request.
    package struct Rule: Sendable, Hashable {
        package enum Place: String, Sendable { case header, query }
        package let place: Place
        package let name: String
        /// As it was written: `Bearer <token>`.
        package let template: String
    }
    package let rules: [Rule]
    /// The lines that are no rules, as they were written.
    package let guidance: String
    /// Of each rule, in their order.
    let templates: [InstructionTemplate]
    /// Of each rule, from 1.
    let lines: [Int]

    /// What stands where the text is empty.
    package static let standard = "Authorization: Bearer <token>"
    /// Bytes.
    package static let longest = 4096
    static let mostRules = 20

    /// - Throws: each line that cannot work, with the reason.
    package init(_ text: String) throws(InstructionsError) {
        guard text.utf8.count <= Self.longest else {
            throw InstructionsError(lines: [.init(number: 0, reason: "the text is longer than \(Self.longest) bytes")])
        }
        let isEmpty = text.allSatisfy(\.isWhitespace)
        var reader = InstructionReader()
        for line in (isEmpty ? Self.standard : text).split(omittingEmptySubsequences: false, whereSeparator: { $0 == "\n" || $0 == "\r\n" }) {
            reader.read(line)
        }
        guard reader.errors.isEmpty else { throw InstructionsError(lines: reader.errors) }
        rules = reader.rules.map(\.rule)
        templates = reader.rules.map(\.template)
        lines = reader.rules.map(\.line)
        guidance = reader.guidance
    }

    /// A rule with its values in place: what goes into the request.
    package struct Filled: Sendable {
        package let place: Rule.Place
        package let name: String
        package let value: String
        package init(place: Rule.Place, name: String, value: String) {
            self.place = place
            self.name = name
            self.value = value
        }
    }

    /// Header values as they are sent; query values percent-encoded.
    /// - Parameter captured: by their whole names (`token_response.instance_url`).
    /// - Throws: a value that is missing, or that no header or query can carry.
    package func filled(token: String, tokenType: String, clientID: String?, captured: [String: String]) throws(InstructionsError) -> [Filled] {
        let values = InstructionValues(token: token, tokenType: tokenType, clientID: clientID, captured: captured)
        var filled: [Filled] = []
        filled.reserveCapacity(rules.count)
        for (index, rule) in rules.enumerated() {
            do {
                filled.append(Filled(place: rule.place, name: rule.name, value: try templates[index].filled(with: values, in: rule.place)))
            } catch {
                throw InstructionsError(lines: [.init(number: lines[index], reason: error.reason)])
            }
        }
        return filled
    }
}

/// What is wrong with instructions.
package struct InstructionsError: Error, Sendable, Hashable {
    package struct Line: Sendable, Hashable {
        /// From 1; 0 = the whole text.
        package let number: Int
        /// What is wrong and what would be right; never a token.
        package let reason: String
        package init(number: Int, reason: String) {
            self.number = number
            self.reason = reason
        }
        /// Fit to stand behind the name of the field.
        package var text: String { number == 0 ? reason : "line \(number): \(reason)" }
    }
    package let lines: [Line]
    package init(lines: [Line]) { self.lines = lines }
}

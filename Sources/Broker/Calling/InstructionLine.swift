import OAuth

/// One line of Authentication Instructions: a rule, if it is wholly `Header-Name: value` or `?name=value` with a placeholder in the value.
struct InstructionLine {
    private let line: Substring
    /// Without what a text puts around a line: list marker, quotes, back-ticks.
    private let text: Substring

    init(_ line: Substring) {
        self.line = line
        text = Self.undecorated(line)
    }

    /// - Returns: `nil` = guidance.
    /// - Throws: why the line cannot be the rule that it has the form of.
    func rule() throws(InstructionFault) -> (Instructions.Rule, InstructionTemplate)? {
        // In guidance, too: it is printed on terminals and given to models.
        guard !line.unicodeScalars.contains(where: { ($0.value < 0x20 && $0.value != 0x09) || (0x7F...0x9F).contains($0.value) }) else {
            throw InstructionFault("holds a control character")
        }
        guard let form = try form(), !form.value.readsAsSentence else { return nil }
        guard form.value.holdsPlaceholder else {
            try form.value.refuseForeignPlaceholder()
            return nil
        }
        guard !form.value.text.utf8.contains(0x09) else { throw InstructionFault("holds a tab in the value, which would be sent as it is; write a space") }
        guard text.utf8.allSatisfy({ $0 < 0x80 }) else {
            throw InstructionFault("a rule is written in ASCII, and this line holds other characters; for guidance write a sentence")
        }
        switch form.place {
        case .header: try checkHeader(form.name)
        case .query: try checkParameter(form.name)
        }
        let template = try form.value.template(in: form.place)
        return (Instructions.Rule(place: form.place, name: String(form.name), template: String(form.value.text)), template)
    }

    // MARK: Form

    private struct Form {
        let place: Instructions.Rule.Place
        let name: Substring
        let value: InstructionText
    }

    private func form() throws(InstructionFault) -> Form? {
        if text.hasPrefix("?") { return try parameterForm() }
        // `:path: …`, a pseudo-header of HTTP/2.
        let isPseudo = text.hasPrefix(":")
        guard let colon = (isPseudo ? text.dropFirst() : text).firstIndex(of: ":") else { return nil }
        let written = Self.trimmed(text[..<colon])
        let name = Self.unwrapped(written, by: Self.wrappers + [("*", "*")])
        let rest = Self.trimmed(text[text.index(after: colon)...])
        // Back-ticks are never a part of it; quotes are, unless the name has some, too, as in JSON.
        let value = InstructionText(name == written ? Self.unwrapped(rest, by: [("`", "`")]) : Self.unwrappedBeforeStop(rest))
        guard !name.isEmpty, !name.contains(where: \.isWhitespace), !value.text.hasPrefix("//"), !Self.labels.contains(name.lowercased()) else { return nil }
        if name.contains("<") {
            if !value.holdsPlaceholder && value.wordCount > 1 { return nil }
            throw InstructionFault("a placeholder cannot stand in the name of a header")
        }
        let isName = name.drop { isPseudo && $0 == ":" }.allSatisfy { !$0.isASCII || $0.isLetter || $0.isNumber || "-_.".contains($0) }
        // A word of another script with a colon begins a sentence; an accent within a name is a slip.
        guard isName, name.contains(where: \.isASCII) else { return nil }
        return Form(place: .header, name: name, value: value)
    }

    private func parameterForm() throws(InstructionFault) -> Form? {
        guard let equals = text.firstIndex(of: "=") else { return nil }
        let name = text[text.index(after: text.startIndex)..<equals]
        guard !name.isEmpty, !name.contains(where: \.isWhitespace) else { return nil }
        guard !name.contains("<") else { throw InstructionFault("a placeholder cannot stand in the name of a query parameter") }
        return Form(place: .query, name: name, value: InstructionText(text[text.index(after: equals)...]))
    }

    /// Words with a colon that begin a remark, and name no header.
    private static let labels: Set<String> = [
        "note", "notes", "hint", "tip", "important", "attention", "warning", "remark", "example", "examples", "e.g.", "see", "docs", "documentation",
        "header", "headers", "query", "parameter", "parameters", "url", "use", "send", "add", "set", "pass", "optional", "required",
    ]

    // MARK: Decoration

    private static let wrappers: [(open: Character, close: Character)] = [
        ("`", "`"), ("\"", "\""), ("'", "'"), ("\u{201C}", "\u{201D}"), ("\u{201E}", "\u{201C}"), ("\u{2018}", "\u{2019}"), ("\u{AB}", "\u{BB}"),
    ]

    private static func undecorated(_ line: Substring) -> Substring {
        unwrappedBeforeStop(trimmed(withoutMarker(trimmed(line))))
    }

    /// Also before what ends the sentence that a quoted text stands in, or the member of a list.
    private static func unwrappedBeforeStop(_ text: Substring) -> Substring {
        if let last = text.last, ".,;".contains(last) {
            let inner = unwrapped(text.dropLast(), by: wrappers)
            if inner.endIndex != text.index(before: text.endIndex) { return inner }
        }
        return unwrapped(text, by: wrappers)
    }

    private static func trimmed(_ text: Substring) -> Substring {
        func isSpace(_ character: Character) -> Bool { character == " " || character == "\t" }
        let start = text.drop(while: isSpace)
        return start.lastIndex { !isSpace($0) }.map { start[...$0] } ?? start
    }

    private static func withoutMarker(_ text: Substring) -> Substring {
        guard let space = text.firstIndex(where: { $0 == " " || $0 == "\t" }) else { return text }
        let marker = text[..<space]
        let isBullet = ["-", "*", "+", "\u{2022}", ">"].contains(marker)
        let isNumber = (2...4).contains(marker.count) && (marker.hasSuffix(".") || marker.hasSuffix(")")) && marker.dropLast().allSatisfy { "0"..."9" ~= $0 }
        return isBullet || isNumber ? text[space...] : text
    }

    /// Without the pairs around it that stand for nothing but themselves.
    private static func unwrapped(_ text: Substring, by wrappers: [(open: Character, close: Character)]) -> Substring {
        for (open, close) in wrappers where text.first == open {
            let count = text.prefix { $0 == open }.count
            guard text.count > 2 * count else { return text }
            let inner = text.dropFirst(count).dropLast(count)
            guard text.suffix(count).allSatisfy({ $0 == close }), !inner.contains(open), !inner.contains(close) else { return text }
            return unwrapped(trimmed(inner), by: wrappers)
        }
        return text
    }

    // MARK: Names

    /// Not what frames or steers a request, nor what is the caller's own. SEC-81, SEC-92
    private func checkHeader(_ name: Substring) throws(InstructionFault) {
        guard !name.hasPrefix(":") else { throw InstructionFault("\(name) is a part of the request line, not a header that a rule can set") }
        let isForbidden =
            switch FieldRules.request(FieldName(String(name))) {
            case .connection, .forwarding, .methodOverride, .fetchMetadata: true
            case .credential: FieldName.normal(String(name)) != "authorization"
            case .other, .known, .unasked, .partial: false
            }
        guard !isForbidden else {
            throw InstructionFault(
                "\(name) cannot be set by a rule: it frames or steers the request, or is Grantee's own; name the header that the API documents")
        }
    }

    private func checkParameter(_ name: Substring) throws(InstructionFault) {
        guard name.utf8.allSatisfy(PathBytes.isUnreserved) else {
            throw InstructionFault("the name of a query parameter is letters, digits, - . _ and ~, one parameter a line: ?access_token=<token>")
        }
    }
}

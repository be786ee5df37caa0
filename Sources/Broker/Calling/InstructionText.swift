import OAuth

/// What stands behind a name in a line of Authentication Instructions.
struct InstructionText {
    let text: Substring
    private let pieces: [Piece]

    private enum Piece {
        case literal(Substring)
        /// Between the brackets.
        case bracketed(Substring)
    }

    init(_ text: Substring) {
        self.text = text
        pieces = Self.pieces(of: text)
    }

    /// `<…>` stands for something where it begins with a letter and is no link.
    private static func pieces(of text: Substring) -> [Piece] {
        var pieces: [Piece] = []
        var rest = text
        while let open = rest.firstIndex(of: "<"), let close = rest[open...].firstIndex(of: ">") {
            // The last bracket before the closing one.
            let start = rest[..<close].lastIndex(of: "<") ?? open
            let inner = rest[rest.index(after: start)..<close]
            let isPlaceholder = inner.first { $0 != " " }?.isLetter == true && !inner.contains("://") && !inner.contains("@")
            if isPlaceholder {
                pieces += [.literal(rest[..<start]), .bracketed(inner)]
            } else {
                pieces.append(.literal(rest[...close]))
            }
            rest = rest[rest.index(after: close)...]
        }
        return pieces + [.literal(rest)]
    }

    var holdsPlaceholder: Bool { pieces.contains { if case .bracketed = $0 { true } else { false } } }

    /// The words outside of brackets.
    var wordCount: Int {
        let literals = pieces.map { if case .literal(let text) = $0 { String(text) } else { " " } }.joined()
        return literals.split(separator: " ").filter { word in
            let core = word.drop { !$0.isLetter }.prefix { $0.isLetter || $0 == "'" || $0 == "\u{2019}" }
            return !core.isEmpty && word.allSatisfy { $0.isLetter || $0.isPunctuation && !"-_/%{}@".contains($0) }
        }.count
    }

    /// A scheme's name and one word more are all that real fields have; what has three is for a reader.
    var readsAsSentence: Bool { wordCount >= 3 }

    // MARK: Template

    /// - Throws: what cannot stand in it.
    func template(in place: Instructions.Rule.Place) throws(InstructionFault) -> InstructionTemplate {
        var parts: [InstructionTemplate.Part] = []
        for piece in pieces {
            switch piece {
            case .literal(let literal) where literal.isEmpty: break
            case .literal(let literal):
                try check(literal, in: place)
                parts.append(.literal(String(literal)))
            case .bracketed(let name): parts.append(.value(try placeholder(name)))
            }
        }
        guard parts.count(where: { $0 == .value(.token) }) <= 1 else { throw InstructionFault("<token> stands twice in it; one field carries the token once") }
        return InstructionTemplate(parts: parts)
    }

    private func check(_ literal: Substring, in place: Instructions.Rule.Place) throws(InstructionFault) {
        guard !literal.contains("<"), !literal.contains(">") else { throw InstructionFault("holds a < or > that belongs to no placeholder") }
        switch place {
        case .header:
            // Formats such as %.1s cut: where nothing reads them they are sent as they are, and that is not meant either.
            guard !literal.contains("%") else { throw InstructionFault("holds a %; the value goes in whole and unchanged, so leave formats out") }
        case .query:
            guard Self.isEncoded(literal) else {
                throw InstructionFault("holds a character that a query value cannot hold unencoded: write a space as %20, and one parameter a line")
            }
        }
    }

    /// RFC 3986 §3.4, without what separates parameters.
    private static func isEncoded(_ literal: Substring) -> Bool {
        var bytes = Array(literal.utf8)[...]
        while let byte = bytes.popFirst() {
            if byte == UInt8(ascii: "%") {
                guard bytes.count >= 2, bytes.prefix(2).allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }) else { return false }
                bytes = bytes.dropFirst(2)
            } else if !PathBytes.isUnreserved(byte), !":@,/!*".utf8.contains(byte) {
                return false
            }
        }
        return true
    }

    private func placeholder(_ name: Substring) throws(InstructionFault) -> InstructionTemplate.Placeholder {
        guard let placeholder = InstructionTemplate.Placeholder(name) else { throw unknown(name) }
        if case .captured(let captured) = placeholder, ["access_token", "refresh_token"].contains(captured.split(separator: ".").last ?? "") {
            throw InstructionFault("<\(captured)> is a secret that is kept apart; the access token is <token>, and no other one is sent")
        }
        return placeholder
    }

    private func unknown(_ name: Substring) -> InstructionFault {
        let start = name.prefix { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "." || $0 == "-" }
        if start.count < name.count, InstructionTemplate.Placeholder(start) != nil {
            return InstructionFault("a placeholder takes no format and cannot be cut: the value goes in whole; write <\(start)>")
        }
        let known = "there are \(InstructionTemplate.Placeholder.known)"
        let ways = "put a fixed value into headers, and write guidance as a sentence"
        let suggestion = Self.suggestion(for: name).map { "write <\($0)>" } ?? ways
        // What is long may be a token that somebody put there.
        let shown = name.utf8.count <= 40 ? "<\(ProviderText.clean(String(name)))>" : "what stands in < >"
        return InstructionFault("\(shown) is no placeholder; \(known); \(suggestion)")
    }

    private static func suggestion(for name: Substring) -> String? {
        let letters = name.lowercased().filter { $0.isASCII && $0.isLetter }
        if letters.contains("refresh") { return nil }
        if ["tokentype", "type", "scheme"].contains(letters) { return "token_type" }
        if ["clientid", "client", "appid", "applicationid", "consumerkey"].contains(letters) { return "client_id" }
        return letters.hasSuffix("token") || ["bearer", "jwt"].contains(letters) ? "token" : nil
    }

    /// Other ways of writing one: taken for guidance, the line would do nothing, and its writer would not know why.
    /// - Throws: what to write instead.
    func refuseForeignPlaceholder() throws(InstructionFault) {
        let lower = text.lowercased()
        let isBraced = ["{", "$", "<"].contains { lower.contains($0) } && lower.contains("token")
        if isBraced || Self.holdsFormat(text) { throw InstructionFault("a placeholder is written in angle brackets: <token>") }
    }

    /// `%s`, `%.1s`, `%1$@`: what printf and its kin replace.
    private static func holdsFormat(_ text: Substring) -> Bool {
        text.split(separator: "%", omittingEmptySubsequences: false).dropFirst().contains { behind in
            let conversion = behind.drop { $0.isNumber || ".$-+ #*".contains($0) }.first
            return conversion.map { "sSdixXcuefg@vq".contains($0) } ?? false
        }
    }
}

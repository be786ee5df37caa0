import OAuth

/// Text for a model: what a person would see of it and nothing else. Control characters, bidi controls, zero-width and other invisible
/// characters are gone. SEC-135.
struct ModelText: Sendable {
    let text: String
    /// How many characters were taken out.
    let removed: Int
    /// Whether there was more than the limit.
    let isCut: Bool

    /// - Parameter limit: bytes of UTF-8; cut between characters.
    init(_ source: String, limit: Int = .max) {
        var text = String.UnicodeScalarView()
        var length = 0
        var removed = 0
        var isGap = false
        var isCut = false
        var previous: Unicode.Scalar?
        for (index, scalar) in source.unicodeScalars.enumerated() {
            defer { previous = scalar }
            let kept: Unicode.Scalar
            switch Self.judge(scalar) {
            case .visible: kept = scalar
            case .lineEnd where scalar == "\n" && previous == "\r": continue
            case .lineEnd: kept = "\n"
            case .hidden:
                // A byte order mark says nothing.
                if index == 0, scalar == "\u{FEFF}" { continue }
                removed += 1
                // Something stays in its place: two halves must not grow together to what was masked when they came. SEC-127.
                if isGap { continue }
                isGap = true
                kept = " "
            }
            if kept != " " || scalar == " " { isGap = false }
            length += UTF8.width(kept)
            guard length <= limit else {
                isCut = true
                break
            }
            text.append(kept)
        }
        self.text = String(text)
        self.removed = removed
        self.isCut = isCut
    }

    private enum Kind { case visible, lineEnd, hidden }

    private static func judge(_ scalar: Unicode.Scalar) -> Kind {
        if (0x20...0x7E).contains(scalar.value) || scalar == "\t" { return .visible }
        if scalar == "\n" || scalar == "\r" { return .lineEnd }
        switch scalar.properties.generalCategory {
        case .lineSeparator, .paragraphSeparator: return .lineEnd
        case .control, .format, .surrogate, .privateUse, .unassigned: return .hidden
        // Variation selectors, fillers, joiners: nothing is drawn for them, and texts have been hidden in them.
        default: return scalar.properties.isDefaultIgnorableCodePoint ? .hidden : .visible
        }
    }
}

extension JSONValue {
    /// The same with every text and every name as a ``ModelText``.
    /// - Parameter removed: grows by what was taken out.
    func forModel(removed: inout Int) -> JSONValue {
        func clean(_ text: String) -> String {
            let clean = ModelText(text)
            removed += clean.removed
            return clean.text
        }
        switch self {
        case .null, .bool, .number: return self
        case .string(let text): return .string(clean(text))
        case .array(let values):
            var cleaned: [JSONValue] = []
            for value in values { cleaned.append(value.forModel(removed: &removed)) }
            return .array(cleaned)
        case .object(let object):
            var members: [(name: String, value: JSONValue)] = []
            for (name, value) in object.members { members.append((clean(name), value.forModel(removed: &removed))) }
            return .object(JSONObject(members))
        }
    }
}

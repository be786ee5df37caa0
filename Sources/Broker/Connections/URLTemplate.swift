import OAuth

/// A URL with `{name}` placeholders, filled from a connection's variables. Filling never changes what surrounds a
/// placeholder: each value was checked against its pattern when it was saved.
struct URLTemplate {
    let text: String
    init(_ text: String) { self.text = text }

    /// The placeholders' names in order; `nil` when a brace stands alone.
    var names: [String]? {
        var names: [String] = []
        var rest = text[...]
        while let open = rest.firstIndex(where: { $0 == "{" || $0 == "}" }) {
            guard rest[open] == "{", let close = rest[open...].firstIndex(of: "}") else { return nil }
            names.append(String(rest[rest.index(after: open)..<close]))
            rest = rest[rest.index(after: close)...]
        }
        return names
    }

    /// - Returns: `nil` when a value is missing.
    func filled(with values: [String: String]) -> String? {
        var result = ""
        var rest = text[...]
        while let open = rest.firstIndex(of: "{"), let close = rest[open...].firstIndex(of: "}") {
            guard let value = values[String(rest[rest.index(after: open)..<close])] else { return nil }
            result += rest[..<open] + value
            rest = rest[rest.index(after: close)...]
        }
        return result + rest
    }
}

/// Whether `text` is one host label: letters, digits and inner hyphens, at most 63.
func isHostLabel(_ text: String) -> Bool {
    let bytes = Array(text.utf8)
    guard (1...63).contains(bytes.count), bytes.first != UInt8(ascii: "-"), bytes.last != UInt8(ascii: "-") else { return false }
    return bytes.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "-"):
            true
        default: false
        }
    }
}

/// Whether the whole of `text` matches `pattern`; `nil` when the pattern is no regular expression.
func wholeMatch(_ text: String, _ pattern: String) -> Bool? {
    guard let regex = try? Regex(pattern) else { return nil }
    return (try? regex.wholeMatch(in: text)) != nil
}

/// The words of a page, without its markup, its script and its style.
struct PageText: Sendable {
    /// What the page calls itself; `nil` when it does not.
    let title: String?
    let words: String

    private static let unread: Set<String> = ["script", "style", "svg", "template"]

    init(_ html: String) {
        let bytes = Array(html.utf8)
        var words: [UInt8] = []
        var title: [UInt8]?
        var isTitle = false
        var index = 0
        while index < bytes.count {
            guard bytes[index] == UInt8(ascii: "<") else {
                if isTitle { title?.append(bytes[index]) } else { words.append(bytes[index]) }
                index += 1
                continue
            }
            let name = Self.name(bytes[(index + 1)...])
            index = (bytes[index...].firstIndex(of: UInt8(ascii: ">")) ?? bytes.count - 1) + 1
            words.append(UInt8(ascii: " "))
            if Self.unread.contains(name) { index = Self.end(of: name, in: bytes, from: index) }
            if name == "title", title == nil {
                title = []
                isTitle = true
            } else if name == "/title" {
                isTitle = false
            }
        }
        self.words = Self.plain(words)
        self.title = title.map(Self.plain).flatMap { $0.isEmpty ? nil : $0 }
    }

    /// Of a tag, in lower case; an end tag's with its slash.
    private static func name(_ tag: ArraySlice<UInt8>) -> String {
        let name = tag.prefix(12).prefix { ($0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x7A) || $0 == UInt8(ascii: "/") }
        return String(decoding: name, as: UTF8.self).lowercased()
    }

    /// Behind the end tag; the end of the page when there is none.
    private static func end(of name: String, in bytes: [UInt8], from start: Int) -> Int {
        var index = start
        while let open = bytes[index...].firstIndex(of: UInt8(ascii: "<")) {
            if Self.name(bytes[(open + 1)...]) == "/" + name { return (bytes[open...].firstIndex(of: UInt8(ascii: ">")) ?? bytes.count - 1) + 1 }
            index = open + 1
        }
        return bytes.count
    }

    private static func plain(_ bytes: [UInt8]) -> String {
        var text = String(decoding: bytes, as: UTF8.self)
        for (name, character) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&#x27;", "'"), ("&nbsp;", " "), ("&amp;", "&")] {
            text = text.replacing(name, with: character)
        }
        return text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }
}

import Foundation
import OAuth

/// A form of a page, as a browser would send it back: what is filled in, ticked and chosen.
struct FormReader {
    private(set) var pairs: [(String, String)] = []

    /// - Returns: `nil` when the page has no such form.
    init?(_ page: String, action: String) {
        guard let start = page.firstRange(of: "<form method=\"post\" action=\"\(action)\"") else { return nil }
        let rest = page[start.upperBound...]
        var form = rest[..<(rest.firstRange(of: "</form>")?.lowerBound ?? rest.endIndex)]
        while let open = form.firstIndex(of: "<") {
            form = form[form.index(after: open)...]
            let tag = form.prefix { $0 != ">" }
            form = form[tag.endIndex...].dropFirst()
            guard let name = Self.attribute("name", of: tag) else { continue }
            if tag.hasPrefix("input") {
                let isChoice = ["radio", "checkbox"].contains(Self.attribute("type", of: tag))
                if !isChoice || tag.hasSuffix(" checked") { pairs.append((name, Self.attribute("value", of: tag) ?? "")) }
            } else if tag.hasPrefix("textarea") {
                pairs.append((name, Self.plain(String(form.prefix { $0 != "<" }))))
            } else if tag.hasPrefix("select") {
                let options = form[..<(form.firstRange(of: "</select>")?.lowerBound ?? form.endIndex)].split(separator: "<option ")
                let chosen = options.first { $0.prefix { $0 != ">" }.hasSuffix(" selected") } ?? options.first
                if let value = chosen.flatMap({ Self.attribute("value", of: $0.prefix { $0 != ">" }) }) { pairs.append((name, value)) }
            }
        }
    }

    /// The first of a name; setting takes the place of all of them, `nil` leaves it out.
    subscript(_ name: String) -> String? {
        get { pairs.first { $0.0 == name }?.1 }
        set {
            pairs.removeAll { $0.0 == name }
            if let newValue { pairs.append((name, newValue)) }
        }
    }

    private static func attribute(_ name: String, of tag: Substring) -> String? {
        guard let found = tag.firstRange(of: " \(name)=\"") else { return nil }
        return plain(String(tag[found.upperBound...].prefix { $0 != "\"" }))
    }

    /// Unit by unit, as a browser reads: to Swift's characters an accent behind `;` belongs to it.
    private static func plain(_ text: String) -> String {
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")].reduce(text) {
            $0.replacingOccurrences(of: $1.0, with: $1.1, options: .literal)
        }
    }
}

/// A page cut into tags and text as a browser cuts it, and strictly: what a browser would mend is a fault here, as our templates need no
/// mending and a planted text may.
struct PageMarkup {
    struct Element {
        let tag: String
        let attributes: [(name: String, value: String)]

        subscript(_ name: String) -> String? { attributes.first { $0.name == name }?.value }
        /// The tag with its attributes' names: `input[name type value]`.
        var kind: String { "\(tag)[\(attributes.map(\.name).sorted().joined(separator: " "))]" }
    }

    private(set) var elements: [Element] = []
    private(set) var faults: [String] = []
    /// What stands between the tags, and in attributes: as a person or a program reads it.
    private(set) var shown = ""
    private var open: [String] = []
    private let bytes: [UInt8]
    private var position = 0

    private static let void: Set = ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"]
    private static let rawText: Set = ["script", "style", "title", "textarea", "iframe", "noscript", "xmp", "plaintext"]

    init(_ page: String) {
        bytes = Array(page.utf8)
        while position < bytes.count { bytes[position] == UInt8(ascii: "<") ? readTag() : readText() }
        if !open.isEmpty { fault("not closed: \(open.joined(separator: " "))") }
    }

    /// How often each kind of element is there.
    var kinds: [String: Int] { elements.reduce(into: [:]) { $0[$1.kind, default: 0] += 1 } }
    /// `a href`: which attribute an element of this tag has somewhere; `a` for one without any.
    var pairs: Set<String> { Set(elements.flatMap { element in [element.tag] + element.attributes.map { "\(element.tag) \($0.name)" } }) }

    /// Whether it is shown; byte by byte, as a mark behind a letter makes another letter of it to Swift.
    func holds(_ text: String) -> Bool { shown.utf8.firstRange(of: text.utf8) != nil }

    // MARK: Reading

    private mutating func fault(_ text: String) {
        let around = bytes[max(0, position - 60)..<min(bytes.count, position + 60)]
        faults.append("\(text), at: \(String(decoding: around, as: UTF8.self))")
    }

    private func stands(_ text: String, at place: Int) -> Bool {
        guard place + text.utf8.count <= bytes.count else { return false }
        return zip(bytes[place...], text.utf8).allSatisfy { Self.lower($0) == $1 }
    }

    private static func lower(_ byte: UInt8) -> UInt8 { (0x41...0x5A).contains(byte) ? byte | 0x20 : byte }
    private static func isName(_ byte: UInt8) -> Bool {
        (0x61...0x7A).contains(lower(byte)) || (0x30...0x39).contains(byte) || byte == UInt8(ascii: "-")
    }
    private static func isSpace(_ byte: UInt8) -> Bool { [0x20, 0x09, 0x0A, 0x0C, 0x0D].contains(byte) }

    private mutating func take(while isWanted: (UInt8) -> Bool) -> String {
        let start = position
        while position < bytes.count, isWanted(bytes[position]) { position += 1 }
        return String(decoding: bytes[start..<position], as: UTF8.self)
    }

    private mutating func readText() { shown += Self.plain(take { $0 != UInt8(ascii: "<") }) }

    private mutating func readTag() {
        if stands("<!doctype html>", at: position), elements.isEmpty {
            position += 15
        } else if stands("</", at: position) {
            position += 2
            let tag = take(while: Self.isName).lowercased()
            if open.last == tag { open.removeLast() } else { fault("</\(tag)> closes \(open.last ?? "nothing")") }
            if position < bytes.count, bytes[position] == UInt8(ascii: ">") { position += 1 } else { fault("something in </\(tag)>") }
        } else if position + 1 < bytes.count, (0x61...0x7A).contains(Self.lower(bytes[position + 1])) {
            position += 1
            readElement()
        } else {
            fault("a bare <")
            position += 1
        }
    }

    private mutating func readElement() {
        let tag = take(while: Self.isName).lowercased()
        var attributes: [(name: String, value: String)] = []
        while position < bytes.count {
            let space = take(while: Self.isSpace)
            guard position < bytes.count else { break }
            if bytes[position] == UInt8(ascii: ">") || stands("/>", at: position) { break }
            let name = take(while: Self.isName).lowercased()
            guard !name.isEmpty, !space.isEmpty else {
                fault("no attribute in <\(tag)>")
                break
            }
            if attributes.contains(where: { $0.name == name }) { fault("\(name) twice in <\(tag)>") }
            attributes.append((name, value(of: name)))
        }
        let isEmpty = position < bytes.count && bytes[position] == UInt8(ascii: "/")
        if isEmpty, !open.contains("svg") { fault("<\(tag)/>") }
        _ = take { $0 != UInt8(ascii: ">") }
        if position < bytes.count { position += 1 } else { fault("<\(tag) without an end") }
        elements.append(Element(tag: tag, attributes: attributes))
        guard !isEmpty, !Self.void.contains(tag) else { return }
        if Self.rawText.contains(tag), !open.contains("svg") { readRaw(tag) } else { open.append(tag) }
    }

    private mutating func value(of name: String) -> String {
        guard position < bytes.count, bytes[position] == UInt8(ascii: "=") else { return "" }
        position += 1
        guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else {
            fault("\(name) without quotes")
            return ""
        }
        position += 1
        let value = Self.plain(take { $0 != UInt8(ascii: "\"") })
        if position < bytes.count { position += 1 } else { fault("\(name) without an end") }
        shown += "\n" + value + "\n"
        return value
    }

    /// Up to its own end tag, whatever stands there.
    private mutating func readRaw(_ tag: String) {
        let start = position
        while position < bytes.count, !stands("</\(tag)>", at: position) { position += 1 }
        shown += Self.plain(String(decoding: bytes[start..<position], as: UTF8.self))
        if position < bytes.count { position += tag.utf8.count + 3 } else { fault("<\(tag)> without an end") }
    }

    /// With the references that are written here in place. By bytes: a combining mark behind one does not hide it.
    private static func plain(_ text: String) -> String {
        let bytes = Array(text.utf8)
        var result: [UInt8] = []
        var index = 0
        let references: [(String, UInt8)] = [("&lt;", 0x3C), ("&gt;", 0x3E), ("&quot;", 0x22), ("&#39;", 0x27), ("&amp;", 0x26)]
        while index < bytes.count {
            if bytes[index] == UInt8(ascii: "&"), let (name, byte) = references.first(where: { bytes[index...].starts(with: $0.0.utf8) }) {
                result.append(byte)
                index += name.utf8.count
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}

extension PageMarkup {
    /// What no page may have, whatever was planted. SEC-102, SEC-104.
    /// - Parameters:
    ///   - origin: this server's own.
    ///   - links: the addresses elsewhere that this page may lead to.
    func violations(at origin: String, links: Set<String> = []) -> [String] {
        var found = faults
        let tags: Set = ["style", "iframe", "frame", "object", "embed", "base", "img", "image", "audio", "video", "template", "noscript", "math", "marquee"]
        let names: Set = ["style", "srcdoc", "formaction", "ping", "srcset", "background", "http-equiv", "manifest", "nonce", "is", "xmlns"]
        for element in elements {
            if tags.contains(element.tag) { found.append("<\(element.tag)>") }
            for attribute in element.attributes where names.contains(attribute.name) || attribute.name.hasPrefix("on") {
                found.append("\(attribute.name) in <\(element.tag)>")
            }
            if element.tag == "script", element.kind != "script[defer src]" || element["src"] != "/assets/console.js" { found.append(element.kind) }
            if element["target"] == "_blank", element["rel"]?.contains("noopener") != true { found.append("a window that knows its opener") }
            for name in ["href", "src", "action", "data", "poster"] {
                guard let address = element[name] else { continue }
                let isOwn = ["/connect/", "/oauth/callback/"].contains { address.hasPrefix(origin + $0) }
                if !Self.isLocal(address), !isOwn, !links.contains(address) { found.append("\(name)=\(address)") }
            }
            if let path = element["data-preview"], path != "/console/preview" { found.append("data-preview=\(path)") }
        }
        return found
    }

    /// A path or a place of this server, to every browser.
    private static func isLocal(_ address: String) -> Bool {
        let bytes = Array(address.utf8)
        guard bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\\") }) else { return false }
        return bytes.first == UInt8(ascii: "#") || bytes.first == UInt8(ascii: "/") && (bytes.count == 1 || bytes[1] != UInt8(ascii: "/"))
    }
}

/// An absolute http or https URL, read by one strict parser, that is sent exactly as it was checked. RFC 3986.
///
/// Refused: userinfo, fragment, empty host, control characters, white space, backslash, percent-encoded host bytes,
/// zone ids, non-ASCII, ports outside 1...65535, broken percent-encoding, and hosts that are numbers in disguise
/// (`2130706433`, `0x7f.1`). A strict dotted-quad IPv4 literal and a bracketed IPv6 literal are hosts.
public struct EndpointURL: Sendable, Hashable, CustomStringConvertible {
    public enum Scheme: String, Sendable, Hashable { case http, https }

    public static let maximumLength = 8192

    public let scheme: Scheme
    /// Lower-case; an IPv6 literal without its brackets.
    public let host: String
    /// `nil` when the URL names none.
    public let port: Int?
    /// Begins with `/`; the URL's own bytes, nothing decoded. Never empty.
    public let path: String
    /// Without the `?`; `nil` when there is no `?`.
    public let query: String?

    /// - Throws: ``EndpointURLError`` saying which part is wrong.
    public init(_ text: String) throws(EndpointURLError) {
        let bytes = Array(text.utf8)
        guard !bytes.isEmpty else { throw EndpointURLError("is empty") }
        guard bytes.count <= Self.maximumLength else { throw EndpointURLError("is longer than \(Self.maximumLength) bytes") }
        for byte in bytes {
            guard byte > 0x20, byte < 0x7F else { throw EndpointURLError("holds white space, a control character or a character outside ASCII") }
            guard !#""<>\^`{|}"#.utf8.contains(byte) else { throw EndpointURLError("holds a character that no URL may hold unencoded") }
        }
        let lower = text.lowercased()
        let rest: Substring
        if lower.hasPrefix("https://") {
            scheme = .https
            rest = text.dropFirst(8)
        } else if lower.hasPrefix("http://") {
            scheme = .http
            rest = text.dropFirst(7)
        } else {
            throw EndpointURLError("must begin with https:// (or http://)")
        }
        guard !rest.contains("#") else { throw EndpointURLError("must not have a fragment (#)") }
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        (host, port) = try Self.hostAndPort(rest[..<end])
        let target = rest[end...]
        let question = target.firstIndex(of: "?")
        let rawPath = target[..<(question ?? target.endIndex)]
        path = rawPath.isEmpty ? "/" : String(rawPath)
        query = question.map { String(target[target.index(after: $0)...]) }
        guard Self.isPercentEncoded(target) else { throw EndpointURLError("holds a percent sign that is not followed by two hex digits") }
        // RFC 3986 has them in hosts only, and a library that mends them mends the escapes beside them too.
        guard !target.contains("["), !target.contains("]") else { throw EndpointURLError("holds a bracket outside the host; write %5B and %5D") }
    }

    private static func hostAndPort(_ authority: Substring) throws(EndpointURLError) -> (String, Int?) {
        guard !authority.contains("@") else { throw EndpointURLError("must not hold a user name (@)") }
        guard !authority.contains("%") else { throw EndpointURLError("the host must not be percent-encoded") }
        let hostText: Substring
        let portText: Substring?
        let isLiteral = authority.hasPrefix("[")
        if isLiteral {
            guard let close = authority.firstIndex(of: "]") else { throw EndpointURLError("the IPv6 literal has no closing bracket") }
            hostText = authority[authority.index(after: authority.startIndex)..<close]
            let after = authority[authority.index(after: close)...]
            guard after.isEmpty || after.hasPrefix(":") else { throw EndpointURLError("something stands behind the IPv6 literal") }
            portText = after.isEmpty ? nil : after.dropFirst()
        } else {
            let parts = authority.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            hostText = parts[0]
            portText = parts.count > 1 ? parts[1] : nil
        }
        let host = hostText.lowercased()
        guard !host.isEmpty else { throw EndpointURLError("has no host") }
        if isLiteral {
            guard let literal = IPLiteral(host), !literal.isIPv4 else { throw EndpointURLError("the IPv6 literal is not one") }
        } else {
            try checkName(host)
        }
        guard let portText else { return (host, nil) }
        guard (1...5).contains(portText.utf8.count), portText.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            portText.utf8.first != UInt8(ascii: "0"), let port = Int(portText), (1...65_535).contains(port)
        else { throw EndpointURLError("the port must be 1 to 65535") }
        return (host, port)
    }

    /// A DNS name, or a strict dotted quad. A last label that is a number would be taken for an address by libc.
    private static func checkName(_ host: String) throws(EndpointURLError) {
        if IPLiteral.ipv4(host[...]) != nil { return }
        guard host.utf8.count <= 253 else { throw EndpointURLError("the host is longer than 253 characters") }
        let name = host.hasSuffix(".") ? host.dropLast() : host[...]
        let labels = name.split(separator: ".", omittingEmptySubsequences: false)
        for label in labels {
            guard (1...63).contains(label.utf8.count), label.utf8.first != UInt8(ascii: "-"), label.utf8.last != UInt8(ascii: "-"),
                label.utf8.allSatisfy({
                    (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_")
                })
            else { throw EndpointURLError("the host is not a name: labels of letters, digits and inner hyphens") }
        }
        let last = labels.last ?? ""
        let isNumber = last.utf8.allSatisfy { (0x30...0x39).contains($0) }
        let isHex = last.hasPrefix("0x") && last.dropFirst(2).utf8.allSatisfy { Form.hexValue($0) != nil }
        guard !isNumber, !isHex else { throw EndpointURLError("the host is a number; write an IPv4 address as four decimal numbers") }
    }

    private static func isPercentEncoded(_ text: Substring) -> Bool {
        var iterator = text.utf8.makeIterator()
        while let byte = iterator.next() {
            guard byte == UInt8(ascii: "%") else { continue }
            guard iterator.next().flatMap(Form.hexValue) != nil, iterator.next().flatMap(Form.hexValue) != nil else { return false }
        }
        return true
    }

    public var defaultPort: Int { scheme == .https ? 443 : 80 }
    public var effectivePort: Int { port ?? defaultPort }
    /// `host[:port]` as it stands in the `Host` field, brackets included.
    public var authority: String { hostText + (port.map { ":\($0)" } ?? "") }
    /// `scheme://host[:port]`, default ports left out: what browsers call the origin.
    public var origin: String { scheme.rawValue + "://" + hostText + (effectivePort == defaultPort ? "" : ":\(effectivePort)") }
    /// The path with its query: the request target.
    public var target: String { query.map { path + "?" + $0 } ?? path }
    public var description: String { scheme.rawValue + "://" + authority + target }
    /// Whether the host is `localhost` or a loopback literal.
    public var isLoopback: Bool {
        if host == "localhost" || host == "::1" { return true }
        return IPLiteral.ipv4(host[...])?.first == 127
    }

    private var hostText: String { host.contains(":") ? "[\(host)]" : host }

    /// The same URL with `pairs` appended to its query, form-encoded. RFC 6749 §3.1.
    public func appending(_ pairs: [(String, String)]) -> String {
        scheme.rawValue + "://" + authority + path + "?" + Self.joined(query, Form.serialize(pairs))
    }

    static func joined(_ query: String?, _ added: String) -> String {
        guard let query, !query.isEmpty else { return added }
        if added.isEmpty { return query }
        return query.hasSuffix("&") ? query + added : query + "&" + added
    }
}

public struct EndpointURLError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What is wrong and what would be right, in words fit to show. Never the URL itself.
    public let description: String
    package init(_ description: String) { self.description = description }
}

/// An absolute http or https URL, read by one strict parser, that is sent exactly as it was checked. RFC 3986, SEC-68.
///
/// Refused: userinfo, fragment, empty host, control characters, white space, backslash, percent-encoded host bytes,
/// zone ids, non-ASCII, ports outside 1...65535, and hosts that are numbers in disguise (`2130706433`, `0x7f.1`).
/// A strict dotted-quad IPv4 literal and a bracketed IPv6 literal are hosts.
public struct EndpointURL: Sendable, Hashable, CustomStringConvertible {
    public enum Scheme: String, Sendable, Hashable { case http, https }

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
    public init(_ text: String) throws(EndpointURLError) { fatalError("stub") }

    public var defaultPort: Int { scheme == .https ? 443 : 80 }
    public var effectivePort: Int { port ?? defaultPort }
    /// `host[:port]` as it stands in the `Host` field, brackets included.
    public var authority: String { fatalError("stub") }
    /// `scheme://host[:port]`, default ports left out: what browsers call the origin.
    public var origin: String { fatalError("stub") }
    /// The path with its query: the request target.
    public var target: String { query.map { path + "?" + $0 } ?? path }
    public var description: String { fatalError("stub") }
    /// Whether the host is `localhost` or a loopback literal.
    public var isLoopback: Bool { fatalError("stub") }

    /// The same URL with `pairs` appended to its query, form-encoded, none twice. RFC 6749 §3.1.
    public func appending(_ pairs: [(String, String)]) -> String { fatalError("stub") }
}

public struct EndpointURLError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What is wrong and what would be right, in words fit to show. Never the URL itself.
    public let description: String
    package init(_ description: String) { self.description = description }
}

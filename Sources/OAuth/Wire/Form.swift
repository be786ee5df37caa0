/// `application/x-www-form-urlencoded`, RFC 6749 Appendix B.
public enum Form {
    /// `A-Z a-z 0-9 - . _ ~` stay, space becomes `+`, every other byte `%HH` in upper case.
    public static func encode(_ text: String) -> String { fatalError("stub") }
    /// Pairs joined by `&`, name and value by `=`.
    public static func serialize(_ pairs: [(String, String)]) -> String { fatalError("stub") }
    /// Strict: every `%` is followed by two hex digits, the result is UTF-8; empty pairs are skipped; order kept.
    public static func parse(_ bytes: some Collection<UInt8>) throws(FormError) -> [(name: String, value: String)] { fatalError("stub") }
}

public struct FormError: Error, Sendable, Hashable, CustomStringConvertible {
    public let description: String
    package init(_ description: String) { self.description = description }
}

import HTTPTypes

/// A page of this console, as a query or a form may name it: nothing that a browser would read as another place.
struct ConsolePath: Sendable, Hashable {
    static let home = ConsolePath(unchecked: "/console")

    /// Path and query.
    let text: String

    private init(unchecked text: String) { self.text = text }

    /// `nil` for whatever else: another host, another part of this server, a path with a way up in it, signing in and out.
    init?(_ text: String) {
        let path = text.prefix { $0 != "?" }
        guard text.utf8.count <= 2048, text.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "\\") && $0 != UInt8(ascii: "#") }),
            path == "/console" || path.hasPrefix("/console/")
        else { return nil }
        let segments = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        for segment in segments {
            guard let decoded = PercentEncoding.decode(segment), !decoded.isEmpty, decoded != ".", decoded != ".." else { return nil }
        }
        guard segments.dropFirst().first.map({ $0 != "sign-in" && $0 != "sign-out" }) ?? true else { return nil }
        self.text = text
    }

    /// Without its query.
    var path: Substring { text.prefix { $0 != "?" } }

    /// The page where a form stands that is sent to this path: itself, or the first above it that can be looked at.
    func page(in routes: RouteTable) -> ConsolePath {
        if case .found = routes.match(.get, path) { return self }
        var path = path
        while let slash = path.lastIndex(of: "/"), slash != path.startIndex {
            path = path[..<slash]
            if case .found = routes.match(.get, path) { return ConsolePath(unchecked: String(path)) }
        }
        return .home
    }
}

import OAuth

/// How two URLs differ that a provider compares byte for byte.
enum URLDifference {
    /// - Returns: in words, what is different in `theirs`; `nil` when nothing is.
    static func words(ours: String, theirs: String) -> String? {
        if sameBytes(ours, theirs) { return nil }
        guard let a = try? EndpointURL(ours), let b = try? EndpointURL(theirs) else { return "it is another text" }
        if a.scheme != b.scheme { return "it begins with \(b.scheme.rawValue), ours with \(a.scheme.rawValue)" }
        if a.host != b.host { return "its host is \(b.host), ours is \(a.host)" }
        if a.effectivePort != b.effectivePort { return "its port is \(b.effectivePort), ours is \(a.effectivePort)" }
        if a.path + "/" == b.path { return "it ends with a slash, ours does not" }
        if a.path == b.path + "/" { return "ours ends with a slash, it does not" }
        if a.path.lowercased() == b.path.lowercased(), a.path != b.path { return "upper and lower case differ in its path" }
        if a.path != b.path { return "its path is \(b.path), ours is \(a.path)" }
        if a.query != b.query { return "its query is another" }
        return "it is spelled otherwise (case of the host, or a port that could be left out)"
    }
}

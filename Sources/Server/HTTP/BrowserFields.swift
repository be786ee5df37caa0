import HTTPTypes

/// What a browser is told with every answer that it may come to show. Pages say it in their own words; this is for redirects, files and
/// errors. SEC-102, SEC-103.
enum BrowserFields {
    /// Nothing of it runs, nothing is fetched for it, nothing frames it.
    static let policy = "default-src 'none'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"

    /// Adds what is not there.
    static func complete(_ fields: inout HTTPFields, at path: Substring) {
        if fields[.contentSecurityPolicy] == nil { fields[.contentSecurityPolicy] = policy }
        if fields[.referrerPolicy] == nil { fields[.referrerPolicy] = "same-origin" }
        // A window that an application opened for a connect page tells it when it is closed.
        if fields[.crossOriginOpenerPolicy] == nil { fields[.crossOriginOpenerPolicy] = isOfEndUsers(path) ? "unsafe-none" : "same-origin" }
    }

    static func isOfConsole(_ path: Substring) -> Bool { path.utf8.elementsEqual("/console".utf8) || path.utf8.starts(with: "/console/".utf8) }

    private static func isOfEndUsers(_ path: Substring) -> Bool {
        path.utf8.starts(with: "/connect/".utf8) || path.utf8.starts(with: "/oauth/callback/".utf8)
    }
}

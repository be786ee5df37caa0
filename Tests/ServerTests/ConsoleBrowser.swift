import HTTPTypes
import OAuth
import RehearsalProvider
import TestSupport
import Testing

/// A person's browser at the console: keeps the cookie, sends forms as a browser does, follows no redirect.
struct ConsoleBrowser: Sendable {
    let server: RunningServer
    private let visitor = Visitor()

    init(_ server: RunningServer) { self.server = server }

    /// One that is signed in.
    static func signedIn(_ server: RunningServer, key: String? = nil, sourceLocation: SourceLocation = #_sourceLocation) async throws -> ConsoleBrowser {
        let browser = ConsoleBrowser(server)
        let page = try await browser.post("/console/sign-in", [("key", key ?? server.adminKey)])
        #expect(page.status == 303, "\(page.body)", sourceLocation: sourceLocation)
        return browser
    }

    func get(_ path: String, _ headers: HTTPFields = [:]) async throws -> Visitor.Page {
        try await visitor.request(.get, server.url + path, headers: headers)
    }

    /// As from a page of the console; without a session's token.
    func post(_ path: String, _ form: [(String, String)], _ headers: HTTPFields = [:]) async throws -> Visitor.Page {
        var fields: HTTPFields = [.origin: server.url, .named("Sec-Fetch-Site"): "same-origin"]
        for field in headers { fields[field.name] = field.value }
        return try await visitor.request(.post, server.url + path, form: form, headers: fields)
    }

    /// A form of a page: with this session's token, and a name of its own.
    func submit(_ path: String, _ form: [(String, String)] = [], sourceLocation: SourceLocation = #_sourceLocation) async throws -> Visitor.Page {
        try await post(path, form + [("csrf", try await csrf(sourceLocation: sourceLocation)), ("form", Entropy.system.token(bytes: 12))])
    }

    /// What every page of this session has in its forms.
    func csrf(sourceLocation: SourceLocation = #_sourceLocation) async throws -> String {
        let page = try await get("/console/settings")
        return try #require(page.field("csrf"), "\(page.status) \(page.body)", sourceLocation: sourceLocation)
    }

    /// Where a redirect leads, without the host.
    static func path(_ page: Visitor.Page, at server: RunningServer) -> String? {
        page.headers[.location].flatMap { $0.hasPrefix(server.url + "/") ? String($0.dropFirst(server.url.count)) : nil }
    }

    /// `NAME=VALUE` of the cookie that an answer sets.
    static func cookie(_ page: Visitor.Page) -> String? { page.headers[.setCookie].map { String($0.prefix { $0 != ";" }) } }
}

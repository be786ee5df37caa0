import HTTPTypes
import OAuth
import RehearsalProvider
import Server
import TestSupport
import Testing

/// A server and a rehearsal provider, both fresh, and the steps that most tests take.
struct Stage: Sendable {
    let server: RunningServer
    let provider: RunningProvider

    static func with<R: Sendable>(
        _ change: (inout ServerConfiguration) -> Void = { _ in }, _ body: (Stage) async throws -> R
    ) async throws -> R {
        try await RunningProvider.with { provider in
            try await RunningServer.with(change) { server in
                try await body(Stage(server: server, provider: provider))
            }
        }
    }

    // MARK: Connections and grants

    @discardableResult
    func add(_ document: JSONValue, sourceLocation: SourceLocation = #_sourceLocation) async throws -> RunningServer.Answer {
        let answer = try await server.send(.post, "/v1/connections", body: document)
        #expect(answer.status == 201, "\(answer.text)", sourceLocation: sourceLocation)
        return answer
    }

    func token(_ id: String, _ query: String = "", key: RunningServer.Key = .admin) async throws -> RunningServer.Answer {
        try await server.send(.get, "/v1/connections/\(id)/token" + (query.isEmpty ? "" : "?" + query), key: key)
    }

    func grant(_ id: String, _ subject: String = "-") async throws -> RunningServer.Answer {
        try await server.send(.get, "/v1/connections/\(id)/grants/\(subject)")
    }

    func refresh(_ id: String, _ subject: String = "-") async throws -> RunningServer.Answer {
        try await server.send(.post, "/v1/connections/\(id)/grants/\(subject)/refresh")
    }

    func revoke(_ id: String, _ subject: String = "-") async throws -> RunningServer.Answer {
        try await server.send(.delete, "/v1/connections/\(id)/grants/\(subject)")
    }

    @discardableResult
    func put(_ id: String, _ subject: String = "-", _ tokens: JSONValue) async throws -> RunningServer.Answer {
        try await server.send(.put, "/v1/connections/\(id)/grants/\(subject)", body: tokens)
    }

    func health(_ id: String) async throws -> String? {
        try await server.send(.get, "/v1/connections/\(id)")["health"]?["state"]?.string
    }

    /// What the client is to see next.
    func faults(_ client: String, _ faults: JSONValue...) async throws {
        try await provider.client(["id": .string(client), "faults": .array(faults)])
    }

    /// Who the sample API takes the token for; `nil` when it does not take it.
    func whoami(_ answer: RunningServer.Answer) async throws -> String? {
        let token = answer["access_token"]?.string ?? ""
        let page = try await Visitor().request(.get, provider.url + "/api/me", headers: [.authorization: "Bearer \(token)"])
        return page.status == 200 ? try JSONValue(parsing: Array(page.body.utf8))["sub"]?.string : nil
    }

    // MARK: Connecting

    struct Link: Sendable {
        let session: String
        let url: String
        /// The last segment of the link.
        var ticket: String { String(url.split(separator: "/").last ?? "") }
    }

    func begin(
        _ id: String, _ options: JSONObject = [:], key: RunningServer.Key = .admin, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Link {
        let answer = try await server.send(.post, "/v1/connections/\(id)/connect", body: .object(options), key: key)
        #expect(answer.status == 201, "\(answer.text)", sourceLocation: sourceLocation)
        return Link(
            session: try #require(answer["session"]?.string, sourceLocation: sourceLocation),
            url: try #require(answer["connect_url"]?.string, sourceLocation: sourceLocation))
    }

    func session(_ link: Link) async throws -> RunningServer.Answer {
        try await server.send(.get, "/v1/connect-sessions/\(link.session)")
    }

    /// Through link, provider and callback, with the grant as the outcome.
    func connect(_ id: String, _ options: JSONObject = [:], sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let link = try await begin(id, options, sourceLocation: sourceLocation)
        _ = try await Visitor().connect(link.url)
        let ended = try await session(link)
        #expect(ended["state"]?.string == "connected", "\(ended.text)", sourceLocation: sourceLocation)
    }

    /// From the link to the provider.
    /// - Returns: the authorization request.
    func leave(_ link: Link, by visitor: Visitor) async throws -> String {
        let page = try await visitor.open(link.url)
        let target = try #require(page.link(to: "/connect/"), "\(page.status) \(page.body)")
        let left = try await visitor.request(.get, try Visitor.resolve(target, from: page.url))
        return try #require(left.headers[.location], "\(left.status) \(left.body)")
    }

    /// The person's answer at the provider.
    /// - Returns: the callback URL that the browser is sent to.
    func consent(to url: String, by visitor: Visitor, approve: Bool = true, username: String = "alice") async throws -> String {
        let page = try await visitor.open(url)
        let back = try await visitor.answerConsent(page, approve: approve, username: username)
        return try #require(back.headers[.location], "\(back.status) \(back.body)")
    }
}

/// A route's pattern with something in each place.
func filled(_ pattern: String) -> String {
    pattern.split(separator: "/", omittingEmptySubsequences: false).map { $0.hasPrefix("{") ? "zz9" : String($0) }.joined(separator: "/")
}

/// The parameters of a URL's query.
func parameters(of url: String) throws -> [String: String] {
    let query = url.split(separator: "?", maxSplits: 1).dropFirst().first ?? ""
    return Dictionary(try Form.parse(query.utf8).map { ($0.name, $0.value) }) { first, _ in first }
}

extension RunningServer.Answer {
    /// Whether it is a problem of this code, in the documented shape.
    func isProblem(_ code: String, _ status: Int) -> Bool {
        guard self.status == status, headers[.contentType] == "application/problem+json", self.code == code else { return false }
        guard string("type") == "urn:grantee:problem:" + code, self["status"]?.integer == status else { return false }
        return !string("title").isEmpty && !string("detail").isEmpty
    }

    /// The text of a member; empty when there is none.
    func string(_ name: String) -> String { self[name]?.string ?? "" }
    func texts(_ name: String) -> [String]? { self[name]?.array?.compactMap(\.string) }
    /// A member of each item of a list.
    func items(_ name: String) -> [String] { (self["items"]?.array ?? []).compactMap { $0[name]?.string } }
}

extension HTTPField.Name {
    static func named(_ text: String) -> HTTPField.Name { HTTPField.Name(text)! }
}

import Foundation
import HTTPTypes
import OAuth
import RehearsalProvider
import Server
import TestSupport
import Testing

/// An authorization server that nobody here wrote, started by `Servers/peers.sh`, with a scripted person at it.
struct Peer: Sendable, CustomTestStringConvertible {
    let name: String
    let file: String
    private let document: JSONValue

    /// The servers that GRANTEE_TEST_PEERS names: paths of their descriptions with `:` between.
    static let all: [Peer] = (ProcessInfo.processInfo.environment["GRANTEE_TEST_PEERS"] ?? "").split(separator: ":").map { path in
        guard let data = FileManager.default.contents(atPath: String(path)), let document = try? JSONValue(parsing: data) else {
            preconditionFailure("GRANTEE_TEST_PEERS names \(path), which describes no server")
        }
        return Peer(name: document["name"]?.string ?? "", file: String(path), document: document)
    }

    var testDescription: String { name }
    var isGlewlwyd: Bool { name.lowercased().contains("glewlwyd") }
    var scopes: [String] { (document["scopes"]?.array ?? []).compactMap(\.string) }
    /// The callback URL that its clients have registered: of the connection `code` on a server at that port.
    var callbackURL: String { document["redirect_uris"]?.array?.first?.string ?? "" }
    var port: Int { (try? EndpointURL(callbackURL))?.port ?? 0 }

    subscript(_ name: String) -> String { document[name]?.string ?? "" }

    enum ClientKind: String, Sendable {
        case confidential
        case confidentialPost = "confidential_post"
        case `public`
    }

    /// How each kind proves itself.
    static func authentication(_ kind: ClientKind) -> String {
        switch kind {
        case .confidential: "client_secret_basic"
        case .confidentialPost: "client_secret_post"
        case .public: "none"
        }
    }

    /// A connection to it, as the API takes it.
    func connection(_ grantType: String, client kind: ClientKind, oauth extra: JSONObject = [:]) -> JSONValue {
        let client = document["clients"]?[kind.rawValue] ?? .null
        var oauth: JSONObject = [
            "grant_type": .string(grantType), "token_url": .string(self["token_endpoint"]), "revocation_url": .string(self["revocation_endpoint"]),
            "client_id": client["client_id"] ?? "", "client_authentication": .string(Self.authentication(kind)),
            "scopes": .array(scopes.prefix(1).map(JSONValue.string)),
        ]
        if let issuer = document["issuer"]?.string { oauth["issuer"] = .string(issuer) }
        if let secret = client["client_secret"] { oauth["client_secret"] = secret }
        if grantType == "authorization_code" { oauth["authorization_url"] = .string(self["authorization_endpoint"]) }
        for member in extra.members { oauth[member.name] = member.value }
        return ["id": "code", "name": .string(name), "oauth": .object(oauth)]
    }

    struct Approval: Sendable {
        /// 0: sent back to `url`; 1: an error page; 3: left on the server's own pages.
        let status: Int32
        let url: String
    }

    /// A person signs in and allows (or denies).
    func approve(_ authorizationURL: String, deny: Bool = false) async throws -> Approval {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
        let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Servers/approve.py")
        let outcome = await
            (try Program("/usr/bin/env", ["python3", script.path, file, authorizationURL] + (deny ? ["--deny"] : []), environment: ["PATH": path])).outcome()
        return Approval(status: outcome.status, url: outcome.output.trimmingCharacters(in: .whitespacesAndNewlines))
    }
}

/// One browser's trip from a connect link to the provider.
struct PeerTrip {
    let server: RunningServer
    let session: String
    let visitor: Visitor
    /// Where the connect page sends the browser.
    let authorizationURL: String

    init(_ server: RunningServer, subject: String = "user-1") async throws {
        self.server = server
        let begun = try await server.send(.post, "/v1/connections/code/connect", body: ["subject": .string(subject)])
        guard let link = begun["connect_url"]?.string, let session = begun["session"]?.string else { throw PeerError("no link: \(begun.text)") }
        self.session = session
        visitor = Visitor()
        let page = try await visitor.open(link)
        guard let next = page.link(to: "/connect/") else { throw PeerError("no way on from the connect page: \(page.body)") }
        let redirect = try await visitor.request(.get, try Visitor.resolve(next, from: page.url))
        authorizationURL = redirect.headers[.location] ?? ""
    }

    /// Comes back, and says how the session ended.
    func finish(_ callbackURL: String) async throws -> JSONValue {
        _ = try await visitor.open(callbackURL)
        return try await server.send(.get, "/v1/connect-sessions/\(session)").json
    }
}

struct PeerError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

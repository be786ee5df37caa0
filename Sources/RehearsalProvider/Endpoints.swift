import Foundation
import HTTPTypes
import Hummingbird
import Mustache
import NIOCore
import OAuth
import Synchronization

/// The provider over HTTP: one switch, one screen.
struct Endpoints: HTTPResponder {
    typealias Context = BasicRequestContext

    let authority: Authority
    let issuer: String
    let isControllable: Bool
    let pages: Pages

    func respond(to request: Request, context: BasicRequestContext) async throws -> Response {
        let path = request.uri.path
        let method = request.method
        switch (method, path) {
        case (.get, "/"): return pages.home(issuer: issuer)
        case (.get, "/style.css"): return pages.style()
        case (.get, "/.well-known/oauth-authorization-server"), (.get, "/.well-known/openid-configuration"): return response(.json(200, metadata))
        case (.get, "/jwks"): return response(.json(200, authority.signer.keySet))
        case (.get, "/authorize"): return authorize(request)
        case (.post, "/authorize"): return try await decide(request)
        case (.post, "/token"):
            let form = try await form(request)
            return response(await authority.tokenEndpoint(form: form, authorization: request.headers[.authorization], issuer: issuer))
        case (.post, "/revoke"): return response(authority.revocationEndpoint(form: try await form(request), authorization: request.headers[.authorization]))
        case (.post, "/introspect"):
            return response(authority.introspectionEndpoint(form: try await form(request), authorization: request.headers[.authorization]))
        case (.get, "/userinfo"), (_, "/api/me"):
            return api(request) {
                [
                    "sub": .string($0.user.map { "user-\($0)" } ?? $0.clientID), "client_id": .string($0.clientID),
                    "scope": .array($0.scopes.map(JSONValue.string)),
                ]
            }
        case (_, "/api/echo"): return try await echo(request)
        case (.get, "/api/admin"):
            return response(.json(403, ["error": "insufficient_scope"], fields: ["WWW-Authenticate": "Bearer error=\"insufficient_scope\", scope=\"admin\""]))
        default:
            if path.hasPrefix("/_rehearsal/"), isControllable { return try await control(method, path, request) }
            return response(.json(404, ["error": "not_found"]))
        }
    }

    private var metadata: JSONValue {
        [
            "issuer": .string(issuer), "authorization_endpoint": .string(issuer + "/authorize"), "token_endpoint": .string(issuer + "/token"),
            "revocation_endpoint": .string(issuer + "/revoke"), "introspection_endpoint": .string(issuer + "/introspect"),
            "userinfo_endpoint": .string(issuer + "/userinfo"),
            "jwks_uri": .string(issuer + "/jwks"), "scopes_supported": ["read", "write", "openid", "profile", "offline_access"],
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "client_credentials", "password", "refresh_token"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "code_challenge_methods_supported": ["S256", "plain"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"], "authorization_response_iss_parameter_supported": true,
        ]
    }

    // MARK: Login and consent

    private static let loginCookie = "rehearsal-login"

    private func authorize(_ request: Request) -> Response {
        switch authority.ask(request.uri.query ?? "", issuer: issuer) {
        case .page(let text): return pages.refusal(text)
        case .redirect(let url): return response(.redirect(302, url))
        case .question(let id, let question, let client):
            let user = (request.cookies[Self.loginCookie]?.value).flatMap { login in authority.state.withLock { $0.logins[login] } }
            return pages.consent(id: id, question, client: client, signedInAs: user, error: nil)
        }
    }

    private func decide(_ request: Request) async throws -> Response {
        let login = request.cookies[Self.loginCookie]?.value
        let form = try await form(request)
        let id = form["request"] ?? ""
        switch authority.answer(
            id, approve: form["decision"] == "approve", username: form["username"], password: form["password"], login: login, issuer: issuer)
        {
        case .unknown: return pages.refusal("This request is not known, or was answered already.")
        case .wrongPassword(let question, let client):
            return pages.consent(id: id, question, client: client, signedInAs: nil, error: "User name or password is wrong.")
        case .redirect(let url, let login):
            return response(
                .redirect(303, url, fields: login.map { ["Set-Cookie": "\(Self.loginCookie)=\($0); Path=/authorize; HttpOnly; SameSite=Lax"] } ?? [:]))
        }
    }

    // MARK: Sample API

    private func bearer(_ request: Request) -> Authority.Access? {
        guard let text = request.headers[.authorization], text.lowercased().hasPrefix("bearer ") else { return nil }
        return authority.access(String(text.dropFirst(7)))
    }

    private func api(_ request: Request, _ answer: (Authority.Access) -> JSONValue) -> Response {
        guard let access = bearer(request) else {
            let error = request.headers[.authorization] == nil ? "" : ", error=\"invalid_token\""
            return response(.json(401, ["error": "invalid_token"], fields: ["WWW-Authenticate": "Bearer realm=\"rehearsal\"" + error]))
        }
        return response(.json(200, answer(access)))
    }

    /// What arrived: for trying out how requests are made.
    private func echo(_ request: Request) async throws -> Response {
        let body = try await request.body.collect(upTo: 1 << 20)
        return api(request) { _ in
            .object([
                "method": .string(request.method.rawValue), "path": .string(request.uri.path), "query": .string(request.uri.query ?? ""),
                "headers": .object(
                    JSONObject(request.headers.filter { $0.name != .authorization }.map { (name: $0.name.canonicalName, value: .string($0.value)) })),
                "body": .string(String(buffer: body)),
            ])
        }
    }

    // MARK: Control

    private func control(_ method: HTTPRequest.Method, _ path: String, _ request: Request) async throws -> Response {
        do {
            switch (method, path) {
            case (.get, "/_rehearsal/log"): return response(.json(200, ["items": .array(authority.state.withLock(\.seen).map(Self.json))]))
            case (.post, "/_rehearsal/reset"):
                authority.reset()
                return response(.json(200, [:]))
            case (.post, "/_rehearsal/clients"): return try await change(nil, request)
            case (.post, _) where path.hasPrefix(Self.clients): return try await change(String(path.dropFirst(Self.clients.count)), request)
            case (.get, _) where path.hasPrefix(Self.clients): return try show(String(path.dropFirst(Self.clients.count)))
            default: return response(.json(404, ["error": "not_found"]))
            }
        } catch let error as RehearsalError {
            return response(.json(400, ["error": "invalid_request", "error_description": .string(error.description)]))
        }
    }

    private static let clients = "/_rehearsal/clients/"

    /// A client as it is now, and what it has asked for.
    private func show(_ id: String) throws(RehearsalError) -> Response {
        let (client, counts) = authority.state.withLock { ($0.clients[id], $0.counts[id] ?? Authority.Counts()) }
        guard let client, var object = client.json.object else { throw RehearsalError("there is no such client") }
        object["token_requests"] = [
            "count": .number(JSONNumber(counts.requests)), "rate_limited": .number(JSONNumber(counts.rateLimited)),
            "under_way": .number(JSONNumber(counts.underWay)),
        ]
        return response(.json(200, .object(object)))
    }

    private func change(_ id: String?, _ request: Request) async throws -> Response {
        let body = try await request.body.collect(upTo: 4 << 20)
        guard let object = try? JSONValue(parsing: body.readableBytesView).object else { throw RehearsalError("the body must be a JSON object") }
        guard let name = id ?? object["id"]?.string, !name.isEmpty else { throw RehearsalError("id is required") }
        var client = authority.client(name) ?? RehearsalClient(id: name, secret: object["secret"]?.string)
        if id != nil, authority.client(name) == nil { throw RehearsalError("there is no such client") }
        try client.apply(object)
        let changed = client
        authority.state.withLock { $0.clients[changed.id] = changed }
        return response(.json(200, changed.json))
    }

    private static func json(_ seen: Authority.Seen) -> JSONValue {
        [
            "method": .string(seen.method), "path": .string(seen.path), "client": seen.client.map(JSONValue.string) ?? .null,
            "grant_type": seen.grantType.map(JSONValue.string) ?? .null, "parameters": .array(seen.parameters.map(JSONValue.string)),
            "client_authentication": seen.authentication.map(JSONValue.string) ?? .null, "rate_limited": .bool(seen.isRateLimited),
        ]
    }

    // MARK: HTTP

    private func form(_ request: Request) async throws -> [String: String] {
        let body = try await request.body.collect(upTo: 1 << 20)
        let pairs = (try? Form.parse(body.readableBytesView)) ?? []
        return Dictionary(pairs.map { ($0.name, $0.value) }) { first, _ in first }
    }

    private func response(_ reply: Reply) -> Response {
        switch reply {
        case .json(let status, let value, let fields):
            return make(status, ByteBuffer(bytes: value.serialized()), type: "application/json", fields: fields)
        case .text(let status, let text, let type, let fields): return make(status, ByteBuffer(string: text), type: type, fields: fields)
        case .redirect(let status, let url, let fields):
            return make(status, ByteBuffer(), type: "text/plain", fields: fields.merging(["Location": url]) { $1 })
        case .drop:
            return Response(status: .ok, headers: [.contentType: "application/json"], body: ResponseBody(contentLength: 100) { _ in throw Dropped() })
        }
    }

    private func make(_ status: Int, _ body: ByteBuffer, type: String, fields: [String: String]) -> Response {
        var headers: HTTPFields = [.contentType: type, .cacheControl: "no-store"]
        for (name, value) in fields {
            if let name = HTTPField.Name(name), HTTPField.isValidValue(value) { headers[name] = value }
        }
        return Response(status: .init(code: status), headers: headers, body: ResponseBody(byteBuffer: body))
    }
}

private struct Dropped: Error {}

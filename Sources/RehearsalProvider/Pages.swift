import HTTPTypes
import Hummingbird
import Mustache
import NIOCore
import OAuth

/// The provider's few pages: plain HTML, no script.
struct Pages: Sendable {
    private let template: MustacheTemplate

    init() throws {
        template = try MustacheTemplate(string: String(decoding: PackageResources.provider_mustache, as: UTF8.self))
    }

    func style() -> Response {
        Response(
            status: .ok, headers: [.contentType: "text/css; charset=utf-8", .cacheControl: "max-age=3600"],
            body: .init(byteBuffer: ByteBuffer(bytes: PackageResources.provider_css)))
    }

    func home(issuer: String) -> Response {
        page(["title": "Rehearsal provider", "home": ["issuer": issuer]])
    }

    func refusal(_ text: String) -> Response {
        page(["title": "This request was refused", "refusal": text], status: .badRequest)
    }

    func consent(id: String, _ question: AuthorizationQuestion, client: RehearsalClient, signedInAs user: String?, error: String?) -> Response {
        var consent: [String: Any] = ["request": id, "client": client.name, "scopes": question.scopes, "username": question.loginHint ?? ""]
        if let user { consent["user"] = user } else { consent["login"] = true }
        if let error { consent["error"] = error }
        return page(["title": "\(client.name) asks for access", "consent": consent], status: error == nil ? .ok : .unauthorized)
    }

    private func page(_ values: [String: Any], status: HTTPResponse.Status = .ok) -> Response {
        // No form-action: the answer to the form redirects to the client, which that directive would block.
        let policy = "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'"
        var headers: HTTPFields = [.contentType: "text/html; charset=utf-8", .cacheControl: "no-store", .contentSecurityPolicy: policy]
        headers[HTTPField.Name.xContentTypeOptions] = "nosniff"
        if let name = HTTPField.Name("Referrer-Policy") { headers[name] = "same-origin" }
        return Response(status: status, headers: headers, body: .init(byteBuffer: ByteBuffer(string: template.render(values))))
    }
}

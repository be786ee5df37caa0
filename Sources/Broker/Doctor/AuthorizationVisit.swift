import HTTPTypes
import OAuth
import OAuthClient
import Vault

/// What the provider shows a browser that comes with this connection's authorization request. Nobody is signed in, and the
/// `state` belongs to no trip: whatever it answers is looked at and thrown away.
struct AuthorizationVisit: Sendable {
    /// The request, or why it cannot be made.
    static func request(_ client: Client, _ facts: Facts) -> Result<WireRequest, RequestError> {
        do throws(RequestError) {
            let made = try client.authorizationRequest(redirectURI: facts.callbackURL, scopes: facts.oauth.scopes, pkce: facts.pkce)
            guard let url = try? EndpointURL(made.url) else { throw RequestError(parameter: "authorization_url", reason: "is not usable") }
            var head = HTTPRequest(method: .get, scheme: url.scheme.rawValue, authority: url.authority, path: url.target)
            head.headerFields[.accept] = "text/html"
            head.headerFields[.userAgent] = "Grantee/0.1"
            return .success(WireRequest(head: head))
        } catch {
            return .failure(error)
        }
    }

    /// - Returns: what is wrong by the answer, as a browser's failed trip; `nil` when it looks like a login page.
    static func trouble(_ response: WireResponse, _ facts: Facts) -> Trouble? {
        let status = response.head.status.code
        let mask = Mask(secrets: [], publicValues: [facts.oauth.clientID ?? "", facts.callbackURL])
        var trouble = Trouble(
            stage: .authorization, failure: .refused, at: facts.now, revision: facts.connection.revision,
            request: Doctor.authorizationRequest(facts.connection, scopes: nil, redirectURI: facts.callbackURL))
        if (300..<400).contains(status) {
            guard let location = response.head.headerFields[.location], let said = errorIn(location, facts) else { return nil }
            trouble.error = mask.code(said.error)
            trouble.errorDescription = said.description.map { mask.shown($0, limit: 1024) }
            return trouble
        }
        let page = PageText(String(decoding: response.body, as: UTF8.self))
        let body = String(decoding: response.body.prefix(512 << 10), as: UTF8.self)
        // Microsoft answers 200, with what is wrong in the script of its page.
        let number = body.firstMatch(of: /AADSTS\d{4,8}:[^"<]{0,400}/).map { String($0.output) }
        guard status >= 400 || number != nil else { return nil }
        let text = number ?? page.words
        trouble.response = .init(
            status: status, contentType: response.head.headerFields[.contentType].map { ProviderText.clean($0, limit: 100) },
            date: response.head.headerFields[.date].flatMap(HTTPDate.seconds), pageTitle: page.title.map { mask.shown($0, limit: 120) },
            body: mask.shown(text, limit: 600))
        return trouble
    }

    /// The error that a redirect carries: back to us, or to an error page of the provider's own.
    private static func errorIn(_ location: String, _ facts: Facts) -> (error: String, description: String?)? {
        guard let query = location.split(separator: "?", maxSplits: 1).dropFirst().first,
            let pairs = try? Form.parse(query.split(separator: "#", omittingEmptySubsequences: false)[0].utf8)
        else { return nil }
        func value(_ name: String) -> String? { pairs.first { $0.name == name }?.value }
        // Google packs its words into one parameter: printable ASCII between the marks of a binary format.
        let packed = value("authError").map { String($0.prefix { $0 != "=" }).replacing("+", with: "-").replacing("/", with: "_") }
        if let bytes = packed.flatMap(Base64URL.decode) {
            let words = String(decoding: bytes.map { (0x20...0x7E).contains($0) ? $0 : 0x20 }, as: UTF8.self).split(separator: " ")
            guard let code = words.first(where: { $0.count > 6 }) else { return nil }
            return (String(code.drop { !$0.isLetter }), words.joined(separator: " "))
        }
        let isOurs = location.hasPrefix(facts.callbackURL)
        guard let error = value("error"), isOurs || value("error_description") != nil || value("error_code") != nil else { return nil }
        return (error, value("error_description"))
    }
}

extension AuthorizationVisit {
    /// Rows that only a browser's page could name for sure: a server that stops programs answers as they do.
    private static let vague: Set<String> = ["request", "provider", "provider_down", "rate_limited", "html", "client_authentication"]

    static func checks(_ response: WireResponse, _ facts: Facts) -> [Check] {
        let status = response.head.status.code
        guard let trouble = trouble(response, facts) else {
            let title =
                PageText(String(decoding: response.body, as: UTF8.self)).title.map { " It calls itself “\(ProviderText.clean($0, limit: 80))”." }
                ?? ""
            return [
                Check(
                    "authorization_url", .ok, "Authorization URL",
                    "A browser that comes with this connection's request is "
                        + "\((300..<400).contains(status) ? "sent on to sign in" : "shown a page").\(title)"
                )
            ]
        }
        let found = Doctor.explain(trouble, facts)
        if !vague.contains(found.id) { return [found] }
        let evidence = found.evidence
        switch status {
        case 404, 405, 410:
            return [
                Check(
                    "authorization_url", .bad, "There is no page at the Authorization URL",
                    "\(facts.authorizationURL?.host ?? "The host") answers with status \(status).",
                    fix: "Correct the Authorization URL; the provider's documentation has it, often as authorization endpoint.", evidence: evidence)
            ]
        case 400, 300..<400, 200:
            return [
                Check(
                    "authorization_url", .warn, "The provider's page shows an error",
                    "A browser that comes with this connection's request is shown an error: \(found.detail)",
                    fix: "Read what came back. Most often the Callback URL is not registered, or the Client ID is wrong.",
                    values: [.init(label: "Callback URL", text: facts.callbackURL)], evidence: evidence)
            ]
        default:
            return [
                Check(
                    "authorization_url", .unknown, "The Authorization URL shows programs no page",
                    "It answered with status \(status). Many providers stop programs there and let browsers in.", fix: "Connect in a browser to see.",
                    evidence: evidence)
            ]
        }
    }
}

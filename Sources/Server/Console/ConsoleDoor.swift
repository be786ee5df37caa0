import Broker
import Crypto
import HTTPTypes
import Hummingbird
import HummingbirdCore
import OAuth
import Vault

/// Lets signed-in people in, and nothing that another site makes their browser send. SEC-95, SEC-101.
extension Faces {
    // MARK: The session's cookie

    /// Browsers send cookies to every port of a host: on plain http the name holds the port; on https the prefix keeps
    /// other hosts from setting it.
    var consoleCookie: String { publicURL.scheme == .https ? "__Host-grantee-console" : "grantee-console-\(publicURL.effectivePort)" }

    /// Ends with the browser, if nothing else ends it before.
    func consoleCookie(holding token: String) -> String { "\(consoleCookie)=\(token)" + cookieRules }

    var noConsoleCookie: String { "\(consoleCookie)=; Max-Age=0" + cookieRules }

    private var cookieRules: String { "; Path=/; HttpOnly; SameSite=Lax" + (publicURL.scheme == .https ? "; Secure" : "") }

    /// What the browser brought; whether it is worth anything is not known yet.
    func consoleToken(_ request: Request) -> String? {
        guard let token = request.cookies[consoleCookie]?.value, token.utf8.count == 43 else { return nil }
        return token
    }

    // MARK: Who comes

    /// Whoever is signed in, without a look at what is asked.
    func person(_ request: Request) async throws(Problem) -> ConsoleVisit? {
        guard let token = consoleToken(request), let signedIn = try await broker.consoleSession(token: token) else { return nil }
        return ConsoleVisit(session: signedIn.session, caller: signedIn.caller, csrf: Self.csrf(of: token))
    }

    /// `nil` = nobody is signed in.
    /// - Throws: `forbidden` for a form that this session's own pages did not send.
    func visit(_ request: Request, form: () async throws(Problem) -> ConsoleForm) async throws(Problem) -> ConsoleVisit? {
        guard var visit = try await person(request) else { return nil }
        guard request.method != .get, request.method != .head else { return visit }
        try requireOwnForm(request)
        visit.form = try await form()
        guard constantTimeEqual(visit.form["csrf"], visit.csrf) else {
            throw Problem(.forbidden, "the form belongs to another session", fix: "load its page again and send it from there")
        }
        return visit
    }

    /// From a page of this origin, and as only a form sends it.
    func requireOwnForm(_ request: Request) throws(Problem) {
        guard isOwnForm(request) else {
            throw Problem(.forbidden, "the form must be sent from its own page", fix: "load the page again and send it from there")
        }
    }

    func isOwnForm(_ request: Request) -> Bool {
        let type = request.headers[.contentType].map { $0.split(separator: ";", maxSplits: 1)[0].lowercased().filter { $0 != " " } }
        return request.headers[.origin].map { sameBytes($0, publicURL.origin) } ?? false && request.headers[.secFetchSite].map { $0 == "same-origin" } ?? true
            && type == "application/x-www-form-urlencoded"
    }

    static func csrf(of token: String) -> String {
        let mac = HMAC<SHA256>.authenticationCode(for: Array("console form".utf8), using: SymmetricKey(data: Array(token.utf8)))
        return Base64URL.encode(Array(mac))
    }

    /// A key or a session that crossed a network in the clear would be everybody's. SEC-95.
    static func requirePrivateWay(_ publicURL: EndpointURL) throws(Problem) {
        guard publicURL.scheme == .https || publicURL.isLoopback else {
            throw Problem(.forbidden, "nobody signs in over plain http", fix: "start the server with an https address as --public-url")
        }
    }
}

extension Inbound {
    func consoleForm() async throws(Problem) -> ConsoleForm {
        let bytes = try await bytes()
        guard let pairs = try? Form.parse(bytes.readableBytesView) else { throw Problem(.invalidRequest, "the form cannot be read") }
        return ConsoleForm(pairs.map { (name: $0.name, value: $0.value) })
    }
}

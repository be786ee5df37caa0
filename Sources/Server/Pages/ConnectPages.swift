import Broker
import HTTPTypes
import Hummingbird
import OAuth
import Vault

/// Where a browser starts, comes back, and reads how it ended.
enum ConnectPages {
    // MARK: The binding cookie

    /// Browsers send cookies to every port of a host: on plain http the name holds the port; on https the prefix keeps
    /// other hosts from setting it.
    private static func cookieName(_ publicURL: EndpointURL) -> String {
        publicURL.scheme == .https ? "__Host-grantee-binding" : "grantee-binding-\(publicURL.effectivePort)"
    }

    private static func binding(_ inbound: Inbound) -> String? {
        guard let value = inbound.request.cookies[cookieName(inbound.faces.publicURL)]?.value, value.utf8.count == 43, Base64URL.decode(value) != nil else {
            return nil
        }
        return value
    }

    /// The cookie that is there, or a new one; its life begins anew either way.
    static func bound(_ inbound: Inbound) -> (value: String, fields: HTTPFields) {
        let value = binding(inbound) ?? Entropy.system.token(bytes: 32)
        let secure = inbound.faces.publicURL.scheme == .https ? "; Secure" : ""
        return (value, [.setCookie: "\(cookieName(inbound.faces.publicURL))=\(value); Path=/; Max-Age=1800; HttpOnly; SameSite=Lax\(secure)"])
    }

    // MARK: Pages

    /// Consumes nothing, whoever opens it: mail scanners do.
    static func show(_ inbound: Inbound) async throws -> Outbound {
        let ticket = try inbound.path("ticket")
        let page = try await inbound.broker.connectPage(ticket: ticket, binding: binding(inbound))
        let (value, fields) = bound(inbound)
        if page.redirectsAtOnce, page.ended == nil, inbound.request.method == .get {
            return .redirect(try await inbound.broker.beginAttempt(ticket: ticket, binding: value), fields: fields)
        }
        var outbound = inbound.faces.pages.connect(page, ticket: ticket, isOwn: try await isOwn(page.session, inbound))
        if page.ended == nil { outbound.fields[.setCookie] = fields[.setCookie] }
        return inbound.request.method == .head ? Outbound(outbound.status, fields: outbound.fields) : outbound
    }

    /// Whether a form of the console led this browser here just now. Whoever comes by the link is asked first. SEC-03, SEC-16.
    private static func isOwn(_ session: ConnectSession, _ inbound: Inbound) async throws(Problem) -> Bool {
        guard session.options.returnURL?.hasPrefix(inbound.faces.publicURL.origin + "/console/") ?? false, inbound.request.method == .get,
            inbound.request.headers[.secFetchSite] == "same-origin"
        else { return false }
        return try await inbound.faces.person(inbound.request)?.caller.key.id == session.keyID
    }

    /// Each time a new attempt with its own state.
    static func go(_ inbound: Inbound) async throws -> Outbound {
        let ticket = try inbound.path("ticket")
        // A page of another site must not start a trip. SEC-16.
        if inbound.request.headers[.secFetchSite] == "cross-site" { return .redirect(inbound.faces.publicURL.origin + "/connect/" + ticket) }
        let (value, fields) = bound(inbound)
        return .redirect(try await inbound.broker.beginAttempt(ticket: ticket, binding: value), fields: fields)
    }

    static func nothing(_ inbound: Inbound) async throws -> Outbound { Outbound(fields: [.cacheControl: "no-store", .referrerPolicy: "no-referrer"]) }

    /// The username and password form.
    static func submit(_ inbound: Inbound) async throws -> Outbound {
        let ticket = try inbound.path("ticket")
        let headers = inbound.request.headers
        guard headers[.secFetchSite].map({ $0 == "same-origin" }) ?? true, headers[.origin].map({ $0 == inbound.faces.publicURL.origin }) ?? true,
            binding(inbound) != nil
        else { throw Problem(.forbidden, "the form must be sent from its own page, with cookies allowed", fix: "open the link again") }
        let page = try await inbound.broker.connectPage(ticket: ticket)
        guard page.ended == nil, page.asksForPassword else { return inbound.faces.pages.connect(page, ticket: ticket) }
        let form = try await inbound.form()
        let username = form["username"] ?? ""
        let password = form["password"] ?? ""
        guard !username.isEmpty, !password.isEmpty, username.utf8.count <= 1024, password.utf8.count <= ConnectionDocument.secretLimit,
            !(username + password).unicodeScalars.contains(where: { $0.value == 0x0A || $0.value == 0x0D || $0.value == 0 })
        else { return inbound.faces.pages.connect(page, ticket: ticket, error: "Fill in both user name and password.", username: String(username.prefix(200))) }
        let session = try await inbound.broker.submitPassword(ticket: ticket, username: username, password: Password(password))
        if session.state == .failed, session.error != "account_mismatch" {
            let again = try await inbound.broker.connectPage(ticket: ticket)
            return inbound.faces.pages.connect(
                again, ticket: ticket, error: "That did not work: check user name and password.", detail: session.errorDetail, username: username)
        }
        return .redirect(inbound.faces.publicURL.origin + "/connect/result/" + session.id)
    }

    static func result(_ inbound: Inbound) async throws -> Outbound {
        let (session, connection) = try await inbound.broker.result(sessionID: try inbound.path("session"))
        return inbound.faces.pages.result(session, connection)
    }

    // MARK: Callback

    private static let queryLimit = 16 * 1024

    static func callback(_ inbound: Inbound) async throws -> Outbound {
        let target = inbound.request.head.path ?? ""
        let query = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false).dropFirst().first ?? ""
        guard query.utf8.count <= queryLimit else { return inbound.faces.pages.callbackFailure("invalid_request", sessionID: nil) }
        let outcome = await inbound.broker.callback(connectionID: try inbound.path("id"), query: String(query), binding: binding(inbound))
        if let location = outcome.location { return .redirect(location) }
        return inbound.faces.pages.callbackFailure(outcome.error ?? "invalid_state", sessionID: outcome.sessionID)
    }
}

import Broker
import HTTPTypes
import Mustache
import NIOCore
import OAuth
import Vault

/// The few pages that people see: plain HTML under a strict policy, no script.
struct Pages: Sendable {
    private let template: MustacheTemplate

    init() throws {
        MustacheContentTypes.register(HTMLText(), named: HTMLText.name)
        template = try MustacheTemplate(string: String(decoding: PackageResources.page_mustache, as: UTF8.self))
    }

    /// - Parameter isOwn: whether whoever opens the link began the trip, at the console: then nothing is asked again.
    func connect(
        _ page: Broker.ConnectPage, ticket: String, isOwn: Bool = false, error: String? = nil, detail: String? = nil, username: String = ""
    ) -> Outbound {
        var values = subject(page.session, page.connection)
        if let ended = page.ended {
            values["ended"] = Self.words(for: page.session, state: ended)
            return self.page(values.merging(["title": "This link is over"]) { $1 }, status: .gone)
        }
        values["ticket"] = ticket
        values["pair"] = pair(page.session, page.connection)
        if page.needsConfirmation {
            values["confirm"] = true
            return self.page(values.merging(["title": "To be confirmed at the console"]) { $1 })
        }
        values["username"] = username
        // Chromium lets no form end at another origin, so the way there is a page, not a redirect.
        if isOwn, !page.asksForPassword { values["straight_on"] = "/connect/\(ticket)/continue" }
        if let error { values["error"] = error }
        if let detail { values["error_detail"] = ProviderProblemText.shown(detail) }
        values[page.asksForPassword ? "password" : "continue"] = true
        return self.page(values.merging(["title": "Connect \(page.connection.settings.name)"]) { $1 }, status: error == nil ? .ok : .unprocessableContent)
    }

    private func subject(_ session: ConnectSession, _ connection: Connection) -> [String: Any] {
        ["connection": connection.settings.name, "app": session.appName, "subject": session.subject.isEmpty ? "shared by the whole app" : session.subject]
    }

    /// Who asks, and what for, at a glance: the first letters of both.
    private func pair(_ session: ConnectSession, _ connection: Connection) -> [String: String] {
        func letter(_ name: String) -> String { name.first { $0.isLetter || $0.isNumber }.map { $0.uppercased() } ?? "·" }
        return ["app": letter(session.appName), "connection": letter(connection.settings.name)]
    }

    func result(_ session: ConnectSession, _ connection: Connection?) -> Outbound {
        let words = Self.words(for: session, state: session.state)
        var values: [String: Any] = ["result": words, "title": words["title"] ?? ""]
        if let connection { values.merge(subject(session, connection)) { $1 } }
        if let url = session.options.returnURL { values["return_url"] = url }
        return page(values, status: session.state == .failed ? .badRequest : .ok)
    }

    /// A callback that belongs to no session that could be told.
    func callbackFailure(_ code: String, sessionID: String?) -> Outbound {
        var words = Self.failure(code)
        words["code"] = code
        var values: [String: Any] = ["result": words, "title": words["title"] ?? ""]
        if let sessionID { values["outcome"] = sessionID }
        return page(values, status: .badRequest)
    }

    func problem(_ problem: Problem) -> Outbound {
        var words = ["title": problem.code.title, "text": Self.sentence(problem.detail), "code": problem.code.rawValue, "kind": "failed"]
        if let fix = problem.fix { words["fix"] = Self.sentence(fix) }
        if let id = RequestID.current { words["request"] = id }
        return page(["title": problem.code.title, "result": words], status: .init(code: problem.code.status))
    }

    private func page(_ values: [String: Any], status: HTTPResponse.Status = .ok) -> Outbound {
        let policy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        var outbound = Outbound(status, body: ByteBuffer(string: template.render(values)))
        outbound.fields = [
            .contentType: "text/html; charset=utf-8", .cacheControl: "no-store", .contentSecurityPolicy: policy,
            .referrerPolicy: values["password"] == nil ? "no-referrer" : "same-origin", .crossOriginOpenerPolicy: "unsafe-none",
        ]
        return outbound
    }

    // MARK: Words

    private static func sentence(_ text: String) -> String { text.prefix(1).uppercased() + text.dropFirst() + "." }

    private static func words(for session: ConnectSession, state: ConnectSession.State) -> [String: String] {
        switch state {
        case .connected: ["title": "Connected", "text": "Access was granted. You can close this page.", "kind": "connected"]
        case .pending: ["title": "Almost done", "text": "Go back to the application: it finishes the connection.", "kind": "pending"]
        case .expired:
            ["title": "The time has passed", "text": "This link lives for 30 minutes.", "fix": "Ask the application for a new one.", "kind": "failed"]
        case .open: ["title": "Not connected yet", "text": "Open the link again and continue to the provider.", "kind": "pending"]
        case .failed: failed(session)
        }
    }

    private static func failed(_ session: ConnectSession) -> [String: String] {
        let code = session.error ?? "exchange_failed"
        var words = failure(code)
        words["code"] = code
        // Where the words above say it all, a detail only repeats them.
        if code != "browser_mismatch", let detail = session.errorDetail { words["detail"] = ProviderProblemText.shown(detail) }
        return words
    }

    /// What each failure means, and what to do.
    private static func failure(_ code: String) -> [String: String] {
        let (title, text, fix): (String, String, String)
        switch code {
        case "access_denied":
            (title, text, fix) = (
                "Access was not granted", "The provider says that you or an administrator declined.", "Open the link again if that was not meant."
            )
        case "invalid_state":
            (title, text, fix) = (
                "This answer does not count", "It is unknown here, was used already, or came too late.",
                "Open the link again, or ask the application for a new one."
            )
        case "browser_mismatch":
            (title, text, fix) = (
                "Another browser", "The answer came from another browser than the one that started.",
                "Open the link and sign in at the provider in one and the same browser, with cookies allowed."
            )
        case "issuer_mismatch":
            (title, text, fix) = (
                "Not the expected provider", "The answer came from another provider than the one that was asked.",
                "Tell the application's operator; nothing was connected."
            )
        case "account_mismatch":
            (title, text, fix) = (
                "Another account", "This is another account of the provider than the one that was connected before.",
                "Sign in at the provider with that account."
            )
        case "missing_code":
            (title, text, fix) = (
                "The answer is incomplete", "The provider sent you back without a code.", "Open the link again; if it repeats, tell the application's operator."
            )
        case "exchange_failed":
            (title, text, fix) = (
                "The provider did not give access", "The last step between this server and the provider failed.",
                "Open the link again; if it repeats, tell the application's operator."
            )
        case "invalid_scope":
            (title, text, fix) = (
                "A permission is not known", "The provider does not know a permission that was asked for.",
                "The application's operator has to correct the connection's scopes."
            )
        case "unauthorized_client", "unsupported_response_type":
            (title, text, fix) = (
                "The application may not do this", "The provider does not allow this application the authorization code flow.",
                "The application's operator has to enable it at the provider."
            )
        case "server_error", "temporarily_unavailable":
            (title, text, fix) = ("The provider is not available", "It could not answer just now.", "Try again in a few minutes.")
        case "invalid_request":
            (title, text, fix) = (
                "The request was not understood", "A part of it is missing, repeated or not allowed.",
                "Open the link again; if it repeats, tell the application's operator."
            )
        default:
            (title, text, fix) = (
                "The provider said no", "It answered with an error of its own.", "Open the link again; if it repeats, tell the application's operator."
            )
        }
        return ["title": title, "text": text, "fix": fix, "kind": "failed"]
    }
}

/// Provider text that was cleaned when it was stored, cut for a page.
enum ProviderProblemText {
    static func shown(_ text: String) -> String { String(ProviderText.clean(text).prefix(400)) }
}

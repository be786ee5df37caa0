import Broker
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import OAuth
import Vault

enum SignInPage {
    static func show(_ inbound: Inbound) async throws -> Outbound {
        let prompt = SignInPrompt(next: ConsolePath(inbound.asked("next")) ?? .home)
        guard try await inbound.faces.person(inbound.request) == nil else { return inbound.see(prompt.next.text) }
        return page(prompt, inbound)
    }

    static func submit(_ inbound: Inbound) async throws -> Outbound {
        let faces = inbound.faces
        try faces.requireOwnForm(inbound.request)
        try Faces.requirePrivateWay(faces.publicURL)
        let form = try await inbound.consoleForm()
        let prompt = SignInPrompt(signIn: form)
        if form.button == "again" {
            // By a link, in another tab: it is the same browser.
            guard let visit = try await faces.person(inbound.request) else {
                return page(prompt, inbound, error: "This browser is not signed in yet. Open the link in this browser first.", status: .unauthorized)
            }
            return goOn(prompt, inbound, visit)
        }
        let key = form.trimmed("key")
        guard !key.isEmpty else { return page(prompt, inbound, error: "Paste an API key with the role admin.", status: .unprocessableContent) }
        if let wait = faces.signInGuard.refusal(inbound.client) {
            inbound.broker.noteSignInRefused(.rateLimited)
            var outbound = page(
                prompt, inbound, error: "There were too many wrong keys. Wait \(wait) seconds, or sign in by a link: it is not held up.",
                status: .tooManyRequests)
            outbound.fields[.retryAfter] = String(wait)
            return outbound
        }
        do throws(Problem) {
            let (signedIn, token) = try await inbound.broker.signIn(key: key, by: newcomer(inbound))
            faces.signInGuard.succeeded(inbound.client)
            return arrive(signedIn, token, prompt, inbound)
        } catch {
            guard error.code == .unauthenticated || error.code == .forbidden else {
                // The key was not what failed.
                faces.signInGuard.succeeded(inbound.client)
                throw error
            }
            faces.logger.notice("sign-in refused", metadata: ["code": "\(error.code.rawValue)", "client": "\(inbound.client)"])
            let words = ([error.detail] + [error.fix].compactMap { $0 }).map { $0.prefix(1).uppercased() + $0.dropFirst() + "." }.joined(separator: " ")
            return page(prompt, inbound, error: words, status: .init(code: error.code.status))
        }
    }

    /// A one-time link: exchanged at once and gone from the address bar. SEC-98.
    static func follow(_ inbound: Inbound) async throws -> Outbound {
        let faces = inbound.faces
        try Faces.requirePrivateWay(faces.publicURL)
        let headers = inbound.request.headers
        // A browser that looks ahead has nobody in front of it yet; it asks again when somebody goes there.
        guard !(headers[.secPurpose] ?? headers[.purpose] ?? "").lowercased().contains("prefetch") else {
            return Outbound(.forbidden, fields: [.cacheControl: "no-store", .referrerPolicy: "no-referrer"])
        }
        let code = try inbound.path("code")
        let prompt = SignInPrompt(next: ConsolePath(inbound.asked("next")) ?? .home)
        // Another page could sign somebody in who does not know it, with a key of its own.
        guard headers[.secFetchSite].map({ ["none", "same-origin"].contains($0) }) ?? true else { return lastClick(inbound) }
        guard let (signedIn, token) = try await inbound.broker.signIn(code: code, by: newcomer(inbound)) else {
            // Whoever reloads a link that let them in is in.
            if try await faces.person(inbound.request) != nil { return inbound.see(prompt.next.text) }
            faces.logger.notice("sign-in refused", metadata: ["code": "\(Problem.Code.unauthenticated.rawValue)", "client": "\(inbound.client)"])
            return inbound.page(ConsolePage("This link is over", .none, template: "sign-in-link", ["over": true], status: .gone))
        }
        return arrive(signedIn, token, prompt, inbound)
    }

    static func signOut(_ inbound: Inbound) async throws -> Outbound {
        let visit = try inbound.visit
        try await inbound.broker.signOut(.init(session: visit.session, caller: visit.caller))
        return signedOut(inbound)
    }

    /// The browser forgets what it had.
    static func signedOut(_ inbound: Inbound) -> Outbound {
        var outbound = inbound.see("/console/sign-in", done: "signed-out")
        outbound.fields[.setCookie] = inbound.faces.noConsoleCookie
        // Not "cookies": those of other ports and subdomains of this host would go too.
        outbound.fields[.clearSiteData] = #""cache", "storage""#
        return outbound
    }

    /// What somebody sees who is not signed in, or no more: signed in again, they are where they were, with what they had typed.
    static func instead(_ inbound: Inbound) async throws(Problem) -> Outbound {
        let hadSession = inbound.faces.consoleToken(inbound.request) != nil
        let place = ConsolePath(inbound.request.head.path ?? "") ?? .home
        guard inbound.request.method != .get, inbound.request.method != .head else {
            return page(SignInPrompt(next: place), inbound, isEnded: hadSession, status: .unauthorized)
        }
        // Another site's form comes without our cookie: what it holds is not what this person typed.
        guard inbound.faces.isOwnForm(inbound.request) else { return page(SignInPrompt(), inbound, status: .unauthorized) }
        var prompt = SignInPrompt(next: place)
        do throws(Problem) {
            prompt = SignInPrompt(unsent: try await inbound.consoleForm(), to: place)
        } catch {
            guard error.code == .tooLarge else { throw error }
            prompt.isCut = true
        }
        return page(prompt, inbound, isEnded: true, status: .unauthorized)
    }

    // MARK: Parts

    private static func newcomer(_ inbound: Inbound) -> Broker.Newcomer {
        .init(userAgent: inbound.request.headers[.userAgent] ?? "", address: inbound.client, token: inbound.faces.consoleToken(inbound.request))
    }

    private static func page(
        _ prompt: SignInPrompt, _ inbound: Inbound, error: String? = nil, isEnded: Bool = false, status: HTTPResponse.Status = .ok
    ) -> Outbound {
        var values: [String: Any] = ["next": prompt.next.text, "resume": prompt.fields, "kept": !prompt.typed.isEmpty, "cut": prompt.isCut, "ended": isEnded]
        if let error { values["error"] = error }
        return inbound.page(ConsolePage("Sign in", .none, template: "sign-in", values, status: status))
    }

    /// The same link, on a page of ours: who clicks it there wants to sign in.
    private static func lastClick(_ inbound: Inbound) -> Outbound {
        var outbound = inbound.page(
            ConsolePage("Sign in", .none, template: "sign-in-link", ["path": inbound.request.head.path ?? "/console/sign-in"]))
        outbound.fields[.referrerPolicy] = "no-referrer"
        return outbound
    }

    private static func arrive(_ signedIn: Broker.SignedIn, _ token: String, _ prompt: SignInPrompt, _ inbound: Inbound) -> Outbound {
        var outbound = goOn(prompt, inbound, ConsoleVisit(session: signedIn.session, caller: signedIn.caller, csrf: Faces.csrf(of: token)))
        outbound.fields[.setCookie] = inbound.faces.consoleCookie(holding: token)
        return outbound
    }

    /// Where they wanted to go; what was typed is sent by a click, with this session's token.
    private static func goOn(_ prompt: SignInPrompt, _ inbound: Inbound, _ visit: ConsoleVisit) -> Outbound {
        let routes = inbound.faces.routes
        let page = prompt.next.page(in: routes)
        guard !prompt.typed.isEmpty, case .found = routes.match(.post, prompt.next.path) else { return inbound.see(page.text) }
        let values: [String: Any] = [
            "action": prompt.next.text, "page": page.text, "fields": prompt.typed.map { ["name": $0.name, "value": $0.value] },
        ]
        return inbound.faces.console.render(ConsolePage("You are signed in", .none, template: "resume", values), for: visit)
    }
}

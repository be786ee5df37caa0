import Broker
import Egress
import Gateway
import HTTPTypes
import Hummingbird
import Logging
import OAuth
import Vault

/// The HTTP face: finds the route, lets the caller in, turns what is thrown into a problem.
final class Faces: HTTPResponder {
    typealias Context = ClientContext

    let broker: Broker
    let gateway: Gateway
    let pages: Pages
    let console: Console
    let sentForms = SentForms()
    let signInGuard = SignInGuard()
    let publicURL: EndpointURL
    /// They need none where only this machine can ask, and no proxy stands between.
    let metricsNeedKey: Bool
    let trustedProxies: [Egress.CIDR]
    /// For the console's settings page.
    let facts: ServerFacts
    let limiter = RateLimiter()
    let logger: Logger
    let routes: RouteTable

    init(
        broker: Broker, gateway: Gateway, pages: Pages, console: Console, publicURL: EndpointURL, metricsNeedKey: Bool, trustedProxies: [Egress.CIDR],
        facts: ServerFacts, logger: Logger
    ) {
        self.broker = broker
        self.gateway = gateway
        self.pages = pages
        self.console = console
        self.publicURL = publicURL
        self.metricsNeedKey = metricsNeedKey
        self.trustedProxies = trustedProxies
        self.facts = facts
        self.logger = logger
        routes = RouteTable(routes: Routes.all)
    }

    func respond(to request: Request, context: ClientContext) async throws -> Response {
        var response = await answer(to: request, context)
        // Whatever the answer is: bytes after a HEAD's head would be taken for the next answer. RFC 9110 §9.3.2.
        if request.method == .head { response.body = .init() }
        if response.headers[.xContentTypeOptions] == nil { response.headers[.xContentTypeOptions] = "nosniff" }
        if response.headers[.crossOriginResourcePolicy] == nil { response.headers[.crossOriginResourcePolicy] = "same-origin" }
        if publicURL.scheme == .https { response.headers[.strictTransportSecurity] = "max-age=31536000" }
        return response
    }

    private func answer(to request: Request, _ context: ClientContext) async -> Response {
        // NIO takes the first Host for the authority; a second one is left among the fields.
        guard request.head.authority?.isEmpty == false, request.headers[.host] == nil, let target = request.head.path, target.utf8.first == UInt8(ascii: "/")
        else {
            var outbound = Problem(.invalidRequest, "the request needs one Host and a path").outbound
            BrowserFields.complete(&outbound.fields, at: "/")
            return outbound.identified().response
        }
        let path = target[..<(target.utf8.firstIndex(of: UInt8(ascii: "?")) ?? target.endIndex)]
        var outbound: Outbound
        switch routes.match(request.method, path) {
        case .found(let route, let parameters):
            outbound = await answer(request, context, route, parameters)
            route.meter.count(outbound.status.code)
            logger.debug("answered", metadata: ["route": "\(route.pattern)", "method": "\(request.method)", "status": "\(outbound.status.code)"])
            // Programs read these, and the hot path is among them.
            if route.access.needsKey { return outbound.response }
        case .otherMethods(let methods):
            let names = methods.map(\.rawValue).joined(separator: ", ")
            outbound = await nowhere(Problem(.methodNotAllowed, "this path takes \(names)"), request, context, path)
            if outbound.status == .methodNotAllowed { outbound.fields[.allow] = names }
        case .none:
            outbound = await nowhere(
                Problem(.notFound, "there is nothing at this path", fix: "GET /openapi.json lists what there is"), request, context, path)
        }
        BrowserFields.complete(&outbound.fields, at: path)
        return outbound.response
    }

    /// What no route answers. Below the console it is a page, and who is not signed in signs in first.
    private func nowhere(_ problem: Problem, _ request: Request, _ context: ClientContext, _ path: Substring) async -> Outbound {
        let id = RequestID.make()
        guard BrowserFields.isOfConsole(path) else { return problem.outbound.identified(id) }
        do throws(Problem) {
            if let elsewhere = try misdirected(request) { return elsewhere.identified(id) }
            guard let visit = try await person(request) else {
                let stranger = Inbound(request: request, context: context, parameters: .none, faces: self, knownCaller: nil)
                return try await SignInPage.instead(stranger).identified(id)
            }
            var problem = problem
            problem.fix = problem.code == .methodNotAllowed ? "a form is sent here: go back to the page that has it" : nil
            return console.problem(problem, for: visit, id: id).identified(id)
        } catch {
            let id = error.requestID ?? id
            return console.problem(error, for: nil, id: id).identified(id)
        }
    }

    private func answer(_ request: Request, _ context: ClientContext, _ route: RouteTable.Route, _ parameters: PathParameters) async -> Outbound {
        var caller: Caller?
        var visit: ConsoleVisit?
        let inbound: Inbound
        do {
            // Keys and their rights are in memory.
            if !broker.isCoherent, route.access != .anyone { try await broker.catchUp() }
            switch route.access {
            case .anyone: break
            case .key, .keyAtHost:
                if route.access == .keyAtHost { try requireOwnOrigin(request) }
                let known = try await recognize(authorization: request.headers[.authorization], fetchSite: request.headers[.secFetchSite])
                caller = known
                try limit(known)
            case .browser: if let elsewhere = try misdirected(request) { return elsewhere.identified() }
            case .console:
                if let elsewhere = try misdirected(request) { return elsewhere.identified() }
                let stranger = Inbound(request: request, context: context, parameters: parameters, faces: self, knownCaller: nil)
                guard let known = try await self.visit(request, form: stranger.consoleForm) else { return try await SignInPage.instead(stranger).identified() }
                (visit, caller) = (known, known.caller)
            }
            inbound = Inbound(request: request, context: context, parameters: parameters, faces: self, knownCaller: caller, knownVisit: visit)
            if let outbound = try route.shortcut?(inbound) { return outbound }
        } catch {
            return failed(error, request, context, route, caller: caller, visit: visit, id: RequestID.make())
        }
        let scope = RequestID.Scope(id: RequestID.make(), key: caller?.key.id)
        return await RequestID.$scope.withValue(scope) {
            do {
                return try await route.handler(inbound).identified(scope.id)
            } catch {
                return failed(error, request, context, route, caller: caller, visit: visit, id: scope.id)
            }
        }
    }

    /// What is thrown, as an answer; what concerns the operator, in the log under the answer's own `Request-Id`.
    private func failed(
        _ error: any Error, _ request: Request, _ context: ClientContext, _ route: RouteTable.Route, caller: Caller?, visit: ConsoleVisit?, id made: String
    ) -> Outbound {
        // What went wrong before a request had an id named one by itself.
        let id = (error as? Problem)?.requestID ?? made
        let problem: Problem
        if let known = error as? Problem {
            problem = known
            if Self.isTurnedAway(problem) {
                noteRefusal(problem, route: route.pattern, caller: caller, client: context.client(of: request, behind: trustedProxies), id: id)
            }
        } else {
            logger.error("internal error", metadata: ["request_id": "\(id)", "route": "\(route.pattern)", "error": "\(type(of: error))"])
            problem = Problem(.internal, "something went wrong here; the log has the details under \(id)")
        }
        switch route.access {
        case .browser where BrowserFields.isOfConsole(route.pattern[...]): return console.problem(problem, for: nil, id: id).identified(id)
        case .browser: return pages.problem(problem).identified(id)
        case .console: return console.problem(problem, for: visit, id: id).identified(id)
        case .anyone, .key, .keyAtHost: return problem.outbound.identified(id)
        }
    }

    /// At the door, rather than by what was asked.
    static func isTurnedAway(_ problem: Problem) -> Bool { [.unauthenticated, .forbidden, .rateLimited].contains(problem.code) }

    func noteRefusal(_ problem: Problem, route: String, caller: Caller?, client: String, id: String) {
        logger.notice("refused", metadata: ["code": "\(problem.code.rawValue)", "route": "\(route)", "client": "\(client)", "request_id": "\(id)"])
        broker.noteRefusal(problem.code, route: route, key: caller?.key.id)
    }

    /// The key's caller, within its rate.
    func admit(_ request: Request) throws(Problem) -> Caller {
        try admit(authorization: request.headers[.authorization], fetchSite: request.headers[.secFetchSite])
    }

    func admit(authorization: String?, fetchSite: String?) throws(Problem) -> Caller {
        let caller = try authenticate(authorization: authorization, fetchSite: fetchSite)
        try limit(caller)
        return caller
    }

    private func authenticate(authorization: String?, fetchSite: String?) throws(Problem) -> Caller {
        // No page of another site may use a key that a browser holds. SEC-94.
        if fetchSite == "cross-site" {
            throw Problem(.forbidden, "requests from pages of other sites are refused", fix: "call the API from a server")
        }
        guard let field = authorization else {
            throw Problem(.unauthenticated, "an API key is required", fix: "send Authorization: Bearer API_KEY")
        }
        guard let key = Self.bearer(field), let caller = broker.authenticate(key) else {
            throw Broker.unknownKey
        }
        return caller
    }

    /// A key that another node has just made, too.
    private func recognize(authorization: String?, fetchSite: String?) async throws(Problem) -> Caller {
        do throws(Problem) {
            return try authenticate(authorization: authorization, fetchSite: fetchSite)
        } catch {
            guard error.code == .unauthenticated, let field = authorization, let key = Self.bearer(field),
                let caller = try await broker.lookUp({ broker.authenticate(key) })
            else { throw error }
            return caller
        }
    }

    func admitLearned(authorization: String?, fetchSite: String?) async throws(Problem) -> Caller {
        let caller = try await recognize(authorization: authorization, fetchSite: fetchSite)
        try limit(caller)
        return caller
    }

    private func limit(_ caller: Caller) throws(Problem) {
        guard let limit = caller.key.requestsPerMinute, let refusal = limiter.refusal(caller.key.id, limit: limit) else { return }
        if refusal.isFirst { broker.noteLimit("\(limit) requests", reachedBy: caller) }
        throw Problem(
            .rateLimited, "the key allows \(limit) requests per minute", fix: "wait, or use a key with a higher limit", retryAfter: refusal.wait)
    }

    /// What follows the scheme, whose name has no case. RFC 9110 §11.1.
    private static func bearer(_ field: String) -> Substring? {
        let scheme = "bearer ".utf8
        guard field.utf8.count > scheme.count, zip(field.utf8, scheme).allSatisfy({ $0 | 0x20 == $1 }) else { return nil }
        return field[field.utf8.index(field.startIndex, offsetBy: scheme.count)...]
    }

    private enum Place { case here, loopbackAlias, elsewhere }

    /// Where a request was sent to, as it says itself. SEC-108.
    private func place(_ request: Request) -> Place {
        let authority = request.head.authority?.lowercased() ?? ""
        if sameBytes(authority, publicURL.authority) { return .here }
        return isLoopbackAlias("\(publicURL.scheme.rawValue)://\(authority)") ? .loopbackAlias : .elsewhere
    }

    /// Whether it is this server under another name of this machine.
    private func isLoopbackAlias(_ origin: String) -> Bool {
        guard publicURL.isLoopback, let asked = try? EndpointURL(origin) else { return false }
        return asked.isLoopback && asked.scheme == publicURL.scheme && asked.effectivePort == publicURL.effectivePort && asked.target == "/"
    }

    /// Pages live at the public URL alone: its loopback aliases redirect there, every other host is refused. SEC-108.
    private func misdirected(_ request: Request) throws(Problem) -> Outbound? {
        switch place(request) {
        case .here: return nil
        case .loopbackAlias:
            guard request.method == .get || request.method == .head else { throw Problem(.misdirectedRequest, "this page lives at \(publicURL.origin)") }
            var outbound = Outbound(.found)
            outbound.fields[.location] = publicURL.origin + (request.head.path ?? "/")
            outbound.fields[.cacheControl] = "no-store"
            outbound.fields[.referrerPolicy] = "no-referrer"
            return outbound
        case .elsewhere: throw Problem(.misdirectedRequest, "this server is not at that host")
        }
    }

    /// A page that rebinds its name to this machine says a foreign host, any other page its own origin. SEC-129.
    private func requireOwnOrigin(_ request: Request) throws(Problem) {
        guard place(request) != .elsewhere else { throw Problem(.misdirectedRequest, "this server is not at that host", fix: "ask it at \(publicURL.origin)") }
        guard let origin = request.headers[.origin] else { return }
        guard sameBytes(origin, publicURL.origin) || isLoopbackAlias(origin) else {
            throw Problem(.forbidden, "requests from pages of other origins are refused", fix: "ask from a program, not from a page")
        }
    }
}

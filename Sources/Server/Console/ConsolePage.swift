import Broker
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Mustache
import NIOCore
import OAuth

/// One page of the console: a template of its own in the layout that all share.
struct ConsolePage {
    /// What the navigation marks.
    enum Section: String, CaseIterable { case connections, grants, keys, webhooks, activity, settings, none }

    var title: String
    var section: Section
    /// The name of a file in `Resources/console`.
    var template: String
    var values: [String: Any]
    var status: HTTPResponse.Status = .ok
    /// The way back: from the outside in, without the page itself.
    var crumbs: [(title: String, path: String)] = []

    init(
        _ title: String, _ section: Section, template: String, _ values: [String: Any], status: HTTPResponse.Status = .ok,
        crumbs: [(title: String, path: String)] = []
    ) {
        self.title = title
        self.section = section
        self.template = template
        self.values = values
        self.status = status
        self.crumbs = crumbs
    }
}

/// The console's templates, compiled once, and what every page of it has.
struct Console: Sendable {
    private let library: MustacheLibrary

    init() throws {
        MustacheContentTypes.register(HTMLText(), named: HTMLText.name)
        library = MustacheLibrary(templates: try ConsoleTemplates.all.mapValues { try MustacheTemplate(string: String(decoding: $0, as: UTF8.self)) })
    }

    /// - Parameter visit: `nil` where nobody is signed in.
    func render(_ page: ConsolePage, for visit: ConsoleVisit?, done: String? = nil) -> Outbound {
        var values = page.values
        values["title"] = page.title
        values["crumbs"] = page.crumbs.map { ["title": $0.title, "path": $0.path] }
        if let visit {
            values["csrf"] = visit.csrf
            values["form"] = Entropy.system.token(bytes: 12)
            values["navigation"] = Self.navigation(page.section)
        }
        if let done, let words = Notices.words[done] { values["notice"] = words }
        var outbound = Outbound(page.status, fields: Self.fields)
        outbound.body = ByteBuffer(string: library.render(values, withTemplate: page.template) ?? "")
        return outbound
    }

    /// What is thrown, in the console's own looks.
    func problem(_ problem: Problem, for visit: ConsoleVisit?, id: String) -> Outbound {
        var values: [String: Any] = [
            "detail": problem.detail + ".", "code": problem.code.rawValue, "request_id": id,
            "is_logged": problem.code == .internal || Faces.isTurnedAway(problem),
        ]
        if let fix = problem.fix { values["fix"] = fix + "." }
        return render(ConsolePage(problem.code.title, .none, template: "problem", values, status: .init(code: problem.code.status)), for: visit)
    }

    private static func navigation(_ current: ConsolePage.Section) -> [[String: Any]] {
        ConsolePage.Section.allCases.dropLast().map { section in
            let name = section.rawValue.prefix(1).uppercased() + section.rawValue.dropFirst()
            return ["title": name, "path": section == .connections ? "/console" : "/console/" + section.rawValue, "current": section == current]
        }
    }

    /// SEC-102, SEC-103.
    private static let fields: HTTPFields = [
        .contentType: "text/html; charset=utf-8", .cacheControl: "no-store",
        .contentSecurityPolicy:
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        .referrerPolicy: "same-origin", .crossOriginOpenerPolicy: "same-origin",
    ]
}

extension Inbound {
    /// The signed-in person's.
    /// - Throws: `unauthenticated` where the route let anyone in.
    var visit: ConsoleVisit {
        get throws(Problem) {
            guard let knownVisit else { throw Problem(.unauthenticated, "sign in first") }
            return knownVisit
        }
    }

    /// What a form sent; its origin and token were checked.
    var form: ConsoleForm { get throws(Problem) { try visit.form } }

    func page(_ page: ConsolePage) -> Outbound { faces.console.render(page, for: knownVisit, done: notice) }

    /// What an action before says about itself: `?done=CODE`, a key of ``Notices``.
    private var notice: String? {
        guard let query = request.uri.query, let pairs = try? Form.parse(query.utf8) else { return nil }
        return pairs.first { $0.name == "done" }?.value
    }

    /// After a form: where to look now. A reload asks for that page and sends nothing again.
    /// - Parameter done: a key of ``Notices``.
    func see(_ path: String, done: String? = nil) -> Outbound {
        let mark = done.map { (path.utf8.contains(UInt8(ascii: "?")) ? "&" : "?") + "done=" + $0 } ?? ""
        var outbound = Outbound.redirect(faces.publicURL.origin + path + mark)
        outbound.fields[.referrerPolicy] = "same-origin"
        return outbound
    }

    /// The query's parameter, leniently: a page is no API. `""` when it is not there.
    func asked(_ name: String) -> String {
        guard let query = request.uri.query, let pairs = try? Form.parse(query.utf8) else { return "" }
        return pairs.first { $0.name == name }?.value ?? ""
    }
}

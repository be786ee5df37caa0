import OAuth
import Vault

/// One row of the doctor's table: a cause, how it is recognised in what went over the wire, and what to say about it.
struct Cause: Sendable {
    struct Words: Sendable {
        var state = Check.State.bad
        var detail: String
        var fix: String?
        var values: [Check.Value] = []
        var link: Check.Link?
        var apply: JSONObject?

        init(
            _ detail: String, fix: String? = nil, state: Check.State = .bad, values: [Check.Value] = [], link: Check.Link? = nil,
            apply: JSONObject? = nil
        ) {
            self.state = state
            self.detail = detail
            self.fix = fix
            self.values = values
            self.link = link
            self.apply = apply
        }
    }

    let id: String
    let title: String
    let recognises: @Sendable (_ trouble: Trouble, _ said: Said, _ facts: Facts) -> Bool
    private(set) var words: @Sendable (_ trouble: Trouble, _ said: Said, _ facts: Facts) -> Words = { _, _, _ in Words("") }

    init(_ id: String, _ title: String, when recognises: @escaping @Sendable (Trouble, Said, Facts) -> Bool) {
        self.id = id
        self.title = title
        self.recognises = recognises
    }

    func saying(_ words: @escaping @Sendable (Trouble, Said, Facts) -> Words) -> Cause {
        var cause = self
        cause.words = words
        return cause
    }

    /// In the order in which they are asked: what names its cause comes before what only hints at it.
    static let all = network + limits + redirection + consent + scope + client + proofKey + grant + people + endpoint + answer + [unknown]
}

/// Explains what went wrong, without a clock, a socket or a store.
enum Doctor {
    /// The first row that recognises it.
    static func explain(_ trouble: Trouble, _ facts: Facts) -> Check {
        let said = Said(trouble)
        let cause = Cause.all.first { $0.recognises(trouble, said, facts) } ?? Cause.unknown
        let words = cause.words(trouble, said, facts)
        var check = Check(
            cause.id, words.state, cause.title, words.detail, fix: words.fix, values: words.values, link: words.link, evidence: evidence(trouble),
            apply: words.apply.flatMap { change($0, changes: facts.connection) ? $0 : nil })
        if trouble.revision != facts.connection.revision {
            check.state = .unknown
            check.detail = "Before the connection was last changed: " + check.detail
            check.fix = "Try again to see whether the change helped. If it repeats: " + (check.fix ?? "read what came back.")
        }
        return check
    }

    /// Whether a patch would change anything of what it can name here.
    private static func change(_ patch: JSONObject, changes connection: Connection) -> Bool {
        guard let oauth = patch["oauth"]?.object else { return true }
        let settings = connection.settings.oauth
        let now: [String: JSONValue] = [
            "client_authentication": .string(settings.clientAuthentication), "pkce": settings.pkce.map(JSONValue.string) ?? .null,
            "scopes": .array(settings.scopes.map(JSONValue.string)),
        ]
        return oauth.members.contains { now[$0.name] != $0.value }
    }

    // MARK: Evidence

    static func evidence(_ trouble: Trouble) -> Check.Evidence {
        Check.Evidence(sent: sent(trouble), received: received(trouble), at: trouble.at)
    }

    private static func sent(_ trouble: Trouble) -> String {
        guard let request = trouble.request else { return "" }
        var lines = ["\(request.method) \(request.url)"]
        lines += request.headers.map { "\($0.name): \($0.value)" }
        if !request.fields.isEmpty { lines += [""] + request.fields.map { "\($0.name)=\($0.value)" } }
        return lines.joined(separator: "\n")
    }

    private static func received(_ trouble: Trouble) -> String {
        guard let response = trouble.response else {
            if trouble.stage == .authorization {
                var lines = [trouble.error.map { "error=\($0)" }, trouble.errorDescription.map { "error_description=\($0)" }].compactMap(\.self)
                if lines.isEmpty { lines = [trouble.reason ?? "no code"] }
                return lines.joined(separator: "\n")
            }
            return "No whole answer: \(trouble.reason ?? "nothing came")."
        }
        var lines = ["Status \(response.status)"]
        if let type = response.contentType { lines.append("Content-Type: \(type)") }
        if let location = response.location { lines.append("Location: \(location)/…") }
        if let title = response.pageTitle { lines.append("Title of the page: \(title)") }
        if !response.body.isEmpty { lines += ["", response.body] }
        return lines.joined(separator: "\n")
    }

    /// The authorization request as a browser carries it, without what belongs to one trip.
    static func authorizationRequest(_ connection: Connection, scopes: [String]?, redirectURI: String) -> Trouble.Request? {
        let settings = connection.settings
        guard settings.oauth.grantType == .authorizationCode, let url = (try? settings.endpoint(settings.oauth.authorizationURL, "")) ?? nil else {
            return nil
        }
        let profile = settings.profile
        var fields = [
            Trouble.Field("response_type", profile.responseType ?? ""), .init("client_id", settings.oauth.clientID ?? ""),
            .init("redirect_uri", redirectURI),
        ]
        let scope = (scopes ?? settings.oauth.scopes).joined(separator: profile.scopeSeparator)
        if !scope.isEmpty { fields.append(.init("scope", scope)) }
        fields.append(.init("state", Mask.dots))
        if settings.pkceMode != .none { fields += [.init("code_challenge", Mask.dots), .init("code_challenge_method", settings.pkceMode.rawValue)] }
        for (name, value) in profile.authorizationParams.sorted(by: { $0.key < $1.key }) where !value.isEmpty { fields.append(.init(name, value)) }
        return Trouble.Request(method: "GET", url: url.origin + url.path, fields: fields.filter { !$0.value.isEmpty })
    }
}

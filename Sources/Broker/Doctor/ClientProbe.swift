import OAuth
import OAuthClient
import Vault

/// How the provider wants the client authenticated, by asking it: requests with a code that cannot exist differ only in how the
/// client proves itself, and so do the answers. Never without a person who asked for it, and three requests at most.
struct ClientProbe: Sendable {
    static let mostRequests = 3

    enum Way: Sendable, Hashable {
        case method(ClientAuthenticationMethod)
        /// As the connection does it, with a secret that is wrong on purpose: whether the answer depends on it at all.
        case control
    }

    enum Answer: Sendable, Hashable {
        case accepted
        case refused
        /// Neither: the answer speaks of something else.
        case unclear
        case none
    }

    struct Asked: Sendable {
        let way: Way
        let answer: Answer
        let words: String
        var gaveTokens = false
    }

    let facts: Facts
    /// Id or secret look different in both kinds of Basic.
    let needsEncoding: Bool
    private(set) var asked: [Asked] = []

    init(_ facts: Facts, client: Client) {
        self.facts = facts
        let secret = client.registration.clientSecret?.withExposed { $0 } ?? ""
        needsEncoding = [client.registration.clientID, secret].contains { Form.encode($0) != $0 }
    }

    private var current: ClientAuthenticationMethod { facts.settings.authenticationMethod(hasSecret: facts.hasSecret) }

    /// What to ask next; `nil` when there is nothing more to learn, or enough was asked.
    var next: Way? {
        guard asked.count < Self.mostRequests else { return nil }
        guard let first = asked.first else { return .method(current) }
        switch first.answer {
        case .accepted:
            // Who looks at the code first says the same to everybody.
            return asked.count == 1 && needsControl && !first.gaveTokens ? .control : nil
        case .refused:
            guard facts.hasSecret, !asked.contains(where: { $0.answer == .accepted || $0.answer == .none }) else { return nil }
            return others.first { other in !asked.contains { $0.way == .method(other) } }.map(Way.method)
        case .unclear, .none: return nil
        }
    }

    private var others: [ClientAuthenticationMethod] {
        var methods: [ClientAuthenticationMethod] = [.clientSecretBasic, .clientSecretPost]
        methods.append(needsEncoding ? .clientSecretBasicRaw : .none)
        return methods.filter { $0 != current }
    }

    mutating func ask(_ way: Way, answered trouble: Trouble?) { asked.append(Self.judge(way, trouble, facts)) }

    /// - Parameter trouble: `nil` = tokens came.
    private static func judge(_ way: Way, _ trouble: Trouble?, _ facts: Facts) -> Asked {
        guard let trouble else { return Asked(way: way, answer: .accepted, words: "tokens", gaveTokens: true) }
        let status = trouble.response.map { "status \($0.status)" } ?? trouble.reason ?? "no answer"
        let words = [status, trouble.error].compactMap(\.self).joined(separator: ", ")
        guard trouble.response != nil else { return Asked(way: way, answer: .none, words: words) }
        let said = Said(trouble)
        if ["client", "client_authentication", "client_secret_expired"].contains(Doctor.explain(trouble, facts).id) {
            return Asked(way: way, answer: .refused, words: words)
        }
        let isPastTheDoor = said.isCode(
            "invalid_grant", "bad_verification_code", "invalid_code", "code_expired", "code_already_used", "unauthorized_client",
            "redirect_uri_mismatch", "invalid_scope")
        return Asked(way: way, answer: isPastTheDoor || said.says("bad_auth_code") ? .accepted : .unclear, words: words)
    }

    // MARK: What it tells

    /// The client is accepted as the connection sends it.
    var works: Bool {
        guard let first = asked.first, first.answer == .accepted else { return false }
        return first.gaveTokens || !needsControl || asked.dropFirst().first?.answer == .refused
    }

    private var needsControl: Bool { facts.hasSecret && current != .none }

    var check: Check {
        let evidence = Check.Evidence(
            sent:
                "A token request with a code that cannot exist, \(asked.count == 1 ? "once" : "\(asked.count) times"), each time with another "
                + "client authentication",
            received: asked.map { "\(Self.name($0.way)): \($0.words)" }.joined(separator: "\n"), at: facts.now)
        func check(_ state: Check.State, _ title: String, _ detail: String, fix: String? = nil, apply: JSONObject? = nil) -> Check {
            Check("client_authentication", state, title, detail, fix: fix, evidence: evidence, apply: apply)
        }
        let ours = Cause.words(current.rawValue)
        guard let first = asked.first else { return check(.unknown, "Client authentication", "The provider was not asked.") }
        if works { return check(.ok, "Client authentication", "\(facts.providerName) accepts the client as it is sent: \(ours).") }
        if let other = asked.first(where: { $0.answer == .accepted && $0.way != .control && $0.way != first.way }),
            case .method(let method) = other.way
        {
            return check(
                .bad, "The provider wants the client authenticated otherwise", "It refuses \(ours), and accepts \(Cause.words(method.rawValue)).",
                fix: "Send them as \(Cause.words(method.rawValue)).", apply: Facts.patch(["client_authentication": .string(method.rawValue)]))
        }
        switch first.answer {
        case .accepted where !asked.contains(where: { $0.way == .control && $0.answer == .accepted }):
            return check(
                .unknown, "Client authentication cannot be told", "Whether a wrong secret gets another answer could not be asked.", fix: "Ask again later.")
        case .accepted:
            return check(
                .unknown, "Client authentication cannot be told",
                "\(facts.providerName) looks at the code before it looks at the client: a wrong secret gets the same answer.",
                fix: "Connect to see whether the client is accepted.")
        case .refused where !facts.hasSecret:
            return check(
                .bad, "The client is refused without a secret",
                "The connection sends the Client ID alone, and \(facts.providerName) does not accept that.",
                fix: "Edit the connection and put the client secret in; or register the client as a public one at the provider.")
        case .refused:
            let tried = asked.map { Self.name($0.way) }.joined(separator: ", ")
            return check(
                .bad, "The client is refused in every way",
                "\(facts.providerName) refuses the client however it proves itself (\(tried)): the Client ID or the secret is wrong.",
                fix: "Copy Client ID and secret anew" + (facts.provider.map { " (\($0.secret))" } ?? "") + ", without spaces around them.")
        case .unclear:
            return check(
                .unknown, "Client authentication cannot be told", "The provider's answer speaks of something else than the client.",
                fix: "Look at the other checks first. Then ask again.")
        case .none:
            return check(.unknown, "Client authentication cannot be told", "No answer came.", fix: "Look at the other checks first. Then ask again.")
        }
    }

    private static func name(_ way: Way) -> String {
        switch way {
        case .method(let method): method.rawValue
        case .control: "as it is, with a wrong secret on purpose"
        }
    }

    // MARK: What is sent

    /// A code that no provider has given.
    static func grant(_ facts: Facts, entropy: Entropy) -> AuthorizationGrant? {
        var archive: JSONObject = [
            "code": .string("grantee-doctor-" + entropy.token(bytes: 16)), "redirect_uri": .string(facts.callbackURL), "scopes": [],
        ]
        if facts.pkce != .none { archive["verifier"] = PKCE.verifier(from: entropy).withExposed { .string($0) } }
        return CheckedCode(archive: JSONValue.object(archive).serialized()).map(AuthorizationGrant.authorizationCode)
    }

    static func client(_ client: Client, _ way: Way, entropy: Entropy) -> Client {
        var changed = client
        switch way {
        case .method(let method): changed.registration.authentication = method
        case .control: changed.registration.clientSecret = ClientSecret(entropy.token(bytes: 24))
        }
        return changed
    }
}

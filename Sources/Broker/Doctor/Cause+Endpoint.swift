import OAuth
import Vault

/// Something answers, but no token endpoint; or one that is down.
extension Cause {
    static let endpoint: [Cause] = [
        Cause("redirect", "The URL leads elsewhere", when: { _, said, _ in (300..<400).contains(said.status) }).saying { trouble, _, _ in
            let target = trouble.response?.location
            return Words(
                "The Access Token URL answers with a redirect\(target.map { " to \($0)" } ?? ""). Redirects are never followed: they would carry "
                    + "code and secret to another place.",
                fix: "Put in the URL that it leads to; often http stands where https belongs, or www is missing.")
        },
        Cause(
            "not_found", "There is no token endpoint at the URL",
            when: { trouble, said, _ in trouble.stage != .authorization && [404, 405, 410, 501].contains(said.status) }
        ).saying { trouble, said, facts in
            let found = facts.metadata?.tokenEndpoint.flatMap { $0 == facts.tokenURL ? nil : $0 }
            return Words(
                "\(host(trouble)) answers, but with status \(said.status): nothing at this path gives tokens.",
                fix: found.map { "The provider's metadata names another token endpoint: \($0.description)." }
                    ?? "Correct the Access Token URL; the provider's documentation has it, often as token endpoint.",
                apply: found.flatMap { facts.wouldMoveSecrets(to: $0.description) ? nil : Facts.patch(["token_url": .string($0.description)]) })
        },
        Cause(
            "provider_down", "The provider is down or busy",
            when: { _, said, _ in
                said.status >= 500 || said.status == 408 || said.isCode("temporarily_unavailable", "server_error", "fatal_error", "internal_error")
            }
        ).saying { _, said, facts in
            Words(
                "\(facts.providerName) cannot answer at the moment\(said.status >= 500 ? " (status \(said.status))" : ""). Grants are untouched, "
                    + "and tokens that live are given out.",
                fix: "Nothing to do here: it is asked again by itself, at growing distances. If it lasts, look at the provider's status page.",
                state: .warn)
        },
        Cause("html", "A page for people came, not a token", when: { trouble, _, _ in trouble.stage != .authorization && isPage(trouble) }).saying {
            trouble, said, _ in
            let title = trouble.response?.pageTitle.map { ", called \"\($0)\"" } ?? ""
            return Words(
                "A web page\(title) came in the place of a token (status \(said.status)): the URL is that of a login page, or something before the "
                    + "provider stops requests from here.",
                fix:
                    "Check that the Access Token URL is the token endpoint, and not the Authorization URL. If it is, a firewall or a proxy answers: "
                    + "ask whoever runs it to let this server through."
            )
        },
    ]

    static let answer: [Cause] = [
        Cause("token_type", "The token is of a kind that is not supported", when: { trouble, _, _ in trouble.reason?.contains("token_type") == true })
            .saying { _, _, _ in
                Words(
                    "The provider gave a token that is not a Bearer token, so it cannot be sent as one.",
                    fix:
                        "If the provider means Bearer by another word, add that word to token_type_aliases. Otherwise the provider wants proofs of "
                        + "possession that are not supported."
                )
            },
        Cause("media_type", "The answer is no token response", when: { trouble, _, _ in trouble.failure == .malformed }).saying { trouble, said, _ in
            let type = trouble.response?.contentType.map { " of type \($0)" } ?? ""
            return Words(
                "An answer\(type) came with status \(said.status) that no token can be read from: \(trouble.reason ?? "it is no JSON object").",
                fix: trouble.reason?.contains("access_token") == true
                    ? "If the provider names its members otherwise, or puts them deeper, set token_response_members or response_path."
                    : "Check that the Access Token URL is the token endpoint. JSON objects and forms are read; XML and pages are not.")
        },
        Cause(
            "request", "The provider finds the request wrong",
            when: { _, said, _ in
                said.isCode("invalid_request", "invalid_parameter", "bad_request") || (said.code.isEmpty && [400, 415, 422].contains(said.status))
            }
        ).saying { trouble, said, facts in
            Words(
                "\(facts.providerName) does not take the request as it was sent."
                    + (trouble.errorDescription.map { " It says: \(quoted($0))." } ?? " It does not say why."),
                fix: said.status == 415 || facts.profile.tokenRequestFormat != .form
                    ? "Check token_request_format: most providers want form, a few json."
                    : "Compare what was sent with the provider's documentation: parameters that it wants besides (token_params, "
                        + "authorization_params), the PKCE Mode, the client authentication."
            )
        },
    ]

    static let unknown = Cause("provider", "The provider says something that the doctor does not know", when: { _, _, _ in true }).saying {
        trouble, said, facts in
        let code = trouble.error.map { "\(quoted($0, limit: 80))" } ?? "no error code"
        let status = said.status == 0 ? "" : " (status \(said.status))"
        return Words(
            "\(facts.providerName) answered \(code)\(status)" + (trouble.errorDescription.map { ": \(quoted($0))." } ?? "."),
            fix: "Look the words up in the provider's documentation. Then connect again.")
    }

    /// A provider's words within ours: short, on one line.
    private static func quoted(_ text: String, limit: Int = 200) -> String { "“" + ProviderProblem.shown(text).prefix(limit) + "”" }
}

import OAuth
import Vault

/// No answer came.
extension Cause {
    static let network: [Cause] = [
        Cause("egress_policy", "Outbound requests may not go there", when: { trouble, _, _ in trouble.failure == .blocked }).saying { trouble, _, _ in
            Words(
                "\(host(trouble)) lies in a private network, or the URL is plain http. This server reaches public addresses over https only, so "
                    + "that nobody can use it to look into your network.",
                fix:
                    "If the URL is right, the operator opens that network: start the server with --egress-allow and its range, such as "
                    + "--egress-allow 10.1.0.0/16. Otherwise use the provider's public https URL."
            )
        },
        Cause(
            "dns", "The name is not known",
            when: { trouble, _, _ in trouble.failure == .unreachable && reason(trouble).contains("name") && reason(trouble).contains("resolve") }
        ).saying { trouble, _, _ in
            Words(
                "No address was found for \(host(trouble)).",
                fix:
                    "Look for a typing error in the host. If it is right, the name server that this machine uses does not know it, or did not answer."
            )
        },
        Cause("tls", "No secure connection", when: { trouble, _, _ in trouble.failure == .unreachable && reason(trouble).contains("tls") }).saying {
            trouble, _, _ in
            let certificate = reason(trouble).contains("certificate")
            return Words(
                "\(host(trouble)) was reached, but \(trouble.reason ?? "TLS failed").",
                fix: certificate
                    ? "If the server's certificate comes from a company's own authority, the operator names it: start the server with --ca-file. If "
                        + "it has expired or is for another name, its owner renews it, or the URL's host is wrong."
                    : "Check that the URL's port speaks https, with TLS 1.2 or later.")
        },
        Cause("connection", "Nobody answers there", when: { trouble, _, _ in trouble.failure == .unreachable }).saying { trouble, _, _ in
            Words(
                "\(host(trouble)) was not reached: \(trouble.reason ?? "no connection").",
                fix:
                    "Check host and port of the URL, that the provider is up, and that a firewall between here and there lets the connection through."
            )
        },
        Cause("timeout", "No answer in time", when: { trouble, _, _ in trouble.failure == .timedOut }).saying { trouble, _, _ in
            Words(
                "The connection to \(host(trouble)) stands, but no answer came within the time that is waited.",
                fix:
                    "Try again in some minutes. If it repeats, look at the provider's status page, and check that the URL is that of its token "
                    + "endpoint.",
                state: .warn)
        },
        Cause("broken_answer", "The answer broke off", when: { trouble, _, _ in trouble.failure == .broken }).saying { trouble, _, _ in
            Words(
                "An answer of \(host(trouble)) began and could not be used: \(trouble.reason ?? "it broke off").",
                fix: "Try again in some minutes. If it repeats, a proxy on the way may cut answers, or the URL is not that of a token endpoint.",
                state: .warn)
        },
    ]

    static let limits: [Cause] = [
        Cause(
            "rate_limited", "Too many requests",
            when: { _, said, _ in
                said.status == 429 || said.isCode("slow_down", "ratelimited", "rate_limited", "too_many_requests") || said.says("aadsts90055")
            }
        ).saying { _, _, facts in
            Words(
                "\(facts.providerName) wants to be asked more slowly. Nothing is wrong with the connection.",
                fix: "Nothing to do: it is asked again when the time that it named is over. If it happens often, ask it for a higher limit.",
                state: .warn)
        }
    ]

    private static func reason(_ trouble: Trouble) -> String { (trouble.reason ?? "").lowercased() }

    static func host(_ trouble: Trouble) -> String {
        trouble.request.flatMap { try? EndpointURL($0.url) }?.host ?? "the provider"
    }
}

import OAuth
import Vault

/// PKCE, RFC 7636.
extension Cause {
    static let proofKey: [Cause] = [
        Cause(
            "pkce_unsupported", "The provider does not take this PKCE mode",
            when: { _, said, facts in
                facts.pkce != .none
                    && said.says(
                        "code_challenge is not supported", "code_challenge_method is not supported", "code_challenge_method s256 is not supported",
                        "code challenge method is not supported", "unsupported code_challenge_method", "pkce is not supported",
                        "unknown parameter: code_challenge",
                        "unsupported parameter code_challenge", "unexpected parameter: code_verifier", "code_verifier is not supported",
                        "pkce is not allowed",
                        "code_verifier came without", "invalid parameter: code_challenge", "transform algorithm not supported")
            }
        ).saying { _, said, facts in
            let isMethod = facts.pkce == .s256 && said.says("s256", "method", "transform algorithm")
            return Words(
                isMethod
                    ? "The provider takes PKCE, but not the mode SHA-256 (S256)."
                    : "The provider refuses requests with PKCE, the proof that the same client asks for the code and redeems it.",
                fix: isMethod
                    ? "Set the PKCE Mode to Plain. It protects less than SHA-256: ask the provider for S256."
                    : "Turn PKCE off for this connection"
                        + (facts.hasSecret
                            ? "; its client secret still protects the code." : ", and give it a client secret: nothing else protects the code then."),
                apply: Facts.patch(["pkce": isMethod ? "plain" : "none"]))
        },
        Cause(
            "pkce_required", "The provider wants PKCE",
            when: { _, said, facts in
                said.says(
                    "code_challenge is required", "code challenge is required", "code challenge required", "missing parameter: code_challenge",
                    "missing required code challenge",
                    "missing code_challenge", "pkce is required", "pkce required", "requires pkce", "must use pkce",
                    "pkce code challenge is required", "proof key for code exchange is required",
                    "code_challenge_method must be s256", "code challenge method must be s256", "plain is not allowed", "only s256")
                    || (facts.pkce == .none && said.says("code_verifier", "code verifier", "code_challenge", "code challenge"))
            }
        ).saying { _, _, facts in
            switch facts.pkce {
            case .none:
                Words(
                    "The provider redeems a code only with PKCE, the proof that the same client asked for it. The connection has it turned off.",
                    fix: "Set the PKCE Mode to SHA-256 (S256). Then connect again.", apply: Facts.patch(["pkce": "S256"]))
            case .plain:
                Words(
                    "The provider wants the PKCE mode SHA-256, and the connection sends Plain.",
                    fix: "Set the PKCE Mode to SHA-256 (S256). Then connect again.",
                    apply: Facts.patch(["pkce": "S256"]))
            case .s256:
                Words(
                    "The provider says that PKCE is missing, though the connection sends it: something on the way drops the parameters.",
                    fix: "Check that the Authorization URL leads to the provider itself, and not over a page that forwards without the query.")
            }
        },
        Cause(
            "pkce_mismatch", "The PKCE proof did not fit",
            when: { _, said, _ in
                said.hasNumber(501_481, 50148)
                    || said.says(
                        "code verifier", "code_verifier", "pkce verification failed", "pkce code verifier", "code challenge failed", "code_challenge")
            }
        ).saying { _, _, facts in
            Words(
                "The provider redeems the code only with the proof of the browser trip that it was given to, and this one did not fit.",
                fix:
                    "Connect again, in one window: two trips at once at some providers spoil each other. If it repeats, the provider's PKCE is "
                    + "broken: set the PKCE Mode to None"
                    + (facts.hasSecret ? "." : ", and give the connection a client secret."))
        },
    ]
}

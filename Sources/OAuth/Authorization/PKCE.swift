/// Proof Key for Code Exchange, RFC 7636.
public enum PKCE {
    public enum Mode: String, Sendable, Hashable, CaseIterable {
        case none
        /// The challenge is base64url(SHA-256(verifier)).
        case s256 = "S256"
        /// The challenge is the verifier: for legacy systems only.
        case plain
    }
    /// 32 random bytes as 43 characters. RFC 7636 §4.1.
    public static func verifier(from entropy: Entropy = .system) -> CodeVerifier { CodeVerifier(entropy.token(bytes: 32)) }
    /// - Throws: when the verifier is not 43 to 128 unreserved characters.
    public static func challenge(for verifier: CodeVerifier, mode: Mode) throws(PKCEError) -> String { fatalError("stub") }
}

public struct PKCEError: Error, Sendable, Hashable {}

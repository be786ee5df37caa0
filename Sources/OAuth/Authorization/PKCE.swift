import Crypto

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

    /// - Parameter mode: `none` has no challenge, and gives the empty string.
    /// - Throws: when the verifier is not 43 to 128 unreserved characters.
    public static func challenge(for verifier: CodeVerifier, mode: Mode) throws(PKCEError) -> String {
        try verifier.withExposed { text throws(PKCEError) in
            guard (43...128).contains(text.utf8.count), text.utf8.allSatisfy(isUnreserved) else { throw PKCEError() }
            switch mode {
            case .none: return ""
            case .plain: return text
            case .s256: return Base64URL.encode(SHA256.hash(data: Array(text.utf8)))
            }
        }
    }

    private static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
            true
        default: false
        }
    }
}

/// The verifier is not one. RFC 7636 §4.1.
public struct PKCEError: Error, Sendable, Hashable {}

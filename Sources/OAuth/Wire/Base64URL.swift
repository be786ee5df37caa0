/// base64url without padding, RFC 7515 Appendix C. The decoder refuses padding, white space and non-zero unused bits.
public enum Base64URL {
    public static func encode(_ bytes: some Sequence<UInt8>) -> String { fatalError("stub") }
    public static func decode(_ text: String) -> [UInt8]? { fatalError("stub") }
}

/// A secret as it may be written: the letters to look for, and the escapes that each of them may be hidden by.
struct Clothing: Sendable {
    enum Form: Sendable {
        case plain
        case hex
        /// Base64 and Base64url of something that has the secret in it, after so many bytes modulo 3.
        /// Only the characters that the secret alone decides. RFC 4648 §4 and §5.
        case base64(skew: Int)
    }

    let form: Form
    let escapes: Escapes
    let count: Int
    private let secret: [UInt8]

    private init(_ secret: [UInt8], _ form: Form, _ escapes: Escapes = .all) {
        self.secret = secret
        self.form = form
        self.escapes = escapes
        switch form {
        case .plain: count = secret.count
        case .hex: count = 2 * secret.count
        case .base64(let skew): count = 8 * (skew + secret.count) / 6 - Self.firstCharacter(skew)
        }
    }

    /// Every clothing of a secret.
    static func all(of secret: [UInt8]) -> [Clothing] {
        let disguised = [Clothing(secret, .hex)] + (0..<3).map { Clothing(secret, .base64(skew: $0)) }
        guard secret.contains(where: { $0 == .percent || $0 == .backslash || $0 == .ampersand }) else { return [Clothing(secret, .plain)] + disguised }
        // Such a secret has what looks like an escape and is none, so each way of escaping is undone apart, and none at all.
        let ways: [Escapes] = [[], .percent, .json, .entities]
        return ways.map { Clothing(secret, .plain, $0) } + disguised
    }

    /// The letter at that place, as ``folded(_:)`` has it.
    func letter(_ index: Int) -> UInt8 {
        switch form {
        case .plain: return secret[index]
        case .hex: return Self.digits[Int(index % 2 == 0 ? secret[index / 2] >> 4 : secret[index / 2] & 15)]
        case .base64(let skew):
            let bit = 6 * (Self.firstCharacter(skew) + index) - 8 * skew
            let low = bit / 8 + 1 < secret.count ? UInt16(secret[bit / 8 + 1]) : 0
            return Self.alphabet[Int((UInt16(secret[bit / 8]) << 8 | low) >> (10 - bit % 8) & 63)]
        }
    }

    /// What is the same letter in this form: `A` and `a` of hex, `+` and `-` of the two alphabets of Base64.
    func folded(_ byte: UInt8) -> UInt8 {
        switch (form, byte) {
        case (.hex, UInt8(ascii: "A")...UInt8(ascii: "F")): byte | 0x20
        case (.base64, UInt8(ascii: "-")): UInt8(ascii: "+")
        case (.base64, UInt8(ascii: "_")): UInt8(ascii: "/")
        default: byte
        }
    }

    /// The other way of writing a letter; where there is none, the letter.
    func other(_ letter: UInt8) -> UInt8 {
        switch (form, letter) {
        case (.hex, UInt8(ascii: "a")...UInt8(ascii: "f")): letter & ~0x20
        case (.base64, UInt8(ascii: "+")): UInt8(ascii: "-")
        case (.base64, UInt8(ascii: "/")): UInt8(ascii: "_")
        default: letter
        }
    }

    private static func firstCharacter(_ skew: Int) -> Int { (8 * skew + 5) / 6 }

    private static let digits = Array("0123456789abcdef".utf8)
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    /// What may be in hex and in the two alphabets of Base64.
    static let characters = alphabet + Array("-_".utf8)
}

import OAuth

/// Takes out of a text what a reader is not to see: the secrets of one request, in each form that they may be repeated in,
/// and whatever looks like a token that nobody here knows yet.
struct Mask: Sendable {
    static let dots = "••••••"
    /// What is found within words too often to be searched for.
    private static let shortest = 4
    /// Of a text from outside no more bytes than this are read.
    private static let longest = 16 << 10

    /// The longest first, so that none is left over in pieces.
    private let secrets: [[UInt8]]
    /// A secret is too short to be told from words: no text from outside is shown.
    let isBlind: Bool
    /// What may stand in a text though it looks like a token.
    private let publicValues: [String]

    /// - Parameters:
    ///   - secrets: as they are; their encoded forms are found too.
    ///   - personal: what is masked where it can be, such as a user's name.
    init(secrets: [String], personal: [String] = [], publicValues: [String] = []) {
        let given = secrets.filter { !$0.isEmpty }
        isBlind = given.contains { $0.utf8.count < Self.shortest }
        let searched = (given + personal).filter { $0.utf8.count >= Self.shortest }
        self.secrets = Set(searched.flatMap(Self.forms)).map { Array($0.utf8) }.sorted { $0.count > $1.count }
        self.publicValues = publicValues
    }

    /// How a value may be repeated.
    private static func forms(_ value: String) -> [String] {
        let form = Form.encode(value)
        let percent = Form.percentEncode(value)
        var json: [UInt8] = []
        JSONValue.write(value, to: &json)
        let html = value.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;").replacing("\"", with: "&quot;")
        let base64URL = Base64URL.encode(value.utf8)
        let base64 = base64URL.replacing("-", with: "+").replacing("_", with: "/")
        let quoted = String(decoding: json.dropFirst().dropLast(), as: UTF8.self)
        return [
            value, form, lowerHex(form), percent, lowerHex(percent), quoted, quoted.replacing("/", with: "\\/"), html,
            html.replacing("&quot;", with: "&#34;"),
            base64URL, base64,
        ]
    }

    /// `%2F` as `%2f`.
    private static func lowerHex(_ text: String) -> String {
        var result: [UInt8] = []
        var hex = 0
        for byte in text.utf8 {
            result.append(hex > 0 && (0x41...0x46).contains(byte) ? byte + 0x20 : byte)
            hex = byte == UInt8(ascii: "%") ? 2 : max(hex - 1, 0)
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// Without any of the secrets. Bytes are compared as bytes.
    /// - Parameter limit: where in `text` to stop; a secret that begins before it is found whole.
    func masked(_ text: String, upTo limit: Int = .max) -> String {
        let bytes = Array(text.utf8)
        var result: [UInt8] = []
        var index = 0
        while index < min(bytes.count, limit) {
            if let found = secrets.first(where: { $0[0] == bytes[index] && bytes[index...].starts(with: $0) }) {
                result += Self.dots.utf8
                index += found.count
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// A text from outside, fit to be shown: one line, without secrets and without what looks like one; cut.
    func shown(_ text: String, limit: Int = 600) -> String {
        guard !isBlind else { return "" }
        return ProviderText.clean(withoutTokens(masked(text, upTo: Self.longest)), limit: limit)
    }

    /// An error code: a word, of which none is masked for being part of a secret.
    func code(_ text: String) -> String {
        let isWord = text.utf8.allSatisfy { (0x61...0x7A).contains($0) || $0 == UInt8(ascii: "_") }
        return isWord && !secrets.contains(Array(text.utf8)) ? text : ProviderText.clean(withoutTokens(masked(text)), limit: 128)
    }

    // MARK: What looks like a token

    private func withoutTokens(_ text: String) -> String {
        var result: [UInt8] = []
        var run: [UInt8] = []
        func end() {
            result += isToken(run) ? Array(Self.dots.utf8) : run
            run = []
        }
        for byte in text.utf8 {
            if Self.isTokenByte(byte) {
                run.append(byte)
            } else {
                end()
                result.append(byte)
            }
        }
        end()
        return String(decoding: result, as: UTF8.self)
    }

    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "~"), UInt8(ascii: "+"), UInt8(ascii: "="):
            true
        default: false
        }
    }

    /// Long, and of letters and digits; an id that a provider's support asks for is none.
    private func isToken(_ run: [UInt8]) -> Bool {
        guard run.count >= 24, run.contains(where: { (0x30...0x39).contains($0) }), run.contains(where: { $0 >= 0x41 }) else { return false }
        let isUUID = run.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false).map(\.count) == [8, 4, 4, 4, 12]
        guard !isUUID else { return false }
        let text = String(decoding: run, as: UTF8.self)
        return !publicValues.contains { $0.contains(text) }
    }
}

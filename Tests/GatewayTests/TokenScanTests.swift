import NIOCore
import Testing

@testable import Gateway

// SEC-87, SEC-127
@Suite struct TokenScanTests {
    static let token = "ya29.a0/xY+Qk7~mPw==Zt"

    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        var text: String
        var masked: String
        var testDescription: String { name }

        init(_ name: String, _ before: String, _ clothed: String, _ after: String) {
            self.name = name
            text = before + clothed + after
            masked = before + String(repeating: "*", count: clothed.utf8.count) + after
        }
    }

    static let cases: [Case] = {
        let percent = Clothe.each(token) { "%" + Clothe.hex($0) }
        let some = Clothe.each(token) { "+/=".utf8.contains($0) ? "%" + Clothe.hex($0, upper: true) : Clothe.raw($0) }
        let json = Clothe.each(token) { "\\u00" + Clothe.hex($0) }
        let decimal = Clothe.each(token) { "&#\($0);" }
        let hexadecimal = Clothe.each(token) { "+/=".utf8.contains($0) ? "&#x\(Clothe.hex($0, upper: true));" : Clothe.raw($0) }
        return [
            Case("as it is", #"{"token":""#, token, #"","x":1}"#),
            Case("after Bearer", "Authorization: Bearer ", token, "\r\n"),
            Case("the whole text", "", token, ""),
            Case("twice", "a ", token, " b"),
            Case("after a percent sign that escapes nothing", "LIKE '%", token, "%'"),
            Case("wholly percent-encoded", "q=", percent, "&n=1"),
            Case("percent-encoded where a URL asks for it", "q=", some, "&n=1"),
            Case("percent-encoded twice", "q=", some.replacing("%", with: "%25"), "&n=1"),
            Case("wholly in JSON's escapes", #"{"a":""#, json, #""}"#),
            Case("in JSON's escapes in upper case", #"{"a":""#, Clothe.each(token) { $0 == 0x2b ? "\\u002B" : Clothe.raw($0) }, #""}"#),
            Case("with JSON's escaped slashes", #"{"a":""#, token.replacing("/", with: "\\/"), #""}"#),
            Case("in JSON in JSON", #"{"a":"{\"b\":\""#, token.replacing("/", with: "\\\\\\/").replacing("+", with: "\\\\u002b"), #"\"}"}"#),
            Case("in a script's escapes", "'", Clothe.each(token) { $0 == 0x2b ? "\\x2b" : Clothe.raw($0) }, "'"),
            Case("wholly in HTML's decimal references", "<p>", decimal, "</p>"),
            Case("in HTML's hexadecimal references", "<p>", hexadecimal, "</p>"),
            Case("in HTML in HTML", "<p>", hexadecimal.replacing("&", with: "&amp;"), "</p>"),
            Case("in HTML's names", "<p>", token.replacing("+", with: "&plus;").replacing("/", with: "&sol;").replacing("=", with: "&equals;"), "</p>"),
            Case("in all escapes at once", "'", "%79\\u00612&#57;.a0\\/xY&#x2b;Qk7~mPw%3d=Z&#00116;", "'"),
            Case("in hex", "0x", Clothe.hex(token), " "),
            Case("in upper hex", "0x", Clothe.hex(token, upper: true), " "),
            Case("in percent-encoded hex", "=", Clothe.hex(token).replacing("7", with: "%37"), " "),
            Case("in Base64 as the first of something", #"{"a":""#, Clothe.base64(token, before: 0, url: false), "=\"}"),
            Case("in Base64 after one byte", #"{"a":"e"#, Clothe.base64(token, before: 1, url: false), "0=\"}"),
            Case("in Base64 after two bytes", #"{"a":"eHh"#, Clothe.base64(token, before: 2, url: false), "==\"}"),
            Case("in Base64url", "a.", Clothe.base64(token, before: 0, url: true), ".c"),
            Case("in Base64url after one byte", "a.", Clothe.base64(token, before: 1, url: true), ".c"),
            Case("in Base64url after two bytes", "a.", Clothe.base64(token, before: 2, url: true), ".c"),
            Case("in percent-encoded Base64", "a=", Clothe.base64(token, before: 2, url: false).replacing("/", with: "%2F").replacing("+", with: "%2B"), "&c"),
            Case("in Base64 in JSON", "\"", Clothe.base64(token, before: 2, url: false).replacing("/", with: "\\/"), "\""),
        ]
    }()

    @Test("Every clothing is masked and nothing else, as one text", arguments: cases)
    func whole(_ item: Case) {
        var scan = TokenScan(secrets: [Self.token, "Bearer " + Self.token])
        #expect(scan.masked(item.text) == item.masked)
        #expect(scan.found == 1)
    }

    @Test("Every clothing is masked, wherever a chunk ends", arguments: cases)
    func split(_ item: Case) {
        let scan = TokenScan(secrets: [Self.token])
        let bytes = Array(item.text.utf8)
        for place in 0...bytes.count {
            let (masked, found) = read(scan, [bytes[..<place], bytes[place...]])
            #expect(masked == item.masked, "split at \(place)")
            #expect(found == 1, "split at \(place)")
        }
        let (masked, found) = read(scan, bytes.indices.map { bytes[$0...$0] })
        #expect(masked == item.masked)
        #expect(found == 1)
    }

    @Test("Base64 of Bearer and of user and token hides nothing")
    func wrapped() {
        for outer in ["Bearer ", "user:", "x", ""] {
            for url in [false, true] {
                var scan = TokenScan(secrets: [Self.token])
                let text = Clothe.base64(outer + Self.token + "\n", before: 0, url: url)
                let masked = scan.masked(text)
                #expect(scan.found == 1)
                #expect(masked.utf8.count == text.utf8.count)
                #expect(!masked.contains(Clothe.base64(Self.token, before: outer.utf8.count % 3, url: url)))
            }
        }
    }

    static let nearMisses: [String] = [
        String(token.dropLast()), String(token.dropFirst()), token.uppercased(), String(token.reversed()), token.replacing("7", with: "8"),
        token.replacing("+", with: " "), String(token.dropLast()) + "%7", String(token.dropLast()) + "\\u007", String(token.dropLast()) + "&#11",
        String(Clothe.hex(token).dropLast()), String(Clothe.base64(token, before: 0, url: false).dropLast()), "ya29.a0ya29.a0/ya29.a0/xY+ya29",
        "%", "\\", "&", "%%%%%%%%%", "\\\\\\\\\\\\", "&&&&&&&&&&", "&amp;&amp;&amp;", "\\u00", "&#", "&#;&#x;", "%2", "",
    ]

    @Test("A near miss stays as it is", arguments: nearMisses)
    func nearMiss(_ text: String) {
        var scan = TokenScan(secrets: [Self.token])
        #expect(scan.masked(text) == text)
        let bytes = Array(text.utf8)
        for place in 0...bytes.count { #expect(read(scan, [bytes[..<place], bytes[place...]]).masked == text) }
        #expect(scan.found == 0)
    }

    @Test(
        "A secret that has what looks like an escape in it is found as it is, and escaped",
        arguments: ["abc%41def%zz", #"abc\/def\u0041"#, "abc&amp;def&#65;", "100%&more\\"])
    func secretWithEscapes(_ secret: String) {
        let percent = secret.replacing("%", with: "%25").replacing("\\", with: "%5C").replacing("&", with: "%26")
        let json = secret.replacing("\\", with: "\\\\").replacing("/", with: "\\/")
        let html = secret.replacing("&", with: "&amp;")
        for text in [secret, percent, json, html, Clothe.hex(secret), Clothe.base64(secret, before: 1, url: true)] {
            var scan = TokenScan(secrets: [secret])
            #expect(scan.masked("<\(text)>") == "<\(String(repeating: "*", count: text.utf8.count))>")
            let bytes = Array("<\(text)>".utf8)
            #expect(read(scan, bytes.indices.map { bytes[$0...$0] }).masked == "<\(String(repeating: "*", count: text.utf8.count))>")
        }
    }

    @Test("Several secrets are each found, and how often is counted")
    func several() {
        var scan = TokenScan(secrets: ["first-secret", "second-secret", "Basic dXNlcjpwYXNz"])
        #expect(scan.masked("second-secret, first-secret, first-secret") == "*************, ************, ************")
        #expect(scan.found == 3)
        #expect(scan.next(ByteBuffer(string: "Basic dXNlcjpwYXNz\n")) == ByteBuffer(string: "******************\n"))
        #expect(scan.found == 4)
        #expect(scan.masked("second-secre") == "second-secre")
    }

    @Test("A secret that repeats itself is masked as often as it is there")
    func overlapping() {
        var scan = TokenScan(secrets: ["abababab"])
        #expect(scan.masked("xababababababy") == "x************y")
        #expect(scan.found == 1)
        #expect(scan.masked("abababaabababab") == "abababa********")
    }

    @Test("What is shorter than 8 bytes is left alone, and so is all when there is no secret")
    func short() {
        var scan = TokenScan(secrets: ["1234567", ""])
        #expect(scan.masked("1234567") == "1234567")
        #expect(scan.next(ByteBuffer(string: "1234567")) == ByteBuffer(string: "1234567"))
        var shortest = TokenScan(secrets: ["12345678", "1234567"])
        #expect(shortest.masked("12345678 1234567") == "******** 1234567")
        // A short token is still found by the value that it went in.
        var bearer = TokenScan(secrets: ["abc", "Bearer abc"])
        #expect(bearer.masked("abc Bearer abc") == "abc **********")
    }

    @Test("An event is not held back: only what may be the beginning of a match is")
    func serverSentEvents() {
        var scan = TokenScan(secrets: [Self.token])
        for event in ["data: {\"n\": 1}\n\n", ": ping\n\n", "event: end\ndata: ya29.a\n\n", "data: %7B%22a%22%3A1%7D\n\n", "data: \\u0041&amp;\n\n"] {
            #expect(scan.next(ByteBuffer(string: event)) == ByteBuffer(string: event))
        }
        #expect(scan.next(ByteBuffer(string: "data: ya29")) == ByteBuffer(string: "data: "))
        #expect(scan.next(ByteBuffer(string: ".b\n\n")) == ByteBuffer(string: "ya29.b\n\n"))
        #expect(scan.next(ByteBuffer(string: "data: ya29")) == ByteBuffer(string: "data: "))
        #expect(scan.finish() == ByteBuffer(string: "ya29"))
        #expect(scan.finish() == ByteBuffer())
    }

    @Test("A chunk without a match is given back, not copied")
    func sameBuffer() {
        var scan = TokenScan(secrets: [Self.token])
        let chunk = ByteBuffer(repeating: UInt8(ascii: "x"), count: 1000)
        let given = chunk.withUnsafeReadableBytes { $0.baseAddress }
        let next = scan.next(chunk)
        #expect(next.withUnsafeReadableBytes { $0.baseAddress } == given)
    }

    @Test("A token of 64 KiB is found in every clothing")
    func long() {
        var random = Seeded(8)
        let token = String(decoding: (0..<65_536).map { _ in Clothe.tokenCharacters[random.below(Clothe.tokenCharacters.count)] }, as: UTF8.self)
        let scan = TokenScan(secrets: [token])
        for clothing in Clothe.Clothing.allCases {
            let clothed = clothing.put(on: token, &random)
            let bytes = Array("<\(clothed)>".utf8)
            let chunks = stride(from: 0, to: bytes.count, by: 10_000).map { bytes[$0..<min($0 + 10_000, bytes.count)] }
            #expect(read(scan, chunks).masked == "<\(String(repeating: "*", count: clothed.utf8.count))>")
        }
    }

    @Test("Whatever the token, its clothing, what is around it and the chunks: it is masked and the rest is as it was", arguments: 0..<40)
    func random(_ seed: Int) {
        var random = Seeded(UInt64(seed) + 1)
        for _ in 0..<25 {
            let token = Clothe.token(8 + random.below(60), &random)
            var text = ""
            var expected = ""
            let count = random.below(4)
            for index in 0...count {
                // Noise that is full of beginnings and of escapes.
                let noise = Clothe.noise(random.below(120), token, &random)
                text += noise
                expected += noise
                guard index < count, let clothing = Clothe.Clothing.allCases.randomElement(using: &random) else { continue }
                let clothed = clothing.put(on: token, &random)
                text += "\n" + clothed + "\n"
                expected += "\n" + String(repeating: "*", count: clothed.utf8.count) + "\n"
            }
            let scan = TokenScan(secrets: [token, "Bearer " + token])
            let bytes = Array(text.utf8)
            var chunks: [ArraySlice<UInt8>] = []
            var place = 0
            while place < bytes.count {
                let end = min(bytes.count, place + 1 + random.below(50))
                chunks.append(bytes[place..<end])
                place = end
            }
            let (masked, found) = read(scan, chunks)
            #expect(masked == expected)
            #expect(found == count)
            var whole = scan
            #expect(whole.masked(text) == expected)
        }
    }

    @Test("A body of beginnings takes time that grows with it alone, and no memory that does")
    func hostile() {
        // With a token that repeats itself a naive search would compare 8,192 letters at each of a million places.
        let token = String(repeating: "a", count: 8191) + "~"
        for (unit, letters) in [("a", 1), ("%61", 1), ("&#97;", 1), ("\\u0061", 1), ("YWFh", 3), ("61", 1)] {
            var scan = TokenScan(secrets: [token])
            let chunk = ByteBuffer(string: String(repeating: unit, count: 16_384 / unit.utf8.count))
            var given = 0
            var fed = 0
            for _ in 0..<16 {
                fed += chunk.readableBytes
                given += scan.next(chunk).readableBytes
                #expect(fed - given <= token.utf8.count * unit.utf8.count / letters)
            }
            #expect(given + scan.finish().readableBytes == fed)
            #expect(scan.found == 0)
        }
    }

    @Test("Printing a scan does not print what it looks for")
    func silent() {
        var text = ""
        let scan = TokenScan(secrets: [Self.token])
        dump(scan, to: &text)
        print(scan, String(reflecting: scan), "\([scan])", to: &text)
        #expect(text.contains("TokenScan(redacted)"))
        #expect(!text.contains(Self.token))
        #expect(!text.contains("121"))  // its first byte
    }

    private func read(_ scan: TokenScan, _ chunks: [ArraySlice<UInt8>]) -> (masked: String, found: Int) {
        var scan = scan
        var bytes: [UInt8] = []
        for chunk in chunks { bytes += scan.next(ByteBuffer(bytes: chunk)).readableBytesView }
        bytes += scan.finish().readableBytesView
        return (String(decoding: bytes, as: UTF8.self), scan.found)
    }
}

/// Puts clothes on secrets, by other means than the scan undoes them.
private enum Clothe {
    static let tokenCharacters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=".utf8)

    enum Clothing: CaseIterable {
        case plain, percent, somePercent, json, someJSON, html, someHTML, mixed, lowerHex, upperHex, standardBase64, urlBase64

        func put(on token: String, _ random: inout Seeded) -> String {
            switch self {
            case .plain: token
            case .percent: each(token) { "%" + hex($0) }
            case .somePercent: each(token) { random.below(3) == 0 ? "%" + hex($0, upper: random.below(2) == 0) : raw($0) }
            case .json: each(token) { "\\u00" + hex($0) }
            case .someJSON: each(token) { $0 == UInt8(ascii: "/") ? "\\/" : random.below(9) == 0 ? "\\u00" + hex($0, upper: true) : raw($0) }
            case .html: each(token) { "&#\($0);" }
            case .someHTML: each(token) { "+/=".utf8.contains($0) ? "&#x\(hex($0));" : raw($0) }
            case .mixed:
                each(token) { byte in
                    let ways: [(String, String)] = [("%", ""), ("%25", ""), ("\\u00", ""), ("\\x", ""), ("&#x", ";")]
                    guard let way = ways.randomElement(using: &random), random.below(4) > 0 else { return raw(byte) }
                    return way.0 + hex(byte) + way.1
                }
            case .lowerHex: hex(token)
            case .upperHex: hex(token, upper: true)
            case .standardBase64: base64(token, before: random.below(3), url: false)
            case .urlBase64: base64(token, before: random.below(3), url: true)
            }
        }
    }

    static func token(_ count: Int, _ random: inout Seeded) -> String {
        // Of few letters, so that it begins again within itself.
        let characters = random.below(2) == 0 ? tokenCharacters : Array("ab1+/".utf8)
        return String(decoding: (0..<count).map { _ in characters[random.below(characters.count)] }, as: UTF8.self)
    }

    /// Beginnings of the token and of escapes, and never the token.
    static func noise(_ count: Int, _ token: String, _ random: inout Seeded) -> String {
        let pieces = [
            " ", "{\"a\": ", "%", "\\", "&", "%2", "\\u00", "&#", "&amp;", "é", "\u{0}", String(token.prefix(token.utf8.count / 2)), String(token.prefix(3)),
            hex(token.prefix(4)),
        ]
        var text = ""
        while text.utf8.count < count { text += pieces[random.below(pieces.count)] + " " }
        return text
    }

    static func raw(_ byte: UInt8) -> String { String(decoding: [byte], as: UTF8.self) }
    static func each(_ text: String, _ put: (UInt8) -> String) -> String { text.utf8.map(put).joined() }

    static func hex(_ byte: UInt8, upper: Bool = false) -> String {
        let digits = String(byte, radix: 16, uppercase: upper)
        return byte < 16 ? "0" + digits : digits
    }

    static func hex(_ text: some StringProtocol, upper: Bool = false) -> String { text.utf8.map { hex($0, upper: upper) }.joined() }

    /// Of the Base64 of something that has the text after so many bytes: the characters that are the same whatever is around it.
    static func base64(_ text: String, before: Int, url: Bool) -> String {
        let encodings = ["\u{0}", "\u{7f}"].map { around in
            let bytes = Array(String(repeating: around, count: before).utf8) + Array(text.utf8) + Array(String(repeating: around, count: 2).utf8)
            let bits = bytes.flatMap { byte in (0..<8).map { byte >> (7 - $0) & 1 } }
            return stride(from: 0, to: bits.count - 5, by: 6).map { bits[$0..<$0 + 6].reduce(0) { $0 << 1 | Int($1) } }
        }
        let first = (before * 8 + 5) / 6
        let end = (before + text.utf8.count) * 8 / 6
        precondition(encodings[0][first..<end] == encodings[1][first..<end])
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789".utf8) + Array((url ? "-_" : "+/").utf8)
        return String(decoding: encodings[0][first..<end].map { alphabet[$0] }, as: UTF8.self)
    }
}

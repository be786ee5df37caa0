import HTTPTypes
import Testing

@testable import OAuth

/// Judges one answer of a token endpoint as a client with `profile` does.
func judge(
    _ body: [UInt8], status: Int = 200, type: String? = "application/json", fields: [String: String] = [:], profile: ProviderProfile = .init(),
    grant: AuthorizationGrant = .clientCredentials(scopes: ["read"]), now: Int = 1_700_000_000
) -> Result<TokenResponse, TokenError> {
    var head = HTTPResponse(status: .init(code: status))
    if let type { head.headerFields[.contentType] = type }
    for (name, value) in fields { head.headerFields[HTTPField.Name(name)!] = value }
    let client = makeClient { $0 = profile }
    do throws(TokenError) {
        return .success(try client.tokenResponse(WireResponse(head: head, body: body), to: grant, now: now))
    } catch {
        return .failure(error)
    }
}

/// One answer of a token endpoint, and what a client must make of it.
struct AnswerCase: Sendable, CustomTestStringConvertible {
    struct Parts: Sendable {
        var token: String
        var type: String
        /// Seconds.
        var expires: Int?
        var refresh: String?
        var scope: [String]?
    }

    enum Reading: Sendable {
        /// Taken, with exactly these parts.
        case taken(Parts)
        /// The server's refusal, with the code that it named.
        case named(String?)
        /// No token response at all.
        case malformed

        static func token(_ token: String = "t", type: String = "Bearer", expires: Int? = nil, refresh: String? = nil, scope: [String]? = nil) -> Reading {
            .taken(Parts(token: token, type: type, expires: expires, refresh: refresh, scope: scope))
        }
        static func refused(_ code: String? = nil) -> Reading { .named(code) }
    }

    let name: String
    let status: Int
    let type: String?
    let body: [UInt8]
    let reading: Reading
    var profile = ProviderProfile()

    init(_ name: String, status: Int = 200, type: String? = "application/json", _ text: String, _ reading: Reading) {
        self.init(name, status: status, type: type, bytes: Array(text.utf8), reading)
    }

    init(_ name: String, status: Int = 200, type: String? = "application/json", bytes: [UInt8], _ reading: Reading) {
        (self.name, self.status, self.type, body, self.reading) = (name, status, type, bytes, reading)
    }

    /// An answer read by a provider's switches.
    init(_ name: String, status: Int = 200, _ text: String, _ reading: Reading, _ change: (inout ProviderProfile) -> Void) {
        self.init(name, status: status, text, reading)
        change(&profile)
    }

    var testDescription: String { name }

    func check() {
        let result = judge(body, status: status, type: type, profile: profile)
        switch (reading, result) {
        case (.taken(let parts), .success(let response)):
            #expect(response.accessToken.withExposed { $0 } == parts.token)
            #expect(response.tokenType == parts.type)
            #expect(response.expiresIn == parts.expires.map { .seconds($0) })
            #expect(response.refreshToken?.withExposed { $0 } == parts.refresh)
            #expect(response.scope == parts.scope)
        case (.named(let code), .failure(let error)):
            #expect(error.kind == .refused)
            #expect(error.code?.rawValue == code)
            #expect(error.status == status)
        case (.malformed, .failure(let error)):
            guard case .malformed(let reason) = error.kind else {
                Issue.record("\(name): refused, and not as malformed")
                return
            }
            #expect(error.status == status)
            // What may be shown holds nothing of the body.
            #expect(!reason.contains("stolen"))
        default:
            Issue.record("\(name): \(result.map { _ in "was taken" })")
        }
    }
}

@Suite struct AnswerCorpusTests {
    // MARK: Syntax and media type

    /// RFC 6749 §5.1 has one; these have been seen.
    static let mediaTypes: [String?] = [
        "application/json", "application/json;charset=UTF-8", "Application/JSON; Charset=\"utf-8\"", "application/json ; charset=utf-8", "text/json",
        "application/vnd.provider.token+json", "text/javascript", "application/javascript", "text/plain", "text/plain;charset=iso-8859-1",
        "text/html; charset=utf-8",
        "application/octet-stream", "application/x-www-form-urlencoded", "application/xml", "application/jwt", "nonsense", "; charset=utf-8", "", nil,
    ]

    @Test("A brace decides for JSON under every media type", arguments: Self.mediaTypes)
    func braceDecides(type: String?) {
        AnswerCase("a JSON object", type: type, #"{"access_token":"t","expires_in":60}"#, .token(expires: 60)).check()
        AnswerCase("a JSON error", status: 400, type: type, #"{"error":"invalid_grant"}"#, .refused("invalid_grant")).check()
        AnswerCase("a JSON error with 200", type: type, "\r\n\t {\"error\":\"invalid_grant\"}", .refused("invalid_grant")).check()
    }

    @Test("A page is a page under every media type", arguments: Self.mediaTypes)
    func pagesAreRefused(type: String?) {
        AnswerCase("HTML", type: type, "<!DOCTYPE html><html><body>stolen</body></html>", .malformed).check()
        AnswerCase("HTML with a link", type: type, #"<a href="https://x.example/?a=1&access_token=stolen&b=2">x</a>"#, .malformed).check()
        AnswerCase("XML", type: type, #"<?xml version="1.0"?><token>stolen</token>"#, .malformed).check()
        AnswerCase("HTML, 500", status: 500, type: type, "<html>stolen</html>", .refused()).check()
    }

    static let syntax: [AnswerCase] = [
        AnswerCase(
            "the RFC's members", #"{"access_token":"t","token_type":"Bearer","expires_in":3600,"refresh_token":"r","scope":"a b"}"#,
            .token(expires: 3600, refresh: "r", scope: ["a", "b"])),
        AnswerCase("spread over lines", "{\r\n\t\"access_token\" : \"t\" ,\n \"expires_in\" : 5\n}\r\n", .token(expires: 5)),
        AnswerCase("one BOM", "\u{FEFF}{\"access_token\":\"t\"}", .token()),
        AnswerCase("a BOM and white space", "\u{FEFF} \n{\"access_token\":\"t\"}", .token()),
        AnswerCase("two BOMs", "\u{FEFF}\u{FEFF}{\"access_token\":\"t\"}", .malformed),
        AnswerCase("a BOM behind", "{\"access_token\":\"t\"}\u{FEFF}", .malformed),
        AnswerCase("escaped name", #"{"\u0061ccess\u005ftoken":"t"}"#, .token()),
        AnswerCase("escaped value", #"{"access_token":"\u0074"}"#, .token()),
        AnswerCase("escaped solidus", #"{"access_token":"a\/b"}"#, .token("a/b")),
        AnswerCase("quote and backslash in the token", #"{"access_token":"a\"b\\c"}"#, .token("a\"b\\c")),
        AnswerCase(
            "unknown members of every kind", #"{"a":1,"b":[{}],"c":{"d":null},"e":true,"f":"é😀","access_token":"t","__proto__":{"access_token":"x"}}"#, .token()
        ),
        AnswerCase("repeats below the top", #"{"access_token":"t","user":{"id":1,"id":2}}"#, .token()),
        AnswerCase("names that differ in case", #"{"access_token":"t","Access_Token":"u"}"#, .token()),
        AnswerCase("names equal by canonical equivalence only", "{\"access_token\":\"t\",\"\u{E9}\":1,\"e\u{301}\":2}", .token()),
        AnswerCase("empty", "", .malformed),
        AnswerCase("white space", " \r\n\t", .malformed),
        AnswerCase("a BOM alone", "\u{FEFF}", .malformed),
        AnswerCase("empty object", "{}", .malformed),
        AnswerCase("null", "null", .malformed),
        AnswerCase("true", "true", .malformed),
        AnswerCase("number", "42", .malformed),
        AnswerCase("text", #""stolen""#, .malformed),
        AnswerCase("array", "[]", .malformed),
        AnswerCase("array of one object", #"[{"access_token":"stolen"}]"#, .malformed),
        AnswerCase("cut", #"{"access_token":"t""#, .malformed),
        AnswerCase("cut in a text", #"{"access_token":"t"#, .malformed),
        AnswerCase("text behind", #"{"access_token":"t"} stolen"#, .malformed),
        AnswerCase("a second object behind", #"{"access_token":"t"}{"access_token":"u"}"#, .malformed),
        AnswerCase("NUL behind", "{\"access_token\":\"t\"}\u{0}", .malformed),
        AnswerCase("trailing comma", #"{"access_token":"t",}"#, .malformed),
        AnswerCase("leading comma", #"{,"access_token":"t"}"#, .malformed),
        AnswerCase("missing comma", #"{"access_token":"t" "token_type":"bearer"}"#, .malformed),
        AnswerCase("comment", #"{"access_token":"t"/* stolen */}"#, .malformed),
        AnswerCase("line comment", "// stolen\n{\"access_token\":\"t\"}", .malformed),
        AnswerCase("single quotes", "{'access_token':'t'}", .malformed),
        AnswerCase("unquoted name", #"{access_token:"t"}"#, .malformed),
        AnswerCase("equals sign", #"{"access_token"="t"}"#, .malformed),
        AnswerCase("vertical tab as white space", "{\u{B}\"access_token\":\"t\"}", .malformed),
        AnswerCase("no-break space as white space", "{\u{A0}\"access_token\":\"t\"}", .malformed),
    ]
    @Test("Syntax of JSON answers (SEC-41)", arguments: Self.syntax) func readsSyntax(answer: AnswerCase) { answer.check() }

    static let brokenJSON: [AnswerCase] = [
        AnswerCase("NaN", #"{"access_token":"t","expires_in":NaN}"#, .malformed),
        AnswerCase("Infinity", #"{"access_token":"t","expires_in":-Infinity}"#, .malformed),
        AnswerCase("leading zero", #"{"access_token":"t","expires_in":03600}"#, .malformed),
        AnswerCase("hexadecimal", #"{"access_token":"t","expires_in":0x10}"#, .malformed),
        AnswerCase("plus sign", #"{"access_token":"t","expires_in":+1}"#, .malformed),
        AnswerCase("point without digits", #"{"access_token":"t","expires_in":1.}"#, .malformed),
        AnswerCase("True", #"{"access_token":"t","x":True}"#, .malformed),
        AnswerCase("undefined", #"{"access_token":"t","x":undefined}"#, .malformed),
        AnswerCase("unknown escape", #"{"access_token":"t","x":"\x41"}"#, .malformed),
        AnswerCase("short escape", #"{"access_token":"t","x":"\u12"}"#, .malformed),
        AnswerCase("lone high surrogate", #"{"access_token":"t","x":"\ud83d"}"#, .malformed),
        AnswerCase("lone low surrogate", #"{"access_token":"\ude00"}"#, .malformed),
        AnswerCase("surrogates in the wrong order", #"{"access_token":"t","x":"\ude00\ud83d"}"#, .malformed),
        AnswerCase("surrogate pair", #"{"access_token":"t","x":"\ud83d\ude00"}"#, .token()),
        AnswerCase("line break in a text", "{\"access_token\":\"t\nu\"}", .malformed),
        AnswerCase("tab in a text", "{\"access_token\":\"t\",\"x\":\"\t\"}", .malformed),
        AnswerCase("access_token twice", #"{"access_token":"t","access_token":"stolen"}"#, .malformed),
        AnswerCase("access_token twice, the same", #"{"access_token":"t","access_token":"t"}"#, .malformed),
        AnswerCase("access_token twice, spelled otherwise", #"{"access_token":"t","access\u005ftoken":"stolen"}"#, .malformed),
        AnswerCase(
            "access_token twice, every letter escaped",
            #"{"\u0061\u0063\u0063\u0065\u0073\u0073\u005F\u0074\u006f\u006B\u0065\u006e":"stolen","access_token":"t"}"#, .malformed),
        AnswerCase("expires_in twice", #"{"access_token":"t","expires_in":1,"expires_in":2}"#, .malformed),
        AnswerCase("an unknown member twice", #"{"access_token":"t","x":1,"x":1}"#, .malformed),
        AnswerCase("__proto__ twice", #"{"access_token":"t","__proto__":1,"__proto__":2}"#, .malformed),
        AnswerCase("error twice", #"{"error":"invalid_grant","error":"invalid_client"}"#, .malformed),
        AnswerCase("JSONP", type: "text/javascript", #"callback( {"access_token":"stolen"} );"#, .malformed),
        AnswerCase("JSONP as plain text", type: "text/plain", #"callback({"access_token":"stolen"})"#, .malformed),
        AnswerCase("prefix against script inclusion", ")]}',\n{\"access_token\":\"stolen\"}", .malformed),
        AnswerCase("endless loop against script inclusion", #"for(;;);{"access_token":"stolen"}"#, .malformed),
        AnswerCase("JWT", type: "application/jwt", "eyJhbGciOiJub25lIn0.eyJhY2Nlc3NfdG9rZW4iOiJ0In0.", .malformed),
        AnswerCase("YAML", type: "text/yaml", "access_token: stolen\n", .malformed),
        AnswerCase("lines of names and values", type: "text/plain", "access_token=t\nexpires_in=3600\n", .malformed),
        AnswerCase("server-sent event", type: "text/event-stream", "data: {\"access_token\":\"stolen\"}\n\n", .malformed),
        AnswerCase("base64 of JSON", "eyJhY2Nlc3NfdG9rZW4iOiJ0In0=", .malformed),
    ]
    @Test("What is nearly JSON is none (SEC-41)", arguments: Self.brokenJSON) func refusesBrokenJSON(answer: AnswerCase) { answer.check() }

    static let encodings: [AnswerCase] = [
        AnswerCase("UTF-16, little end first, with a BOM", type: "application/json; charset=utf-16", bytes: utf16WithBOM, .malformed),
        AnswerCase("UTF-16, little end first", type: "application/json; charset=utf-16le", bytes: utf16LittleEndian, .malformed),
        AnswerCase("UTF-16, big end first", type: "application/json; charset=utf-16be", bytes: utf16BigEndian, .malformed),
        AnswerCase("UTF-32", bytes: utf32, .malformed),
        AnswerCase("Latin-1 in an unknown member", type: "application/json; charset=iso-8859-1", bytes: quoted([0xE9]), .malformed),
        AnswerCase("ASCII that calls itself Latin-1", type: "application/json; charset=iso-8859-1", bytes: quoted([0x65]), .token()),
        AnswerCase("UTF-8 in an unknown member", bytes: quoted([0xC3, 0xA9]), .token()),
        AnswerCase("GBK", type: "application/json; charset=gbk", bytes: quoted([0xC4, 0xE3]), .malformed),
        AnswerCase("overlong NUL", bytes: quoted([0xC0, 0x80]), .malformed),
        AnswerCase("overlong solidus", bytes: quoted([0xE0, 0x80, 0xAF]), .malformed),
        AnswerCase("surrogate as UTF-8", bytes: quoted([0xED, 0xA0, 0x80]), .malformed),
        AnswerCase("above U+10FFFF", bytes: quoted([0xF4, 0x90, 0x80, 0x80]), .malformed),
        AnswerCase("cut character", bytes: quoted([0xE2, 0x82]), .malformed),
        AnswerCase("0xFF", bytes: quoted([0xFF]), .malformed),
        AnswerCase("gzip", bytes: [0x1F, 0x8B, 0x08, 0, 0, 0, 0, 0, 0, 3], .malformed),
    ]
    static let ascii: [UInt8] = Array(#"{"access_token":"t"}"#.utf8)
    static let utf16LittleEndian: [UInt8] = ascii.flatMap { byte -> [UInt8] in [byte, 0] }
    static let utf16WithBOM: [UInt8] = [0xFF, 0xFE] + utf16LittleEndian
    static let utf16BigEndian: [UInt8] = ascii.flatMap { byte -> [UInt8] in [0, byte] }
    static let utf32: [UInt8] = ascii.flatMap { byte -> [UInt8] in [0, 0, 0, byte] }
    static func quoted(_ bytes: [UInt8]) -> [UInt8] { Array(#"{"access_token":"t","x":""#.utf8) + bytes + Array(#""}"#.utf8) }
    @Test("UTF-8 and nothing else", arguments: Self.encodings) func readsUTF8(answer: AnswerCase) { answer.check() }

    // MARK: Form

    static let formType = "application/x-www-form-urlencoded"
    static let forms: [AnswerCase] = [
        AnswerCase(
            "form", type: formType, "access_token=t&token_type=bearer&expires_in=3600&refresh_token=r&scope=a+b",
            .token(type: "bearer", expires: 3600, refresh: "r", scope: ["a", "b"])),
        AnswerCase("charset", type: "application/x-www-form-urlencoded; charset=\"UTF-8\"", "access_token=t", .token()),
        AnswerCase("type in capitals", type: "APPLICATION/X-WWW-FORM-URLENCODED", "access_token=t", .token()),
        AnswerCase("BOM", type: formType, "\u{FEFF}access_token=t", .token()),
        AnswerCase("line break behind", type: formType, "access_token=t\r\n", .token()),
        AnswerCase("empty pairs", type: formType, "&&access_token=t&", .token()),
        AnswerCase("escapes in the value", type: formType, "access_token=a%2Bb%2fc%3D%3d", .token("a+b/c==")),
        AnswerCase("escapes in the name", type: formType, "acces%73%5Ftoken=t", .token()),
        AnswerCase("bare equals signs", type: formType, "access_token=dA==", .token("dA==")),
        AnswerCase("scope with %20", type: formType, "access_token=t&scope=a%20b", .token(scope: ["a", "b"])),
        AnswerCase("scope with commas", type: formType, "access_token=t&scope=user%2Cgist", .token(scope: ["user,gist"])),
        AnswerCase("old lifetime", type: formType, "access_token=t&expires=5183999", .token(expires: 5_183_999)),
        AnswerCase("empty parameters are as if left out", type: formType, "access_token=t&token_type=&expires_in=&refresh_token=&scope=&error=", .token()),
        AnswerCase("an empty lifetime leaves the other one", type: formType, "access_token=t&expires_in=&expires=60", .token(expires: 60)),
        AnswerCase("a semicolon separates nothing", type: formType, "access_token=t;token_type=mac", .token("t;token_type=mac")),
        AnswerCase("plain text", type: "text/plain", "access_token=t&expires=60", .token(expires: 60)),
        AnswerCase("plain text with charset", type: "text/plain; charset=UTF-8", "expires=60&access_token=t\n", .token(expires: 60)),
        AnswerCase("error", status: 400, type: formType, "error=invalid_grant&error_description=it+is+%22old%22", .refused("invalid_grant")),
        AnswerCase(
            "error with 200", type: formType, "error=bad_verification_code&error_description=x&error_uri=https%3A%2F%2Fx.example",
            .refused("bad_verification_code")),
        AnswerCase("error with 200 as plain text", type: "text/plain", "error=bad_verification_code", .refused("bad_verification_code")),
        AnswerCase("error beside a token", type: formType, "access_token=t&error=invalid_grant", .refused("invalid_grant")),
        AnswerCase("plus is a space", type: formType, "access_token=a+b", .malformed),
        AnswerCase("encoded space", type: formType, "access_token=a%20b", .malformed),
        AnswerCase("encoded line break", type: formType, "access_token=a%0D%0AX-Evil%3A+1", .malformed),
        AnswerCase("encoded NUL", type: formType, "access_token=a%00", .malformed),
        AnswerCase("outside ASCII", type: formType, "access_token=%C3%A9", .malformed),
        AnswerCase("not UTF-8", type: formType, "access_token=t&name=%E9", .malformed),
        AnswerCase("broken escape", type: formType, "access_token=100%", .malformed),
        AnswerCase("repeated", type: formType, "access_token=t&access_token=stolen", .malformed),
        AnswerCase("repeated, the same", type: formType, "access_token=t&access_token=t", .malformed),
        AnswerCase("repeated, spelled otherwise", type: formType, "access_token=t&%61ccess_token=stolen", .malformed),
        AnswerCase("an unknown name repeated", type: formType, "access_token=t&x=1&x=1", .malformed),
        AnswerCase("no value", type: formType, "access_token", .malformed),
        AnswerCase("empty value", type: formType, "access_token=&token_type=bearer", .malformed),
        AnswerCase("another name", type: formType, "token=stolen", .malformed),
        AnswerCase("empty", type: formType, "", .malformed),
        AnswerCase("prose", type: "text/plain", "your token is stolen", .malformed),
        AnswerCase("plain text of other pairs", type: "text/plain", "token=stolen&x=1", .malformed),
        AnswerCase("declared HTML", type: "text/html", "access_token=stolen", .malformed),
        AnswerCase("declared JSON", "access_token=stolen&token_type=bearer", .malformed),
    ]
    @Test("Form answers (RFC 6749 Appendix B, SEC-41)", arguments: Self.forms) func readsForms(answer: AnswerCase) { answer.check() }

    @Test(
        "A form is read where it is declared one, or as plain text",
        arguments: [nil, "", "application/octet-stream", "multipart/form-data", "application/xhtml+xml", "text/xml"])
    func formsAreDeclared(type: String?) { AnswerCase("form", type: type, "access_token=stolen", .malformed).check() }

    // MARK: Bounds

    @Test func bodiesAreBoundedAtOneMebibyte() {
        let frame = #"{"access_token":"t","x":""}"#.utf8.count
        let padded = { (count: Int) in #"{"access_token":"t","x":"\#(String(repeating: "x", count: count - frame))"}"# }
        AnswerCase("1 MiB", padded(1 << 20), .token()).check()
        AnswerCase("1 MiB and a byte", padded(1 << 20 + 1), .malformed).check()
        AnswerCase("2 MiB of white space", String(repeating: " ", count: 2 << 20), .malformed).check()
        AnswerCase("2 MiB of form", type: Self.formType, "access_token=t&x=" + String(repeating: "x", count: 2 << 20), .malformed).check()
        AnswerCase("2 MiB with 500", status: 500, String(repeating: "x", count: 2 << 20), .refused()).check()
    }

    @Test func nestingIsBounded() {
        let nested = { (count: Int) in #"{"access_token":"t","x":\#(String(repeating: "[", count: count))\#(String(repeating: "]", count: count))}"# }
        AnswerCase("64 levels in all", nested(63), .token()).check()
        AnswerCase("65 levels in all", nested(64), .malformed).check()
        AnswerCase("100 000 brackets", String(repeating: "[", count: 100_000), .malformed).check()
        AnswerCase("100 000 objects", String(repeating: #"{"a":"#, count: 100_000), .malformed).check()
        AnswerCase("100 000 brackets behind a token", #"{"access_token":"t","x":"# + String(repeating: "[", count: 100_000), .malformed).check()
    }

    @Test("Tokens are 64 KiB at most (SEC-43)", arguments: [(1, true), (4096, true), (16_384, true), (65_536, true), (65_537, false), (71_680, false)])
    func tokenLengths(count: Int, isTaken: Bool) {
        let long = String(repeating: "x", count: count)
        AnswerCase("access token", #"{"access_token":"\#(long)"}"#, isTaken ? .token(long) : .malformed).check()
        AnswerCase("refresh token", #"{"access_token":"t","refresh_token":"\#(long)"}"#, isTaken ? .token(refresh: long) : .malformed).check()
    }

    // MARK: Tokens and their type

    static let tokens: [AnswerCase] = [
        AnswerCase(
            "every visible character", ##"{"access_token":"!#$%&'()*+,-./0123456789:;<=>?@AZ[]^_`az{|}~"}"##,
            .token("!#$%&'()*+,-./0123456789:;<=>?@AZ[]^_`az{|}~")),
        AnswerCase(
            "eBay's, with a type of its own", ##"{"access_token":"v^1.1#i^1#r^0#I^3#f^0#p^3#t^H4sI/+==","token_type":"User Access Token"}"##, .malformed),
        AnswerCase("with a bar", #"{"access_token":"123|abc-DEF"}"#, .token("123|abc-DEF")),
        AnswerCase("missing", #"{"token_type":"bearer"}"#, .malformed),
        AnswerCase("null", #"{"access_token":null}"#, .malformed),
        AnswerCase("empty", #"{"access_token":""}"#, .malformed),
        AnswerCase("number", #"{"access_token":12345}"#, .malformed),
        AnswerCase("true", #"{"access_token":true}"#, .malformed),
        AnswerCase("array", #"{"access_token":["stolen"]}"#, .malformed),
        AnswerCase("object", #"{"access_token":{"token":"stolen"}}"#, .malformed),
        AnswerCase("a space inside", #"{"access_token":"a b"}"#, .malformed),
        AnswerCase("a space behind", #"{"access_token":"a "}"#, .malformed),
        AnswerCase("a space alone", #"{"access_token":" "}"#, .malformed),
        AnswerCase("the scheme in front", #"{"access_token":"Bearer stolen"}"#, .malformed),
        AnswerCase("CR LF", #"{"access_token":"a\r\nX-Evil: 1"}"#, .malformed),
        AnswerCase("line feed", #"{"access_token":"a\n"}"#, .malformed),
        AnswerCase("tab", #"{"access_token":"a\tb"}"#, .malformed),
        AnswerCase("NUL", #"{"access_token":"a\u0000b"}"#, .malformed),
        AnswerCase("DEL", "{\"access_token\":\"a\u{7F}\"}", .malformed),
        AnswerCase("é", #"{"access_token":"\u00e9"}"#, .malformed),
        AnswerCase("emoji", #"{"access_token":"😀"}"#, .malformed),
        AnswerCase("no-break space", #"{"access_token":"a\u00a0b"}"#, .malformed),
        AnswerCase("zero width space", #"{"access_token":"a\u200bb"}"#, .malformed),
        AnswerCase("BOM in the value", #"{"access_token":"\ufefft"}"#, .malformed),
        AnswerCase("camel case", #"{"accessToken":"stolen"}"#, .malformed),
        AnswerCase("capitals", #"{"ACCESS_TOKEN":"stolen"}"#, .malformed),
        AnswerCase("a space in the name", #"{"access_token ":"stolen"}"#, .malformed),
        AnswerCase("nested", #"{"data":{"access_token":"stolen"}}"#, .malformed),
        AnswerCase("ID token alone", #"{"id_token":"eyJhbGciOiJub25lIn0.e30."}"#, .malformed),
        AnswerCase("ID token unasked", #"{"access_token":"t","id_token":"garbage"}"#, .token()),
        AnswerCase("ID token null", #"{"access_token":"t","id_token":null}"#, .token()),
        AnswerCase("ID token number, unasked", #"{"access_token":"t","id_token":7}"#, .token()),
        AnswerCase("refresh token null", #"{"access_token":"t","refresh_token":null}"#, .token()),
        AnswerCase("refresh token empty", #"{"access_token":"t","refresh_token":""}"#, .token()),
        AnswerCase("refresh token number", #"{"access_token":"t","refresh_token":7}"#, .malformed),
        AnswerCase("refresh token false", #"{"access_token":"t","refresh_token":false}"#, .malformed),
        AnswerCase("refresh token object", #"{"access_token":"t","refresh_token":{"token":"r"}}"#, .malformed),
        AnswerCase("refresh token with a space", #"{"access_token":"t","refresh_token":"a b"}"#, .malformed),
        AnswerCase("refresh token with a line break", #"{"access_token":"t","refresh_token":"a\n"}"#, .malformed),
        AnswerCase("refresh token outside ASCII", #"{"access_token":"t","refresh_token":"é"}"#, .malformed),
    ]
    @Test("Tokens are visible ASCII (SEC-43)", arguments: Self.tokens) func readsTokens(answer: AnswerCase) { answer.check() }

    static let tokenTypes: [AnswerCase] = [
        AnswerCase("missing", #"{"access_token":"t"}"#, .token()),
        AnswerCase("null", #"{"access_token":"t","token_type":null}"#, .token()),
        AnswerCase("empty", #"{"access_token":"t","token_type":""}"#, .token()),
        AnswerCase("bearer", #"{"access_token":"t","token_type":"bearer"}"#, .token(type: "bearer")),
        AnswerCase("BEARER", #"{"access_token":"t","token_type":"BEARER"}"#, .token(type: "BEARER")),
        AnswerCase("bEARER", #"{"access_token":"t","token_type":"bEARER"}"#, .token(type: "bEARER")),
        AnswerCase("mac", #"{"access_token":"t","token_type":"mac"}"#, .malformed),
        AnswerCase("DPoP, which was not asked for", #"{"access_token":"t","token_type":"DPoP"}"#, .malformed),
        AnswerCase("N_A", #"{"access_token":"t","token_type":"N_A"}"#, .malformed),
        AnswerCase("example", #"{"access_token":"t","token_type":"example"}"#, .malformed),
        AnswerCase("BearerToken", #"{"access_token":"t","token_type":"BearerToken"}"#, .malformed),
        AnswerCase("bot", #"{"access_token":"t","token_type":"bot"}"#, .malformed),
        AnswerCase("space in front", #"{"access_token":"t","token_type":" Bearer"}"#, .malformed),
        AnswerCase("line break behind", #"{"access_token":"t","token_type":"Bearer\n"}"#, .malformed),
        AnswerCase("number", #"{"access_token":"t","token_type":1}"#, .malformed),
        AnswerCase("true", #"{"access_token":"t","token_type":true}"#, .malformed),
        AnswerCase("array", #"{"access_token":"t","token_type":["Bearer"]}"#, .malformed),
        AnswerCase("object", #"{"access_token":"t","token_type":{}}"#, .malformed),
    ]
    @Test("token_type without regard to case (SEC-42)", arguments: Self.tokenTypes) func readsTokenTypes(answer: AnswerCase) { answer.check() }

    // MARK: Lifetime and scope

    static let lifetimes: [(value: String, seconds: Int?)] = [
        ("3600", 3600), ("3600.0", 3600), ("3600.999", 3600), ("3.6e3", 3600), ("36E2", 3600), ("360000e-2", 3600), ("1", 1), ("0", 0), ("-0", 0), ("0.9", 0),
        ("1e-9", 0),
        ("-1", 0), ("-0.5", 0), ("-9223372036854775809", 0), ("-1e400", 0), ("315360000", 315_360_000), ("315360001", 315_360_000), ("2147483648", 315_360_000),
        ("9223372036854775807", 315_360_000), ("9223372036854775808", 315_360_000), ("1e400", 315_360_000), ("1e999999999999", 315_360_000),
        (#""3600""#, 3600), (#""3600.0""#, 3600), (#"" 3600 ""#, 3600), (#""3600\n""#, 3600), (#""3.6e3""#, 3600), (#""0""#, 0), (#""-1""#, 0),
        (#""1e400""#, 315_360_000),
        (#""99999999999999999999""#, 315_360_000),
        ("null", nil), ("true", nil), ("false", nil), ("[]", nil), ("[3600]", nil), ("{}", nil), (#"{"seconds":3600}"#, nil),
        (#""""#, nil), (#"" ""#, nil), (#""true""#, nil), (#""null""#, nil), (#""never""#, nil), (#""3600s""#, nil), (#""1h""#, nil), (#""1 hour""#, nil),
        (#""3,600""#, nil),
        (#""0x10""#, nil), (#""+3600""#, nil), (#""NaN""#, nil), (#""Infinity""#, nil), (#""inf""#, nil), (#""٣٦٠٠""#, nil), (#""３６００""#, nil),
        (#""2026-01-02T03:04:05Z""#, nil), (#""[3600]""#, nil),
    ]
    @Test("expires_in: a number or its text, bounded; all else is unknown (SEC-44)", arguments: Self.lifetimes)
    func readsLifetimes(value: String, seconds: Int?) {
        AnswerCase(value, #"{"access_token":"t","expires_in":\#(value)}"#, .token(expires: seconds)).check()
    }

    static let otherLifetimes: [(members: String, seconds: Int?)] = [
        (#""expires":60"#, 60), (#""expires":"60""#, 60), (#""expires":0"#, 0), (#""expires":1700000060"#, 60), (#""expires":"1700000060""#, 60),
        (#""expires":1699999999"#, 0),
        (#""expires":1700000060000"#, 60), (#""expires":null"#, nil), (#""expires":true"#, nil), (#""expires":"soon""#, nil), (#""expires":-5"#, 0),
        (#""expires_in":7,"expires":60"#, 7), (#""expires_in":null,"expires":60"#, 60), (#""expires_in":0,"expires":60"#, 0),
        (#""expires_at":1700000060"#, 60), (#""expires_at":"1700000060""#, 60), (#""expires_at":1700000060.9"#, 60), (#""expires_at":1700000060000"#, 60),
        (#""expires_at":1699999999"#, 0), (#""expires_at":1e400"#, 315_360_000), (#""expires_at":"2023-11-14T22:14:20Z""#, 60),
        (#""expires_at":"2023-11-14t22:14:20z""#, 60),
        (#""expires_at":"2023-11-14T22:14:20.987654321Z""#, 60), (#""expires_at":"2023-11-15T00:14:20+02:00""#, 60),
        (#""expires_at":"2023-11-14T14:14:20-08:00""#, 60),
        (#""expires_at":"2001-01-01T00:00:00Z""#, 0), (#""expires_at":"2023-11-14""#, nil), (#""expires_at":"2023-13-14T22:14:20Z""#, nil),
        (#""expires_at":"2023-11-14T22:14:20""#, nil),
        (#""expires_at":"soon""#, nil), (#""expires_at":"""#, nil), (#""expires_at":null"#, nil), (#""expires_at":{}"#, nil), (#""expires_at":[1]"#, nil),
        (#""expires_in":7,"expires_at":1700000060"#, 7), (#""expires":5,"expires_at":1700000060"#, 5), (#""exp":1700000060"#, nil), (#""expiresIn":60"#, nil),
    ]
    @Test("expires and expires_at, only where expires_in is absent", arguments: Self.otherLifetimes)
    func readsOtherLifetimes(members: String, seconds: Int?) {
        AnswerCase(members, #"{"access_token":"t",\#(members)}"#, .token(expires: seconds)).check()
    }

    static let refreshLifetimes: [(members: String, seconds: Int?)] = [
        (#""refresh_expires_in":1800"#, 1800), (#""refresh_token_expires_in":"15811200""#, 15_811_200), (#""refresh_expires_in":0"#, nil),
        (#""refresh_expires_in":-1"#, nil),
        (#""refresh_expires_in":null"#, nil), (#""refresh_expires_in":null,"refresh_token_expires_in":60"#, 60), (#""refresh_expires_in":1e400"#, 315_360_000),
        (#""refresh_expires_in":9223372036854775807"#, 315_360_000), (#""refresh_token_expires_in":"soon""#, nil), (#""x":1"#, nil),
    ]
    @Test("How long the refresh token lives, where it is said", arguments: Self.refreshLifetimes)
    func readsRefreshLifetimes(members: String, seconds: Int?) throws {
        let response = try judge(Array(#"{"access_token":"t","refresh_token":"r",\#(members)}"#.utf8)).get()
        #expect(response.refreshExpiresIn == seconds.map { .seconds($0) })
    }

    static let scopes: [(value: String, scope: [String]?)] = [
        (#""read""#, ["read"]), (#""read write""#, ["read", "write"]), (#""write read""#, ["write", "read"]), (#"" read  write ""#, ["read", "write"]),
        (#""read read write read""#, ["read", "write"]), (#""Read read""#, ["Read", "read"]),
        (#""https://x.example/auth/a.b openid""#, ["https://x.example/auth/a.b", "openid"]),
        (#""read,write""#, ["read,write"]), (#"["read","write"]"#, ["read", "write"]), (#"["read","read"]"#, ["read"]),
        (#"["read write","admin"]"#, ["read", "write", "admin"]),
        ("null", nil), (#""""#, nil), (#"" ""#, nil), ("[]", nil), (#"[""]"#, nil), ("7", nil), ("true", nil), ("{}", nil), (#"["read",1]"#, nil),
        (#"["read",null]"#, nil),
        (#""caf\u00e9""#, nil), (#""read caf\u00e9""#, ["read"]), (#""read\u0000""#, nil),
    ]
    @Test("scope is a set of texts, never an error (SEC-44)", arguments: Self.scopes)
    func readsScopes(value: String, scope: [String]?) {
        AnswerCase(value, #"{"access_token":"t","scope":\#(value)}"#, .token(scope: scope)).check()
    }

    // MARK: Status and error

    @Test(
        "Success is 200 or 201 and nothing else (SEC-41)",
        arguments: [200, 201, 202, 203, 204, 205, 206, 207, 226, 299, 300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 429, 500, 502, 503, 599])
    func statuses(status: Int) {
        let isSuccess = status == 200 || status == 201
        AnswerCase("a token", status: status, #"{"access_token":"t"}"#, isSuccess ? .token() : .refused()).check()
        AnswerCase("a token in a form", status: status, type: Self.formType, "access_token=t", isSuccess ? .token() : .refused()).check()
        AnswerCase("an error", status: status, #"{"error":"invalid_grant"}"#, .refused("invalid_grant")).check()
        AnswerCase("an error beside a token", status: status, #"{"access_token":"t","error":"invalid_grant"}"#, .refused("invalid_grant")).check()
        AnswerCase("nothing", status: status, type: nil, "", isSuccess ? .malformed : .refused()).check()
        AnswerCase("a page", status: status, type: "text/html", "<html>stolen</html>", isSuccess ? .malformed : .refused()).check()
    }

    static let errors: [AnswerCase] = [
        AnswerCase("null is none", #"{"access_token":"t","error":null}"#, .token()),
        AnswerCase("empty", #"{"access_token":"t","error":""}"#, .malformed),
        AnswerCase("empty, 400", status: 400, #"{"error":""}"#, .refused()),
        AnswerCase("true", #"{"access_token":"t","error":true}"#, .malformed),
        AnswerCase("false", #"{"access_token":"t","error":false}"#, .malformed),
        AnswerCase("number", #"{"access_token":"t","error":429}"#, .malformed),
        AnswerCase("zero", #"{"access_token":"t","error":0}"#, .malformed),
        AnswerCase("object", #"{"access_token":"t","error":{"message":"stolen","code":190}}"#, .malformed),
        AnswerCase("empty object", #"{"access_token":"t","error":{}}"#, .malformed),
        AnswerCase("array", #"{"access_token":"t","error":["invalid_grant"]}"#, .malformed),
        AnswerCase("object, 400", status: 400, #"{"error":{"message":"stolen","type":"OAuthException","code":190}}"#, .refused()),
        AnswerCase("number, 429", status: 429, #"{"message":"Too Many Requests","error":429}"#, .refused()),
        AnswerCase("array, 400", status: 400, #"{"error":["invalid_grant"]}"#, .refused()),
        AnswerCase("true, 401", status: 401, #"{"error":true}"#, .refused()),
        AnswerCase("alone", #"{"error":"invalid_client"}"#, .refused("invalid_client")),
        AnswerCase(
            "GitHub", #"{"error":"bad_verification_code","error_description":"The code passed is incorrect or expired.","error_uri":"https://x.example/"}"#,
            .refused("bad_verification_code")),
        AnswerCase("Slack", #"{"ok":false,"error":"invalid_code"}"#, .refused("invalid_code")),
        AnswerCase("of another registry", status: 400, #"{"error":"authorization_pending"}"#, .refused("authorization_pending")),
        AnswerCase("unknown", status: 400, #"{"error":"brand_new"}"#, .refused("brand_new")),
        AnswerCase("in another case is another", status: 400, #"{"error":"Invalid_Grant"}"#, .refused("Invalid_Grant")),
        AnswerCase("with a space", status: 400, #"{"error":"access denied"}"#, .refused("access denied")),
        AnswerCase("with a line break", status: 400, #"{"error":"invalid_grant\r\n"}"#, .refused()),
        AnswerCase("with a quote", status: 400, #"{"error":"invalid\"grant"}"#, .refused()),
        AnswerCase("with a backslash", status: 400, #"{"error":"invalid\\grant"}"#, .refused()),
        AnswerCase("outside ASCII", status: 400, #"{"error":"inv\u00e1lid"}"#, .refused()),
        AnswerCase("outside ASCII, 200", #"{"access_token":"t","error":"inv\u00e1lid"}"#, .refused()),
        AnswerCase("escaped name", #"{"access_token":"t","err\u006fr":"invalid_grant"}"#, .refused("invalid_grant")),
        AnswerCase("description null", status: 400, #"{"error":"invalid_grant","error_description":null}"#, .refused("invalid_grant")),
        AnswerCase("description object", status: 400, #"{"error":"invalid_grant","error_description":{"a":1}}"#, .refused("invalid_grant")),
        AnswerCase("description alone", #"{"error_description":"stolen"}"#, .malformed),
        AnswerCase("description beside a token", #"{"access_token":"t","error_description":"x"}"#, .token()),
        AnswerCase("error_code beside a token", #"{"access_token":"t","error_code":0}"#, .token()),
        AnswerCase("problem+json", status: 400, type: "application/problem+json", #"{"type":"about:blank","title":"Bad Request","status":400}"#, .refused()),
        AnswerCase("errors, Fitbit", status: 400, #"{"errors":[{"errorType":"invalid_grant","message":"x"}],"success":false}"#, .refused()),
        AnswerCase("errcode, WeChat", #"{"errcode":40029,"errmsg":"invalid code"}"#, .malformed),
        AnswerCase("message, Twitch", status: 403, #"{"status":403,"message":"invalid client secret"}"#, .refused()),
        AnswerCase("no object, 400", status: 400, "[]", .refused()),
        AnswerCase("broken JSON, 400", status: 400, #"{"error":"invalid_grant""#, .refused()),
        AnswerCase("error twice, 400", status: 400, #"{"error":"invalid_grant","error":"x"}"#, .refused()),
    ]
    @Test("error comes before everything else, whatever the status", arguments: Self.errors) func readsErrors(answer: AnswerCase) { answer.check() }

    /// What two real servers said to good and bad requests.
    static let observed: [AnswerCase] = [
        AnswerCase(
            "Authlib, token", #"{"access_token": "3GBvxcQ7l76D0YqwE8duHClFzEopgiAz38LWRVWsIm", "expires_in": 3600, "scope": "read", "token_type": "Bearer"}"#,
            .token("3GBvxcQ7l76D0YqwE8duHClFzEopgiAz38LWRVWsIm", expires: 3600, scope: ["read"])),
        AnswerCase(
            "Authlib, wrong secret", status: 401,
            #"{"error": "invalid_client", "error_description": "The client cannot authenticate with methods: ['client_secret_basic']"}"#,
            .refused("invalid_client")),
        AnswerCase(
            "Authlib, unknown scope", status: 400,
            #"{"error": "invalid_scope", "error_description": "The requested scope is invalid, unknown, or malformed."}"#, .refused("invalid_scope")),
        AnswerCase(
            "Authlib, GET", status: 405, type: "text/html; charset=utf-8", "<!doctype html>\n<html lang=en>\n<title>405 Method Not Allowed</title>", .refused()),
        AnswerCase("Glewlwyd, wrong secret", status: 403, type: nil, "", .refused()),
        AnswerCase("Glewlwyd, old refresh token", status: 400, type: nil, "", .refused()),
        AnswerCase("Glewlwyd, used code", status: 403, #"{"error":"invalid_code"}"#, .refused("invalid_code")),
        AnswerCase("Glewlwyd, bad scope", status: 400, #"{"error":"scope_invalid"}"#, .refused("scope_invalid")),
    ]
    @Test(arguments: Self.observed) func readsObserved(answer: AnswerCase) { answer.check() }

    @Test(
        "What to do follows the code, then the status",
        arguments: [
            ("invalid_grant", 400, TokenError.Remedy.reauthorize), ("invalid_grant", 401, .reauthorize), ("invalid_grant", 200, .reauthorize),
            ("invalid_client", 400, .fixClient),
            ("invalid_client", 401, .fixClient), ("unauthorized_client", 400, .fixClient), ("invalid_scope", 400, .fixClient),
            ("temporarily_unavailable", 200, .tryLater),
            ("server_error", 400, .tryLater), ("brand_new", 400, .report), ("brand_new", 429, .tryLater), ("brand_new", 503, .tryLater),
            ("invalid_code", 403, .reauthorize), ("brand_new", 403, .report),
            ("Invalid_Grant", 400, .report),
        ] as [(String, Int, TokenError.Remedy)])
    func remedies(code: String, status: Int, remedy: TokenError.Remedy) throws {
        let error = #expect(throws: TokenError.self) { try judge(Array(#"{"error":"\#(code)"}"#.utf8), status: status).get() }
        #expect(error?.remedy == remedy)
    }

    @Test(
        arguments: [
            ("0", 0), ("120", 120), ("  7", 7), ("86401", 86_400), ("99999999999999999999", 86_400), ("Wed, 15 Nov 2023 00:00:00 GMT", 6400),
            ("Tue, 14 Nov 2023 00:00:00 GMT", 0),
            ("-1", nil), ("1.5", nil), ("soon", nil), ("", nil), ("1e3", nil), ("Wed, 15 Foo 2023 00:00:00 GMT", nil), ("Wed, 15 Nov 2023 25:00:00 GMT", nil),
            ("2023-11-15T00:00:00Z", nil),
        ] as [(String, Int?)])
    func retryAfter(value: String, seconds: Int?) {
        let error = #expect(throws: TokenError.self) { try judge([], status: 429, fields: ["Retry-After": value]).get() }
        #expect(error?.retryAfter == seconds)
    }

    @Test(
        "A redirect is a failure, and nothing of its target is taken over",
        arguments: [
            "https://login.example/token?code=stolen", "/elsewhere", "//evil.example/", "javascript:alert(1)", "https://u:stolen@evil.example/", "",
        ])
    func redirects(location: String) {
        for status in [301, 302, 303, 307, 308] {
            let error = #expect(throws: TokenError.self) {
                try judge(Array(#"{"access_token":"t"}"#.utf8), status: status, fields: ["Location": location]).get()
            }
            #expect(error?.kind == .refused)
            #expect(error?.code == nil)
            #expect(error?.remedy == .fixClient)
            #expect(error.map { !"\($0)".contains("stolen") } == true)
        }
        AnswerCase("a Location on success means nothing", #"{"access_token":"t"}"#, .token()).check()
        #expect((try? judge(Array(#"{"access_token":"t"}"#.utf8), fields: ["Location": location]).get()) != nil)
    }

    @Test(arguments: ["Basic realm=\"x\"", "Bearer error=\"invalid_token\""])
    func aChallengeOnSuccessMeansNothing(challenge: String) throws {
        #expect(try judge(Array(#"{"access_token":"t"}"#.utf8), fields: ["WWW-Authenticate": challenge]).get().accessToken.withExposed { $0 } == "t")
    }

    // MARK: Switches

    static let switches: [AnswerCase] = [
        AnswerCase(
            "response_path", #"{"data":{"access_token":"t","expires_in":60,"refresh_token":"r","scope":"a"},"access_token":"other"}"#,
            .token(expires: 60, refresh: "r", scope: ["a"])
        ) {
            $0.responsePath = "data"
        },
        AnswerCase("response_path, missing", #"{"access_token":"other"}"#, .malformed) { $0.responsePath = "data" },
        AnswerCase("response_path, no object", #"{"data":["t"]}"#, .malformed) { $0.responsePath = "data" },
        AnswerCase("response_path, a token repeated in it", #"{"data":{"access_token":"t","access_token":"u"}}"#, .malformed) { $0.responsePath = "data" },
        AnswerCase("response_path, a standard error", #"{"error":"invalid_grant","data":{"access_token":"t"}}"#, .refused("invalid_grant")) {
            $0.responsePath = "data"
        },
        AnswerCase("members, nested", #"{"access_token":{"token":"t","expires_at":1}}"#, .token()) {
            $0.tokenResponseMembers = ["access_token": "access_token.token"]
        },
        AnswerCase("members, camel case", #"{"accessToken":"t","refreshToken":"r","expireIn":60}"#, .token(expires: 60, refresh: "r")) {
            $0.tokenResponseMembers = ["access_token": "accessToken", "refresh_token": "refreshToken", "expires_in": "expireIn"]
        },
        AnswerCase("members, a moment", #"{"token":"t","refreshToken":"r","expiresAt":"2023-11-14T22:14:20.000Z"}"#, .token(expires: 60, refresh: "r")) {
            $0.tokenResponseMembers = ["access_token": "token", "refresh_token": "refreshToken", "expires_at": "expiresAt"]
        },
        AnswerCase("members, a moment as a number", #"{"access_token":"t","access_token_expiration":1700000060}"#, .token(expires: 60)) {
            $0.tokenResponseMembers = ["expires_at": "access_token_expiration"]
        },
        AnswerCase("members, missing: the standard's name is no stand-in", #"{"access_token":"other"}"#, .malformed) {
            $0.tokenResponseMembers = ["access_token": "authed_user.access_token"]
        },
        AnswerCase("comma list", #"{"access_token":"t","scope":"repo,gist, user"}"#, .token(scope: ["repo", "gist", "user"])) { $0.scopeSeparator = "," },
        AnswerCase("comma list in an array", #"{"access_token":"t","scope":["repo,gist"]}"#, .token(scope: ["repo", "gist"])) { $0.scopeSeparator = "," },
        AnswerCase("bar list", #"{"access_token":"t","scope":"a|b"}"#, .token(scope: ["a", "b"])) { $0.scopeSeparator = "|" },
        AnswerCase("a separator of two characters", #"{"access_token":"t","scope":"a, b"}"#, .token(scope: ["a", "b"])) { $0.scopeSeparator = ", " },
        AnswerCase("an empty separator", #"{"access_token":"t","scope":"a b"}"#, .token(scope: ["a", "b"])) { $0.scopeSeparator = "" },
        AnswerCase("token type alias", #"{"access_token":"t","token_type":"user access TOKEN"}"#, .token(type: "user access TOKEN")) {
            $0.tokenTypeAliases = ["User Access Token"]
        },
        AnswerCase("token type alias, another type", #"{"access_token":"t","token_type":"mac"}"#, .malformed) { $0.tokenTypeAliases = ["bot"] },
        AnswerCase("token type alias is ASCII", "{\"access_token\":\"t\",\"token_type\":\"to\u{212A}en\"}", .malformed) { $0.tokenTypeAliases = ["token"] },
        AnswerCase("milliseconds", #"{"access_token":"t","expires_in":3600999}"#, .token(expires: 3600)) { $0.expiresInUnit = .milliseconds },
        AnswerCase("milliseconds, huge", #"{"access_token":"t","expires_in":1e400}"#, .token(expires: 315_360_000)) { $0.expiresInUnit = .milliseconds },
        AnswerCase("zero means never", #"{"access_token":"t","expires_in":0}"#, .token()) { $0.zeroMeansNever = true },
        AnswerCase("zero means never, of expires_in alone", #"{"access_token":"t","expires_at":1}"#, .token(expires: 0)) { $0.zeroMeansNever = true },
        AnswerCase("zero means never, another number", #"{"access_token":"t","expires_in":1}"#, .token(expires: 1)) { $0.zeroMeansNever = true },
        AnswerCase("assumed lifetime", #"{"access_token":"t"}"#, .token(expires: 90)) { $0.defaultExpiresIn = 90 },
        AnswerCase("assumed lifetime, the server's counts", #"{"access_token":"t","expires_in":5}"#, .token(expires: 5)) { $0.defaultExpiresIn = 90 },
        AnswerCase("assumed lifetime, unreadable", #"{"access_token":"t","expires_in":"soon"}"#, .token(expires: 90)) { $0.defaultExpiresIn = 90 },
    ]
    @Test("The profile's switches of the answer", arguments: Self.switches) func readsBySwitch(answer: AnswerCase) { answer.check() }

    static let errorSwitches: [AnswerCase] = [
        AnswerCase("error_path, a code", status: 400, #"{"errors":[{"errorType":"invalid_grant"}]}"#, .refused("invalid_grant")) {
            $0.errorPath = "errors.0.errorType"
        },
        AnswerCase("error_path, none", #"{"access_token":"t","errors":[]}"#, .token()) { $0.errorPath = "errors.0.errorType" },
        AnswerCase("error_path, a number", #"{"errcode":40029,"errmsg":"invalid code"}"#, .refused("40029")) { $0.errorPath = "errcode" },
        AnswerCase("error_path, zero", #"{"errcode":0,"errmsg":"ok","access_token":"t"}"#, .token()) { $0.errorPath = "errcode" },
        AnswerCase("error_path, zero in the answer's own object", #"{"data":{"access_token":"t","error_code":0},"message":"success"}"#, .token()) {
            ($0.responsePath, $0.errorPath) = ("data", "data.error_code")
        },
        AnswerCase("error_path, another number", #"{"data":{"error_code":10007},"message":"error"}"#, .refused("10007")) {
            ($0.responsePath, $0.errorPath) = ("data", "data.error_code")
        },
        AnswerCase("error_path, false", #"{"access_token":"t","failed":false}"#, .token()) { $0.errorPath = "failed" },
        AnswerCase("error_path, true", #"{"access_token":"t","failed":true}"#, .malformed) { $0.errorPath = "failed" },
        AnswerCase("error_path, empty", #"{"access_token":"t","fault":""}"#, .token()) { $0.errorPath = "fault" },
        AnswerCase("error_path, an alias for none", #"{"access_token":"t","result":"0000"}"#, .token()) {
            ($0.errorPath, $0.errorAliases) = ("result", ["0000": ""])
        },
        AnswerCase("error_path, an alias", #"{"errcode":42002}"#, .refused("invalid_grant")) {
            ($0.errorPath, $0.errorAliases) = ("errcode", ["42002": "invalid_grant"])
        },
        AnswerCase("error_path, the standard's member all the same", #"{"access_token":"t","error":"invalid_grant"}"#, .refused("invalid_grant")) {
            $0.errorPath = "errcode"
        },
        AnswerCase("error_path, zero beside the standard's member", #"{"access_token":"t","errcode":0,"error":"invalid_grant"}"#, .refused("invalid_grant")) {
            $0.errorPath = "errcode"
        },
        AnswerCase("error_path, inside the object", #"{"error":{"code":"expired"}}"#, .refused("expired")) { $0.errorPath = "error.code" },
        AnswerCase("error_path, inside the object, none", #"{"access_token":"t","error":{"code":"ok"}}"#, .token()) {
            ($0.errorPath, $0.errorAliases) = ("error.code", ["ok": ""])
        },
        AnswerCase("error_path, an object without it", #"{"access_token":"t","error":{"message":"stolen"}}"#, .malformed) { $0.errorPath = "error.code" },
        AnswerCase("error_path, null in the object", #"{"access_token":"t","error":{"code":null}}"#, .malformed) { $0.errorPath = "error.code" },
        AnswerCase("alias", status: 400, #"{"error":"bad_refresh_token"}"#, .refused("invalid_grant")) {
            $0.errorAliases = ["bad_refresh_token": "invalid_grant"]
        },
        AnswerCase("alias, another code", status: 400, #"{"error":"invalid_client"}"#, .refused("invalid_client")) {
            $0.errorAliases = ["bad_refresh_token": "invalid_grant"]
        },
    ]
    @Test("The profile's switches of errors", arguments: Self.errorSwitches) func readsErrorsBySwitch(answer: AnswerCase) { answer.check() }

    @Test func refreshLifetimesByAProfilesNames() throws {
        var profile = ProviderProfile()
        profile.tokenResponseMembers = ["refresh_expires_in": "refresh_token_expiration"]
        #expect(try judge(Array(#"{"access_token":"t","refresh_token_expiration":1700000060}"#.utf8), profile: profile).get().refreshExpiresIn == .seconds(60))
        profile.tokenResponseMembers = ["refresh_expires_in": "x_refresh_token_expires_in"]
        #expect(
            try judge(Array(#"{"access_token":"t","x_refresh_token_expires_in":8726400}"#.utf8), profile: profile).get().refreshExpiresIn == .seconds(8_726_400)
        )
    }
}

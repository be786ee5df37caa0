import Testing

@testable import OAuth

/// One callback, and what a client must make of it. `STATE` in the query stands for the state that was sent.
struct RedirectCase: Sendable, CustomTestStringConvertible {
    enum Reading: Sendable {
        case code(String)
        case refused(CallbackError)
        /// Refused before anything in it is believed; the reason is words.
        case malformed
        static func denied(_ code: String, _ description: String? = nil) -> Reading { .refused(.denied(code: code, description: description)) }
    }

    let name: String
    let query: String
    /// Bytes in front of the query, for what no Swift string can hold.
    let raw: [UInt8]
    let promised: Bool
    let issuer: String?
    let reading: Reading
    var profile = ProviderProfile()

    init(_ name: String, _ query: String, raw: [UInt8] = [], promised: Bool = false, issuer: String? = "https://as.example", _ reading: Reading) {
        (self.name, self.query, self.raw, self.promised, self.issuer, self.reading) = (name, query, raw, promised, issuer, reading)
    }

    /// A callback read by a provider's switches.
    init(_ name: String, _ query: String, _ reading: Reading, _ change: (inout ProviderProfile) -> Void) {
        self.init(name, query, reading)
        change(&profile)
    }

    var testDescription: String { name }

    func check() throws {
        let (pending, state) = try AuthorizationResponseTests().pending(issuer: issuer, promises: promised)
        let bytes = raw + Array(query.replacing("STATE", with: state).utf8)
        let result: Result<String, CallbackError>
        do throws(CallbackError) {
            result = .success(try pending.accept(AuthorizationResponse(query: bytes, profile: profile)).code.withExposed { $0 })
        } catch {
            result = .failure(error)
        }
        switch (reading, result) {
        case (.code(let code), .success(let found)): #expect(found.utf8.elementsEqual(code.utf8))
        case (.refused(let expected), .failure(let found)): #expect(found == expected)
        case (.malformed, .failure(.malformed(let reason))): #expect(!reason.contains("stolen"))
        default: Issue.record("\(name): \(result)")
        }
    }
}

@Suite struct RedirectCorpusTests {
    // MARK: Codes

    static let codes: [RedirectCase] = [
        RedirectCase("plain", "code=SplxlOBeZQQYbYS6WxSbIA&state=STATE", .code("SplxlOBeZQQYbYS6WxSbIA")),
        RedirectCase("in another order", "state=STATE&code=c", .code("c")),
        RedirectCase("Google's solidus", "state=STATE&code=4%2F0AX4XfWh&scope=email+profile&authuser=0&prompt=consent", .code("4/0AX4XfWh")),
        RedirectCase("bare solidus", "code=4/0AX4XfWh&state=STATE", .code("4/0AX4XfWh")),
        RedirectCase("Salesforce's equals signs", "code=aPrx4sgo%3D%3D&state=STATE", .code("aPrx4sgo==")),
        RedirectCase("bare equals signs", "code=dA==&state=STATE", .code("dA==")),
        RedirectCase("encoded plus", "code=a%2Bb&state=STATE", .code("a+b")),
        RedirectCase("bar", "code=1%7C2&state=STATE", .code("1|2")),
        RedirectCase("number sign", "code=a%23b&state=STATE", .code("a#b")),
        RedirectCase("ampersand", "code=a%26state%3Dx&state=STATE", .code("a&state=x")),
        RedirectCase("decoded once and no more", "code=a%252Fb&state=STATE", .code("a%2Fb")),
        RedirectCase("hexadecimal in lower case", "code=a%2f%3d&state=STATE", .code("a/=")),
        RedirectCase("unreserved characters encoded", "code=%61%7E%2D&state=STATE", .code("a~-")),
        RedirectCase("quotes, angle brackets, backslash", "code=%22%3Ca%3E%5C&state=STATE", .code("\"<a>\\")),
        RedirectCase("semicolon inside", "code=a;b&state=STATE", .code("a;b")),
        RedirectCase("one character", "code=0&state=STATE", .code("0")),
        RedirectCase("encoded names", "co%64e=c&%73tate=STATE", .code("c")),
        RedirectCase("unknown parameters", "code=c&state=STATE&session_state=1-2&foo=1&bar", .code("c")),
        RedirectCase("unknown parameters in other scripts", "code=c&state=STATE&name=%C3%A9%F0%9F%98%80", .code("c")),
        RedirectCase("unknown parameter with NUL", "code=c&state=STATE&x=%00", .code("c")),
        RedirectCase("names that differ in case", "code=c&Code=d&CODE=e&state=STATE&State=x", .code("c")),
        RedirectCase("names equal by canonical equivalence only", "code=c&state=STATE&%C3%A9=1&e%CC%81=2", .code("c")),
        RedirectCase("names with a space more", "code=c&code+=d&+state=x&state=STATE", .code("c")),
        RedirectCase("names with NUL more", "code=c&code%00=d&state=STATE", .code("c")),
        RedirectCase("empty pairs", "&&code=c&&state=STATE&", .code("c")),
        RedirectCase("empty error", "code=c&state=STATE&error=", .code("c")),
        RedirectCase("empty description and URI", "code=c&state=STATE&error_description=&error_uri=", .code("c")),
        RedirectCase("description without an error", "code=c&state=STATE&error_description=x", .code("c")),
        RedirectCase("4 KiB", "code=" + x(4096) + "&state=STATE", .code(x(4096))),
        RedirectCase("8 KiB", "code=" + x(8192) + "&state=STATE", .code(x(8192))),
    ]
    static func x(_ count: Int) -> String { String(repeating: "x", count: count) }
    @Test("Decoded once, as bytes (SEC-26, SEC-43)", arguments: Self.codes) func readsCodes(redirect: RedirectCase) throws { try redirect.check() }

    static let badCodes: [RedirectCase] = [
        RedirectCase("missing", "state=STATE", .refused(.missingCode)),
        RedirectCase("empty", "code=&state=STATE", .refused(.missingCode)),
        RedirectCase("without a value", "code&state=STATE", .refused(.missingCode)),
        RedirectCase("in capitals", "CODE=stolen&state=STATE", .refused(.missingCode)),
        RedirectCase("under another name", "auth_code=stolen&state=STATE", .refused(.missingCode)),
        RedirectCase("with a space in its name", "code+=stolen&state=STATE", .refused(.missingCode)),
        RedirectCase("tokens instead", "access_token=stolen&token_type=bearer&state=STATE", .refused(.missingCode)),
        RedirectCase("an ID token instead", "id_token=stolen&state=STATE", .refused(.missingCode)),
        RedirectCase("consent of an administrator", "admin_consent=True&tenant=x&state=STATE", .refused(.missingCode)),
        RedirectCase("semicolon in front", "x=1;code=stolen&state=STATE", .refused(.missingCode)),
        RedirectCase("plus is a space", "code=a+b&state=STATE", .malformed),
        RedirectCase("encoded space", "code=a%20b&state=STATE", .malformed),
        RedirectCase("bare space", "code=a b&state=STATE", .malformed),
        RedirectCase("space in front", "code=%20a&state=STATE", .malformed),
        RedirectCase("CR LF", "code=a%0D%0ASet-Cookie%3A+stolen&state=STATE", .malformed),
        RedirectCase("line feed behind", "code=a%0A&state=STATE", .malformed),
        RedirectCase("tab", "code=a%09b&state=STATE", .malformed),
        RedirectCase("NUL", "code=a%00&state=STATE", .malformed),
        RedirectCase("DEL", "code=a%7F&state=STATE", .malformed),
        RedirectCase("é", "code=%C3%A9&state=STATE", .malformed),
        RedirectCase("bare é", "code=\u{E9}&state=STATE", .malformed),
        RedirectCase("emoji", "code=%F0%9F%98%80&state=STATE", .malformed),
        RedirectCase("zero width space", "code=a%E2%80%8B&state=STATE", .malformed),
        RedirectCase("longer than 8 KiB", "code=" + x(8193) + "&state=STATE", .malformed),
    ]
    @Test("No code, or none that may be sent on (SEC-43)", arguments: Self.badCodes) func refusesCodes(redirect: RedirectCase) throws { try redirect.check() }

    // MARK: Syntax

    /// What fills `code=c&state=STATE&x=` up to 16 KiB, with the 43 characters of a state.
    static let filler = 16 * 1024 - 59

    static let syntax: [RedirectCase] = [
        RedirectCase("code twice", "code=c&code=stolen&state=STATE", .malformed),
        RedirectCase("code twice, the same", "code=c&code=c&state=STATE", .malformed),
        RedirectCase("code twice, spelled otherwise", "code=c&c%6Fde=stolen&state=STATE", .malformed),
        RedirectCase("code twice, one empty", "code=&code=c&state=STATE", .malformed),
        RedirectCase("state twice", "code=c&state=STATE&state=other", .malformed),
        RedirectCase("state twice, the same", "code=c&state=STATE&state=STATE", .malformed),
        RedirectCase("state twice, spelled otherwise", "code=c&state=STATE&%73%74ate=STATE", .malformed),
        RedirectCase("iss twice", "code=c&state=STATE&iss=https%3A%2F%2Fas.example&iss=https%3A%2F%2Fas.example", .malformed),
        RedirectCase("iss twice, one of them right", "code=c&state=STATE&iss=https%3A%2F%2Fevil.example&iss=https%3A%2F%2Fas.example", .malformed),
        RedirectCase("error twice", "error=access_denied&error=server_error&state=STATE", .malformed),
        RedirectCase("description twice", "error=access_denied&error_description=a&error_description=b&state=STATE", .malformed),
        RedirectCase("unknown twice", "code=c&state=STATE&foo=1&foo=2", .malformed),
        RedirectCase("code and error", "code=stolen&error=access_denied&state=STATE", .malformed),
        RedirectCase("code and error, spelled otherwise", "code=stolen&%65rror=access_denied&state=STATE", .malformed),
        RedirectCase("code and error of another state", "code=stolen&error=access_denied&state=other", .malformed),
        RedirectCase("percent sign at the end", "code=c&state=STATE&x=%", .malformed),
        RedirectCase("percent sign and one digit", "code=c&state=STATE&x=%4", .malformed),
        RedirectCase("percent sign and no digits", "code=100%zz&state=STATE", .malformed),
        RedirectCase("percent sign in a name", "%=1&code=c&state=STATE", .malformed),
        RedirectCase("percent sign across a pair", "code=c%&2F=1&state=STATE", .malformed),
        RedirectCase("UTF-16 escape", "code=%u0041&state=STATE", .malformed),
        RedirectCase("not UTF-8", "code=%FF&state=STATE", .malformed),
        RedirectCase("Latin-1", "code=c&state=STATE&name=Jos%E9", .malformed),
        RedirectCase("overlong", "code=%C0%AF&state=STATE", .malformed),
        RedirectCase("surrogate", "code=%ED%A0%80&state=STATE", .malformed),
        RedirectCase("cut character", "code=c&state=STATE&x=%E2%82", .malformed),
        RedirectCase("bare bytes that are not UTF-8", "&code=c&state=STATE", raw: [0x78, 0x3D, 0xFF], .malformed),
        RedirectCase("bare bytes that are not UTF-8, in a name", "&code=c&state=STATE", raw: [0xC3, 0x3D, 0x31], .malformed),
        RedirectCase("16 KiB and a byte", "code=c&state=STATE&x=" + x(filler + 1), .malformed),
        RedirectCase("16 KiB", "code=c&state=STATE&x=" + x(filler), .code("c")),
        RedirectCase("1 MiB", "code=c&state=STATE&x=" + x(1 << 20), .malformed),
    ]
    @Test("Each name once, well encoded, and no more than 16 KiB (SEC-26)", arguments: Self.syntax) func readsSyntax(redirect: RedirectCase) throws {
        try redirect.check()
    }

    // MARK: State

    static let states: [RedirectCase] = [
        RedirectCase("missing", "code=stolen", .refused(.stateMismatch)),
        RedirectCase("empty", "code=stolen&state=", .refused(.stateMismatch)),
        RedirectCase("without a value", "code=stolen&state", .refused(.stateMismatch)),
        RedirectCase("another", "code=stolen&state=other", .refused(.stateMismatch)),
        RedirectCase("a character more", "code=stolen&state=STATEA", .refused(.stateMismatch)),
        RedirectCase("a character more in front", "code=stolen&state=ASTATE", .refused(.stateMismatch)),
        RedirectCase("space behind", "code=stolen&state=STATE%20", .refused(.stateMismatch)),
        RedirectCase("plus behind", "code=stolen&state=STATE+", .refused(.stateMismatch)),
        RedirectCase("line feed behind", "code=stolen&state=STATE%0A", .refused(.stateMismatch)),
        RedirectCase("NUL behind", "code=stolen&state=STATE%00", .refused(.stateMismatch)),
        RedirectCase("padding behind", "code=stolen&state=STATE%3D", .refused(.stateMismatch)),
        RedirectCase("combining accent behind", "code=stolen&state=STATE%CC%81", .refused(.stateMismatch)),
        RedirectCase("Facebook's fragment behind", "code=stolen&state=STATE#_=_", .refused(.stateMismatch)),
        RedirectCase("name in capitals", "code=stolen&STATE_=1&State=STATE", .refused(.stateMismatch)),
        RedirectCase("under another name", "code=stolen&customField=STATE", .refused(.stateMismatch)),
        RedirectCase("behind a semicolon", "code=stolen;state=STATE", .refused(.stateMismatch)),
        RedirectCase("inside another value", "code=stolen&x=%26state%3DSTATE", .refused(.stateMismatch)),
        RedirectCase("JARM", "response=eyJhbGciOiJub25lIn0.eyJjb2RlIjoic3RvbGVuIn0.", .refused(.stateMismatch)),
        RedirectCase("error without state", "error=access_denied&error_description=stolen", .refused(.stateMismatch)),
        RedirectCase("error of another state", "error=access_denied&state=other", .refused(.stateMismatch)),
        RedirectCase("nothing", "", .refused(.stateMismatch)),
        RedirectCase("separators alone", "&&&", .refused(.stateMismatch)),
        RedirectCase("a question mark in front", "?state=STATE&code=stolen", .refused(.stateMismatch)),
        RedirectCase("a wrong issuer besides", "code=stolen&state=other&iss=https%3A%2F%2Fevil.example", .refused(.stateMismatch)),
    ]
    @Test("Another state is none (SEC-01, SEC-23)", arguments: Self.states) func readsStates(redirect: RedirectCase) throws { try redirect.check() }

    @Test("A state in another case, cut, or of another attempt is none (SEC-23)")
    func nearStates() throws {
        let (pending, state) = try AuthorizationResponseTests().pending()
        let (_, other) = try AuthorizationResponseTests().pending()
        for near in [
            state.lowercased(), state.uppercased(), String(state.dropLast()), String(state.dropFirst()), String(state.reversed()), other,
            Base64URL.encode(pending.stateHash),
        ] where near != state {
            #expect(throws: CallbackError.stateMismatch) { try pending.accept(AuthorizationResponse(query: "code=c&state=\(near)".utf8)) }
        }
        #expect(try pending.accept(AuthorizationResponse(query: "code=c&state=\(state)".utf8)).code.withExposed { $0 } == "c")
    }

    // MARK: Issuer

    /// Promised by the metadata or not, present or not, equal or nearly.
    static let issuers: [RedirectCase] = [
        RedirectCase("promised, equal", "code=c&state=STATE&iss=https%3A%2F%2Fas.example", promised: true, .code("c")),
        RedirectCase("promised, missing", "code=stolen&state=STATE", promised: true, .refused(.issuerMismatch)),
        RedirectCase("promised, empty", "code=stolen&state=STATE&iss=", promised: true, .refused(.issuerMismatch)),
        RedirectCase("promised, in capitals", "code=stolen&state=STATE&ISS=https%3A%2F%2Fas.example", promised: true, .refused(.issuerMismatch)),
        RedirectCase("promised, another", "code=stolen&state=STATE&iss=https%3A%2F%2Fevil.example", promised: true, .refused(.issuerMismatch)),
        RedirectCase("promised, no code", "state=STATE&iss=https%3A%2F%2Fas.example", promised: true, .refused(.missingCode)),
        RedirectCase("promised, denied", "error=access_denied&state=STATE&iss=https%3A%2F%2Fas.example", promised: true, .denied("access_denied")),
        RedirectCase("promised, denied without", "error=access_denied&error_description=stolen&state=STATE", promised: true, .refused(.issuerMismatch)),
        RedirectCase("equal", "code=c&state=STATE&iss=https%3A%2F%2Fas.example", .code("c")),
        RedirectCase("equal, bare", "code=c&state=STATE&iss=https://as.example", .code("c")),
        RedirectCase("equal, every byte encoded", "code=c&state=STATE&iss=%68%74%74%70%73%3a%2f%2f%61%73%2e%65%78%61%6d%70%6c%65", .code("c")),
        RedirectCase("missing", "code=c&state=STATE", .code("c")),
        RedirectCase("another", "code=stolen&state=STATE&iss=https%3A%2F%2Fevil.example", .refused(.issuerMismatch)),
        RedirectCase("slash behind", "code=stolen&state=STATE&iss=https%3A%2F%2Fas.example%2F", .refused(.issuerMismatch)),
        RedirectCase("host in capitals", "code=stolen&state=STATE&iss=https%3A%2F%2FAS.example", .refused(.issuerMismatch)),
        RedirectCase("scheme in capitals", "code=stolen&state=STATE&iss=HTTPS%3A%2F%2Fas.example", .refused(.issuerMismatch)),
        RedirectCase("default port", "code=stolen&state=STATE&iss=https%3A%2F%2Fas.example%3A443", .refused(.issuerMismatch)),
        RedirectCase("http", "code=stolen&state=STATE&iss=http%3A%2F%2Fas.example", .refused(.issuerMismatch)),
        RedirectCase("encoded twice", "code=stolen&state=STATE&iss=https%253A%252F%252Fas.example", .refused(.issuerMismatch)),
        RedirectCase("encoded inside", "code=stolen&state=STATE&iss=https%3A%2F%2Fas%252Eexample", .refused(.issuerMismatch)),
        RedirectCase("space behind", "code=stolen&state=STATE&iss=https%3A%2F%2Fas.example+", .refused(.issuerMismatch)),
        RedirectCase("dot behind", "code=stolen&state=STATE&iss=https%3A%2F%2Fas.example.", .refused(.issuerMismatch)),
        RedirectCase("a path more", "code=stolen&state=STATE&iss=https%3A%2F%2Fas.example%2Ft1", .refused(.issuerMismatch)),
        RedirectCase("a prefix of it", "code=stolen&state=STATE&iss=https%3A%2F%2Fas.exampl", .refused(.issuerMismatch)),
        RedirectCase("NUL behind", "code=stolen&state=STATE&iss=https%3A%2F%2Fas.example%00", .refused(.issuerMismatch)),
        RedirectCase("combining accent behind", "code=stolen&state=STATE&iss=https%3A%2F%2Fas.example%CC%81", .refused(.issuerMismatch)),
        RedirectCase("tenant placeholder", "code=stolen&state=STATE&iss=https%3A%2F%2Fas.example%2F%7Btenantid%7D", .refused(.issuerMismatch)),
        RedirectCase("not a URL", "code=stolen&state=STATE&iss=x", .refused(.issuerMismatch)),
        RedirectCase("denied by another", "error=access_denied&error_description=stolen&state=STATE&iss=https%3A%2F%2Fevil.example", .refused(.issuerMismatch)),
        RedirectCase("denied, equal", "error=access_denied&state=STATE&iss=https%3A%2F%2Fas.example", .denied("access_denied")),
        RedirectCase(
            "canonical equivalence", "code=stolen&state=STATE&iss=https%3A%2F%2Fas.example%2Fe%CC%81", issuer: "https://as.example/\u{E9}",
            .refused(.issuerMismatch)),
        RedirectCase("with a path", "code=c&state=STATE&iss=https%3A%2F%2Fas.example%2Ft1%2F", issuer: "https://as.example/t1/", .code("c")),
        RedirectCase("none known", "code=c&state=STATE&iss=https%3A%2F%2Fany.example", issuer: nil, .code("c")),
        RedirectCase("none known, missing", "code=c&state=STATE", issuer: nil, .code("c")),
    ]
    @Test("iss is compared as it is, in errors too (RFC 9207 §2.4, SEC-24)", arguments: Self.issuers) func readsIssuers(redirect: RedirectCase) throws {
        try redirect.check()
    }

    // MARK: Errors

    static let errors: [RedirectCase] = [
        RedirectCase("denied", "error=access_denied&state=STATE", .denied("access_denied")),
        RedirectCase("denied, empty code", "error=access_denied&code=&state=STATE", .denied("access_denied")),
        RedirectCase(
            "plus in the description", "error=access_denied&error_description=The+user+said+no&state=STATE", .denied("access_denied", "The user said no")),
        RedirectCase(
            "%20 in the description", "error=access_denied&error_description=The%20user%20said%20no&state=STATE", .denied("access_denied", "The user said no")),
        RedirectCase("empty description", "error=access_denied&error_description=&state=STATE", .denied("access_denied")),
        RedirectCase("error_uri is left alone", "error=server_error&error_uri=javascript%3Aalert(1)&state=STATE", .denied("server_error")),
        RedirectCase("temporarily", "error=temporarily_unavailable&state=STATE", .denied("temporarily_unavailable")),
        RedirectCase("OpenID Connect's", "error=login_required&state=STATE", .denied("login_required")),
        RedirectCase("resource indicators'", "error=invalid_target&state=STATE", .denied("invalid_target")),
        RedirectCase("of no registry", "error=user_cancelled_login&error_reason=user_denied&state=STATE", .denied("user_cancelled_login")),
        RedirectCase("in another case", "error=Access_Denied&state=STATE", .denied("Access_Denied")),
        RedirectCase("with a space", "error=access+denied&state=STATE", .denied("access denied")),
        RedirectCase("with a quote", "error=a%22b&state=STATE", .denied("")),
        RedirectCase("with a backslash", "error=a%5Cb&state=STATE", .denied("")),
        RedirectCase("with a line break", "error=a%0D%0Ab&state=STATE", .denied("")),
        RedirectCase("outside ASCII", "error=%C3%A9&state=STATE", .denied("")),
        RedirectCase("endless", "error=" + x(5000) + "&state=STATE", .denied("")),
        RedirectCase("names of Facebook", "error_code=200&error_message=stolen&error_reason=user_denied&state=STATE", .refused(.missingCode)),
        RedirectCase("names of LINE", "errorCode=417&errorMessage=stolen&state=STATE", .refused(.missingCode)),
        RedirectCase("denied alone", "denied=1&state=STATE", .refused(.missingCode)),
        RedirectCase("description on one line", "error=access_denied&error_description=a%0D%0Ab%E2%80%A8c&state=STATE", .denied("access_denied", "a  b c")),
        RedirectCase(
            "description with bidi and zero width characters", "error=access_denied&error_description=a%E2%80%AEb%E2%80%8Bc&state=STATE",
            .denied("access_denied", "abc")),
        RedirectCase(
            "description with a terminal's escapes", "error=access_denied&error_description=%1B%5B31mred&state=STATE", .denied("access_denied", " [31mred")),
        RedirectCase(
            "description with markup stays text", "error=access_denied&error_description=%3Cscript%3E&state=STATE", .denied("access_denied", "<script>")),
        RedirectCase("description of 5000 bytes", "error=access_denied&error_description=" + x(5000) + "&state=STATE", .denied("access_denied", x(1024))),
    ]
    @Test("The provider's own refusals (SEC-25)", arguments: Self.errors) func readsErrors(redirect: RedirectCase) throws { try redirect.check() }

    // MARK: Switches

    static let switches: [RedirectCase] = [
        RedirectCase("code under another name", "spapi_oauth_code=c&state=STATE&selling_partner_id=x", .code("c")) { $0.codeParameter = "spapi_oauth_code" },
        RedirectCase("code under another name, the standard's is not it", "code=stolen&state=STATE", .refused(.missingCode)) {
            $0.codeParameter = "spapi_oauth_code"
        },
        RedirectCase("code under another name, and error", "auth_code=stolen&error=access_denied&state=STATE", .malformed) { $0.codeParameter = "auth_code" },
        RedirectCase("state under another name", "code=c&customField=STATE", .code("c")) { $0.stateParameter = "customField" },
        RedirectCase("state under another name, the standard's is not it", "code=stolen&state=STATE", .refused(.stateMismatch)) {
            $0.stateParameter = "customField"
        },
        RedirectCase("alias of an error", "error=user_cancelled_authorize&state=STATE", .denied("access_denied")) {
            $0.errorAliases = ["user_cancelled_authorize": "access_denied"]
        },
    ]
    @Test("The profile's switches of the callback", arguments: Self.switches) func readsBySwitch(redirect: RedirectCase) throws { try redirect.check() }

    @Test func otherParametersCanBeCaptured() throws {
        let response = try AuthorizationResponse(query: "code=c&realmId=12%2034&empty=&e%CC%81=x".utf8)
        #expect(response["realmId"] == "12 34")
        #expect(response["empty"] == nil)
        #expect(response["missing"] == nil)
        #expect(response["e\u{301}"] == "x")
        #expect(response["\u{E9}"] == nil)
    }
}

import Testing

@testable import OAuth

@Suite struct JSONTests {
    @Test(arguments: [
        (#"{"a":[1,-0,2.5,1e3,true,false,null,"x"]}"#, #"{"a":[1,-0,2.5,1e3,true,false,null,"x"]}"#),
        ("\u{FEFF} {}\n", "{}"),
        (#""\u0041\n\"\\\/\ud83d\ude00é""#, #""A\n\"\\/😀é""#),
        (#"{"b":1,"a":{"x":1,"x":2}}"#, #"{"b":1,"a":{"x":1,"x":2}}"#),
    ])
    func readsAndWrites(text: String, written: String) throws {
        #expect(String(decoding: try JSONValue(parsing: text.utf8).serialized(), as: UTF8.self) == written)
    }

    @Test(arguments: [
        "", " ", "{", "}", "[1,]", "{\"a\":1,}", "{a:1}", "'a'", "01", "1.", ".5", "+1", "-", "1e", "NaN", "Infinity", "nul", "truex", "{} {}",
        "\"a", "\"\\x\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\u{01}\"", "\"\t\"", "[1 2]", "{\"a\" 1}", "{\"a\":}", "// c\n{}",
        "{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}", "\u{FEFF}\u{FEFF}{}",
    ])
    func refuses(text: String) {
        #expect(throws: JSONError.self) { try JSONValue(parsing: text.utf8) }
    }

    @Test(arguments: [[0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xFF], [0xC3]] as [[UInt8]])
    func refusesWhatIsNotUTF8(bytes: [UInt8]) {
        #expect(throws: JSONError.self) { try JSONValue(parsing: [0x22] + bytes + [0x22]) }
    }

    @Test func depthIsBounded() throws {
        let deep = { (n: Int) in String(repeating: "[", count: n) + String(repeating: "]", count: n) }
        _ = try JSONValue(parsing: deep(64).utf8)
        #expect(throws: JSONError.self) { try JSONValue(parsing: deep(65).utf8) }
        #expect(throws: JSONError.self) { try JSONValue(parsing: String(repeating: "[", count: 100_000).utf8) }
        #expect(throws: JSONError.self) { try JSONValue(parsing: String(repeating: "{\"a\":", count: 100_000).utf8) }
    }

    @Test func aMegabyteOfMembersIsReadInLinearTime() throws {
        let text = "{" + (0..<60_000).map { "\"member\($0)\":\($0)" }.joined(separator: ",") + "}"
        #expect(try JSONValue(parsing: text.utf8).object?.members.count == 60_000)
    }

    @Test(
        arguments: [
            ("3600", 3600, 3600), ("3.6e3", 3600, 3600), ("3600.5", nil, 3600), ("-1", -1, -1), ("-0.5", nil, -1), ("0.000", 0, 0), ("-0", 0, 0),
            ("1e400", nil, Int.max), ("-1e400", nil, Int.min), ("1e-400", nil, 0), ("9223372036854775807", Int.max, Int.max),
            ("9223372036854775808", nil, Int.max), ("-9223372036854775808", Int.min, Int.min), ("1e999999999999", nil, Int.max), ("0e999999999", 0, 0),
            ("123456789e-3", nil, 123_456), ("1200e-2", 12, 12),
        ] as [(String, Int?, Int)])
    func numbersNeitherRoundNorTrap(text: String, whole: Int?, floored: Int) throws {
        guard case .number(let number) = try JSONValue(parsing: text.utf8) else {
            Issue.record("not a number")
            return
        }
        #expect(number.integer == whole)
        #expect(number.flooredClamped == floored)
    }

    @Test("Mutated documents never trap")
    func mutations() {
        var seed: UInt64 = 42
        func random(_ bound: Int) -> Int {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(seed >> 33) % bound
        }
        let original = Array(#"{"access_token":"a\u00e9😀","expires_in":-12.5e+3,"scope":["r","w"],"x":{"y":[null,true]}}"#.utf8)
        for _ in 0..<20_000 {
            var bytes = original
            for _ in 0...random(3) {
                switch random(3) {
                case 0: bytes[random(bytes.count)] = UInt8(random(256))
                case 1: bytes.remove(at: random(bytes.count))
                default: bytes.insert(UInt8(random(256)), at: random(bytes.count + 1))
                }
            }
            _ = try? JSONValue(parsing: bytes).serialized()
        }
    }
}

@Suite struct FormTests {
    @Test("RFC 6749 Appendix B")
    func appendixB() { #expect(Form.encode(" %&+£€") == "+%25%26%2B%C2%A3%E2%82%AC") }

    @Test func outsideOfFormsASpaceIsNoPlus() { #expect(Form.percentEncode("a ~+/£") == "a%20~%2B%2F%C2%A3") }

    @Test(arguments: [
        ("a=1&b=2", [["a", "1"], ["b", "2"]]), ("a=b+c%20d&e", [["a", "b c d"], ["e", ""]]), ("&&a=1&", [["a", "1"]]), ("a=1=2", [["a", "1=2"]]),
        ("%61=%7E%2A", [["a", "~*"]]), ("=x", [["", "x"]]),
    ])
    func parses(text: String, pairs: [[String]]) throws { #expect(try Form.parse(text.utf8).map { [$0.name, $0.value] } == pairs) }

    @Test(arguments: ["a=%", "a=%2", "a=%GG", "a=%ff", "%c3=1", "a=%+1"])
    func refuses(text: String) { #expect(throws: FormError.self) { try Form.parse(text.utf8) } }

    @Test func whatIsWrittenIsReadBack() throws {
        let pairs = [("a b", "c&d=e+f%"), ("é", "😀"), ("x", "\r\n\0")]
        #expect(try Form.parse(Form.serialize(pairs).utf8).map { [$0.name, $0.value] } == pairs.map { [$0.0, $0.1] })
    }
}

@Suite struct Base64URLTests {
    @Test("RFC 7515 Appendix C", arguments: [([3, 236, 255, 224, 193], "A-z_4ME"), ([], ""), ([255], "_w"), ([0, 0], "AAA")] as [([UInt8], String)])
    func vectors(bytes: [UInt8], text: String) {
        #expect(Base64URL.encode(bytes) == text)
        #expect(Base64URL.decode(text) == bytes)
    }
    @Test(arguments: ["A", "A-z_4ME=", "A z", "A-z_4MF", "_x", "é", "+/", "AAAAA"])
    func refuses(text: String) { #expect(Base64URL.decode(text) == nil) }
}

@Suite struct EndpointURLTests {
    @Test(arguments: [
        ("https://as.example", "https://as.example/", "as.example", 443, "/"),
        ("HTTPS://AS.Example:8443/Token?tenant=1", "https://as.example:8443/Token?tenant=1", "as.example", 8443, "/Token?tenant=1"),
        ("http://127.0.0.1:80/", "http://127.0.0.1:80/", "127.0.0.1", 80, "/"),
        ("https://[2001:DB8::1]:444/x", "https://[2001:db8::1]:444/x", "2001:db8::1", 444, "/x"),
        ("https://as.example?x", "https://as.example/?x", "as.example", 443, "/?x"),
        ("https://xn--bcher-kva.example/%2e%2E/a", "https://xn--bcher-kva.example/%2e%2E/a", "xn--bcher-kva.example", 443, "/%2e%2E/a"),
        ("https://as.example./t", "https://as.example./t", "as.example.", 443, "/t"),
    ])
    func parses(text: String, canonical: String, host: String, port: Int, target: String) throws {
        let url = try EndpointURL(text)
        #expect(url.description == canonical)
        #expect(url.host == host)
        #expect(url.effectivePort == port)
        #expect(url.target == target)
        #expect(try EndpointURL(url.description) == url)
    }

    @Test(
        "What passes other parsers is refused (SEC-68)",
        arguments: [
            "", "as.example", "ftp://as.example", "file:///etc/passwd", "javascript:alert(1)", "https:/as.example", "https://", "https:///x", "https://:443/",
            "https://u@as.example/", "https://u:p@as.example/", "https://as.example#f", "https://as.example/#", "https://as.example/ x",
            "https://as.example/\u{0}",
            "https://as.example/\n", "https://good\\@evil/", "https://good%00.evil/", "https://good%2eevil.example/", "https://[::1%25lo]/", "https://[::1]x/",
            "https://[127.0.0.1]/", "https://[:::1]/", "https://[1::2::3]/", "https://as.example:0/", "https://as.example:99999/", "https://as.example:0443/",
            "https://as.example:/", "https://as.example:4a/", "https://2130706433/", "https://0177.0.0.1/", "https://0x7f.1/", "https://127.1/", "https://0/",
            "https://1.2.3.4.5/", "https://256.1.1.1/", "https://0x7f000001/", "https://bücher.example/", "https://①.example/", "https://as..example/",
            "https://-a.example/", "https://a-.example/", "https://as.example/%zz", "https://as.example/%2", "https://as.example/<x>", "https://as.example/{x}",
            "https://" + String(repeating: "a", count: 64) + ".example/", "https://" + String(repeating: "a.", count: 130) + "example/",
            "https://as.example/" + String(repeating: "a", count: 9000),
        ])
    func refuses(text: String) { #expect(throws: EndpointURLError.self) { try EndpointURL(text) } }

    @Test(arguments: [
        ("https://as.example/authorize?tenant=1", "https://as.example/authorize?tenant=1&response_type=code&scope=a+b%2Fc"),
        ("https://as.example/authorize?", "https://as.example/authorize?response_type=code&scope=a+b%2Fc"),
        ("https://as.example/authorize", "https://as.example/authorize?response_type=code&scope=a+b%2Fc"),
    ])
    func appends(endpoint: String, expected: String) throws {
        #expect(try EndpointURL(endpoint).appending([("response_type", "code"), ("scope", "a b/c")]) == expected)
    }

    @Test(arguments: [
        ("http://localhost/", true), ("http://127.9.9.9/", true), ("http://[::1]/", true), ("http://localhost.evil/", false), ("http://10.0.0.1/", false),
    ])
    func loopback(text: String, expected: Bool) throws { #expect(try EndpointURL(text).isLoopback == expected) }
}

@Suite struct SecretTests {
    @Test func nothingPrintsASecret() {
        let secret = AccessToken("marker-4711")
        var dumped = ""
        dump([secret], to: &dumped)
        for text in ["\(secret)", String(reflecting: secret), "\([secret])", dumped, "\(Optional(secret) as Any)"] { #expect(!text.contains("4711")) }
    }

    @Test func bytesAreComparedAsBytes() {
        #expect(!sameBytes("é", "e\u{301}"))
        #expect(!constantTimeEqual("é", "e\u{301}"))
        #expect(constantTimeEqual("abc", "abc"))
        #expect(!constantTimeEqual("abc", "abd"))
        #expect(!constantTimeEqual("abc", "ab"))
    }
}

import Testing

@testable import OAuth

/// SplitMix64: the same values in every run.
struct Seeded: RandomNumberGenerator {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &self) }
    mutating func one<Element>(of choices: [Element]) -> Element { choices[below(choices.count)] }
    mutating func byte() -> UInt8 { UInt8.random(in: .min ... .max, using: &self) }

    /// Text of up to `length` scalars: quotes, escapes, control characters, other scripts, beyond the first plane.
    mutating func text(upTo length: Int = 12) -> String {
        var text = ""
        for _ in 0..<below(length + 1) {
            switch below(6) {
            case 0: text.unicodeScalars.append(one(of: ["\"", "\\", "/", "%", "&", "=", "+", "#", ";", " ", "é", "e", "\u{301}", "\u{FEFF}", "\u{2028}"]))
            case 1: text.unicodeScalars.append(Unicode.Scalar(UInt8(below(0x20))))
            case 2: text.unicodeScalars.append(Unicode.Scalar(UInt32(0xE000 + below(0x2000))) ?? "x")
            case 3: text.unicodeScalars.append(Unicode.Scalar(UInt32(0x1F300 + below(0x300))) ?? "x")
            default: text.unicodeScalars.append(Unicode.Scalar(UInt8(0x20 + below(0x5F))))
            }
        }
        return text
    }

    /// `bytes` with a few of them changed, taken out, put in, doubled or cut off; by preference to what `alphabet` holds.
    mutating func mutated(_ bytes: [UInt8], alphabet: [UInt8]) -> [UInt8] {
        var bytes = bytes
        for _ in 0...below(4) {
            let byte = below(3) == 0 ? self.byte() : one(of: alphabet)
            switch below(5) {
            case 0 where !bytes.isEmpty: bytes[below(bytes.count)] = byte
            case 1 where !bytes.isEmpty: bytes.remove(at: below(bytes.count))
            case 2 where !bytes.isEmpty:
                let start = below(bytes.count)
                bytes += bytes[start..<min(bytes.count, start + 1 + below(24))]
            case 3 where below(8) == 0: bytes.removeLast(below(bytes.count + 1))
            default: bytes.insert(byte, at: below(bytes.count + 1))
            }
        }
        return bytes
    }
}

@Suite struct FuzzTests {
    // MARK: JSON

    /// A random value, and its text by a writer of the test's own: white space and escapes wherever the grammar takes them.
    static func json(_ random: inout Seeded, depth: Int = 0) -> (value: JSONValue, text: String) {
        switch random.below(depth > 5 ? 4 : 6) {
        case 0:
            let words: [(value: JSONValue, text: String)] = [(.null, "null"), (.bool(true), "true"), (.bool(false), "false")]
            return random.one(of: words)
        case 1:
            let number = Int(truncatingIfNeeded: random.next()) >> random.below(64)
            return (.number(JSONNumber(number)), "\(number)")
        case 2, 3:
            let text = random.text()
            return (.string(text), written(text, &random))
        case 4:
            let items = (0..<random.below(5)).map { _ in json(&random, depth: depth + 1) }
            let inside = items.map { space(&random) + $0.text + space(&random) }.joined(separator: ",")
            return (.array(items.map(\.value)), "[" + (items.isEmpty ? space(&random) : inside) + "]")
        default: return object(&random, depth: depth)
        }
    }

    static func object(_ random: inout Seeded, depth: Int = 0) -> (value: JSONValue, text: String) {
        var members: [(name: String, value: JSONValue)] = []
        var texts: [String] = []
        for index in 0..<random.below(5) {
            let name = "\(index)" + random.text(upTo: 6)
            let item = json(&random, depth: depth + 1)
            members.append((name, item.value))
            texts.append(space(&random) + written(name, &random) + space(&random) + ":" + space(&random) + item.text + space(&random))
        }
        return (.object(JSONObject(members)), "{" + (texts.isEmpty ? space(&random) : texts.joined(separator: ",")) + "}")
    }

    static func space(_ random: inout Seeded) -> String {
        var text = ""
        for _ in 0..<max(0, random.below(5) - 2) { text.unicodeScalars.append(random.one(of: [" ", "\t", "\n", "\r"])) }
        return text
    }

    static let shortEscapes: [Unicode.Scalar: String] = [
        "\"": "\\\"", "\\": "\\\\", "/": "\\/", "\u{8}": "\\b", "\u{C}": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
    ]

    static func written(_ text: String, _ random: inout Seeded) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            let mustEscape = scalar.value < 0x20 || scalar == "\"" || scalar == "\\"
            guard mustEscape || random.below(4) == 0 else {
                result.unicodeScalars.append(scalar)
                continue
            }
            if let escape = shortEscapes[scalar], random.below(2) == 0 {
                result += escape
            } else {
                for unit in String(scalar).utf16 {
                    let hex = String(unit, radix: 16, uppercase: random.below(2) == 0)
                    result += "\\u" + String(repeating: "0", count: 4 - hex.utf8.count) + hex
                }
            }
        }
        return result + "\""
    }

    /// Equal in kind, order and bytes. `==` on strings is canonical equivalence.
    static func same(_ a: JSONValue, _ b: JSONValue) -> Bool {
        switch (a, b) {
        case (.null, .null): true
        case (.bool(let a), .bool(let b)): a == b
        case (.number(let a), .number(let b)): sameBytes(a.text, b.text)
        case (.string(let a), .string(let b)): sameBytes(a, b)
        case (.array(let a), .array(let b)): a.count == b.count && zip(a, b).allSatisfy { same($0, $1) }
        case (.object(let a), .object(let b)):
            a.members.count == b.members.count && zip(a.members, b.members).allSatisfy { sameBytes($0.name, $1.name) && same($0.value, $1.value) }
        default: false
        }
    }

    @Test("What another writer wrote is read as it was meant, and what is written is read back", arguments: [1, 2, 3, 4] as [UInt64])
    func jsonRoundTrips(seed: UInt64) throws {
        var random = Seeded(seed)
        for _ in 0..<1500 {
            let (value, text) = Self.object(&random)
            let read = try JSONValue(parsing: (Self.space(&random) + text + Self.space(&random)).utf8)
            #expect(Self.same(read, value), "\(text)")
            let again = try JSONValue(parsing: read.serialized())
            #expect(Self.same(again, value), "\(text)")
        }
    }

    @Test("Mutated JSON never traps, and what is taken is written as what it was read as", arguments: [11, 12, 13, 14] as [UInt64])
    func jsonMutations(seed: UInt64) throws {
        var random = Seeded(seed)
        let alphabet = Array("{}[]:,\"\\u0123456789abcdefDd-+.eEtrnl \n\u{FEFF}é".utf8)
        for _ in 0..<5000 {
            let original = Array(Self.object(&random).text.utf8)
            guard let value = try? JSONValue(parsing: random.mutated(original, alphabet: alphabet)) else { continue }
            let again = try JSONValue(parsing: value.serialized())
            #expect(Self.same(again, value))
        }
    }

    @Test("Every prefix of a document is refused or read, and never a trap")
    func jsonPrefixes() throws {
        var random = Seeded(21)
        for _ in 0..<40 {
            let bytes = Array(Self.object(&random).text.utf8)
            for count in bytes.indices { #expect(throws: JSONError.self) { try JSONValue(parsing: bytes[..<count]) } }
        }
    }

    @Test("A number is read as the digits say, wherever its point stands", arguments: [31, 32] as [UInt64])
    func numbers(seed: UInt64) throws {
        var random = Seeded(seed)
        for _ in 0..<3000 {
            // sign * (whole + fraction / 10^digits), then written with an exponent that shifts it back.
            let whole = Int(random.next() >> 4) >> random.below(60)
            let fraction = String((0..<random.below(4)).map { _ in Character("\(random.below(10))") })
            let isNegative = random.below(2) == 0
            let plain = (isNegative ? "-" : "") + "\(whole)" + (fraction.isEmpty ? "" : "." + fraction)
            let shift = random.below(30)
            let digits = ("\(whole)" + fraction + String(repeating: "0", count: shift)).drop { $0 == "0" }
            let shifted = (isNegative ? "-" : "") + (digits.isEmpty ? "0" : String(digits)) + "e-\(fraction.utf8.count + shift)"
            let isWhole = fraction.utf8.allSatisfy { $0 == 0x30 }
            let expected = isNegative ? (isWhole ? -whole : -whole - 1) : whole
            for text in [plain, shifted] {
                guard case .number(let number) = try JSONValue(parsing: text.utf8) else {
                    Issue.record("\(text) is no number")
                    continue
                }
                #expect(number.flooredClamped == expected, "\(text)")
                #expect(number.integer == (isWhole ? expected : nil), "\(text)")
            }
        }
    }

    // MARK: Form and redirect

    /// Encoded as loosely as senders do: either spelling of a space, either case of digits, more than is needed.
    static func encoded(_ text: String, _ random: inout Seeded) -> String {
        text.utf8.reduce(into: "") { result, byte in
            let isUnreserved = Form.encode(String(Unicode.Scalar(byte))).utf8.count == 1 && byte < 0x80 && byte != 0x20
            if isUnreserved, random.below(4) != 0 {
                result.unicodeScalars.append(Unicode.Scalar(byte))
            } else if byte == 0x20, random.below(2) == 0 {
                result += "+"
            } else {
                let hex = String(byte, radix: 16, uppercase: random.below(2) == 0)
                result += hex.utf8.count == 1 ? "%0" + hex : "%" + hex
            }
        }
    }

    @Test("Forms by another writer are read as they were meant", arguments: [41, 42] as [UInt64])
    func formRoundTrips(seed: UInt64) throws {
        var random = Seeded(seed)
        for _ in 0..<2000 {
            var pairs: [(String, String)] = []
            for _ in 0..<random.below(6) { pairs.append(("x" + random.text(), random.text())) }
            var texts: [String] = []
            for pair in pairs { texts.append(Self.encoded(pair.0, &random) + "=" + Self.encoded(pair.1, &random)) }
            for text in [texts.joined(separator: "&"), Form.serialize(pairs)] {
                let read = try Form.parse(text.utf8)
                #expect(read.count == pairs.count)
                #expect(zip(read, pairs).allSatisfy { sameBytes($0.name, $1.0) && sameBytes($0.value, $1.1) }, "\(text)")
            }
        }
    }

    @Test("Mutated forms never trap", arguments: [51, 52] as [UInt64])
    func formMutations(seed: UInt64) throws {
        var random = Seeded(seed)
        let alphabet = Array("&=+%;#2fFeE0é\u{0}".utf8)
        for _ in 0..<5000 {
            let original = Array("access_token=a%2Bb&token_type=bearer&scope=a+b&name=%C3%A9".utf8)
            guard let pairs = try? Form.parse(random.mutated(original, alphabet: alphabet)) else { continue }
            let again = try Form.parse(Form.serialize(pairs.map { ($0.name, $0.value) }).utf8)
            #expect(zip(again, pairs).allSatisfy { sameBytes($0.name, $1.name) && sameBytes($0.value, $1.value) })
        }
    }

    @Test("A mutated callback gives a code only with its own state, issuer and no error (SEC-23, SEC-24, SEC-26)", arguments: [61, 62, 63, 64] as [UInt64])
    func redirectMutations(seed: UInt64) throws {
        var random = Seeded(seed)
        let (pending, state) = try AuthorizationResponseTests().pending(promises: true)
        let original = Array("code=Splx%2FlOB&state=\(state)&iss=https%3A%2F%2Fas.example&session=1".utf8)
        let alphabet = Array("&=+%;#?codestaierr0123456789abcdefABCDEF\u{0}é".utf8)
        for _ in 0..<5000 {
            let bytes = random.mutated(original, alphabet: alphabet)
            guard let code = try? pending.accept(AuthorizationResponse(query: bytes)).code.withExposed({ $0 }) else { continue }
            #expect(code.utf8.allSatisfy { (0x21...0x7E).contains($0) })
            // By another way of reading the same bytes.
            let pairs = try Form.parse(bytes)
            func values(_ name: String) -> [String] { pairs.filter { sameBytes($0.name, name) }.map(\.value) }
            #expect(values("state") == [state])
            #expect(values("iss") == ["https://as.example"])
            #expect(values("code") == [code])
            #expect(values("error").allSatisfy { $0.isEmpty })
        }
    }

    // MARK: Answers

    static let answers = [
        #"{"access_token":"tok","token_type":"bearer","expires_in":"3600","refresh_token":"r","scope":"a b","error":null,"id_token":"x.y.z"}"#,
        #"{"access_token":"tok","expires_in":3.6e3,"expires":17,"expires_at":"2023-11-14T22:14:20.5+01:00","refresh_expires_in":1e9,"scope":["a","b"]}"#,
        #"{"error":"invalid_grant","error_description":"\u202ex","error_uri":"https://x.example"}"#,
        "access_token=a%2Bb&token_type=bearer&expires=3600&refresh_token=r&scope=a+b",
    ]

    @Test("A mutated answer gives a sound token or an error, and never a trap (SEC-41, SEC-43, SEC-44)", arguments: [71, 72, 73, 74] as [UInt64])
    func answerMutations(seed: UInt64) {
        var random = Seeded(seed)
        let alphabet = Array("{}[]:,\"\\u0123456789-+.eEtrn &=%\u{FEFF}é<\n".utf8)
        var profiles = [ProviderProfile(), ProviderProfile(), ProviderProfile()]
        profiles[1].expiresInUnit = .milliseconds
        profiles[1].zeroMeansNever = true
        profiles[1].scopeSeparator = ","
        profiles[2].errorPath = "error.0.code"
        profiles[2].tokenResponseMembers = ["access_token": "access_token", "expires_at": "expires"]
        let bounds = Duration.zero...Duration.seconds(315_360_000)
        for _ in 0..<4000 {
            let body = random.mutated(Array(random.one(of: Self.answers).utf8), alphabet: alphabet)
            let status = random.one(of: [200, 200, 200, 201, 204, 302, 400, 401, 429, 500])
            let type = random.one(of: ["application/json", "text/plain", "application/x-www-form-urlencoded", "text/html; charset=x", "", nil])
            let retryAfter = String(
                decoding: random.mutated(Array("Sun, 06 Nov 1994 08:49:37 GMT".utf8), alphabet: Array("0123456789 :,GMTNov-".utf8)), as: UTF8.self)
            switch judge(body, status: status, type: type, fields: ["Retry-After": retryAfter], profile: random.one(of: profiles)) {
            case .success(let response):
                #expect(status == 200 || status == 201)
                #expect(response.accessToken.withExposed { $0.utf8.count <= 65_536 && !$0.isEmpty && $0.utf8.allSatisfy { (0x21...0x7E).contains($0) } })
                for lifetime in [response.expiresIn, response.refreshExpiresIn] {
                    #expect(lifetime.map { bounds.contains($0) } ?? true)
                }
                #expect(response.scope.map { !$0.isEmpty && $0.allSatisfy(Client.isScopeToken) } ?? true)
            case .failure(let error):
                #expect(error.status == status)
                #expect((error.errorDescription ?? "").utf8.count <= 1024)
                #expect((0...86_400).contains(error.retryAfter ?? 0))
            }
        }
    }

    @Test("A mutated ID token is refused or sound, and never a trap (SEC-45)", arguments: [81, 82] as [UInt64])
    func idTokenMutations(seed: UInt64) throws {
        var random = Seeded(seed)
        let payload = Array(#"{"iss":"https://server.example.com","sub":"1","aud":["s6BhdRkqt3"],"nonce":"n","exp":1311281970,"iat":1311280970}"#.utf8)
        let alphabet = Array("{}[]:,\"\\u0123456789-.eE null".utf8)
        for _ in 0..<1500 {
            let token = [Array(#"{"alg":"RS256"}"#.utf8), random.mutated(payload, alphabet: alphabet), [1]].map { Base64URL.encode($0) }.joined(separator: ".")
            guard let claims = try? VectorTests().judged(token, nonce: "n").get().idTokenClaims else { continue }
            #expect(claims.issuer == "https://server.example.com")
            #expect(claims.audience.contains("s6BhdRkqt3"))
            #expect(claims.expiresAt > 1_311_280_990 - 60)
            #expect((1...255).contains(claims.subject.utf8.count))
        }
    }

    // MARK: The rest of the wire

    @Test("Mutated URLs never trap, and what is taken reads back as itself")
    func urlMutations() throws {
        var random = Seeded(91)
        let alphabet = Array("/:@?#[]%.0123456789abcdefxX-_\\ \u{0}é".utf8)
        for original in ["https://as.example:8443/authorize?tenant=1", "http://[2001:db8::1]:80/x", "https://127.0.0.1/%2e", "https://[::ffff:1.2.3.4]/"] {
            for _ in 0..<4000 {
                let text = String(decoding: random.mutated(Array(original.utf8), alphabet: alphabet), as: UTF8.self)
                guard let url = try? EndpointURL(text) else { continue }
                #expect(try EndpointURL(url.description) == url)
                #expect(url.path.hasPrefix("/"))
                #expect((1...65_535).contains(url.effectivePort))
                #expect(!url.host.isEmpty)
            }
        }
    }

    @Test("Mutated metadata never traps, and counts for the issuer that was asked for alone (SEC-48)")
    func metadataMutations() {
        var random = Seeded(101)
        let original = Array(
            #"{"issuer":"https://as.example","token_endpoint":"https://as.example/t","scopes_supported":["a"],"authorization_response_iss_parameter_supported":true}"#
                .utf8)
        let alphabet = Array("{}[]:,\"\\u0123456789ntrfalse /".utf8)
        for _ in 0..<5000 {
            guard let metadata = try? AuthorizationServerMetadata(parsing: random.mutated(original, alphabet: alphabet), issuer: "https://as.example") else {
                continue
            }
            #expect(sameBytes(metadata.issuer, "https://as.example"))
        }
    }

    @Test func base64URLRoundTrips() {
        var random = Seeded(111)
        for count in 0..<200 {
            let bytes = (0..<count).map { _ in random.byte() }
            let text = Base64URL.encode(bytes)
            #expect(Base64URL.decode(text) == bytes)
            // What the decoder takes is what the encoder gives.
            let mutated = String(decoding: random.mutated(Array(text.utf8), alphabet: Array("AQgw-_=+/ ".utf8)), as: UTF8.self)
            if let decoded = Base64URL.decode(mutated) { #expect(Base64URL.encode(decoded) == mutated) }
        }
    }

    @Test("Archives that were changed are refused or read, and never a trap")
    func archiveMutations() throws {
        var random = Seeded(121)
        let (pending, state) = try AuthorizationResponseTests().pending()
        let code = try pending.accept(AuthorizationResponse(query: "code=c&state=\(state)".utf8))
        let alphabet = Array("{}[]:,\"\\u0123456789null".utf8)
        for _ in 0..<3000 {
            _ = PendingAuthorization(archive: random.mutated(pending.archive(), alphabet: alphabet))
            _ = CheckedCode(archive: random.mutated(code.archive(), alphabet: alphabet))
        }
    }
}

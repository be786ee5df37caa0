import Broker
import Testing

@testable import Gateway

/// Reads a path as the most careless server would: decoded `level` times, backslashes as slashes, everything behind an (encoded) `?` or `#` and
/// path parameters cut off, dot segments resolved. Written apart from what it checks.
private struct CarelessReader {
    let level: Int

    func reads(_ path: String) -> String {
        var bytes = Array(path.utf8)
        for _ in 0..<level { bytes = Self.decoded(bytes) }
        let text = bytes.prefix { $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "#") && $0 != 0 }
            .map { $0 == UInt8(ascii: "\\") ? UInt8(ascii: "/") : $0 }
        let segments = text.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map { segment in
            String(decoding: segment.prefix { $0 != UInt8(ascii: ";") }, as: UTF8.self)
        }
        return Self.resolved(segments)
    }

    private static func decoded(_ bytes: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        var index = 0
        while index < bytes.count {
            if bytes[index] == UInt8(ascii: "%"), index + 2 < bytes.count,
                let value = UInt8(String(decoding: bytes[(index + 1)...(index + 2)], as: UTF8.self), radix: 16), bytes[index + 1] != UInt8(ascii: "+")
            {
                result.append(value)
                index += 3
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        // The overlong forms of `.`, `/` and `\`, as decoders that do not check take them.
        var text: [UInt8] = []
        index = 0
        while index < result.count {
            let first = result[index]
            let length = first >= 0xFC ? 6 : first >= 0xF8 ? 5 : first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1
            guard length > 1, index + length <= result.count else {
                text.append(first)
                index += 1
                continue
            }
            var value = Int(first) & (0x7F >> length)
            for next in result[(index + 1)..<(index + length)] { value = value << 6 | Int(next & 0x3F) }
            if value < 0x80 { text.append(UInt8(value)) } else { text += result[index..<(index + length)] }
            index += length
        }
        return text
    }

    /// RFC 3986 §5.2.4, on segments.
    private static func resolved(_ segments: [String]) -> String {
        var result: [String] = []
        for segment in segments.dropFirst() {
            switch segment {
            case ".": break
            case "..": if !result.isEmpty { result.removeLast() }
            default: result.append(segment)
            }
        }
        return "/" + result.joined(separator: "/")
    }
}

@Suite struct TargetPathTests {
    static func accepted(_ path: String, canonical: Bool = false, encodedSlash: Bool = false) -> String? {
        try? TargetPath(path[...], isCanonical: canonical, allowsEncodedSlash: encodedSlash).text
    }

    static let everyWay = [(false, false), (false, true), (true, false), (true, true)]

    /// Refused, or below the base path however often somebody decodes it.
    static func staysBelow(_ path: String, base: String = "/v1/api") -> Bool {
        everyWay.allSatisfy { canonical, encodedSlash in
            guard let target = try? TargetPath(path[...], isCanonical: canonical, allowsEncodedSlash: encodedSlash) else { return true }
            let joined = TargetPath.join(base: base, target)
            guard joined.utf8.starts(with: base.utf8), !target.text.utf8.starts(with: "//".utf8) else { return false }
            return (0...3).allSatisfy { level in
                let read = CarelessReader(level: level).reads(joined)
                return target.text.isEmpty ? read == base : read.utf8.starts(with: (base + "/").utf8) && !read.utf8.starts(with: (base + "//").utf8)
            }
        }
    }

    // MARK: SEC-82

    /// Dot segments in other clothes.
    static let climbing: [String] = [
        "..", ".", "..;", "..;x", "..;x=y", ".;", ".;x", "%2e%2e", "%2E%2E", ".%2e", "%2e.", "%2e", "%2E", "%2e%2e;x", "..%3b", "..%3Bx", "%2e%3b",
        "%252e%252e", "%252E.", ".%252e", "%252e", "%252e%252e;", "..%253b", "%25252e%25252e", "%25252e", ".%25252e", "%2525252e%2525252e",
        "%252525252e.", "..%2f", "..%2F..", "..%2fx", "%2e%2e%2f", "%2e%2e%2fx", "..%252f", "..%252fx", "%252e%252e%252f", "..%25252f", "x%2f..",
        "x%2F..%2F..", "x%252f..%252f", "..%5c", "..%5cx", "%2e%2e%5c", "..%255c", "%252e%252e%255c", "..\\", "..\\x", "x\\..", ".\\", "%5c..",
        "%5C..%5C", "x%5c..%5cy", "..%00", "..%00x", "%00..", "..%0d%0a", "..%09", "..%2500", "..%7f", "..%c0%af", "..%c0%afx", "..%C1%9C",
        "%c0%ae%c0%ae", "%c0%ae.", "%C0%AE", "%25c0%25ae%25c0%25ae", "%e0%80%ae%e0%80%ae", "%f0%80%80%ae", "%f8%80%80%80%ae", "%fc%80%80%80%80%ae",
        "%c0.", "%c0%2e", "..%e0%80%af", "..?", "..#", "..%3f", "..%3Fx", "..%23", "..%23x", "..%253f", ".%3f", ".%23x", "%2e%2e%3f", "..%u2215",
        "%u002e%u002e", "..%", "..%2", "%2%65%2e", "%%32%65%%32%65",
    ]

    @Test func theTableIsLong() { #expect(Self.climbing.count * 4 + Self.elsewhere.count >= 200) }

    @Test(arguments: climbing)
    func noDotSegmentPasses(segment: String) {  // SEC-82
        for path in ["/\(segment)", "/a/\(segment)", "/\(segment)/b", "/a/b/\(segment)/c"] {
            for (canonical, encodedSlash) in Self.everyWay {
                #expect(Self.accepted(path, canonical: canonical, encodedSlash: encodedSlash) == nil, "\(path)")
            }
        }
    }

    /// Another host, another port, another root.
    static let elsewhere: [String] = [
        "//evil", "//evil.example/x", "///evil", "////evil", "/%2fevil", "/%2Fevil.example", "/%252fevil", "/%2f%2fevil", "/%5cevil", "/%5c%5cevil",
        "\\evil", "\\\\evil", "/\\evil", "/\\/evil", "\\/evil", "http://evil", "https://evil.example/", "HTTP://EVIL", "http:/evil", "http:evil",
        "http:\\\\evil", "//user@evil", "@evil", "@evil.example/", "/@evil", "/@evil:80/x", ":80", ":80/x", ":@evil", "/:80", ".evil.example",
        "evil", "evil.example/", "..evil", "?x", "#x", "/#x", "/a#/../b", "/a%23/../b", "/.//", "/./", "/.//evil", "/..//evil", "/a//b", "/a//",
        "/a///b", "/;", "/;/..", "/;x/b", "/a;/../b", "/ /evil", "/\t/evil", "/\r\nHost: evil", "/%0d%0aHost:%20evil", "/a\u{0}b", "/a%00b",
        "/\u{7f}", "/ü", "/\u{ff0e}\u{ff0e}/x", "/%ef%bc%8e%ef%bc%8e/x", "/%E2%80%A5/x", "/...", "/..../x", "/a..", "/..a", "/.a", "/a.", "/%2e%2ea",
        "/~root", "/%7eroot", "/*", "/a%20HTTP/1.1", "/a%3fb=c", "/a%253fb", "/%", "/%zz", "/%g0", "/a%2", "/a%25", "/a%2525", "/\"", "/<", "/>",
        "/^", "/`", "/{", "/|", "/}", "/[x]", "javascript:alert(1)", "/javascript:alert(1)", "file:///etc/passwd", "/file:///etc/passwd",
        "/http://evil", "/http:%2f%2fevil", "*",
    ]

    @Test(arguments: elsewhere)
    func everyPathIsRefusedOrStaysBelowTheBase(path: String) {  // SEC-82
        #expect(Self.staysBelow(path))
        #expect(Self.staysBelow(path, base: "/x"))
    }

    @Test(
        arguments: [
            "//evil", "///evil", "/;", "/;x/evil", "/;//evil", "/%3b/evil", "/%253B", "/%2fevil", "/%252fevil", "\\evil", "\\\\evil", "/\\evil",
            "/%5cevil", "http://evil", "@evil", ":80", ".evil.example", "evil", "?x", "#x", "/a#b", "/a b", "/a%00", "/a%0d%0a", "/a%1F", "/a%7F",
            "/a%250a", "/ü", "/a\u{0}", "/%", "/%2", "/%zz", "/\"", "/<", "/>", "/^", "/`", "/{", "/|", "/}", "/[", "/]", "/%ff", "/%c0", "/%c3",
            "/%c3%28", "/%ed%a0%80", "/%f4%90%80%80", "/%e0%9f%bf", "/%80",
        ])
    func whatNoPathMayHoldIsRefused(path: String) throws {  // SEC-82, SEC-83
        for (canonical, encodedSlash) in Self.everyWay {
            let problem = #expect(throws: Problem.self) { try TargetPath(path[...], isCanonical: canonical, allowsEncodedSlash: encodedSlash) }
            #expect(problem?.code == .invalidRequest)
            #expect(problem?.fix != nil)
            #expect(problem?.detail.utf8.allSatisfy { (0x20...0x7E).contains($0) } == true)
        }
    }

    // MARK: What passes

    @Test(
        arguments: [
            "", "/", "/a", "/a/", "/a/b/c", "/a//b", "/a//", "/a;v=1/b", "/a/;", "/a.b", "/.well-known/x", "/...", "/..a", "/a..b", "/a%20b",
            "/%7Ea", "/%7ea", "/%c3%a9", "/%C3%A9", "/%e2%82%ac", "/%f0%9f%98%80", "/a:b@c", "/(a),'b'!$&*+=", "/@me", "/100%25", "/a%252Bb",
            "/a%3Fb", "/a%23b", "/a%3Bb", "/http:x", "/~a/-_.x",
        ])
    func withoutACanonicalFormThePathIsKeptByteForByte(path: String) {
        #expect(Self.accepted(path).map { Array($0.utf8) } == Array(path.utf8))
        #expect(Self.accepted("/long-enough-to-be-no-small-string" + path) == "/long-enough-to-be-no-small-string" + path)
    }

    @Test(
        arguments: [
            ("", ""), ("/", "/"), ("/repos/a", "/repos/a"), ("/%7Ea", "/~a"), ("/%7ea%2d%5F", "/~a-_"), ("/%41%62%30", "/Ab0"), ("/a%3ab", "/a%3Ab"),
            ("/%c3%a9", "/%C3%A9"), ("/a%2Eb", "/a.b"), ("/a%3F", "/a%3F"), ("/100%25", "/100%25"), ("/%25%34%31", "/%2541"), ("/a%3bb", "/a%3Bb"),
            ("/%40me", "/%40me"), ("/@me", "/@me"),
        ])
    func agentsPathsAreSentAsTheyAreJudged(path: String, canonical: String) {  // SEC-83
        #expect(Self.accepted(path, canonical: true) == canonical)
        #expect(Self.accepted(canonical, canonical: true) == canonical)
    }

    @Test(arguments: ["/a//b", "/a//", "/a;b", "/a;", "/a/;x/b", "/a;/b"])
    func agentsMaySendNothingThatServersReadDifferently(path: String) {  // SEC-83
        #expect(Self.accepted(path) == path)
        #expect(Self.accepted(path, canonical: true) == nil)
    }

    @Test func anEncodedSlashStandsOnlyWhereItIsAllowed() {
        for path in ["/projects/a%2Fb", "/projects/a%2fb", "/projects/a%252Fb"] {
            #expect(Self.accepted(path) == nil)
            #expect(Self.accepted(path, canonical: true) == nil)
            #expect(Self.accepted(path, encodedSlash: true) == path)
        }
        #expect(Self.accepted("/projects/a%2fb", canonical: true, encodedSlash: true) == "/projects/a%2Fb")
        for path in ["/%2Fa", "/%2f%2fa", "/a%2F..%2Fb", "/a%2F%2E%2E", "/a%2F.", "/a%252F..", "/%252Fa"] {
            #expect(Self.accepted(path, encodedSlash: true) == nil, "\(path)")
        }
    }

    @Test func aLongPathIsRefused() {
        #expect(Self.accepted("/" + String(repeating: "a", count: 8191)) != nil)
        let problem = #expect(throws: Problem.self) {
            try TargetPath(("/" + String(repeating: "a", count: 8192))[...], isCanonical: false, allowsEncodedSlash: false)
        }
        #expect(problem?.detail == "the path behind the connection's id is longer than 8192 bytes: /" + String(repeating: "a", count: 79))
    }

    @Test(
        arguments: [
            ("//evil", "the path behind the connection's id begins with // or /;, raw or encoded: //evil"),
            ("evil", "the path behind the connection's id does not begin with /: evil"),
            ("/a\\b", "the path behind the connection's id holds the byte 0x5C at 2, which no path may hold as it is: /a\\b"),
            ("/a\nb", "the path behind the connection's id holds the byte 0x0A at 2, which no path may hold as it is: /a?b"),
            ("/a%2", "the path behind the connection's id has a % at 2 that two hexadecimal digits do not follow: /a%2"),
            ("/a/%2e%2e", "the path behind the connection's id holds a dot segment, raw or encoded (. or ..): /a/%2e%2e"),
            ("/a%2Fb", "the path behind the connection's id holds an encoded slash (%2F): /a%2Fb"),
            ("/a%5Cb", "the path behind the connection's id holds an encoded backslash (%5C): /a%5Cb"),
            ("/a%0Ab", "the path behind the connection's id holds an encoded control character (%0A): /a%0Ab"),
            ("/%C0%AE", "the path behind the connection's id is not UTF-8 once it is decoded: /%C0%AE"),
        ])
    func aRefusalSaysWhatAndWhere(path: String, detail: String) {
        let problem = #expect(throws: Problem.self) { try TargetPath(path[...], isCanonical: false, allowsEncodedSlash: false) }
        #expect(problem?.detail == detail)
    }

    @Test(
        arguments: [
            ("", "", "/"), ("/", "", "/"), ("/v1", "", "/v1"), ("/v1/", "", "/v1/"), ("", "/a", "/a"), ("/", "/a", "/a"), ("/v1", "/a", "/v1/a"),
            ("/v1/", "/a", "/v1/a"), ("/v1//", "/a", "/v1/a"), ("/v1", "/", "/v1/"), ("/v1/", "/", "/v1/"), ("/", "/", "/"),
            ("/v1", "/a//b", "/v1/a//b"), ("/v1", "/:80", "/v1/:80"), ("", "/@evil", "/@evil"),
        ])
    func theBaseStandsBeforeThePath(base: String, path: String, joined: String) throws {  // SEC-82
        #expect(TargetPath.join(base: base, try TargetPath(path[...], isCanonical: false, allowsEncodedSlash: false)) == joined)
    }

    // MARK: Fuzz

    private static let pieces = [
        "/", "/", "/", "a", "b1", ".", "..", "%2e", "%2E", "%252e", "%25252e", "%2f", "%2F", "%252f", "%25252F", "%5c", "%255C", "%", "%25", "%2525",
        "2", "e", "f", "5", "c", "0", ";", "%3b", "%253b", "=", "%c0", "%ae", "%c0%ae", "%C0%AF", "%e0%80%ae", "%c3%a9", "%3f", "%23", "@", ":", "~",
        "%7e", "%41", "*", "+",
    ]
    private static let nasty = ["\\", "?", "#", " ", "//", "%00", "%0a", "\u{0}", "\n", "ü", "\u{7f}", "%zz", "%ff", "|", "<", "\u{202e}"]

    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func whateverIsAcceptedStaysBelowTheBase(seed: UInt64) {  // SEC-82, SEC-83
        var generator = Seeded(seed)
        var accepted = 0
        var strays: [String] = []
        var unsteady: [String] = []
        for _ in 0..<5_000 {
            var path = Bool.random(using: &generator) ? "/a/" : "/"
            for _ in 0..<Int.random(in: 0...8, using: &generator) {
                let isNasty = Int.random(in: 0..<40, using: &generator) == 0
                path += (isNasty ? Self.nasty : Self.pieces).randomElement(using: &generator) ?? ""
            }
            if !Self.staysBelow(path) { strays.append(path) }
            guard let canonical = Self.accepted(path, canonical: true, encodedSlash: true) else { continue }
            accepted += 1
            // A form of the same path, and its own canonical form.
            let isSteady = Self.accepted(canonical, canonical: true, encodedSlash: true) == canonical
            if !isSteady || CarelessReader(level: 1).reads(canonical) != CarelessReader(level: 1).reads(path) { unsteady.append(path) }
        }
        #expect(strays == [])
        #expect(unsteady == [])
        #expect(accepted > 250)
    }

    @Test func randomBytesStayBelowTheBase() {  // SEC-82
        var generator = Seeded(5)
        let alphabet = Array("/.%25eE2fF5cC;:@\\a0".utf8) + [0x00, 0x0A, 0x7F, 0x80, 0xAE, 0xC0, 0xFF]
        var strays: [String] = []
        for _ in 0..<10_000 {
            let bytes = (0..<Int.random(in: 0...14, using: &generator)).map { _ in alphabet.randomElement(using: &generator) ?? 0 }
            let path = "/" + String(decoding: bytes, as: UTF8.self)
            if !Self.staysBelow(path) { strays.append(path) }
        }
        #expect(strays == [])
    }
}

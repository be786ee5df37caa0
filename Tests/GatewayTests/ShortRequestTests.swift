import NIOCore
import NIOEmbedded
import NIOHTTP1
import OAuth
import TestSupport
import Testing

@testable import Gateway

/// What the shortcut takes for a request, and what it leaves to the long way.
@Suite struct ShortRequestTests {
    /// A request with what its fields say of it, and those that go on.
    typealias Read = (request: ShortRequest, fields: ShortFields, lines: String)

    static func read(_ text: String) -> Read? { read(Array(text.utf8)) }

    static func read(_ bytes: [UInt8]) -> Read? {
        var fields = ShortFields()
        return read(bytes, &fields)
    }

    static func read(_ bytes: [UInt8], _ fields: inout ShortFields) -> Read? {
        guard let request = ShortRequest(ByteBuffer(bytes: bytes), fields: &fields, mayRepeat: true, find: { _ in nil }) else { return nil }
        var written = ByteBuffer()
        fields.lines.write(into: &written)
        return (request, fields, String(buffer: written))
    }

    static func head(_ fields: String..., line: String = "GET /gateway/api/x HTTP/1.1") -> String {
        ([line, "Host: h", "Authorization: Bearer key"] + fields).joined(separator: "\r\n") + "\r\n\r\n"
    }

    @Test func aSimpleRequestIsReadWhole() throws {
        let text = Self.head(
            "Accept: */*", "X-Empty:", "Cookie: c", "X-Two:  2", "Content-Length: 4", "Grantee-Subject: user-1", "Connection: Keep-Alive", "TE: trailers",
            line: "POST /gateway/my-api/a/b?c=d?e HTTP/1.1")
        let (request, fields, lines) = try #require(Self.read(text + "body"))
        #expect(request.method == .POST)
        #expect(fields.connectionID == "my-api")
        #expect(request.path == "/a/b")
        #expect(request.query == "c=d?e")
        #expect(fields.length == "4")
        #expect(fields.subject == "user-1")
        #expect(request.body.map { String(buffer: $0) } == "body")
        #expect(lines == "Accept: */*\r\nX-Empty: \r\nX-Two: 2\r\n")
    }

    @Test(arguments: [
        ("/gateway/api", "", nil), ("/gateway/api?", "", ""), ("/gateway/api?a", "", "a"), ("/gateway//x", "/x", nil), ("/gateway/api/?/", "/", "/"),
    ])
    func pathAndQueryAreThoseBehindTheID(target: String, path: String, query: String?) throws {
        let request = try #require(Self.read(Self.head(line: "GET \(target) HTTP/1.1"))).request
        #expect(String(request.path) == path)
        #expect(request.query.map(String.init) == query)
    }

    @Test(arguments: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) func usualMethodsAreTaken(method: String) throws {
        #expect(try #require(Self.read(Self.head(line: "\(method) /gateway/api/x HTTP/1.1"))).request.method.rawValue == method)
    }

    /// Whole or not at all: what a part of a request is, only the codec knows.
    @Test func noPartOfARequestIsOne() {
        let bytes = Array((Self.head("Content-Length: 4", line: "POST /gateway/api/x HTTP/1.1") + "body").utf8)
        for count in 0..<bytes.count { #expect(Self.read(Array(bytes[..<count])) == nil, "\(count)") }
        #expect(Self.read(bytes) != nil)
        #expect(Self.read(bytes + [0x47]) == nil)
        #expect(Self.read(bytes + bytes) == nil)
    }

    @Test(
        "Left to the long way",
        arguments: [
            // Lines.
            "GET /v1/keys HTTP/1.1", "GET /gatewayx/api HTTP/1.1", "GET /Gateway/api/x HTTP/1.1", "GET /gateway HTTP/1.1", "get /gateway/api/x HTTP/1.1",
            "TRACE /gateway/api/x HTTP/1.1", "PROPFIND /gateway/api/x HTTP/1.1", "CONNECT /gateway/api/x HTTP/1.1", "GETX /gateway/api/x HTTP/1.1",
            "GET  /gateway/api/x HTTP/1.1", "GET\t/gateway/api/x HTTP/1.1", "GET /gateway/api/x  HTTP/1.1", "GET /gateway/api/x HTTP/1.1 ",
            "GET /gateway/api/x HTTP/1.0",
            "GET /gateway/api/x HTTP/2.0", "GET /gateway/api/x http/1.1", "GET /gateway/api/x", "GET http://h/gateway/api/x HTTP/1.1",
            "GET /gateway/api/\u{FC} HTTP/1.1",
            "GET /gateway/api/a b HTTP/1.1", "GET /gateway/api/\u{7F} HTTP/1.1", " GET /gateway/api/x HTTP/1.1", "\r\nGET /gateway/api/x HTTP/1.1",
        ])
    func line(line: String) {
        #expect(Self.read(Self.head(line: line)) == nil)
    }

    @Test(
        "Left to the long way",
        arguments: [
            "Transfer-Encoding: chunked", "transfer-encoding: x", "Expect: 100-continue", "Upgrade: h2c", "Sec-Fetch-Site: same-origin",
            "sec_fetch_site: cross-site",
            "Sec-CH-UA: x", "Connection: close", "Connection: upgrade", "Connection: keep-alive, x-a", "Connection:", "Host: h", "Authorization: Bearer key",
            "Grantee-Subject:", "Content-Length: 4", "Content-Length: -0", "Content-Length: +0", "Content-Length: 0, 0", "Content-Length:",
            "Content-Length: 0x0",
            "Content-Length: 00000000000000000000", "X-A : 1", "X-A\t: 1", ": 1", "X-A", "X(A): 1", "X-A: a\u{0}b", "X-A: \u{7F}", "X-A: \u{FC}", "X-A: a\rb",
            "X-A: a\nX-B: b",
            "X-A: a\r\n b", "X-A: a ", "X-A: a\t",
        ])
    func field(field: String) {
        #expect(Self.read(Self.head(field)) == nil)
    }

    @Test(arguments: ["Host:", "Host: a, b", "X: y"]) func oneHostIsNeeded(field: String) {
        #expect(Self.read("GET /gateway/api/x HTTP/1.1\r\n\(field)\r\nAuthorization: Bearer key\r\n\r\n") == nil)
    }

    @Test func twoOfAKindAreLeftToTheLongWay() {
        #expect(Self.read(Self.head("Content-Length: 0", "Content-Length: 0")) == nil)
        #expect(Self.read(Self.head("Grantee-Subject: a", "Grantee-Subject: a")) == nil)
        #expect(Self.read("GET /gateway/api/x HTTP/1.1\r\nHost: h\r\n\r\n") == nil)
        #expect(Self.read("GET /gateway/api/x HTTP/1.1\nHost: h\nAuthorization: Bearer key\n\n") == nil)
    }

    @Test func eachRequestHasItsOwnFields() throws {
        var fields = ShortFields()
        let texts = [
            Self.head("X-A: 1"), Self.head("X-A: 1", line: "GET /gateway/other/longer/path HTTP/1.1"), Self.head("X-A: 2"), Self.head("X-A: 1"),
            Self.head("X-A: 1", "X-B: 2"), Self.head("X-A: 1"), Self.head(), Self.head("X-A: 1", "Content-Length: 4") + "body",
            Self.head("X-A: 1", "Content-Length: 4") + "ydob", Self.head("Content-Length: 5", "X-A: 1") + "other", Self.head("Grantee-Subject: a"),
            Self.head("Grantee-Subject: b"), Self.head("Grantee-Subject: b"), Self.head("X-A: " + String(repeating: "x", count: 8000)), Self.head("X-A: 1"),
        ]
        for text in texts {
            for _ in 0..<2 {
                let next = try #require(Self.read(Array(text.utf8), &fields))
                let alone = try #require(Self.read(text))
                #expect(next.lines == alone.lines && next.request.path == alone.request.path && next.request.body == alone.request.body)
                #expect(next.fields.subject == alone.fields.subject && next.fields.length == alone.fields.length)
                #expect(next.fields.connectionID == alone.fields.connectionID)
            }
            // What is none does not count as the request before, and the request before makes none of it.
            for wrong in [String(text.dropLast(3)), text + "x", text.replacing("Host: h", with: "Host: h\r\nHost: h")] {
                #expect(Self.read(Array(wrong.utf8), &fields) == nil)
            }
        }
    }

    /// Theirs are dropped by name.
    @Test func anotherConnectionHasOtherFieldsOfItsOwn() async throws {
        try await Stage.with(upstream: .answering { _ in [.send(RawUpstream.answer("200 OK", [], body: "x"))] }) { stage, upstream async throws in
            try await stage.add("own", at: upstream.url, ["headers": ["X-A": "ours"]])
            for id in ["api", "own"] { #expect(try await stage.ask("GET", id + "/warm").status == 200) }
            let before = upstream.requests.count
            try await stage.client { client async throws in
                for id in ["api", "own", "own", "api"] {
                    await client.send(stage.head("GET", id + "/x", ["X-A: theirs"]))
                    #expect(try await client.answer().status == 200)
                }
            }
            let sent = upstream.requests.dropFirst(before).map { request in ["theirs", "ours"].filter { request.text.contains("X-A: \($0)") } }
            #expect(sent == [["theirs"], ["ours"], ["ours"], ["theirs"]])
        }
    }

    /// The rules for fields are the ones of the long way.
    @Test func whatIsDroppedIsWhatTheTablesSay() throws {  // SEC-80, SEC-84, SEC-89, SEC-90
        var taken: Set<String> = []
        let names = RequestFieldsTests.credentials + RequestFieldsTests.hopByHop + RequestFieldsTests.forwarding + RequestFieldsTests.overrides
        for name in names {
            for spelling in RequestFieldsTests.spellings(name) {
                guard let (_, _, lines) = Self.read(Self.head("X-Before: 1", "\(spelling): 0", "X-After: 2")) else { continue }
                #expect(lines == "X-Before: 1\r\nX-After: 2\r\n", "\(spelling)")
                taken.insert(name)
            }
        }
        #expect(taken.count > names.count - 10)
    }

    @Test(arguments: [41, 42] as [UInt64]) func whateverIsTakenIsWhatTheCodecReads(seed: UInt64) throws {
        var random = Seeded(seed)
        let words = [
            "GET ", "POST ", "/gateway/", "api", "/x", "?a=1", " HTTP/1.1", "\r\n", "\r\n", "\r\n\r\n", "Host: h\r\n", "Authorization: Bearer k\r\n",
            "X-A: b\r\n",
            "X-B:c \r\n", "Content-Length: 3\r\n", "abc", "Connection: keep-alive\r\n", "Transfer-Encoding: chunked\r\n", "\n", "\r", " ", ":", "\u{0}",
            "\u{FC}",
        ]
        var taken = 0
        // Of one connection: what was remembered of the requests before changes nothing.
        var fields = ShortFields()
        for _ in 0..<20_000 {
            var text = "GET /gateway/api/x HTTP/1.1\r\nHost: h\r\n"
            if random.below(3) > 0 { text += "Authorization: Bearer k\r\n" }
            for _ in 0..<random.below(4) { text += words[random.below(words.count)] }
            if random.below(2) > 0 { text += "\r\n" }
            if random.below(4) == 0 { text += "abc" }
            let next = Self.read(Array(text.utf8), &fields)
            guard let (request, its, lines) = Self.read(text) else {
                #expect(next == nil, "\(text.debugDescription)")
                continue
            }
            taken += 1
            #expect(next?.lines == lines && next?.request.body == request.body && next?.fields.length == its.length, "\(text.debugDescription)")
            let parts = try Codec.read(text)
            #expect(parts.heads == 1 && parts.ends == 1, "\(text.debugDescription)")
            #expect(parts.body == request.body.map { String(buffer: $0) } ?? "", "\(text.debugDescription)")
            #expect(parts.uri.hasPrefix("/gateway/" + its.connectionID + request.path))
            #expect(parts.fields == lines, "\(text.debugDescription)")
        }
        #expect(taken > 500)
    }

    /// What the long way's codec makes of the same bytes.
    private struct Codec {
        var heads = 0
        var ends = 0
        var uri = ""
        var body = ""
        /// The fields that the rules let on.
        var fields = ""

        static func read(_ text: String) throws -> Codec {
            let channel = EmbeddedChannel()
            try channel.pipeline.syncOperations.addHandler(ByteToMessageHandler(HTTPRequestDecoder()))
            try channel.writeInbound(ByteBuffer(string: text))
            var codec = Codec()
            while let part = try channel.readInbound(as: HTTPServerRequestPart.self) {
                switch part {
                case .head(let head):
                    codec.heads += 1
                    codec.uri = head.uri
                    codec.fields = try RequestFields.forwarded(head.headers, injected: [], policy: nil).map { "\($0.name): \($0.value)\r\n" }.joined()
                case .body(let chunk): codec.body += String(buffer: chunk)
                case .end: codec.ends += 1
                }
            }
            _ = try? channel.finish()
            return codec
        }
    }
}

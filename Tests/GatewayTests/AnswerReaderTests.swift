import NIOCore
import NIOHTTP1
import Testing

@testable import Gateway

/// What was read, in a form that can be compared: pieces of the body joined, as where they are cut means nothing.
struct AnswerReading: Equatable, CustomStringConvertible {
    var heads: [String] = []
    var body: [UInt8] = []
    var trailers: [String]?
    var hasEnded = false
    var isNonsense = false
    var isReusable = false

    var description: String {
        heads.joined(separator: "|") + "¶\(String(decoding: body, as: UTF8.self))¶\(trailers ?? [])" + (hasEnded ? " ended" : "")
            + (isNonsense ? " nonsense" : "") + (isReusable ? " reusable" : "")
    }
}

@Suite struct AnswerReaderTests {
    /// - Parameter pieces: as the reads bring them; behind the last one the connection is closed.
    static func read(_ pieces: [[UInt8]], isForHead: Bool = false) -> AnswerReading {
        var reader = AnswerReader()
        return read(pieces, isForHead: isForHead, by: &reader)
    }

    static func read(_ pieces: [[UInt8]], isForHead: Bool = false, by reader: inout AnswerReader) -> AnswerReading {
        reader.expectAnswer(isForHead: isForHead)
        var reading = AnswerReading()
        func note(_ part: AnswerPart) {
            switch part {
            case .head(let head):
                let fields = head.headers.filter { $0.name != "Content-Security-Policy" && $0.name != "X-Content-Type-Options" }
                reading.heads.append(([String(head.status)] + fields.map { "\($0.name): \($0.value)" }).joined(separator: ";"))
            case .body(let chunk): reading.body += chunk.readableBytesView
            case .end(let trailers):
                reading.hasEnded = true
                reading.trailers = trailers.map { $0.map { "\($0.name): \($0.value)" } }
            }
        }
        do throws(APIFailure) {
            for piece in pieces where !reading.hasEnded {
                reader.feed(ByteBuffer(bytes: piece))
                while let part = try reader.next() { note(part) }
                reading.isReusable = reading.hasEnded && reader.keepsAlive && !reader.hasLeftovers
                reader.forget()
            }
            if !reading.hasEnded, let part = try reader.close() { note(part) }
        } catch {
            reading.isNonsense = true
        }
        return reading
    }

    static func read(_ text: String, isForHead: Bool = false) -> AnswerReading { read([Array(text.utf8)], isForHead: isForHead) }

    // MARK: What is an answer

    static let answers: [(text: String, expected: AnswerReading)] = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", .init(heads: ["200;Content-Length: 3"], body: Array("abc".utf8), hasEnded: true, isReusable: true)),
        ("HTTP/1.1 200\r\nContent-Length:0\r\n\r\n", .init(heads: ["200;Content-Length: 0"], hasEnded: true, isReusable: true)),
        (
            "HTTP/1.1 200 \r\nX-A:  a b\t \r\ncontent-length: 1\r\n\r\nx",
            .init(heads: ["200;X-A: a b;content-length: 1"], body: Array("x".utf8), hasEnded: true, isReusable: true)
        ),
        ("HTTP/1.1 204 No Content\r\nETag: e\r\n\r\n", .init(heads: ["204;ETag: e"], hasEnded: true, isReusable: true)),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", .init(heads: ["304"], hasEnded: true, isReusable: true)),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=\"a;b\"\r\nabc\r\n0a\r\n0123456789\r\n0\r\nX-Sum: 1\r\nx-two:2\r\n\r\n",
            .init(heads: ["200"], body: Array("abc0123456789".utf8), trailers: ["X-Sum: 1", "x-two: 2"], hasEnded: true, isReusable: true)
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n000\r\n\r\n", .init(heads: ["200"], hasEnded: true, isReusable: true)),
        ("HTTP/1.1 200 OK\r\nX: y\r\n\r\nuntil the end", .init(heads: ["200;X: y"], body: Array("until the end".utf8), hasEnded: true)),
        ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold", .init(heads: ["200;Content-Length: 3"], body: Array("old".utf8), hasEnded: true)),
        (
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nold",
            .init(heads: ["200;Content-Length: 3"], body: Array("old".utf8), hasEnded: true, isReusable: true)
        ),
        ("HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n", .init(heads: ["200;Content-Length: 0"], hasEnded: true)),
        (
            "HTTP/1.1 200 OK\r\nX-Own: 1\r\nConnection: x-own , close\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
            .init(heads: ["200;Content-Length: 0"], hasEnded: true)
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            .init(heads: ["200;Content-Length: 2"], body: Array("ok".utf8), hasEnded: true, isReusable: true)
        ),
        (
            "HTTP/1.1 200 OK\r\nServer: s\r\nSet-Cookie: a=b\r\nETag: \"1\"\r\nKeep-Alive: timeout=9\r\nVary: *\r\nContent-Length: 0\r\n\r\n",
            .init(heads: ["200;Server: s;ETag: \"1\";Vary: *;Content-Length: 0"], hasEnded: true, isReusable: true)
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\n\r\n",
            .init(heads: ["200;Content-Length: 3"], body: Array("abc".utf8), hasEnded: true)
        ),
        (
            "HTTP/1.1 200 OK\r\nX: \u{FC}\u{20AC}\r\nContent-Length: 0\r\n\r\n",
            .init(heads: ["200;X: \u{FC}\u{20AC};Content-Length: 0"], hasEnded: true, isReusable: true)
        ),
    ]

    @Test("An answer is read as it is", arguments: answers.indices) func answer(index: Int) {
        #expect(Self.read(Self.answers[index].text) == Self.answers[index].expected)
    }

    @Test("Wherever the reads cut it", arguments: answers.indices) func cut(index: Int) {
        let bytes = Array(Self.answers[index].text.utf8)
        var expected = Self.answers[index].expected
        // What comes behind the end in a read of its own is for whoever has the connection then.
        let mayLack = Self.answers[index].text.hasSuffix("abcHTTP/1.1 200 OK\r\n\r\n")
        for at in 1..<bytes.count where !mayLack { #expect(Self.read([Array(bytes[..<at]), Array(bytes[at...])]) == expected, "at \(at)") }
        var single = Self.read(bytes.map { [$0] })
        (single.isReusable, expected.isReusable) = (false, false)
        #expect(single == expected)
    }

    /// Of one head and the next the names are compared.
    @Test func whatWasReadBeforeChangesNothing() throws {
        let names = [
            "X-A", "X-B", "x-a", "X-AB", "X_A", "Connection", "Set-Cookie", "X-Accel-Redirect", "Content-Type", "Date", "X-A ",
            "X-\(String(repeating: "L", count: 40))", "",
        ]
        var random = Seeded(34)
        var reader = AnswerReader()
        for _ in 0..<4_000 {
            var lines = (0..<random.below(5)).map { _ in "\(names[random.below(names.count)]):\(random.below(2) == 0 ? " " : "")v\(random.below(3))" }
            lines.append("Content-Length: 3")
            if random.below(8) == 0 { lines.swapAt(0, lines.count - 1) }
            let text = (["HTTP/1.1 200 OK"] + lines).joined(separator: "\r\n") + "\r\n\r\nabc"
            let alone = Self.read(text)
            let next = Self.read([Array(text.utf8)], by: &reader)
            #expect(next == alone, "\(text.debugDescription)")
            // As the connection is closed then.
            if alone.isNonsense { reader = AnswerReader() }
        }
    }

    @Test(arguments: ["Content-Length: 5", "Transfer-Encoding: chunked", "X: no length"])
    func anAnswerToHEADHasNoBody(framing: String) {
        let reading = Self.read("HTTP/1.1 200 OK\r\n\(framing)\r\n\r\n", isForHead: true)
        #expect(reading.hasEnded)
        #expect(reading.isReusable)
        #expect(reading.body.isEmpty)
    }

    @Test func howLongTheConnectionIsKeptIsRead() {
        for (field, seconds) in [("timeout=5", 4), ("max=100, timeout=60", 59), ("timeout=0", 0)] {
            var reader = AnswerReader()
            reader.feed(ByteBuffer(string: "HTTP/1.1 204 No Content\r\nKeep-Alive: \(field)\r\n\r\n"))
            _ = try? reader.next()
            #expect(reader.keepAlive == .seconds(Int64(seconds)))
        }
    }

    // MARK: What is none

    static let nonsense = [
        "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
        "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1\t200 OK\r\nContent-Length: 0\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 O\u{0}K\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\rContent-Length: 0\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        // Lengths.
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0x1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        // Codings.
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        // Fields.
        "HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nX-A: 1\r\n folded\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n X-A: 1\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\n: 1\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nX-A: a\u{0}b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: a\u{7F}b\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nX-A: a\rb\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: a\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nX(A): a\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n" + String(repeating: "X: y\r\n", count: 101) + "Content-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: " + String(repeating: "a", count: 70_000) + "\r\nContent-Length: 0\r\n\r\n",
        // Chunks.
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a\nb\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX : 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0;" + String(repeating: "a", count: 2_000) + "\r\n\r\n",
        // Cut off.
        "HTTP/1.1 200 O", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
    ]

    @Test("Nonsense is found, wherever the reads cut it", arguments: nonsense) func isNonsense(text: String) {  // SEC-79, SEC-85
        let bytes = Array(text.utf8)
        let whole = Self.read([bytes])
        #expect(whole.isNonsense)
        #expect(!whole.hasEnded || whole.isNonsense)
        for at in stride(from: 1, to: bytes.count, by: bytes.count < 500 ? 1 : 997) {
            let reading = Self.read([Array(bytes[..<at]), Array(bytes[at...])])
            #expect(reading.isNonsense, "at \(at): \(reading)")
            #expect(!reading.isReusable)
        }
        #expect(Self.read(bytes.map { [$0] }).isNonsense)
    }

    @Test func anEndBeforeAnythingCameIsNoNonsense() {
        #expect(Self.read([]) == AnswerReading())
        #expect(Self.read("HTTP/1.1 100 Continue\r\n\r\n") == AnswerReading())
    }

    /// Whatever a machine sends: where the reads are cut changes nothing, and nothing is read out of bounds.
    @Test(arguments: [31, 32, 33] as [UInt64]) func anyBytesAreReadTheSameHoweverTheyAreCut(seed: UInt64) {
        var random = Seeded(seed)
        let words = [
            "HTTP/1.1 200 OK", "HTTP/1.1 204 X", "HTTP/1.1 100 Continue", "HTTP/1.0 200 OK", "\r\n", "\r\n", "\r\n", "\r\n\r\n", "\n", "\r",
            "Content-Length: 3",
            "Content-Length: 0", "Transfer-Encoding: chunked", "X-A: b", "Connection: close", "Connection: x-a", "3\r\nabc\r\n", "0\r\n\r\n", "0\r\n", "abc",
            ";ext",
            " ", ":", "\t", "\u{0}", "\u{FC}", "a", "5",
        ]
        for _ in 0..<2_000 {
            var text = random.below(4) == 0 ? "" : "HTTP/1.1 200 OK\r\n"
            for _ in 0..<random.below(12) { text += words[random.below(words.count)] }
            let bytes = Array(text.utf8)
            var whole = Self.read([bytes])
            var rest = bytes[...]
            var pieces: [[UInt8]] = []
            while !rest.isEmpty {
                let count = 1 + random.below(min(rest.count, 9))
                pieces.append(Array(rest.prefix(count)))
                rest = rest.dropFirst(count)
            }
            var cut = Self.read(pieces)
            (whole.isReusable, cut.isReusable) = (false, false)
            #expect(cut == whole, "\(text.debugDescription)")
        }
    }
}

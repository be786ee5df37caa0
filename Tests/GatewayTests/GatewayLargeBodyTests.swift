import NIOCore
import Synchronization
import TestSupport
import Testing

/// Bodies that are larger than anything that may be kept of them.
@Suite(.timeLimit(.minutes(10))) struct GatewayLargeBodyTests {
    private static let large = isLongRun ? 2 << 30 : 24 << 20

    @Test(arguments: Stage.NginxFace.allCases, ["files", "chunked"])
    func aLargeBodyComesDownAsItIs(face: Stage.NginxFace, folder: String) async throws {
        try await Stage.withNginx(face) { stage, nginx async throws in
            try nginx.addFile("large", count: Self.large)
            let request = stage.head("GET", "api/\(folder)/large")
            try await stage.client { client async throws in
                await client.send(request)
                var check = PatternBytes.Check()
                let answer = try await client.answer { check.next($0) }
                #expect(answer.status == 200)
                #expect(answer.isWhole)
                #expect(check.isRight)
                #expect(check.count == Self.large)
                #expect(answer["Content-Length"] == (folder == "files" ? String(Self.large) : nil))
                #expect(answer["Transfer-Encoding"] == (folder == "files" ? nil : "chunked"))
            }
        }
    }

    @Test(arguments: Stage.NginxFace.allCases, [false, true])
    func aLargeBodyGoesUpAsItIs(face: Stage.NginxFace, isChunked: Bool) async throws {
        try await Stage.withNginx(face) { stage, nginx async throws in
            let framing = isChunked ? "Transfer-Encoding: chunked" : "Content-Length: \(Self.large)"
            let request = stage.head("PUT", "api/uploads/large", [framing])
            try await stage.client { client async throws in
                await client.send(request)
                #expect(await client.sender.sendPattern(Self.large, chunked: isChunked))
                if isChunked { await client.send("0\r\n\r\n") }
                #expect(try await client.answer(to: "PUT").status == 201)
            }
            #expect(try nginx.hasUpload("large", count: Self.large))
        }
    }

    /// What lies in buffers of ours and the kernel's; a body that is read ahead would be all of it.
    private static let bufferedAtMost = 40 << 20
    private static let tooMuch = 96 << 20

    @Test func aCallerThatDoesNotReadHoldsTheAPIBack() async throws {
        let script = RawUpstream.Script.answering(.send("HTTP/1.1 200 OK\r\nContent-Length: \(Self.tooMuch)\r\n\r\n"), .pattern(Self.tooMuch))
        try await Stage.with(upstream: script) { stage, upstream async throws in
            let request = stage.head("GET", "api/large")
            try await stage.client { client async throws in
                await client.send(request)
                #expect(try await client.head().status == 200)
                #expect(try await settled { upstream.sentCount } < Self.bufferedAtMost)
                var check = PatternBytes.Check()
                #expect(await client.take(Self.tooMuch) { check.next($0) })
                #expect(check.isRight)
            }
        }
    }

    @Test func anAPIThatDoesNotReadHoldsTheCallerBack() async throws {
        let signal = Signal()
        var script = RawUpstream.Script.answering(.send(RawUpstream.answer()))
        script.onHead = { _ in [.pauseReading, .wait(signal), .resumeReading] }
        try await Stage.with(upstream: script) { stage, upstream async throws in
            let request = stage.head("POST", "api/large", ["Content-Length: \(Self.tooMuch)"])
            try await stage.client { client async throws in
                await client.send(request)
                let sender = client.sender
                let sent = Mutex(0)
                async let isSent = sender.sendPattern(Self.tooMuch) { count in sent.withLock { $0 = count } }
                #expect(try await settled { sent.withLock { $0 } } < Self.bufferedAtMost)
                signal.give()
                #expect(await isSent)
                #expect(try await client.answer().isWhole)
            }
            let received = try #require(upstream.requests.first)
            #expect(received.pattern.count == Self.tooMuch)
            #expect(received.pattern.isRight)
        }
    }
}

import HTTPTypes
import NIOCore
import NIOPosix
import OAuth
import OAuthClient
import Testing

@testable import OAuthClientAsyncHTTP

private let tooLarge = TransportError(.broken("it is larger than 1 MiB"), mayHaveBeenSent: true)
private let part = [UInt8](repeating: 0x78, count: 0x10000)

/// SEC-74: how much of an answer is taken.
@Suite(.timeLimit(.minutes(5))) struct SizeTests {
    @Test(
        "Endless answers are left at 1 MiB",
        arguments: [
            ("Content-Length: 2097152\r\n", part), ("Content-Length: 9223372036854775807\r\n", [0x78]),
            ("Transfer-Encoding: chunked\r\n", RawServer.bytes("10000\r\n") + part + RawServer.bytes("\r\n")), ("", part),
        ] as [(String, [UInt8])])
    func endless(field: String, over: [UInt8]) async throws {
        try await RawServer.with(.answering([.send(RawServer.bytes("HTTP/1.1 200 OK\r\n\(field)\r\n")), .flood(over)])) { server in
            #expect(try await failure(of: post(server.url()), by: makeTransport()) == tooLarge)
            try await server.allClosed()
        }
    }

    @Test func oneMebibyteIsTakenAndOneByteMoreIsNot() async throws {
        try await RawServer.with(
            .answering(by: { request in
                let count = request.hasPrefix("POST /more ") ? 1_048_577 : 1_048_576
                return [.send(RawServer.answer(body: String(repeating: "x", count: count)))]
            })
        ) { server in
            let transport = try makeTransport()
            #expect(try await transport.send(post(server.url("/just"))).body.count == 1_048_576)
            #expect(try await failure(of: post(server.url("/more")), by: transport) == tooLarge)
        }
    }

    @Test("Heads beyond 64 KiB or 100 fields", arguments: [(10_000, 10), (150, 10), (10, 8000), (1, 100_000)])
    func heads(count: Int, length: Int) async throws {
        let fields = (0..<count).map { "X-\($0): " + String(repeating: "y", count: length) }
        try await RawServer.with(.answering([.send(RawServer.answer(fields: fields))])) { server in
            let error = try await failure(of: post(server.url()), by: makeTransport())
            #expect(error?.isBroken == true)
            #expect(error?.mayHaveBeenSent == true)
            try await server.allClosed()
        }
    }

    @Test func aHeadOfOrdinarySizeIsTaken() async throws {
        let fields = (0..<80).map { "X-\($0): " + String(repeating: "y", count: 500) }
        try await RawServer.with(.answering([.send(RawServer.answer(fields: fields))])) { server in
            let response = try await makeTransport().send(post(server.url()))
            #expect(response.head.headerFields.count == 81)
        }
    }

    /// Nothing is unfolded, so a small answer cannot become a large one.
    @Test func gzipStaysFolded() async throws {
        let packed: [UInt8] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 0xAB, 0xAE, 5, 0, 0x43, 0xBF, 0xA6, 0xA3, 2, 0, 0, 0]
        try await RawServer.with(
            .answering([.send(RawServer.bytes("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: \(packed.count)\r\n\r\n") + packed)])
        ) { server in
            let response = try await makeTransport().send(post(server.url()))
            #expect(response.body == packed)
            #expect(response.head.headerFields[.contentEncoding] == "gzip")
            #expect(!server.received.contains { $0.lowercased().contains("accept-encoding") })
        }
    }
}

/// SEC-75: how long is waited. The limits are small fractions of the real ones.
@Suite(.timeLimit(.minutes(5))) struct DeadlineTests {
    /// Far above the limits that are set below, and far below those that are left as they are.
    private static let soon = Duration.seconds(15)

    private func timed(_ body: () async throws -> TransportError?) async rethrows -> (TransportError?, Duration) {
        let start = ContinuousClock.now
        let error = try await body()
        return (error, ContinuousClock.now - start)
    }

    @Test(
        "Answers that never end",
        arguments: [
            [], [.send(RawServer.bytes("HTTP/1.1 200 OK\r\nX: ")), .drip(0x78, every: .milliseconds(10))],
            [.send(RawServer.bytes("HTTP/1.1 200 OK\r\n\r\n")), .drip(0x78, every: .milliseconds(10))],
            [.send(RawServer.bytes("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")), .drip(0x78, every: .milliseconds(10))],
            [.send(RawServer.bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;")), .drip(0x78, every: .milliseconds(10))],
            [.send(RawServer.bytes("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\nabc"))],
        ] as [[RawServer.Step]])
    func neverEnding(steps: [RawServer.Step]) async throws {
        try await RawServer.with(.answering(steps)) { server in
            let transport = try makeTransport(whole: .milliseconds(600))
            let (error, took) = try await timed { try await failure(of: post(server.url()), by: transport) }
            #expect(error?.reason == .timedOut)
            #expect(took >= .milliseconds(590))
            #expect(took < Self.soon)
            try await server.allClosed()
            // On a machine that is too busy the request may not have left at all; then nothing was heard of it.
            let heard = server.received.contains { $0.contains("grant_type") }
            #expect(!heard || error?.mayHaveBeenSent == true)
        }
    }

    @Test func aHandshakeThatStallsEndsWithTheTimeForConnecting() async throws {
        try await RawServer.with(.silence) { server in
            let (error, took) = try await timed {
                try await failure(of: post(server.url(scheme: "https")), by: makeTransport(connect: .milliseconds(300)))
            }
            #expect(error?.isUnreachable == true)
            #expect(error?.mayHaveBeenSent == false)
            #expect(took < Self.soon)
        }
    }

    #if os(Linux)
        @Test func aConnectionThatIsNeverMadeEndsWithTheTimeForConnecting() async throws {
            // A queue for one connection that nobody takes out of it: the next finds no answer at all.
            let listener: any Channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .serverChannelOption(ChannelOptions.backlog, value: 0)
                .serverChannelOption(ChannelOptions.autoRead, value: false)
                .bind(host: "127.0.0.1", port: 0).get()
            let port = try #require(listener.localAddress?.port)
            let filler = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).connectTimeout(.milliseconds(100))
            var held: [any Channel] = []
            while held.count < 8, let channel = try? await filler.connect(host: "127.0.0.1", port: port).get() { held.append(channel) }
            for request in [try post("http://127.0.0.1:\(port)/"), try get("http://127.0.0.1:\(port)/")] {
                let (error, took) = try await timed { try await failure(of: request, by: makeTransport(connect: .milliseconds(300))) }
                #expect(error == TransportError(.unreachable("no connection in time"), mayHaveBeenSent: false))
                #expect(took < Self.soon)
            }
            for channel in held + [listener] { channel.close(mode: .all, promise: nil) }
        }
    #endif

    @Test func theWholeEndsFirstWhenItIsShorter() async throws {
        try await RawServer.with(.silence) { server in
            let (error, took) = try await timed {
                try await failure(of: post(server.url(scheme: "https")), by: makeTransport(whole: .milliseconds(200)))
            }
            #expect(error == TransportError(.timedOut, mayHaveBeenSent: false))
            #expect(took < Self.soon)
        }
    }
}

import Egress
import Foundation
import HTTPTypes
import NIOCore
import NIOPosix
import OAuth
import Server
import ServiceLifecycle
import TestSupport
import Testing

/// Who comes to the gateway: from behind a proxy, and before the server is ready.
@Suite(.timeLimit(.minutes(5))) struct GatewayDoorTests {
    /// The address that a refusal is logged under. SEC-108.
    @Test(arguments: [
        (["127.0.0.0/8"], ["X-Forwarded-For: 198.51.100.7"], "198.51.100.7"),
        (["127.0.0.0/8"], ["x-forwarded-for: 203.0.113.9", "X-Forwarded-For: 198.51.100.7"], "198.51.100.7"),
        (["127.0.0.0/8"], [], "127.0.0.1"), (["10.0.0.0/8"], ["X-Forwarded-For: 198.51.100.7"], "127.0.0.1"),
    ])
    func refusalsAreLoggedUnderTheClientsAddress(proxies: [String], fields: [String], expected: String) async throws {
        let trusted = proxies.compactMap { Egress.CIDR($0) }
        try await RunningServer.with {
            $0.trustedProxies = trusted
        } _: { server in
            let request = ["GET /gateway/api/x HTTP/1.1", "Host: h", "Authorization: Bearer wrong"] + fields
            let answer = try await RawClient.with(server.url) { client in
                await client.sender.send(request.joined(separator: "\r\n") + "\r\n\r\n")
                return try await client.answer()
            }
            #expect(answer.status == 401)
            let line = server.log.text.split(separator: "\n").first { $0.contains("/gateway/{id}") }
            #expect(line?.contains("client=\(expected)") == true, "\(line ?? "no line")")
        }
    }

    /// Who connects while the server starts, and asks when it has.
    @Test func connectionsFromBeforeTheStartReachTheGateway() async throws {
        let port = try await freePort()
        let early = Task { try await Self.connect(port) }
        try await RunningServer.with {
            $0.port = port
        } _: { server in
            let channel = try await early.value
            let answer = try await channel.executeThenClose { inbound, outbound in
                try await outbound.write(ByteBuffer(string: "GET /gateway/nothing/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer \(server.adminKey)\r\n\r\n"))
                var text = ""
                for try await piece in inbound {
                    text += String(buffer: piece)
                    if text.contains("\r\n\r\n") { break }
                }
                return text
            }
            #expect(answer.hasPrefix("HTTP/1.1 404"))
            // The gateway's own word: the rest of the server has nothing at this path either.
            #expect(answer.contains("Grantee-Problem: not_found"), "\(answer)")
        }
    }

    private func freePort() async throws -> Int {
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton).bind(host: "127.0.0.1", port: 0).get()
        let port = channel.localAddress?.port ?? 0
        try await channel.close()
        return port
    }

    /// As soon as somebody listens.
    private static func connect(_ port: Int) async throws -> NIOAsyncChannel<ByteBuffer, ByteBuffer> {
        while true {
            do {
                return try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).connect(host: "127.0.0.1", port: port) { channel in
                    channel.eventLoop.makeCompletedFuture { try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel) }
                }
            } catch is NIOConnectionError {
                try await Task.sleep(for: .milliseconds(1))
            }
        }
    }
}

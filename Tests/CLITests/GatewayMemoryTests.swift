import Foundation
import HTTPTypes
import OAuth
import TestSupport
import Testing

/// What the server itself needs while bodies run through it: not what the bodies are.
@Suite(.enabled(if: FileManager.default.fileExists(atPath: "/proc/self/status")), .timeLimit(.minutes(20))) struct GatewayMemoryTests {
    /// Of one body, and how many run at once.
    private static let (size, count) = isLongRun ? (2 << 30, 4) : (16 << 20, 16)
    private static let growsAtMost = 64 << 20

    /// The most memory that a process has had at once.
    private static func peak(_ pid: Int32) throws -> Int {
        let status = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
        return try #require(line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap { Int($0) }) * 1024
    }

    private static func head(_ method: String, _ path: String, of server: ServerProcess, _ field: String = "Accept: */*") -> String {
        "\(method) /gateway/api\(path) HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \(server.adminKey)\r\n\(field)\r\n\r\n"
    }

    private func download(_ server: ServerProcess, path: String = "/files/large") async throws -> Bool {
        try await RawClient.with(server.url) { client in
            await client.send(Self.head("GET", path, of: server))
            var check = PatternBytes.Check()
            let answer = try await client.answer { check.next($0) }
            return answer.status == 200 && answer.isWhole && check.isRight
        }
    }

    private func upload(_ server: ServerProcess, _ name: String) async throws -> Bool {
        try await RawClient.with(server.url) { client in
            await client.send(Self.head("PUT", "/uploads/" + name, of: server, "Content-Length: \(Self.size)"))
            await client.sender.sendPattern(Self.size)
            return try await client.answer().status == 201
        }
    }

    @Test(arguments: [false, true]) func bodiesBothWaysNeedLittle(isHTTP2: Bool) async throws {
        try await Nginx.with { nginx in
            try nginx.addFile("large", count: Self.size)
            try nginx.addFile("small", count: 100_000)
            try await RunningProvider.with { provider in
                try await ServerHome.with { home in
                    let server = try await home.start(["GRANTEE_CA_FILE": nginx.caFile])
                    var connection = provider.connection("api", "client_credentials", client: "machine", secret: "machine-secret").object ?? JSONObject()
                    connection["base_url"] = .string(isHTTP2 ? nginx.secureURL : nginx.url)
                    try await server.add(.object(connection))
                    for _ in 0..<20 { #expect(try await download(server, path: "/files/small")) }
                    let before = try Self.peak(server.program.pid)
                    try await withThrowingTaskGroup(of: Bool.self) { group in
                        for index in 0..<Self.count {
                            group.addTask { try await download(server) }
                            group.addTask { try await upload(server, "\(index)") }
                        }
                        for try await isRight in group { #expect(isRight) }
                    }
                    for index in 0..<Self.count { #expect(try nginx.hasUpload("\(index)", count: Self.size)) }
                    let growth = try Self.peak(server.program.pid) - before
                    #expect(growth < Self.growsAtMost, "\(growth >> 20) MiB for \(2 * Self.count * Self.size >> 20) MiB of bodies")
                    await server.stop()
                }
            }
        }
    }

    @Test func callersThatDoNotReadNeedLittle() async throws {
        // More than all buffers on the way hold together.
        let size = 64 << 20
        let callers = 8
        let script = RawUpstream.Script.answering(.send("HTTP/1.1 200 OK\r\nContent-Length: \(size)\r\n\r\n"), .pattern(size))
        try await RawUpstream.with(script) { upstream in
            try await RunningProvider.with { provider in
                try await ServerHome.with { home in
                    let server = try await home.start()
                    var connection = provider.connection("api", "client_credentials", client: "machine", secret: "machine-secret").object ?? JSONObject()
                    connection["base_url"] = .string(upstream.url)
                    try await server.add(.object(connection))
                    #expect(try await download(server))
                    let before = try Self.peak(server.program.pid)
                    let stalled = Signal()
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        let started = Counter()
                        for _ in 0..<callers {
                            group.addTask {
                                try await RawClient.with(server.url) { client async throws in
                                    await client.send(Self.head("GET", "/x", of: server))
                                    #expect(try await client.head().status == 200)
                                    started.add()
                                    await stalled.wait()
                                }
                            }
                        }
                        try await eventually("all have begun") { started.value == callers }
                        var last = -1
                        try await eventually("nothing flows any more") {
                            defer { last = upstream.sentCount }
                            try await Task.sleep(for: .milliseconds(200))
                            return last == upstream.sentCount
                        }
                        stalled.give()
                        try await group.waitForAll()
                    }
                    #expect(upstream.sentCount < size + callers * size)
                    let growth = try Self.peak(server.program.pid) - before
                    #expect(growth < Self.growsAtMost, "\(growth >> 20) MiB")
                    await server.stop()
                }
            }
        }
    }

    // MARK: Bombs

    /// DEFLATE in fixed Huffman codes, RFC 1951 §3.2.6: a NUL, and then again and again "258 more of the byte before". What comes
    /// after the beginning stands on whole bytes: eight such copies are thirteen of them, and 2,064 bytes when they are unfolded.
    private static let bomb: (beginning: [UInt8], copies: [UInt8]) = {
        func packed(_ bits: String) -> [UInt8] {
            let bits = Array(bits.utf8)
            return stride(from: 0, to: bits.count, by: 8).map { start in
                bits[start..<start + 8].reversed().reduce(0) { $0 << 1 | ($1 == UInt8(ascii: "1") ? 1 : 0) }
            }
        }
        let (block, zero, copy) = ("010", "00110000", "11000101" + "00000")
        // RFC 1952 §2.3: no name, no time.
        let header: [UInt8] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255]
        return (header + packed(block + zero + copy), packed(String(repeating: copy, count: 8)))
    }()

    /// An agent's answer is unfolded here; 7 MB of it hold a gigabyte. SEC-74
    @Test func anAnswerThatUnfoldsWithoutEndNeedsLittle() async throws {
        let (callers, times) = (8, 520_000)
        let length = Self.bomb.beginning.count + times * Self.bomb.copies.count
        let unit = Array(repeatElement(Self.bomb.copies, count: 1_000).joined())
        let script = RawUpstream.Script.answering(
            .send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\nContent-Length: \(length)\r\n\r\n"), .send(Self.bomb.beginning),
            .again(unit, times / 1_000))
        try await RawUpstream.with(script) { upstream in
            try await RunningProvider.with { provider in
                try await ServerHome.with { home in
                    let server = try await home.start()
                    var connection = provider.connection("api", "client_credentials", client: "machine", secret: "machine-secret").object ?? JSONObject()
                    connection["base_url"] = .string(upstream.url)
                    connection["agent_access"] = ["enabled": true, "methods": ["GET"], "paths": ["/**"]]
                    try await server.add(.object(connection))
                    let key = try #require(try await server.send(.post, "/v1/keys", body: ["name": "agent", "role": "agent"])["key"]?.string)
                    func explode() async throws -> Int {
                        try await RawClient.with(server.url) { client in
                            var shown = PatternBytes.Check()
                            await client.send("GET /gateway/api/bomb HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \(key)\r\n\r\n")
                            let answer = try await client.answer { shown.next($0) }
                            #expect(!answer.isWhole || answer.status == 502, "\(answer.status)")
                            return shown.count
                        }
                    }
                    _ = try await explode()
                    let before = try Self.peak(server.program.pid)
                    try await withThrowingTaskGroup(of: Int.self) { group in
                        for _ in 0..<callers { group.addTask { try await explode() } }
                        for try await count in group { #expect(count < 8 << 20) }
                    }
                    let growth = try Self.peak(server.program.pid) - before
                    #expect(growth < callers * 16 << 20, "\(growth >> 20) MiB")
                    await server.stop()
                }
            }
        }
    }
}

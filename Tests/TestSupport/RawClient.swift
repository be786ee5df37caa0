package import NIOCore
import NIOPosix
package import OAuth

/// An HTTP/1.1 client byte by byte: it sends what no client library would, and shows what one would hide.
package final class RawClient {
    private let channel: any Channel
    private var pieces: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    /// For whoever sends while another reads.
    package let sender: Sender
    private var buffer = ByteBuffer()
    private var isOver = false

    private init(channel: any Channel, pieces: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator, sender: Sender) {
        self.channel = channel
        self.pieces = pieces
        self.sender = sender
    }

    /// A connection to `url` as long as `body` runs. What is not asked for is not read: the other side has to wait.
    package static func with<R: Sendable>(_ url: String, _ body: (RawClient) async throws -> R) async throws -> R {
        let connection = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: try EndpointURL(url).effectivePort) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                }
            }
        var outcome: Result<R, any Error>?
        do {
            try await connection.executeThenClose { inbound, outbound in
                let client = RawClient(channel: connection.channel, pieces: inbound.makeAsyncIterator(), sender: Sender(writer: outbound))
                do { outcome = .success(try await body(client)) } catch { outcome = .failure(error) }
            }
        } catch {
            // How a connection ends that nobody needs any more is no outcome of its own.
            if outcome == nil { outcome = .failure(error) }
        }
        guard let outcome else { throw CancellationError() }
        return try outcome.get()
    }

    package struct Sender: Sendable {
        fileprivate let writer: NIOAsyncChannelOutboundWriter<ByteBuffer>

        /// Waits while the other side takes nothing.
        /// - Returns: false when the connection is gone: a server that has heard enough may close before the last byte.
        @discardableResult
        package func send(_ bytes: [UInt8]) async -> Bool {
            do {
                try await writer.write(ByteBuffer(bytes: bytes))
                return true
            } catch {
                return false
            }
        }

        @discardableResult
        package func send(_ text: String) async -> Bool { await send(Array(text.utf8)) }

        /// The first `count` bytes of the pattern.
        /// - Parameters:
        ///   - chunked: framed as chunks, without the last one.
        ///   - onProgress: told how many have been sent.
        /// - Returns: false when the connection is gone.
        @discardableResult
        package func sendPattern(_ count: Int, chunked: Bool = false, onProgress: @Sendable (Int) -> Void = { _ in }) async -> Bool {
            var done = 0
            while done < count {
                let piece = PatternBytes.piece(at: done, count: min(60_000, count - done))
                let bytes = chunked ? Array((String(piece.count, radix: 16) + "\r\n").utf8) + piece + [13, 10] : piece
                guard await send(bytes) else { return false }
                done += piece.count
                onProgress(done)
            }
            return true
        }
    }

    @discardableResult
    package func send(_ text: String) async -> Bool { await sender.send(text) }

    @discardableResult
    package func send(_ bytes: [UInt8]) async -> Bool { await sender.send(bytes) }

    /// Ends the connection without a word, as a process does that dies.
    package func die() async {
        channel.reset()
        try? await channel.closeFuture.get()
    }

    // MARK: Reading

    /// - Returns: false when the connection has ended.
    private func more() async -> Bool {
        guard !isOver else { return false }
        if var piece = try? await pieces.next() {
            if buffer.readableBytes == 0 { buffer = piece } else { buffer.writeBuffer(&piece) }
            return true
        }
        isOver = true
        return false
    }

    /// The next answer, interim ones before it included.
    /// - Parameters:
    ///   - method: the request's; an answer to HEAD has no body.
    ///   - each: given the body's pieces; they are not kept then.
    /// - Throws: ``Ended`` when the connection ended before a final answer's head was there.
    package func answer(to method: String = "GET", each: ((ByteBuffer) -> Void)? = nil) async throws -> RawAnswer {
        var interim: [RawAnswer.Head] = []
        var head = try await self.head()
        while head.isInterim {
            interim.append(head)
            head = try await self.head()
        }
        var answer = RawAnswer(head: head, interim: interim)
        var kept = ByteBuffer()
        func keep(_ piece: ByteBuffer) {
            if let each { each(piece) } else { kept.writeImmutableBuffer(piece) }
        }
        let length = head["Content-Length"].flatMap { Int($0) }
        if method == "HEAD" || head.status == 204 || head.status == 304 {
            answer.isWhole = true
        } else if head.values("Transfer-Encoding").last?.lowercased() == "chunked" {
            if let trailers = await chunks(keep) {
                answer.trailers = trailers
                answer.isWhole = true
            }
        } else if let length {
            answer.isWhole = await take(length, keep)
        } else {
            while true {
                if let piece = buffer.readSlice(length: buffer.readableBytes), piece.readableBytes > 0 { keep(piece) }
                guard await more() else { break }
            }
            answer.isWhole = true
        }
        answer.body = Array(kept.readableBytesView)
        return answer
    }

    /// The next head alone, interim or final; its body is still to be read.
    package func head() async throws -> RawAnswer.Head {
        var lines: [String] = []
        while let line = await line() {
            if line.isEmpty, !lines.isEmpty { return try RawAnswer.Head(lines) }
            lines.append(line)
        }
        throw Ended(after: lines.joined(separator: "\n"))
    }

    /// - Returns: false when the connection ended before.
    @discardableResult
    package func take(_ count: Int, _ each: (ByteBuffer) -> Void = { _ in }) async -> Bool {
        var left = count
        while left > 0 {
            if buffer.readableBytes == 0 { guard await more() else { return false } }
            guard let piece = buffer.readSlice(length: min(left, buffer.readableBytes)) else { return false }
            left -= piece.readableBytes
            each(piece)
        }
        return true
    }

    /// - Returns: the trailer fields; `nil` when the body did not end as it has to.
    private func chunks(_ each: (ByteBuffer) -> Void) async -> [RawAnswer.Field]? {
        while let size = await line()?.split(separator: ";").first.flatMap({ Int($0, radix: 16) }) {
            if size == 0 {
                var trailers: [RawAnswer.Field] = []
                while let line = await line() {
                    if line.isEmpty { return trailers }
                    guard let field = RawAnswer.Field(line) else { return nil }
                    trailers.append(field)
                }
                return nil
            }
            guard await take(size, each), await line()?.isEmpty == true else { return nil }
        }
        return nil
    }

    /// Without its line break.
    private func line() async -> String? {
        while true {
            if let end = buffer.readableBytesView.firstIndex(of: 10) {
                let text = buffer.readString(length: end - buffer.readerIndex) ?? ""
                buffer.moveReaderIndex(forwardBy: 1)
                return text.hasSuffix("\r") ? String(text.dropLast()) : text
            }
            guard await more() else { return nil }
        }
    }

    /// Everything until the server closes the connection; after half a minute it is closed here.
    package func rest() async -> (text: String, isClosedByServer: Bool) {
        let channel = channel
        let patience = channel.eventLoop.scheduleTask(in: .seconds(30)) { channel.close(mode: .all, promise: nil) }
        while await more() {}
        patience.cancel()
        let isClosedByServer = (try? await patience.futureResult.get()) == nil
        return (String(buffer: buffer), isClosedByServer)
    }

    /// The connection ended where an answer was due.
    package struct Ended: Error {
        package let after: String
    }
}

/// An answer as it came over the wire, its framing taken off.
package struct RawAnswer: Sendable {
    package struct Field: Sendable, Hashable {
        package let name: String
        package let value: String

        init?(_ line: String) {
            guard let colon = line.firstIndex(of: ":") else { return nil }
            name = String(line[..<colon])
            value = line[line.index(after: colon)...].trimmingPrefix { $0 == " " || $0 == "\t" }.description
        }
    }

    package struct Head: Sendable {
        package let version: String
        package let status: Int
        package let reason: String
        package let fields: [Field]

        init(_ lines: [String]) throws {
            let words = lines[0].split(separator: " ", maxSplits: 2)
            guard words.count >= 2, let status = Int(words[1]) else { throw RawClient.Ended(after: lines.joined(separator: "\n")) }
            version = String(words[0])
            self.status = status
            reason = words.count > 2 ? String(words[2]) : ""
            fields = lines.dropFirst().compactMap { Field($0) }
        }

        package var isInterim: Bool { (100..<200).contains(status) }
        /// In whatever case its name is written.
        package func values(_ name: String) -> [String] { fields.filter { $0.name.lowercased() == name.lowercased() }.map(\.value) }
        /// `nil` when there is none, or more than one.
        package subscript(_ name: String) -> String? {
            let values = values(name)
            return values.count == 1 ? values[0] : nil
        }
    }

    package let head: Head
    package let interim: [Head]
    package internal(set) var body: [UInt8] = []
    package internal(set) var trailers: [Field] = []
    /// Whether the body ended as its framing says it has to.
    package internal(set) var isWhole = false

    init(head: Head, interim: [Head]) {
        self.head = head
        self.interim = interim
    }

    package var status: Int { head.status }
    package var text: String { String(decoding: body, as: UTF8.self) }
    package var json: JSONValue { (try? JSONValue(parsing: body)) ?? .null }
    package subscript(_ name: String) -> String? { head[name] }
    package func values(_ name: String) -> [String] { head.values(name) }
    /// Of a problem that is Grantee's own, told in header and body alike.
    package var problem: String? {
        guard let code = head["Grantee-Problem"], head["Content-Type"] == "application/problem+json", json["code"]?.string == code,
            json["status"]?.integer == status
        else { return nil }
        return code
    }
}

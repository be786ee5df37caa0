import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import OAuth

/// Where an answer goes, byte for byte.
struct CallDestination {
    private let path: String?

    /// - Parameter path: `nil` = standard output; `-` = standard output, though the bytes may disturb a terminal.
    init(_ path: String?) { self.path = path }

    /// Whether bytes that are no text are kept from it.
    var takesTextOnly: Bool { path == nil && Terminal.output.isTerminal }
    /// Whether somebody reads along, whose next line should begin at the left.
    var isTerminal: Bool { !isFile && Terminal.output.isTerminal }
    private var isFile: Bool { path != nil && path != "-" }

    /// - Parameter body: writes to the descriptor that it is given.
    func open<R>(_ body: (Terminal) async throws -> R) async throws -> R {
        guard let path, isFile else { return try await body(Terminal.output) }
        let file = Foundation.open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        guard file >= 0 else { throw Failure("\(path) cannot be written: \(String(cString: strerror(errno)))") }
        defer { close(file) }
        return try await body(Terminal(descriptor: file))
    }
}

/// What came back from the API.
enum CallAnswer {
    /// Of an answer that is shown as JSON: it is read whole.
    private static let longestDocument = 32 << 20

    /// - Throws: ``Failure`` when the answer breaks off, cannot be written, or is binary and a terminal would show it.
    static func copy(_ answer: HTTPClientResponse, to destination: CallDestination, withHead: Bool) async throws {
        try await destination.open { output in
            if withHead { try write(ByteBuffer(string: head(answer)), to: output) }
            var last: UInt8 = 0x0A
            var chunks = answer.body.makeAsyncIterator()
            while let chunk = try await next(&chunks) {
                // As curl does: a NUL byte is in no text.
                if destination.takesTextOnly, chunk.readableBytesView.contains(0) {
                    throw Failure("the answer is binary, and a terminal cannot show it", hint: "save it with -o FILE, or print it all the same with -o -")
                }
                try write(chunk, to: output)
                last = chunk.readableBytesView.last ?? last
            }
            if destination.isTerminal, last != 0x0A { output.put("\n") }
        }
    }

    static func document(_ answer: HTTPClientResponse) async throws -> JSONValue {
        var bytes = ByteBuffer()
        var chunks = answer.body.makeAsyncIterator()
        while let chunk = try await next(&chunks) {
            bytes.writeImmutableBuffer(chunk)
            guard bytes.readableBytes <= longestDocument else {
                throw Failure("the answer is longer than --json takes: \(longestDocument >> 20) MiB", hint: "leave --json out")
            }
        }
        var headers = JSONObject()
        for (name, value) in answer.headers {
            let name = name.lowercased()
            headers[name] = .string(headers[name]?.string.map { $0 + ", " + value } ?? value)
        }
        var document: JSONObject = ["status": .number(JSONNumber(Int(answer.status.code))), "headers": .object(headers)]
        if bytes.readableBytes == 0 {
            document["body"] = .null
        } else if let value = try? JSONValue(parsing: bytes.readableBytesView) {
            document["body"] = value
        } else if let text = bytes.getString(at: bytes.readerIndex, length: bytes.readableBytes), text.utf8.elementsEqual(bytes.readableBytesView) {
            document["body"] = .string(text)
        } else {
            document["body_base64"] = .string(Data(bytes.readableBytesView).base64EncodedString())
        }
        return .object(document)
    }

    private static func head(_ answer: HTTPClientResponse) -> String {
        "\(answer.version) \(answer.status.code) \(answer.status.reasonPhrase)\r\n" + answer.headers.map { "\($0.name): \($0.value)\r\n" }.joined() + "\r\n"
    }

    private static func write(_ chunk: ByteBuffer, to output: Terminal) throws {
        guard chunk.withUnsafeReadableBytes({ output.put($0) }) else { throw Failure("the answer could not be written: \(String(cString: strerror(errno)))") }
    }

    private static func next(_ chunks: inout HTTPClientResponse.Body.AsyncIterator) async throws -> ByteBuffer? {
        do {
            return try await chunks.next()
        } catch {
            throw Failure("the answer broke off", hint: "what came before is not all of it")
        }
    }
}

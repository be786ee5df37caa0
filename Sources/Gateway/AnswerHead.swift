import NIOCore
import NIOHTTP1

/// What comes from an API, one after the other: a head, pieces of a body, an end.
enum AnswerPart {
    case head(AnswerHead)
    case body(ByteBuffer)
    case end(HTTPHeaders?)
}

/// The head of an answer: its status, and the fields that go back to the caller.
struct AnswerHead {
    enum Fields {
        /// Of the API alone.
        case lines(FieldLines)
        /// With Grantee's own.
        case headers(HTTPHeaders)
    }
    let status: Int
    var fields: Fields
    /// Whether a `Content-Length` is among the fields.
    let hasLength: Bool
    /// Given by the exchange.
    var requestID = ""

    init(status: Int, lines: FieldLines, hasLength: Bool) {
        self.status = status
        fields = .lines(lines)
        self.hasLength = hasLength
    }

    /// - Parameter headers: from ``AnswerFields/returned(_:)``.
    init(status: Int, headers: HTTPHeaders) {
        self.status = status
        fields = .headers(headers)
        hasLength = headers.contains(name: "content-length")
    }

    /// RFC 9110 §6.4.1.
    var mayHaveBody: Bool { Self.mayHaveBody(status) }
    static func mayHaveBody(_ status: Int) -> Bool { status >= 200 && status != 204 && status != 304 }

    /// All of them.
    var headers: HTTPHeaders {
        var headers: HTTPHeaders
        switch fields {
        case .headers(let known): headers = known
        case .lines(let lines):
            headers = lines.headers(reserving: 3)
            for field in AnswerFields.own { headers.add(name: field.name, value: field.value) }
        }
        if !requestID.isEmpty { headers.add(name: AnswerFields.requestID, value: requestID) }
        return headers
    }

    /// As HTTP/1.1 writes it.
    /// - Returns: whether the body is to be written in chunks.
    func write(into buffer: inout ByteBuffer, closes: Bool) -> Bool {
        buffer.writeBytes(Self.statusLines[status - 100])
        switch fields {
        case .lines(let lines):
            lines.write(into: &buffer)
            buffer.writeBytes(AnswerFields.ownLines)
            buffer.writeString(requestID)
            buffer.writeStaticString("\r\n")
        case .headers:
            var headers = headers
            if !mayHaveBody { headers.remove(name: "content-length") }
            buffer.write(lines: headers)
        }
        if closes { buffer.writeStaticString("Connection: close\r\n") }
        let isChunked = mayHaveBody && !hasLength
        buffer.writeStaticString(isChunked ? "transfer-encoding: chunked\r\n\r\n" : "\r\n")
        return isChunked
    }

    private static let statusLines = (100...999).map { status in
        Array("HTTP/1.1 \(status) \(HTTPResponseStatus(statusCode: status).reasonPhrase)\r\n".utf8)
    }
}

import Broker
import NIOCore
import NIOHTTP1

/// A request that lies in memory whole and by itself, read strictly, and only as far as the shortcut takes it.
///
/// What is unusual in any way is none, so that the long way judges it: this knows no refusal and has no words for one. Whatever is
/// one here is the same request to every other reader of HTTP/1.1.
struct ShortRequest {
    private static let mostFields = 100

    let method: HTTPMethod
    let connectionID: String
    /// Behind the connection's id, as ``AskedRequest`` has them.
    let path: String
    let query: Substring?
    /// `Content-Length`, as it was sent.
    let length: String?
    let subject: String
    /// The fields that go on, but for those that the connection sets itself.
    let lines: FieldLines
    let body: ByteBuffer?
    /// Where the field's value stands.
    let authorization: Range<Int>

    /// What steers the gateway, and how often it is there.
    private struct Steering {
        var hosts = 0
        var lengths = 0
        var subjects = 0
        var authorizations = 0
        var length: String?
        var bodyLength = 0
        var subject = ""
        var authorization = 0..<0
    }

    /// - Parameters:
    ///   - bytes: that one read brought.
    ///   - lines: whose memory is used again.
    ///   - destination: asked once the connection's id is known; `nil` = it is not in memory. The request is one all the same.
    /// - Returns: `nil` unless the readable bytes are exactly one request below `/gateway/` that is simple in every way.
    @inline(__always)  // As large as it is, it is not moved about then.
    init?(_ bytes: ByteBuffer, lines: inout FieldLines, destination: (String) -> Destination?) {
        let span = bytes.readableBytesUInt8Span
        guard let line = RequestLine(span) else { return nil }
        method = line.method
        connectionID = FieldBytes.text(span, line.id)
        let question = line.question ?? line.target.upperBound
        path = FieldBytes.text(span, line.id.upperBound..<question)
        query = line.question == nil ? nil : FieldBytes.text(span, (question + 1)..<line.target.upperBound)[...]
        var steering = Steering()
        lines.begin()
        guard let end = Self.readFields(span, from: line.end, own: destination(connectionID)?.ownNames ?? [], &lines, &steering) else { return nil }
        guard steering.hosts == 1, steering.lengths <= 1, steering.subjects <= 1, steering.authorizations == 1, end + steering.bodyLength == span.count
        else { return nil }
        lines.seal(bytes)
        self.lines = lines
        (length, subject, authorization) = (steering.length, steering.subject, steering.authorization)
        body = steering.bodyLength == 0 ? nil : bytes.getSlice(at: bytes.readerIndex + end, length: steering.bodyLength)
    }

    /// - Returns: where the body begins; `nil` = it is not simple.
    private static func readFields(
        _ bytes: Span<UInt8>, from first: Int, own: [FieldName], _ lines: inout FieldLines, _ steering: inout Steering
    ) -> Int? {
        var index = first
        fields: for _ in 0..<mostFields {
            guard index < bytes.count else { return nil }
            if bytes[index] == UInt8(ascii: "\r") { return try? lineBreak(bytes, at: index) }
            // The codec leaves blanks behind a value where they are.
            guard let line = try? FieldLine(bytes, at: index), line.value.upperBound + 2 == line.end, isASCII(bytes, line.value) else { return nil }
            index = line.end
            switch FieldRules.request(line.name) {
            case .fetchMetadata: return nil
            case .connection, .credential: if !note(line, bytes, &steering) { return nil }
            case let rule where rule.isDropped: break
            default:
                for name in own {
                    guard let isSame = line.name.isSame(as: name) else { return nil }
                    if isSame { continue fields }
                }
                lines.add(line, bytes)
            }
        }
        return nil
    }

    /// Of what belongs to the connection between us, and of what names the caller.
    /// - Returns: false when the long way has to look at it.
    private static func note(_ line: FieldLine, _ bytes: Span<UInt8>, _ steering: inout Steering) -> Bool {
        switch line.name.count {
        case 4 where line.isNamed("host", bytes):
            steering.hosts += 1
            return !line.value.isEmpty && !contains(UInt8(ascii: ","), bytes, line.value)
        case 6 where line.isNamed("expect", bytes), 7 where line.isNamed("upgrade", bytes): return false
        case 10 where line.isNamed("connection", bytes): return FieldBytes.isSame(bytes, line.value, "keep-alive")
        case 13 where line.isNamed("authorization", bytes):
            steering.authorizations += 1
            steering.authorization = line.value
        case 14 where line.isNamed("content-length", bytes):
            guard let length = FieldBytes.number(bytes, line.value) else { return false }
            steering.lengths += 1
            steering.bodyLength = length
            steering.length = FieldBytes.text(bytes, line.value)
        case 15 where line.isNamed("grantee-subject", bytes):
            steering.subjects += 1
            steering.subject = FieldBytes.text(bytes, line.value)
            return !line.value.isEmpty
        case 17 where line.isNamed("transfer-encoding", bytes): return false
        default: break
        }
        return true
    }

    private static func contains(_ byte: UInt8, _ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        for index in range where bytes[index] == byte { return true }
        return false
    }

    private static func isASCII(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        for index in range where bytes[index] >= 0x80 { return false }
        return true
    }
}

/// `GET /gateway/api/x?a=1 HTTP/1.1`
private struct RequestLine {
    let method: HTTPMethod
    let target: Range<Int>
    let id: Range<Int>
    let question: Int?
    let end: Int

    init?(_ bytes: Span<UInt8>) {
        guard let (method, start) = Self.method(bytes) else { return nil }
        self.method = method
        let prefix: StaticString = "/gateway/"
        guard FieldBytes.begins(bytes, at: start, prefix) else { return nil }
        var index = start + prefix.utf8CodeUnitCount
        let id = index
        while index < bytes.count, bytes[index] != UInt8(ascii: "/"), bytes[index] != UInt8(ascii: "?"), Self.isVisible(bytes[index]) { index += 1 }
        self.id = id..<index
        var question: Int?
        while index < bytes.count, Self.isVisible(bytes[index]) {
            if question == nil, bytes[index] == UInt8(ascii: "?") { question = index }
            index += 1
        }
        self.question = question
        target = start..<index
        let version: StaticString = " HTTP/1.1\r\n"
        guard FieldBytes.begins(bytes, at: index, version) else { return nil }
        end = index + version.utf8CodeUnitCount
    }

    private static func isVisible(_ byte: UInt8) -> Bool { byte > 0x20 && byte < 0x7F }

    /// - Returns: it, and where the target begins.
    private static func method(_ bytes: Span<UInt8>) -> (HTTPMethod, Int)? {
        func begins(_ text: StaticString) -> Bool { FieldBytes.begins(bytes, at: 0, text) }
        guard bytes.count > 0 else { return nil }
        switch bytes[0] {
        case UInt8(ascii: "G"): return begins("GET ") ? (.GET, 4) : nil
        case UInt8(ascii: "H"): return begins("HEAD ") ? (.HEAD, 5) : nil
        case UInt8(ascii: "P"): return begins("POST ") ? (.POST, 5) : begins("PUT ") ? (.PUT, 4) : begins("PATCH ") ? (.PATCH, 6) : nil
        case UInt8(ascii: "D"): return begins("DELETE ") ? (.DELETE, 7) : nil
        case UInt8(ascii: "O"): return begins("OPTIONS ") ? (.OPTIONS, 8) : nil
        default: return nil
        }
    }
}

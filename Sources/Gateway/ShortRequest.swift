import Broker
import NIOCore
import NIOHTTP1

/// A request that lies in memory whole and by itself, read strictly, and only as far as the shortcut takes it.
///
/// What is unusual in any way is none, so that the long way judges it: this knows no refusal and has no words for one. Whatever is
/// one here is the same request to every other reader of HTTP/1.1.
struct ShortRequest {
    let method: HTTPMethod
    /// Behind the connection's id, as ``AskedRequest`` has them.
    let path: String
    let query: Substring?
    let body: ByteBuffer?

    /// - Parameters:
    ///   - bytes: that one read brought.
    ///   - fields: of the request that the caller sent before this one; then of this one.
    ///   - mayRepeat, find: as for ``ShortFields/read(_:for:mayRepeat:find:)``.
    /// - Returns: `nil` unless the readable bytes are exactly one request below `/gateway/` that is simple in every way.
    @inline(__always)  // As large as it is, it is not moved about then.
    init?(_ bytes: ByteBuffer, fields: inout ShortFields, mayRepeat: Bool, find: (String) -> Destination?) {
        let span = bytes.readableBytesUInt8Span
        guard let line = RequestLine(span),
            let end = fields.read(span.extracting(line.end...), for: span.extracting(line.id), mayRepeat: mayRepeat, find: find),
            line.end + end + fields.bodyLength == span.count
        else { return nil }
        method = line.method
        let question = line.question ?? line.target.upperBound
        path = FieldBytes.text(span, line.id.upperBound..<question)
        query = line.question == nil ? nil : FieldBytes.text(span, (question + 1)..<line.target.upperBound)[...]
        body = fields.bodyLength == 0 ? nil : bytes.getSlice(at: bytes.readerIndex + line.end + end, length: fields.bodyLength)
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

import Broker
import NIOCore
import NIOHTTP1

/// Reads an API's answers from the bytes of an HTTP/1.1 connection: knows no socket, and believes nothing that can be read in two ways.
///
/// What two readers could take apart differently is nonsense here (SEC-79, SEC-85): a line break that is not CRLF, a folded line, a
/// length that is said twice or in two ways. RFC 9112.
struct AnswerReader {
    private static let longestHead = 64 << 10
    private static let longestTrailers = 16 << 10
    private static let longestSize = 1 << 10
    private static let mostFields = 100
    private static let mostNames = 32

    private enum State {
        case head
        case body(left: Int)
        case chunkSize
        case chunk(left: Int)
        case chunkEnd
        case trailers
        case untilClose
        /// All but the end was told.
        case atEnd
        case ended
    }
    private var state = State.head
    private var pending = ByteBuffer()
    /// How much of an unfinished head was looked at; `nil` = nothing yet.
    private var searched: Int?
    private var lines = FieldLines()
    /// Of the last head, in order; `nil` = too long to be kept.
    private var names: [RecentName?] = []
    private var isForHead = false

    /// Whether the answer, as far as it came, lets the connection serve another one.
    private(set) var keepsAlive = true
    /// How long the API says that it keeps the connection; less a second.
    private(set) var keepAlive: TimeAmount?

    /// - Parameter isForHead: the answer has no body, whatever it says of one. RFC 9112 §6.3.
    mutating func expectAnswer(isForHead: Bool) {
        state = .head
        self.isForHead = isForHead
        keepsAlive = true
    }

    mutating func feed(_ bytes: ByteBuffer) {
        if pending.readableBytes == 0 {
            pending = bytes
        } else if pending.readerIndex == 0 {
            pending.writeImmutableBuffer(bytes)
        } else {
            // Nothing that was read is carried along.
            var joined = pending.slice()
            joined.writeImmutableBuffer(bytes)
            pending = joined
        }
    }

    /// Whether something follows the answer that belongs to none.
    var hasLeftovers: Bool { pending.readableBytes > 0 }

    /// Lets go of the memory that the last answer was read into.
    mutating func forget() {
        lines.clear()
        if pending.readableBytes == 0, pending.capacity > 0 { pending = ByteBuffer() }
    }

    /// - Returns: `nil` when more bytes are needed, or the answer has ended.
    mutating func next() throws(APIFailure) -> AnswerPart? {
        while true {
            switch state {
            case .head: return try readHead()
            case .body(let left):
                guard let chunk = take(atMost: left) else { return nil }
                state = left == chunk.readableBytes ? .atEnd : .body(left: left - chunk.readableBytes)
                return .body(chunk)
            case .chunkSize:
                guard let size = try readChunkSize() else { return nil }
                state = size == 0 ? .trailers : .chunk(left: size)
            case .chunk(let left):
                guard let chunk = take(atMost: left) else { return nil }
                state = left == chunk.readableBytes ? .chunkEnd : .chunk(left: left - chunk.readableBytes)
                return .body(chunk)
            case .chunkEnd:
                guard try readLineBreak() else { return nil }
                state = .chunkSize
            case .trailers:
                guard let trailers = try readTrailers() else { return nil }
                state = .ended
                return .end(trailers.isEmpty ? nil : trailers)
            case .untilClose:
                guard let chunk = take(atMost: .max) else { return nil }
                return .body(chunk)
            case .atEnd:
                state = .ended
                return .end(nil)
            case .ended: return nil
            }
        }
    }

    /// The connection was closed, in the proper way.
    /// - Returns: the end of an answer that has no other; `nil` = no answer has begun.
    mutating func close() throws(APIFailure) -> AnswerPart? {
        switch state {
        case .untilClose:
            state = .ended
            return .end(nil)
        case .head where pending.readableBytes == 0: return nil
        default: throw Self.nonsense
        }
    }

    private static let nonsense = APIFailure.nonsense("something that is not HTTP, or broke off")

    private mutating func take(atMost limit: Int) -> ByteBuffer? {
        guard pending.readableBytes > 0 else { return nil }
        guard pending.readableBytes > limit else {
            let all = pending
            pending = ByteBuffer()
            return all
        }
        return pending.readSlice(length: limit)
    }

    // MARK: Head

    private struct Head {
        var status = 0
        var isOld = false
        var length: Int?
        var isChunked = false
        var saysClose = false
        var saysKeepAlive = false
        var options = ConnectionOptions()
        var keepAlive: TimeAmount?
        var end = 0

        /// RFC 9112 §9.3.
        var keepsAlive: Bool { !saysClose && (saysKeepAlive || !isOld) }
    }

    private mutating func readHead() throws(APIFailure) -> AnswerPart? {
        while true {
            if searched != nil, try !findEnd() { return nil }
            let head: Head
            do throws(FieldLine.Fault) {
                head = try parse()
            } catch {
                guard error == .unfinished, pending.readableBytes < Self.longestHead else { throw Self.nonsense }
                searched = pending.readableBytes
                return nil
            }
            searched = nil
            guard head.end <= Self.longestHead else { throw Self.nonsense }
            // Nobody asked for another protocol.
            if head.status == 101 { throw .nonsense("with another protocol, which nobody had asked for") }
            if head.status < 200 {
                pending.moveReaderIndex(forwardBy: head.end)
                if pending.readableBytes == 0 { return nil }
                continue
            }
            return .head(begin(head))
        }
    }

    private mutating func begin(_ head: Head) -> AnswerHead {
        lines.seal(pending)
        pending.moveReaderIndex(forwardBy: head.end)
        keepsAlive = head.keepsAlive
        keepAlive = head.keepAlive ?? keepAlive
        let answer = AnswerHead(status: head.status, lines: lines, hasLength: head.length != nil)
        if isForHead || !answer.mayHaveBody {
            state = .atEnd
        } else if head.isChunked {
            state = .chunkSize
        } else if let length = head.length {
            state = length == 0 ? .atEnd : .body(left: length)
        } else {
            keepsAlive = false
            state = .untilClose
        }
        return answer
    }

    /// - Returns: whether the end of the head has come. What was looked at is not looked at again with each byte that comes.
    private mutating func findEnd() throws(APIFailure) -> Bool {
        if try Self.hasEnd(pending.readableBytesUInt8Span, from: searched ?? 0) { return true }
        searched = pending.readableBytes
        guard pending.readableBytes < Self.longestHead else { throw Self.nonsense }
        return false
    }

    private static func hasEnd(_ bytes: Span<UInt8>, from first: Int) throws(APIFailure) -> Bool {
        for index in first..<bytes.count where bytes[index] == UInt8(ascii: "\n") {
            guard index > 0, bytes[index - 1] == UInt8(ascii: "\r") else { throw nonsense }
            if index > 2, bytes[index - 2] == UInt8(ascii: "\n"), bytes[index - 3] == UInt8(ascii: "\r") { return true }
        }
        return false
    }

    private mutating func parse() throws(FieldLine.Fault) -> Head {
        let pending = pending
        let bytes = pending.readableBytesUInt8Span
        var head = Head()
        let first = try Self.readStatusLine(bytes, &head)
        try readFields(bytes, from: first, &head)
        // Only now is it known what else is the connection's own.
        if !head.options.isEmpty { try readFields(bytes, from: first, &head) }
        return head
    }

    /// `HTTP/1.1 200 OK`
    private static func readStatusLine(_ bytes: Span<UInt8>, _ head: inout Head) throws(FieldLine.Fault) -> Int {
        guard bytes.count > 12 else {
            // A server of another kind may wait for an answer to its greeting.
            if bytes.count > 0, bytes[0] != UInt8(ascii: "H") { throw .wrong }
            throw .unfinished
        }
        guard FieldBytes.begins(bytes, at: 0, "HTTP/1."), bytes[7] == UInt8(ascii: "1") || bytes[7] == UInt8(ascii: "0"), bytes[8] == UInt8(ascii: " "),
            let status = FieldBytes.number(bytes, 9..<12), status >= 100
        else { throw .wrong }
        head.status = status
        head.isOld = bytes[7] == UInt8(ascii: "0")
        var index = 12
        if bytes[index] == UInt8(ascii: " ") { while index < bytes.count, FieldBytes.isValue(bytes[index]) { index += 1 } }
        return try lineBreak(bytes, at: index)
    }

    private mutating func readFields(_ bytes: Span<UInt8>, from first: Int, _ head: inout Head) throws(FieldLine.Fault) {
        lines.begin()
        (head.length, head.isChunked) = (nil, false)
        var index = first
        var count = 0
        while true {
            guard index < bytes.count else { throw .unfinished }
            if bytes[index] == UInt8(ascii: "\r") {
                head.end = try lineBreak(bytes, at: index)
                break
            }
            guard count < Self.mostFields else { throw .wrong }
            let (line, rule) = try readLine(bytes, at: index, place: count)
            index = line.end
            count += 1
            if try note(line, rule, bytes, &head) { lines.add(line, bytes) }
        }
        // Which of the two counts, readers disagree about; an old one knows no chunks. RFC 9112 §6.1.
        if head.isChunked, head.length != nil || head.isOld { throw .wrong }
    }

    private mutating func readLine(_ bytes: Span<UInt8>, at start: Int, place: Int) throws(FieldLine.Fault) -> (FieldLine, FieldRules.Answer) {
        if place < names.count, let recent = names[place], recent.stands(in: bytes, at: start) {
            return (try FieldLine(bytes, at: start, name: recent.name), recent.rule)
        }
        let line = try FieldLine(bytes, at: start)
        let recent = RecentName(line, bytes)
        if place < names.count { names[place] = recent } else if place < Self.mostNames { names.append(recent) }
        return (line, recent?.rule ?? FieldRules.answer(line.name))
    }

    /// - Returns: whether the line goes back to the caller.
    private func note(_ line: FieldLine, _ rule: FieldRules.Answer, _ bytes: Span<UInt8>, _ head: inout Head) throws(FieldLine.Fault) -> Bool {
        switch line.name.count {
        case 14 where line.isNamed("content-length", bytes):
            guard head.length == nil, let length = FieldBytes.number(bytes, line.value) else { throw .wrong }
            head.length = length
            return AnswerHead.mayHaveBody(head.status)
        case 17 where line.isNamed("transfer-encoding", bytes):
            guard !head.isChunked, FieldBytes.isSame(bytes, line.value, "chunked") else { throw .wrong }
            head.isChunked = true
        case 10 where line.isNamed("connection", bytes): note(options: bytes, line.value, &head)
        case 10 where line.isNamed("keep-alive", bytes): head.keepAlive = Self.timeout(FieldBytes.text(bytes, line.value))
        default: break
        }
        guard rule != .dropped else { return false }
        return head.options.isEmpty || !head.options.contains(FieldBytes.text(bytes, line.start..<line.colon))
    }

    private func note(options bytes: Span<UInt8>, _ value: Range<Int>, _ head: inout Head) {
        if FieldBytes.isSame(bytes, value, "keep-alive") {
            head.saysKeepAlive = true
        } else if FieldBytes.isSame(bytes, value, "close") {
            head.saysClose = true
        } else {
            let text = FieldBytes.text(bytes, value)
            for option in text.split(separator: ",").map({ $0.trimming.lowercased() }) {
                if option == "close" { head.saysClose = true }
                if option == "keep-alive" { head.saysKeepAlive = true }
            }
            head.options.add(text)
        }
    }

    /// `timeout=5, max=1000`
    static func timeout(_ field: String) -> TimeAmount? {
        for parameter in field.split(separator: ",") {
            let pair = parameter.trimming.split(separator: "=", maxSplits: 1)
            if pair.count == 2, pair[0].lowercased() == "timeout", let seconds = Int64(pair[1]) { return .seconds(min(max(seconds - 1, 0), 3600)) }
        }
        return nil
    }

    // MARK: Chunks

    /// Extensions are of one hop. RFC 9112 §7.1.1.
    private mutating func readChunkSize() throws(APIFailure) -> Int? {
        var size = 0
        var index = 0
        do throws(FieldLine.Fault) {
            let bytes = pending.readableBytesUInt8Span
            while index < bytes.count, let digit = Self.hexValue(bytes[index]) {
                size = size << 4 | digit
                index += 1
            }
            guard index < bytes.count else { throw index > 15 ? .wrong : .unfinished }
            guard (1...15).contains(index) else { throw .wrong }
            if bytes[index] == UInt8(ascii: ";") { while index < bytes.count, FieldBytes.isValue(bytes[index]) { index += 1 } }
            guard index < Self.longestSize else { throw .wrong }
            index = try lineBreak(bytes, at: index)
        } catch {
            guard error == .unfinished else { throw Self.nonsense }
            return nil
        }
        pending.moveReaderIndex(forwardBy: index)
        return size
    }

    private static func hexValue(_ byte: UInt8) -> Int? {
        switch byte {
        case 0x30...0x39: Int(byte - 0x30)
        case 0x41...0x46: Int(byte - 0x37)
        case 0x61...0x66: Int(byte - 0x57)
        default: nil
        }
    }

    private mutating func readLineBreak() throws(APIFailure) -> Bool {
        do throws(FieldLine.Fault) {
            pending.moveReaderIndex(forwardBy: try lineBreak(pending.readableBytesUInt8Span, at: 0))
            return true
        } catch {
            guard error == .unfinished else { throw Self.nonsense }
            return false
        }
    }

    private mutating func readTrailers() throws(APIFailure) -> HTTPHeaders? {
        var trailers = HTTPHeaders()
        var index = 0
        do throws(FieldLine.Fault) {
            let bytes = pending.readableBytesUInt8Span
            while true {
                guard index < bytes.count else { throw .unfinished }
                if bytes[index] == UInt8(ascii: "\r") { break }
                let line = try FieldLine(bytes, at: index)
                guard trailers.count < Self.mostFields else { throw .wrong }
                trailers.add(name: FieldBytes.text(bytes, line.start..<line.colon), value: FieldBytes.text(bytes, line.value))
                index = line.end
            }
            index = try lineBreak(bytes, at: index)
        } catch {
            guard error == .unfinished, pending.readableBytes < Self.longestTrailers else { throw Self.nonsense }
            return nil
        }
        pending.moveReaderIndex(forwardBy: index)
        return trailers
    }
}

import Broker
import NIOCore

/// The field lines of a ``ShortRequest``, read once: the next request of a connection mostly comes with the same ones.
struct ShortFields {
    private static let mostLines = 100
    /// More are the long way's.
    private static let mostBytes = 16 << 10
    /// Memory that is used again for other fields.
    private static let mostKept = 2 << 10

    /// What steers the gateway, and how often it is there.
    fileprivate struct Steering {
        var hosts = 0
        var lengths = 0
        var subjects = 0
        var authorizations = 0
        var length: String?
        var bodyLength = 0
        var subject = ""
        var authorization = 0..<0

        var isWhole: Bool { hosts == 1 && lengths <= 1 && subjects <= 1 && authorizations == 1 }
    }

    /// The fields that go on, but for those that the connection sets itself.
    private(set) var lines = FieldLines()
    private var steering = Steering()
    /// What was read, with the empty line; nothing = the last ones were not simple.
    private var bytes = ByteBuffer()
    private(set) var connectionID = ""
    /// Of ``connectionID``; `nil` = it is not in memory.
    private(set) var destination: Destination?
    /// Whether they are the same as those before, and so is the connection's id.
    private(set) var isRepeat = false

    /// `Content-Length`, as it was sent.
    var length: String? { steering.length }
    var bodyLength: Int { steering.bodyLength }
    var subject: String { steering.subject }

    /// - Parameter find: given the value of `Authorization`.
    func caller(_ find: (Span<UInt8>) -> Caller?) -> Caller? { find(bytes.readableBytesUInt8Span.extracting(steering.authorization)) }

    /// - Parameters:
    ///   - span: begins with the first line.
    ///   - id: of the connection that is asked.
    ///   - mayRepeat: whether the destination of the request before is what would be found now.
    ///   - find: the destination of an id; `nil` = it is not in memory.
    /// - Returns: where the body begins; `nil` = they are not simple.
    mutating func read(_ span: Span<UInt8>, for id: Span<UInt8>, mayRepeat: Bool, find: (String) -> Destination?) -> Int? {
        isRepeat = mayRepeat && bytes.readableBytes > 0 && FieldBytes.isSame(id, connectionID) && begins(span)
        if isRepeat { return bytes.readableBytes }
        lines.clear()
        if bytes.capacity > Self.mostKept { bytes = ByteBuffer() } else { bytes.clear() }
        steering = Steering()
        connectionID = FieldBytes.text(id)
        destination = find(connectionID)
        guard let end = readLines(span, own: destination?.ownNames ?? []), steering.isWhole, end <= Self.mostBytes else { return nil }
        span.extracting(..<end).withUnsafeBytes { _ = bytes.writeBytes($0) }
        lines.seal(bytes)
        return end
    }

    /// Whether the same stands there. It takes a time that tells nothing of where they differ: a proxy's connection may be shared by
    /// many, and one of these fields is a secret.
    private func begins(_ span: Span<UInt8>) -> Bool {
        guard span.count >= bytes.readableBytes else { return false }
        return bytes.withUnsafeReadableBytes { ours in
            span.withUnsafeBytes { theirs in
                var (difference, index): (UInt64, Int) = (0, 0)
                while index &+ 8 <= ours.count {
                    difference |= ours.loadUnaligned(fromByteOffset: index, as: UInt64.self) ^ theirs.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                    index &+= 8
                }
                while index < ours.count {
                    difference |= UInt64(ours[index] ^ theirs[index])
                    index &+= 1
                }
                return difference == 0
            }
        }
    }

    private mutating func readLines(_ bytes: Span<UInt8>, own: [FieldName]) -> Int? {
        var index = 0
        fields: for _ in 0..<Self.mostLines {
            guard index < bytes.count else { return nil }
            if bytes[index] == UInt8(ascii: "\r") { return try? lineBreak(bytes, at: index) }
            // The codec leaves blanks behind a value where they are.
            guard let line = try? FieldLine(bytes, at: index), line.value.upperBound + 2 == line.end, Self.isASCII(bytes, line.value) else { return nil }
            index = line.end
            switch FieldRules.request(line.name) {
            case .fetchMetadata: return nil
            case .connection, .credential: if !steering.note(line, bytes) { return nil }
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

    private static func isASCII(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        for index in range where bytes[index] >= 0x80 { return false }
        return true
    }
}

extension ShortFields.Steering {
    /// Of what belongs to the connection between us, and of what names the caller.
    /// - Returns: false when the long way has to look at it.
    fileprivate mutating func note(_ line: FieldLine, _ bytes: Span<UInt8>) -> Bool {
        switch line.name.count {
        case 4 where line.isNamed("host", bytes):
            hosts += 1
            return !line.value.isEmpty && !contains(UInt8(ascii: ","), bytes, line.value)
        case 6 where line.isNamed("expect", bytes), 7 where line.isNamed("upgrade", bytes): return false
        case 10 where line.isNamed("connection", bytes): return FieldBytes.isSame(bytes, line.value, "keep-alive")
        case 13 where line.isNamed("authorization", bytes):
            authorizations += 1
            authorization = line.value
        case 14 where line.isNamed("content-length", bytes):
            guard let length = FieldBytes.number(bytes, line.value) else { return false }
            lengths += 1
            bodyLength = length
            self.length = FieldBytes.text(bytes, line.value)
        case 15 where line.isNamed("grantee-subject", bytes):
            subjects += 1
            subject = FieldBytes.text(bytes, line.value)
            return !line.value.isEmpty
        case 17 where line.isNamed("transfer-encoding", bytes): return false
        default: break
        }
        return true
    }

    private func contains(_ byte: UInt8, _ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        for index in range where bytes[index] == byte { return true }
        return false
    }
}

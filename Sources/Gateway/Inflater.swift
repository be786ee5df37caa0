import CZlib
package import NIOCore

/// Undoes `gzip`, `x-gzip` or `deflate` while it comes in: ``feed(_:)`` a chunk, then ask for what is in it until there is no more.
/// What a chunk unfolds to is made only when asked for, so no more than one part of it is in memory.
package final class Inflater {
    /// Larger parts gain nothing.
    private static let partSize = 64 * 1024
    /// Below this, no ratio is looked at: a small text of blanks is no bomb.
    private static let free = 1024 * 1024
    private static let ratio = 10

    /// Not moved while it is in use: zlib remembers where it is.
    private let stream: UnsafeMutablePointer<z_stream>
    private let isGzip: Bool
    private var state = State.beginning
    private var input = ByteBuffer()
    private var bytesIn = 0
    private var bytesOut = 0

    private enum State {
        case beginning
        case within
        /// After the end of a member, where another may begin. RFC 1952 §2.2.
        case between
        case ended
    }

    /// - Parameter encoding: a content coding. RFC 9110 §8.4.1.
    /// - Returns: `nil` when it is not one of these.
    package init?(encoding: String) {
        switch encoding.lowercased() {
        case "gzip", "x-gzip": isGzip = true
        case "deflate": isGzip = false
        default: return nil
        }
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        let format = isGzip ? Format.gzip : .zlib
        guard inflateInit2_(stream, format.rawValue, zlibVersion(), Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
            stream.deallocate()
            return nil
        }
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    /// The next bytes that came in.
    package func feed(_ chunk: ByteBuffer) {
        bytesIn += chunk.readableBytes
        if input.readableBytes == 0 { input = chunk } else { input.writeImmutableBuffer(chunk) }
    }

    /// The next part of what was fed so far, 64 KiB at most.
    ///
    /// - Returns: `nil` when more has to be fed.
    /// - Throws: `tooLarge` before anything above the bound is given out. SEC-74.
    package func next() throws(InflateError) -> ByteBuffer? {
        while try isReady() {
            var part = ByteBuffer()
            let wasLeft = input.readableBytes
            let status = unfold(into: &part)
            guard [Z_OK, Z_STREAM_END, Z_BUF_ERROR].contains(status) else { throw .corrupt }
            if status == Z_STREAM_END { state = isGzip ? .between : .ended }
            bytesOut += part.readableBytes
            guard bytesOut <= max(Self.free, Self.ratio * bytesIn) else { throw .tooLarge }
            if part.readableBytes > 0 { return part }
            guard status == Z_STREAM_END || input.readableBytes < wasLeft else { return nil }
        }
        return nil
    }

    /// Says that nothing more comes in. An answer without a body has a coding, too, and is whole.
    package func finish() throws(InflateError) {
        guard state == .ended || state == .between || bytesIn == 0 else { throw .truncated }
    }

    /// Whether there is something to undo.
    private func isReady() throws(InflateError) -> Bool {
        switch state {
        case .within: return true
        case .beginning:
            guard let format = formatOfInput() else { return false }
            state = .within
            return try reset(to: format)
        case .between:
            guard let byte = input.readableBytesView.first else { return false }
            // What is no other member is padding.
            state = byte == 0x1f ? .within : .ended
            return try state == .within ? reset(to: .gzip) : isReady()
        case .ended:
            input.clear()
            return false
        }
    }

    private enum Format: Int32 {
        // zlib.h: the window's bits; with 16, gzip's header and trailer; negative, neither.
        case gzip = 31
        case zlib = 15
        case raw = -15
    }

    /// `deflate` is zlib's format, but some senders leave its header and trailer out. RFC 9110 §8.4.1.2.
    private func formatOfInput() -> Format? {
        if isGzip { return input.readableBytes > 0 ? .gzip : nil }
        guard let header = input.getInteger(at: input.readerIndex, as: UInt16.self) else { return nil }
        return header % 31 == 0 && header >> 8 & 15 == 8 ? .zlib : .raw  // RFC 1950 §2.2
    }

    private func reset(to format: Format) throws(InflateError) -> Bool {
        guard inflateReset2(stream, format.rawValue) == Z_OK else { throw .corrupt }
        return true
    }

    private func unfold(into part: inout ByteBuffer) -> Int32 {
        let capacity = min(Self.partSize, max(1024, 4 * input.readableBytes))
        var status = Z_OK
        part.writeWithUnsafeMutableBytes(minimumWritableBytes: capacity) { output in
            let space = min(output.count, Self.partSize)
            let left = input.withUnsafeReadableBytes { bytes in
                stream.pointee.next_in = UnsafeMutablePointer(mutating: bytes.bindMemory(to: Bytef.self).baseAddress)
                stream.pointee.avail_in = uInt(clamping: bytes.count)
                stream.pointee.next_out = output.bindMemory(to: Bytef.self).baseAddress
                stream.pointee.avail_out = uInt(space)
                status = CZlib.inflate(stream, Z_NO_FLUSH)
                return Int(stream.pointee.avail_in)
            }
            input.moveReaderIndex(forwardBy: input.readableBytes - left)
            return space - Int(stream.pointee.avail_out)
        }
        return status
    }
}

package enum InflateError: Error, CustomStringConvertible {
    case corrupt
    case truncated
    /// More than 1 MiB, and than ten times what came in.
    case tooLarge

    package var description: String {
        switch self {
        case .corrupt: "The answer's body is not what its Content-Encoding says."
        case .truncated: "The answer's body ended before its compressed data did."
        case .tooLarge: "The answer's body unfolds to more than ten times its size."
        }
    }
}

import Broker
import NIOCore
import NIOHTTP1

/// The field lines of a head that go on, as they stand on the wire: nothing is made of them that their reader does not need.
struct FieldLines {
    /// A row of lines that are written as they stand; or one that is written anew, when it has a colon.
    private struct Run {
        let start: Int
        var end: Int
        var colon = 0
        var value = 0..<0
    }
    /// What the lines are part of.
    private var bytes: ByteBuffer?
    /// Behind the first `count` of them stand those of messages before: their memory is used again.
    private var runs: [Run] = []
    private var count = 0

    /// Forgets the lines.
    mutating func begin() { count = 0 }

    /// Forgets the lines and lets go of the memory that they were read into.
    mutating func clear() {
        bytes = nil
        begin()
    }

    /// - Parameter line: of the bytes that are `seal`ed.
    mutating func add(_ line: FieldLine, _ span: Span<UInt8>) {
        if !line.isPlain(span) {
            append(Run(start: line.start, end: line.end, colon: line.colon, value: line.value))
        } else if count > 0, runs[count - 1].colon == 0, runs[count - 1].end == line.start {
            runs[count - 1].end = line.end
        } else {
            append(Run(start: line.start, end: line.end))
        }
    }

    private mutating func append(_ run: Run) {
        if count < runs.count { runs[count] = run } else { runs.append(run) }
        count += 1
    }

    /// - Parameter bytes: whose readable bytes the lines are part of.
    mutating func seal(_ bytes: ByteBuffer) { self.bytes = bytes.slice() }

    func write(into buffer: inout ByteBuffer) {
        bytes?.withUnsafeReadableBytes { bytes in
            for index in 0..<count {
                let run = runs[index]
                if run.colon == 0 {
                    buffer.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[run.start..<run.end]))
                } else {
                    buffer.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[run.start..<run.colon]))
                    buffer.writeStaticString(": ")
                    buffer.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[run.value]))
                    buffer.writeStaticString("\r\n")
                }
            }
        }
    }

    func headers(reserving more: Int = 0) -> HTTPHeaders {
        guard let bytes else { return HTTPHeaders() }
        var fields: [(String, String)] = []
        fields.reserveCapacity(count + more)
        let span = bytes.readableBytesUInt8Span
        for run in runs[..<count] {
            if run.colon != 0 {
                fields.append((FieldBytes.text(span, run.start..<run.colon), FieldBytes.text(span, run.value)))
                continue
            }
            var start = run.start
            // They were read once.
            while start < run.end, let line = try? FieldLine(span, at: start) {
                fields.append((FieldBytes.text(span, line.start..<line.colon), FieldBytes.text(span, line.value)))
                start = line.end
            }
        }
        return HTTPHeaders(fields)
    }
}

extension ByteBuffer {
    mutating func write(line name: String, _ value: String) {
        writeString(name)
        writeStaticString(": ")
        writeString(value)
        writeStaticString("\r\n")
    }

    mutating func write(lines headers: HTTPHeaders) {
        for (name, value) in headers { write(line: name, value) }
    }

    /// In lower-case hex, with a line break: what stands before a chunk. RFC 9112 §7.1.
    mutating func write(chunkSize size: Int) {
        var shift = (max(1, Int.bitWidth - size.leadingZeroBitCount) + 3) / 4 * 4
        while shift > 0 {
            shift -= 4
            let digit = UInt8(truncatingIfNeeded: size >> shift & 0xF)
            writeInteger(digit < 10 ? 0x30 + digit : 0x57 + digit)
        }
        writeStaticString("\r\n")
    }
}

import Foundation
package import NIOCore

/// Bytes without end that repeat with a period that no buffer's size has: what is lost, doubled or moved on the way shows.
package enum PatternBytes {
    private static let period = 65_521

    /// Two periods, so that every piece of one period's length lies in it in one piece.
    private static let twice: [UInt8] = {
        var state: UInt32 = 2_463_534_242
        let once = [UInt8](unsafeUninitializedCapacity: period) { buffer, count in
            for index in 0..<period {
                state ^= state << 13
                state ^= state >> 17
                state ^= state << 5
                buffer[index] = UInt8(truncatingIfNeeded: state)
            }
            count = period
        }
        return once + once
    }()

    /// - Parameter count: at most 65,521.
    package static func piece(at offset: Int, count: Int) -> [UInt8] {
        let start = offset % period
        return Array(twice[start..<start + count])
    }

    package static func bytes(_ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count < count { bytes += piece(at: bytes.count, count: min(period, count - bytes.count)) }
        return bytes
    }

    /// Whether `bytes` are those that begin at `offset`.
    package static func match(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> Bool {
        twice.withUnsafeBytes { twice in
            var done = 0
            while done < bytes.count, let own = twice.baseAddress, let other = bytes.baseAddress {
                let count = min(period, bytes.count - done)
                guard memcmp(own + (offset + done) % period, other + done, count) == 0 else { return false }
                done += count
            }
            return true
        }
    }

    // MARK: Files

    package static func write(_ count: Int, to path: String) throws {
        guard FileManager.default.createFile(atPath: path, contents: nil) else { throw CocoaError(.fileWriteUnknown) }
        let file = try FileHandle(forWritingTo: URL(filePath: path))
        defer { try? file.close() }
        var done = 0
        while done < count {
            let bytes = piece(at: done, count: min(period, count - done))
            try file.write(contentsOf: bytes)
            done += bytes.count
        }
    }

    /// Whether the file holds the first `count` bytes and nothing else.
    package static func isFile(_ path: String, first count: Int) throws -> Bool {
        let file = try FileHandle(forReadingFrom: URL(filePath: path))
        defer { try? file.close() }
        var done = 0
        while let data = try file.read(upToCount: 1 << 20), !data.isEmpty {
            guard data.withUnsafeBytes({ match($0, at: done) }) else { return false }
            done += data.count
        }
        return done == count
    }

    /// Follows bytes as they come.
    package struct Check: Sendable {
        package private(set) var count = 0
        package private(set) var isRight = true

        package init() {}

        package mutating func next(_ buffer: ByteBuffer) {
            let offset = count
            if isRight { isRight = buffer.withUnsafeReadableBytes { match($0, at: offset) } }
            count += buffer.readableBytes
        }
    }
}

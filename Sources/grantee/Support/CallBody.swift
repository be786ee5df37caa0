import AsyncHTTPClient
import Dispatch
import Foundation
import NIOCore
import OAuth

/// What `-d` names, as it will be sent. A file is read while it is sent, so its size does not matter.
struct CallBody {
    let body: HTTPClientRequest.Body
    let type: String

    /// - Throws: ``Failure`` when the file cannot be read.
    init(_ argument: String) throws {
        guard argument.hasPrefix("@") else {
            body = .bytes(Array(argument.utf8))
            type = (try? JSONValue(parsing: argument.utf8)) == nil ? "application/x-www-form-urlencoded" : "application/json"
            return
        }
        let path = String(argument.dropFirst())
        let file = path == "-" ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw Failure("\(path) cannot be read: \(String(cString: strerror(errno)))") }
        let length = Self.rest(of: file)
        let chunks: FileChunks
        do {
            chunks = try FileChunks(file)
        } catch {
            throw Failure("\(path == "-" ? "standard input" : path) cannot be read: \(error.words)")
        }
        body = .stream(chunks, length: length.map { .known($0) } ?? .unknown)
        let first = chunks.first.readableBytesView.first { ![0x09, 0x0A, 0x0D, 0x20].contains($0) }
        type = first == UInt8(ascii: "{") || first == UInt8(ascii: "[") ? "application/json" : "application/octet-stream"
    }

    /// How many bytes a regular file has from where it stands; `nil` for pipes and terminals.
    private static func rest(of file: Int32) -> Int64? {
        var status = stat()
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        let offset = lseek(file, 0, SEEK_CUR)
        return offset < 0 ? nil : max(0, Int64(status.st_size) - Int64(offset))
    }
}

/// The bytes of an open file to its end, read beside the tasks' threads: standard input may be long in coming.
struct FileChunks: AsyncSequence, Sendable {
    struct ReadError: Error {
        let code: Int32
        var words: String { String(cString: strerror(code)) }
    }

    let first: ByteBuffer
    private let file: Int32
    private static let queue = DispatchQueue(label: "grantee.upload")

    /// Reads the first chunk at once.
    init(_ file: Int32) throws(ReadError) {
        self.file = file
        first = try Self.chunk(of: file)
    }

    func makeAsyncIterator() -> Iterator { Iterator(first: first, file: file) }

    struct Iterator: AsyncIteratorProtocol {
        fileprivate var first: ByteBuffer?
        fileprivate let file: Int32

        mutating func next() async throws -> ByteBuffer? {
            if let chunk = first.take() { return chunk.readableBytes == 0 ? nil : chunk }
            let file = file
            let chunk = try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<ByteBuffer, any Error>) in
                FileChunks.queue.async { continuation.resume(with: Result { try FileChunks.chunk(of: file) }) }
            }
            return chunk.readableBytes == 0 ? nil : chunk
        }
    }

    /// Empty at the end.
    private static func chunk(of file: Int32) throws(ReadError) -> ByteBuffer {
        var buffer = ByteBuffer()
        var code: Int32 = 0
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: 65_536) { space in
            while true {
                let count = read(file, space.baseAddress, space.count)
                if count >= 0 { return count }
                if errno == EINTR { continue }
                code = errno
                return 0
            }
        }
        guard code == 0 else { throw ReadError(code: code) }
        return buffer
    }
}

import CZlib
import NIOCore
import Testing

@testable import Gateway

@Suite struct InflaterTests {
    enum Format: Int32, CaseIterable, Sendable {
        case gzip = 31
        case zlib = 15
        case raw = -15

        var encoding: String { self == .gzip ? "gzip" : "deflate" }
    }

    static let text = Array((0..<500).map { "line \($0 * $0) of a text\n" }.joined().utf8)

    @Test("Each format is undone, however it is cut", arguments: Format.allCases, [1, 2, 7, 1000, 1_000_000])
    func chunks(_ format: Format, size: Int) throws {
        let inflater = try #require(Inflater(encoding: format.encoding))
        let packed = try deflated(Self.text, format)
        var unpacked: [UInt8] = []
        for place in stride(from: 0, to: packed.count, by: size) {
            inflater.feed(ByteBuffer(bytes: packed[place..<min(place + size, packed.count)]))
            while let part = try inflater.next() { unpacked += part.readableBytesView }
        }
        try inflater.finish()
        #expect(unpacked == Self.text)
    }

    @Test(
        "The name of a coding is read in any case; another coding is none",
        arguments: [("GZIP", true), ("X-Gzip", true), ("Deflate", true), ("br", false), ("identity", false), ("gzip, gzip", false), ("", false)])
    func names(_ name: String, _ isKnown: Bool) {
        #expect((Inflater(encoding: name) != nil) == isKnown)
    }

    @Test("What was flushed is there at once, before the end comes")
    func flushed() throws {
        let inflater = try #require(Inflater(encoding: "gzip"))
        inflater.feed(ByteBuffer(bytes: try deflated(Array("data: 1\n\n".utf8), .gzip, flush: Z_SYNC_FLUSH)))
        #expect(try inflater.next() == ByteBuffer(string: "data: 1\n\n"))
        #expect(try inflater.next() == nil)
        #expect(throws: InflateError.truncated) { try inflater.finish() }
    }

    @Test("Members follow each other, and padding after them is left out")
    func members() throws {
        let inflater = try #require(Inflater(encoding: "gzip"))
        let members = try deflated(Array("one ".utf8), .gzip) + deflated([], .gzip) + deflated(Array("two".utf8), .gzip)
        inflater.feed(ByteBuffer(bytes: members + [0, 0, 0]))
        #expect(try inflater.next() == ByteBuffer(string: "one "))
        #expect(try inflater.next() == ByteBuffer(string: "two"))
        #expect(try inflater.next() == nil)
        try inflater.finish()
    }

    @Test("What ends early is truncated, and nothing at all is an empty body", arguments: Format.allCases)
    func truncated(_ format: Format) throws {
        let packed = try deflated(Self.text, format)
        for length in [1, 2, 5, packed.count / 2, packed.count - 1] {
            let inflater = try #require(Inflater(encoding: format.encoding))
            inflater.feed(ByteBuffer(bytes: packed.prefix(length)))
            while try inflater.next() != nil {}
            #expect(throws: InflateError.truncated) { try inflater.finish() }
        }
        let empty = try #require(Inflater(encoding: format.encoding))
        #expect(try empty.next() == nil)
        try empty.finish()
    }

    @Test("What is not of the format is corrupt")
    func corrupt() throws {
        var broken = try deflated(Self.text, .gzip)
        broken[broken.count - 6] ^= 1  // in the checksum. RFC 1952 §2.3.1
        for (encoding, bytes) in [("gzip", Array("<html>".utf8)), ("deflate", [0x78, 0x9c, 0xff, 0xff, 0xff, 0xff]), ("gzip", broken)] {
            let inflater = try #require(Inflater(encoding: encoding))
            inflater.feed(ByteBuffer(bytes: bytes))
            #expect(throws: InflateError.corrupt) { while try inflater.next() != nil {} }
        }
    }

    // SEC-74
    @Test("A bomb is stopped at ten times what came in, in parts of 64 KiB", arguments: Format.allCases)
    func bomb(_ format: Format) throws {
        let packed = try deflated([UInt8](repeating: 0, count: 64 << 20), format)
        #expect(packed.count < 70_000)
        let inflater = try #require(Inflater(encoding: format.encoding))
        inflater.feed(ByteBuffer(bytes: packed))
        var given = 0
        #expect(throws: InflateError.tooLarge) {
            while let part = try inflater.next() {
                #expect(part.readableBytes <= 65_536)
                #expect(part.capacity <= 131_072)
                given += part.readableBytes
            }
        }
        #expect(given <= 1 << 20)
        #expect(given > (1 << 20) - 65_536)
    }

    // SEC-74
    @Test("A bomb of many members is stopped too, and a small text that packs well is not")
    func bounds() throws {
        let member = try deflated([UInt8](repeating: 0, count: 512 << 10), .gzip)
        let inflater = try #require(Inflater(encoding: "gzip"))
        inflater.feed(ByteBuffer(bytes: Array(repeatElement(member, count: 3).joined())))
        #expect(throws: InflateError.tooLarge) { while try inflater.next() != nil {} }

        let small = try #require(Inflater(encoding: "gzip"))
        small.feed(ByteBuffer(bytes: member))
        var given = 0
        while let part = try small.next() { given += part.readableBytes }
        #expect(given == 512 << 10)
        try small.finish()
    }

    private func deflated(_ bytes: [UInt8], _ format: Format, flush: Int32 = Z_FINISH) throws -> [UInt8] {
        var bytes = bytes
        var output = [UInt8](repeating: 0, count: bytes.count / 100 + bytes.count % 100_000 + 1000)
        let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        stream.initialize(to: z_stream())
        defer {
            deflateEnd(stream)
            stream.deallocate()
        }
        try #require(deflateInit2_(stream, 9, Z_DEFLATED, format.rawValue, 8, Z_DEFAULT_STRATEGY, zlibVersion(), Int32(MemoryLayout<z_stream>.size)) == Z_OK)
        return bytes.withUnsafeMutableBufferPointer { input in
            output.withUnsafeMutableBufferPointer { space in
                stream.pointee.next_in = input.baseAddress
                stream.pointee.avail_in = uInt(input.count)
                stream.pointee.next_out = space.baseAddress
                stream.pointee.avail_out = uInt(space.count)
                _ = deflate(stream, flush)
                return Array(space.prefix(Int(stream.pointee.total_out)))
            }
        }
    }
}

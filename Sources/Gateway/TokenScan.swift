package import NIOCore

/// Finds what was injected in what comes back, also in other clothes, and masks it: each byte becomes `*`, so that lengths,
/// framing and JSON stay right. Keeps a window across chunks, and only what may be the beginning of a match. SEC-87, SEC-127.
///
/// It knows the secret as it is, in hex, and inside Base64 and Base64url of anything that has it in it; of each of these, every
/// letter may be percent-encoded, or escaped as in JSON or HTML, also twice. The time it takes grows with the text alone, whatever
/// the text and the secret are.
///
/// What is looked for is made ready once: a copy of a scan that has seen nothing is the cheap way to the next.
package struct TokenScan: Sendable {
    /// How often something was masked.
    package var found: Int { foundInTexts + (pass?.marks.found ?? 0) }

    /// A shorter one would be found where it is only a word. What is that short protects nothing.
    private static let shortest = 8

    private let wardrobe: Wardrobe?
    private var pass: Pass?
    private var foundInTexts = 0
    /// What was kept back, unmasked.
    private var window = ByteBuffer()

    /// - Parameter secrets: each value that was put into the request. Those under 8 bytes are left out.
    package init(secrets: [String]) {
        var needles: [[UInt8]] = []
        for secret in secrets.map({ Array($0.utf8) }).sorted(by: { $0.count < $1.count }) where secret.count >= Self.shortest {
            // `Bearer abc` is found by `abc`, and what is before that is no secret.
            if !needles.contains(where: { secret.suffix($0.count).elementsEqual($0) }) { needles.append(secret) }
        }
        wardrobe = Wardrobe(needles)
        pass = wardrobe.map(Pass.init)
    }

    /// The next chunk, masked; what may be the beginning of a match is kept back.
    package mutating func next(_ chunk: ByteBuffer) -> ByteBuffer {
        guard pass != nil, chunk.readableBytes > 0 else { return chunk }
        guard window.readableBytes > 0 else {
            let judged = look(through: chunk, from: 0, isWhole: false)
            if judged == chunk.readableBytes { return release(chunk) }
            window.clear()
            window.writeBytes(chunk.readableBytesView.dropFirst(judged))
            return release(chunk.getSlice(at: chunk.readerIndex, length: judged) ?? chunk)
        }
        let first = window.readableBytes
        window.writeImmutableBuffer(chunk)
        let judged = look(through: window, from: first, isWhole: false)
        return release(takeFromWindow(judged))
    }

    /// What was kept back.
    package mutating func finish() -> ByteBuffer {
        guard window.readableBytes > 0 else { return ByteBuffer() }
        let judged = look(through: window, from: window.readableBytes, isWhole: true)
        return release(takeFromWindow(judged))
    }

    /// A whole text, such as a header field's value.
    package mutating func masked(_ text: String) -> String {
        guard let wardrobe else { return text }
        var text = text
        var pass = Pass(wardrobe)
        text.withUTF8 { _ = pass.look(through: UnsafeRawBufferPointer($0), from: 0, isWhole: true) }
        guard pass.marks.found > 0 else { return text }
        foundInTexts += pass.marks.found
        var bytes = Array(text.utf8)
        bytes.withUnsafeMutableBytes { pass.marks.mask($0) }
        return String(decoding: bytes, as: UTF8.self)
    }

    private mutating func look(through buffer: ByteBuffer, from first: Int, isWhole: Bool) -> Int {
        buffer.withUnsafeReadableBytes { pass?.look(through: $0, from: first, isWhole: isWhole) ?? $0.count }
    }

    /// A copy, so that the window goes on being the only owner of its bytes.
    private mutating func takeFromWindow(_ length: Int) -> ByteBuffer {
        var taken = ByteBuffer()
        if let judged = window.readSlice(length: length) { taken.writeImmutableBuffer(judged) }
        if window.readableBytes == 0 {
            window.clear()
        } else if window.readerIndex > window.readableBytes {
            window.discardReadBytes()
        }
        return taken
    }

    /// Masks what leaves, and forgets it.
    private mutating func release(_ buffer: ByteBuffer) -> ByteBuffer {
        var buffer = buffer
        if let marks = pass?.marks, !marks.ranges.isEmpty { buffer.withUnsafeMutableReadableBytes { marks.mask($0) } }
        pass?.drop(buffer.readableBytes)
        return buffer
    }
}

extension TokenScan: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String { "TokenScan(redacted)" }
    package var debugDescription: String { description }
    package var customMirror: Mirror { Mirror(self, children: [:]) }  // `dump` reads the mirror, not `description`
}

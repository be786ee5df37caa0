/// What is looked for, made ready for a fast look: every clothing, and the groups of four letters near their beginnings.
///
/// A text is probed at every ``stride``th byte only: any match that begins with ``reach`` bytes without an escape has a probe in them.
final class Wardrobe: Sendable {
    let clothings: [Clothing]
    /// The sets of escapes that the clothings undo.
    let escapes: [Escapes]
    let stride: Int
    /// By byte: whether a match may begin with it.
    let isFirst: [Bool]
    /// By byte: whether a clothing may hold it.
    private let isLetter: [Bool]
    /// By the byte after a `%`, `\` or `&`: whether that may be the escape of a letter.
    private let isEscape: [Bool]
    private let groups: Groups

    static let group = 4
    var reach: Int { stride + Self.group - 1 }

    /// - Returns: `nil` when there is nothing to look for.
    init?(_ secrets: [[UInt8]]) {
        clothings = secrets.flatMap(Clothing.all)
        guard let shortest = clothings.map(\.count).min() else { return nil }
        escapes = Array(Set(clothings.map(\.escapes)))
        stride = min(16, shortest - Self.group + 1)  // a longer one gains nothing that could be measured

        var isLetter = [Bool](repeating: false, count: 256)
        for byte in Clothing.characters { isLetter[Int(byte)] = true }
        for secret in secrets { for byte in secret { isLetter[Int(byte)] = true } }
        self.isLetter = isLetter
        isEscape = Escapes.beginnings(where: { isLetter[Int($0)] })

        var isFirst = [Bool](repeating: false, count: 256)
        for byte in [UInt8.percent, .backslash, .ampersand] { isFirst[Int(byte)] = true }
        for clothing in clothings {
            let letter = clothing.letter(0)
            isFirst[Int(letter)] = true
            isFirst[Int(clothing.other(letter))] = true
        }
        self.isFirst = isFirst
        groups = Groups(of: clothings, stride: stride)
    }

    /// Calls `body` with each place where a clothing has that group.
    @inline(__always)
    func places(of letters: UInt32, _ body: (Groups.Place) -> Void) { groups.places(of: letters, body) }

    /// Calls `body` with each probe in a range whose group some clothing has, perhaps.
    /// - Returns: the first probe beyond the range.
    @inline(__always)
    func probes(of text: UnsafeRawBufferPointer, in range: Range<Int>, _ body: (Int, UInt32) -> Void) -> Int {
        groups.probes(of: text, in: range, stride: stride, body)
    }

    /// Whether an escape may say a letter: a fast look that most fail.
    @inline(__always)
    func mayMatter(_ text: UnsafeRawBufferPointer, at escape: Int) -> Bool {
        guard escape + 1 < text.count, isEscape[Int(text[escape + 1])] else { return false }
        guard text[escape] == .percent else { return true }
        guard let byte = Escapes.percentEncoded(text, at: escape) else { return false }
        return byte == .percent || isLetter[Int(byte)]
    }

    func isLetter(_ byte: UInt8) -> Bool { isLetter[Int(byte)] }
}

/// Groups of four letters, packed as a little-endian number, and where they are in clothings.
struct Groups: Sendable {
    struct Place: Sendable {
        let letters: UInt32
        let clothing: Int
        let offset: Int
        /// The next with the same hash, or -1.
        let next: Int32
    }

    private let list: [Place]
    /// By the hash of a group: the first in the list, or -1.
    private let heads: [Int32]
    /// By a longer hash, a bit: what is not there is nowhere. So sparse that a probe of other text seldom goes on to the list.
    private let bits: [UInt64]
    private let shift: UInt32

    init(of clothings: [Clothing], stride: Int) {
        shift = UInt32((128 * clothings.count * stride).leadingZeroBitCount - (Int.bitWidth - UInt32.bitWidth))
        let width = UInt32.bitWidth - Int(shift)
        var list: [Place] = []
        var heads = [Int32](repeating: -1, count: 1 << (width - 4))
        var bits = [UInt64](repeating: 0, count: max(1, 1 << (width - 6)))
        for (index, clothing) in clothings.enumerated() {
            let letters = (0..<stride + Wardrobe.group - 1).map(clothing.letter)
            let others = letters.map(clothing.other)
            for offset in 0..<stride {
                let group = Self.pack(letters[offset], letters[offset + 1], letters[offset + 2], letters[offset + 3])
                let other = Self.pack(others[offset], others[offset + 1], others[offset + 2], others[offset + 3])
                for packed in group == other ? [group] : [group, other] {
                    let hash = Self.hash(packed, shift)
                    list.append(Place(letters: packed, clothing: index, offset: offset, next: heads[hash >> 4]))
                    heads[hash >> 4] = Int32(list.count - 1)
                    bits[hash >> 6] |= 1 << UInt64(hash & 63)
                }
            }
        }
        self.list = list
        self.heads = heads
        self.bits = bits
    }

    @inline(__always)
    func places(of letters: UInt32, _ body: (Place) -> Void) {
        var next = heads[Self.hash(letters, shift) >> 4]
        while next >= 0 {
            let place = list[Int(next)]
            if place.letters == letters { body(place) }
            next = place.next
        }
    }

    @inline(__always)
    func probes(of text: UnsafeRawBufferPointer, in range: Range<Int>, stride: Int, _ body: (Int, UInt32) -> Void) -> Int {
        bits.withUnsafeBufferPointer { bits in
            var probe = range.lowerBound
            while probe < range.upperBound {
                let letters = UInt32(littleEndian: text.loadUnaligned(fromByteOffset: probe, as: UInt32.self))
                let hash = Self.hash(letters, shift)
                if bits[hash >> 6] >> UInt64(hash & 63) & 1 != 0 { body(probe, letters) }
                probe += stride
            }
            return probe
        }
    }

    @inline(__always)
    static func pack(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) -> UInt32 {
        UInt32(a) | UInt32(b) << 8 | UInt32(c) << 16 | UInt32(d) << 24
    }

    /// Multiplicative hashing, by 2^32 over the golden ratio.
    @inline(__always)
    private static func hash(_ letters: UInt32, _ shift: UInt32) -> Int { Int((letters &* 0x9E37_79B1) >> shift) }
}

#if canImport(Darwin)
    import Darwin
#elseif canImport(Musl)
    import Musl
#else
    import Glibc
#endif

/// One look through a text that comes in parts: where the matches are.
struct Pass: Sendable {
    private let wardrobe: Wardrobe
    /// Empty until a text gives a reason to follow one.
    private var matchers: [Matcher] = []
    /// Where matches are in what has not been dropped.
    private(set) var marks = Marks()

    init(_ wardrobe: Wardrobe) { self.wardrobe = wardrobe }

    /// Looks through what was added to a text.
    /// - Parameters:
    ///   - first: where that begins; what is before it was looked through, and not dropped.
    ///   - isWhole: nothing follows.
    /// - Returns: up to where the text is judged.
    mutating func look(through text: UnsafeRawBufferPointer, from first: Int, isWhole: Bool) -> Int {
        for index in matchers.indices where matchers[index].isOpen {
            matchers[index].run(over: text, from: 0, through: 0, isWhole: isWhole, marks: &marks)
        }
        let lastEscape = probe(text, from: first, isWhole)
        if !isWhole { lookAtTail(of: text, from: first, lastEscape: lastEscape) }
        return matchers.lazy.filter(\.isOpen).map(\.start).min() ?? text.count
    }

    /// The text lost so many bytes at its beginning.
    mutating func drop(_ bytes: Int) {
        guard bytes > 0 else { return }
        for index in matchers.indices { matchers[index].move(back: bytes) }
        marks.move(back: bytes)
    }

    /// Probes and escapes in the order of the text, so that a matcher that is past a place has judged it.
    /// - Returns: where the last escape is.
    private mutating func probe(_ text: UnsafeRawBufferPointer, from first: Int, _ isWhole: Bool) -> Int? {
        let wardrobe = wardrobe
        let end = text.count - Wardrobe.group + 1
        var upcoming = Upcoming(text, from: first)
        var probe = first
        var last: Int?
        while true {
            let escape = upcoming.place
            if probe < min(escape, end) {
                probe = wardrobe.probes(of: text, in: probe..<min(escape, end)) { place, letters in
                    follow(letters, at: place, seen: place, nil, text, isWhole)
                }
            }
            guard escape < text.count else { return last }
            last = escape
            if wardrobe.mayMatter(text, at: escape) { judge(text, at: escape, isWhole) }
            upcoming.pass(text)
        }
    }

    /// An escape may be the first of a match: then what it says, with the three bytes before it or the three letters after it, is a known group.
    private mutating func judge(_ text: UnsafeRawBufferPointer, at index: Int, _ isWhole: Bool) {
        let wardrobe = wardrobe
        for escapes in wardrobe.escapes {
            let letter = escapes.letter(of: text, at: index, isWhole: isWhole)
            guard letter.width > 1, wardrobe.isLetter(letter.byte) else { continue }
            if index >= 3 {
                let letters = Groups.pack(text[index - 3], text[index - 2], text[index - 1], letter.byte)
                follow(letters, at: index - 3, seen: index, escapes, text, isWhole)
            }
            let beginning = Beginning(text, at: index, escapes, isWhole)
            if beginning.count == Wardrobe.group { follow(beginning.letters, at: index, seen: index, escapes, text, isWhole) }
        }
    }

    /// Follows the clothings that have that group of letters.
    /// - Parameters:
    ///   - place: where the group begins.
    ///   - seen: the place that gave reason to look; no later one gives reason for a match that begins before what is followed now.
    private mutating func follow(
        _ letters: UInt32, at place: Int, seen: Int, _ escapes: Escapes?, _ text: UnsafeRawBufferPointer, _ isWhole: Bool
    ) {
        let wardrobe = wardrobe
        wardrobe.places(of: letters) { known in
            guard place >= known.offset, escapes == nil || wardrobe.clothings[known.clothing].escapes == escapes else { return }
            follow(known.clothing, from: max(0, seen - wardrobe.reach + 1), through: place - known.offset, text, isWhole)
        }
    }

    private mutating func follow(_ clothing: Int, from first: Int, through last: Int, _ text: UnsafeRawBufferPointer, _ isWhole: Bool) {
        if matchers.isEmpty { matchers = wardrobe.clothings.map(Matcher.init) }
        matchers[clothing].run(over: text, from: first, through: last, isWhole: isWhole, marks: &marks)
    }

    /// Near the end of a text a match may have begun that no probe can tell yet: every place is tried.
    private mutating func lookAtTail(of text: UnsafeRawBufferPointer, from first: Int, lastEscape: Int?) {
        let wardrobe = wardrobe
        let escaped = Wardrobe.group * Escapes.longest
        let length = if let lastEscape, lastEscape >= text.count - escaped { wardrobe.reach + escaped } else { wardrobe.reach }
        for place in max(first, text.count - length)..<text.count where wardrobe.isFirst[Int(text[place])] {
            for escapes in wardrobe.escapes {
                let beginning = Beginning(text, at: place, escapes, false)
                if beginning.count == Wardrobe.group {
                    wardrobe.places(of: beginning.letters) { known in
                        guard known.offset == 0, wardrobe.clothings[known.clothing].escapes == escapes else { return }
                        follow(known.clothing, from: place, through: place, text, false)
                    }
                } else {
                    for (index, clothing) in wardrobe.clothings.enumerated() where clothing.escapes == escapes && beginning.fits(clothing) {
                        follow(index, from: place, through: place, text, false)
                    }
                }
            }
        }
    }
}

/// The first letters from a place on: four, or as many as there are.
private struct Beginning {
    private(set) var letters: UInt32 = 0
    private(set) var count = 0

    init(_ text: UnsafeRawBufferPointer, at place: Int, _ escapes: Escapes, _ isWhole: Bool) {
        var next = place
        while count < Wardrobe.group, next < text.count {
            let letter = escapes.letter(of: text, at: next, isWhole: isWhole)
            guard letter.width > 0 else { return }
            letters |= UInt32(letter.byte) << (8 * UInt32(count))
            count += 1
            next += letter.width
        }
    }

    func fits(_ clothing: Clothing) -> Bool {
        (0..<count).allSatisfy { clothing.folded(UInt8(truncatingIfNeeded: letters >> (8 * UInt32($0)))) == clothing.letter($0) }
    }
}

/// Where matches are, in about the order of the text.
struct Marks: Sendable {
    private(set) var ranges: [Range<Int>] = []
    /// How many there were; those that overlap count once.
    private(set) var found = 0

    /// One that overlaps the last is made one with it, so that a secret that repeats itself is not masked over and over.
    mutating func add(_ range: Range<Int>) {
        if let last = ranges.last, last.overlaps(range) {
            ranges[ranges.count - 1] = min(last.lowerBound, range.lowerBound)..<max(last.upperBound, range.upperBound)
        } else {
            ranges.append(range)
            found += 1
        }
    }

    /// The text lost so many bytes at its beginning.
    mutating func move(back bytes: Int) {
        ranges = ranges.compactMap { $0.upperBound > bytes ? max(0, $0.lowerBound - bytes)..<$0.upperBound - bytes : nil }
    }

    func mask(_ text: UnsafeMutableRawBufferPointer) {
        for range in ranges { for index in range.clamped(to: 0..<text.count) { text[index] = UInt8(ascii: "*") } }
    }
}

/// The next place of each byte that an escape begins with; the end of the text where there is none.
private struct Upcoming {
    private var percent: Int
    private var backslash: Int
    private var ampersand: Int

    /// The first of them.
    var place: Int { min(percent, backslash, ampersand) }

    init(_ text: UnsafeRawBufferPointer, from first: Int) {
        percent = Self.next(.percent, in: text, from: first)
        backslash = Self.next(.backslash, in: text, from: first)
        ampersand = Self.next(.ampersand, in: text, from: first)
    }

    /// Goes on after ``place``.
    @inline(__always)
    mutating func pass(_ text: UnsafeRawBufferPointer) {
        let place = place
        if place == percent {
            percent = Self.next(.percent, in: text, from: place + 1)
        } else if place == backslash {
            backslash = Self.next(.backslash, in: text, from: place + 1)
        } else {
            ampersand = Self.next(.ampersand, in: text, from: place + 1)
        }
    }

    @inline(__always)
    private static func next(_ byte: UInt8, in text: UnsafeRawBufferPointer, from first: Int) -> Int {
        guard let base = text.baseAddress, first < text.count, let place = memchr(base + first, Int32(byte), text.count - first) else { return text.count }
        return UnsafeRawPointer(place) - base
    }
}

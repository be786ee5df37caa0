/// Follows one clothing through a text. Knuth, Morris and Pratt's algorithm, so that no text makes it go over anything twice;
/// what the letters need in memory is made when the first of them is met.
struct Matcher: Sendable {
    let clothing: Clothing
    /// Where what may become a match begins.
    private(set) var start = 0
    /// Up to where the text was judged.
    private(set) var position = 0
    /// Whether the text ended within what may become a match.
    private(set) var isOpen = false
    private var matched = 0
    private var letters: [UInt8] = []
    private var failure: [Int32] = []
    private var fold: [UInt8] = []

    init(_ clothing: Clothing) { self.clothing = clothing }

    /// Looks for matches that begin in a range, and goes on while one may be under way. Notes where they are.
    mutating func run(over text: UnsafeRawBufferPointer, from first: Int, through last: Int, isWhole: Bool, marks: inout Marks) {
        if !isOpen {
            position = max(position, first)
            guard position <= last else { return }
            matched = 0
            start = position
        }
        prepare()
        isOpen = false
        while position < text.count {
            let letter = clothing.escapes.letter(of: text, at: position, isWhole: isWhole)
            guard letter.width > 0 else {
                isOpen = true
                return
            }
            let byte = fold[Int(letter.byte)]
            while matched > 0, letters[matched] != byte { fall(in: text, isWhole) }
            if letters[matched] == byte {
                matched += 1
                position += letter.width
                if matched == letters.count {
                    marks.add(start..<position)
                    fall(in: text, isWhole)
                }
            } else {
                // By one byte, not by the letter: an escape that begins no match may hide a beginning.
                position += 1
                start = position
            }
            if matched == 0, position > last { return }
        }
        isOpen = matched > 0 && !isWhole
    }

    /// The text lost so many bytes at its beginning.
    mutating func move(back bytes: Int) {
        start -= bytes
        position = max(0, position - bytes)
    }

    /// Takes the next shorter beginning that the text still ends with.
    private mutating func fall(in text: UnsafeRawBufferPointer, _ isWhole: Bool) {
        let shorter = Int(failure[matched - 1])
        if shorter == 0 {
            start = position
        } else {
            for _ in shorter..<matched { start += clothing.escapes.letter(of: text, at: start, isWhole: isWhole).width }
        }
        matched = shorter
    }

    private mutating func prepare() {
        guard letters.isEmpty else { return }
        letters = (0..<clothing.count).map(clothing.letter)
        fold = (0...UInt8.max).map(clothing.folded)
        failure = [Int32](repeating: 0, count: letters.count)
        var length = 0
        for index in letters.indices.dropFirst() {
            while length > 0, letters[index] != letters[length] { length = Int(failure[length - 1]) }
            if letters[index] == letters[length] { length += 1 }
            failure[index] = Int32(length)
        }
    }
}

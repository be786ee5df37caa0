/// How far long work is: one line on standard error, drawn over itself. Draws on a terminal only, so that a pipe and a log
/// get the result alone.
struct ProgressBar {
    private static let width = 24

    private let label: String
    private let total: Int
    private let isTerminal = Terminal.errors.isTerminal
    private var drawn = ""

    /// - Parameters:
    ///   - label: what is being done, such as `Revoking`.
    ///   - total: how many pieces there are; 0 counts as done.
    init(_ label: String, total: Int) {
        self.label = label
        self.total = total
    }

    /// Draws the line anew, if it says something else than before.
    mutating func show(_ done: Int) {
        guard isTerminal else { return }
        let line = Self.line(label, done: done, total: total)
        guard line != drawn else { return }
        drawn = line
        // To the line's begin, the line, and nothing of a longer one behind it.
        Terminal.errors.put("\r\(line)\u{1B}[K")
    }

    /// Ends the line; what is said next begins on its own.
    func finish() {
        guard isTerminal, !drawn.isEmpty else { return }
        Terminal.errors.put("\n")
    }

    /// `Revoking  [############            ]  50 %  5,000 of 10,000`
    static func line(_ label: String, done: Int, total: Int) -> String {
        let done = min(max(done, 0), max(total, 0))
        let share = total > 0 ? Double(done) / Double(total) : 1
        let filled = Int(share * Double(width))
        let percent = String(Int(share * 100))
        let bar = String(repeating: "#", count: filled) + String(repeating: " ", count: width - filled)
        return "\(label)  [\(bar)] \(String(repeating: " ", count: 3 - percent.count))\(percent) %  \(grouped(done)) of \(grouped(total))"
    }

    /// `10,000`
    private static func grouped(_ number: Int) -> String {
        var digits = Array(String(max(number, 0)))
        var position = digits.count - 3
        while position > 0 {
            digits.insert(",", at: position)
            position -= 3
        }
        return String(digits)
    }
}

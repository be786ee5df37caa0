import Foundation

/// One of the two output streams, and what it can show.
struct Terminal {
    static let output = Terminal(descriptor: STDOUT_FILENO)
    static let errors = Terminal(descriptor: STDERR_FILENO)

    let descriptor: Int32

    var isTerminal: Bool { isatty(descriptor) == 1 }

    enum Style: String {
        case bold = "1"
        case red = "31"
        case green = "32"
        case yellow = "33"
        case dim = "2"
    }

    func styled(_ text: String, _ style: Style, when isOn: Bool) -> String {
        isOn && ProcessInfo.processInfo.environment["NO_COLOR"] == nil ? "\u{1B}[\(style.rawValue)m\(text)\u{1B}[0m" : text
    }

    /// To standard output, with a line break unless it ends with one. Whoever reads may have gone, as `head` does: then
    /// nobody is left to tell, and the program ends.
    static func write(_ text: String) {
        guard output.put(text.hasSuffix("\n") ? text : text + "\n") else { exit(Failure.failed) }
    }

    /// To standard error: what is for the person beside the output.
    static func say(_ text: String) { errors.put(text + "\n") }

    /// - Returns: whether all of it was taken.
    @discardableResult
    func put(_ text: String) -> Bool {
        var text = text
        return text.withUTF8 { put(UnsafeRawBufferPointer($0)) }
    }

    /// - Returns: whether all of it was taken.
    func put(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var rest = bytes
        while !rest.isEmpty {
            let count = Foundation.write(descriptor, rest.baseAddress, rest.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
        return true
    }

    /// Without anything that could move the cursor or start an escape sequence: a provider's text may be in it. A tab is a space.
    static func inert(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.compactMap { scalar in
                    switch scalar.properties.generalCategory {
                    case .control, .format, .lineSeparator, .paragraphSeparator: scalar == "\n" ? scalar : scalar == "\t" ? " " : nil
                    default: scalar
                    }
                }))
    }

    /// Asks on the terminal, without echo where the answer is a secret.
    /// - Throws: ``Failure`` (usage) when there is no terminal to ask at.
    static func ask(_ prompt: String, secret: Bool, otherwise hint: String) throws -> String {
        guard isatty(STDIN_FILENO) == 1 else { throw Failure("\(prompt) is needed", hint: hint, exitCode: Failure.usage) }
        errors.put("\(prompt): ")
        var before = termios()
        tcgetattr(STDIN_FILENO, &before)
        if secret {
            var silent = before
            silent.c_lflag &= ~tcflag_t(ECHO)
            tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent)
        }
        defer {
            if secret {
                tcsetattr(STDIN_FILENO, TCSAFLUSH, &before)
                errors.put("\n")
            }
        }
        guard let line = readLine(), !line.isEmpty else { throw Failure("\(prompt) was not given", hint: hint, exitCode: Failure.usage) }
        return line
    }

    /// Whether somebody sits there who can be asked.
    static var isAsking: Bool { isatty(STDIN_FILENO) == 1 }

    /// Asks for a plain yes. Without a terminal the answer is no.
    static func confirms(_ question: String) -> Bool {
        guard isatty(STDIN_FILENO) == 1 else { return false }
        errors.put("\(question) [y/N] ")
        return ["y", "yes"].contains(readLine()?.lowercased())
    }

    /// Opens the person's browser, without a shell. `false` where there is none.
    static func openBrowser(_ url: String) -> Bool {
        #if os(macOS)
            let program = "/usr/bin/open"
        #else
            let program = "/usr/bin/xdg-open"
            guard ProcessInfo.processInfo.environment["DISPLAY"] != nil || ProcessInfo.processInfo.environment["WAYLAND_DISPLAY"] != nil else { return false }
        #endif
        guard FileManager.default.isExecutableFile(atPath: program) else { return false }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = [url]
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        do { try process.run() } catch { return false }
        return true
    }
}

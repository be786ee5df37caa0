import Foundation
import Synchronization

/// A program in a process of its own. By `posix_spawn`: `Process` is not made for tests that run side by side.
package final class Program: Sendable {
    package struct Outcome: Sendable {
        /// The exit code; -N when signal N ended it.
        package let status: Int32
        package let output: String
        package let errors: String
    }

    package let pid: Int32
    private let output: Collector
    private let errors: Collector
    private let ended: AsyncStream<Int32>
    private let isOver = Mutex(false)

    /// One start at a time: a pipe that another start's child inherits would never end.
    private static let starting = Mutex(())

    /// Starts it.
    /// - Parameter environment: all that it finds in its environment, besides PATH and HOME.
    package init(_ path: String, _ arguments: [String], environment: [String: String] = [:], input: String = "") throws {
        let (child, inputWrite, outputRead, errorsRead) = try Self.starting.withLock { _ in
            try Self.start(path, arguments, environment: environment)
        }
        pid = child
        output = Collector(outputRead)
        errors = Collector(errorsRead)
        let (ended, continuation) = AsyncStream<Int32>.makeStream()
        self.ended = ended
        Thread.detachNewThread { [self] in
            var status: Int32 = 0
            while waitpid(child, &status, 0) < 0 && errno == EINTR {}
            isOver.withLock { $0 = true }
            continuation.yield(status & 0x7F == 0 ? status >> 8 & 0xFF : -(status & 0x7F))
            continuation.finish()
        }
        let bytes = Array(input.utf8)
        // Short, so that the pipe takes it whole; a program that does not read it must not end this one.
        if !bytes.isEmpty { _ = bytes.withUnsafeBytes { write(inputWrite, $0.baseAddress, $0.count) } }
        close(inputWrite)
    }

    private static func start(
        _ path: String, _ arguments: [String], environment: [String: String]
    ) throws -> (pid: pid_t, input: Int32, output: Int32, errors: Int32) {
        let (inputRead, inputWrite) = try makePipe()
        let (outputRead, outputWrite) = try makePipe()
        let (errorsRead, errorsWrite) = try makePipe()
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (from, to) in [(inputRead, 0), (outputWrite, 1), (errorsWrite, 2)] { posix_spawn_file_actions_adddup2(&actions, from, Int32(to)) }
        // Sockets of this process's servers, too, would live on in the child.
        if let symbol = dlsym(nil, "posix_spawn_file_actions_addclosefrom_np") {
            typealias AddCloseFrom = @convention(c) (UnsafeMutablePointer<posix_spawn_file_actions_t>, CInt) -> CInt
            _ = unsafeBitCast(symbol, to: AddCloseFrom.self)(&actions, 3)
        }
        let all = ["PATH": "/usr/bin:/bin", "HOME": NSTemporaryDirectory()].merging(environment) { $1 }
        var argv = ([path] + arguments).map { strdup($0) } + [nil]
        var envp = all.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in argv + envp { free(text) } }
        var child: pid_t = 0
        let code = posix_spawn(&child, path, &actions, nil, &argv, &envp)
        for descriptor in [inputRead, outputWrite, errorsWrite] { close(descriptor) }
        guard code == 0 else { throw ProgramError(description: "\(path) was not started: \(String(cString: strerror(code)))") }
        return (child, inputWrite, outputRead, errorsRead)
    }

    private static func makePipe() throws -> (read: Int32, write: Int32) {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw ProgramError(description: "no pipe could be made") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return (ends[0], ends[1])
    }

    /// Waits for its end.
    package func outcome() async -> Outcome {
        var status: Int32 = -1
        for await code in ended { status = code }
        return Outcome(status: status, output: await output.whole(), errors: await errors.whole())
    }

    /// The next line of output (or of errors) for which `isWanted` holds; `nil` when it ended without one.
    package func line(ofErrors: Bool = false, where isWanted: @Sendable (String) -> Bool) async -> String? {
        for await line in (ofErrors ? errors : output).lines where isWanted(line) { return line }
        return nil
    }

    /// Nothing once it has ended: its number may be another's by then.
    package func signal(_ number: Int32) { isOver.withLock { if !$0 { kill(pid, number) } } }

    /// Reads a descriptor to its end on a thread of its own.
    private final class Collector: Sendable {
        let lines: AsyncStream<String>
        private let text = Mutex("")
        private let done: AsyncStream<Void>

        init(_ descriptor: Int32) {
            let (lines, linesIn) = AsyncStream<String>.makeStream()
            let (done, doneIn) = AsyncStream<Void>.makeStream()
            (self.lines, self.done) = (lines, done)
            Thread.detachNewThread { [self] in
                var rest: [UInt8] = []
                var buffer = [UInt8](repeating: 0, count: 4096)
                while true {
                    let count = read(descriptor, &buffer, buffer.count)
                    if count < 0 && errno == EINTR { continue }
                    if count <= 0 { break }
                    rest += buffer[..<count]
                    text.withLock { $0 += String(decoding: buffer[..<count], as: UTF8.self) }
                    while let newline = rest.firstIndex(of: 0x0A) {
                        linesIn.yield(String(decoding: rest[..<newline], as: UTF8.self))
                        rest.removeFirst(newline + 1)
                    }
                }
                close(descriptor)
                linesIn.finish()
                doneIn.finish()
            }
        }

        func whole() async -> String {
            for await _ in done {}
            return text.withLock { $0 }
        }
    }
}

package struct ProgramError: Error, CustomStringConvertible {
    package let description: String
}

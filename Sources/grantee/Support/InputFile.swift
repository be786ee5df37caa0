import Foundation

/// A file that an argument names.
enum InputFile {
    /// All that is in it; a pipe, as a shell's `<(…)` gives, has no size beforehand.
    /// - Parameter path: `-` = standard input.
    /// - Returns: `nil` where it cannot be read.
    static func contents(of path: String) -> Data? {
        guard path != "-" else { return FileHandle.standardInput.readDataToEndOfFile() }
        guard let file = FileHandle(forReadingAtPath: path) else { return nil }
        defer { try? file.close() }
        guard let data = try? file.readToEnd() else { return nil }
        return data
    }
}

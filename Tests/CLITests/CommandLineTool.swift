import Foundation
import TestSupport

/// The `grantee` program that was built beside these tests.
struct CommandLineTool: Sendable {
    static let path = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent().appending(path: "grantee").path

    /// What the program finds in its environment, and nothing else.
    var environment: [String: String] = [:]

    /// Runs it to its end.
    func run(_ arguments: [String], input: String = "") async throws -> Program.Outcome { await (try start(arguments, input: input)).outcome() }

    func start(_ arguments: [String], input: String = "") throws -> Program {
        try Program(Self.path, arguments, environment: environment, input: input)
    }
}

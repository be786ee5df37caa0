import Foundation

/// A secret that is never an argument: a file, the environment, or a prompt without echo.
struct SecretInput {
    static let clientSecret = SecretInput(name: "Client Secret", variable: "GRANTEE_CLIENT_SECRET", flag: "--client-secret-file")
    static let password = SecretInput(name: "Password", variable: "GRANTEE_PASSWORD", flag: "--password-file")

    let name: String
    let variable: String
    let flag: String

    private var hint: String { "put it into a file and name it with \(flag), or into \(variable)" }

    /// - Parameter file: `-` = standard input.
    /// - Returns: `nil` when neither file nor environment has one.
    func given(file: String?) throws -> String? {
        if let file {
            guard let data = InputFile.contents(of: file), var text = String(data: data, encoding: .utf8) else {
                throw Failure("\(file) cannot be read as text", hint: hint)
            }
            if text.hasSuffix("\n") { text.removeLast() }
            guard !text.isEmpty else { throw Failure("\(file) is empty", hint: hint) }
            return text
        }
        return ProcessInfo.processInfo.environment[variable].flatMap { $0.isEmpty ? nil : $0 }
    }

    /// Asks at the terminal when it was not given.
    func required(file: String?) throws -> String {
        try given(file: file) ?? Terminal.ask(name, secret: true, otherwise: hint)
    }
}

import Foundation
import OAuth
import OAuthClient
import RehearsalProvider
import Server

/// What went wrong and what to type next: `error:` and `hint:` lines, and an exit code.
struct Failure: Error, Hashable {
    static let failed: Int32 = 1
    static let usage: Int32 = 2
    static let notFound: Int32 = 3
    static let notConnected: Int32 = 4

    var message: String
    /// Further lines, one for each wrong field.
    var details: [String] = []
    var hint: String?
    var exitCode: Int32 = Failure.failed

    init(_ message: String, details: [String] = [], hint: String? = nil, exitCode: Int32 = Failure.failed) {
        self.message = message
        self.details = details
        self.hint = hint
        self.exitCode = exitCode
    }

    init(any error: any Error) {
        switch error {
        case let failure as Failure: self = failure
        case let error as StartError: self.init(error.message, hint: error.hint)
        case let error as RehearsalError: self.init(error.description)
        case let error as RequestError: self.init(error.description, exitCode: Self.usage)
        case let error as TransportError: self.init("the provider could not be asked: \(error.words)")
        case is CancellationError: self.init("stopped")
        default: self.init("\(type(of: error))")
        }
    }

    func print() {
        let red = Terminal.errors.isTerminal
        var text = Terminal.errors.styled("error:", .red, when: red) + " " + Terminal.inert(message) + "\n"
        for detail in details { text += "       " + Terminal.inert(detail) + "\n" }
        if let hint { text += Terminal.errors.styled("hint:", .bold, when: red) + "  " + Terminal.inert(hint) + "\n" }
        Terminal.errors.put(text)
    }
}

extension TransportError {
    /// In words for a person at a terminal.
    var words: String {
        switch reason {
        case .blocked: "it lies where outbound requests may not go"
        case .unreachable(let why): "it is not reachable: \(why)"
        case .timedOut: "it did not answer in time"
        case .broken(let why): "its answer could not be used: \(why)"
        case .cancelled: "the request was given up"
        }
    }
}

import Broker
import OAuth

/// A problem on the page where it came up, in the words of the console: for the partial `part-trouble`.
enum TroubleNotice {
    /// - Parameters:
    ///   - heading: what did not work.
    ///   - id: the connection's.
    static func value(_ problem: Problem, heading: String, connection id: String) -> [String: Any] {
        var value: [String: Any] = ["kind": "bad", "is_alert": true, "heading": heading, "explanation": sentence(problem.detail)]
        if let remedy = remedy(problem) { value["remedy"] = remedy }
        if let said = said(problem.provider) { value["said"] = said }
        if let link = link(problem.code, id) { value["link"] = ["path": link.path, "label": link.label] }
        let items = problem.errors.map(\.detail).filter { $0 != problem.detail }
        if !items.isEmpty { value["items"] = items.map(sentence) }
        return value
    }

    /// With a capital and a full stop.
    static func sentence(_ text: String) -> String {
        guard let first = text.unicodeScalars.first else { return "" }
        let capital = String(first).uppercased() + text.dropFirst()
        return text.hasSuffix(".") ? capital : capital + "."
    }

    /// What callers of the API are told to send is a page or a button here.
    private static func remedy(_ problem: Problem) -> String? {
        switch problem.code {
        case .notConnected, .reauthorizationRequired: "Connect the account again."
        default: problem.fix.map { sentence(String($0.split(separator: ": PATCH /v1/", maxSplits: 1).first ?? "")) }
        }
    }

    /// Cut and cleaned: a provider's text is hostile.
    private static func said(_ provider: Problem.Provider?) -> String? {
        guard let provider else { return nil }
        let words = [provider.error, provider.errorDescription].compactMap(\.self).map { ProviderText.clean($0, limit: 300) }.filter { !$0.isEmpty }
        return words.isEmpty ? nil : words.joined(separator: ": ")
    }

    private static func link(_ code: Problem.Code, _ id: String) -> (path: String, label: String)? {
        switch code {
        case .notConnected, .reauthorizationRequired: (ConnectionHead.path(id), "Go to Connect")
        case .misconfigured, .providerError, .providerUnreachable, .egressBlocked, .accountMismatch: (ConnectionHead.path(id, .doctor), "Ask the doctor")
        default: nil
        }
    }
}

import Broker
import OAuth

/// What a tool gives back: for programs, and in words.
struct ToolResult: Sendable {
    var structured: JSONObject
    var text: String
    var isError = false

    init(structured: JSONObject, text: String, isError: Bool = false) {
        self.structured = structured
        self.text = text
        self.isError = isError
    }

    init(_ structured: JSONObject) {
        self.init(structured: structured, text: String(decoding: JSONValue.object(structured).serialized(), as: UTF8.self))
    }

    var json: JSONObject {
        ["content": [["type": "text", "text": .string(text)]], "structuredContent": .object(structured), "isError": .bool(isError)]
    }
}

extension ToolResult {
    /// A failure of ours, with what a model can do about it. The provider's own words stay out: a code and a status say enough. SEC-127.
    /// - Parameters:
    ///   - connection: which connection was called, where that helps.
    ///   - subject: `""` = the shared grant.
    init(_ problem: Problem, connection: String? = nil, subject: String = "") {
        let advice = Self.advice(problem, connection, subject)
        var members: JSONObject = ["code": .string(problem.code.rawValue), "detail": .string(ModelText(problem.detail).text), "fix": .string(advice)]
        var text = "\(problem.code.rawValue): \(ModelText(problem.detail).text)."
        if !problem.errors.isEmpty {
            let errors = problem.errors.map { (pointer: ModelText($0.pointer).text, detail: ModelText($0.detail).text) }
            members["errors"] = .array(errors.map { ["pointer": .string($0.pointer), "detail": .string($0.detail)] })
            // One fault alone is often all that the detail says.
            if errors.count > 1 || !problem.detail.hasSuffix(problem.errors[0].pointer + " " + problem.errors[0].detail) {
                text += errors.map { "\n- \($0.pointer) \($0.detail)" }.joined()
            }
        }
        if let provider = problem.provider {
            let error = provider.error.flatMap(ProviderText.errorCode)
            members["provider"] = [
                "status": provider.status.map { .number(JSONNumber($0)) } ?? .null, "error": error.map(JSONValue.string) ?? .null,
            ]
        }
        if let retryAfter = problem.retryAfter { members["retry_after"] = .number(JSONNumber(retryAfter)) }
        self.init(structured: ["problem": .object(members)], text: text + "\nWhat to do: \(advice)", isError: true)
    }

    private static func advice(_ problem: Problem, _ connection: String?, _ subject: String) -> String {
        let wait = problem.retryAfter.map { "Wait \($0) seconds" } ?? "Wait a little"
        let fix = problem.fix.map { sentence(ModelText($0).text) }
        switch problem.code {
        case .notConnected, .reauthorizationRequired:
            let id = connection ?? "the connection"
            if subject.isEmpty {
                return """
                    Use the tool connect with connection \(id): its link is for a builder, who confirms it and connects the account that all share \
                    (or runs `grantee connect \(id)`). Or name the subject whose account it is.
                    """
            }
            return "Use the tool connect with connection \(id), subject \(subject) and a return_url, give the person the link, and call again afterwards."
        case .rateLimited, .unavailable: return "\(wait), then call again. Do not repeat in a loop."
        case .providerUnreachable, .providerError: return "Try once more in a while; if it stays so, tell the person that the provider has trouble."
        case .misconfigured, .egressBlocked: return "Do not try again: a builder has to change the connection. " + (fix.map { "For the builder: \($0)" } ?? "")
        case .invalidRequest: return fix ?? "Correct the arguments as it says, and call again."
        // The fix names a request of the REST API, which a model does not speak.
        case .notFound: return "Use list_connections to see what there is. A builder opens a connection to agents by its agent_access."
        case .internal: return "Do not try again at once; tell the person the reference."
        case .forbidden: return (fix.map { $0 + " " } ?? "") + "Do not look for a way around it: tell the person what you wanted to do."
        default: return fix ?? "Do not try the same again; tell the person."
        }
    }

    /// A fix stands behind a colon elsewhere, and by itself here.
    private static func sentence(_ fix: String) -> String {
        fix.prefix(1).uppercased() + fix.dropFirst() + (fix.hasSuffix(".") ? "" : ".")
    }
}

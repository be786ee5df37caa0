import Broker
import OAuth

/// How a connection's API is called: rules, preview, prompt and snippets.
enum InstructionsAPI {
    static func get(_ inbound: Inbound) async throws -> Outbound {
        let subject = try inbound.query(["subject"]).text("subject") ?? ""
        let view = try await inbound.broker.instructions(connectionID: try inbound.path("id"), subject: subject, for: try inbound.caller)
        return .json([
            "text": .string(view.text),
            "rules": .array(
                view.instructions.rules.map { ["in": .string($0.place.rawValue), "name": .string($0.name), "template": .string($0.template)] }),
            "guidance": .string(view.instructions.guidance), "request": .string(view.request), "prompt": .string(view.prompt),
            "snippets": ["token": json(view.token), "gateway": json(view.gateway)],
        ])
    }

    private static func json(_ snippets: Snippets) -> JSONValue {
        [
            "curl": .string(snippets.curl), "javascript": .string(snippets.javascript), "python": .string(snippets.python),
            "swift": .string(snippets.swift),
        ]
    }
}

import Broker
import OAuth
import Vault

/// `list_connections`
enum ListConnections {
    static let tool = Tool(
        name: "list_connections", title: "List connections",
        description: "Lists the API connections that you may use, with their base URLs and the methods that are allowed. Begin here.",
        isReadOnly: true, reachesOut: false, arguments: [:], required: [],
        output: Tool.object(
            [
                "connections": [
                    "type": "array",
                    "items": .object(
                        Tool.object(
                            [
                                "id": Tool.text("What the other tools take as connection."), "name": Tool.text("What people call it."),
                                "base_url": ["type": ["string", "null"], "description": "What paths are relative to."],
                                "methods": Tool.texts("HTTP methods that are allowed."),
                            ], required: ["id", "name", "base_url", "methods"])),
                ]
            ], required: ["connections"]), call: call)

    @Sendable private static func call(_ arguments: JSONObject, _ inbound: Inbound) async throws(Problem) -> ToolResult {
        let errors = FieldErrors()
        ObjectReader(arguments, errors: errors).finish()
        try errors.check()
        let connections = try await inbound.broker.agentConnections(for: try inbound.caller)
        return ToolResult(["connections": .array(connections.map { .object(summary($0)) })])
    }

    static func summary(_ connection: Connection) -> JSONObject {
        let settings = connection.settings
        return [
            "id": .string(connection.id), "name": .string(ModelText(settings.name).text), "base_url": settings.baseURL.map(JSONValue.string) ?? .null,
            "methods": .array(settings.agentAccess.methods.map(JSONValue.string)),
        ]
    }
}

import Broker
import OAuth

/// One tool as models see it. Its words are ours alone, fixed for a version: nothing of a connection, a person or a provider is in them. SEC-136.
struct Tool: Sendable {
    let name: String
    let title: String
    let description: String
    /// Whether it changes nothing anywhere.
    let isReadOnly: Bool
    /// Whether it reaches beyond this server.
    let reachesOut: Bool
    /// Of the arguments, with what must be there; nothing else may be. SEC-131.
    let arguments: JSONObject
    let required: [String]
    /// Of what a call that worked returns.
    let output: JSONObject
    let call: @Sendable (_ arguments: JSONObject, Inbound) async throws(Problem) -> ToolResult

    static let all = [ListConnections.tool, DescribeConnection.tool, CallAPI.tool, Connect.tool]

    /// What `tools/list` returns.
    static let listed = JSONValue.array(all.map(\.json))

    private var json: JSONValue {
        var annotations: JSONObject = ["title": .string(title), "readOnlyHint": .bool(isReadOnly)]
        if !isReadOnly {
            annotations["destructiveHint"] = .bool(reachesOut)
            annotations["idempotentHint"] = false
        }
        annotations["openWorldHint"] = .bool(reachesOut)
        return [
            "name": .string(name), "title": .string(title), "description": .string(description),
            "inputSchema": [
                "type": "object", "properties": .object(arguments), "required": .array(required.map(JSONValue.string)), "additionalProperties": false,
            ],
            "outputSchema": .object(output), "annotations": .object(annotations),
        ]
    }

    static func text(_ description: String) -> JSONValue { ["type": "string", "description": .string(description)] }
    static func texts(_ description: String) -> JSONValue { ["type": "array", "items": ["type": "string"], "description": .string(description)] }
    static func object(_ properties: JSONObject, required: [String]) -> JSONObject {
        ["type": "object", "properties": .object(properties), "required": .array(required.map(JSONValue.string))]
    }
}

import Broker
import OAuth
import Vault

/// `describe_connection`
enum DescribeConnection {
    static let tool = Tool(
        name: "describe_connection", title: "Describe a connection",
        description: """
            Tells what you need to call a connection's API: base URL, allowed methods, paths and header fields, the builder's guidance, whose \
            accounts are connected. Authentication is added for you; never ask for a token, password or API key.
            """,
        isReadOnly: true, reachesOut: false, arguments: ["connection": Tool.text("An id from list_connections.")], required: ["connection"],
        output: Tool.object(
            [
                "id": Tool.text("What the other tools take as connection."), "name": Tool.text("What people call it."),
                "base_url": ["type": ["string", "null"], "description": "What paths are relative to."],
                "methods": Tool.texts("HTTP methods that are allowed."),
                "paths": Tool.texts("Path patterns that are allowed: * stands for a part of one segment, ** for any rest."),
                "headers": Tool.texts("Header fields that you may send."), "guidance": Tool.text("What the builder says about this API."),
                "subjects": [
                    "type": "string", "enum": ["none", "optional", "required"],
                    "description": "Whether call_api takes a subject: whose account the call is for. Without one it is the shared account.",
                ],
                "accounts": [
                    "type": "array", "description": "How things stand with the accounts that you may use, as far as they are known beforehand.",
                    "items": .object(
                        Tool.object(
                            [
                                "subject": ["type": ["string", "null"], "description": "null = the shared account."],
                                "state": Tool.text("connected, expired (a call may renew it), not_connected, reauthorization_required or revoked."),
                            ], required: ["subject", "state"])),
                ],
                "return_origins": Tool.texts("Where a return_url for connect may lie; none: connect cannot be used."),
                "health": Tool.text("ok, misconfigured or provider_down."),
            ],
            required: ["id", "name", "base_url", "methods", "paths", "headers", "guidance", "subjects", "accounts", "return_origins", "health"]),
        call: call)

    @Sendable private static func call(_ arguments: JSONObject, _ inbound: Inbound) async throws(Problem) -> ToolResult {
        let errors = FieldErrors()
        var reader = ObjectReader(arguments, errors: errors)
        let id = reader.text("connection", required: true, longest: 100) ?? ""
        reader.finish()
        try errors.check()
        let caller = try inbound.caller
        let connection = try await inbound.broker.agentConnection(id: id, for: caller)
        let access = connection.settings.agentAccess
        var result = ListConnections.summary(connection)
        result["paths"] = .array(access.paths.map(JSONValue.string))
        result["headers"] = .array(access.headers.map(JSONValue.string))
        result["guidance"] = .string(guidance(connection))
        result["subjects"] = .string(subjects(connection, caller))
        result["accounts"] = .array(try await accounts(connection, caller, inbound.broker))
        result["return_origins"] = .array(connection.settings.returnOrigins.map(JSONValue.string))
        result["health"] = .string(connection.health.state.rawValue)
        return ToolResult(result)
    }

    /// The builder's words; how the token travels is the gateway's business.
    private static func guidance(_ connection: Connection) -> String {
        guard let instructions = try? Instructions(connection.settings.authenticationInstructions) else { return "" }
        return ModelText(instructions.guidance).text
    }

    private static func subjects(_ connection: Connection, _ caller: Caller) -> String {
        if connection.fetchesAlone { return "none" }
        return caller.covers(subject: "") ? "optional" : "required"
    }

    /// At most this many of the key's own subjects are looked up.
    private static let mostAccounts = 20

    private static func accounts(_ connection: Connection, _ caller: Caller, _ broker: Broker) async throws(Problem) -> [JSONValue] {
        if connection.fetchesAlone {
            let state = caller.covers(subject: "") ? try await broker.agentGrantState(of: connection, subject: "", for: caller) : nil
            // What is missing, or spent, is fetched by the next call; what was taken back is not.
            let isOpen = [nil, "active", "expired"].contains(state)
            return [["subject": .null, "state": .string(isOpen ? "connected" : state ?? "")]]
        }
        var accounts: [JSONValue] = []
        for subject in (caller.key.subjects.map { $0.sorted() } ?? [""]).prefix(mostAccounts) {
            let state = try await broker.agentGrantState(of: connection, subject: subject, for: caller) ?? "not_connected"
            accounts.append([
                "subject": subject.isEmpty ? .null : .string(subject), "state": .string(state == "active" ? "connected" : state),
            ])
        }
        return accounts
    }
}

import Broker
import HTTPTypes
import OAuth
import Vault

/// What AI agents may do at a connection, and how they find it.
enum AgentsPage {
    static func show(_ inbound: Inbound) async throws -> Outbound {
        let head = try await ConnectionHead.load(inbound)
        return inbound.page(page(inbound, head, AgentAccessForm(head.connection).values()))
    }

    static func submit(_ inbound: Inbound) async throws -> Outbound {
        let head = try await ConnectionHead.load(inbound)
        let connection = head.connection
        var form = AgentAccessForm(try inbound.form, current: connection.revision)
        var settings = connection.settings
        settings.agentAccess = form.access
        do throws(Problem) {
            _ = try await inbound.broker.updateConnection(
                id: connection.id, settings: settings, clientSecret: .keep, password: .keep, keepGrants: false, expectedRevision: form.revision,
                by: try inbound.caller)
            return inbound.see(ConnectionHead.path(connection.id, .agents), done: "saved")
        } catch {
            switch error.code {
            case .invalidRequest where !error.errors.isEmpty:
                return inbound.page(page(inbound, head, form.values(errors: error.errors), status: .unprocessableContent))
            case .preconditionFailed:
                // What was typed stays; sent once more it is made from what is there now.
                let now = try await ConnectionHead.load(inbound)
                form.revision = now.connection.revision
                var values = form.values()
                values["conflict"] = conflict(now.connection)
                return inbound.page(page(inbound, now, values, status: .preconditionFailed))
            default: throw error
            }
        }
    }

    /// What somebody else saved meanwhile.
    private static func conflict(_ connection: Connection) -> [String: Any] {
        let access = connection.settings.agentAccess
        func list(_ values: [String]) -> String { values.isEmpty ? "none" : values.joined(separator: ", ") }
        return [
            "theirs": [
                "Agents: \(access.enabled ? "admitted" : "not admitted")", "Methods: \(list(access.methods))", "Paths: \(list(access.paths))",
                "Header fields: \(list(access.headers))",
            ]
        ]
    }

    private static func page(
        _ inbound: Inbound, _ head: ConnectionHead, _ values: [String: Any], status: HTTPResponse.Status = .ok
    ) -> ConsolePage {
        var values = values
        let url = inbound.faces.publicURL.origin + "/mcp"
        let configuration: JSONValue = [
            "mcpServers": ["grantee": ["type": "http", "url": .string(url), "headers": ["Authorization": "Bearer YOUR_AGENT_KEY"]]]
        ]
        let access = head.connection.settings.agentAccess
        values["mcp_url"] = url
        values["mcp_configuration"] = configuration.pretty
        values["mcp_command"] = "claude mcp add --transport http grantee \(url) --header \"Authorization: Bearer $AGENT_KEY\""
        values["admits_nothing"] = access.enabled && (access.paths.isEmpty || access.methods.isEmpty)
        var page = head.page(.agents, values, template: "agents")
        page.status = status
        return page
    }
}

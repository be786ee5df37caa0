import Broker
import HTTPTypes
import OAuth
import Vault

/// The grants of all connections, those that do not work first.
enum GrantsPage {
    static func show(_ inbound: Inbound) async throws -> Outbound {
        let caller = try inbound.caller
        let state = GrantsAPI.states.first { $0 == inbound.asked("state") }
        let connection = inbound.asked("connection").trimmed
        let subject = inbound.asked("subject").trimmed
        var values: [String: Any] = [
            "across": true, "connection": connection, "subject_asked": subject, "is_filtered": state != nil || !connection.isEmpty || !subject.isEmpty,
            "states": GrantsAPI.states.map { ["code": $0, "words": words($0), "selected": $0 == state] as [String: Any] },
        ]
        let now = inbound.broker.now
        do throws(Problem) {
            let found = try await inbound.broker.grants(
                connectionID: connection.isEmpty ? nil : connection, subject: subject.isEmpty ? nil : subject == "-" ? "" : subject, state: state,
                worstFirst: true, after: UID(parsing: inbound.asked("after")), limit: ConnectionHead.grantsOnPage + 1, for: caller)
            let shown = found.prefix(ConnectionHead.grantsOnPage)
            values["grants"] = try await rows(Array(shown), inbound, now)
            values["has_grants"] = !shown.isEmpty
            if found.count > shown.count, let last = shown.last {
                values["next_path"] =
                    "/console/grants?" + query([("state", state ?? ""), ("connection", connection), ("subject", subject), ("after", last.grant.uid.text)])
            }
        } catch {
            guard error.code == .notFound, !connection.isEmpty else { throw error }
            values["connection_error"] = "There is no connection with this id."
        }
        return inbound.page(ConsolePage("Grants", .grants, template: "grants", values))
    }

    private static func rows(_ views: [GrantView], _ inbound: Inbound, _ now: Timestamp) async throws(Problem) -> [[String: Any]] {
        var known: [String: Connection] = [:]
        var rows: [[String: Any]] = []
        for view in views {
            if known[view.connectionID] == nil {
                known[view.connectionID] = try await inbound.broker.connection(id: view.connectionID, for: try inbound.caller)
            }
            var row = GrantRow.value(view, fetchesAlone: known[view.connectionID]?.fetchesAlone ?? false, now: now)
            row["connection_name"] = known[view.connectionID]?.settings.name ?? view.connectionID
            rows.append(row)
        }
        return rows
    }

    private static func words(_ state: String) -> String {
        switch state {
        case "active": "Active"
        case "expired": "Expired"
        case "reauthorization_required": "Connect again"
        default: "Disconnected"
        }
    }

    static func query(_ pairs: [(String, String)]) -> String { Form.serialize(pairs.filter { !$0.1.isEmpty }) }
}

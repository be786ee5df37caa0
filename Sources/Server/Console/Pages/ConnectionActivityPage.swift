import Broker
import HTTPTypes
import OAuth
import Vault

/// Who used a connection for what, when, with what result.
enum ConnectionActivityPage {
    private static let entriesOnPage = 100

    static func show(_ inbound: Inbound) async throws -> Outbound {
        let head = try await ConnectionHead.load(inbound)
        let connection = head.connection
        let asked = (subject: inbound.asked("subject").trimmed, action: inbound.asked("action"), result: inbound.asked("result"))
        let found = try await inbound.broker.activity(
            connection: connection.id, subject: asked.subject.isEmpty ? nil : asked.subject, action: asked.action.isEmpty ? nil : asked.action,
            result: asked.result.isEmpty ? nil : asked.result, before: UID(parsing: inbound.asked("after")), limit: entriesOnPage + 1, for: try inbound.caller)
        let shown = found.prefix(entriesOnPage)
        let path = ConnectionHead.path(connection.id, .activity)
        var values: [String: Any] = [
            "activity_path": path, "subject_asked": asked.subject, "action_groups": ActivityWords.options(selected: asked.action),
            "results": ActivityWords.results.map { ["code": $0.code, "words": $0.words, "selected": $0.code == asked.result] as [String: Any] },
            "is_filtered": !(asked.subject + asked.action + asked.result).isEmpty, "has_entries": !shown.isEmpty,
            "entries": shown.map { ActivityWords.value($0, now: head.now, connections: [connection.uid: connection.id]) },
        ]
        if found.count > shown.count, let last = shown.last {
            values["next_path"] =
                path + "?" + GrantsPage.query([("subject", asked.subject), ("action", asked.action), ("result", asked.result), ("after", last.uid.text)])
        }
        return inbound.page(head.page(.activity, values, template: "connection-activity"))
    }
}

import Broker
import HTTPTypes
import OAuth
import Vault

/// Programs that call the API and run as pasted, and what an AI is told.
enum UsePage {
    static func show(_ inbound: Inbound) async throws -> Outbound {
        let head = try await ConnectionHead.load(inbound)
        let id = head.connection.id
        let subject = inbound.asked("subject").trimmed
        var values: [String: Any] = [
            "subject_typed": subject, "has_subjects": !head.connection.fetchesAlone, "subjects": head.grants.map(\.grant.subject).filter { !$0.isEmpty },
            "use_path": ConnectionHead.path(id, .use),
        ]
        do throws(Problem) {
            let view = try await inbound.broker.instructions(connectionID: id, subject: subject, for: try inbound.caller)
            values["request"] = view.request
            values["prompt"] = view.prompt
            values["gateway"] = snippets(view.gateway, "gateway")
            values["token"] = snippets(view.token, "token")
            values["has_snippets"] = true
        } catch {
            guard error.code == .invalidRequest || error.code == .misconfigured else { throw error }
            if let fault = error.errors.first(where: { $0.pointer == "/subject" }) {
                values["subject_error"] = TroubleNotice.sentence(fault.detail)
            } else {
                var trouble = TroubleNotice.value(error, heading: "The connection cannot be used yet", connection: id)
                trouble["link"] = ["path": ConnectionHead.path(id, .edit), "label": "Edit the connection"]
                values["trouble"] = trouble
            }
        }
        return inbound.page(head.page(.use, values, template: "use"))
    }

    /// - Parameter way: makes the elements' ids.
    private static func snippets(_ snippets: Snippets, _ way: String) -> [[String: Any]] {
        let all = [
            ("curl", "curl", snippets.curl), ("python", "Python", snippets.python), ("javascript", "JavaScript", snippets.javascript),
            ("swift", "Swift", snippets.swift),
        ]
        return all.map { name, title, code in ["element": "\(way)-\(name)", "language": title, "code": code, "is_open": name == "curl"] }
    }
}

import Broker
import HTTPTypes
import OAuth
import Vault

/// One grant: what it is, what became of it, what will, and what can be done.
enum GrantPage {
    /// Events of the log that are shown; the activity page has the rest.
    private static let events = 30

    static func show(_ inbound: Inbound) async throws -> Outbound { try await page(inbound) }

    /// Asks the provider for a new access token now.
    static func refresh(_ inbound: Inbound) async throws -> Outbound {
        let id = try inbound.path("id")
        let subject = try inbound.subject()
        do throws(Problem) {
            let view = try await inbound.broker.refresh(connectionID: id, subject: subject, for: try inbound.caller)
            return inbound.see(GrantRow.path(view), done: "refreshed")
        } catch {
            guard error.code != .notFound, error.code != .forbidden else { throw error }
            return try await page(inbound, problem: error)
        }
    }

    private static func page(_ inbound: Inbound, problem: Problem? = nil) async throws(Problem) -> Outbound {
        let caller = try inbound.caller
        let subject = try inbound.subject()
        let connection = try await inbound.broker.connection(id: try inbound.path("id"), for: caller)
        let view = try await inbound.broker.grant(connectionID: connection.id, subject: subject, for: caller)
        let entries = try await inbound.broker.life(ofGrant: subject, connectionID: connection.id, limit: events, for: caller)
        let now = inbound.broker.now
        let life = LifeLine(view, entries: entries, keepAlive: connection.settings.keepAlive, now: now)
        let name = connection.settings.name
        var values: [String: Any] = [
            "grant": GrantRow.value(view, fetchesAlone: connection.fetchesAlone, scopes: .max, now: now), "connection_name": name,
            "connection_path": ConnectionHead.path(connection.id), "life": life.values, "picture": LifePicture(life).values,
            "doctor_path": ConnectionHead.path(connection.id, .doctor),
            "activity_path": ConnectionHead.path(connection.id, .activity) + (subject.isEmpty ? "" : "?subject=" + Form.percentEncode(subject)),
            "try_path": ConnectionHead.path(connection.id, .tryIt) + (subject.isEmpty ? "" : "?subject=" + Form.percentEncode(subject)),
        ]
        var page = ConsolePage(
            view.grant.subject.isEmpty ? "Shared grant" : view.grant.subject, .connections, template: "grant", values,
            crumbs: [(title: "Connections", path: "/console"), (title: name, path: ConnectionHead.path(connection.id))])
        if let problem {
            values["trouble"] = TroubleNotice.value(problem, heading: "The token was not refreshed", connection: connection.id)
            page.values = values
            page.status = .init(code: problem.code.status)
        }
        return inbound.page(page)
    }
}

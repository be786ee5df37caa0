import Broker
import OAuth
import Vault

/// What stands at the top of each of a connection's pages: its name, its state, and the tabs. For the partial
/// `part-connection-head`, which a page puts into its block `head`.
struct ConnectionHead {
    enum Tab: String, CaseIterable {
        case overview = ""
        case tryIt = "try"
        case use, agents, activity, doctor, edit

        var label: String {
            switch self {
            case .overview: "Overview"
            case .tryIt: "Try it"
            case .use: "Use it"
            case .agents: "Agents"
            case .activity: "Activity"
            case .doctor: "Doctor"
            case .edit: "Edit"
            }
        }
    }

    /// So many grants are looked at for the state, and shown on a page.
    static let grantsOnPage = 50

    let connection: Connection
    /// Those that do not work first.
    let grants: [GrantView]
    /// Whether there are grants behind ``grants``.
    let hasMore: Bool
    let now: Timestamp

    /// - Throws: `not_found`, or `forbidden` for a key that does not cover it.
    static func load(_ inbound: Inbound) async throws(Problem) -> ConnectionHead {
        let caller = try inbound.caller
        let connection = try await inbound.broker.connection(id: try inbound.path("id"), for: caller)
        let found = try await inbound.broker.grants(
            connectionID: connection.id, subject: nil, state: nil, worstFirst: true, after: nil, limit: grantsOnPage + 1, for: caller)
        return ConnectionHead(
            connection: connection, grants: Array(found.prefix(grantsOnPage)), hasMore: found.count > grantsOnPage, now: inbound.broker.now)
    }

    static func path(_ id: String, _ tab: Tab = .overview) -> String { "/console/connections/\(id)" + (tab == .overview ? "" : "/" + tab.rawValue) }

    var state: ConnectionState { ConnectionState(connection, grants: grants, isAll: !hasMore, now: now) }

    /// The page's values, with those that the head needs.
    func page(_ tab: Tab, _ values: [String: Any], template: String) -> ConsolePage {
        var values = values
        values["connection_head"] = self.values(tab)
        values["connection_path"] = Self.path(connection.id)
        let name = connection.settings.name
        return ConsolePage(
            tab == .overview ? name : "\(tab.label): \(name)", .connections, template: template, values,
            crumbs: [(title: "Connections", path: "/console")])
    }

    func values(_ tab: Tab) -> [String: Any] {
        [
            "name": connection.settings.name, "id": connection.id, "path": Self.path(connection.id), "doctor_path": Self.path(connection.id, .doctor),
            "state": state.values(now: now),
            "tabs": Tab.allCases.map {
                ["label": $0.label, "path": Self.path(connection.id, $0), "current": $0 == tab] as [String: Any]
            },
        ]
    }
}

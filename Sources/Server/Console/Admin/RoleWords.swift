import Vault

/// The roles of API keys, for who has to choose one.
enum RoleWords {
    static func name(_ role: APIKey.Role) -> String {
        switch role {
        case .admin: "Admin"
        case .use: "App"
        case .agent: "AI agent"
        }
    }

    static func help(_ role: APIKey.Role) -> String {
        switch role {
        case .admin: "May do everything: connections, grants, keys, this console. For people and for scripts that set things up."
        case .use: "Gets access tokens, calls APIs through the gateway, makes connect links. For the server of an app."
        case .agent: "Calls APIs by MCP or the gateway, as far as a connection is open to agents. It never sees a token."
        }
    }

    /// The least that serves comes first.
    static func options(selected: String) -> [[String: Any]] {
        [APIKey.Role.use, .agent, .admin].map {
            ["value": $0.rawValue, "name": name($0), "help": help($0), "selected": $0.rawValue == selected]
        }
    }
}

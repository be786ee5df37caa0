package import Vault

/// A link for a person that an agent asked for.
extension Broker {
    /// Always completed by the application that knows who is signed in: whoever else opens the link gets linked to nobody. SEC-130.
    /// - Returns: the session and its link, which nobody can read again.
    package func agentConnect(
        connectionID: String, subject: String, returnURL: String?, by caller: Caller
    ) async throws(Problem) -> (session: ConnectSession, connectURL: String) {
        let connection = try await agentConnection(id: connectionID, for: caller)
        if connection.fetchesAlone {
            throw Problem(
                .invalidRequest, "\(connection.id) needs no person: it fetches its tokens by itself", fix: "call its API; if that fails, tell a builder")
        }
        guard connection.settings.oauth.grantType == .authorizationCode else {
            // SEC-21
            throw Problem(
                .forbidden, "\(connection.id) asks for a username and password, which must not pass through an agent",
                fix: Self.builderConnects(connection))
        }
        guard !subject.isEmpty else {
            throw Problem(.forbidden, "a shared grant is not an agent's to begin", fix: Self.builderConnects(connection) + "; or name a subject")
        }
        try require(subject, for: caller, of: connection)
        let options = ConnectOptions(subject: subject, returnURL: returnURL, completion: .application)
        try check(options, connection)
        return try await begin(connection, options: options, by: caller)
    }

    private static func builderConnects(_ connection: Connection) -> String {
        "ask a builder to connect it: `grantee connect \(connection.id)`, or POST /v1/connections/\(connection.id)/connect"
    }
}

package import Vault

/// A link for a person that an agent asked for.
extension Broker {
    /// For a subject it is completed by the application that knows who is signed in: whoever else opens the link gets linked to
    /// nobody. The shared account is connected by somebody signed in at the console, who confirms that the agent asked. SEC-130.
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
        try require(subject, for: caller, of: connection)
        var options = ConnectOptions(subject: subject, returnURL: returnURL, completion: subject.isEmpty ? .browser : .application)
        options.needsConfirmation = subject.isEmpty
        try check(options, connection)
        return try await begin(connection, options: options, by: caller)
    }

    private static func builderConnects(_ connection: Connection) -> String {
        "ask a builder to connect it: `grantee connect \(connection.id)`, or POST /v1/connections/\(connection.id)/connect"
    }
}

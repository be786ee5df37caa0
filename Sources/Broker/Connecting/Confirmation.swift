import OAuth
package import Vault

/// A link for the shared account that an agent asked for: somebody signed in at the console confirms it, or it leads nowhere.
/// Whoever else gets hold of it could connect an account of their own for everybody. SEC-130.
extension Broker {
    /// Whether it may lead this browser to the provider.
    static func isConfirmed(_ session: ConnectSession, binding: String?) -> Bool {
        switch session.options.confirmation {
        case nil: true
        case .needed: false
        case .given(_, let bindingHash): binding.map { constantTimeEqual(hash($0), bindingHash) } ?? false
        }
    }

    func requireConfirmed(_ session: ConnectSession, binding: String) throws(Problem) {
        guard Self.isConfirmed(session, binding: binding) else {
            throw Problem(
                .forbidden, "somebody who is signed in at the console has to confirm this link first, in this browser",
                fix: "open the link again and go on from there")
        }
    }

    /// What the console asks about.
    package struct LinkToConfirm: Sendable {
        package var session: ConnectSession
        package var connection: Connection
        package var scopes: [String]
        /// Whether there is a shared grant that it would replace.
        package var replaces: Bool
    }

    /// - Throws: `not_found`, also for a link that needs no confirmation; `invalid_state` when it is over.
    package func linkToConfirm(ticket: String, for caller: Caller) async throws(Problem) -> LinkToConfirm {
        let (session, connection) = try await openLive(ticket)
        guard session.options.confirmation != nil else { throw Problem(.notFound, "there is no such link to confirm") }
        try caller.requireAdmin()
        guard caller.covers(connection: connection.uid) else { throw Problem(.forbidden, "your key does not cover this connection") }
        try require(session.subject, for: caller, of: connection)
        let existing = try await findGrant(of: connection, subject: session.subject)
        return LinkToConfirm(
            session: session, connection: connection, scopes: session.options.scopes ?? connection.settings.oauth.scopes,
            replaces: existing.map { $0.state != .revoked } ?? false)
    }

    /// For this browser alone: who confirmed it goes to the provider with it. Without another place to return to, they come back
    /// to the connection's page.
    /// - Parameter binding: the value of the browser's binding cookie.
    package func confirmLink(ticket: String, binding: String, by caller: Caller) async throws(Problem) {
        let link = try await linkToConfirm(ticket: ticket, for: caller)
        var options = link.session.options
        options.confirmation = .given(keyID: caller.key.id, bindingHash: Self.hash(binding))
        if options.returnURL == nil { options.returnURL = configuration.publicURL + "/console/connections/" + link.connection.id }
        let confirmed = options
        guard try await asProblem({ try await store.setOptions(confirmed, session: link.session.id) }) else {
            throw Problem(.invalidState, "this link was used meanwhile", fix: "look at the connection's page")
        }
        note("connect.confirmed", connection: link.connection, subject: link.session.subject, caller: caller, detail: link.session.id)
    }
}

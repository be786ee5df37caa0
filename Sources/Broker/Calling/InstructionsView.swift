import Vault

/// A connection's Authentication Instructions, and what becomes of them.
package struct InstructionsView: Sendable {
    package let text: String
    package let instructions: Instructions
    /// The request that would be sent, token masked.
    package let request: String
    package let prompt: String
    package let token: Snippets
    package let gateway: Snippets
}

extension Broker {
    /// - Parameter subject: whom prompt and snippets are for; `""` = nobody in particular.
    /// - Throws: `misconfigured` when the text, saved by an older version, does not compile.
    package func instructions(connectionID: String, subject: String = "", for caller: Caller) async throws(Problem) -> InstructionsView {
        let connection = try await connection(id: connectionID, for: caller)
        if !subject.isEmpty { try require(subject, for: caller, of: connection) }
        let settings = connection.settings
        let instructions: Instructions
        do {
            instructions = try Instructions(settings.authenticationInstructions)
        } catch {
            throw connection.misconfigured(error)
        }
        let publicURL = configuration.publicURL
        return InstructionsView(
            text: settings.authenticationInstructions, instructions: instructions, request: RequestPreview.text(settings, instructions),
            prompt: AgentPrompt(connection, instructions, publicURL: publicURL, subject: subject).text,
            token: Snippets.token(connection, instructions, publicURL: publicURL, subject: subject),
            gateway: Snippets.gateway(connection, publicURL: publicURL, subject: subject))
    }
}

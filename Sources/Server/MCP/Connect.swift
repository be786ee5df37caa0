import Broker
import OAuth
import Vault

/// `connect`. Takes no username and no password: what a person types goes to a page, never through a model. SEC-21.
enum Connect {
    static let tool = Tool(
        name: "connect", title: "Connect an account",
        description: """
            Makes a link with which a person gives access to an account: use it when call_api says not_connected or reauthorization_required. \
            Show the link to the person whose account it is; do not open it yourself. With a subject it ends at the application's return_url, \
            where the application finishes it for the person who is signed in there. Without one it is for the account that the whole \
            application shares: a builder confirms it at the console first.
            """,
        isReadOnly: false, reachesOut: false,
        arguments: [
            "connection": Tool.text("An id from list_connections."),
            "subject": Tool.text("Whose account it is: the application's id of the person. Left out: the account that the whole application shares."),
            "return_url": Tool.text(
                "A page of the application where the person ends, in one of the return_origins of describe_connection: required with a subject."),
        ], required: ["connection"],
        output: Tool.object(
            [
                "connect_url": Tool.text("The link for the person, or for a builder when there is no subject."),
                "session": Tool.text("What the application knows it by."),
                "expires_at": Tool.text("When the link ends, RFC 3339."),
            ], required: ["connect_url", "session", "expires_at"]), call: call)

    @Sendable private static func call(_ arguments: JSONObject, _ inbound: Inbound) async throws(Problem) -> ToolResult {
        let errors = FieldErrors()
        var reader = ObjectReader(arguments, errors: errors)
        let id = reader.text("connection", required: true, longest: 100) ?? ""
        let subject = reader.text("subject", longest: 255) ?? ""
        let returnURL = reader.text("return_url")
        reader.finish()
        if !subject.isEmpty, returnURL == nil {
            errors.add("/return_url", "is required with a subject: a page of the application, in one of the connection's return_origins")
        }
        try errors.check()
        let (session, url) = try await inbound.broker.agentConnect(
            connectionID: id, subject: subject, returnURL: returnURL, by: try inbound.caller)
        let expiry = session.expiresAt.rfc3339
        let receiver = subject.isEmpty ? "a builder, who confirms it at the console and connects the shared account" : "the person whose account it is"
        return ToolResult(
            structured: ["connect_url": .string(url), "session": .string(session.id), "expires_at": .string(expiry)],
            text: "Give this link to \(receiver), until \(expiry):\n\(url)\nCall the API again when the person says that it is done.")
    }
}

import ArgumentParser
import Foundation
import HTTPTypes
import OAuth

struct Connect: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Connect an account: make a link for a person, or get the grant at once where nobody is needed.",
        discussion:
            "Waits until the person is done, and opens the link in a browser where there is one. A username and password are never arguments: GRANTEE_PASSWORD, a file, or the prompt."
    )

    @Argument(help: "The connection's id.") var connection: String
    @Option(help: "Whose account it is, as the app calls them; left out: shared by the whole app.") var subject: String?
    @Option(name: .customLong("scope"), help: ArgumentHelp("Ask for this scope instead of the connection's; may be repeated.", valueName: "scope")) var scopes:
        [String] = []
    @Option(help: ArgumentHelp("Where the person's browser goes afterwards.", valueName: "url")) var returnUrl: String?
    @Option(help: "Whom the provider should suggest to sign in.") var loginHint: String?
    @Option(help: ArgumentHelp("Which account of the provider it must be.", valueName: "account")) var expectedAccount: String?
    @Flag(help: "Allow another account of the provider than before.") var allowAccountChange = false
    @Option(help: "For the password grant: the user name at the provider.") var username: String?
    @Option(help: ArgumentHelp("For the password grant: the file with the password, - for standard input.", valueName: "file"), completion: .file())
    var passwordFile: String?
    @Flag(help: "Print the link and do not open it.") var noBrowser = false
    @Flag(help: "Print the link and do not wait.") var noWait = false
    @OptionGroup var server: ServerOptions

    func run() async throws {
        let api = try server.client()
        var body = JSONObject()
        if let subject { body["subject"] = .string(subject) }
        if !scopes.isEmpty { body["scopes"] = .array(scopes.map(JSONValue.string)) }
        if let returnUrl { body["return_url"] = .string(returnUrl) }
        if let loginHint { body["login_hint"] = .string(loginHint) }
        if let expectedAccount { body["expected_account"] = .string(expectedAccount) }
        if allowAccountChange { body["allow_account_change"] = true }
        if let username {
            body["username"] = .string(username)
            body["password"] = .string(try SecretInput.password.required(file: passwordFile))
        }
        let begun = try await api.send(.post, APIClient.path("connections", connection, "connect"), body: .object(body))
        guard let link = begun["connect_url"]?.string, let session = begun["session"]?.string else {
            return server.show(begun) { Grants.print(begun) }
        }
        if noWait { return server.show(begun) { Terminal.write(link) } }
        Terminal.say("Open this link to connect, within 30 minutes:")
        if server.json { Terminal.say(link) } else { Terminal.write(link) }
        if !noBrowser, Terminal.errors.isTerminal { _ = Terminal.openBrowser(link) }
        let ended = try await wait(for: session, api)
        let grant = ended["grant"] ?? .null
        server.show(grant) {
            Terminal.say("")
            Grants.print(grant)
        }
    }

    /// Asks every second until the session has ended.
    private func wait(for session: String, _ api: APIClient) async throws -> JSONValue {
        var shownError: String?
        while true {
            let view = try await api.send(.get, APIClient.path("connect-sessions", session))
            switch view["state"]?.string {
            case "connected": return view
            case "expired": throw Failure("nobody finished in time", hint: "run the command again for a new link", exitCode: Failure.notConnected)
            case "failed":
                // The link stays open for another try.
                let error = view["error"]?.string ?? "exchange_failed"
                if error != shownError { Terminal.say("That try failed (\(error)); the link can be opened again. Ctrl-C gives up.") }
                shownError = error
            default: break
            }
            try await Task.sleep(for: .seconds(1))
        }
    }
}

import ArgumentParser
import Egress
import Foundation
import HTTPTypes
import Logging
import OAuth
import RehearsalProvider
import Server
import ServiceLifecycle
import Synchronization

struct Demo: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run server and rehearsal provider on a throw-away data directory, with connections ready to try.",
        discussion: "Nothing leaves this machine. When the demo ends, everything it kept is removed.")

    @Option(help: "Listen port of the server, 0 = pick one.")
    var port = 8080

    @Flag(help: "Drive every connection through its whole flow without a browser, print a line for each, and exit.")
    var check = false

    @OptionGroup var log: LogSettings

    func run() async throws {
        guard (0...65_535).contains(port) else { throw Failure("--port must be 0 to 65535", exitCode: Failure.usage) }
        try log.install(defaultLevel: check ? .critical : .warning)
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("grantee-demo-\(getpid())").path
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let outcome = Mutex<Failure?>(nil)
        let check = self.check
        try await DemoStage(directory: directory, port: check ? 0 : port).run { stage in
            do {
                try await stage.makeConnections()
                if check {
                    try await DemoCheck(stage: stage).run()
                } else {
                    try await stage.welcome()
                    try await Task.sleep(for: .seconds(365 * 86_400))
                }
            } catch is CancellationError {
            } catch {
                outcome.withLock { $0 = Failure(any: error) }
            }
        }
        if let failure = outcome.withLock({ $0 }) { throw failure }
    }
}

/// The demo's two servers, and what is ready on them. Grantee is on 127.0.0.1 and the provider on localhost, two sites
/// to a browser.
struct DemoStage {
    struct Ready: Sendable {
        let directory: String
        let serverURL: String
        let providerURL: String
        let api: APIClient
    }

    let directory: String
    let port: Int

    /// Runs both servers until `body` is done or a signal comes.
    func run(_ body: @escaping @Sendable (Ready) async -> Void) async throws {
        let logger = Logger(label: "grantee")
        let (urls, providerListens) = AsyncStream<String>.makeStream()
        let (servers, serverListens) = AsyncStream<GranteeServer.Listening>.makeStream()
        let provider = RehearsalProvider(logger: logger)
        var configuration = ServerConfiguration(dataDirectory: directory, port: port)
        configuration.egressAllow = ["127.0.0.0/8", "::1/128"].compactMap { Egress.CIDR($0) }
        let server = GranteeServer(configuration: configuration, logger: logger)
        let directory = self.directory
        try await Running.untilSignal(
            [
                RunningService { try await provider.run { providerListens.yield($0) } },
                RunningService { try await server.run { serverListens.yield($0) } },
                RunningService {
                    await cancelWhenGracefulShutdown {
                        guard let providerURL = await urls.first(where: { _ in true }), let listening = await servers.first(where: { _ in true }) else {
                            return
                        }
                        await body(
                            Ready(
                                directory: directory, serverURL: listening.url, providerURL: providerURL,
                                api: APIClient(base: listening.url, key: listening.adminKey ?? "")))
                    }
                },
            ], logger: logger)
    }
}

/// One connection of the demo, with what it shows.
struct DemoConnection: Sendable {
    let id: String
    let name: String
    let grantType: String
    var pkce: String?
    let clientAuthentication: String
    let clientID: String
    var clientSecret: String?
    /// Stored by the connection; `nil` = the end user types it.
    var username: String?
    var password: String?
    /// What AI agents may GET.
    var agentPaths: [String] = []

    static let all = [
        DemoConnection(
            id: "password", name: "Password Credentials, stored", grantType: "password", clientAuthentication: "client_secret_basic", clientID: "conf",
            clientSecret: "conf-secret", username: "alice", password: "password"),
        DemoConnection(
            id: "password-end-user", name: "Password Credentials, typed by the end user", grantType: "password", clientAuthentication: "client_secret_post",
            clientID: "conf", clientSecret: "conf-secret"),
        DemoConnection(
            id: "client-credentials", name: "Client Credentials", grantType: "client_credentials", clientAuthentication: "client_secret_basic",
            clientID: "machine", clientSecret: "machine-secret", agentPaths: ["/**"]),
        DemoConnection(
            id: "client-credentials-body", name: "Client Credentials, sent in the body", grantType: "client_credentials",
            clientAuthentication: "client_secret_post",
            clientID: "machine", clientSecret: "machine-secret"),
        DemoConnection(
            id: "authorization-code", name: "Authorization Code", grantType: "authorization_code", pkce: "none", clientAuthentication: "client_secret_basic",
            clientID: "conf", clientSecret: "conf-secret"),
        DemoConnection(
            id: "authorization-code-body", name: "Authorization Code, secret in the body", grantType: "authorization_code", pkce: "S256",
            clientAuthentication: "client_secret_post", clientID: "rotating", clientSecret: "rotating-secret"),
        DemoConnection(
            id: "pkce", name: "Authorization Code with PKCE", grantType: "authorization_code", pkce: "S256", clientAuthentication: "none", clientID: "pub",
            agentPaths: ["/me"]),
        DemoConnection(
            id: "pkce-plain", name: "Authorization Code with PKCE, Plain", grantType: "authorization_code", pkce: "plain", clientAuthentication: "none",
            clientID: "pub"),
    ]

    /// Whether a person has to connect it.
    var needsPerson: Bool { grantType == "authorization_code" || (grantType == "password" && username == nil) }

    func document(provider: String) -> JSONValue {
        var oauth: JSONObject = [
            "grant_type": .string(grantType), "issuer": .string(provider), "token_url": .string(provider + "/token"),
            "revocation_url": .string(provider + "/revoke"), "client_id": .string(clientID), "client_authentication": .string(clientAuthentication),
            "scopes": ["read"],
        ]
        if grantType == "authorization_code" { oauth["authorization_url"] = .string(provider + "/authorize") }
        if let pkce { oauth["pkce"] = .string(pkce) }
        if let clientSecret { oauth["client_secret"] = .string(clientSecret) }
        if let username { oauth["username"] = .string(username) }
        if let password { oauth["password"] = .string(password) }
        return [
            "id": .string(id), "name": .string(name), "base_url": .string(provider + "/api"), "oauth": .object(oauth),
            "return_origins": ["http://localhost:3000"],
            "agent_access": ["enabled": .bool(!agentPaths.isEmpty), "methods": ["GET"], "paths": .array(agentPaths.map(JSONValue.string))],
        ]
    }
}

extension DemoStage.Ready {
    /// Where this program is.
    private static var program: String { Bundle.main.executablePath ?? CommandLine.arguments[0] }

    func makeConnections() async throws {
        for connection in DemoConnection.all { _ = try await api.send(.post, "/v1/connections", body: connection.document(provider: providerURL)) }
    }

    private var agentConnections: String { DemoConnection.all.filter { !$0.agentPaths.isEmpty }.map(\.id).joined(separator: " and ") }

    func welcome() async throws {
        let console = try await api.send(.post, "/v1/console-links")["url"]?.string ?? ""
        var table = Table("CONNECTION", "GRANT TYPE", "PKCE", "CLIENT AUTHENTICATION", "WHAT IT IS")
        for connection in DemoConnection.all {
            table.add(connection.id, connection.grantType, connection.pkce ?? "", connection.clientAuthentication, connection.name)
        }
        Terminal.write("Listening on \(serverURL)")
        Terminal.write("The console is \(console)  (one use, 5 minutes; `grantee console` makes another)")
        Terminal.write("The rehearsal provider is \(providerURL) (sign in as alice, password: password)\n")
        table.print(nothing: "")
        Terminal.write(
            """

            In another terminal:

              export GRANTEE_DATA_DIR=\(directory)
              alias grantee=\(Self.program)
              grantee token client-credentials           a token, fetched when first needed
              grantee call client-credentials /me        the sample API, called with a token that nobody sees
              grantee connect pkce --subject alice       prints a link: open it, sign in, allow
              grantee grants list
              grantee token pkce --subject alice         fresh whenever it is asked for

            The gateway, for any HTTP client:

              curl -H "Authorization: Bearer $(cat \(directory)/admin.key)" \(serverURL)/gateway/client-credentials/me

            AI agents find \(agentConnections) by MCP at \(serverURL)/mcp, with a key of the role agent. For Claude Code:

              claude mcp add --transport http grantee \(serverURL)/mcp --header "Authorization: Bearer $(grantee keys add Agent --role agent)"

            Ctrl-C ends the demo and removes everything it kept.
            """)
    }
}

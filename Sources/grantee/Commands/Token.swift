import ArgumentParser
import HTTPTypes
import OAuth

struct Token: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print a valid access token, refreshed first where that is due.",
        discussion: "Prints the token alone, so that `curl -H \"Authorization: Bearer $(grantee token ID)\"` works.")

    @Argument(help: "The connection's id.") var connection: String
    @Option(help: "Whose grant; left out: the shared one.") var subject: String?
    @Option(name: .customLong("min-ttl"), help: ArgumentHelp("The token should live at least so long.", valueName: "seconds")) var minTTL: Int?
    @Flag(help: "Get a new token in any case.") var forceRefresh = false
    @Option(help: ArgumentHelp("Get a new token only if this is still the current generation.", valueName: "generation")) var afterGeneration: Int?
    @OptionGroup var server: ServerOptions

    func run() async throws {
        let answer = try await server.client().send(
            .get, APIClient.path("connections", connection, "token"),
            query: [
                ("subject", subject), ("min_ttl", minTTL.map(String.init)), ("force_refresh", forceRefresh ? "true" : nil),
                ("after_generation", afterGeneration.map(String.init)),
            ])
        server.show(answer) { Terminal.write(answer["access_token"]?.string ?? "") }
    }
}

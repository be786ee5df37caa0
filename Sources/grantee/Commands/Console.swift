import ArgumentParser
import HTTPTypes
import OAuth

struct Console: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print a link that signs in at the console, once.",
        discussion: """
            The link works for five minutes and has the rights of the API key that this command uses, which must have the role admin. Whoever \
            opens it first is signed in: do not send it where others can read it.
            """)

    @OptionGroup var server: ServerOptions

    func run() async throws {
        let link = try await server.client().send(.post, "/v1/console-links")
        server.show(link) {
            Terminal.say("Open this in a browser until \(link["expires_at"]?.shown ?? ""); it works once:")
            Terminal.write(link["url"]?.string ?? "")
        }
    }
}

import ArgumentParser
import Foundation
import Logging
import NIOCore
import OAuth
import RehearsalProvider

struct Provider: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the rehearsal provider: an authorization server and sample API to test against.",
        discussion: """
            Everything is in memory and nothing is real: users alice and bob with the password `password`, clients conf/conf-secret, rotating/rotating-secret, \
            machine/machine-secret and the public client pub. Clients, and the faults they see, can be changed while it runs: POST /_rehearsal/clients. \
            It listens on loopback only.
            """)

    @Option(help: "Listen port, 0 = pick one.")
    var port = 9090

    @Option(
        help: ArgumentHelp("A JSON file with clients that are known at start, as POST /_rehearsal/clients takes them.", valueName: "file"), completion: .file())
    var clients: String?

    @OptionGroup var log: LogSettings

    func run() async throws {
        guard (0...65_535).contains(port) else { throw Failure("--port must be 0 to 65535", exitCode: Failure.usage) }
        try log.install(defaultLevel: .notice)
        let logger = Logger(label: "rehearsal")
        var configuration = RehearsalProvider.Configuration()
        configuration.port = port
        if let clients { configuration.clients += try Self.read(clients) }
        let provider = RehearsalProvider(configuration: configuration, logger: logger)
        do {
            try await Running.untilSignal(
                [RunningService { try await provider.run { Terminal.write("Listening on \($0)") } }], logger: logger)
        } catch let error as IOError {
            throw Failure(
                error.errnoCode == EADDRINUSE ? "port \(port) on 127.0.0.1 is in use" : "cannot listen on 127.0.0.1 port \(port)",
                hint: "choose another with --port, or 0 to have one picked")
        }
    }

    private static func read(_ path: String) throws -> [RehearsalClient] {
        guard let data = InputFile.contents(of: path) else { throw Failure("\(path) cannot be read") }
        guard let values = try? JSONValue(parsing: data).array else { throw Failure("\(path) must hold a JSON array of clients") }
        return try values.map { value in
            guard let object = value.object, let id = object["id"]?.string else { throw Failure("\(path): each client needs an id") }
            var client = RehearsalClient(id: id, secret: object["secret"]?.string)
            try client.apply(object)
            return client
        }
    }
}

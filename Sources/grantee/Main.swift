import ArgumentParser
import Foundation

@main
struct Main {
    /// Parses, runs, and turns every end into the documented exit code: 0 done, 1 failed, 2 usage, 3 not found,
    /// 4 not connected or reauthorization required.
    static func main() async {
        // A closed pipe is an error of the write, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        Cores.use()
        do {
            var command = try GranteeCommand.parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch {
            exit(report(error))
        }
    }

    private static func report(_ error: any Error) -> Int32 {
        if let failure = error as? Failure {
            failure.print()
            return failure.exitCode
        }
        let code = GranteeCommand.exitCode(for: error)
        if code == .success {
            Terminal.write(GranteeCommand.fullMessage(for: error))
            return 0
        }
        if code == .validationFailure {
            // "See 'grantee token --help' for more information.": which help, as the parser knows it.
            let full = GranteeCommand.fullMessage(for: error)
            let help = full.firstMatch(of: /See '(?<help>[^']+)'/).map { String($0.help) } ?? "grantee --help"
            Failure(GranteeCommand.message(for: error), hint: "`\(help)` tells how", exitCode: Failure.usage).print()
            return Failure.usage
        }
        let failure = Failure(any: error)
        failure.print()
        return failure.exitCode
    }
}

struct GranteeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "grantee",
        abstract: "The OAuth 2.0 client side for every external API that your apps and AI agents call.",
        discussion: """
            `grantee demo` shows everything on this machine, without a provider. `grantee serve` runs the server; the other commands \
            speak to it: to GRANTEE_URL with GRANTEE_API_KEY, else to the server of the local data directory.

            Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 not connected or reauthorization required.
            """,
        version: "grantee 0.1.0",
        groupedSubcommands: [
            CommandGroup(name: "Servers", subcommands: [Serve.self, Demo.self, Provider.self]),
            CommandGroup(
                name: "Working with a server",
                subcommands: [
                    Console.self, Connections.self, Connect.self, Token.self, Call.self, Grants.self, Presets.self, Keys.self, Webhooks.self,
                    ActivityCommand.self, VaultCommand.self,
                ]),
            CommandGroup(name: "Without a server", subcommands: [Authorize.self]),
        ])
}

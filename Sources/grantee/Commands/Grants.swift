import ArgumentParser
import HTTPTypes
import OAuth

struct Grants: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "See, refresh and revoke grants.", subcommands: [List.self, Show.self, Refresh.self, Revoke.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List grants.")

        @Option(help: ArgumentHelp("Only of this connection.", valueName: "id")) var connection: String?
        @Option(help: "Only of this subject; - = shared grants.") var subject: String?
        @Option(help: "active, expired, reauthorization_required or revoked.") var state: String?
        @Option(help: "At most so many.") var limit: Int?
        @OptionGroup var server: ServerOptions

        func run() async throws {
            let items = try await server.client().list(
                "/v1/grants", query: [("connection", connection), ("subject", subject), ("state", state)], limit: limit)
            server.show(["items": .array(items)]) {
                var table = Table("CONNECTION", "SUBJECT", "STATE", "EXPIRES", "SCOPE")
                for item in items {
                    table.add(
                        item["connection"]?.shown ?? "", item["subject"]?.string ?? "(shared)", item["state"]?.shown ?? "",
                        item["expires_at"]?.string ?? "unknown",
                        item["scope"]?.shown ?? "")
                }
                table.print(nothing: "There are no grants. `grantee connect ID` makes one.")
            }
        }
    }

    struct Target: ParsableArguments {
        @Argument(help: "The connection's id.") var connection: String
        @Option(help: "Whose grant; left out: the shared one.") var subject: String?

        var path: String { APIClient.path("connections", connection, "grants", subject ?? "-") }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one grant.")
        @OptionGroup var target: Target
        @OptionGroup var server: ServerOptions

        func run() async throws {
            let grant = try await server.client().send(.get, target.path)
            server.show(grant) { Grants.print(grant) }
        }
    }

    struct Refresh: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Refresh a grant now.")
        @OptionGroup var target: Target
        @OptionGroup var server: ServerOptions

        func run() async throws {
            let grant = try await server.client().send(.post, target.path + "/refresh")
            server.show(grant) { Grants.print(grant) }
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Revoke a grant, here at once and at the provider where it can.")
        @OptionGroup var target: Target
        @Flag(name: [.short, .long], help: "Do not ask.") var yes = false
        @OptionGroup var server: ServerOptions

        func run() async throws {
            let whose = target.subject.map { "of \($0)" } ?? "that is shared"
            guard yes || Terminal.confirms("Revoke the grant \(whose) at \(target.connection)?") else {
                throw Failure("nothing was revoked", hint: "say yes, or give --yes")
            }
            let answer = try await server.client().send(.delete, target.path)
            server.show(answer) {
                switch answer["provider"]?.string {
                case "revoked": Terminal.write("Revoked, at the provider too.")
                case "pending": Terminal.write("Revoked here; the provider could not answer and is asked again.")
                case "unsupported": Terminal.write("Revoked here; the provider has no way to revoke it: its tokens live until they expire.")
                default: Terminal.write("Revoked here; the provider refused to revoke it: its tokens live until they expire.")
                }
            }
        }
    }

    static func print(_ grant: JSONValue) {
        var sheet = Sheet()
        sheet.add("connection", grant["connection"]?.shown)
        sheet.add("subject", grant["subject"]?.string ?? "(shared)")
        sheet.add("state", grant["state"]?.shown)
        for (name, member) in [
            ("reason", "state_reason"), ("since", "state_since"), ("account", "account"), ("scope", "scope"), ("not granted", "missing_scope"),
        ] {
            sheet.add(name, grant[member]?.shown)
        }
        sheet.add("expires", grant["expires_at"]?.string ?? "unknown")
        sheet.add("refresh token", grant["has_refresh_token"]?.shown)
        for (name, member) in [
            ("next refresh", "next_refresh_at"), ("last refresh", "refreshed_at"), ("last used", "last_used_at"), ("generation", "generation"),
            ("created", "created_at"),
        ] {
            sheet.add(name, grant[member]?.shown)
        }
        sheet.print()
    }
}

import ArgumentParser
import Foundation
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
        @Flag(help: "What will die: grants whose refresh token has a known end or a limit of inactivity, and client secrets with a noted end.")
        var expiring = false
        @Option(help: ArgumentHelp("With --expiring: within so many days. Default: 14.", valueName: "days")) var within: Int?
        @Option(help: "At most so many.") var limit: Int?
        @OptionGroup var server: ServerOptions

        private var days: Int { within ?? 14 }

        func validate() throws {
            guard within == nil || expiring else { throw ValidationError("--within goes with --expiring.") }
            guard (0...3650).contains(days) else { throw ValidationError("--within must be 0 to 3650 days") }
        }

        func run() async throws {
            let client = try server.client()
            let items = try await client.list(
                "/v1/grants",
                query: [
                    ("connection", connection), ("subject", subject), ("state", state), ("expiring_within", expiring ? String(days * 86_400) : nil),
                ], limit: limit)
            guard !expiring else {
                let connections = try await client.list("/v1/connections")
                return showExpiring(items, connections: connections.filter { connection == nil || $0["id"]?.string == connection })
            }
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

        private func showExpiring(_ items: [JSONValue], connections: [JSONValue]) {
            let limit = Date().addingTimeInterval(Double(days) * 86_400)
            let secrets = connections.compactMap { connection -> (id: String, end: String)? in
                guard let id = connection["id"]?.string, let end = connection["oauth"]?["client_secret_expires_at"]?.string,
                    let date = try? Date(end, strategy: .iso8601), date <= limit
                else { return nil }
                return (id, end)
            }
            let secretsShown = secrets.map { JSONValue.object(["connection": .string($0.id), "client_secret_expires_at": .string($0.end)]) }
            server.show(["items": .array(items), "client_secrets": .array(secretsShown)]) {
                var table = Table("WHAT DIES", "CONNECTION", "SUBJECT", "WHEN", "WHAT TO DO")
                for secret in secrets {
                    table.add(
                        "client secret", secret.id, "", secret.end,
                        "make a new one at the provider, then "
                            + "`grantee connections edit \(secret.id) --client-secret-file FILE --set oauth.client_secret_expires_at=END`")
                }
                for item in items.sorted(by: { $0["refresh_expires_at"]?.shown ?? "" < $1["refresh_expires_at"]?.shown ?? "" }) {
                    let id = item["connection"]?.shown ?? ""
                    let whose = item["subject"]?.string.map { " --subject \($0)" } ?? ""
                    table.add(
                        "refresh token", id, item["subject"]?.string ?? "(shared)", item["refresh_expires_at"]?.shown ?? "",
                        "`grantee grants refresh \(id)\(whose)`, or connect again")
                }
                table.print(nothing: "Nothing is known to die within \(days) days.")
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
        static let configuration = CommandConfiguration(
            abstract: "Revoke a grant, or many: here at once, on other nodes within a second, and at the provider where it can.",
            discussion: """
                With --all, every grant is revoked, or those that fit all of --connection, --subject and --key. Nothing of them is given out \
                any more, by other nodes within a second; the providers are then asked one by one.
                """)

        @Argument(help: "The connection's id.") var connection: String?
        @Option(help: "Whose grant; left out: the shared one. With --all: grants of this subject; - = shared ones.") var subject: String?
        @Flag(help: "Revoke many grants.") var all = false
        @Option(name: .customLong("connection"), help: ArgumentHelp("With --all: grants of this connection.", valueName: "id")) var ofConnection: String?
        @Option(help: ArgumentHelp("With --all: remove this API key, and revoke the grants that it was given tokens of.", valueName: "key-id")) var key: String?
        @Flag(name: [.short, .long], help: "Do not ask.") var yes = false
        @OptionGroup var server: ServerOptions

        func validate() throws {
            if all {
                guard connection == nil else { throw ValidationError("With --all, the connection is named by --connection.") }
            } else {
                guard connection != nil else { throw ValidationError("Missing expected argument '<connection>'") }
                guard ofConnection == nil, key == nil else { throw ValidationError("--connection and --key go with --all.") }
            }
        }

        func run() async throws {
            if let connection { try await revokeOne(of: connection) } else { try await revokeMany() }
        }

        private func requireYes(_ question: String) throws {
            guard yes || Terminal.confirms(question) else { throw Failure("nothing was revoked", hint: "say yes, or give --yes") }
        }

        private func revokeOne(of connection: String) async throws {
            let whose = subject.map { "of \($0)" } ?? "that is shared"
            try requireYes("Revoke the grant \(whose) at \(connection)?")
            let answer = try await server.client().send(.delete, APIClient.path("connections", connection, "grants", subject ?? "-"))
            server.show(answer) {
                switch answer["provider"]?.string {
                case "revoked": Terminal.write("Revoked, at the provider too.")
                case "pending": Terminal.write("Revoked here; the provider could not answer and is asked again.")
                case "unsupported": Terminal.write("Revoked here; the provider has no way to revoke it: its tokens live until they expire.")
                default: Terminal.write("Revoked here; the provider refused to revoke it: its tokens live until they expire.")
                }
            }
        }

        private func revokeMany() async throws {
            let many = ManyGrants(connection: ofConnection, subject: subject, key: key)
            try requireYes(many.question)
            let client = try server.client()
            let revocation = try await many.revoke(client)
            server.show(revocation) { ManyGrants.print(revocation) }
            if let failure = ManyGrants.failure(of: revocation) { throw failure }
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
        sheet.add("refresh token ends", grant["refresh_expires_at"]?.shown)
        for (name, member) in [
            ("next refresh", "next_refresh_at"), ("last refresh", "refreshed_at"), ("last used", "last_used_at"), ("generation", "generation"),
            ("created", "created_at"),
        ] {
            sheet.add(name, grant[member]?.shown)
        }
        sheet.print()
    }
}

import ArgumentParser
import HTTPTypes
import OAuth

struct Keys: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make, list and remove API keys.", subcommands: [List.self, Add.self, Remove.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List API keys.")
        @OptionGroup var server: ServerOptions

        func run() async throws {
            let items = try await server.client().list("/v1/keys")
            server.show(["items": .array(items)]) {
                var table = Table("ID", "NAME", "ROLE", "CONNECTIONS", "SUBJECTS", "PER MINUTE", "EXPIRES")
                for item in items {
                    table.add(
                        item["id"]?.shown ?? "", item["name"]?.shown ?? "", item["role"]?.shown ?? "",
                        item["connections"]?.array.map { _ in item["connections"]?.shown ?? "" } ?? "all",
                        item["subjects"]?.array.map { _ in item["subjects"]?.shown ?? "" } ?? "all", item["requests_per_minute"]?.shown ?? "",
                        item["expires_at"]?.shown ?? "")
                }
                table.print(nothing: "There are no API keys.")
            }
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make an API key and print it: it is shown this once.",
            discussion: "Roles: admin (everything), use (tokens, connecting, grants), agent (calls by MCP and gateway; never a token).")

        @Argument(help: "A name: people see it on connect pages.") var name: String
        @Option(help: "admin, use or agent.") var role = "use"
        @Option(name: .customLong("connection"), help: ArgumentHelp("Only this connection; may be repeated. Default: all.", valueName: "id")) var connections:
            [String] = []
        @Option(name: .customLong("subject"), help: ArgumentHelp("Only this subject; may be repeated. Default: all.", valueName: "subject")) var subjects:
            [String] = []
        @Option(help: ArgumentHelp("Requests per minute, at most.", valueName: "number")) var requestsPerMinute: Int?
        @Option(help: ArgumentHelp("When it ends, such as 2027-01-31T00:00:00Z.", valueName: "time")) var expiresAt: String?
        @OptionGroup var server: ServerOptions

        func run() async throws {
            var body: JSONObject = ["name": .string(name), "role": .string(role)]
            if !connections.isEmpty { body["connections"] = .array(connections.map(JSONValue.string)) }
            if !subjects.isEmpty { body["subjects"] = .array(subjects.map(JSONValue.string)) }
            if let requestsPerMinute { body["requests_per_minute"] = .number(JSONNumber(requestsPerMinute)) }
            if let expiresAt { body["expires_at"] = .string(expiresAt) }
            let key = try await server.client().send(.post, "/v1/keys", body: .object(body))
            server.show(key) {
                Terminal.say("Key \(key["id"]?.shown ?? ""), role \(key["role"]?.shown ?? ""). It is not shown again:")
                Terminal.write(key["key"]?.string ?? "")
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove an API key; it stops working at once, on other nodes within a second.")
        @Argument(help: "The key's id (key_…).") var id: String
        @Flag(name: [.short, .long], help: "Do not ask.") var yes = false
        @OptionGroup var server: ServerOptions

        func run() async throws {
            let api = try server.client()
            guard yes || Terminal.confirms("Remove the API key \(id)? Who uses it is refused from then on.") else {
                throw Failure("nothing was removed", hint: "say yes, or give --yes")
            }
            _ = try await api.send(.delete, APIClient.path("keys", id))
            server.show(["removed": .string(id)]) { Terminal.write("Removed \(id).") }
        }
    }
}

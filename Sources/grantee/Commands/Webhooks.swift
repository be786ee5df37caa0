import ArgumentParser
import HTTPTypes
import OAuth

struct Webhooks: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Be told of events: make, list and remove webhooks, see and repeat deliveries.",
        subcommands: [List.self, Add.self, Remove.self, Deliveries.self, Replay.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List webhooks.")
        @OptionGroup var server: ServerOptions

        func run() async throws {
            let items = try await server.client().list("/v1/webhooks")
            server.show(["items": .array(items)]) {
                var table = Table("ID", "URL", "EVENTS", "DISABLED")
                for item in items {
                    let events = item["events"]?.shown ?? ""
                    table.add(item["id"]?.shown ?? "", item["url"]?.shown ?? "", events == "*" ? "all" : events, item["disabled_at"]?.shown ?? "")
                }
                table.print(nothing: "There are no webhooks. `grantee webhooks add URL` makes one.")
            }
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a webhook and print its secret: it is shown this once.",
            discussion: "Messages are signed as Standard Webhooks says; any of its libraries checks them with this secret.")

        @Argument(help: "Where events are sent.") var url: String
        @Option(name: .customLong("event"), help: ArgumentHelp("Only this event; may be repeated. Default: all.", valueName: "event")) var events: [String] = []
        @OptionGroup var server: ServerOptions

        func run() async throws {
            let events = events.isEmpty ? ["*"] : events
            let webhook = try await server.client().send(
                .post, "/v1/webhooks", body: ["url": .string(url), "events": .array(events.map(JSONValue.string))])
            server.show(webhook) {
                Terminal.say("Webhook \(webhook["id"]?.shown ?? ""). Its secret is not shown again:")
                Terminal.write(webhook["secret"]?.string ?? "")
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove a webhook; nothing more is sent to it.")
        @Argument(help: "The webhook's id (wh_…).") var id: String
        @Flag(name: [.short, .long], help: "Do not ask.") var yes = false
        @OptionGroup var server: ServerOptions

        func run() async throws {
            let api = try server.client()
            guard yes || Terminal.confirms("Remove the webhook \(id)? What it has not got yet is not sent any more.") else {
                throw Failure("nothing was removed", hint: "say yes, or give --yes")
            }
            _ = try await api.send(.delete, APIClient.path("webhooks", id))
            server.show(["removed": .string(id)]) { Terminal.write("Removed \(id).") }
        }
    }

    struct Deliveries: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "See what became of events, newest first.")
        @Argument(help: "The webhook's id (wh_…).") var id: String
        @Option(help: "pending, delivered or failed.") var state: String?
        @Option(help: "At most so many.") var limit: Int?
        @OptionGroup var server: ServerOptions

        func run() async throws {
            let items = try await server.client().list(APIClient.path("webhooks", id, "deliveries"), query: [("state", state)], limit: limit)
            server.show(["items": .array(items)]) {
                var table = Table("ID", "CREATED", "EVENT", "CONNECTION", "SUBJECT", "STATE", "TRIES", "NEXT TRY", "LAST ERROR")
                for item in items {
                    table.add(
                        item["id"]?.shown ?? "", item["created_at"]?.shown ?? "", item["type"]?.shown ?? "", item["connection"]?.shown ?? "",
                        item["subject"]?.shown ?? "", item["state"]?.shown ?? "", item["tries"]?.shown ?? "", item["next_try_at"]?.shown ?? "",
                        item["last_error"]?.shown ?? "")
                }
                table.print(nothing: "There are no deliveries.")
            }
        }
    }

    struct Replay: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Deliver once more: all that failed, or what is named. A disabled webhook is enabled again.")
        @Argument(help: "The webhook's id (wh_…).") var id: String
        @Option(help: ArgumentHelp("All events since then, delivered ones too, such as 2027-01-31T00:00:00Z.", valueName: "time")) var since: String?
        @Option(help: ArgumentHelp("This delivery alone.", valueName: "id")) var delivery: String?
        @OptionGroup var server: ServerOptions

        func run() async throws {
            var body = JSONObject()
            if let since { body["since"] = .string(since) }
            if let delivery { body["delivery"] = .string(delivery) }
            let answer = try await server.client().send(.post, APIClient.path("webhooks", id) + "/replay", body: .object(body))
            server.show(answer) {
                let count = answer["replayed"]?.integer ?? 0
                Terminal.write(count == 1 ? "1 delivery is on its way again." : "\(count) deliveries are on their way again.")
            }
        }
    }
}

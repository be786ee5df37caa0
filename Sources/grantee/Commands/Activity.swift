import ArgumentParser
import OAuth

struct ActivityCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "activity", abstract: "Who used which grant for what, when, with what result. Newest first.")

    @Option(help: ArgumentHelp("Only of this connection.", valueName: "id")) var connection: String?
    @Option(help: "Only of this subject.") var subject: String?
    @Option(help: "At most so many.") var limit = 50
    @OptionGroup var server: ServerOptions

    func run() async throws {
        let items = try await server.client().list("/v1/activity", query: [("connection", connection), ("subject", subject)], limit: limit)
        server.show(["items": .array(items)]) {
            var table = Table("TIME", "ACTION", "CONNECTION", "SUBJECT", "KEY", "COUNT", "RESULT", "DETAIL")
            for item in items {
                table.add(
                    item["at"]?.shown ?? "", item["action"]?.shown ?? "", item["connection"]?.shown ?? "", item["subject"]?.shown ?? "",
                    item["key"]?.shown ?? "",
                    item["count"]?.shown ?? "", item["result"]?.shown ?? "", item["detail"]?.shown ?? "")
            }
            table.print(nothing: "Nothing was recorded yet.")
        }
    }
}

import ArgumentParser
import HTTPTypes
import OAuth

extension Connections {
    struct Test: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let the doctor look at a connection: what is wrong, by what it is seen, and what to do.",
            discussion: """
                It looks at the settings, the grants, the last failure, and at the provider without sending a secret. \
                With --probe it asks the provider how it wants the client authenticated: at most three requests. --apply writes what a check proposes. Exit code 0 when nothing is wrong, else 1.

                  grantee connections test google
                  grantee connections test google --probe --apply client_authentication
                """)
        @Argument(help: "The connection's id.") var id: String
        @Flag(help: "Ask the provider how it wants the client authenticated, with its credentials: at most three requests.") var probe = false
        @Option(help: ArgumentHelp("Write the change that this check proposes. May be given again.", valueName: "check")) var apply: [String] = []
        @Flag(name: .shortAndLong, help: "Show what was sent and what came back.") var verbose = false
        @OptionGroup var server: ServerOptions

        func run() async throws {
            var body: JSONObject = [:]
            if probe { body["probe"] = true }
            if !apply.isEmpty { body["apply"] = .array(apply.map(JSONValue.string)) }
            let found = try await server.client().send(.post, APIClient.path("connections", id, "diagnose"), body: .object(body))
            let checks = found["checks"]?.array ?? []
            server.show(found) { print(checks) }
            if !apply.isEmpty { Terminal.say("Applied: \(apply.joined(separator: ", ")).") }
            let wrong = checks.filter { $0["ok"]?.bool != true }
            guard wrong.isEmpty else {
                let names = wrong.compactMap { $0["id"]?.string }
                let patch = wrong.first { $0["apply"]?.object != nil }?["id"]?.string
                throw Failure(
                    "\(id) is not in order: \(names.joined(separator: ", "))",
                    hint: patch.map { "`grantee connections test \(id) --apply \($0)` writes what it proposes" })
            }
        }

        private func print(_ checks: [JSONValue]) {
            var table = Table("CHECK", "STATE", "WHAT")
            for check in checks { table.add(check["id"]?.shown ?? "", check["state"]?.shown ?? "", check["title"]?.shown ?? "") }
            table.print(nothing: "There was nothing to look at.")
            for check in checks where check["ok"]?.bool != true || verbose { Self.explain(check, withEvidence: verbose) }
        }

        private static func explain(_ check: JSONValue, withEvidence: Bool) {
            Terminal.write("")
            Terminal.write(Terminal.output.styled(Terminal.inert(check["title"]?.shown ?? ""), .bold, when: Terminal.output.isTerminal))
            var sheet = Sheet()
            sheet.add("what it means", check["detail"]?.shown)
            sheet.add("what to do", check["fix"]?.shown)
            for value in check["values"]?.array ?? [] { sheet.add(value["label"]?.string ?? "", value["text"]?.string) }
            if let link = check["link"], !link.isNull { sheet.add(link["title"]?.string ?? "", link["url"]?.string) }
            sheet.add("--apply writes", check["apply"].flatMap { $0.isNull ? nil : $0.shown })
            if withEvidence, let evidence = check["evidence"], !evidence.isNull {
                sheet.add("sent", evidence["sent"]?.shown)
                sheet.add("came back", evidence["received"]?.shown)
            }
            sheet.print()
        }
    }
}

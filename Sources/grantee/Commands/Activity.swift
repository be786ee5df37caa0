import ArgumentParser
import OAuth
import Server

struct ActivityCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "activity", abstract: "Read the activity log, and check that it is whole.",
        subcommands: [List.self, Verify.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Who used which grant for what, when, with what result. Newest first.")

        @Option(help: ArgumentHelp("Only of this connection.", valueName: "id")) var connection: String?
        @Option(help: "Only of this subject.") var subject: String?
        @Option(help: ArgumentHelp("Only what was done so: api.called, token.read, grant.revoked, …", valueName: "name")) var action: String?
        @Option(help: "At most so many.") var limit = 50
        @OptionGroup var server: ServerOptions

        func run() async throws {
            let query = [("connection", connection), ("subject", subject), ("action", action)]
            let items = try await server.client().list("/v1/activity", query: query, limit: limit)
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

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check that no entry of the log was altered or removed, from the database itself.",
            discussion: """
                Needs no server, and reads beside one that runs. Every entry is chained to the one before it by a key that is sealed in the \
                database; anchors sign how far the chain has come. The server writes each anchor to its own log too (`activity anchor`): one from \
                there, given with --anchor, shows even that the whole log was exchanged or its end cut off.

                Master keys: GRANTEE_MASTER_KEYS or GRANTEE_MASTER_KEYS_FILE, else master.key in the data directory. Exit code 1 names the first \
                entry that is wrong.
                """)

        @Option(help: ArgumentHelp("The server's data directory. Default: GRANTEE_DATA_DIR, else ./grantee-data.", valueName: "dir"), completion: .directory)
        var dataDir: String?
        @Option(
            help: ArgumentHelp(
                "sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE. Default: GRANTEE_DATABASE_URL or GRANTEE_DATABASE_URL_FILE, else the one in the data directory.",
                valueName: "url"))
        var databaseUrl: String?
        @Option(
            name: .customLong("anchor"),
            help: ArgumentHelp("An anchor that was kept elsewhere: [NODE:]SEQUENCE:MAC; may be repeated. Default node: main.", valueName: "anchor"))
        var anchors: [String] = []
        @Flag(help: "Print JSON, for programs.") var json = false

        func run() async throws {
            var configuration = ServerConfiguration()
            if let directory = Setting.value(dataDir, "GRANTEE_DATA_DIR") { configuration.dataDirectory = directory }
            try configuration.nameDatabase(databaseUrl)
            configuration.masterKeys = try ServerOptions.secret("GRANTEE_MASTER_KEYS")
            let audit = try await ActivityAudit(configuration, anchors: try anchors.map(Self.anchor))
            if json { Terminal.write(audit.json.pretty) } else { show(audit) }
            guard !audit.isWhole else { return }
            throw Failure(
                "the activity log was tampered with", details: audit.wrongs,
                hint: "keep the database as it is, and compare it with a backup and with the anchors in the server's log")
        }

        private func show(_ audit: ActivityAudit) {
            var table = Table("NODE", "ENTRIES", "FROM", "TO", "ANCHORS", "CHAIN")
            for chain in audit.chains {
                table.add(
                    chain.node, String(chain.entries), chain.from ?? "", chain.to ?? "", String(chain.anchors),
                    chain.broken.map { "broken at \($0.sequence)" } ?? "whole")
            }
            table.print(nothing: "There are no entries.")
            if audit.unlinked > 0 { Terminal.say("Entries in no chain: \(audit.unlinked); from before there was one: \(audit.unlinkedBefore).") }
        }

        /// - Throws: ``Failure`` (usage).
        private static func anchor(_ text: String) throws -> ActivityAudit.Anchor {
            let parts = text.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count >= 2, let sequence = Int(parts[parts.count - 2]), sequence > 0, let mac = bytes(hex: parts[parts.count - 1]), mac.count == 32
            else {
                throw Failure("--anchor must be [NODE:]SEQUENCE:MAC, the MAC being 64 hexadecimal digits", exitCode: Failure.usage)
            }
            let node = parts.dropLast(2).joined(separator: ":")
            return ActivityAudit.Anchor(node: node.isEmpty ? "main" : node, sequence: sequence, mac: mac)
        }

        private static func bytes(hex: Substring) -> [UInt8]? {
            let digits = hex.compactMap(\.hexDigitValue)
            guard digits.count == hex.count, digits.count.isMultiple(of: 2) else { return nil }
            return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
        }
    }
}

extension ActivityAudit {
    /// What is wrong, a line each.
    fileprivate var wrongs: [String] {
        var lines = chains.compactMap { chain in chain.broken.map { "node \(chain.node): \($0.words)" } }
        if added > 0 { lines.append("\(added) \(added == 1 ? "entry was" : "entries were") added past the chain") }
        return lines
    }

    fileprivate var json: JSONValue {
        func number(_ value: Int?) -> JSONValue { value.map { .number(JSONNumber($0)) } ?? .null }
        func text(_ value: String?) -> JSONValue { value.map(JSONValue.string) ?? .null }
        let nodes = chains.map { chain -> JSONValue in
            let broken: JSONValue? = chain.broken.map {
                ["kind": .string($0.kind), "sequence": number($0.sequence), "entry": text($0.entry), "detail": .string($0.words)]
            }
            return [
                "node": .string(chain.node), "whole": .bool(chain.broken == nil), "entries": number(chain.entries), "first": number(chain.first),
                "last": number(chain.last), "from": text(chain.from), "to": text(chain.to), "anchors": number(chain.anchors), "cut_at": number(chain.cutAt),
                "broken": broken ?? .null,
            ]
        }
        return [
            "whole": .bool(isWhole), "nodes": .array(nodes), "unlinked": number(unlinked), "unlinked_before": number(unlinkedBefore), "added": number(added),
        ]
    }
}

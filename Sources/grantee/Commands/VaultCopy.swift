import ArgumentParser
import OAuth
import Server
import Synchronization

extension VaultCommand {
    struct Copy: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Move a whole vault to another place: between SQLite and PostgreSQL, either way.",
            discussion: """
                No server may run on either. The target has to be empty: a new file or folder, or an empty database. Everything is copied as it is \
                and stays sealed, so no master key is needed; the new server needs the same ones. In the end the digests of all tables on both \
                sides are compared. What is interrupted goes on when the same command is run again.

                The source is then marked as moved, and no server starts on it: two servers would spend each other's refresh tokens. \
                `grantee vault reopen` opens it again.

                A PostgreSQL URL with a password is visible to others on this machine when it is an argument: put it into a file, and name the \
                file in GRANTEE_COPY_FROM_FILE or GRANTEE_COPY_TO_FILE.
                """)
        @Option(
            help: ArgumentHelp(
                "A data directory, sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE. GRANTEE_COPY_FROM or GRANTEE_COPY_FROM_FILE.",
                valueName: "place"))
        var from: String?
        @Option(help: ArgumentHelp("The same. GRANTEE_COPY_TO or GRANTEE_COPY_TO_FILE.", valueName: "place"))
        var to: String?
        @Flag(help: "Compare the two, and copy nothing. Exit code 1 when they differ.") var verify = false
        @Flag(help: "Print JSON, for programs.") var json = false

        func run() async throws {
            let source = try Self.place(from, "--from", "GRANTEE_COPY_FROM")
            let target = try Self.place(to, "--to", "GRANTEE_COPY_TO")
            let begun = ContinuousClock.now
            let bars = Bars()
            let copy: VaultCopy
            do {
                copy =
                    verify
                    ? try await VaultCopy.compare(from: source, to: target, progress: bars.show)
                    : try await VaultCopy.run(from: source, to: target, progress: bars.show)
                bars.finish()
            } catch {
                bars.finish()
                throw error
            }
            if json { Terminal.write(copy.json.pretty) } else { show(copy, in: ContinuousClock.now - begun) }
            guard !copy.isSame else { return }
            throw Failure(
                "the two differ in \(copy.tables.filter { !$0.isSame }.map(\.name).joined(separator: ", "))",
                hint: "a server that has run on one of them since has changed it")
        }

        private static func place(_ given: String?, _ flag: String, _ variable: String) throws -> VaultCopy.Place {
            if let given { return VaultCopy.Place(given, setting: flag) }
            guard let (text, variable) = try ServerOptions.namedSecret(variable) else {
                throw Failure("\(flag) is needed", hint: "or set \(variable) or \(variable)_FILE", exitCode: Failure.usage)
            }
            return VaultCopy.Place(text, setting: variable)
        }

        private func show(_ copy: VaultCopy, in time: Duration) {
            var table = Table("TABLE", "FROM", "TO", "SHA-256")
            for line in copy.tables { table.add(line.name, String(line.rows), String(line.rowsThere), line.isSame ? line.sha256 : "differs") }
            table.print(nothing: "")
            guard !verify else {
                if copy.isSame { Terminal.write("Both hold the same: \(VaultCommand.count(copy.rows, "row")).") }
                return
            }
            let rows = VaultCommand.count(copy.rows, "row")
            Terminal.write("Moved \(rows) from \(copy.from) to \(copy.to), in \(VaultCommand.seconds(time)). Both hold the same.")
            Terminal.say(
                """
                It opens with \(copy.masterKeyIDs.joined(separator: " and ")): give the new server the same master keys, from master.key or \
                from where you keep them. Then run `grantee vault verify` on it.
                Leave the old one stopped for good: from the new one's first refresh on, its refresh tokens are spent. No server starts on it; \
                `grantee vault reopen` opens it again, as a backup of now.
                """)
        }
    }

    // MARK: reopen

    struct Reopen: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Open a vault again that `grantee vault copy` has moved elsewhere.",
            discussion: """
                For when the new place was lost or never used: stop the server there for good first. The vault is then as a backup of the time \
                when it was moved: refresh tokens that were used since are spent, and `grantee vault verify` names the grants.
                """)
        @Argument(
            help: ArgumentHelp(
                """
                A data directory, sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE. Default: GRANTEE_DATABASE_URL or \
                GRANTEE_DATABASE_URL_FILE, else GRANTEE_DATA_DIR, else ./grantee-data.
                """,
                valueName: "place"))
        var place: String?

        func run() async throws {
            let named = try place == nil ? ServerOptions.namedSecret("GRANTEE_DATABASE_URL") : nil
            let text = place ?? named?.text ?? Setting.value(nil, "GRANTEE_DATA_DIR") ?? "./grantee-data"
            let moved = try await VaultCopy.reopen(text, setting: named?.variable ?? "the place")
            Terminal.write("A server may start on it again. It was moved to \(moved.to) at \(moved.at), and is a backup of that time now.")
            Terminal.say("No server may run on \(moved.to) any more. `grantee vault verify` names the grants whose refresh tokens may be spent.")
        }
    }

    /// Drawn from whichever task copies.
    private final class Bars: Sendable {
        private let progress = Mutex(Progress())

        func show(_ phase: VaultCopy.Phase, _ done: Int, _ total: Int) {
            let label =
                switch phase {
                case .reading: "Reading the source"
                case .copying: "Copying"
                case .checking: "Checking the target"
                }
            progress.withLock { $0.show(label, done: done, total: total) }
        }

        func finish() { progress.withLock { $0.finish() } }
    }
}

extension VaultCopy {
    fileprivate var json: JSONValue {
        [
            "from": .string(from), "to": .string(to), "same": .bool(isSame), "master_key_ids": .array(masterKeyIDs.map(JSONValue.string)),
            "tables": .array(
                tables.map { table in
                    [
                        "table": .string(table.name), "same": .bool(table.isSame),
                        "from": ["rows": .number(JSONNumber(table.rows)), "sha256": .string(table.sha256)],
                        "to": ["rows": .number(JSONNumber(table.rowsThere)), "sha256": .string(table.sha256There)],
                    ]
                }),
        ]
    }
}

import ArgumentParser
import HTTPTypes
import OAuth
import Server

struct VaultCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vault", abstract: "Back up, check, rekey and move what a server keeps.",
        subcommands: [Show.self, Verify.self, Rotate.self, Backup.self, Copy.self, Reopen.self], defaultSubcommand: Show.self)

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Which keys seal, and whether the database came from a backup.")
        @OptionGroup var server: ServerOptions

        func run() async throws {
            let vault = try await server.client().send(.get, "/v1/vault")
            server.show(vault) {
                var sheet = Sheet()
                sheet.add("master key", vault["master_key_id"]?.shown)
                sheet.add("data keys", vault["data_keys"]?.shown)
                sheet.add("retired data keys", vault["retired_data_keys"]?.shown)
                if vault["rotating"]?.bool == true { sheet.add("rotation", "begun; `grantee vault rotate` goes on with it unless it runs") }
                if let restored = vault["restored"], !restored.isNull {
                    sheet.add("backup of", restored["backup_at"]?.shown)
                    sheet.add("restored", restored["restored_at"]?.shown)
                    sheet.add("may be spent", VaultCommand.count(vault["may_be_spent"]?.integer ?? 0, "refresh token"))
                }
                sheet.print()
            }
        }
    }

    // MARK: verify

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check that everything that a server keeps can be opened.",
            discussion: """
                The database file, the keys, every sealed value at its place, the activity log. The server goes on serving meanwhile. After a \
                restore it also names the grants whose refresh tokens may have been spent since the backup. Exit code 1 when there is a fault.
                """)
        @OptionGroup var server: ServerOptions

        func run() async throws {
            var progress = Progress()
            let result: JSONValue
            do {
                result = try await server.client().lines(.post, "/v1/vault/verify") { line in
                    if server.json { return Terminal.write(line.line) }
                    switch line["phase"]?.string {
                    case "database": progress.show("Checking the database", line)
                    case "data_keys": progress.show("Checking the keys", line)
                    case "sealed_values": progress.show("Opening what is sealed", line)
                    case "activity": progress.show("Checking the activity log", line)
                    default: break
                    }
                }
                progress.finish()
            } catch {
                progress.finish()
                throw error
            }
            if !server.json { Self.print(result) }
            guard result["ok"]?.bool == true else {
                throw Failure(
                    "the vault has \(VaultCommand.count(result["fault_count"]?.integer ?? 0, "fault"))",
                    hint: "keep a copy of the database as it is; a restored backup has what was whole when it was made")
            }
        }

        private static func print(_ result: JSONValue) {
            let faults = result["faults"]?.array ?? []
            if faults.isEmpty {
                Terminal.write("Everything opens: \(VaultCommand.count(result["checked"]?.integer ?? 0, "key and value", "keys and values")).")
            } else {
                var table = Table("RECORD", "CONNECTION", "UID", "FIELD", "FAULT")
                for fault in faults {
                    table.add(
                        fault["record"]?.shown ?? "", fault["connection"]?.shown ?? "", fault["uid"]?.shown ?? "", fault["field"]?.shown ?? "",
                        fault["detail"]?.shown ?? "")
                }
                table.print(nothing: "")
                let hidden = (result["fault_count"]?.integer ?? 0) - faults.count
                if hidden > 0 { Terminal.say("\(hidden) more are not shown.") }
            }
            let count = result["may_be_spent_count"]?.integer ?? 0
            guard count > 0 else { return }
            Terminal.write("")
            Terminal.write("This database came from a backup. \(VaultCommand.count(count, "grant")) may hold a refresh token that was spent since:")
            var table = Table("CONNECTION", "SUBJECT", "REFRESHED")
            let grants = result["may_be_spent"]?.array ?? []
            for grant in grants {
                table.add(grant["connection"]?.shown ?? "", grant["subject"]?.string ?? "(shared)", grant["refreshed_at"]?.string ?? "never")
            }
            table.print(nothing: "")
            if count > grants.count { Terminal.say("\(count - grants.count) more are not shown.") }
            Terminal.say("Each is refreshed when its access token no longer serves. Where the provider refuses, the person has to connect again.")
        }
    }

    // MARK: rotate

    struct Rotate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give the vault another master key, and with --data-keys seal everything anew.",
            discussion: """
                The server goes on serving meanwhile. What was begun is gone on with when this is run again, also after a crash.

                Where the server keeps its master key itself (master.key in the data directory), a new one takes its place: if you have \
                backups, copy the file first, to another place, for without the old key they open no more. Where GRANTEE_MASTER_KEYS or \
                GRANTEE_MASTER_KEYS_FILE gives it: put a new key first in the list, keep the old one behind it, restart the server, run this, and \
                take the old one out.
                """)
        @Flag(help: "New data keys too: everything is sealed anew, and the old data keys are deleted.") var dataKeys = false
        @OptionGroup var server: ServerOptions

        @Flag(name: [.short, .long], help: "Do not ask.") var yes = false

        func run() async throws {
            if !yes, Terminal.isAsking {
                Terminal.say("Backups open with the master key of their time alone: keep a copy of it, in another place, as long as you keep them.")
                guard Terminal.confirms("Rotate now?") else { throw Failure("nothing was rotated", hint: "copy master.key, then say yes, or give --yes") }
            }
            var progress = Progress()
            let result: JSONValue
            do {
                result = try await server.client().lines(.post, "/v1/vault/rotate", body: ["data_keys": .bool(dataKeys)]) { line in
                    if server.json { return Terminal.write(line.line) }
                    switch line["phase"]?.string {
                    case "master_key": progress.show("Wrapping data keys", line)
                    case "data_keys": progress.show("Sealing anew", line)
                    default: break
                    }
                }
                progress.finish()
            } catch {
                progress.finish()
                throw error
            }
            if !server.json { Self.print(result, dataKeys: dataKeys) }
        }

        /// - Parameter stay: seconds until they go by themselves; 0 = they do not.
        private static func words(retired: Int, stay: Int, damaged: Int) -> String {
            let keys = VaultCommand.count(retired, "old data key")
            if stay == 0 { return "\(keys) could not be deleted yet. The next rotation with --data-keys does it." }
            let minutes = (stay + 59) / 60
            let exception = damaged > 0 ? ", but for those of the values that did not open" : ""
            return retired == 1
                ? "\(keys) stays for some \(minutes) minutes, as other nodes may need it; then it goes by itself\(exception)."
                : "\(keys) stay for some \(minutes) minutes, as other nodes may need them; then they go by themselves\(exception)."
        }

        private static func print(_ result: JSONValue, dataKeys: Bool) {
            func number(_ name: String) -> Int { result[name]?.integer ?? 0 }
            Terminal.write("The master key is \(result["master_key_id"]?.shown ?? ""); \(VaultCommand.count(number("rewrapped"), "data key")) wrapped anew.")
            if dataKeys || number("resealed") > 0 { Terminal.write("The data keys are new; \(VaultCommand.count(number("resealed"), "value")) sealed anew.") }
            if number("damaged") > 0 {
                Terminal.say("\(VaultCommand.count(number("damaged"), "value")) did not open and stayed as before. `grantee vault verify` names them.")
            }
            let retired = number("retired_data_keys")
            if retired > 0 { Terminal.say(Self.words(retired: retired, stay: number("retired_data_keys_stay"), damaged: number("damaged"))) }
            let removable = result["removable_master_keys"]?.array ?? []
            if !removable.isEmpty {
                Terminal.say("Nothing needs these master keys any more; take them out of the list: \(removable.map(\.shown).joined(separator: ", "))")
            }
            Terminal.say("A backup made before opens with the master key of its time alone: keep that key as long as the backup, or make a new backup.")
        }
    }

    // MARK: backup

    struct Backup: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Copy a server's database into one file, without a server or beside one that runs.",
            discussion: """
                The copy is as the database was at one moment, and is checked. The master key is not in it: keep it too, in another place.

                To restore: stop the server, put the file in place as grantee.sqlite, remove grantee.sqlite-wal and grantee.sqlite-shm, start the \
                server with the master key of that time, and run `grantee vault verify`.
                """)
        @Argument(help: ArgumentHelp("Where to put it.", valueName: "file"), completion: .file()) var file: String
        @Option(help: ArgumentHelp("The server's data directory. Default: GRANTEE_DATA_DIR, else ./grantee-data.", valueName: "dir"), completion: .directory)
        var dataDir: String?
        @Option(help: ArgumentHelp("sqlite:PATH. Default: GRANTEE_DATABASE_URL, else the one in the data directory.", valueName: "url"))
        var databaseUrl: String?
        @Flag(help: "Replace a file that is there.") var force = false
        @Flag(help: "Print JSON, for programs.") var json = false

        func run() async throws {
            guard !file.isEmpty else { throw Failure("the file needs a name", exitCode: Failure.usage) }
            var configuration = ServerConfiguration()
            if let directory = Setting.value(dataDir, "GRANTEE_DATA_DIR") { configuration.dataDirectory = directory }
            try configuration.nameDatabase(databaseUrl)
            let begun = ContinuousClock.now
            var progress = Progress()
            defer { progress.finish() }
            let backup = try Server.Backup(of: configuration, to: file, replacing: force) { progress.show("Copying", done: $0, total: $1) }
            progress.finish()
            if json { return Terminal.write(backup.json.pretty) }
            Terminal.write(
                "Backed up to \(backup.path): \(Self.size(backup.bytes)), as of \(backup.at), in \(VaultCommand.seconds(ContinuousClock.now - begun)).")
            Terminal.say(
                """
                The master key is NOT in it: it opens with \(backup.masterKeyIDs.joined(separator: " and ")), from master.key or from \
                where you keep it. Keep the two apart.
                To restore: stop the server, put the file in place as grantee.sqlite, remove grantee.sqlite-wal and grantee.sqlite-shm, start the \
                server, and run `grantee vault verify`.
                A backup that is older than a refresh may hold spent refresh tokens: after a restore `grantee vault verify` names those grants.
                What is removed from now on stays in it until you delete it.
                """)
        }

        /// `312 kB`, `4.7 MB`
        private static func size(_ bytes: Int) -> String {
            if bytes < 1_000_000 { return "\((bytes + 999) / 1000) kB" }
            let (tenths, unit) = bytes < 1_000_000_000 ? (bytes / 100_000, "MB") : (bytes / 100_000_000, "GB")
            return "\(tenths / 10).\(tenths % 10) \(unit)"
        }
    }

    /// `0.4 s`
    static func seconds(_ duration: Duration) -> String {
        let tenths = Int(duration / .milliseconds(100))
        return "\(tenths / 10).\(tenths % 10) s"
    }

    /// `1 grant`, `2 grants`
    static func count(_ number: Int, _ one: String, _ many: String? = nil) -> String { "\(number) \(number == 1 ? one : many ?? one + "s")" }

    /// A bar for each phase, one after the other.
    struct Progress {
        private var label: String?
        private var total = 0
        private var bar: ProgressBar?

        mutating func show(_ label: String, _ line: JSONValue) { show(label, done: line["done"]?.integer ?? 0, total: line["total"]?.integer ?? 0) }

        mutating func show(_ label: String, done: Int, total: Int) {
            if label != self.label { finish() }
            // How much there is may turn out while it is done.
            if label != self.label || total != self.total { bar = ProgressBar(label, total: total) }
            (self.label, self.total) = (label, total)
            bar?.show(done)
        }

        mutating func finish() {
            bar?.finish()
            (bar, label) = (nil, nil)
        }
    }
}

extension JSONValue {
    /// As one line, for programs.
    fileprivate var line: String { String(decoding: serialized(), as: UTF8.self) }
}

extension Server.Backup {
    fileprivate var json: JSONValue {
        ["file": .string(path), "bytes": .number(JSONNumber(bytes)), "at": .string(at), "master_key_ids": .array(masterKeyIDs.map(JSONValue.string))]
    }
}

import ArgumentParser
import Egress
import Foundation
import Logging
import OAuth
import Server

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the server.",
        discussion: """
            Everything it keeps is in the data directory: the database, the key that seals it (master.key) and the admin API key (admin.key). \
            Each setting is a flag, else the environment variable named beside it, else the default.
            """)

    @OptionGroup var settings: ServeSettings

    func run() async throws {
        // A core file would hold every secret in memory. SEC-55.
        var none = rlimit(rlim_cur: 0, rlim_max: 0)
        #if os(Linux)
            setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
        #else
            setrlimit(RLIMIT_CORE, &none)
        #endif
        let configuration = try settings.configuration()
        try settings.log.install()
        let logger = Logger(label: "grantee")
        let server = GranteeServer(configuration: configuration, logger: logger)
        try await Running.untilSignal(
            [
                RunningService {
                    try await server.run { listening in
                        Terminal.write("Listening on \(listening.url)")
                        guard Terminal.output.isTerminal else { return }
                        do {
                            // On the terminal alone: what goes to a file is read later, by others.
                            Terminal.write("Console \(try await listening.signInLink())  (one use, 5 minutes; `grantee console` makes another)")
                        } catch {
                            Terminal.say("No link to the console could be made; `grantee console` makes one.")
                        }
                        if listening.publicURL != listening.url { Terminal.say("Public URL: \(listening.publicURL)") }
                        if configuration.isAlone {
                            Terminal.say("The admin API key is in \(configuration.dataDirectory)/admin.key; the other commands find it by themselves.")
                        } else {
                            Terminal.say("The other commands find this server by GRANTEE_URL and GRANTEE_API_KEY.")
                        }
                        Terminal.say("Next: open the console, or `grantee presets`, then `grantee connections add`. Stop with Ctrl-C.")
                    }
                }
            ], grace: Running.grace + configuration.drain, logger: logger)
    }
}

struct LogSettings: ParsableArguments {
    @Option(help: ArgumentHelp("trace, debug, info, notice, warning, error or critical. GRANTEE_LOG_LEVEL; default: info.", valueName: "level"))
    var logLevel: String?

    @Option(help: ArgumentHelp("text or json. GRANTEE_LOG_FORMAT; default: text on a terminal, else json.", valueName: "format"))
    var logFormat: String?

    /// - Throws: ``Failure`` (usage) naming the setting.
    func install(defaultLevel: Logger.Level = .info) throws {
        let levelText = Setting.value(logLevel, "GRANTEE_LOG_LEVEL")
        guard let level = levelText.map({ Logger.Level(rawValue: $0) }) ?? defaultLevel else {
            throw Failure("--log-level must be one of \(Logger.Level.names.joined(separator: ", "))", exitCode: Failure.usage)
        }
        let formatText = Setting.value(logFormat, "GRANTEE_LOG_FORMAT")
        guard let format = formatText.map({ LineLog.Format(rawValue: $0) }) ?? (Terminal.errors.isTerminal ? .text : .json) else {
            throw Failure("--log-format must be text or json", exitCode: Failure.usage)
        }
        LineLog.install(format: format, level: level)
    }
}

/// Flag, else environment, else nothing.
enum Setting {
    static func value(_ flag: String?, _ variable: String) -> String? {
        flag ?? ProcessInfo.processInfo.environment[variable].flatMap { $0.isEmpty ? nil : $0 }
    }

    static func port(_ flag: Int?, _ name: String, _ variable: String) throws -> Int? {
        let number: Int?
        if let flag {
            number = flag
        } else if let text = value(nil, variable) {
            guard let parsed = Int(text) else { throw Failure("\(variable) must be a port, 0 to 65535", exitCode: Failure.usage) }
            number = parsed
        } else {
            number = nil
        }
        if let number, !(0...65_535).contains(number) { throw Failure("\(name) must be 0 to 65535", exitCode: Failure.usage) }
        return number
    }

    static func days(_ flag: Int?, _ name: String, _ variable: String) throws -> Int? {
        let number =
            try flag
            ?? value(nil, variable).map { text in
                guard let number = Int(text) else { throw Failure("\(variable) must be a number of days, 1 to 36500", exitCode: Failure.usage) }
                return number
            }
        if let number, !(1...36_500).contains(number) { throw Failure("\(name) must be 1 to 36500", exitCode: Failure.usage) }
        return number
    }

    static func seconds(_ flag: Int?, _ name: String, _ variable: String) throws -> Duration? {
        let number =
            try flag
            ?? value(nil, variable).map { text in
                guard let number = Int(text) else { throw Failure("\(variable) must be a number of seconds, 0 to 3600", exitCode: Failure.usage) }
                return number
            }
        if let number, !(0...3600).contains(number) { throw Failure("\(name) must be 0 to 3600", exitCode: Failure.usage) }
        return number.map { .seconds($0) }
    }

    static func networks(_ flag: String?, _ name: String, _ variable: String) throws -> [Egress.CIDR] {
        guard let text = value(flag, variable) else { return [] }
        return try text.split(separator: ",").map { part in
            guard let network = Egress.CIDR(part.trimmingCharacters(in: .whitespaces)) else {
                throw Failure("\(name): \(part) is not a network such as 10.1.0.0/16 or ::1/128", exitCode: Failure.usage)
            }
            return network
        }
    }

    static func flag(_ flag: Bool, _ variable: String) throws -> Bool {
        if flag { return true }
        switch value(nil, variable)?.lowercased() {
        case nil, "0", "false", "no": return false
        case "1", "true", "yes": return true
        default: throw Failure("\(variable) must be true or false", exitCode: Failure.usage)
        }
    }
}

struct ServeSettings: ParsableArguments {
    @Option(help: ArgumentHelp("Where everything is kept. GRANTEE_DATA_DIR; default: ./grantee-data.", valueName: "dir"), completion: .directory)
    var dataDir: String?
    @Option(help: ArgumentHelp("Listen address. GRANTEE_HOST; default: 127.0.0.1.", valueName: "address"))
    var host: String?
    @Option(help: ArgumentHelp("Listen port, 0 = pick one. GRANTEE_PORT; default: 8080.", valueName: "port"))
    var port: Int?
    @Option(help: ArgumentHelp("Where browsers and providers reach the server. GRANTEE_PUBLIC_URL; default on loopback: http://HOST:PORT.", valueName: "url"))
    var publicUrl: String?
    @Option(
        help: ArgumentHelp(
            "sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE. GRANTEE_DATABASE_URL or GRANTEE_DATABASE_URL_FILE; default: in the data directory.",
            valueName: "url"))
    var databaseUrl: String?
    @Option(help: ArgumentHelp("This node's name among those that share a PostgreSQL database. GRANTEE_NODE; default: the machine's.", valueName: "name"))
    var node: String?
    @Option(
        help: ArgumentHelp(
            "Networks that outbound requests may reach besides public ones, by http too. GRANTEE_EGRESS_ALLOW; default: none.", valueName: "cidr[,cidr]"))
    var egressAllow: String?
    @Option(help: ArgumentHelp("Proxy for outbound requests. GRANTEE_OUTBOUND_PROXY; default: none.", valueName: "url"))
    var outboundProxy: String?
    @Option(help: ArgumentHelp("PEM file of certificates trusted besides the system's. GRANTEE_CA_FILE; default: none.", valueName: "pem"), completion: .file())
    var caFile: String?
    @Option(help: ArgumentHelp("Reverse proxies whose X-Forwarded-For counts. GRANTEE_TRUSTED_PROXIES; default: none.", valueName: "cidr[,cidr]"))
    var trustedProxies: String?
    @Flag(help: "Refuse connections with the password grant. GRANTEE_FORBID_PASSWORD_GRANT.")
    var forbidPasswordGrant = false
    @Option(help: ArgumentHelp("Serve /metrics without a key on a port of its own. GRANTEE_METRICS_PORT; default: on the main port.", valueName: "port"))
    var metricsPort: Int?
    @Option(help: ArgumentHelp("How long the activity log is kept, in days. GRANTEE_ACTIVITY_DAYS; default: 400.", valueName: "days"))
    var activityDays: Int?
    @Option(
        help: ArgumentHelp(
            "How long to go on after SIGTERM while /health/ready says no, in seconds: for balancers that ask. GRANTEE_DRAIN; default: 0.", valueName: "seconds")
    )
    var drain: Int?
    @OptionGroup var log: LogSettings

    /// - Throws: ``Failure`` (usage) naming the setting.
    func configuration() throws -> ServerConfiguration {
        var configuration = ServerConfiguration()
        if let directory = Setting.value(dataDir, "GRANTEE_DATA_DIR") { configuration.dataDirectory = directory }
        if let host = Setting.value(host, "GRANTEE_HOST") { configuration.host = host }
        if let port = try Setting.port(port, "--port", "GRANTEE_PORT") { configuration.port = port }
        configuration.publicURL = Setting.value(publicUrl, "GRANTEE_PUBLIC_URL")
        try configuration.nameDatabase(databaseUrl)
        configuration.node = Setting.value(node, "GRANTEE_NODE")
        configuration.masterKeys = try ServerOptions.secret("GRANTEE_MASTER_KEYS")
        configuration.adminKey = try ServerOptions.secret("GRANTEE_ADMIN_KEY")
        configuration.egressAllow = try Setting.networks(egressAllow, "--egress-allow", "GRANTEE_EGRESS_ALLOW")
        configuration.trustedProxies = try Setting.networks(trustedProxies, "--trusted-proxies", "GRANTEE_TRUSTED_PROXIES")
        configuration.caFile = Setting.value(caFile, "GRANTEE_CA_FILE")
        configuration.forbidPasswordGrant = try Setting.flag(forbidPasswordGrant, "GRANTEE_FORBID_PASSWORD_GRANT")
        configuration.metricsPort = try Setting.port(metricsPort, "--metrics-port", "GRANTEE_METRICS_PORT")
        if let days = try Setting.days(activityDays, "--activity-days", "GRANTEE_ACTIVITY_DAYS") { configuration.activityDays = days }
        if let drain = try Setting.seconds(drain, "--drain", "GRANTEE_DRAIN") { configuration.drain = drain }
        if let text = Setting.value(outboundProxy, "GRANTEE_OUTBOUND_PROXY") {
            do {
                configuration.outboundProxy = try EndpointURL(text)
            } catch {
                throw Failure("--outbound-proxy \(error.description)", exitCode: Failure.usage)
            }
        }
        return configuration
    }
}

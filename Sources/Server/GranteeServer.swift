package import Broker
import Egress
import Foundation
import Gateway
import HTTPTypes
import Hummingbird
import HummingbirdCore
package import Logging
import NIOCore
import OAuth
import OAuthClientAsyncHTTP
import SQLiteStore
import ServiceLifecycle
import Synchronization
import Vault

/// One running server: what `serve`, `demo` and the tests start.
package struct GranteeServer: Sendable {
    package struct Listening: Sendable {
        /// `http://127.0.0.1:8080`
        package var url: String
        package var publicURL: String
        /// `nil` where the database has it and this server was not told.
        package var adminKey: String?
        /// The use cases, for a caller in the same process.
        package var broker: Broker

        /// A link that signs in at the console once, for who started the server.
        package func signInLink() async throws -> String {
            guard let adminKey, let admin = broker.authenticate(adminKey) else { throw Problem(.unauthenticated, "the admin key was replaced") }
            return try await broker.makeSignInLink(by: admin).url
        }
    }

    /// How long the answer to a refresh is waited for, long after its callers have gone.
    private static let longestAnswer: Duration = .seconds(300)

    private let configuration: ServerConfiguration
    private let logger: Logger

    package init(configuration: ServerConfiguration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
    }

    /// Opens the data directory (lock, keys, database), listens, writes `server.json`, and serves until graceful
    /// shutdown or cancellation. Then waits for token requests that were sent, writes what they gave, and returns.
    /// - Parameter onListening: called once.
    /// - Throws: ``StartError``
    package func run(onListening: @escaping @Sendable (Listening) async -> Void) async throws {
        let gate = Gate()
        try await LateShutdown.run(
            after: configuration.drain, logger: logger, onShutdown: { gate.end() }, onEnd: { await gate.end(within: .milliseconds(200)) },
            work: { try await run(behind: gate, onListening: onListening) })
    }

    private func run(behind gate: Gate, onListening: @escaping @Sendable (Listening) async -> Void) async throws {
        _ = MetricsRegistry.shared
        try configuration.check()
        let trust: Trust
        do {
            trust = try Trust(caFile: configuration.caFile)
        } catch {
            throw StartError(any: error, configuration)
        }
        let home = try Home(configuration)
        let store = try await home.openStore()
        try await requireWhole(store)
        let entry = try await Entry(home, store, configuration, logger)
        let pages = try Pages()
        let console = try Console()
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                let (running, continuation) = AsyncStream<Int>.makeStream()
                let host = configuration.host
                group.addTask {
                    defer { continuation.finish() }
                    let front = HTTPServerBuilder { FrontChannel(responder: $0, gate: gate) }
                    try await self.serve(gate, front, host: host, port: self.configuration.port) { channel, port in
                        gate.listens(on: channel)
                        continuation.yield(port)
                    }
                }
                for await port in running {
                    let publicURL = try configuration.publicEndpoint(port: port)
                    let url = "http://\(host.contains(":") ? "[\(host)]" : host):\(port)"
                    let own = try ownOrigins(publicURL, port: port)
                    let egress = Egress(policy: .init(allowed: configuration.egressAllow, ownOrigins: own, proxy: configuration.outboundProxy)) {
                        gate.broker?.noteEgressException(host: $0.authority)
                    }
                    let transport = AsyncHTTPTransport(egress: egress, trust: trust)
                    var rules = Broker.Configuration(publicURL: publicURL.origin, forbidPasswordGrant: configuration.forbidPasswordGrant)
                    rules.activityDays = configuration.activityDays
                    rules.masterKeyFile = home.masterKeyFile
                    rules.version = ServerFacts.version
                    if let node = entry.node { rules.node = node }
                    rules.lostNodes = entry.lostNodes
                    let broker = Broker(
                        store: store, keyring: entry.keyring, transport: transport, patientTransport: transport.waiting(Self.longestAnswer), egress: egress,
                        logger: logger, configuration: rules)
                    try await broker.start(adminKey: entry.adminKey)
                    try await broker.noteTools(Tool.listed.serialized())
                    try await entry.end()
                    let gateway = try Gateway(broker: broker, egress: egress, trust: trust, limits: configuration.gatewayLimits)
                    let faces = Faces(
                        broker: broker, gateway: gateway, pages: pages, console: console, publicURL: publicURL,
                        metricsNeedKey: !(configuration.isLoopback && publicURL.isLoopback),
                        trustedProxies: configuration.trustedProxies,
                        facts: ServerFacts(configuration, home, node: entry.node, listeningURL: url, startedAt: broker.now), logger: logger)
                    gate.open(faces)
                    group.addTask { try await broker.run() }
                    if let metricsPort = configuration.metricsPort {
                        group.addTask {
                            let plain = HTTPServerBuilder.http1(configuration: .init(idleTimeout: TimeAmount(configuration.gatewayLimits.keepAlive)))
                            do {
                                try await self.serve(MetricsFace(broker: broker, gate: gate), plain, host: host, port: metricsPort) { _, _ in }
                            } catch let error as IOError {
                                throw StartError(listening: error, on: host, port: metricsPort, setting: "--metrics-port")
                            }
                        }
                    }
                    try home.directory?.writeServerFile(url: url)
                    sayWho(entry, home)
                    await onListening(Listening(url: url, publicURL: publicURL.origin, adminKey: entry.adminKey, broker: broker))
                    break
                }
                // A shutdown ends each in its own time; the first that fails ends all.
                while try await group.next() != nil {}
            }
        } catch is CancellationError {
            // Cut off: by a test, or when requests took longer to end than a shutdown gives them.
        } catch {
            await entry.giveUp(logger)
            await close(gate, home, store)
            throw StartError(any: error, configuration)
        }
        guard await close(gate, home, store) else {
            throw StartError(
                "the server ended before it could write tokens that it had received", hint: "free the disk; whose tokens are lost has to connect again")
        }
    }

    private func sayWho(_ entry: Entry, _ home: Home) {
        var facts: Logger.Metadata = ["version": "\(ServerFacts.version)", "database": "\(home.location.isShared ? home.location.shown : "SQLite")"]
        if let node = entry.node { facts["node"] = "\(node)" }
        logger.info("started", metadata: facts)
    }

    /// Wherever our listeners answer: no target, even where its network is allowed.
    private func ownOrigins(_ publicURL: EndpointURL, port: Int) throws -> [String] {
        var hosts: Set = ["127.0.0.1", configuration.host]
        if ["0.0.0.0", "::"].contains(configuration.host) { hosts.formUnion(try System.enumerateDevices().compactMap { $0.address?.ipAddress }) }
        let ports = [port, configuration.metricsPort].compactMap { $0 }
        return [publicURL.origin] + hosts.flatMap { host in ports.map { "http://\(host.contains(":") ? "[\(host)]" : host):\($0)" } }
    }

    /// - Returns: false when received tokens could not be written.
    @discardableResult
    private func close(_ gate: Gate, _ home: Home, _ store: any Store) async -> Bool {
        let isWritten = await gate.broker?.finish() ?? true
        gate.faces?.gateway.close()
        home.directory?.removeServerFile()
        do {
            try await store.close()
        } catch {
            logger.warning("the database was not closed", metadata: ["error": "\(error)"])
        }
        home.directory?.unlock()
        return isWritten
    }

    private func serve<Responder: HTTPResponder>(
        _ responder: Responder, _ server: HTTPServerBuilder, host: String, port: Int, onRunning: @escaping @Sendable (any Channel, Int) async -> Void
    ) async throws where Responder.Context == ClientContext {
        // Its word at start is this program's `Listening on`.
        var quiet = logger
        quiet.logLevel = max(quiet.logLevel, .warning)
        try await Application(
            responder: responder, server: server,
            configuration: .init(address: .hostname(host, port: port), serverName: nil),
            onServerRunning: { channel in await onRunning(channel, channel.localAddress?.port ?? port) }, logger: quiet
        ).run()
    }
}

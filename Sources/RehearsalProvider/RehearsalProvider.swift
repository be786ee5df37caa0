package import Foundation
import Hummingbird
package import Logging
import NIOCore
import ServiceLifecycle

/// An authorization server and sample API to try things on and to test against.
///
/// Everything is in memory. `/_rehearsal/…` shows what it saw and changes clients while it runs; never put it where
/// strangers can reach it.
package struct RehearsalProvider: Sendable {
    package struct Configuration: Sendable {
        package var host = "127.0.0.1"
        /// 0 = pick one.
        package var port = 0
        /// `nil` = `http://localhost:PORT`.
        package var issuer: String?
        package var clients = RehearsalClient.standard
        /// User name → password.
        package var users = ["alice": "password", "bob": "password"]
        /// Serves `/_rehearsal/…`.
        package var isControllable = true
        package var now: @Sendable () -> Date = { Date() }
        package init() {}
    }

    private let configuration: Configuration
    private let logger: Logger

    package init(configuration: Configuration = Configuration(), logger: Logger) {
        self.configuration = configuration
        self.logger = logger
    }

    /// Serves until cancelled or gracefully shut down.
    /// - Parameter onListening: called once, with `http://localhost:PORT`.
    package func run(onListening: @escaping @Sendable (_ url: String) async -> Void) async throws {
        let authority = Authority(clients: configuration.clients, users: configuration.users, now: configuration.now)
        let pages = try Pages()
        let port = AsyncStream<Int>.makeStream()
        try await withThrowingDiscardingTaskGroup { group in
            let placeholder = LateEndpoints()
            group.addTask {
                // Also when it cannot listen: nobody waits for a port that never comes.
                defer { port.continuation.finish() }
                try await self.application(placeholder, host: configuration.host, port: configuration.port) { bound in
                    let issuer = configuration.issuer ?? "http://localhost:\(bound)"
                    placeholder.set(Endpoints(authority: authority, issuer: issuer, isControllable: configuration.isControllable, pages: pages))
                    await onListening("http://localhost:\(bound)")
                    port.continuation.yield(bound)
                    port.continuation.finish()
                }.run()
            }
            // A browser may take localhost for ::1 first.
            for await bound in port.stream where configuration.host == "127.0.0.1" {
                group.addTask {
                    do {
                        try await self.application(placeholder, host: "::1", port: bound) { _ in }.run()
                    } catch is IOError {
                        logger.debug("no IPv6 loopback; localhost is 127.0.0.1 alone")
                    }
                }
            }
        }
    }

    private func application(
        _ responder: LateEndpoints, host: String, port: Int, onRunning: @escaping @Sendable (Int) async -> Void
    ) -> Application<LateEndpoints> {
        Application(
            responder: responder, configuration: .init(address: .hostname(host, port: port), serverName: nil),
            onServerRunning: { channel in await onRunning(channel.localAddress?.port ?? port) }, logger: logger)
    }
}

package import Logging

/// An authorization server and sample API to try things on and to test against; imports OAuth only of our modules.
package struct RehearsalProvider: Sendable {
    package struct Configuration: Sendable {
        package var host: String = "127.0.0.1"
        /// 0 = pick one.
        package var port: Int = 0
        /// `nil` = `http://localhost:PORT`.
        package var issuer: String?
        package var clients: [RehearsalClient] = RehearsalClient.standard
        /// user name → password
        package var users: [String: String] = ["alice": "password", "bob": "password"]
        package init() {}
    }
    package init(configuration: Configuration, logger: Logger) { fatalError("stub") }
    /// Listens and serves until cancelled or gracefully shut down; calls `onListening` once with the base URL
    /// (`http://localhost:PORT`).
    package func run(onListening: @escaping @Sendable (String) async -> Void) async throws { fatalError("stub") }
}

/// A client that the provider knows, with its lifetimes and faults.
package struct RehearsalClient: Sendable {
    package var id: String
    package init(id: String) { self.id = id }
    /// `conf`/`conf-secret` (all grants), `pub` (public), …
    package static let standard: [RehearsalClient] = []
}

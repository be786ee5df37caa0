package import Broker
package import Vault
package import Egress
package import OAuth
package import Logging

/// Everything `serve` was told, after flags, environment and defaults were merged and checked.
package struct ServerConfiguration: Sendable {
    package var dataDirectory: String
    package var host: String
    /// 0 = pick one.
    package var port: Int
    /// `nil` = `http://HOST:PORT` on loopback.
    package var publicURL: String?
    /// `nil` = `DATA_DIR/grantee.sqlite`.
    package var databaseURL: String?
    /// `nil` = made in the data directory.
    package var masterKeys: String?
    package var adminKey: String?
    package var egressAllow: [Egress.CIDR]
    package var outboundProxy: EndpointURL?
    package var caFile: String?
    package var trustedProxies: [Egress.CIDR]
    package var forbidPasswordGrant: Bool
    package var metricsPort: Int?
    package init(dataDirectory: String = "./grantee-data", host: String = "127.0.0.1", port: Int = 8080) {
        self.dataDirectory = dataDirectory; self.host = host; self.port = port
        publicURL = nil; databaseURL = nil; masterKeys = nil; adminKey = nil; egressAllow = []; outboundProxy = nil; caFile = nil
        trustedProxies = []; forbidPasswordGrant = false; metricsPort = nil
    }
}

/// Why the server did not start: one clear sentence and, where there is one, what to do.
package struct StartError: Error, Sendable {
    package var message: String
    package var hint: String?
    package init(_ message: String, hint: String? = nil) { self.message = message; self.hint = hint }
}

/// One running server: what `serve`, `demo` and the tests start.
package struct GranteeServer: Sendable {
    package struct Listening: Sendable {
        /// `http://127.0.0.1:8080`
        package var url: String
        package var publicURL: String
        package var adminKey: String
        package init(url: String, publicURL: String, adminKey: String) { self.url = url; self.publicURL = publicURL; self.adminKey = adminKey }
    }
    package init(configuration: ServerConfiguration, logger: Logger) { fatalError("stub") }
    /// Opens the data directory (lock, keys, database), listens, writes `server.json`, calls `onListening` once, serves
    /// until graceful shutdown or cancellation.
    /// - Throws: ``StartError``
    package func run(onListening: @escaping @Sendable (Listening) async -> Void) async throws { fatalError("stub") }
}

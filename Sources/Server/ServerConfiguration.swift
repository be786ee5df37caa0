package import Egress
import Foundation
package import Gateway
package import OAuth

/// Everything `serve` was told, after flags, environment and defaults were merged.
package struct ServerConfiguration: Sendable {
    package var dataDirectory: String
    package var host: String
    /// 0 = pick one.
    package var port: Int
    /// `nil` = `http://HOST:PORT` on loopback.
    package var publicURL: String?
    /// `nil` = `sqlite:DATA_DIR/grantee.sqlite`.
    package var databaseURL: String?
    /// Where that came from, for errors.
    package var databaseSetting = "--database-url"
    /// `nil` = made in the data directory.
    package var masterKeys: String?
    /// `nil` = made in the data directory.
    package var adminKey: String?
    package var egressAllow: [Egress.CIDR] = []
    package var outboundProxy: EndpointURL?
    package var caFile: String?
    package var trustedProxies: [Egress.CIDR] = []
    package var forbidPasswordGrant = false
    package var metricsPort: Int?
    /// How long activity is kept.
    package var activityDays = 400
    /// What this node is called among those that share its database; `nil` = the machine's name.
    package var node: String?
    /// How long it goes on as before after it was told to end, so that a balancer sees that it is not ready and turns away.
    package var drain: Duration = .zero
    /// No flag sets them; a test may.
    package var gatewayLimits = GatewayLimits()

    package init(dataDirectory: String = "./grantee-data", host: String = "127.0.0.1", port: Int = 8080) {
        self.dataDirectory = dataDirectory
        self.host = host
        self.port = port
    }

    var isLoopback: Bool { (try? EndpointURL("http://\(host.contains(":") ? "[\(host)]" : host)"))?.isLoopback ?? false }

    /// - Throws: ``StartError`` naming the setting.
    func check() throws(StartError) {
        if let adminKey, adminKey.utf8.count < 32 || !adminKey.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) {
            throw StartError(
                "the admin API key must be at least 32 visible ASCII characters",
                hint: isAlone
                    ? "set GRANTEE_ADMIN_KEY to a longer one, or leave it out to have one made"
                    : "set GRANTEE_ADMIN_KEY_FILE to a file with a longer one, such as `openssl rand -hex 32` writes; it is the same on every node")
        }
        if publicURL == nil, !isLoopback {
            throw StartError("--public-url is required when --host is not a loopback address", hint: "name the https URL that browsers reach this server at")
        }
        _ = try storeLocation
        if let node, !Entry.isNodeName(node) {
            throw StartError("--node must be 1 to 64 letters, digits, dots, dashes or underscores")
        }
        guard (1...36_500).contains(activityDays) else { throw StartError("--activity-days must be 1 to 36500") }
        _ = try publicEndpoint(port: port == 0 ? 8080 : port)
    }

    /// Where browsers reach the server; https, or http on a loopback address.
    func publicEndpoint(port: Int) throws(StartError) -> EndpointURL {
        let text = publicURL ?? "http://\(host.contains(":") ? "[\(host)]" : host):\(port)"
        do {
            let url = try EndpointURL(text)
            guard url.scheme == .https || url.isLoopback else { throw StartError("--public-url must be https, or http on a loopback address") }
            guard url.path == "/", url.query == nil else { throw StartError("--public-url must be an origin: scheme://host[:port], without a path") }
            return url
        } catch let error as StartError {
            throw error
        } catch {
            throw StartError("--public-url is not usable: \((error as? EndpointURLError)?.description ?? "")")
        }
    }

    /// Of the SQLite file that was named.
    var databasePath: String? { databaseURL.flatMap { $0.hasPrefix("sqlite:") ? String($0.dropFirst("sqlite:".count)) : nil } }
}

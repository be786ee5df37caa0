import Egress
import Gateway
import NIOCore
import OAuth
import Vault

/// What a running server says of itself at the console. No path and no secret.
struct ServerFacts: Sendable {
    /// Where it listens; the public URL may be a reverse proxy's.
    let listeningURL: String
    let startedAt: Timestamp
    /// Where the database is that many nodes share, without a password; `nil` for a file.
    let sharedDatabase: String?
    /// This one, among those that share it.
    let node: String?
    /// The file and what waits beside it; `nil` when it cannot be asked.
    let databaseBytes: @Sendable () -> Int?
    /// Who copies the data directory has both: the ciphertexts, and what opens them.
    let keyLiesBesideDatabase: Bool
    let egressAllow: [String]
    let outboundProxy: String?
    let hasOwnAuthorities: Bool
    let trustedProxies: [String]
    let forbidsPasswordGrant: Bool
    let metricsPort: Int?
    let activityDays: Int
    let gatewayLimits: GatewayLimits

    init(_ configuration: ServerConfiguration, _ home: Home, node: String?, listeningURL: String, startedAt: Timestamp) {
        self.listeningURL = listeningURL
        self.startedAt = startedAt
        sharedDatabase = home.location.isShared ? home.location.shown : nil
        self.node = node
        databaseBytes = { home.databaseBytes }
        keyLiesBesideDatabase = home.keyLiesBesideDatabase
        egressAllow = configuration.egressAllow.map(\.description)
        // Whoever it belongs to, credentials may be in its URL.
        outboundProxy = configuration.outboundProxy.map(\.authority)
        hasOwnAuthorities = configuration.caFile != nil
        trustedProxies = configuration.trustedProxies.map(\.description)
        forbidsPasswordGrant = configuration.forbidPasswordGrant
        metricsPort = configuration.metricsPort
        activityDays = configuration.activityDays
        gatewayLimits = configuration.gatewayLimits
    }

    /// Of the program, as its API describes itself.
    static let version = (try? JSONValue(parsing: PackageResources.openapi_json))?["info"]?["version"]?.string ?? ""

    /// That share the work.
    static var eventLoops: Int { NIOSingletons.groupLoopCountSuggestion }
}

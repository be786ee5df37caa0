import Foundation
import HTTPTypes
import OAuth
import RehearsalProvider
import Synchronization
import TestSupport
import Testing

/// Several `grantee serve` on one PostgreSQL database, with the same keys: nodes that share it and nothing else.
final class Cluster: Sendable {
    /// Where browsers would find a balancer. Nobody listens there: a request goes to the node that is named, and says this host.
    static let publicURL = "http://localhost:4711"
    static let host: HTTPFields = [HTTPField.Name("Host")!: "localhost:4711"]

    let postgres: PostgresServer
    /// Its URL, as its owner connects.
    let database: String
    let adminKey = "gk_admin_" + Entropy.system.token(bytes: 32)
    let masterKeys = "k1:" + Entropy.system.token(bytes: 32)
    private let started = Mutex<[Program]>([])
    private let relays = Mutex<[Relay]>([])

    private init(_ postgres: PostgresServer, database: String) {
        self.postgres = postgres
        self.database = database
    }

    /// What still runs in the end is killed.
    /// - Parameter postgres: `nil` = the one that tests share.
    static func with<R: Sendable>(on postgres: PostgresServer? = nil, _ body: (Cluster) async throws -> R) async throws -> R {
        let server = if let postgres { postgres } else { try await PostgresServer.shared }
        let cluster = Cluster(server, database: try await server.makeDatabase())
        let outcome: Result<R, any Error>
        do { outcome = .success(try await body(cluster)) } catch { outcome = .failure(error) }
        for program in cluster.started.withLock({ $0 }) { program.signal(SIGKILL) }
        for relay in cluster.relays.withLock({ $0 }) { relay.end() }
        if postgres == nil { try await server.dropDatabase(cluster.database) }
        return try outcome.get()
    }

    // MARK: Nodes

    /// Returns when it listens.
    /// - Parameter relay: the network between it and the database.
    func start(_ name: String, _ environment: [String: String] = [:], through relay: Relay? = nil) async throws -> ServerProcess {
        let own = [
            "GRANTEE_DATABASE_URL": try url(port: relay?.port ?? postgres.port), "GRANTEE_MASTER_KEYS": masterKeys, "GRANTEE_ADMIN_KEY": adminKey,
            "GRANTEE_NODE": name, "GRANTEE_PUBLIC_URL": Self.publicURL,
        ]
        let program = try CommandLineTool(environment: own.merging(environment) { $1 })
            .start(["serve", "--port", "0", "--egress-allow", "127.0.0.0/8,::1/128"])
        started.withLock { $0.append(program) }
        let lead = "Listening on "
        guard let line = await program.line(where: { $0.hasPrefix(lead) }) else { throw ServerHome.NotStarted(errors: await program.outcome().errors) }
        return ServerProcess(program: program, url: String(line.dropFirst(lead.count)), adminKey: adminKey)
    }

    /// Nodes a, b and c.
    func startThree() async throws -> [ServerProcess] {
        var nodes: [ServerProcess] = []
        for name in ["a", "b", "c"] { nodes.append(try await start(name)) }
        return nodes
    }

    /// A network of its own for one node.
    func relay() throws -> Relay {
        let relay = try Relay(to: postgres.port)
        relays.withLock { $0.append(relay) }
        return relay
    }

    private func url(port: Int) throws -> String {
        guard var parts = URLComponents(string: database) else { throw CocoaError(.featureUnsupported) }
        parts.port = port
        // Many nodes share the one database of the tests.
        parts.queryItems = [URLQueryItem(name: "pool_size", value: "4")]
        return parts.string ?? database
    }

    /// What the commands find that work on a database without a server.
    var tool: CommandLineTool {
        CommandLineTool(environment: ["GRANTEE_DATABASE_URL": database, "GRANTEE_MASTER_KEYS": masterKeys])
    }

    // MARK: What is in the database

    func number(_ sql: String) async throws -> Int {
        let text = try await postgres.query(sql, in: database)
        return try #require(Int(text), "\(text)")
    }

    /// How many activity entries each node has written of an action.
    func entries(_ action: String) async throws -> [String: Int] {
        let text = try await postgres.query("SELECT node, count(*) FROM activity WHERE action = '\(action)' GROUP BY node", in: database)
        let pairs = text.split(separator: "\n").compactMap { line -> (String, Int)? in
            let parts = line.split(separator: "|")
            return parts.count == 2 ? Int(parts[1]).map { (String(parts[0]), $0) } : nil
        }
        return Dictionary(pairs) { $0 + $1 }
    }

    /// Every chain of activity is whole.
    func expectWholeActivity(sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let verified = try await tool.run(["activity", "verify"])
        #expect(verified.status == 0, "\(verified.output)\(verified.errors)", sourceLocation: sourceLocation)
    }
}

extension ServerProcess {
    func refresh(_ id: String, subject: String) async throws -> RunningServer.Answer {
        try await send(.post, "/v1/connections/\(id)/grants/\(subject)/refresh")
    }

    var isReady: Bool { get async throws { try await send(.get, "/health/ready").status == 200 } }

    /// As SIGSTOP does, and a virtual machine that is paused.
    func freeze() { program.signal(SIGSTOP) }
    func wake() { program.signal(SIGCONT) }

    /// Whether it is stopped.
    var isFrozen: Bool {
        get async throws {
            #if os(Linux)
                // The state stands behind the name, which is in parentheses.
                let text = try String(contentsOfFile: "/proc/\(program.pid)/stat", encoding: .utf8)
                return text.split(separator: ")").last?.dropFirst().first == "T"
            #else
                return await (try Program("/bin/ps", ["-o", "state=", "-p", "\(program.pid)"])).outcome().output.hasPrefix("T")
            #endif
        }
    }
}

/// A person's browser that a balancer sends to the node that is named, whatever page was on which node before.
struct BalancedBrowser: Sendable {
    private let visitor = Visitor()

    /// - Parameter url: a path, or a URL of the public address.
    /// Follows where this site itself sends a connect page on to.
    func get(_ url: String, at node: ServerProcess) async throws -> Visitor.Page {
        var page = try await visitor.request(.get, node.url + path(url), headers: Cluster.host)
        while page.status == 303, let next = page.headers[.location].map(path), next.hasPrefix("/connect") {
            page = try await visitor.request(.get, node.url + next, headers: Cluster.host)
        }
        return page
    }

    /// As from a page of this site.
    func post(_ url: String, _ form: [(String, String)], at node: ServerProcess) async throws -> Visitor.Page {
        var fields = Cluster.host
        fields[.origin] = Cluster.publicURL
        return try await visitor.request(.post, node.url + path(url), form: form, headers: fields)
    }

    /// At the provider: says yes. - Returns: where it sends the browser.
    func consent(_ location: String) async throws -> String {
        let back = try await visitor.answerConsent(try await visitor.open(location))
        return try #require(back.headers[.location], "\(back.status) \(back.body)")
    }

    private func path(_ url: String) -> String { url.hasPrefix(Cluster.publicURL) ? String(url.dropFirst(Cluster.publicURL.count)) : url }
}

import Logging
import OAuth
import OAuthClient
import Synchronization
import Testing
import Vault

@testable import Broker

/// Brokers on one store, each with a wire of its own to the provider. Leases end when the test moves their clock.
final class NodesBench: Sendable {
    /// Makes connections and grants; a broker of its own on the same records.
    let main: Bench
    let store: LeasingStore
    let steady = SteadyClock()
    let nodes: [Broker]
    let wires: [Wire]

    var provider: ScriptedProvider { main.provider }

    /// - Parameters:
    ///   - patience: how long callers wait for a renewal, in real time.
    ///   - times: a lease is not renewed, unless this says otherwise.
    init(_ count: Int = 2, patience: Duration = .seconds(30), times change: (inout LeaseTimes) -> Void = { _ in }) async throws {
        let main = try await Bench()
        let steady = self.steady
        let store = LeasingStore(main.store, time: main.time, steady: steady)
        var times = LeaseTimes()
        times.renewal = .seconds(3600)
        times.firstLook = .milliseconds(2)
        times.longestLook = .milliseconds(10)
        times.settling = .zero
        times.now = { steady.now }
        change(&times)
        let wires = (0..<count).map { _ in Wire(to: main.provider) }
        self.main = main
        self.store = store
        self.wires = wires
        nodes = wires.enumerated().map { index, wire in
            var configuration = Broker.Configuration(publicURL: "http://127.0.0.1:8080")
            configuration.patience = patience
            configuration.node = "node-\(index)"
            configuration.lease = times
            return Broker(
                store: store, keyring: main.broker.keyring, transport: wire, egress: main.broker.egress, clock: main.time.wall,
                pause: { main.time.advance($0) }, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, configuration: configuration)
        }
    }

    /// A connection with a grant whose access token has expired.
    func expired() async throws {
        try await main.connection("app", .authorizationCode)
        try await main.importGrant("app", expiresIn: 0)
    }

    func token(_ node: Int, _ id: String = "app", _ query: Broker.TokenQuery = .init()) async throws -> String {
        try await nodes[node].token(connectionID: id, query: query, for: main.admin).text
    }

    /// How asking a node for a token ends: the token, or the code of the problem.
    func ask(_ node: Int, _ id: String = "app", _ query: Broker.TokenQuery = .init()) -> Task<String, Never> {
        Task {
            do { return try await token(node, id, query) } catch { return (error as? Problem)?.code.rawValue ?? "\(error)" }
        }
    }

    /// The same; it goes on when the node's wire lets go of what it holds: the request, which the provider does not see, or the answer.
    func ask(_ node: Int, _ id: String = "app", _ query: Broker.TokenQuery = .init(), held part: Wire.Part) async throws -> Task<String, Never> {
        wires[node].hold(part)
        let asking = ask(node, id, query)
        try await until("the \(part) is held") { wires[node].held == 1 }
        return asking
    }

    /// Waits for what happens in another task; a failed expectation when it does not come.
    func until(_ what: Comment, sourceLocation: SourceLocation = #_sourceLocation, _ isSo: () async throws -> Bool) async throws {
        let end = ContinuousClock.now + .seconds(30)
        while try await !isSo() {
            guard ContinuousClock.now < end else {
                Issue.record(what, sourceLocation: sourceLocation)
                return
            }
            try await Task.sleep(for: .milliseconds(2))
        }
    }

    /// Until the holder's lease has ended.
    func letLeaseLapse() { steady.advance(LeaseTimes().lifetime + .seconds(1)) }

    /// What one node sends and is answered.
    final class Wire: Transport {
        enum Part { case request, answer }
        private struct State {
            var holding: Part?
            var held = 0
            var sent = 0
        }
        private let provider: ScriptedProvider
        private let state = Mutex(State())

        init(to provider: ScriptedProvider) { self.provider = provider }

        /// Of what is sent from now on.
        func hold(_ part: Part) { state.withLock { $0.holding = part } }
        func letGo() { state.withLock { $0.holding = nil } }
        var held: Int { state.withLock { $0.held } }
        var sent: Int { state.withLock { $0.sent } }

        func send(_ request: WireRequest) async throws(TransportError) -> WireResponse {
            state.withLock { $0.sent += 1 }
            try await wait(.request)
            let response = try await provider.send(request)
            try await wait(.answer)
            return response
        }

        private func wait(_ part: Part) async throws(TransportError) {
            guard state.withLock({ $0.holding == part }) else { return }
            state.withLock { $0.held += 1 }
            defer { state.withLock { $0.held -= 1 } }
            while state.withLock({ $0.holding == part }) {
                do { try await Task.sleep(for: .milliseconds(2)) } catch { throw TransportError(.cancelled, mayHaveBeenSent: true) }
            }
        }
    }
}

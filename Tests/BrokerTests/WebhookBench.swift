import Crypto
import Foundation
import HTTPTypes
import Logging
import OAuth
import OAuthClient
import Synchronization
import Testing
import Vault

@testable import Broker

/// A bench whose events are sent by a broker of their own on the same store, so that it can end and another can begin.
final class WebhookBench: Sendable {
    /// Where events are made.
    let main: Bench
    let receiver = Receiver()
    private let processes = Mutex(0)
    private let running: Mutex<Broker>

    var time: TestClock { main.time }
    /// The broker that sends.
    var sender: Broker { running.withLock { $0 } }

    /// - Parameter patience: how long an answer is waited for, in real time.
    init(patience: Duration = .seconds(15)) async throws {
        let bench = try await Bench()
        main = bench
        running = Mutex(bench.broker)
        startAnew(patience: patience)
    }

    /// Another process on the same store. The one before is not told.
    func startAnew(patience: Duration = .seconds(15)) {
        var configuration = Broker.Configuration(publicURL: "http://127.0.0.1:8080")
        configuration.webhookPatience = patience
        configuration.node = processes.withLock {
            $0 += 1
            return "sender-\($0)"
        }
        let broker = Broker(
            store: main.store, keyring: main.broker.keyring, transport: receiver, egress: main.broker.egress, clock: main.time.wall,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, configuration: configuration)
        running.withLock { $0 = broker }
    }

    func hook(_ url: String = "https://hooks.example/in", _ kinds: Set<WebhookEvent.Kind>? = nil) async throws -> (id: String, secret: [UInt8]) {
        let (webhook, text) = try await main.broker.addWebhook(url: url, kinds: kinds, by: main.admin)
        #expect(text.hasPrefix("whsec_"))
        return (webhook.id, Array(try #require(Data(base64Encoded: String(text.dropFirst(6))))))
    }

    /// Sends all that is due, and what becomes due by that.
    func pass() async {
        await sender.deliverWebhooks()
        await sender.webhooksUnderWay.waitUntilIdle()
    }

    func deliveries(_ webhook: String, _ state: Delivery.State? = nil) async throws -> [Delivery] {
        try await main.broker.deliveries(webhook: webhook, state: state, before: nil, limit: 200, for: main.admin)
    }

    func now() -> Timestamp { main.time.wall.now() }

    /// What the sender noted of webhooks.
    func noted(_ action: String) async throws -> [String] {
        try await sender.activity(connection: nil, subject: nil, before: nil, limit: 200, for: main.admin).filter { $0.action == action }.compactMap(\.detail)
    }
}

/// Receivers of webhooks, one for each host, which do as they are told and keep what they got.
final class Receiver: Transport {
    enum Answer: Sendable {
        case status(Int, HTTPFields = [:])
        case fails(TransportError.Reason)
        /// Until the sender gives up.
        case hangs
    }
    struct Message: Sendable {
        let request: WireRequest

        var host: String { request.head.authority ?? "" }
        var body: String { String(decoding: request.body, as: UTF8.self) }
        var id: String { field("webhook-id") }
        var json: JSONValue { (try? JSONValue(parsing: request.body)) ?? .null }
        var type: String { json["type"]?.string ?? "" }
        var data: JSONValue { json["data"] ?? .null }
        var mend: JSONValue? { data["mend"] }
        var subject: String { data["subject"]?.string ?? "" }

        func field(_ name: String) -> String { HTTPField.Name(name).flatMap { request.head.headerFields[$0] } ?? "" }

        /// The recipe of Standard Webhooks, once more.
        func isSigned(by secret: [UInt8]) -> Bool {
            let signed = id + "." + field("webhook-timestamp") + "." + body
            let code = HMAC<SHA256>.authenticationCode(for: Data(signed.utf8), using: SymmetricKey(data: secret))
            return field("webhook-signature") == "v1," + Data(code).base64EncodedString()
        }
    }
    private struct State {
        var messages: [Message] = []
        var next: [String: [Answer]] = [:]
        var always: [String: Answer] = [:]
    }
    private let state = Mutex(State())

    func messages(_ host: String = "hooks.example") -> [Message] { state.withLock { $0.messages.filter { $0.host == host } } }
    /// Hosts that were spoken to.
    var hosts: Set<String> { state.withLock { Set($0.messages.map(\.host)) } }
    /// The next answers; after them 200, or what it always says.
    func script(_ answers: Answer..., host: String = "hooks.example") { state.withLock { $0.next[host, default: []] += answers } }
    func always(_ answer: Answer?, host: String = "hooks.example") { state.withLock { $0.always[host] = answer } }

    func send(_ request: WireRequest) async throws(TransportError) -> WireResponse {
        let message = Message(request: request)
        let answer = state.withLock { state -> Answer in
            state.messages.append(message)
            if state.next[message.host]?.isEmpty == false, let next = state.next[message.host]?.removeFirst() { return next }
            return state.always[message.host] ?? .status(200)
        }
        switch answer {
        case .status(let code, let fields): return WireResponse(head: .init(status: .init(code: code), headerFields: fields), body: [])
        case .fails(let reason): throw TransportError(reason, mayHaveBeenSent: true)
        case .hangs:
            do { try await Task.sleep(for: .seconds(3600)) } catch { throw TransportError(.cancelled, mayHaveBeenSent: true) }
            throw TransportError(.timedOut, mayHaveBeenSent: true)
        }
    }
}

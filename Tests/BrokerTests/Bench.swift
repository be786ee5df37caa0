import Egress
import Foundation
import GRDB
import HTTPTypes
import Logging
import OAuth
import OAuthClient
import Synchronization
import Testing
import Vault

@testable import Broker
@testable import SQLiteStore

/// A broker on a real store in a throw-away folder, a scripted provider, and a clock that the test moves.
final class Bench: Sendable {
    let broker: Broker
    let store: SQLiteStore
    let provider: ScriptedProvider
    let time: TestClock
    let admin: Caller
    private let folder: URL

    static let adminKey = "an-admin-key-of-more-than-32-characters"

    /// - Parameter patience: how long callers wait for a renewal, in real time.
    init(forbidPasswordGrant: Bool = false, egressAllow: [String] = ["127.0.0.0/8"], patience: Duration = .seconds(30)) async throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "broker-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        store = try SQLiteStore(path: folder.appending(path: "t.sqlite").path)
        provider = ScriptedProvider()
        let time = TestClock()
        self.time = time
        let keyring = try await Keyring(masterKeys: .init(parsing: Keyring.MasterKeys.generate()), store: store)
        var configuration = Broker.Configuration(publicURL: "http://127.0.0.1:8080", forbidPasswordGrant: forbidPasswordGrant)
        configuration.patience = patience
        broker = Broker(
            store: store, keyring: keyring, transport: provider, egress: Egress(policy: .init(allowed: egressAllow.compactMap(Egress.CIDR.init))),
            clock: time.wall, pause: { time.advance($0) }, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            configuration: configuration)
        try await broker.start(adminKey: Self.adminKey)
        admin = try #require(broker.authenticate(Self.adminKey))
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    /// A connection to the scripted provider.
    @discardableResult
    func connection(
        _ id: String, _ grantType: GrantType, secret: String? = "s3cret", password: String? = nil,
        change: (inout ConnectionSettings) -> Void = { _ in }
    ) async throws -> Connection {
        var settings = ConnectionSettings(name: id, oauth: OAuthSettings(grantType: grantType))
        settings.oauth.tokenURL = "https://as.example/token"
        settings.oauth.revocationURL = "https://as.example/revoke"
        settings.oauth.clientID = "client"
        settings.oauth.scopes = ["read", "write"]
        if grantType == .authorizationCode {
            settings.oauth.authorizationURL = "https://as.example/authorize"
            settings.oauth.pkce = "S256"
        }
        change(&settings)
        return try await broker.addConnection(
            id: id, settings: settings, clientSecret: secret.map { ClientSecret($0) }, password: password.map { Password($0) }, by: admin)
    }

    func importGrant(_ id: String, subject: String = "", access: String? = "at-0", refresh: String? = "rt-0", expiresIn: Int? = 3600) async throws {
        _ = try await broker.importGrant(
            connectionID: id, subject: subject,
            tokens: .init(accessToken: access.map { AccessToken($0) }, refreshToken: refresh.map { RefreshToken($0) }, expiresIn: expiresIn, scope: nil),
            by: admin)
    }

    func token(_ id: String, _ query: Broker.TokenQuery = .init()) async throws -> IssuedToken {
        if let hit = broker.cachedToken(connectionID: id, query: query, for: admin) { return hit }
        return try await broker.token(connectionID: id, query: query, for: admin)
    }

    func grant(_ id: String, subject: String = "") async throws -> GrantView {
        try await broker.grant(connectionID: id, subject: subject, for: admin)
    }

    /// The code of the problem that `body` throws, `nil` when it throws none.
    func code(_ body: () async throws -> Void) async -> Problem.Code? {
        do {
            try await body()
            return nil
        } catch {
            return (error as? Problem)?.code
        }
    }
}

extension SQLiteStore {
    /// As on a disk that became read-only, and back.
    func set(isWritable: Bool) async throws {
        try await pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA query_only = \(isWritable ? 0 : 1)") }
    }
}

extension IssuedToken {
    var text: String { accessToken.withExposed { $0 } }
}

/// A clock that stands until it is moved.
final class TestClock: Sendable {
    private let now = Mutex(Timestamp(milliseconds: 1_800_000_000_000))
    var wall: WallClock { WallClock { [self] in now.withLock { $0 } } }
    func advance(_ duration: Duration) { now.withLock { $0 = $0 + duration } }
}

/// A token and revocation endpoint in memory: rotates refresh tokens and punishes reuse, unless it was told otherwise.
final class ScriptedProvider: Transport {
    enum Script: Sendable {
        case json(Int, String)
        case fails(TransportError)
        /// Issues and rotates, then loses the answer.
        case losesAnswer
    }
    struct Seen: Sendable {
        var path: String
        var form: [String: String]
        var authorization: String?
    }
    private struct State {
        var scripts: [Script] = []
        /// What answers when no script is left.
        var last: Script?
        var seen: [Seen] = []
        var counter = 0
        var refreshTokens: Set<String> = ["rt-0"]
        var spent: Set<String> = []
        var expiresIn: Int? = 3600
        var rotates = true
        var delay: Duration?
        /// Requests wait until they are let go.
        var isHeld = false
        var members = ""
        var revocation: (status: Int, body: String) = (200, "")
        /// Nothing answers.
        var isDown = false
        /// This host does not answer.
        var darkHost: String?
        /// Token requests per second, by the clock that the test moves.
        var limit: Int?
        var second: Int64 = 0
        var inSecond = 0
    }
    private let state = Mutex(State())
    private let clock = Mutex(WallClock.system)

    var seen: [Seen] { state.withLock { $0.seen } }
    func requests(_ grantType: String) -> [Seen] { seen.filter { $0.form["grant_type"] == grantType } }
    func script(_ scripts: Script...) { state.withLock { $0.scripts += scripts } }
    func always(_ script: Script) { state.withLock { $0.last = script } }
    func set(expiresIn: Int?) { state.withLock { $0.expiresIn = expiresIn } }
    func set(rotates: Bool) { state.withLock { $0.rotates = rotates } }
    func hold() { state.withLock { $0.isHeld = true } }
    func letGo() { state.withLock { $0.isHeld = false } }
    func set(delay: Duration?) { state.withLock { $0.delay = delay } }
    /// Further members of each answer, as `,"name":value` text.
    func set(members: String) { state.withLock { $0.members = members } }
    func set(darkHost: String) { state.withLock { $0.darkHost = darkHost } }
    func set(isDown: Bool) { state.withLock { $0.isDown = isDown } }
    /// Beyond so many token requests in a second it answers 429.
    func set(limit: Int, by time: TestClock) {
        state.withLock { $0.limit = limit }
        clock.withLock { $0 = time.wall }
    }
    func accept(refreshTokens: some Sequence<String>) { state.withLock { $0.refreshTokens.formUnion(refreshTokens) } }
    func set(revocation status: Int, _ body: String = "") { state.withLock { $0.revocation = (status, body) } }

    func send(_ request: WireRequest) async throws(TransportError) -> WireResponse {
        let path = request.head.path ?? ""
        let pairs = (try? Form.parse(request.body)) ?? []
        let form = Dictionary(pairs.map { ($0.name, $0.value) }) { first, _ in first }
        let (script, delay) = state.withLock { state -> (Script?, Duration?) in
            state.seen.append(Seen(path: path, form: form, authorization: request.head.headerFields[.authorization]))
            guard path == "/token" else { return (nil, state.delay) }
            return (state.scripts.isEmpty ? state.last : state.scripts.removeFirst(), state.delay)
        }
        if state.withLock({ $0.isDown || ($0.darkHost != nil && $0.darkHost == request.head.authority) }) {
            throw TransportError(.unreachable("connection refused"), mayHaveBeenSent: false)
        }
        if path == "/token", isTooFast() {
            var answer = Self.response(429, #"{"error":"temporarily_unavailable"}"#)
            answer.head.headerFields[.retryAfter] = "1"
            return answer
        }
        while path == "/token", state.withLock({ $0.isHeld }) {
            do { try await Task.sleep(for: .milliseconds(2)) } catch { throw TransportError(.cancelled, mayHaveBeenSent: true) }
        }
        if let delay {
            do { try await Task.sleep(for: delay) } catch { throw TransportError(.cancelled, mayHaveBeenSent: true) }
        }
        switch script {
        case .json(let status, let body): return Self.response(status, body)
        case .fails(let error): throw error
        case .losesAnswer:
            _ = answer(path, form)
            throw TransportError(.timedOut, mayHaveBeenSent: true)
        case nil: return answer(path, form)
        }
    }

    private func isTooFast() -> Bool {
        let second = Int64(clock.withLock { $0 }.now().seconds)
        return state.withLock { state in
            guard let limit = state.limit else { return false }
            if state.second != second { (state.second, state.inSecond) = (second, 0) }
            state.inSecond += 1
            return state.inSecond > limit
        }
    }

    private func answer(_ path: String, _ form: [String: String]) -> WireResponse {
        state.withLock { state in
            if path == "/revoke" { return Self.response(state.revocation.status, state.revocation.body) }
            if form["grant_type"] == "refresh_token" {
                let token = form["refresh_token"] ?? ""
                guard state.refreshTokens.contains(token) else {
                    if state.spent.contains(token) { state.refreshTokens = [] }
                    return Self.response(400, #"{"error":"invalid_grant","error_description":"refused"}"#)
                }
                if state.rotates {
                    state.refreshTokens.remove(token)
                    state.spent.insert(token)
                }
            }
            state.counter += 1
            var body = #"{"access_token":"at-\#(state.counter)","token_type":"bearer""#
            if let expiresIn = state.expiresIn { body += #","expires_in":\#(expiresIn)"# }
            if form["grant_type"] != "client_credentials", state.rotates || form["grant_type"] != "refresh_token" {
                body += #","refresh_token":"rt-\#(state.counter)""#
                state.refreshTokens.insert("rt-\(state.counter)")
            }
            return Self.response(200, body + state.members + "}")
        }
    }

    static func response(_ status: Int, _ body: String) -> WireResponse {
        WireResponse(
            head: .init(status: .init(code: status), headerFields: [.contentType: "application/json"]), body: Array(body.utf8))
    }
}

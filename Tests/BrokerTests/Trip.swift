import OAuth
import Testing
import Vault

@testable import Broker

/// One browser trip to the scripted provider: link, attempt, callback.
struct Trip {
    let bench: Bench
    let connectionID: String
    let session: ConnectSession
    let ticket: String
    let binding: String
    let url: String
    let parameters: [String: String]

    init(_ bench: Bench, _ connectionID: String, options: Broker.ConnectOptions = .init(), binding: String = "browser-1") async throws {
        self.bench = bench
        self.connectionID = connectionID
        self.binding = binding
        guard case .link(let session, let link) = try await bench.broker.connect(connectionID: connectionID, options: options, by: bench.admin) else {
            throw Problem(.internal, "no link")
        }
        self.session = session
        ticket = String(try #require(link.split(separator: "/").last))
        url = try await bench.broker.beginAttempt(ticket: ticket, binding: binding)
        let query = try #require(url.split(separator: "?", maxSplits: 1).last)
        parameters = Dictionary(uniqueKeysWithValues: try Form.parse(query.utf8).map { ($0.name, $0.value) })
    }

    var state: String { parameters["state"] ?? "" }

    func callback(_ query: String? = nil, binding: String?? = nil, at id: String? = nil) async -> Broker.CallbackOutcome {
        await bench.broker.callback(
            connectionID: id ?? connectionID, query: query ?? "code=c-1&state=\(state)", binding: binding ?? self.binding)
    }

    /// A member `id_token` for the scripted provider; its signature is no signature, as direct TLS stands in for it.
    func idToken(subject: String, issuer: String = "https://as.example", at time: TestClock) throws -> String {
        let now = time.wall.now().seconds
        let nonce = try #require(parameters["nonce"])
        let claims = #"{"iss":"\#(issuer)","sub":"\#(subject)","aud":"client","exp":\#(now + 600),"iat":\#(now),"nonce":"\#(nonce)"}"#
        let token = [#"{"alg":"ES256"}"#, claims, "signature"].map { Base64URL.encode($0.utf8) }.joined(separator: ".")
        return #","id_token":"\#(token)""#
    }

    var tokenRequests: Int { bench.provider.requests("authorization_code").count }
}

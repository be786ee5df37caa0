import AsyncHTTPClient
import Foundation
import HTTPTypes
import NIOCore
import NIOHTTP1
import OAuth
import RehearsalProvider

/// Every connection of the demo through its whole flow: connect, token, API call, gateway, refresh, revoke, refused
/// afterwards; and the tools that AI agents find.
struct DemoCheck {
    let stage: DemoStage.Ready
    private var api: APIClient { stage.api }

    /// - Throws: ``Failure`` when one did not work; each has printed its line by then.
    func run() async throws {
        let width = DemoConnection.all.map(\.id.count).max() ?? 0
        var failures = 0
        for connection in DemoConnection.all {
            let id = connection.id.padding(toLength: width, withPad: " ", startingAt: 0)
            let what = "grant_type=\(connection.grantType) pkce=\(connection.pkce ?? "-") client_authentication=\(connection.clientAuthentication)"
            do {
                let steps = try await drive(connection)
                Terminal.write("ok      \(id)  \(what)  \(steps.joined(separator: ", "))")
            } catch {
                failures += 1
                let failure = Failure(any: error)
                Terminal.write("FAILED  \(id)  \(what)  \(failure.message)")
            }
        }
        Terminal.write("ok      MCP  tools: \(try await agentTools().joined(separator: ", "))")
        guard failures == 0 else { throw Failure("\(failures) of \(DemoConnection.all.count) connections did not work") }
        Terminal.write("All \(DemoConnection.all.count) connections worked.")
    }

    private func drive(_ connection: DemoConnection) async throws -> [String] {
        // A password's end user and the person at the provider have grants of their own; the app has the shared one.
        let subject = connection.needsPerson ? "user-1" : nil
        var steps: [String] = []
        if connection.needsPerson {
            try await connect(connection, subject: subject)
            steps.append("connect")
        }
        let first = try await token(connection, subject: subject)
        steps.append("token")
        try await callAPI(with: first.token)
        steps.append("API call")
        try await callGateway(connection, subject: subject)
        steps.append("gateway")
        _ = try await api.send(.post, APIClient.path("connections", connection.id, "grants", subject ?? "-", "refresh"))
        let second = try await token(connection, subject: subject)
        guard second.token != first.token, second.generation > first.generation else { throw Failure("the refresh gave no new token") }
        try await callAPI(with: second.token)
        steps.append("refresh")
        let revoked = try await api.send(.delete, APIClient.path("connections", connection.id, "grants", subject ?? "-"))
        guard revoked["provider"]?.string == "revoked" else { throw Failure("the provider did not revoke: \(revoked["provider"]?.shown ?? "no answer")") }
        do {
            _ = try await token(connection, subject: subject)
            throw Failure("a revoked grant still gives tokens")
        } catch let failure as Failure where failure.exitCode == Failure.notConnected {
            steps.append("revoke")
        }
        return steps
    }

    private func connect(_ connection: DemoConnection, subject: String?) async throws {
        var body = JSONObject()
        if let subject { body["subject"] = .string(subject) }
        let begun = try await api.send(.post, APIClient.path("connections", connection.id, "connect"), body: .object(body))
        guard let link = begun["connect_url"]?.string, let session = begun["session"]?.string else { throw Failure("no connect link came") }
        _ = try await Visitor().connect(link)
        let ended = try await api.send(.get, APIClient.path("connect-sessions", session))
        guard ended["state"]?.string == "connected" else {
            throw Failure("the connect session is \(ended["state"]?.shown ?? "unknown"), error \(ended["error"]?.shown ?? "none")")
        }
    }

    private func token(_ connection: DemoConnection, subject: String?) async throws -> (token: String, generation: Int) {
        let answer = try await api.send(.get, APIClient.path("connections", connection.id, "token"), query: [("subject", subject)])
        guard let token = answer["access_token"]?.string, let generation = answer["generation"]?.integer else { throw Failure("no token came") }
        return (token, generation)
    }

    /// The sample API takes the token, which it would not if it were wrong.
    private func callAPI(with token: String) async throws {
        var request = HTTPClientRequest(url: stage.providerURL + "/api/me")
        request.headers.add(name: "Authorization", value: "Bearer \(token)")
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(10))
        guard response.status == .ok else { throw Failure("the sample API answered with status \(response.status.code)") }
    }

    /// The same call, with a token that does not come here.
    private func callGateway(_ connection: DemoConnection, subject: String?) async throws {
        let response = try await api.call(connection.id, CallRequest(path: "/me", method: nil, fields: [], data: nil, subject: subject))
        guard response.status == .ok else { throw Failure("the sample API answered with status \(response.status.code) through the gateway") }
    }

    private func agentTools() async throws -> [String] {
        let key = try await api.send(.post, "/v1/keys", body: ["name": "Agent", "role": "agent"])["key"]?.string ?? ""
        var request = HTTPClientRequest(url: stage.serverURL + "/mcp")
        request.method = .POST
        for (name, value) in [
            ("Authorization", "Bearer \(key)"), ("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream"),
            ("MCP-Protocol-Version", "2025-06-18"),
        ] {
            request.headers.add(name: name, value: value)
        }
        let message: JSONValue = ["jsonrpc": "2.0", "id": 1, "method": "tools/list"]
        request.body = .bytes(message.serialized())
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(10))
        let answer = try? JSONValue(parsing: try await response.body.collect(upTo: 1 << 20).readableBytesView)
        let names = (answer?["result"]?["tools"]?.array ?? []).compactMap { $0["name"]?.string }
        guard !names.isEmpty else { throw Failure("MCP lists no tools: it answered with status \(response.status.code)") }
        return names
    }
}

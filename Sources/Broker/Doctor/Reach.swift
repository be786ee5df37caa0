import HTTPTypes
import OAuth
import OAuthClient
import Vault

/// A way out for somebody who waits at a page: an answer that takes long is none.
struct ImpatientTransport: Transport {
    static let patience: Duration = .seconds(8)
    let transport: any Transport

    func send(_ request: WireRequest) async throws(TransportError) -> WireResponse {
        let transport = self.transport
        let outcome = await withTaskGroup(of: Result<WireResponse, TransportError>.self) { group in
            group.addTask {
                do throws(TransportError) { return .success(try await transport.send(request)) } catch { return .failure(error) }
            }
            group.addTask {
                do { try await Task.sleep(for: Self.patience) } catch { return .failure(TransportError(.cancelled, mayHaveBeenSent: false)) }
                return .failure(TransportError(.timedOut, mayHaveBeenSent: true))
            }
            let first = await group.next() ?? .failure(TransportError(.cancelled, mayHaveBeenSent: false))
            group.cancelAll()
            return first
        }
        return try outcome.get()
    }
}

/// Whether somebody answers, and what time it is there.
struct Reach: Sendable {
    let url: EndpointURL
    let outcome: Result<WireResponse, TransportError>

    /// Asks the host for its front page without the page: name, connection and TLS are proven by any answer, and the
    /// endpoint itself is not called.
    static func request(_ url: EndpointURL) -> WireRequest {
        var head = HTTPRequest(method: .head, scheme: url.scheme.rawValue, authority: url.authority, path: "/")
        head.headerFields[.userAgent] = "Grantee/0.1"
        return WireRequest(head: head)
    }

    /// As the row of the table that a token request would end with.
    static func check(_ id: String, _ name: String, _ url: EndpointURL, _ error: TransportError, _ facts: Facts) -> Check? {
        // Whatever broke, it was reached.
        if case .broken = error.reason { return nil }
        var trouble = Trouble(stage: .token, failure: .unreachable, at: facts.now, revision: facts.connection.revision)
        trouble.request = .init(method: "HEAD", url: url.origin + "/")
        switch error.reason {
        case .blocked: (trouble.failure, trouble.reason) = (.blocked, "outbound requests may not go there")
        case .unreachable(let why): trouble.reason = why
        case .timedOut, .cancelled, .broken: (trouble.failure, trouble.reason) = (.timedOut, "no answer in time")
        }
        let found = Doctor.explain(trouble, facts)
        return Check(
            id, found.state, "\(name): \(found.title.prefix(1).lowercased() + found.title.dropFirst())", found.detail, fix: found.fix,
            evidence: found.evidence)
    }

    /// Seconds since 1970 at the other side, by its `Date`; what was kept in a cache is as much older.
    var date: Int? {
        guard case .success(let response) = outcome, let date = response.head.headerFields[.date].flatMap(HTTPDate.seconds) else { return nil }
        return date + (HTTPField.Name("Age").flatMap { response.head.headerFields[$0] }.flatMap { Int($0) } ?? 0)
    }
}

extension Doctor {
    /// Minutes matter: an ID token's times are judged with a minute's leeway, and a token's end is counted by this clock.
    static func clock(_ reaches: [Reach], now: Timestamp) -> Check? {
        let skews = reaches.compactMap { reach in reach.date.map { (host: reach.url.host, seconds: now.seconds - $0) } }
        guard let worst = skews.max(by: { abs($0.seconds) < abs($1.seconds) }) else { return nil }
        guard abs(worst.seconds) > 60 else { return Check("clock", .ok, "Clock", "This server's clock and \(worst.host)'s agree within a minute.") }
        return Check(
            "clock", .warn, "The clocks differ",
            "This server's clock is \(abs(worst.seconds)) seconds \(worst.seconds > 0 ? "ahead of" : "behind") that of \(worst.host). ID tokens are "
                + "refused for it, and tokens are renewed too late or too early.",
            fix: "Set this machine's clock by NTP (timedatectl set-ntp true). If it is right, the provider's is wrong.")
    }
}

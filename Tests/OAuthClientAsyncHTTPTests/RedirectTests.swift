import HTTPTypes
import OAuth
import OAuthClient
import Testing

@testable import OAuthClientAsyncHTTP

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// SEC-72.
@Suite(.timeLimit(.minutes(5))) struct RedirectTests {
    @Test(arguments: [301, 302, 303, 307, 308])
    func aRedirectIsAnAnswer(status: Int) async throws {
        try await RawServer.with(.success) { collector in
            let locations = [
                "http://127.0.0.1:\(collector.port)/collect", "http://localhost:\(collector.port)/collect", "//127.0.0.1:\(collector.port)/collect",
                "/token?again", "collect",
            ]
            for location in locations {
                try await RawServer.with(.answering([.send(RawServer.answer("\(status) Moved", fields: ["Location: \(location)"], body: "moved"))])) { server in
                    for request in [try post(server.url()), try get(server.url())] {
                        let response = try await makeTransport().send(request)
                        #expect(response.head.status.code == status)
                        #expect(response.head.headerFields[.location] == location)
                        #expect(response.text == "moved")
                    }
                    #expect(server.connectionCount == 2)
                }
            }
            #expect(collector.connectionCount == 0)
        }
    }

    @Test func aCookieIsNotSentBack() async throws {
        try await RawServer.with(.answering([.send(RawServer.answer(fields: ["Set-Cookie: session=1; Path=/"]))])) { server in
            let transport = try makeTransport()
            for _ in 0..<2 { _ = try await transport.send(post(server.url())) }
            #expect(server.received.count == 2)
            #expect(!server.received.contains { $0.lowercased().contains("cookie") })
        }
    }

    /// In a process of its own: the environment is everybody's.
    @Test func theEnvironmentNamesNoProxy() async {
        await #expect(processExitsWith: .success) {
            let proxy = try await RawServer.start(.answering([.close]))
            for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
                setenv(name, "http://127.0.0.1:\(proxy.port)", 1)
            }
            let server = try await RawServer.start(.success)
            let response = try await makeTransport().send(post(server.url()))
            try #require(response.head.status.code == 200)
            try #require(proxy.connectionCount == 0)
        }
    }

    @Test func anOperatorsProxyIsAskedForTheNameAndGetsNothingElse() async throws {
        try await RawServer.with(.answering([.send(RawServer.answer("403 Forbidden", body: ""))])) { proxy in
            let resolved = Counter()
            let transport = try makeTransport(
                proxy: EndpointURL(proxy.url("/")),
                names: { _ in
                    resolved.next()
                    return ["127.0.0.1"]
                })
            let error = try await failure(of: post("https://as.example/token"), by: transport)
            #expect(error == TransportError(.unreachable("the outbound proxy refused the connection"), mayHaveBeenSent: false))
            #expect(proxy.received.count == 1)
            #expect(proxy.received.first?.hasPrefix("CONNECT as.example:443 HTTP/1.1\r\n") == true)
            #expect(!proxy.received.contains { $0.contains("grant_type") })
            #expect(resolved.value == 0)
        }
    }
}

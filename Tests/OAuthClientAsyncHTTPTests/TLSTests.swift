import OAuth
import OAuthClient
import Testing

@testable import Egress
@testable import OAuthClientAsyncHTTP

private let untrusted = "TLS failed: its certificate is not trusted (unknown issuer, or expired)"

/// SEC-73.
@Suite(.timeLimit(.minutes(5))) struct TLSTests {
    @Test(arguments: ["127.0.0.1", "localhost", "as.example"])
    func aCertificateOfATrustedCAForTheNameIsGood(host: String) async throws {
        let certificates = try await Certificates.shared()
        try await RawServer.with(.success, tls: try certificates.server()) { server in
            let transport = try makeTransport(trusting: certificates.ca, names: { _ in ["127.0.0.1"] })
            let response = try await transport.send(post(server.url(scheme: "https", host: host)))
            #expect(response.text == "{}")
            #expect(server.received.first?.contains("host: \(host):\(server.port)\r\n") == true)
            try await server.allClosed()
        }
    }

    @Test(
        arguments: [
            (.selfSigned, untrusted), (.expired, untrusted), (.forClients, untrusted), (.withoutIntermediate, untrusted),
            (.otherName, "TLS failed: its certificate is for another name"),
        ] as [(Certificates.Leaf, String)])
    func noByteOfARequestReachesAServerThatIsNotTheOne(leaf: Certificates.Leaf, reason: String) async throws {
        let certificates = try await Certificates.shared()
        try await RawServer.with(.success, tls: try certificates.server(leaf)) { server in
            let transport = try makeTransport(trusting: certificates.ca, names: { _ in ["127.0.0.1"] })
            for host in ["127.0.0.1", "as.example"] {
                for request in [try post(server.url(scheme: "https", host: host)), try get(server.url(scheme: "https", host: host))] {
                    #expect(await failure(of: request, by: transport) == TransportError(.unreachable(reason), mayHaveBeenSent: false))
                }
            }
            try await server.allClosed()
            #expect(server.connectionCount == 4)
            #expect(server.received.allSatisfy { $0.isEmpty })
        }
    }

    @Test func aCAThatNobodyNamedIsNotTrusted() async throws {
        try await RawServer.with(.success, tls: try await Certificates.shared().server()) { server in
            let error = try await failure(of: post(server.url(scheme: "https")), by: makeTransport())
            #expect(error == TransportError(.unreachable(untrusted), mayHaveBeenSent: false))
            #expect(server.received.allSatisfy { $0.isEmpty })
        }
    }

    @Test func anOldProtocolIsRefused() async throws {
        let certificates = try await Certificates.shared()
        try await RawServer.with(.success, tls: try certificates.server(isOld: true)) { server in
            let error = try await failure(of: post(server.url(scheme: "https")), by: makeTransport(trusting: certificates.ca))
            #expect(error == TransportError(.unreachable("TLS failed: it speaks no TLS 1.2 or later"), mayHaveBeenSent: false))
            #expect(server.received.allSatisfy { $0.isEmpty })
        }
    }

    @Test func aPortWithoutTLSIsNamed() async throws {
        try await RawServer.with(.greeting([.send(RawServer.bytes("HTTP/1.1 400 Bad Request\r\nX-Banner: inner-host-7\r\n\r\n"))])) { server in
            let error = try await failure(of: post(server.url(scheme: "https")), by: makeTransport())
            #expect(error == TransportError(.unreachable("TLS failed: it does not speak TLS at this port"), mayHaveBeenSent: false))
            // What arrived is the start of a handshake and nothing readable.
            #expect(!server.received.contains { $0.contains("grant_type") })
        }
    }

    @Test func aServerThatHangsUpInTheHandshakeSawNothing() async throws {
        try await RawServer.with(.greeting([.close])) { server in
            let error = try await failure(of: post(server.url(scheme: "https")), by: makeTransport())
            #expect(error?.mayHaveBeenSent == false)
            #expect(!server.received.contains { $0.contains("grant_type") })
        }
    }

    @Test func aFileThatIsNoCertificateIsNamed() {
        #expect(throws: TrustError(path: "/etc/hostname")) { _ = try Trust(caFile: "/etc/hostname") }
        #expect(throws: TrustError(path: "/no/such/file")) { _ = try Trust(caFile: "/no/such/file") }
    }
}

import HTTPTypes
import OAuth
import OAuthClient
import Testing

@testable import OAuthClientAsyncHTTP

/// Whether a request that got no answer may have been done. SEC-31.
@Suite(.timeLimit(.minutes(5))) struct OutcomeTests {
    @Test func aRefusedConnectionCarriedNothing() async throws {
        let nobody = "127.0.0.1:1/token"
        for request in [
            try post("http://" + nobody), try get("http://" + nobody), try post("https://" + nobody), try get("https://" + nobody),
        ] {
            let error = try await failure(of: request, by: makeTransport())
            #expect(error?.isUnreachable == true, "\(request.head.method)")
            #expect(error?.mayHaveBeenSent == false, "\(request.head.method)")
        }
    }

    @Test func aForbiddenAddressIsNotAskedAtAll() async throws {
        try await RawServer.with(.success) { server in
            for host in ["127.0.0.1", "localhost", "as.example"] {
                let transport = try makeTransport(allowed: ["10.0.0.0/8"], names: { _ in ["127.0.0.1"] })
                #expect(try await failure(of: post(server.url(host: host)), by: transport) == TransportError(.blocked, mayHaveBeenSent: false))
            }
            #expect(server.connectionCount == 0)
        }
    }

    @Test func aNameWithoutAddressCarriedNothing() async throws {
        let error = try await failure(of: post("https://as.example/token"), by: makeTransport(names: { _ in [] }))
        #expect(error == TransportError(.unreachable("its name does not resolve"), mayHaveBeenSent: false))
    }

    @Test func aServerThatReadsAndHangsUpMayHaveDoneIt() async throws {
        try await RawServer.with(.answering([.close])) { server in
            for request in [try post(server.url()), try get(server.url())] {
                let error = try await failure(of: request, by: makeTransport())
                #expect(error?.isBroken == true)
                #expect(error?.mayHaveBeenSent == true)
            }
            #expect(server.connectionCount == 2)
        }
    }

    @Test func theSameBehindTLS() async throws {
        let certificates = try await Certificates.shared()
        try await RawServer.with(.answering([.close]), tls: try certificates.server()) { server in
            let error = try await failure(of: post(server.url(scheme: "https")), by: makeTransport(trusting: certificates.ca))
            #expect(error?.isBroken == true)
            #expect(error?.mayHaveBeenSent == true)
            #expect(server.connectionCount == 1)
        }
    }

    @Test func aServerThatHangsUpAtOnceIsNeverCalledUnaskedWhenItHeardTheBody() async throws {
        try await RawServer.with(.greeting([.close])) { server in
            for _ in 0..<20 {
                let before = server.connectionCount
                let error = try await failure(of: post(server.url()), by: makeTransport())
                #expect(error != nil)
                try await server.allClosed()
                let heard = server.received.dropFirst(before).contains { $0.contains("grant_type") }
                #expect(!heard || error?.mayHaveBeenSent == true)
            }
        }
    }

    // MARK: A caller who leaves

    @Test func aCancelledRequestEndsAtOnce() async throws {
        try await RawServer.with(.silence) { server in
            let transport = try makeTransport()
            let request = try post(server.url())
            let task = Task { await failure(of: request, by: transport) }
            #expect(await server.nextRequest()?.hasSuffix("grant_type=x&code=y") == true)
            let start = ContinuousClock.now
            task.cancel()
            #expect(await task.value == TransportError(.cancelled, mayHaveBeenSent: true))
            #expect(ContinuousClock.now - start < .seconds(15))
            try await server.allClosed()
        }
    }

    @Test func aTaskThatWasCancelledBeforeEndsAsCancelled() async throws {
        try await RawServer.with(.success) { server in
            let transport = try makeTransport()
            let request = try post(server.url())
            let task = Task {
                while !Task.isCancelled { await Task.yield() }
                return await failure(of: request, by: transport)
            }
            task.cancel()
            let error = await task.value
            try await server.allClosed()
            let heard = server.received.contains { $0.contains("grant_type") }
            // An answer that came nevertheless is as good as the word that there is none.
            #expect(error == nil || error?.reason == .cancelled)
            #expect(!heard || error == nil || error?.mayHaveBeenSent == true)
        }
    }

    /// Cancelled at many moments: what the server heard is never reported as unsent.
    @Test func noMomentMakesASentRequestUnsent() async throws {
        try await RawServer.with(.silence) { server in
            let transport = try makeTransport()
            var unsent: [String] = []
            for round in 0..<100 {
                let marker = "round=\(round);"
                let request = try post(server.url(), body: marker)
                let task = Task { await failure(of: request, by: transport) }
                // No wait for anything: only moments spread over what a connection on this machine takes.
                try await Task.sleep(for: .microseconds(round * 15))
                task.cancel()
                let error = try #require(await task.value)
                #expect(error.reason == .cancelled)
                if !error.mayHaveBeenSent { unsent.append(marker) }
            }
            try await server.allClosed()
            for marker in unsent { #expect(!server.received.contains { $0.contains(marker) }, "\(marker)") }
        }
    }
}

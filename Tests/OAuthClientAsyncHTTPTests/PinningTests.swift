#if os(Linux)  // where all of 127.0.0.0/8 is this machine
    import OAuth
    import OAuthClient
    import Testing

    @testable import OAuthClientAsyncHTTP

    /// SEC-69.
    @Suite(.timeLimit(.minutes(5))) struct PinningTests {
        @Test func onlyTheJudgedAddressIsConnectedTo() async throws {
            try await RawServer.with(.answering([.send(RawServer.answer(body: "inner"))])) { inner in
                try await RawServer.with(.answering([.send(RawServer.answer(body: "outer"))]), host: "127.0.0.2", port: inner.port) { outer in
                    let looks = Counter()
                    // The first look finds what is allowed, the second what is not.
                    let transport = try makeTransport(allowed: ["127.0.0.2/32"], names: { _ in looks.next() % 2 == 0 ? ["127.0.0.2"] : ["127.0.0.1"] })
                    let request = try post(outer.url(host: "as.example"))
                    for _ in 0..<50 {
                        #expect(try await transport.send(request).text == "outer")
                        #expect(await failure(of: request, by: transport) == TransportError(.blocked, mayHaveBeenSent: false))
                    }
                    #expect(looks.value == 100)
                    #expect(outer.connectionCount == 50)
                    #expect(inner.connectionCount == 0)
                    #expect(outer.received.allSatisfy { $0.contains("host: as.example:\(outer.port)\r\n") })
                }
            }
        }

        @Test func aSetWithOneForbiddenAddressIsRefusedWhole() async throws {
            try await RawServer.with(.success, host: "127.0.0.2") { server in
                for addresses in [["127.0.0.2", "127.0.0.1"], ["127.0.0.1", "127.0.0.2"], ["127.0.0.2", "::1"], ["127.0.0.2", "10.0.0.1"]] {
                    let transport = try makeTransport(allowed: ["127.0.0.2/32"], names: { _ in addresses })
                    #expect(try await failure(of: post(server.url(host: "as.example")), by: transport) == TransportError(.blocked, mayHaveBeenSent: false))
                }
                #expect(server.connectionCount == 0)
            }
        }
    }
#endif

#if PostgreSQL
    import HTTPTypes
    import OAuth
    import RehearsalProvider
    import TestSupport
    import Testing

    /// Keeping grants alive without a leader.
    extension ClusterTests {
        /// Grants u0, u1 … of the connection `app`, all of them due, imported through all nodes.
        private func fill(_ count: Int, _ nodes: [ServerProcess], at provider: RunningProvider) async throws {
            var tokens: [JSONValue] = []
            for _ in 0..<count { tokens.append(try await provider.tokens("app", secret: "cluster-secret", expiresIn: 0)) }
            // From now on it counts.
            try await provider.client(["id": "app", "rate_limit": 50])
            let all = tokens
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (lane, node) in nodes.enumerated() {
                    group.addTask {
                        for index in stride(from: lane, to: count, by: nodes.count) { try await node.put("app", subject: "u\(index)", all[index]) }
                    }
                }
                try await group.waitForAll()
            }
        }

        private func start(_ cluster: Cluster, at provider: RunningProvider, grace: Int) async throws -> [ServerProcess] {
            let nodes = try await cluster.startThree()
            try await provider.client(Self.client("app", grace: grace, ["access_token_lifetime": 86_400]))
            var document = Self.connection("app", at: provider, grace: grace).object ?? [:]
            document["keep_alive"] = true
            try await nodes[0].add(.object(document))
            return nodes
        }

        private func refreshed(_ cluster: Cluster) async throws -> Int {
            // Each look is a process of its own.
            try await Task.sleep(for: .milliseconds(250))
            return try await cluster.number(#"SELECT count(*) FROM "grant" WHERE token_generation > 1"#)
        }

        @Test func threeNodesRefreshEachGrantOnceWithinTheProvidersRate() async throws {
            let count = isLongRun ? 3000 : 300
            try await RunningProvider.with { provider in
                try await Cluster.with { cluster in
                    let nodes = try await start(cluster, at: provider, grace: 0)
                    try await fill(count, nodes, at: provider)
                    try await eventually("all are refreshed", within: .seconds(60 + count / 10)) { try await refreshed(cluster) == count }
                    #expect(try await cluster.number(#"SELECT max(token_generation) FROM "grant""#) == 2)
                    let requests = try await provider.tokenRequests("app", "refresh_token")
                    let limited = requests.count { $0["rate_limited"]?.bool == true }
                    #expect(requests.count - limited == count)
                    // The limit is one for all nodes, and was found once.
                    #expect(limited <= count / 10, "\(limited)")
                    try await eventually("the work of all is written down") { try await cluster.entries("grant.refreshed").values.reduce(0, +) == count }
                    let shares = try await cluster.entries("grant.refreshed")
                    #expect(shares.count == 3 && shares.values.allSatisfy { $0 >= count / 10 }, "\(shares)")
                    print("refreshed by 3 nodes: \(shares.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")), 429: \(limited)")
                    #expect(try await nodes[1].send(.get, "/v1/connections/app")["health"]?["state"]?.string == "ok")
                    try await cluster.expectWholeActivity()
                    for node in nodes { await node.stop() }
                }
            }
        }

        @Test func theClaimsOfANodeThatWasKilledComeBack() async throws {
            let count = 200
            try await RunningProvider.with { provider in
                try await Cluster.with { cluster in
                    let nodes = try await start(cluster, at: provider, grace: 60)
                    try await fill(count, nodes, at: provider)
                    try await eventually("a good part is refreshed") { try await refreshed(cluster) > count / 4 }
                    await nodes[2].kill()
                    let left = [nodes[0], nodes[1]]
                    if isLongRun {
                        // Nobody asks. A claim lasts for two minutes.
                        try await eventually("all are refreshed", within: .seconds(180)) { try await refreshed(cluster) == count }
                    }
                    try await provider.client(["id": "app", "rate_limit": .null])
                    for index in 0..<count {
                        // Whoever is claimed and expired is refreshed for its caller.
                        let token = try await left[index % 2].token("app", "subject=u\(index)")
                        #expect(token.status == 200 && token["generation"]?.integer ?? 0 >= 2, "u\(index): \(token.text)")
                        #expect(try await provider.user(of: token) == "user-alice", "u\(index)")
                    }
                    try await cluster.expectWholeActivity()
                    for node in left { await node.stop() }
                }
            }
        }
    }
#endif

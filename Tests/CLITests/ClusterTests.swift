#if PostgreSQL
    import Foundation
    import HTTPTypes
    import OAuth
    import RehearsalProvider
    import TestSupport
    import Testing

    /// What goes wrong between nodes, with real processes. Most of the time goes by with waiting, for leases to end and for nodes to
    /// be missed, so a few may run at once.
    @Suite(.enabled(if: PostgresServer.isExpected, "PostgreSQL is not installed")) struct ClusterTests {
        /// A client whose refresh tokens serve once; a second use ends all that came from them.
        static func client(_ id: String, grace: Int = 0, _ more: JSONObject = [:]) -> JSONValue {
            var object: JSONObject = [
                "id": .string(id), "secret": "cluster-secret", "rotates": true, "access_token_lifetime": 3600, "grace": .number(JSONNumber(grace)),
            ]
            for member in more.members { object[member.name] = member.value }
            return .object(object)
        }

        /// A connection of that client, under its name.
        static func connection(_ client: String, at provider: RunningProvider, grace: Int = 0) -> JSONValue {
            provider.connection(
                client, "authorization_code", client: client, secret: "cluster-secret",
                oauth: grace > 0 ? ["rotation_grace": .number(JSONNumber(grace))] : [:])
        }

        /// Client, connection and the shared grant.
        static func add(
            _ id: String, to node: ServerProcess, at provider: RunningProvider, grace: Int = 0, expiresIn: Int? = nil, _ more: JSONObject = [:]
        ) async throws {
            try await provider.client(client(id, grace: grace, more))
            try await node.add(connection(id, at: provider, grace: grace))
            try await node.put(id, try await provider.tokens(id, secret: "cluster-secret", expiresIn: expiresIn))
        }

        // MARK: One refresh

        @Test func threeTimesThreeHundredCallersCostOneRefresh() async throws {
            try await RunningProvider.with { provider in
                try await Cluster.with { cluster in
                    let nodes = try await cluster.startThree()
                    try await Self.add("app", to: nodes[0], at: provider, expiresIn: 0)
                    for round in 1...(isLongRun ? 20 : 3) {
                        // Slow enough that all of them come while it is under way.
                        try await provider.client(["id": "app", "faults": [["fault": "slow", "value": 1, "on": "refresh_token", "times": 1]]])
                        let urls = nodes.flatMap { node in
                            // The first token has expired; later ones are said not to serve.
                            (0..<300).map { _ in node.url + "/v1/connections/app/token" + (round == 1 ? "" : "?after_generation=\(round)") }
                        }
                        let answers = try await Crowd.get(urls, key: cluster.adminKey)
                        let wrong = answers.first { $0.status != 200 || $0["generation"]?.integer != round + 1 }
                        #expect(wrong == nil, "round \(round): \(wrong?.text ?? "")")
                        #expect(Set(answers.map { $0["access_token"]?.string }).count == 1, "round \(round)")
                        #expect(try await provider.tokenRequests("app", "refresh_token").count == round)
                        #expect(try await provider.user(of: try #require(answers.first)) == "user-alice")
                    }
                    try await cluster.expectWholeActivity()
                    for node in nodes { await node.stop() }
                }
            }
        }

        // MARK: Names

        @Test func nodesHaveNamesOfTheirOwnAndWhoIsLostIsNotedOnce() async throws {
            try await Cluster.with { cluster in
                let first = try await cluster.start("node")
                let second = try await cluster.start("node")
                let third = try await cluster.start("other")
                func names() async throws -> String { try await cluster.postgres.query("SELECT name FROM node ORDER BY name", in: cluster.database) }
                #expect(try await names() == "node\nnode-2\nother")
                // A shutdown leaves nothing, and gives the name back.
                await second.stop()
                #expect(try await names() == "node\nother")
                let again = try await cluster.start("node")
                #expect(try await names() == "node\nnode-2\nother")

                try await eventually("its start is written down") { try await cluster.entries("node.started")["node-2"] == 2 }
                await again.kill()
                try await eventually("it is missed", within: .seconds(45)) {
                    try await Task.sleep(for: .milliseconds(250))
                    return try await names() == "node\nother"
                }
                // All that are left look for lost ones.
                try await Task.sleep(for: .seconds(3))
                func recovered() async throws -> [String] {
                    let items = try await first.send(.get, "/v1/activity?action=node.recovered&limit=200")["items"]?.array ?? []
                    return items.compactMap { $0["detail"]?.string }
                }
                try await eventually("it is noted") { try await !recovered().isEmpty }
                let details = try await recovered()
                #expect(details.count == 1 && details.allSatisfy { $0.hasPrefix("node-2 ") }, "\(details)")

                // Under the name that it had, it goes on with its chain.
                let back = try await cluster.start("node")
                #expect(try await names() == "node\nnode-2\nother")
                for node in [first, third, back] { await node.stop() }
                #expect(try await names() == "")
                #expect(try await cluster.entries("node.started") == ["node": 1, "node-2": 3, "other": 1])
                try await cluster.expectWholeActivity()
            }
        }

        @Test func aNodeThatDiedAndIsStartedAtOnceKeepsItsName() async throws {
            try await Cluster.with { cluster in
                let node = try await cluster.start("node")
                try await eventually("its start is written down") { try await cluster.entries("node.started")["node"] == 1 }
                await node.kill()
                let back = try await cluster.start("node")
                #expect(try await cluster.postgres.query("SELECT name FROM node", in: cluster.database) == "node")
                // There was nobody else to tell of its end.
                try await eventually("it tells of its own end") { try await cluster.entries("node.recovered") == ["node": 1] }
                await back.stop()
                #expect(try await cluster.entries("node.started") == ["node": 2])
                try await cluster.expectWholeActivity()
            }
        }
    }
#endif

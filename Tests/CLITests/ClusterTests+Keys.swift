#if PostgreSQL
    import HTTPTypes
    import OAuth
    import RehearsalProvider
    import TestSupport
    import Testing

    /// Nodes that were not given the same master keys.
    extension ClusterTests {
        private static func masterKey(_ id: String) -> String { id + ":" + Entropy.system.token(bytes: 32) }

        private func refusal(_ cluster: Cluster, _ name: String, _ environment: [String: String]) async throws -> String {
            let error = await #expect(throws: ServerHome.NotStarted.self) { _ = try await cluster.start(name, environment) }
            return error?.errors ?? ""
        }

        @Test func aNodeWithAFirstKeyThatTheOthersLackDoesNotStart() async throws {
            try await RunningProvider.with { provider in
                try await Cluster.with { cluster in
                    let a = try await cluster.start("a")
                    let k2 = Self.masterKey("k2")
                    let errors = try await refusal(cluster, "b", ["GRANTEE_MASTER_KEYS": "\(k2),\(cluster.masterKeys)"])
                    #expect(errors.contains("k2, would seal what node a cannot open") && errors.contains("put k2 behind"), "\(errors)")
                    #expect(try await cluster.number("SELECT count(*) FROM data_key WHERE master_key_id <> 'k1'") == 0)
                    #expect(try await cluster.number("SELECT count(*) FROM node") == 1)

                    // In the order that the handbook says it goes well, and each step is held to.
                    let behind = try await cluster.start("b", ["GRANTEE_MASTER_KEYS": "\(cluster.masterKeys)\n\(k2)\n"])
                    await a.stop()
                    let first = try await cluster.start("a", ["GRANTEE_MASTER_KEYS": "\(k2)\n\(cluster.masterKeys)\n"])
                    let old = try await refusal(cluster, "c", [:])
                    #expect(old.contains("node a seals with the master key k2, which this server was not given"), "\(old)")
                    try await first.add(provider.connection("machine", "client_credentials", client: "machine", secret: "machine-secret"))
                    for node in [behind, first] {
                        #expect(try await node.token("machine").status == 200)
                        #expect(try await node.isReady)
                    }
                    for node in [behind, first] { await node.stop() }
                }
            }
        }

        @Test func whoeverCannotOpenTheVaultSaysSoAndNothingIsRotatedWithoutIt() async throws {
            try await RunningProvider.with { provider in
                try await Cluster.with { cluster in
                    let a = try await cluster.start("a")
                    try await a.add(provider.connection("old", "client_credentials", client: "machine", secret: "machine-secret"))
                    // As if it had never said which keys it has.
                    try await cluster.postgres.query("UPDATE node SET master_key_ids = '[\"k2\",\"k1\"]'", in: cluster.database)
                    let b = try await cluster.start("b", ["GRANTEE_MASTER_KEYS": "\(Self.masterKey("k2")),\(cluster.masterKeys)"])
                    try await cluster.postgres.query("UPDATE node SET master_key_ids = '[\"k1\"]' WHERE name = 'a'", in: cluster.database)

                    let rotated = try await b.send(.post, "/v1/vault/rotate")
                    #expect(rotated.text.contains("is not known to every node: a could open nothing any more"), "\(rotated.text)")
                    #expect(rotated.text.contains("\"code\":\"conflict\""), "\(rotated.text)")
                    #expect(try await cluster.number("SELECT count(*) FROM data_key WHERE master_key_id <> 'k1'") == 0)

                    // A new connection's key is wrapped by the first one.
                    try await b.add(provider.connection("new", "client_credentials", client: "machine", secret: "machine-secret"))
                    try await eventually("it is not ready") { try await !a.isReady }
                    let ready = try await a.send(.get, "/health/ready")
                    #expect(ready["not_ready"] == ["keys"], "\(ready.text)")
                    try await Task.sleep(for: .seconds(1.2))
                    for id in ["old", "new"] {
                        let answer = try await a.token(id)
                        #expect(answer.status == 503 && answer.code == "unavailable" && answer.headers[.retryAfter] == "1", "\(answer.text)")
                        #expect(answer["detail"]?.string == "the vault is sealed with a master key that this server was not given", "\(answer.text)")
                        #expect(try await b.token(id).status == 200)
                    }
                    let log = await a.kill().errors
                    #expect(log.split(separator: "\n").count { $0.contains("another node sealed with a master key") } == 1, "\(log)")
                    #expect(!log.contains("database does not answer") && !log.contains("internal error"), "\(log)")
                    await b.stop()
                }
            }
        }

        @Test func oldDataKeysGoByThemselvesAndThatIsSaid() async throws {
            try await RunningProvider.with { provider in
                try await Cluster.with { cluster in
                    let node = try await cluster.start("a")
                    try await node.add(provider.connection("app", "client_credentials", client: "machine", secret: "machine-secret"))
                    let tool = CommandLineTool(environment: ["GRANTEE_URL": node.url, "GRANTEE_API_KEY": cluster.adminKey])
                    let rotated = try await tool.run(["vault", "rotate", "--data-keys", "--yes"])
                    #expect(rotated.status == 0)
                    let words = "2 old data keys stay for some 10 minutes, as other nodes may need them; then they go by themselves."
                    #expect(rotated.errors.contains(words), "\(rotated.errors)")
                    #expect(try await cluster.number("SELECT count(*) FROM data_key WHERE retired_at IS NOT NULL") == 2)
                    let lines = (await node.stop()).errors.split(separator: "\n").filter { $0.contains("retired data keys stay") }
                    #expect(lines.count == 1 && lines[0].lowercased().contains("notice"), "\(lines)")
                }
            }
        }

        @Test func aFirstStartThatIsRefusedLeavesTheDatabaseAsItWas() async throws {
            try await Cluster.with { cluster in
                let errors = try await refusal(cluster, "a", ["GRANTEE_MASTER_KEYS": Self.masterKey("k7"), "GRANTEE_ADMIN_KEY": ""])
                #expect(errors.contains("the admin API key is needed"), "\(errors)")
                let trust = try await refusal(cluster, "a", ["GRANTEE_MASTER_KEYS": Self.masterKey("k7"), "GRANTEE_CA_FILE": "/nowhere/ca.pem"])
                #expect(trust.contains("--ca-file"), "\(trust)")
                for table in ["data_key", "meta", "node", "activity"] {
                    #expect(try await cluster.number("SELECT count(*) FROM \(table)") == 0, "\(table)")
                }
                // So the next one may come with other keys.
                await (try await cluster.start("a")).stop()
            }
        }
    }
#endif

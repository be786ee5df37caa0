#if PostgreSQL
    import Foundation
    import HTTPTypes
    import OAuth
    import RehearsalProvider
    import TestSupport
    import Testing

    /// Whatever becomes of the database while three nodes refresh: no refresh token is lost, and service resumes by itself.
    extension ClusterTests {
        private static let grants = 60

        /// Three nodes, one of them through a network of its own, and callers at all of them.
        private struct Scene {
            let cluster: Cluster
            let relay: Relay
            let nodes: [ServerProcess]
            let load: RefreshLoad

            static func with(on postgres: PostgresServer, _ body: (Scene) async throws -> Void) async throws {
                try await RunningProvider.with { provider in
                    try await Cluster.with(on: postgres) { cluster in
                        let relay = try cluster.relay()
                        let nodes = [try await cluster.start("a"), try await cluster.start("b"), try await cluster.start("c", through: relay)]
                        // Each refresh token serves once.
                        try await provider.client(ClusterTests.client("app"))
                        try await nodes[0].add(ClusterTests.connection("app", at: provider))
                        for index in 0..<ClusterTests.grants {
                            try await nodes[index % 3].put("app", subject: "u\(index)", try await provider.tokens("app", secret: "cluster-secret"))
                        }
                        let load = RefreshLoad(nodes, count: ClusterTests.grants, at: provider)
                        let scene = Scene(cluster: cluster, relay: relay, nodes: nodes, load: load)
                        do {
                            try await load.resumes("the beginning")
                            try await body(scene)
                        } catch {
                            try await load.end()
                            throw error
                        }
                        try await load.end()
                        #expect(load.wrongs.isEmpty, "\(load.wrongs.prefix(5))")
                        // Callers were told to come again, and nothing else.
                        let known: Set = ["503 unavailable", "409 conflict", "504 provider_unreachable"]
                        let others = load.refusals.filter { !known.contains($0.key) && $0.key != "409 reauthorization_required" }
                        #expect(others.isEmpty, "\(others)")
                    }
                }
            }

            /// Each grant renews once more, or says that nobody can know.
            /// - Returns: how many say so.
            func renewAll() async throws -> Int {
                var unknown = 0
                for index in 0..<ClusterTests.grants {
                    let end = ContinuousClock.now + .seconds(30)
                    var answer = try await nodes[index % 3].refresh("app", subject: "u\(index)")
                    while [503, 504].contains(answer.status), ContinuousClock.now < end {
                        try await Task.sleep(for: .milliseconds(200))
                        answer = try await nodes[index % 3].refresh("app", subject: "u\(index)")
                    }
                    if answer.code == "reauthorization_required" {
                        let grant = try await nodes[0].send(.get, "/v1/connections/app/grants/u\(index)")
                        #expect(grant["state_reason"]?.string == "outcome_unknown", "u\(index): \(grant.text)")
                        unknown += 1
                    } else {
                        #expect(answer.status == 200, "u\(index): \(answer.text)")
                    }
                }
                return unknown
            }

            func expectReady(_ what: String) async throws {
                for node in nodes { try await eventually("\(what): ready again") { try await node.isReady } }
                // What was received while nothing could be written is written.
                try await load.resumes(what)
            }

            func end() async throws {
                try await load.end()
                let unknown = try await renewAll()
                // No node died between sending and writing.
                #expect(unknown == 0, "\(unknown) refresh tokens were sent twice")
                try await cluster.expectWholeActivity()
                for node in nodes { await node.stop() }
            }
        }

        enum Outage: String, Sendable, CaseIterable {
            case stopped = "PostgreSQL is restarted"
            case stoppedAtOnce = "PostgreSQL is restarted without waiting for anything"
            case killed = "PostgreSQL is killed"
            case frozen = "PostgreSQL is frozen"
            case crowded = "somebody else takes all connections"
            case held = "one node's network holds everything back"
            case lost = "one node's network loses everything"
            case refused = "one node's network refuses"

            /// Whether every node is hit.
            var isForAll: Bool { ![.held, .lost, .refused].contains(self) }
        }

        @Test func noRefreshTokenIsLostWhateverBecomesOfTheDatabase() async throws {
            var options = PostgresServer.Options()
            options.settings = ["max_connections": "40"]
            try await PostgresServer.with(options) { postgres in
                try await Scene.with(on: postgres) { scene in
                    for round in 1...(isLongRun ? 10 : 1) {
                        for outage in round == 1 ? Outage.allCases : Outage.allCases.shuffled() {
                            try await pass(outage, scene, postgres)
                            try await scene.expectReady(outage.rawValue)
                        }
                    }
                    print("callers during outages: \(scene.load.done.reduce(0, +)) refreshes, \(scene.load.refusals.sorted { $0.key < $1.key })")
                    try await scene.end()
                }
            }
        }

        private func pass(_ outage: Outage, _ scene: Scene, _ postgres: PostgresServer) async throws {
            let length = Duration.milliseconds(isLongRun ? Int.random(in: 500...8000) : 1500)
            switch outage {
            case .stopped:
                await postgres.stop()
                try await expectUnready(scene.nodes, outage)
                try await Task.sleep(for: length)
                try await postgres.restart()
            case .stoppedAtOnce:
                // SIGQUIT, as `pg_ctl stop -m immediate` sends it.
                let file = try await postgres.query("SELECT pg_read_file('postmaster.pid')")
                let pid = try #require(file.split(separator: "\n").first.flatMap { Int32($0) }, "\(file)")
                Foundation.kill(pid, SIGQUIT)
                try await eventually("it ends") { Foundation.kill(pid, 0) != 0 }
                try await Task.sleep(for: length)
                try await postgres.restart()
            case .killed:
                try await postgres.kill()
                try await Task.sleep(for: length)
                try await postgres.restart()
            case .frozen:
                postgres.freeze()
                try await Task.sleep(for: length + .seconds(1))
                postgres.thaw()
            case .crowded:
                try await crowd(postgres, for: length + .seconds(1))
            case .held, .lost, .refused:
                scene.relay.become(outage == .held ? .held : outage == .lost ? .lost : .refused)
                try await expectUnready([scene.nodes[2]], outage)
                try await Task.sleep(for: length)
                // The others go on, but for the grants that it has locked, for some seconds.
                let before = scene.load.done
                try await eventually("\(outage.rawValue): the others go on", within: .seconds(10)) {
                    zip(scene.load.done, before).dropLast().allSatisfy { $0 > $1 }
                }
                scene.relay.heal()
            }
        }

        private func expectUnready(_ nodes: [ServerProcess], _ outage: Outage) async throws {
            for node in nodes { try await eventually("\(outage.rawValue): not ready") { try await !node.isReady } }
        }

        /// Another client has all connections that there are; the nodes have lost theirs.
        private func crowd(_ postgres: PostgresServer, for length: Duration) async throws {
            let seconds = length.components.seconds + 1
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<60 {
                    // Those that come too late find no place, which is what is wanted.
                    group.addTask { _ = try? await postgres.query("SELECT pg_sleep(\(seconds))") }
                }
                group.addTask {
                    for _ in 0..<5 {
                        try? await Task.sleep(for: .milliseconds(300))
                        _ = try? await postgres.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 't%'")
                    }
                }
            }
        }

        // MARK: A full disk

        @Test("No refresh token is lost when the database's disk is full", .enabled(if: SmallDisk.isAllowed, "needs Linux, and root for a mount"))
        func fullDisk() async throws {
            try await PostgresServer.with { postgres in
                try await SmallDisk.with(postgres) { disk in
                    try await Scene.with(on: postgres) { scene in
                        for _ in 1...(isLongRun ? 10 : 1) {
                            try await disk.fill()
                            let before = scene.load.refusals.values.reduce(0, +)
                            try await eventually("the nodes notice", within: .seconds(60)) { scene.load.refusals.values.reduce(0, +) > before }
                            try await Task.sleep(for: .seconds(2))
                            try await disk.free()
                            // A log that could not grow has ended it.
                            if (try? await postgres.query("SELECT 1")) == nil { try await postgres.restart() }
                            try await scene.expectReady("a full disk")
                        }
                        try await scene.end()
                    }
                }
            }
        }
    }
#endif

#if PostgreSQL
    import HTTPTypes
    import OAuth
    import RehearsalProvider
    import TestSupport
    import Testing

    /// What one node ended, no other one serves a second later.
    extension ClusterTests {
        /// What is done on node A, and where it has to be seen.
        private enum Change: String, Sendable, CaseIterable {
            case revokeGrant = "a revoked grant"
            case moveHost = "a connection on another host"
            case signOut = "an ended console session"
            case removeKey = "a removed key"

            var faces: [Watch.Face] {
                switch self {
                case .revokeGrant: [.token, .gatewayShortcut, .gatewayLongWay]
                case .moveHost: [.token, .gatewayShortcut, .gatewayLongWay, .mcp]
                case .signOut: [.console]
                case .removeKey: Watch.Face.allCases
                }
            }
            /// Client and connection.
            var id: String { "c-" + rawValue.split(separator: " ").last!.lowercased() }
        }

        /// A connection with a grant and a key with a session, for one change.
        private struct Target: Sendable {
            let change: Change
            let subject: Watch.Subject
            let browser: BalancedBrowser
            let keyID: String
            let a: ServerProcess

            static func make(_ change: Change, on a: ServerProcess, at provider: RunningProvider) async throws -> Target {
                var document = ClusterTests.connection(change.id, at: provider).object ?? [:]
                // The provider goes on taking the token, so that what refuses it is a node.
                var oauth = document["oauth"]?.object ?? [:]
                oauth["revocation_url"] = nil
                document["oauth"] = .object(oauth)
                document["agent_access"] = ["enabled": true, "methods": ["GET"], "paths": ["/**"]]
                try await provider.client(ClusterTests.client(change.id))
                try await a.add(.object(document))
                try await a.put(change.id, try await provider.tokens(change.id, secret: "cluster-secret"))
                let key = try await a.send(.post, "/v1/keys", body: ["name": .string(change.id), "role": "admin"])
                let text = try #require(key["key"]?.string, "\(key.text)")
                let browser = BalancedBrowser()
                let signedIn = try await browser.post("/console/sign-in", [("key", text)], at: a)
                #expect(signedIn.status == 303, "\(signedIn.body)")
                let cookie = try #require(signedIn.headers[.setCookie].map { String($0.prefix { $0 != ";" }) })
                let subject = Watch.Subject(connection: change.id, key: text, baseURL: provider.url + "/api", cookie: cookie)
                return Target(change: change, subject: subject, browser: browser, keyID: try #require(key["id"]?.string), a: a)
            }

            /// Returns when A has answered.
            func make(at provider: RunningProvider) async throws -> ContinuousClock.Instant {
                switch change {
                case .revokeGrant:
                    let answer = try await patiently { try await a.send(.delete, "/v1/connections/\(change.id)/grants/-") }
                    #expect(answer.status == 200, "\(answer.text)")
                case .moveHost:
                    let elsewhere = provider.url.replacing("localhost", with: "127.0.0.1") + "/api"
                    let answer = try await patiently { try await a.send(.patch, "/v1/connections/\(change.id)", body: ["base_url": .string(elsewhere)]) }
                    #expect(answer.status == 200, "\(answer.text)")
                case .signOut:
                    let page = try await browser.get("/console/settings", at: a)
                    let form = [("csrf", try #require(page.field("csrf"), "\(page.status)")), ("form", Entropy.system.token(bytes: 12))]
                    let answer = try await browser.post("/console/sign-out", form, at: a)
                    #expect(answer.status == 303, "\(answer.body)")
                case .removeKey:
                    let answer = try await patiently { try await a.send(.delete, "/v1/keys/\(keyID)") }
                    #expect(answer.status == 204, "\(answer.text)")
                }
                return .now
            }

            /// What a node that is cut off has locked in the database is locked until that gives it up.
            private func patiently(_ ask: () async throws -> RunningServer.Answer) async throws -> RunningServer.Answer {
                let end = ContinuousClock.now + .seconds(30)
                while true {
                    let answer = try await ask()
                    if answer.status != 503 || ContinuousClock.now > end { return answer }
                    try await Task.sleep(for: .milliseconds(100))
                }
            }
        }

        /// All that is to be watched is served: what has been read is in memory from now on.
        private func expectServed(_ targets: [Target], by nodes: [ServerProcess]) async throws {
            for node in nodes {
                for target in targets {
                    for face in target.change.faces {
                        let (isServed, words) = try await Watch.ask(face, node, target.subject)
                        #expect(isServed, "\(target.change.rawValue), \(face.rawValue): \(words)")
                    }
                }
            }
        }

        @Test func whatOneNodeEndsNoOtherServesASecondLater() async throws {
            try await RunningProvider.with { provider in
                try await Cluster.with { cluster in
                    let nodes = try await cluster.startThree()
                    for change in Change.allCases {
                        let target = try await Target.make(change, on: nodes[0], at: provider)
                        try await expectServed([target], by: nodes)
                        let watches = nodes.dropFirst().flatMap { node in change.faces.map { Watch($0, at: node, target.subject) } }
                        try await Task.sleep(for: .milliseconds(300))
                        let moment = try await target.make(at: provider)
                        try await Task.sleep(for: .seconds(2))
                        for watch in watches { try await eventually("it is asked again") { watch.hasSeen(since: moment) } }
                        for watch in watches { try await watch.end() }
                        for watch in watches { watch.expectRefusal(since: moment, change.rawValue) }
                    }
                    try await cluster.expectWholeActivity()
                    for node in nodes { await node.stop() }
                }
            }
        }

        /// Cut off right before, a node cannot know, and so it serves nothing that it has in memory.
        @Test("A node that is cut off from the database serves nothing from memory", arguments: isLongRun ? [Relay.State.held, .lost, .refused] : [.lost])
        func cutOff(cut: Relay.State) async throws {
            try await RunningProvider.with { provider in
                try await Cluster.with { cluster in
                    let relay = try cluster.relay()
                    let a = try await cluster.start("a")
                    let b = try await cluster.start("b", through: relay)
                    var targets: [Target] = []
                    for change in Change.allCases { targets.append(try await Target.make(change, on: a, at: provider)) }
                    // Nothing happens to it, and yet it is not served while nobody can know that.
                    try await Self.add("still", to: a, at: provider)
                    #expect(try await b.token("still").status == 200)
                    try await expectServed(targets, by: [b])
                    let watches = targets.map { target in (target, target.change.faces.map { Watch($0, at: b, target.subject) }) }
                    try await Task.sleep(for: .milliseconds(300))

                    relay.become(cut)
                    let cutAt = ContinuousClock.now
                    var moments: [Change: ContinuousClock.Instant] = [:]
                    for target in targets { moments[target.change] = try await target.make(at: provider) }
                    try await Task.sleep(until: cutAt + .seconds(1), clock: .continuous)
                    for _ in 0..<2 {
                        let token = try await b.token("still")
                        #expect(token.status == 503 && token.code == "unavailable", "\(token.text)")
                    }
                    let isReady = try await b.isReady
                    #expect(!isReady)
                    // Alive all the same: whoever looks after processes does not end it for this.
                    #expect(try await b.send(.get, "/health/live").status == 200)
                    #expect(try await a.token("still").status == 200)
                    for (target, faces) in watches {
                        let moment = try #require(moments[target.change])
                        for watch in faces {
                            // What was begun before may wait for the database for as long as that may take.
                            try await eventually("it is asked again") { watch.hasSeen(since: moment) }
                            try await watch.end()
                            watch.expectRefusal(since: moment, "\(target.change.rawValue), cut off")
                        }
                    }

                    relay.heal()
                    try await eventually("it is back by itself") { try await b.token("still").status == 200 }
                    try await eventually("it is ready") { try await b.isReady }
                    for target in targets {
                        for face in target.change.faces {
                            let (isServed, words) = try await Watch.ask(face, b, target.subject)
                            #expect(!isServed && !words.hasPrefix("503"), "\(target.change.rawValue), \(face.rawValue), healed: \(words)")
                        }
                    }
                    #expect(try await b.refresh("still").status == 200)
                    try await cluster.expectWholeActivity()
                    await a.stop()
                    await b.stop()
                }
            }
        }
    }
#endif

#if PostgreSQL
    import HTTPTypes
    import OAuth
    import RehearsalProvider
    import TestSupport
    import Testing

    /// What one node began, another one goes on with.
    extension ClusterTests {
        @Test func whatIsMadeOnOneNodeServesOnTheOthersAtOnce() async throws {
            try await RunningProvider.with { provider in
                try await Cluster.with { cluster in
                    let nodes = try await cluster.startThree()
                    for round in 0..<12 {
                        let id = "m\(round)"
                        let (maker, user) = (nodes[round % 3], nodes[(round + 1) % 3])
                        // That there was none is not kept in mind either.
                        #expect(try await user.token(id).status == 404)
                        try await maker.add(provider.connection(id, "client_credentials", client: "machine", secret: "machine-secret"))
                        // Sealed by a data key that this node has never seen.
                        let token = try await user.token(id)
                        #expect(token.status == 200, "\(token.text)")
                        #expect(try await provider.user(of: token) == "machine")
                        let key = try await maker.send(.post, "/v1/keys", body: ["name": .string(id), "role": "use"])
                        let text = try #require(key["key"]?.string)
                        #expect(try await RunningServer.send(.get, to: user.url + "/v1/connections/\(id)/token", key: text).status == 200)
                    }
                    for node in nodes { await node.stop() }
                }
            }
        }

        // MARK: Connecting

        /// A connect session at one node. - Returns: its id, and the authorization request that its page leads to.
        private func leave(_ node: ServerProcess, _ options: JSONObject, by browser: BalancedBrowser) async throws -> (session: String, location: String) {
            let made = try await node.send(.post, "/v1/connections/app/connect", body: .object(options))
            #expect(made.status == 201, "\(made.text)")
            let page = try await browser.get(try #require(made["connect_url"]?.string), at: node)
            // A link that an application made for its own return goes on to the provider by itself.
            var left = page
            if page.status != 303 { left = try await browser.get(try #require(page.link(to: "/connect/"), "\(page.status) \(page.body)"), at: node) }
            return (try #require(made["session"]?.string), try #require(left.headers[.location], "\(left.status) \(left.body)"))
        }

        @Test func aCallbackMayArriveAnywhere() async throws {
            try await RunningProvider.with { provider in
                try await Cluster.with { cluster in
                    let nodes = try await cluster.startThree()
                    let (a, b, c) = (nodes[0], nodes[1], nodes[2])
                    var document = provider.connection("app", "authorization_code").object ?? [:]
                    document["return_origins"] = [.string(provider.url)]
                    try await a.add(.object(document))

                    let browser = BalancedBrowser()
                    let (session, location) = try await leave(a, ["subject": "user-1"], by: browser)
                    let callback = try await browser.consent(location)
                    let back = try await browser.get(callback, at: c)
                    #expect(back.status == 200, "\(back.status) \(back.body)")
                    #expect(try await browser.get("/connect/result/\(session)", at: b).status == 200)
                    for node in nodes {
                        #expect(try await node.send(.get, "/v1/connect-sessions/\(session)")["state"]?.string == "connected")
                        #expect(try await provider.user(of: try await node.token("app", "subject=user-1")) == "user-alice")
                    }
                    // Once, whichever node it comes to.
                    #expect(try await browser.get(callback, at: b).status >= 400)
                    #expect(try await provider.tokenRequests("conf", "authorization_code").count == 1)

                    // The application completes at another node what came back to a third one.
                    let options: JSONObject = ["subject": "user-2", "return_url": .string(provider.url + "/"), "completion": "application"]
                    let (pending, second) = try await leave(a, options, by: browser)
                    let returned = try await browser.get(try await browser.consent(second), at: c)
                    #expect(returned.headers[.location]?.hasPrefix(provider.url + "/?grantee_status=pending") == true, "\(returned.status) \(returned.body)")
                    async let here = b.send(.post, "/v1/connect-sessions/\(pending)/complete", body: ["subject": "user-2"])
                    async let there = a.send(.post, "/v1/connect-sessions/\(pending)/complete", body: ["subject": "user-2"])
                    let answers = [try await here, try await there]
                    #expect(answers.count { $0.status == 200 } == 1, "\(answers.map(\.text))")
                    #expect(try await provider.tokenRequests("conf", "authorization_code").count == 2)
                    #expect(try await provider.user(of: try await c.token("app", "subject=user-2")) == "user-alice")
                    try await cluster.expectWholeActivity()
                    for node in nodes { await node.stop() }
                }
            }
        }

        // MARK: Webhooks

        @Test func anEventIsDeliveredOnceAndInOrderThoughAllNodesLookForIt() async throws {
            try await RunningProvider.with { provider in
                try await Cluster.with { cluster in
                    let nodes = try await cluster.startThree()
                    let receiver = try Receiver()
                    defer { receiver.close() }
                    let ids = ["w1", "w2", "w3"]
                    for id in ids { try await Self.add(id, to: nodes[0], at: provider) }
                    let made = try await nodes[0].send(.post, "/v1/webhooks", body: ["url": .string(receiver.url), "events": ["grant.refreshed"]])
                    #expect(made.status == 201, "\(made.text)")
                    let rounds = isLongRun ? 200 : 20
                    for round in 0..<rounds {
                        for (index, id) in ids.enumerated() {
                            let answer = try await nodes[(round + index) % 3].refresh(id)
                            #expect(answer["generation"]?.integer == round + 2, "\(answer.text)")
                        }
                    }
                    try await eventually("all are delivered", within: .seconds(60)) { receiver.bodies.count >= rounds * ids.count }
                    // A second copy would come now.
                    try await Task.sleep(for: .seconds(2))
                    let events = try receiver.bodies.map { try JSONValue(parsing: Array($0.utf8)) }
                    for id in ids {
                        let generations = events.filter { $0["data"]?["connection"]?.string == id }.map { $0["data"]?["generation"]?.integer }
                        #expect(generations == Array(2..<rounds + 2), "\(id): \(generations)")
                    }
                    for node in nodes { await node.stop() }
                }
            }
        }

        // MARK: Rotation

        @Test func aRotationOnOneNodeFailsNoReadOnTheOthers() async throws {
            try await RunningProvider.with { provider in
                try await Cluster.with { cluster in
                    let a = try await cluster.start("a", ["GRANTEE_FAILPOINT": "rotate.begun:stop"])
                    let others = [try await cluster.start("b"), try await cluster.start("c")]
                    let ids = (0..<4).map { "v\($0)" }
                    for id in ids { try await Self.add(id, to: a, at: provider, grace: 60) }

                    let load = others.enumerated().map { index, node in
                        Task {
                            var count = 0
                            while !Task.isCancelled {
                                let id = ids[(count + index) % ids.count]
                                let isRefresh = count % 5 == 0
                                // In a task of its own, so that its end does not cut it off.
                                let answers = try await Task { @Sendable in
                                    [try await node.token(id), isRefresh ? try await node.refresh(id) : try await node.grant(id)]
                                }.value
                                for answer in answers { #expect(answer.status == 200, "\(answer.text)") }
                                count += 1
                            }
                            return count
                        }
                    }
                    let rotation = Task { try await a.send(.post, "/v1/vault/rotate", body: ["data_keys": true]) }
                    try await eventually("the rotation has begun") { try await a.isFrozen }
                    // It is one node's alone, also while that stands still.
                    let second = try await others[0].send(.post, "/v1/vault/rotate", body: ["data_keys": true])
                    #expect(second.text.contains(#""code":"conflict""#), "\(second.text)")
                    a.wake()
                    let first = try await rotation.value
                    #expect(first.text.contains(#""phase":"done""#), "\(first.text)")
                    // What was read meanwhile is sealed anew the next time it is written.
                    try await Task.sleep(for: .seconds(2))
                    for task in load {
                        task.cancel()
                        #expect(try await task.value > 10)
                    }

                    let again = try await others[1].send(.post, "/v1/vault/rotate", body: ["data_keys": true])
                    #expect(again.text.contains(#""phase":"done""#), "\(again.text)")
                    let verified = try await others[0].send(.post, "/v1/vault/verify")
                    #expect(verified.text.contains(#""ok":true"#), "\(verified.text)")
                    for node in [a] + others {
                        for id in ids { #expect(try await provider.user(of: try await node.token(id)) == "user-alice") }
                    }
                    for node in [a] + others { await node.stop() }
                }
            }
        }
    }
#endif

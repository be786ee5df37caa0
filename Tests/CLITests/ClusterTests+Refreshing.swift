#if PostgreSQL
    import Foundation
    import HTTPTypes
    import OAuth
    import RehearsalProvider
    import TestSupport
    import Testing

    @testable import Broker

    extension ClusterTests {
        /// Where the node dies or freezes, and what is known then.
        struct Point: Sendable {
            let name: String
            let afterCrash: RefreshMachine.AfterCrash
            var round = 1
            /// Client, connection and node are called so.
            var id: String { "\(name.replacing(".", with: "-"))-\(round)" }
        }

        private static let points =
            RefreshMachine.Step.allCases.map { Point(name: "refresh.\($0.rawValue)", afterCrash: $0.afterCrash) }
            // Between the answer and the write of it.
            + [Point(name: "store.put", afterCrash: .outcomeUnknown)]

        /// From the end of the node that had the lease to the next good token.
        private static let longestGap: Duration = .seconds(8)
        /// The same where the refresh token may be spent: whoever holds its answer is given time to write it.
        private static let longestGapInDoubt: Duration = longestGap + LeaseTimes().settling

        /// The node of a point, and the others.
        private struct Scene {
            let cluster: Cluster
            let provider: RunningProvider
            let others: [ServerProcess]
            let hasGrace: Bool

            func refreshes(_ point: Point) async throws -> Int { try await provider.tokenRequests(point.id, "refresh_token").count }

            /// A node that does `action` at this point of the first refresh that it makes.
            func start(_ point: Point, _ action: String) async throws -> ServerProcess {
                try await cluster.start(point.id, ["GRANTEE_FAILPOINT": "\(point.name):\(action)"])
            }

            /// An expired grant, so that nobody is served without a refresh.
            func add(_ point: Point) async throws {
                let halfASecond = JSONValue.number(JSONNumber(validText: "0.5"))
                // It dies or freezes within hundredths of a second, so before the answer.
                let faults: JSONValue = point.name == "refresh.sent" ? [["fault": "slow", "value": halfASecond, "on": "refresh_token", "times": 1]] : []
                try await ClusterTests.add(point.id, to: others[0], at: provider, grace: hasGrace ? 60 : 0, expiresIn: 0, ["faults": faults])
            }

            /// What the others say who ask at once, when they agree.
            func answer(_ point: Point) async throws -> RunningServer.Answer {
                let answers = try await withThrowingTaskGroup(of: RunningServer.Answer.self) { group in
                    for node in others { group.addTask { try await node.token(point.id) } }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                let tokens = Set(answers.map { $0["access_token"]?.string })
                #expect(tokens.count == 1, "\(point.name): \(answers.map(\.text))")
                return try #require(answers.first)
            }

            /// The others' answer is what the step promises.
            /// - Parameter sent: how many refreshes the provider had seen before they asked.
            /// - Returns: whether they have a token.
            func judge(_ answer: RunningServer.Answer, _ point: Point, sent: Int) async throws -> Bool {
                let here: Comment = "\(point.name), \(hasGrace ? "with" : "without") grace, sent \(sent) times: \(answer.text)"
                switch point.name {
                case "refresh.sent": #expect(sent <= 1, here)
                case "refresh.answered", "refresh.written", "refresh.served", "store.put": #expect(sent == 1, here)
                default: #expect(sent == 0, here)
                }
                let isWritten = point.afterCrash == .renewed
                #expect(try await refreshes(point) == sent + (isWritten ? 0 : 1), here)
                if point.afterCrash == .outcomeUnknown, sent > 0, !hasGrace {
                    #expect(answer.status == 409 && answer.code == "reauthorization_required", here)
                    let grant = try await others[0].grant(point.id)
                    #expect(grant["state"]?.string == "reauthorization_required" && grant["state_reason"]?.string == "outcome_unknown", here)
                    return false
                }
                #expect(answer.status == 200 && answer["generation"]?.integer == 2, here)
                #expect(try await provider.user(of: answer) == "user-alice", here)
                return true
            }

            /// The refresh token that is kept is the one that serves.
            func expectNext(_ point: Point, generation: Int) async throws {
                let next = try await others[1].refresh(point.id)
                #expect(next.status == 200 && next["generation"]?.integer == generation, "\(point.name): \(next.text)")
                let token = try await others[0].token(point.id, "after_generation=\(generation - 1)")
                #expect(try await provider.user(of: token) == "user-alice", "\(point.name): \(token.text)")
            }
        }

        private func withScene(hasGrace: Bool, _ body: (Scene) async throws -> Void) async throws {
            try await RunningProvider.with { provider in
                try await Cluster.with { cluster in
                    let others = [try await cluster.start("b"), try await cluster.start("c")]
                    try await body(Scene(cluster: cluster, provider: provider, others: others, hasGrace: hasGrace))
                    try await cluster.expectWholeActivity()
                    for node in others { await node.stop() }
                }
            }
        }

        // MARK: Killed

        @Test("kill -9 of the node that has the lease: the others go on", arguments: [false, true])
        func killed(hasGrace: Bool) async throws {
            try await withScene(hasGrace: hasGrace) { scene in
                for round in 1...(isLongRun ? 20 : 1) {
                    var dying: [(Point, ServerProcess)] = []
                    for base in Self.points {
                        let point = Point(name: base.name, afterCrash: base.afterCrash, round: round)
                        try await scene.add(point)
                        dying.append((point, try await scene.start(point, "kill")))
                    }
                    let gaps = try await withThrowingTaskGroup(of: (String, Duration).self) { group in
                        for (point, node) in dying { group.addTask { try await kill(node, at: point, scene) } }
                        return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
                    }
                    let shown = Self.points.compactMap { point in gaps[point.name].map { "\(point.name) \($0.formatted(.units(allowed: [.milliseconds])))" } }
                    print("kill -9 to the next answer, \(hasGrace ? "with" : "without") grace: \(shown.joined(separator: ", "))")
                }
            }
        }

        /// - Returns: how long it took from the end of the node to an answer of the others.
        private func kill(_ node: ServerProcess, at point: Point, _ scene: Scene) async throws -> (String, Duration) {
            let call = Task { try? await node.token(point.id) }
            let outcome = await node.program.outcome()
            let died = ContinuousClock.now
            #expect(outcome.status == -SIGKILL, "\(point.name): \(outcome.errors)")
            #expect(await call.value == nil, "\(point.name): it answers before it dies")
            try await eventually("the provider has decided") { try await scene.provider.requestCounts(point.id).underWay == 0 }
            let sent = try await scene.refreshes(point)
            let answer = try await scene.answer(point)
            let gap = ContinuousClock.now - died
            let hasToken = try await scene.judge(answer, point, sent: sent)
            let limit = point.afterCrash == .outcomeUnknown && !scene.hasGrace ? Self.longestGapInDoubt : Self.longestGap
            #expect(gap < limit, "\(point.name): \(gap)")
            if hasToken { try await scene.expectNext(point, generation: 3) }
            return (point.name, gap)
        }

        // MARK: Frozen

        /// The whole process stands still past its lease, as when a virtual machine is moved, and goes on as if nothing had been.
        @Test("A node that was frozen past its lease overwrites nothing when it wakes", arguments: [false, true])
        func frozen(hasGrace: Bool) async throws {
            try await withScene(hasGrace: hasGrace) { scene in
                var frozen: [(Point, ServerProcess)] = []
                for point in Self.points {
                    try await scene.add(point)
                    frozen.append((point, try await scene.start(point, "stop")))
                }
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for (point, node) in frozen { group.addTask { try await freeze(node, at: point, scene) } }
                    try await group.waitForAll()
                }
                for (_, node) in frozen { await node.stop() }
                // What came too late is revoked, and forgotten.
                try await eventually("no orphan is left") { try await scene.cluster.number("SELECT count(*) FROM orphan_token") == 0 }
                for point in Self.points where point.name != "refresh.sent" {
                    let grant = try await scene.others[0].grant(point.id)
                    guard grant["state"]?.string == "active" else { continue }
                    let token = try await scene.others[0].token(point.id)
                    #expect(try await scene.provider.user(of: token) == "user-alice", "\(point.name), at the end: \(token.text)")
                }
            }
        }

        private func freeze(_ node: ServerProcess, at point: Point, _ scene: Scene) async throws {
            let call = Task { try await node.token(point.id) }
            try await eventually("it is frozen") { try await node.isFrozen }
            try await eventually("the provider has decided") { try await scene.provider.requestCounts(point.id).underWay == 0 }
            let sent = try await scene.refreshes(point)
            let answer = try await scene.answer(point)
            let hasToken = try await scene.judge(answer, point, sent: sent)
            let before = try await scene.refreshes(point)

            // In any case past its lease, though the others needed none.
            try await Task.sleep(for: .seconds(6))
            node.wake()
            let late = try await call.value
            // Between the look at the clock and the bytes on the wire nothing can help: then the provider has seen it twice.
            if point.name == "refresh.sent", sent == 0 { return }
            let here: Comment = "\(point.name), \(scene.hasGrace ? "with" : "without") grace: \(late.text)"
            // It sends nothing by a lease that it lost.
            #expect(try await scene.refreshes(point) == before, here)
            if late.status == 200, hasToken { #expect(late["access_token"]?.string == answer["access_token"]?.string, here) }
            guard hasToken else {
                // Two have used one refresh token: the provider has ended all that came from it, and says so once more.
                let state = try await scene.others[0].grant(point.id)["state"]?.string
                if state == "active" {
                    let next = try await scene.others[0].refresh(point.id)
                    #expect(next.code == "reauthorization_required", "\(here) \(next.text)")
                } else {
                    #expect(state == "reauthorization_required", here)
                }
                return
            }
            let grant = try await scene.others[0].grant(point.id)
            #expect(grant["state"]?.string == "active" && grant["generation"]?.integer == 2, "\(here) \(grant.text)")
            let token = try await scene.others[0].token(point.id)
            #expect(token["access_token"]?.string == answer["access_token"]?.string, "\(here) \(token.text)")
            try await eventually("no orphan of it is left") {
                try await scene.cluster.number("SELECT count(*) FROM orphan_token o JOIN connection c ON c.uid = o.connection_uid WHERE c.id = '\(point.id)'")
                    == 0
            }
            #expect(try await scene.provider.user(of: token) == "user-alice", "what was revoked took the live grant along: \(here)")
            try await scene.expectNext(point, generation: 3)
        }

        /// Nobody asked meanwhile: what the frozen node has, or was sent while it slept, is kept.
        @Test func whatAFrozenNodeReceivedHealsItsGrantWhenNobodyAskedMeanwhile() async throws {
            try await withScene(hasGrace: false) { scene in
                let points = Self.points.filter { ["refresh.intent", "refresh.sent", "refresh.answered", "store.put"].contains($0.name) }
                for point in points { try await scene.add(point) }
                var frozen: [(point: Point, node: ServerProcess, call: Task<RunningServer.Answer, any Error>)] = []
                for point in points {
                    let node = try await scene.start(point, "stop")
                    frozen.append((point, node, Task { try await node.token(point.id) }))
                }
                for (_, node, _) in frozen { try await eventually("it is frozen") { try await node.isFrozen } }
                try await Task.sleep(for: .seconds(7))
                for (point, node, call) in frozen {
                    let sent = try await scene.refreshes(point)
                    node.wake()
                    let late = try await call.value
                    if sent == 1 { #expect(late.status == 200 && late["generation"]?.integer == 2, "\(point.name): \(late.text)") }
                    let token = try await scene.others[0].token(point.id)
                    #expect(token.status == 200 && token["generation"]?.integer == 2, "\(point.name): \(token.text)")
                    #expect(try await scene.provider.user(of: token) == "user-alice", "\(point.name)")
                    #expect(try await scene.refreshes(point) == 1, "\(point.name)")
                    try await scene.expectNext(point, generation: 3)
                    await node.stop()
                }
            }
        }
    }
#endif

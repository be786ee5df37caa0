import Logging
import OAuth
import Testing
import Vault

@testable import Broker

/// One refresh of a grant at a time among nodes that share a store.
@Suite struct RenewalLeaseTests {
    // MARK: One refresh

    @Test("Two nodes with a hundred callers each send an expired grant's refresh token once") func oneRefresh() async throws {  // SEC-57
        let bench = try await NodesBench()
        try await bench.expired()
        bench.provider.set(delay: .milliseconds(20))
        for round in 1...5 {
            let answers = try await withThrowingTaskGroup(of: String.self) { group in
                for caller in 0..<200 { group.addTask { try await bench.token(caller % 2) } }
                return try await group.reduce(into: Set()) { $0.insert($1) }
            }
            #expect(answers == ["at-\(round)"])
            #expect(bench.provider.requests("refresh_token").count == round)
            bench.main.time.advance(.seconds(3601))
        }
        #expect(bench.provider.requests("refresh_token").map { $0.form["refresh_token"] } == (0..<5).map { "rt-\($0)" })
    }

    @Test("A grant that does not exist yet is fetched by one node") func oneFetch() async throws {
        let bench = try await NodesBench(3)
        try await bench.main.connection("machine", .clientCredentials)
        bench.provider.set(delay: .milliseconds(20))
        let answers = try await withThrowingTaskGroup(of: String.self) { group in
            for caller in 0..<90 { group.addTask { try await bench.token(caller % 3, "machine") } }
            return try await group.reduce(into: Set()) { $0.insert($1) }
        }
        #expect(answers == ["at-1"])
        #expect(bench.provider.requests("client_credentials").count == 1)
    }

    // MARK: Waiting

    @Test func whoeverWaitsGetsTheOthersResult() async throws {
        let bench = try await NodesBench()
        try await bench.expired()
        let holder = try await bench.ask(0, held: .request)
        let waiting = bench.ask(1)
        bench.wires[0].letGo()
        #expect(await waiting.value == "at-1")
        #expect(await holder.value == "at-1")
        #expect(bench.wires[1].sent == 0)
        #expect(bench.store.leaseLeft == nil)
    }

    @Test func whoeverWaitsGetsTheOthersFailure() async throws {
        let bench = try await NodesBench()
        try await bench.expired()
        bench.provider.script(.json(400, #"{"error":"invalid_grant"}"#))
        let holder = try await bench.ask(0, held: .request)
        let waiting = bench.ask(1)
        bench.wires[0].letGo()
        #expect(await waiting.value == "reauthorization_required")
        #expect(await holder.value == "reauthorization_required")
        #expect(bench.wires[1].sent == 0)
        #expect(try await bench.main.grant("app").grant.stateReason == "invalid_grant")
    }

    @Test func whoeverWaitsForARevokedGrantIsToldSo() async throws {
        let bench = try await NodesBench()
        try await bench.expired()
        let holder = try await bench.ask(0, held: .request)
        let waiting = bench.ask(1)
        _ = try await bench.main.broker.revoke(connectionID: "app", subject: "", by: bench.main.admin)
        #expect(await waiting.value == "not_connected")
        bench.wires[0].letGo()
        #expect(await holder.value == "not_connected")
        #expect(try await bench.main.grant("app").state == "revoked")
    }

    @Test func waitingEndsWithTheCallersPatience() async throws {
        let bench = try await NodesBench(patience: .milliseconds(200))
        try await bench.expired()
        let holder = try await bench.ask(0, held: .request)
        #expect(await bench.ask(1).value == "provider_unreachable")
        #expect(await holder.value == "provider_unreachable")
        bench.wires[0].letGo()
        try await bench.until("the answer is kept") { try await bench.main.grant("app").grant.tokenGeneration == 2 }
        #expect(bench.wires[1].sent == 0)
        #expect(try await bench.token(1) == "at-1")
    }

    @Test func aLeaseThatCannotBeAskedForIsNotWaitedFor() async throws {
        let bench = try await NodesBench()
        try await bench.expired()
        bench.store.set(isAway: true)
        #expect(await bench.ask(0).value == "unavailable")
        #expect(bench.provider.seen.isEmpty)
    }

    // MARK: A holder that is gone

    @Test func whenTheHolderIsGoneAnotherNodeGoesOn() async throws {
        let bench = try await NodesBench()
        try await bench.expired()
        let gone = try await bench.ask(0, held: .request)
        let next = bench.ask(1)
        bench.letLeaseLapse()
        #expect(await next.value == "at-1")
        #expect(bench.provider.requests("refresh_token").count == 1)
        // It was not gone after all: its refresh token is spent by now, which says nothing of the grant.
        bench.wires[0].letGo()
        #expect(await gone.value == "at-1")
        let grant = try await bench.main.grant("app").grant
        #expect(grant.state == .active && grant.tokenGeneration == 2)
    }

    @Test("What the holder sent counts: a refusal of the next attempt leaves the outcome unknown") func attemptsAreCounted() async throws {
        let bench = try await NodesBench()
        try await bench.expired()
        let gone = try await bench.ask(0, held: .request)
        bench.provider.script(.json(400, #"{"error":"invalid_grant"}"#))
        let next = bench.ask(1)
        bench.letLeaseLapse()
        #expect(await next.value == "reauthorization_required")
        #expect(try await bench.main.grant("app").grant.stateReason == "outcome_unknown")
        bench.wires[0].letGo()
        _ = await gone.value
    }

    @Test("While the access token serves, what the holder sent is not sent again") func notSentAgain() async throws {
        let bench = try await NodesBench()
        try await bench.main.connection("app", .authorizationCode)
        try await bench.main.importGrant("app", expiresIn: 100)
        let gone = try await bench.ask(0, "app", .init(minTTL: 200), held: .request)
        let next = bench.ask(1, "app", .init(minTTL: 200))
        bench.letLeaseLapse()
        #expect(await next.value == "at-0")
        #expect(bench.wires[1].sent == 0)
        bench.wires[0].letGo()
        #expect(await gone.value == "at-1")
    }

    @Test("A node that could not write its answer is given time before the refresh token is sent again") func heldElsewhere() async throws {
        let bench = try await NodesBench { $0.settling = .seconds(20) }
        try await bench.expired()
        let holder = try await bench.ask(0, held: .answer)
        bench.letLeaseLapse()
        let next = bench.ask(1)
        try await bench.until("the other one has the lease") { bench.store.leaseLeft.map { $0 > .zero } ?? false }
        bench.wires[0].letGo()
        #expect(await holder.value == "at-1")
        #expect(await next.value == "at-1")
        #expect(bench.wires[1].sent == 0)
    }

    @Test("An answer that is written right before the token would be sent again is served") func writtenAtTheLastMoment() async throws {
        let bench = try await NodesBench()
        try await bench.expired()
        let holder = try await bench.ask(0, held: .answer)
        bench.store.onNextIntent(before: {
            bench.wires[0].letGo()
            try await bench.until("the answer is written") { try await bench.main.grant("app").grant.tokenGeneration == 2 }
        })
        let next = bench.ask(1)
        bench.letLeaseLapse()
        #expect(await next.value == "at-1")
        #expect(await holder.value == "at-1")
        #expect(bench.wires[1].sent == 0)
    }

    // MARK: Late answers

    private func tokens(_ name: String) -> ScriptedProvider.Script {
        .json(200, #"{"access_token":"at-\#(name)","refresh_token":"rt-\#(name)","token_type":"Bearer","expires_in":3600}"#)
    }

    @Test func aLateAnswerBecomesAnOrphanWhenAnotherNodeRenewed() async throws {
        let bench = try await NodesBench()
        try await bench.expired()
        bench.provider.script(tokens("late"), tokens("kept"))
        let late = try await bench.ask(0, held: .answer)
        let next = bench.ask(1)
        bench.letLeaseLapse()
        #expect(await next.value == "at-kept")
        bench.wires[0].letGo()
        #expect(await late.value == "at-kept")
        try await bench.until("the late access token is revoked") { bench.provider.seen.contains { $0.path == "/revoke" && $0.form["token"] == "at-late" } }
        // With a refresh token goes everything that came from the same consent, the live tokens too.
        #expect(!bench.provider.seen.contains { $0.path == "/revoke" && $0.form["token"]?.hasPrefix("rt-") == true })
        #expect(try await bench.token(0) == "at-kept")
    }

    /// What the consent before gave is of no use to anybody, and nothing that lives comes from it.
    @Test func aLateAnswerIsRevokedWholeWhenAPersonGrantedAccessAnew() async throws {
        let bench = try await NodesBench()
        try await bench.expired()
        // So that the grant was refreshed before.
        #expect(try await bench.token(1) == "at-1")
        bench.provider.script(tokens("late"))
        let late = try await bench.ask(0, "app", .init(forceRefresh: true), held: .answer)
        bench.main.time.advance(.seconds(1))
        try await bench.main.importGrant("app", access: "at-new", refresh: "rt-new")
        bench.wires[0].letGo()
        #expect(await late.value == "at-new")
        for token in ["at-late", "rt-late"] {
            try await bench.until("\(token) is revoked") { bench.provider.seen.contains { $0.path == "/revoke" && $0.form["token"] == token } }
        }
    }

    @Test func aLateAnswerHealsAGrantWhoseGenerationDidNotMove() async throws {
        let bench = try await NodesBench()
        try await bench.expired()
        let late = try await bench.ask(0, held: .answer)
        let next = bench.ask(1)
        bench.letLeaseLapse()
        // The first request has spent the refresh token.
        #expect(await next.value == "reauthorization_required")
        bench.wires[0].letGo()
        #expect(await late.value == "at-1")
        let grant = try await bench.main.grant("app").grant
        #expect(grant.state == .active && grant.tokenGeneration == 2)
    }

    @Test("A late refusal marks nothing while another node is at work on the grant") func aLateRefusal() async throws {
        let bench = try await NodesBench()
        try await bench.expired()
        bench.provider.script(.json(400, #"{"error":"invalid_grant"}"#))
        let late = try await bench.ask(0, held: .answer)
        bench.wires[1].hold(.answer)
        let next = bench.ask(1)
        bench.letLeaseLapse()
        try await bench.until("the other one is answered") { bench.wires[1].held == 1 }
        bench.wires[0].letGo()
        #expect(await late.value == "conflict")
        #expect(try await bench.main.grant("app").grant.state == .active)
        bench.wires[1].letGo()
        #expect(await next.value == "at-1")
    }

    // MARK: Before sending

    @Test("A process that was stopped between intent and request sends nothing") func stoppedBeforeSending() async throws {
        let bench = try await NodesBench()
        try await bench.expired()
        bench.store.onNextIntent(after: { bench.letLeaseLapse() })
        #expect(await bench.ask(0).value == "conflict")
        #expect(bench.provider.seen.isEmpty)
        let grant = try await bench.main.grant("app").grant
        #expect(try await bench.store.intent(grant: grant.uid)?.attempts == 1)
        #expect(try await bench.token(1) == "at-1")
    }

    @Test("A process that was stopped before the intent leaves none") func stoppedBeforeTheIntent() async throws {
        let bench = try await NodesBench()
        try await bench.expired()
        bench.store.onNextIntent(before: { bench.letLeaseLapse() })
        #expect(await bench.ask(0).value == "conflict")
        #expect(bench.provider.seen.isEmpty)
        let grant = try await bench.main.grant("app").grant
        #expect(try await bench.store.intent(grant: grant.uid) == nil)
    }

    // MARK: The lease

    @Test("A provider that takes its time is waited for under the lease for half a minute") func itIsRenewed() async throws {
        let bench = try await NodesBench { $0.renewal = .milliseconds(2) }
        try await bench.expired()
        let holder = try await bench.ask(0, held: .request)
        let next = bench.ask(1)
        for _ in 0..<14 {
            bench.steady.advance(.seconds(2))
            try await bench.until("the lease is renewed") { bench.store.leaseLeft == .seconds(5) }
        }
        #expect(bench.wires[1].sent == 0)
        bench.steady.advance(.seconds(2))
        // An extension that is under way ends before the clock goes on.
        try await Task.sleep(for: .milliseconds(100))
        bench.letLeaseLapse()
        #expect(await next.value == "at-1")
        bench.wires[0].letGo()
        _ = await holder.value
    }

    private func lease(_ bench: NodesBench, owner: String) -> RenewalLease {
        var times = LeaseTimes()
        times.now = { bench.steady.now }
        return RenewalLease(
            of: GrantKey(connectionUID: UID(text: "c"), subject: "u"), owner: owner, store: bench.store, times: times,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    @Test func oneThatEndedIsNotTakenUpAgainByAnExtension() async throws {
        let bench = try await NodesBench()
        let lease = lease(bench, owner: "a")
        #expect(!lease.isHeld)
        #expect(try await lease.take())
        bench.steady.advance(.seconds(4))
        let begun = bench.steady.now
        lease.extended(since: begun)
        bench.steady.advance(.seconds(4))
        #expect(lease.isHeld)
        let tooLate = bench.steady.now
        bench.steady.advance(.seconds(1))
        lease.extended(since: tooLate)
        #expect(!lease.isHeld)
    }

    @Test func oneHasItAtATimeAndGivesItBack() async throws {
        let bench = try await NodesBench()
        let (first, second) = (lease(bench, owner: "a"), lease(bench, owner: "b"))
        #expect(try await first.take())
        #expect(try await second.take() == false)
        await second.end()
        #expect(try await second.take() == false)
        await first.end()
        #expect(try await second.take())
    }
}

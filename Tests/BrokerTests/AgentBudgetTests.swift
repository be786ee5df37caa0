import Logging
import Synchronization
import Testing
import Vault

@testable import Broker

@Suite("What an agent may do to APIs in a minute (SEC-133)") struct AgentBudgetTests {
    private let begin = ContinuousClock.now

    private static func key(_ id: String = "key_a", requestsPerMinute: Int? = nil) -> APIKey {
        APIKey(
            id: id, name: id, hash: [], role: .agent, requestsPerMinute: requestsPerMinute, createdAt: Timestamp(milliseconds: 0))
    }

    private func refusal(
        _ budget: AgentBudget, key: APIKey = key(), subject: String = "s", path: String = "/", after seconds: Duration = .zero
    ) -> AgentBudget.Refusal? {
        do {
            try budget.admit(key: key, subject: subject, path: path, now: begin + seconds)
            return nil
        } catch {
            return error
        }
    }

    // MARK: Limits

    enum Kind: String, CaseIterable { case requests, ownRequests, bytes, subjects, paths }

    /// What fits, what is one too many, and what goes on all the same.
    @Test("Each limit is exact, and named with what to do", arguments: Kind.allCases) func limits(_ kind: Kind) {
        let budget = AgentBudget()
        let key = Self.key(requestsPerMinute: kind == .ownRequests ? 3 : kind == .paths ? 5_000 : nil)
        let expected: (name: String, remedy: String)
        var known: (subject: String, path: String)?
        switch kind {
        case .requests, .ownRequests:
            let limit = kind == .requests ? 600 : 3
            for _ in 0..<limit { #expect(refusal(budget, key: key) == nil) }
            expected = ("\(limit) requests to APIs", "an administrator can make a key with a higher requests_per_minute")
        case .bytes:
            #expect(refusal(budget, key: key) == nil)
            #expect(budget.add(bytes: (64 << 20) - 1, key: key.id, now: begin))
            #expect(refusal(budget, key: key) == nil)
            #expect(!budget.add(bytes: 1, key: key.id, now: begin))
            expected = ("64 MiB of bodies and answers", "ask for smaller pages, or for fewer fields")
        case .subjects:
            for index in 0..<50 { #expect(refusal(budget, key: key, subject: "s\(index)") == nil) }
            known = ("s7", "/")
            expected = ("50 different subjects", "work for fewer subjects at a time")
        case .paths:
            for index in 0..<1_000 { #expect(refusal(budget, key: key, path: "/\(index)") == nil) }
            known = ("s", "/7")
            expected = ("1000 different paths", "ask for lists rather than for each item")
        }
        let problem = refusal(budget, key: key, subject: "other", path: "/other", after: .milliseconds(20_500))?.problem
        #expect(problem?.code == .rateLimited)
        #expect(problem?.detail == "this key's role is agent, and it has used what that allows in a minute: \(expected.name)")
        #expect(problem?.fix == "wait 40 s, or \(expected.remedy)")
        #expect(problem?.retryAfter == 40)
        if let known { #expect(refusal(budget, key: key, subject: known.subject, path: known.path, after: .seconds(30)) == nil) }
        // Others have a minute of their own, and so has the next one.
        #expect(refusal(budget, key: Self.key("key_b"), subject: "other", path: "/other", after: .seconds(30)) == nil)
        #expect(refusal(budget, key: key, subject: "other", path: "/other", after: .milliseconds(59_999)) != nil)
        #expect(refusal(budget, key: key, subject: "other", path: "/other", after: .seconds(60)) == nil)
    }

    @Test func whatIsRefusedCountsForNothing() {
        let budget = AgentBudget()
        for index in 0..<50 { _ = refusal(budget, subject: "s\(index)") }
        for index in 50..<650 { #expect(refusal(budget, subject: "s\(index)", path: "/\(index)") != nil) }
        for _ in 50..<600 { #expect(refusal(budget, subject: "s0") == nil) }
        #expect(refusal(budget, subject: "s0")?.problem.detail.hasSuffix("600 requests to APIs") == true)
    }

    @Test func theOperatorIsToldOfTheFirstOfAMinute() {
        let budget = AgentBudget()
        let key = Self.key(requestsPerMinute: 2)
        let told = [0, 0, 1, 2, 59, 60, 60, 61, 62].map { refusal(budget, key: key, after: .seconds($0))?.news }
        #expect(told == [nil, nil, "2 requests to APIs", nil, nil, nil, nil, "2 requests to APIs", nil])
    }

    @Test func bytesOfAnAnswerThatEndsInTheNextMinuteCountThere() {
        let budget = AgentBudget()
        #expect(refusal(budget) == nil)
        #expect(!budget.add(bytes: 64 << 20, key: "key_a", now: begin + .seconds(61)))
        #expect(refusal(budget, after: .seconds(62)) != nil)
        #expect(refusal(budget, after: .seconds(121)) == nil)
    }

    @Test func keysAreBoundedAndOneThatIsCountedGoesOn() {
        let budget = AgentBudget()
        for index in 0..<AgentBudget.keyCapacity { #expect(refusal(budget, key: Self.key("key_\(index)"), after: .milliseconds(index)) == nil) }
        let one = refusal(budget, key: Self.key("key_x"), after: .seconds(59))
        #expect((one?.problem.code, one?.problem.retryAfter, one?.news) == (.rateLimited, 60, nil))
        #expect(!budget.add(bytes: 1, key: "key_x", now: begin + .seconds(59)))
        #expect(refusal(budget, key: Self.key("key_7"), after: .seconds(59)) == nil)
        // There is room as soon as the first ones are over.
        #expect(refusal(budget, key: Self.key("key_x"), after: .seconds(61)) == nil)
    }

    // MARK: The operator

    @Test func aLimitIsOneWarningAndOneEntryPerMinute() async throws {
        let bench = try await Bench()
        let lines = Mutex<[String]>([])
        let broker = try await bench.another(log: { line in lines.withLock { $0.append(line) } })
        let (record, text) = try await broker.addKey(.init(name: "agent", role: .agent, requestsPerMinute: 2), by: bench.admin)
        let agent = try #require(broker.authenticate(text))
        func call(by caller: Caller, after seconds: Int) -> Problem.Code? {
            do {
                try broker.admit(agentCall: "/", subject: "", for: caller, now: begin + .seconds(seconds))
                return nil
            } catch {
                return error.code
            }
        }
        #expect((0..<5).map { call(by: agent, after: $0) } == [nil, nil, .rateLimited, .rateLimited, .rateLimited])
        #expect((60..<63).map { call(by: agent, after: $0) } == [nil, nil, .rateLimited])
        // Other roles have the limit of their requests alone.
        #expect((0..<1_000).allSatisfy { _ in call(by: bench.admin, after: 0) == nil })
        let entries = try await broker.activity(connection: nil, subject: nil, action: "agent.limited", before: nil, limit: 50, for: bench.admin)
        #expect(entries.map(\.key) == [record.id, record.id])
        #expect(entries.map(\.result) == ["rate_limited", "rate_limited"])
        #expect(entries.map(\.detail) == ["2 requests to APIs", "2 requests to APIs"])
        let warning =
            "warning an agent reached a limit; more of its calls are refused until the minute is over key=\(record.id) limit=2 requests to APIs"
        #expect(lines.withLock { $0.filter { $0.contains("agent") } } == [warning, warning])
    }
}

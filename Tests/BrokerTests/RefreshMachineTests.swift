import OAuth
import OAuthClient
import Testing

@testable import Broker

@Suite struct RefreshMachineTests {
    /// As far as `step`, in the way of one that succeeds.
    private func machine(at step: RefreshMachine.Step, attempts: Int = 1) throws -> RefreshMachine {
        var machine = RefreshMachine()
        let inputs: [RefreshMachine.Input] = [.leased, .storeIsWritable, .intentWritten(attempts: attempts), .answered, .written]
        for input in inputs where machine.step != step { _ = machine.next(input) }
        try #require(machine.step == step)
        return machine
    }

    private func end(_ action: RefreshMachine.Action) -> RefreshMachine.Ending? {
        if case .end(let ending) = action { ending } else { nil }
    }

    @Test func nothingIsSentBeforeTheIntentIsWrittenAndNothingServedBeforeTheTokensAre() {  // SEC-58
        var machine = RefreshMachine()
        var actions: [String] = ["\(machine.first)"]
        let inputs: [RefreshMachine.Input] = [.leased, .storeIsWritable, .intentWritten(attempts: 1), .answered, .written]
        for input in inputs {
            let action = machine.next(input)
            actions.append(String("\(action)".prefix { $0 != "(" }))
        }
        #expect(actions == ["takeLease", "proveWritable", "writeIntent", "send", "write", "serve"])
        #expect(machine.step == .written)
    }

    @Test(
        "What is known after a crash behind each step",
        arguments: zip(
            RefreshMachine.Step.allCases,
            [RefreshMachine.AfterCrash.asBefore, .asBefore, .asBefore, .outcomeUnknown, .outcomeUnknown, .outcomeUnknown, .renewed, .renewed]))
    func afterACrash(step: RefreshMachine.Step, expected: RefreshMachine.AfterCrash) {
        #expect(step.afterCrash == expected)
    }

    @Test func tokensThatWaitToBeWrittenComeFirst() throws {
        var machine = try machine(at: .lease)
        #expect(end(machine.next(.storeIsNotWritable))?.reason == .notWritable)
    }

    @Test func aGenerationThatHasMovedSendsNothing() throws {
        var machine = try machine(at: .writable)
        #expect(end(machine.next(.generationMoved))?.reason == .overtaken)
    }

    @Test("Without the lease nothing is sent, and what others left stays", arguments: [RefreshMachine.Step.due, .intent])
    func theLeaseIsLost(step: RefreshMachine.Step) throws {
        var machine = try machine(at: step)
        let ending = try #require(end(machine.next(.leaseLost)))
        #expect(ending == .init(reason: .leaseLost, keepsIntent: true))
    }

    @Test("A refusal that comes after the lease's end settles nothing that somebody else may have sent meanwhile") func late() throws {
        var refused = try machine(at: .intent)
        refused.isLate = true
        let error = TokenError(kind: .refused, code: TokenError.Code(rawValue: "invalid_grant"), status: 400)
        #expect(end(refused.next(.refused(error)))?.demandsPerson == "outcome_unknown")
        var busy = try machine(at: .intent)
        busy.isLate = true
        #expect(end(busy.next(.refused(TokenError(kind: .refused, code: nil, status: 503))))?.keepsIntent == true)
        var unsent = try machine(at: .intent)
        unsent.isLate = true
        #expect(end(unsent.next(.unanswered(TransportError(.timedOut, mayHaveBeenSent: false))))?.keepsIntent == true)
    }

    @Test("Without an answer the intent stays where bytes may have left", arguments: [true, false])
    func unanswered(mayHaveBeenSent: Bool) throws {
        var machine = try machine(at: .intent)
        let ending = try #require(end(machine.next(.unanswered(TransportError(.timedOut, mayHaveBeenSent: mayHaveBeenSent)))))
        #expect(ending.keepsIntent == mayHaveBeenSent)
        #expect(ending.reason == .failed(mayHaveBeenSent ? .outcomeUnknown : .tryLater))
        #expect(ending.demandsPerson == nil)
    }

    struct Refusal: Sendable {
        let status: Int
        var code: String?
        var kind = TokenError.Kind.refused
        var attempts = 1
        let failure: RefreshFailure
        let keepsIntent: Bool
        var person: String?
    }

    @Test(
        "Each refusal has its class, and what is kept",
        arguments: [
            Refusal(status: 400, code: "invalid_grant", failure: .reauthorize, keepsIntent: false, person: "invalid_grant"),
            Refusal(status: 400, code: "invalid_grant", attempts: 2, failure: .reauthorize, keepsIntent: false, person: "outcome_unknown"),
            Refusal(status: 500, code: "invalid_grant", failure: .reauthorize, keepsIntent: false, person: "invalid_grant"),
            Refusal(status: 200, kind: .idToken("sub"), failure: .reauthorize, keepsIntent: false, person: "account_mismatch"),
            Refusal(status: 401, code: "invalid_client", failure: .fixConnection, keepsIntent: false),
            Refusal(status: 401, failure: .fixConnection, keepsIntent: false),
            Refusal(status: 429, failure: .tryLater, keepsIntent: false),
            Refusal(status: 503, failure: .tryLater, keepsIntent: false),
            Refusal(status: 500, failure: .outcomeUnknown, keepsIntent: true),
            Refusal(status: 502, failure: .outcomeUnknown, keepsIntent: true),
            Refusal(status: 504, failure: .outcomeUnknown, keepsIntent: true),
            Refusal(status: 200, kind: .malformed("no JSON"), failure: .outcomeUnknown, keepsIntent: true),
            Refusal(status: 400, code: "brand_new", failure: .report, keepsIntent: false),
            // What an earlier attempt left unknown, a later one that changed nothing does not settle.
            Refusal(status: 401, code: "invalid_client", attempts: 2, failure: .fixConnection, keepsIntent: true),
            Refusal(status: 503, attempts: 2, failure: .tryLater, keepsIntent: true),
            Refusal(status: 400, code: "brand_new", attempts: 2, failure: .report, keepsIntent: true),
        ])
    func refused(_ row: Refusal) throws {  // SEC-60
        var machine = try machine(at: .intent, attempts: row.attempts)
        let error = TokenError(kind: row.kind, code: row.code.map(TokenError.Code.init(rawValue:)), status: row.status)
        let ending = try #require(end(machine.next(.refused(error))))
        #expect(ending.reason == .failed(row.failure))
        #expect(ending.keepsIntent == row.keepsIntent)
        #expect(ending.demandsPerson == row.person)
    }

    @Test func whatCouldNotBeWrittenIsHeldAndWhatCameTooLateIsNot() throws {
        var held = try machine(at: .answered)
        #expect(end(held.next(.writeFailed))?.reason == .held)
        var late = try machine(at: .answered)
        #expect(end(late.next(.overtaken))?.reason == .overtaken)
    }
}

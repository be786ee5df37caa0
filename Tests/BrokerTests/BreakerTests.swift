import Logging
import Testing
import Vault

@testable import Broker

@Suite struct BreakerTests {
    private let start = Timestamp(milliseconds: 1_800_000_000_000)

    private func opened() -> Breaker {
        var breaker = Breaker()
        for _ in 0..<Breaker.threshold { breaker.failed(at: start, jitter: 1) }
        return breaker
    }

    @Test func itOpensAfterFailuresInARowAndNotBefore() {
        var breaker = Breaker()
        for _ in 0..<(Breaker.threshold - 1) { breaker.failed(at: start, jitter: 1) }
        #expect(breaker.isClosed)
        breaker.succeeded()
        breaker.failed(at: start, jitter: 1)
        #expect(breaker.isClosed)
        #expect(opened().state == .open(until: start + .seconds(1)))
    }

    @Test func whileItIsOpenNothingPassesButOneProbe() {
        var breaker = opened()
        #expect(breaker.admit(at: start) == start + .seconds(1))
        #expect(breaker.admit(at: start + .seconds(1)) == nil)
        #expect(breaker.admit(at: start + .seconds(1)) != nil)
    }

    @Test func itsWaitsDoubleToAMinute() {
        var breaker = opened()
        var now = start
        var waits: [Int64] = []
        for _ in 0..<9 {
            guard case .open(let until) = breaker.state else { break }
            waits.append((until.milliseconds - now.milliseconds) / 1000)
            now = until
            #expect(breaker.admit(at: now) == nil)
            breaker.failed(at: now, jitter: 1)
        }
        #expect(waits == [1, 2, 4, 8, 16, 32, 60, 60, 60])
    }

    @Test("What failed behind it is the same incident") func oneIncident() {
        var breaker = opened()
        let before = breaker.state
        for _ in 0..<1000 { breaker.failed(at: start, jitter: 1) }
        #expect(breaker.state == before)
    }

    @Test func recoveryIsStaggered() {
        var breaker = opened()
        let now = start + .seconds(1)
        var passed: [Int] = []
        while !breaker.isClosed {
            var count = 0
            while count < 1000, breaker.admit(at: now) == nil { count += 1 }
            passed.append(count)
            breaker.succeeded()
        }
        #expect(passed == [1, 2, 4, 8, 16, 32])
    }

    @Test func aProbeThatNeverReportsDoesNotCloseTheWayForEver() {
        var breaker = opened()
        #expect(breaker.admit(at: start + .seconds(1)) == nil)
        #expect(breaker.admit(at: start + .seconds(20)) != nil)
        #expect(breaker.admit(at: start + .seconds(31)) == nil)
    }

    @Test("What the background may ask is what would pass: a lost probe, or a clock that was set back, does not stop it for ever")
    func theAllowanceIsWhatWouldPass() {
        var breaker = opened()
        #expect(breaker.allowance(at: start) == 0)
        #expect(breaker.allowance(at: start + .seconds(-7200)) == 1)
        #expect(breaker.admit(at: start + .seconds(1)) == nil)
        #expect(breaker.allowance(at: start + .seconds(20)) == 0)
        #expect(breaker.allowance(at: start + .seconds(31)) == 1)
    }

    @Test func aClockThatWasSetBackDoesNotHoldItOpen() {
        var breaker = opened()
        #expect(breaker.admit(at: start + .seconds(-7200)) == nil)
    }

    @Test("No wait gets longer by a clock that is set back a little") func aLittleBack() async throws {
        let endpoints = TokenEndpoints(logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let problem = Problem(.providerError, "too fast")
        await endpoints.ended("e", .tooFast(problem, retryAfter: 2), at: start)
        for _ in 0..<Breaker.threshold { await endpoints.ended("f", .failed(problem), at: start) }
        endpoints.clockWasSet(by: .seconds(-1800))
        let now = start + .seconds(-1800 + 3)
        #expect(try await endpoints.admit("e", at: now) == nil)
        #expect(try await endpoints.admit("f", at: now) == nil)
        let backOff = BackOff()
        let key = GrantKey(connectionUID: .make(at: start), subject: "u")
        backOff.failed(key, problem: problem, retryAfter: 2, now: start)
        backOff.clockWasSet(by: .seconds(-1800))
        #expect(backOff.problem(key, now: now) == nil)
    }

    @Test func whatNobodyAskedForIsForgotten() {
        let backOff = BackOff()
        for index in 0..<100 {
            backOff.failed(.init(connectionUID: .make(at: start), subject: "u\(index)"), problem: Problem(.providerError, "no"), retryAfter: 60, now: start)
        }
        backOff.forgetOld(now: start + .seconds(3600))
        #expect(backOff.count == 100)
        backOff.forgetOld(now: start + .seconds(3661))
        #expect(backOff.count == 0)
    }

    // MARK: Pace

    @Test func thePaceIsHalvedOnceForManyRefusalsAndGrowsSlowly() {
        var pace = Pace()
        #expect(pace.allowance(at: start) == 20)
        pace.spend(20)
        #expect(pace.allowance(at: start) == 0)
        for _ in 0..<5 { pace.wasTooFast(at: start, retryAfter: 2) }
        #expect(pace.rate == 10)
        #expect(pace.allowance(at: start + .seconds(1)) == 0)
        #expect(pace.allowance(at: start + .seconds(3)) == 10)
        for _ in 0..<100 { pace.succeeded() }
        #expect((13.0...20.0).contains(pace.rate))
    }

    @Test func aPauseBeyondAnHourIsNotBelieved() {
        var pace = Pace()
        pace.wasTooFast(at: start, retryAfter: 1_000_000)
        #expect(pace.pause(at: start + .seconds(3599)) != nil)
        #expect(pace.pause(at: start + .seconds(3601)) == nil)
    }

    // MARK: The clock

    @Test func theClockWatchTellsAJumpFromTimeThatPassed() {
        var watch = ClockWatch()
        let begun = ContinuousClock.now
        #expect(watch.jump(wall: start, steady: begun) == nil)
        #expect(watch.jump(wall: start + .seconds(3600), steady: begun + .seconds(3600)) == nil)
        #expect(watch.jump(wall: start + .seconds(3600 - 7200), steady: begun + .seconds(3601)) == .seconds(-7201))
        #expect(watch.jump(wall: start + .seconds(3600), steady: begun + .seconds(3602)) == .seconds(7199))
    }
}

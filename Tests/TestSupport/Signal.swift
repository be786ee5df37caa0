import Synchronization

/// Something that a test says once, and another part waits for.
package final class Signal: Sendable {
    private struct State {
        var isGiven = false
        var waiting: [@Sendable () -> Void] = []
    }
    private let state = Mutex(State())

    package init() {}

    package func give() {
        let waiting = state.withLock { state in
            state.isGiven = true
            defer { state.waiting = [] }
            return state.waiting
        }
        for body in waiting { body() }
    }

    package func wait() async {
        await withCheckedContinuation { continuation in whenGiven { continuation.resume() } }
    }

    func whenGiven(_ body: @escaping @Sendable () -> Void) {
        let isGiven = state.withLock { state in
            if !state.isGiven { state.waiting.append(body) }
            return state.isGiven
        }
        if isGiven { body() }
    }
}

/// What several tasks count together.
package final class Counter: Sendable {
    private let count = Mutex(0)

    package init() {}

    package var value: Int { count.withLock { $0 } }
    package func add() { count.withLock { $0 += 1 } }
}

import Synchronization
import Vault

/// The deliveries that are on their way in this process, and the search for the next ones.
final class WebhooksUnderWay: Sendable {
    private struct State {
        var slots = WebhookSlots()
        var tasks: [Int: Task<Void, Never>] = [:]
        var lastTask = 0
        var isSearching = false
        var searchesAgain = false
        var isClosed = false
    }
    private let state = Mutex(State())

    /// Begins what `due` finds for the room that there is, and goes on. One search at a time: who comes meanwhile lets it search
    /// once more.
    /// - Parameters:
    ///   - send: sends one and writes down what became of it; tells until when its lane is left alone.
    ///   - ended: after each, when its lane is free.
    func begin(
        now: () -> Timestamp, due: (Timestamp, DeliveryRoom) async throws -> [Delivery], send: @escaping @Sendable (Delivery) async -> Timestamp?,
        ended: @escaping @Sendable () async -> Void
    ) async throws {
        guard enter() else { return }
        repeat {
            let time = now()
            // What ends meanwhile is excepted still: what is read of its lane may be over by then.
            let room = state.withLock { state in
                state.searchesAgain = false
                return state.slots.room(now: time)
            }
            let found: [Delivery]
            do {
                found = try await due(time, room)
            } catch {
                state.withLock { $0.isSearching = false }
                throw error
            }
            state.withLock { state in
                guard !state.isClosed else { return }
                for delivery in state.slots.admit(found) { start(delivery, &state, send: send, ended: ended) }
            }
        } while !leave()
    }

    private func enter() -> Bool {
        state.withLock { state in
            guard !state.isClosed, !state.isSearching else {
                state.searchesAgain = true
                return false
            }
            state.isSearching = true
            return true
        }
    }

    /// - Returns: false when somebody came meanwhile.
    private func leave() -> Bool {
        state.withLock { state in
            guard state.isClosed || !state.searchesAgain else { return false }
            state.isSearching = false
            return true
        }
    }

    /// In a task of its own: whoever searches does not wait for a receiver.
    private func start(
        _ delivery: Delivery, _ state: inout State, send: @escaping @Sendable (Delivery) async -> Timestamp?,
        ended: @escaping @Sendable () async -> Void
    ) {
        state.lastTask += 1
        let id = state.lastTask
        state.tasks[id] = Task {
            let rest = await send(delivery)
            self.state.withLock { $0.slots.leave(delivery, rest: rest) }
            await ended()
            self.state.withLock { $0.tasks[id] = nil }
        }
    }

    func waitUntilIdle() async {
        while let task = state.withLock({ $0.tasks.values.first }) { await task.value }
    }

    /// Gives up what waits for an answer; it is tried again at the next start. An answer that has come is written down.
    func close() async {
        state.withLock { state in
            state.isClosed = true
            for task in state.tasks.values { task.cancel() }
        }
        await waitUntilIdle()
    }
}

/// Work that goes on when whoever asked for it has gone, and that a shutdown waits for.
actor InFlight {
    private var running: [Int: Task<Void, Never>] = [:]
    private var last = 0

    /// In a task of its own, so that a caller's cancellation does not reach it.
    func run<R: Sendable>(_ work: @escaping @Sendable () async throws -> R) async throws -> R {
        let task = Task { try await work() }
        last += 1
        let id = last
        // Its result belongs to its caller; here only its end matters.
        running[id] = Task { _ = await task.result }
        defer { running[id] = nil }
        return try await task.value
    }

    var count: Int { running.count }

    /// Begins it and goes on.
    func begin(_ work: @escaping @Sendable () async -> Void) {
        last += 1
        let id = last
        running[id] = Task {
            await work()
            ended(id)
        }
    }

    private func ended(_ id: Int) { running[id] = nil }

    func waitUntilIdle() async {
        while let (id, task) = running.first {
            await task.value
            running[id] = nil
        }
    }
}

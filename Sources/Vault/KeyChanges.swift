/// Changes of data keys, one after the other in the order in which they came: what wraps a new data key is not overtaken
/// by what replaces the master key that it is wrapped by.
actor KeyChanges {
    private var last: Task<Void, Never>?

    /// In a task of its own: a change that was begun is finished though its caller has gone.
    func inTurn<R: Sendable>(_ change: @escaping @Sendable () async throws -> R) async throws -> R {
        let before = last
        let task = Task {
            await before?.value
            return try await change()
        }
        last = Task { _ = await task.result }
        return try await task.value
    }
}

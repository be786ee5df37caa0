/// Work that is done one piece after the other, in the order in which it came.
actor Turns {
    private var last: Task<Void, Never>?

    func inTurn(_ work: @escaping @Sendable () async -> Void) async {
        let before = last
        let task = Task {
            await before?.value
            await work()
        }
        last = task
        await task.value
    }
}

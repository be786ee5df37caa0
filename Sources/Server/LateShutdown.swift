import Logging
import ServiceLifecycle

/// Work that hears of a shutdown later than the rest of the process: so a balancer has time to turn away while requests are
/// still answered.
enum LateShutdown {
    /// - Parameters:
    ///   - delay: from the shutdown to the one that `body` hears of.
    ///   - onShutdown: called at once.
    ///   - onEnd: called when the delay is over, and waited for.
    static func run(
        after delay: Duration, logger: Logger, onShutdown: @escaping @Sendable () -> Void, onEnd: @escaping @Sendable () async -> Void,
        work body: @escaping @Sendable () async throws -> Void
    ) async throws {
        guard delay > .zero else {
            return try await withGracefulShutdownHandler(operation: body, onGracefulShutdown: onShutdown)
        }
        let group = ServiceGroup(
            configuration: .init(
                services: [
                    .init(service: Work(body: body), successTerminationBehavior: .gracefullyShutdownGroup, failureTerminationBehavior: .cancelGroup)
                ], logger: logger))
        // Detached: any other task hears of the shutdown from the one that makes it.
        let running = Task.detached { try await group.run() }
        try await withTaskCancellationHandler {
            try await withGracefulShutdownHandler {
                try await running.value
            } onGracefulShutdown: {
                onShutdown()
                logger.notice("going on for a while, so that balancers turn away", metadata: ["seconds": "\(delay.components.seconds)"])
                // A handler cannot wait. When the work has ended by itself meanwhile, nothing is left to be told.
                Task {
                    do { try await Task.sleep(for: delay) } catch { return }
                    await onEnd()
                    await group.triggerGracefulShutdown()
                }
            }
        } onCancel: {
            running.cancel()
        }
    }

    private struct Work: Service {
        let body: @Sendable () async throws -> Void
        func run() async throws { try await body() }
    }
}

import Foundation
import Logging
import ServiceLifecycle
import UnixSignals

/// A closure as a service of the group that ends on SIGTERM and SIGINT.
struct RunningService: Service {
    let body: @Sendable () async throws -> Void
    func run() async throws { try await body() }
}

enum Running {
    /// How long requests get to end after SIGTERM before they are cut off.
    static let grace: Duration = .seconds(10)

    /// Runs `services` until one ends or a signal comes. The first SIGTERM or SIGINT ends them gracefully.
    static func untilSignal(_ services: [RunningService], grace: Duration = grace, logger: Logger) async throws {
        var configuration = ServiceGroupConfiguration(
            services: services.map { .init(service: $0, successTerminationBehavior: .gracefullyShutdownGroup, failureTerminationBehavior: .cancelGroup) },
            gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        configuration.maximumGracefulShutdownDuration = grace
        try await ServiceGroup(configuration: configuration).run()
    }
}

import Metrics
import Synchronization

/// Counters and timers by their documented names, made once per label set: making one costs more than using one.
final class Meters: Sendable {
    typealias Count = Counter

    private struct Key: Hashable {
        let name: String
        let labels: [String]
    }
    private let counters = Mutex<[Key: Counter]>([:])
    private let timers = Mutex<[Key: Timer]>([:])

    /// - Parameter source: `cache`, `vault` or `refresh`.
    func issued(connection: String, source: String) -> Counter {
        counter("grantee_tokens_issued_total", [("connection", connection), ("source", source)])
    }
    /// - Parameter result: `ok` or a problem code.
    func refreshed(connection: String, result: String) {
        counter("grantee_refreshes_total", [("connection", connection), ("result", result)]).increment()
    }
    /// - Parameter result: `delivered`, `retried` or `failed`.
    func webhookDelivery(result: String) {
        counter("grantee_webhook_deliveries_total", [("result", result)]).increment()
    }
    /// The right to renew a grant among many nodes.
    /// - Parameter result: `taken`, `waited` when another node had it, `lost` when it ended before the renewal did.
    func lease(result: String) {
        counter("grantee_leases_total", [("result", result)]).increment()
    }
    /// - Parameter operation: `token`, `refresh`, `revoke`.
    func provider(connection: String, operation: String, took duration: Duration) {
        let dimensions = [("connection", connection), ("operation", operation)]
        let timer = timers.withLock { timers in
            let key = Key(name: "grantee_provider_seconds", labels: dimensions.map(\.1))
            if let timer = timers[key] { return timer }
            let timer = Timer(label: key.name, dimensions: dimensions)
            timers[key] = timer
            return timer
        }
        timer.record(duration: duration)
    }

    private func counter(_ name: String, _ dimensions: [(String, String)]) -> Counter {
        counters.withLock { counters in
            let key = Key(name: name, labels: dimensions.map(\.1))
            if let counter = counters[key] { return counter }
            let counter = Counter(label: name, dimensions: dimensions)
            counters[key] = counter
            return counter
        }
    }
}

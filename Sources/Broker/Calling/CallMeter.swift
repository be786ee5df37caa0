import Metrics
import Synchronization

/// Calls of one connection's API, by status, and how long they took. Problems of Grantee count with their status.
package final class CallMeter: Sendable {
    private let connection: String
    /// A handful: found without hashing.
    private let counters = Mutex<[(status: Int, counter: Counter)]>([])
    private let timer = Timer(label: "grantee_gateway_seconds")

    package init(connection: String) { self.connection = connection }

    package func count(status: Int, nanoseconds: Int64) {
        counter(status).increment()
        timer.recordNanoseconds(nanoseconds)
    }

    /// Tokens that were found in an answer to an agent. SEC-87.
    package func countMasked(_ times: Int) {
        Counter(label: "grantee_gateway_masked_total", dimensions: [("connection", connection)]).increment(by: times)
    }

    private func counter(_ status: Int) -> Counter {
        counters.withLock { counters in
            for entry in counters where entry.status == status { return entry.counter }
            let counter = Counter(label: "grantee_gateway_requests_total", dimensions: [("connection", connection), ("status", String(status))])
            counters.append((status, counter))
            return counter
        }
    }
}

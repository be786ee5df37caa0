import CoreMetrics
import Synchronization

/// What `/metrics` shows: counters, gauges and histograms by name and labels, in Prometheus' text format.
///
/// swift-metrics takes one factory per process, so there is one registry.
final class MetricsRegistry: MetricsFactory, Sendable {
    /// Installed at first use.
    static let shared: MetricsRegistry = {
        let registry = MetricsRegistry()
        MetricsSystem.bootstrap(registry)
        return registry
    }()

    private struct Key: Hashable, Comparable {
        let name: String
        let labels: String
        static func < (a: Key, b: Key) -> Bool { (a.name, a.labels) < (b.name, b.labels) }
    }
    private let values = Mutex<[Key: Value]>([:])

    private func value(_ label: String, _ dimensions: [(String, String)], _ kind: Value.Kind) -> Value {
        let labels = dimensions.map { name, value in
            let escaped = value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
            return "\(name)=\"\(escaped)\""
        }.joined(separator: ",")
        return values.withLock { values in
            let key = Key(name: label, labels: labels)
            if let value = values[key] { return value }
            let value = Value(kind)
            values[key] = value
            return value
        }
    }

    func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler { value(label, dimensions, .counter) }
    func makeFloatingPointCounter(label: String, dimensions: [(String, String)]) -> any FloatingPointCounterHandler {
        value(label, dimensions, .counter)
    }
    func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler { value(label, dimensions, .gauge) }
    func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler { value(label, dimensions, .gauge) }
    func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler { value(label, dimensions, .histogram) }
    func destroyCounter(_ handler: any CounterHandler) {}
    func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) {}
    func destroyMeter(_ handler: any MeterHandler) {}
    func destroyRecorder(_ handler: any RecorderHandler) {}
    func destroyTimer(_ handler: any TimerHandler) {}

    /// Prometheus text format 0.0.4.
    /// - Parameter gauges: values taken now, by name and label text; what is called a total is a counter.
    func text(gauges: [(name: String, labels: String, value: Double)]) -> String {
        var lines: [String] = []
        var lastName = ""
        for (key, value) in values.withLock({ $0.sorted { $0.key < $1.key } }) {
            if key.name != lastName {
                lines.append("# TYPE \(key.name) \(value.kind.rawValue)")
                lastName = key.name
            }
            lines += value.lines(key.name, key.labels)
        }
        for gauge in gauges {
            if gauge.name != lastName {
                lines.append("# TYPE \(gauge.name) \(gauge.name.hasSuffix("_total") ? "counter" : "gauge")")
                lastName = gauge.name
            }
            lines.append("\(gauge.name)\(gauge.labels.isEmpty ? "" : "{\(gauge.labels)}") \(gauge.value)")
        }
        return lines.joined(separator: "\n") + "\n"
    }
}

/// One series.
private final class Value: CounterHandler, FloatingPointCounterHandler, MeterHandler, RecorderHandler, TimerHandler, Sendable {
    enum Kind: String, Sendable { case counter, gauge, histogram }

    /// Upper bounds in seconds.
    private static let bounds = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

    let kind: Kind
    private struct State {
        var total = 0.0
        var count = 0
        var buckets = [Int](repeating: 0, count: Value.bounds.count)
    }
    private let state = Mutex(State())

    init(_ kind: Kind) { self.kind = kind }

    func increment(by amount: Int64) { state.withLock { $0.total += Double(amount) } }
    func reset() { state.withLock { $0 = State() } }
    func set(_ value: Int64) { state.withLock { $0.total = Double(value) } }
    func set(_ value: Double) { state.withLock { $0.total = value } }
    func increment(by amount: Double) { state.withLock { $0.total += amount } }
    func decrement(by amount: Double) { state.withLock { $0.total -= amount } }
    func record(_ value: Int64) { set(value) }
    func record(_ value: Double) { set(value) }
    func recordNanoseconds(_ duration: Int64) {
        let seconds = Double(duration) / 1e9
        state.withLock { state in
            state.total += seconds
            state.count += 1
            for (index, bound) in Self.bounds.enumerated() where seconds <= bound { state.buckets[index] += 1 }
        }
    }

    func lines(_ name: String, _ labels: String) -> [String] {
        let state = state.withLock { $0 }
        let plain = labels.isEmpty ? "" : "{\(labels)}"
        guard kind == .histogram else { return ["\(name)\(plain) \(state.total.formatted)"] }
        let lead = labels.isEmpty ? "" : labels + ","
        var lines = zip(Self.bounds, state.buckets).map { "\(name)_bucket{\(lead)le=\"\($0)\"} \($1)" }
        lines += ["\(name)_bucket{\(lead)le=\"+Inf\"} \(state.count)", "\(name)_sum\(plain) \(state.total)", "\(name)_count\(plain) \(state.count)"]
        return lines
    }
}

extension Double {
    fileprivate var formatted: String { self == rounded() && magnitude < 1e15 ? String(Int64(self)) : String(self) }
}

/// Requests of one route, by status.
final class RouteMeter: Sendable {
    private let route: String
    private let counters = Mutex<[Int: Counter]>([:])

    init(route: String) { self.route = route }

    func count(_ status: Int) {
        let counter = counters.withLock { counters in
            if let counter = counters[status] { return counter }
            let counter = Counter(label: "grantee_http_requests_total", dimensions: [("route", route), ("status", String(status))])
            counters[status] = counter
            return counter
        }
        counter.increment()
    }
}

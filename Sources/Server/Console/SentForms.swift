import Broker
import Synchronization
import Vault

/// Forms that make something: one that is sent twice makes it once. Each has a name of its own in the hidden field `form`.
final class SentForms: Sendable {
    private struct Sent {
        let task: Task<Result<String, Problem>, Never>
        let at: ContinuousClock.Instant
    }
    private let sent = Mutex<[String: Sent]>([:])
    private static let most = 1000
    private static let kept = Duration.seconds(1800)

    /// - Parameter work: what makes it; gives the path where it is to be seen. When it throws, the form may be sent again.
    /// - Returns: that path, and whether this was the first time.
    func once(_ visit: ConsoleVisit, _ work: @escaping @Sendable () async throws(Problem) -> String) async throws(Problem) -> (path: String, isFirst: Bool) {
        // Without a name, nothing tells it from another form.
        guard !visit.form["form"].isEmpty else { return (try await work(), true) }
        let name = visit.session.id + " " + visit.form["form"].prefix(64)
        let now = ContinuousClock.now
        let (task, isFirst) = sent.withLock { sent in
            if let known = sent[name] { return (known.task, false) }
            // Unstructured: what was begun goes on when the browser has gone.
            let task = Task { () async -> Result<String, Problem> in
                do throws(Problem) { return .success(try await work()) } catch { return .failure(error) }
            }
            if sent.count >= Self.most { sent = sent.filter { now - $0.value.at < Self.kept } }
            if sent.count >= Self.most, let oldest = sent.min(by: { $0.value.at < $1.value.at }) { sent[oldest.key] = nil }
            sent[name] = Sent(task: task, at: now)
            return (task, true)
        }
        switch await task.value {
        case .success(let path): return (path, isFirst)
        case .failure(let problem):
            sent.withLock { $0[name] = nil }
            throw problem
        }
    }
}

import HTTPTypes
import OAuth
import Synchronization
import TestSupport
import Testing

/// Callers at several nodes who refresh many grants of one connection, over and over, whatever becomes of the database: one at each
/// node those that all have in common, and one those that no other node is asked for, so that no node's trouble holds it up.
final class RefreshLoad: Sendable {
    private struct State {
        /// Refreshes that succeeded, by node.
        var done: [Int]
        /// Other answers, by what was said.
        var refusals: [String: Int] = [:]
        /// Whose token each is.
        var owners: [String: String] = [:]
        /// The token of each generation of a grant.
        var tokens: [String: String] = [:]
        var wrongs: [String] = []
    }

    private let state: Mutex<State>
    private let tasks = Mutex<[Task<Void, any Error>]>([])

    /// - Parameter count: the grants u0, u1 … of the connection `app`.
    init(_ nodes: [ServerProcess], count: Int, at provider: RunningProvider) {
        state = Mutex(State(done: nodes.map { _ in 0 }))
        tasks.withLock { tasks in
            for (index, node) in nodes.enumerated() {
                let (common, own) = (count / 2, count / 2 / nodes.count)
                for subjects in [0..<common, (common + index * own)..<(common + (index + 1) * own)] {
                    tasks.append(
                        Task { [self] in
                            while !Task.isCancelled {
                                let subject = "u\(Int.random(in: subjects))"
                                // What was begun is judged, whoever wants to end.
                                try await Task { try await ask(node, index, subject, provider) }.value
                                do { try await Task.sleep(for: .milliseconds(20)) } catch { return }
                            }
                        })
                }
            }
        }
    }

    private func ask(_ node: ServerProcess, _ index: Int, _ subject: String, _ provider: RunningProvider) async throws {
        let refreshed = try await Crowd.send(.post, to: node.url + "/v1/connections/app/grants/\(subject)/refresh", key: node.adminKey)
        guard refreshed.status == 200 else { return note(refreshed) }
        state.withLock { $0.done[index] += 1 }
        let token = try await Crowd.send(.get, to: node.url + "/v1/connections/app/token?subject=\(subject)", key: node.adminKey)
        guard token.status == 200, let text = token["access_token"]?.string, let generation = token["generation"]?.integer else { return note(token) }
        state.withLock { state in
            if let owner = state.owners[text], owner != subject { state.wrongs.append("\(subject) got a token of \(owner)") }
            state.owners[text] = subject
            let key = "\(subject) \(generation)"
            if let known = state.tokens[key], known != text { state.wrongs.append("generation \(generation) of \(subject) has two tokens") }
            state.tokens[key] = text
        }
        let user = try await provider.user(of: token)
        if user != "user-alice" { state.withLock { $0.wrongs.append("the token of \(subject), generation \(generation), is dead") } }
    }

    private func note(_ answer: RunningServer.Answer) {
        state.withLock { $0.refusals["\(answer.status) \(answer.code ?? "")", default: 0] += 1 }
    }

    /// Refreshes that succeeded so far, by node.
    var done: [Int] { state.withLock { $0.done } }
    /// How often callers were told what.
    var refusals: [String: Int] { state.withLock { $0.refusals } }
    /// What nobody may ever see.
    var wrongs: [String] { state.withLock { $0.wrongs } }

    /// Every node succeeds again.
    func resumes(_ what: String, within limit: Duration = .seconds(45)) async throws {
        let before = done
        try await eventually("\(what): every node refreshes again; \(refusals)", within: limit) { zip(done, before).allSatisfy { $0 > $1 + 1 } }
    }

    func end() async throws {
        let tasks = tasks.withLock { $0 }
        for task in tasks { task.cancel() }
        for task in tasks { try await task.value }
    }
}

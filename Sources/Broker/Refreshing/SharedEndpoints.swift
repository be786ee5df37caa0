import Logging
import Vault

/// What many nodes know together of each token endpoint. Requests for one endpoint that come while a transaction is under way
/// go together in the next, so that many callers cost few of them, and each is still judged by what all nodes have told.
actor SharedEndpoints {
    /// How long a success of an endpoint that is well may wait to be told.
    static let rest: Duration = .milliseconds(500)

    private struct Piece {
        let request: EndpointState.Request
        /// `nil` when nobody waits for the answer.
        let asker: CheckedContinuation<EndpointState.Answer, any Error>?
    }
    private struct Queue {
        var pieces: [Piece] = []
        var isUnderWay = false
        /// Somebody will look after ``rest``.
        var isResting = false
        /// When it was last looked at.
        var isWell = false
    }
    private let store: any SharedStore
    private let logger: Logger
    private var queues: [String: Queue] = [:]

    init(_ store: any SharedStore, logger: Logger) {
        self.store = store
        self.logger = logger
    }

    /// - Throws: the store's error.
    func ask(_ request: EndpointState.Request, of endpoint: String) async throws -> EndpointState.Answer {
        try await withCheckedThrowingContinuation { asker in
            queues[endpoint, default: Queue()].pieces.append(Piece(request: request, asker: asker))
            begin(endpoint)
        }
    }

    /// Nobody waits for it: what follows a success must not be held up.
    func tell(_ outcome: TokenEndpoints.Outcome, of endpoint: String) {
        let isWell = queues[endpoint]?.isWell ?? false
        queues[endpoint, default: Queue()].pieces.append(Piece(request: .ended(outcome, isOld: isWell), asker: nil))
        guard isWell else { return begin(endpoint) }
        guard queues[endpoint]?.isResting == false else { return }
        queues[endpoint]?.isResting = true
        Task {
            do { try await Task.sleep(for: Self.rest) } catch {}
            queues[endpoint]?.isResting = false
            if queues[endpoint]?.pieces.isEmpty == false { begin(endpoint) }
        }
    }

    /// In a task of its own: it goes on for those who come while it works.
    private func begin(_ endpoint: String) {
        guard queues[endpoint]?.isUnderWay == false else { return }
        queues[endpoint]?.isUnderWay = true
        Task { await work(endpoint) }
    }

    private func work(_ endpoint: String) async {
        while let pieces = queues[endpoint]?.pieces, !pieces.isEmpty {
            queues[endpoint]?.pieces = []
            let requests = pieces.map(\.request)
            do {
                let (answers, isWell) = try await store.changeEndpoint(endpoint) { json, now in
                    var state = EndpointState(json: json)
                    let answers = requests.map { state.answer($0, at: now, jitter: .random(in: 0.75...1.25)) }
                    return (try state.json(), (answers, state.isWell))
                }
                queues[endpoint]?.isWell = isWell
                for (piece, answer) in zip(pieces, answers) { piece.asker?.resume(returning: answer) }
            } catch {
                for piece in pieces { piece.asker?.resume(throwing: error) }
                logger.debug("what is known of a token endpoint was not written", metadata: ["endpoint": "\(endpoint)", "error": "\(error)"])
            }
        }
        queues[endpoint]?.isUnderWay = false
    }
}

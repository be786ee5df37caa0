import Broker
import Vault

/// An id that no connection has yet: the Callback URL ends with it, so it is known before anything is saved.
enum FreeID {
    /// `github`, or `github-2` when that is taken.
    static func from(_ name: String, _ inbound: Inbound) async throws(Problem) -> String {
        let base = ConnectionDocument.id(from: name)
        for suffix in 1...100 {
            let id = suffix == 1 ? base : "\(base)-\(suffix)"
            if try await !isTaken(id, inbound) { return id }
        }
        // The person chooses one, and is told when it is taken.
        return base
    }

    private static func isTaken(_ id: String, _ inbound: Inbound) async throws(Problem) -> Bool {
        do throws(Problem) {
            _ = try await inbound.broker.connection(id: id, for: try inbound.caller)
            return true
        } catch {
            switch error.code {
            case .notFound: return false
            // A connection that the key does not cover.
            case .forbidden: return true
            default: throw error
            }
        }
    }
}

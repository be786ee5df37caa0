import Crypto
import Vault

extension Broker {
    /// Notes that agents see other tools than at the last start: with what they are told they may be told to do other things. SEC-136.
    /// - Parameter listed: the tools as they are listed.
    package func noteTools(_ listed: [UInt8]) async throws(Problem) {
        let hash = SHA256.hash(data: listed).prefix(8).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        try await asProblem {
            let before = try await store.meta("agent_tools").map { String(decoding: $0, as: UTF8.self) }
            guard before != hash else { return }
            try await store.setMeta("agent_tools", Array(hash.utf8))
            if let before { note("agent.tools_changed", detail: "\(before) → \(hash)") }
        }
    }
}
